import { createServer as createTcpServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type DialledLink, dialReplica } from './client-dial.ts';
import { type ClientBounds, type ClientLink, ClientListener } from './client-listener.ts';
import type { LinkEnd } from './framed-link.ts';
import { certificateOf, frame, openHandles, rawTcp, rawTls, until } from './loopback.testing.ts';
import type { LinkAddress } from './tls.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

const open: { close(): Promise<void> | void }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});

/** A listener that answers every frame as `answer` says; echo unless told. */
async function startListener({
  bounds = {},
  answer = (link, bytes) => void link.send(bytes),
}: {
  readonly bounds?: Partial<ClientBounds>;
  readonly answer?: (link: ClientLink, bytes: Uint8Array) => void;
} = {}) {
  const links: ClientLink[] = [];
  const ends = new Map<number, LinkEnd>();
  const counted: string[] = [];
  const { keyPem, certificatePem } = await certificateOf(0);
  const listener = new ClientListener({
    host: '127.0.0.1',
    port: 0,
    keyPem,
    certificatePem,
    bounds,
    onLink: (link) => {
      links.push(link);
      link.onFrame = (bytes) => answer(link, bytes);
      link.onClose = (end) => {
        expect(ends.has(link.id)).toBe(false);
        ends.set(link.id, end);
      };
    },
    onCounted: (event) => counted.push(event),
  });
  open.push(listener);
  return { listener, address: await listener.listen(), links, ends, counted };
}

async function dial(address: LinkAddress, keyOf = 0) {
  const frames: string[] = [];
  const ends: LinkEnd[] = [];
  let bytes = 0;
  const link: DialledLink = await dialReplica({
    ...address,
    keyDigest: (await certificateOf(keyOf)).keyDigest,
    timeoutMs: 5_000,
    onFrame: (payload) => {
      bytes += payload.length;
      if (payload.length < 100) frames.push(Buffer.from(payload).toString());
    },
    onClose: (end) => ends.push(end),
  });
  open.push(link);
  return { link, frames, ends, bytes: () => bytes };
}

describe('a client link', () => {
  it('carries frames both ways, the replica speaking first if it likes', async () => {
    const { address, links } = await startListener();
    const client = await dial(address);
    await until(() => links.length === 1);
    links[0]!.send(Buffer.from('welcome'));
    for (let count = 0; count < 20; count++) client.link.send(Buffer.from(`request ${count}`));
    client.link.send(new Uint8Array(1 * MiB));
    await until(() => client.bytes() > MiB);
    expect(client.frames).toEqual(['welcome', ...Array.from({ length: 20 }, (_, count) => `request ${count}`)]);
    expect(links[0]!.remoteAddress).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(() => client.link.send(new Uint8Array(2 * MiB))).toThrow(RangeError);
  });

  it('sends what is queued before it closes, and the end is told once on both sides', async () => {
    const { address, links, ends, counted } = await startListener({
      answer: (link) => {
        link.send(new Uint8Array(3 * MiB));
        link.send(Buffer.from('overloaded'));
        link.close('overloaded');
        expect(link.send(Buffer.from('too late'))).toBe(false);
      },
    });
    const client = await dial(address);
    client.link.send(Buffer.from('hello'));
    client.link.send(Buffer.from('again'));
    await until(() => client.ends.length === 1 && ends.size === 1);
    expect(client.frames).toEqual(['overloaded']);
    expect(client.ends).toEqual([{ code: 'closed-by-peer' }]);
    expect([...ends.values()]).toEqual([{ code: 'closed-here', detail: 'overloaded' }]);
    expect(links).toHaveLength(1);
    expect(client.link.send(Buffer.from('x'))).toBe(false);

    const other = await dial(address);
    other.link.send(Buffer.from('last words'));
    other.link.close();
    await until(() => other.ends.length === 1);
    expect(other.ends).toEqual([{ code: 'closed-here' }]);
    expect(counted).toEqual([]);
  });

  it('of many hundreds are served side by side', async () => {
    const { address, links, listener } = await startListener();
    const clients = await Promise.all(Array.from({ length: 150 }, () => dial(address)));
    for (const [index, { link }] of clients.entries()) link.send(Buffer.from(`client ${index}`));
    await until(() => clients.every(({ frames }) => frames.length === 1));
    for (const [index, { frames }] of clients.entries()) expect(frames).toEqual([`client ${index}`]);
    expect(new Set(links.map(({ id }) => id)).size).toBe(150);
    expect(listener.status()).toEqual({ links: 150, queuedBytes: 0, heldBytes: 0 });
  });

  it('leaves nothing behind when closed', async () => {
    await until(() => openHandles().sockets === 0); // of tests before
    const { listener, address, ends } = await startListener();
    const clients = await Promise.all([dial(address), dial(address)]);
    clients[0]!.link.send(Buffer.from('x'));
    await until(() => listener.status().links === 2);
    await listener.close();
    await until(() => clients.every((client) => client.ends.length === 1));
    await until(() => ends.size === 2 && openHandles().sockets === 0);
    expect(listener.status()).toEqual({ links: 0, queuedBytes: 0, heldBytes: 0 });
  });
});

describe('dialReplica', () => {
  it('refuses a replica with another key', async () => {
    const { address, links } = await startListener();
    await expect(dial(address, 1)).rejects.toMatchObject({ name: 'TransportError', code: 'wrong-key' });
    await until(() => links.every((link) => !link.open));
  });

  it('says what went wrong, and what to do about it', async () => {
    const mute = createTcpServer((socket) => socket.on('error', () => {}));
    const babbler = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.end('220 mail.example.org ESMTP\r\n');
    });
    const slammer = createTcpServer((socket) => socket.destroy());
    const ports: number[] = [];
    for (const server of [mute, babbler, slammer]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const bound = server.address();
      ports.push(typeof bound === 'object' && bound !== null ? bound.port : 0);
      open.push({ close: () => void server.close() });
    }
    const attempt = async (host: string, port: number, more: { timeoutMs?: number; signal?: AbortSignal } = {}) =>
      dialReplica({
        host,
        port,
        keyDigest: (await certificateOf(0)).keyDigest,
        timeoutMs: 5_000,
        onFrame: () => {},
        onClose: () => {},
        ...more,
      });
    await expect(attempt('127.0.0.1', ports[0]!, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout' });
    await expect(attempt('127.0.0.1', ports[1]!)).rejects.toMatchObject({ code: 'not-tls' });
    await expect(attempt('127.0.0.1', ports[2]!)).rejects.toMatchObject({ code: 'closed' });
    await expect(attempt('127.0.0.1', 1)).rejects.toMatchObject({
      code: 'refused',
      message: 'dialling 127.0.0.1:1: nobody listens there',
      hint: expect.stringContaining('Start the replica'),
    });
    const abort = new AbortController();
    const given = attempt('127.0.0.1', ports[0]!, { signal: abort.signal });
    setImmediate(() => abort.abort());
    await expect(given).rejects.toMatchObject({ code: 'aborted' });
    await expect(attempt('127.0.0.1', ports[0]!, { signal: abort.signal })).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('a client port', () => {
  it('drops garbage, bad frames and truncated ones, counts them, and serves on', async () => {
    const { address, counted, ends } = await startListener();
    const client = await dial(address);
    const garbage = await rawTcp(address);
    garbage.socket.write('GET / HTTP/1.1\r\n\r\n');
    await until(() => garbage.ended());
    expect(counted.splice(0)).toEqual(['handshake-failed']);
    for (const [event, bytes] of [
      ['frame-too-large', Buffer.from([0, 0x20, 0, 0])],
      ['frame-empty', Buffer.alloc(4)],
      ['frame-truncated', Buffer.from([0, 0, 1, 0, 7])],
    ] as const) {
      const bad = await rawTls(address);
      if (event === 'frame-truncated') bad.socket.end(bytes);
      else bad.socket.write(bytes);
      await until(() => bad.ended() && counted.length > 0);
      expect(counted.splice(0)).toEqual([event]);
    }
    expect(ends.size).toBe(3);
    client.link.send(Buffer.from('still here'));
    await until(() => client.frames.length === 1);
  });

  it('gives little time before TLS, before the first frame and for a first frame that drips', async () => {
    const { address, counted } = await startListener({ bounds: { handshakeTimeoutMs: 150 } });
    const served = await dial(address);
    served.link.send(Buffer.from('in time'));
    const silent = [await rawTcp(address), await rawTls(address)];
    const slow = await rawTls(address);
    slow.socket.write(Buffer.from([0, 0, 16, 0]));
    const drip = setInterval(() => slow.socket.write(Buffer.of(1)), 20);
    await until(() => slow.ended() && silent.every(({ ended }) => ended()));
    clearInterval(drip);
    expect(counted.filter((event) => event === 'handshake-timeout')).toHaveLength(3);
    expect(served.ends).toEqual([]);
  });

  it('holds only so many strangers and so many links', async () => {
    const { address, counted } = await startListener({ bounds: { strangersMax: 8, linksMax: 3 } });
    const clients: Awaited<ReturnType<typeof dial>>[] = [];
    for (let count = 0; count < 3; count++) {
      const client = await dial(address);
      client.link.send(Buffer.from('x'));
      await until(() => client.frames.length === 1);
      clients.push(client);
    }
    const flood = await Promise.all(Array.from({ length: 60 }, () => rawTcp(address)));
    await until(() => flood.filter(({ ended }) => ended()).length >= 52);
    const one = await dial(address);
    one.link.send(Buffer.from('one too many'));
    await until(() => one.ends.length === 1);
    expect(counted).toContain('links-full');
    expect(one.frames).toEqual([]);
    clients[0]!.link.close();
    await until(() => clients[0]!.ends.length === 1);
    const next = await dial(address);
    next.link.send(Buffer.from('there is room again'));
    await until(() => next.frames.length === 1);
    expect(clients[1]!.ends).toEqual([]);
    for (const { socket } of flood) socket.destroy();
  });

  it('keeps little for many frames that are never completed: the worst goes first', async () => {
    const { address, counted, listener, ends, links } = await startListener({
      bounds: { partialsSizeBytesMax: 300 * KiB },
    });
    const small = await rawTls(address);
    small.socket.write(Buffer.concat([frame('first'), Buffer.from([0, 0x10, 0, 0]), Buffer.alloc(10)]));
    await until(() => listener.status().heldBytes === 64 * KiB);
    const large = await rawTls(address);
    large.socket.write(Buffer.concat([frame('first'), Buffer.from([0, 0x10, 0, 0]), Buffer.alloc(400 * KiB)]));
    await until(() => large.ended() && counted.includes('memory'));
    expect(listener.status()).toMatchObject({ links: 1, heldBytes: 64 * KiB });
    expect(ends.get(links[0]!.id)).toBeUndefined();
    small.socket.destroy();
    await until(() => listener.status().links === 0);
    expect(listener.status()).toEqual({ links: 0, heldBytes: 0, queuedBytes: 0 });
  });

  it('stops reading from a client that does not take its replies, and goes on when it does', async () => {
    const reply = new Uint8Array(256 * KiB);
    const total = 300; // replies of 75 MiB: more than sockets buffer and far more than may wait here
    let peakBytes = 0;
    const { address, links, listener } = await startListener({
      answer: (link) => {
        link.send(reply);
        peakBytes = Math.max(peakBytes, link.queuedBytes);
      },
      bounds: { queuePauseSizeBytes: 128 * KiB, queueSizeBytesMax: 8 * MiB },
    });
    const lazy = await dial(address);
    lazy.link.pause();
    for (let count = 0; count < total; count++) expect(lazy.link.send(new Uint8Array(16 * KiB))).toBe(true);
    await until(() => (links[0]?.queuedBytes ?? 0) > 128 * KiB);
    const prompt = await dial(address);
    for (let count = 0; count < 3; count++) prompt.link.send(Buffer.from('x'));
    await until(() => prompt.bytes() === 3 * reply.length);
    expect(listener.status().queuedBytes).toBeLessThan(2 * MiB);
    lazy.link.resume();
    await until(() => lazy.bytes() === total * reply.length);
    expect(peakBytes).toBeLessThan(2 * MiB);
    expect(lazy.ends).toEqual([]);
  });

  it('closes a client for whom too much waits, alone and all together', async () => {
    const { address, links, ends, listener } = await startListener({
      bounds: { queueSizeBytesMax: 4 * MiB, queuesSizeBytesMax: 6 * MiB, queuePauseSizeBytes: 64 * MiB },
    });
    const clients: Awaited<ReturnType<typeof dial>>[] = [];
    for (let index = 0; index < 3; index++) {
      const client = await dial(address);
      client.link.pause();
      clients.push(client);
      await until(() => links.length === index + 1);
    }
    const [first, second, third] = links as [ClientLink, ClientLink, ClientLink];
    const reply = new Uint8Array(256 * KiB);
    // queued in one turn, so nothing drains between
    let sent = 0;
    while (first.send(reply)) sent += 1;
    expect(sent).toBe(15); // 4 MiB would need one head more
    await until(() => ends.get(first.id)?.code === 'queue-full');
    for (let count = 0; count < 14; count++) second.send(reply);
    let thirdSent = 0;
    for (; thirdSent < 12 && second.open; thirdSent++) third.send(reply);
    expect(second.open).toBe(false);
    expect(third.open).toBe(true);
    expect(listener.status().queuedBytes).toBe(thirdSent * (256 * KiB + 4));
    await until(() => ends.get(second.id)?.code === 'memory');
  });
});
