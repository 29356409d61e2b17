import { createServer, type Server } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../wire/limits.ts';
import { makeLinkCertificate } from './certificate.ts';
import {
  certificateOf,
  frame,
  introduce,
  isUp,
  openHandles,
  type RawLink,
  rawTcp,
  rawTls,
  startCluster,
  startReplica,
  type TestReplica,
  until,
} from './loopback.testing.ts';
import { PeerLinks } from './peer-links.ts';
import { TransportError } from './transport-error.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});

async function replica(...parameters: Parameters<typeof startReplica>): Promise<TestReplica> {
  const started = await startReplica(...parameters);
  open.push(started.links);
  return started;
}

async function cluster(...parameters: Parameters<typeof startCluster>): Promise<TestReplica[]> {
  const started = await startCluster(...parameters);
  open.push(...started.map(({ links }) => links));
  return started;
}

/** A TLS server with this certificate that notes what it receives. */
async function tlsServer(certificate: { readonly keyPem: string; readonly certificatePem: string }) {
  let received = 0;
  let connections = 0;
  const server: Server = createServer({
    key: certificate.keyPem,
    cert: certificate.certificatePem,
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.on('secureConnection', (socket) => {
    connections += 1;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push({ close: () => new Promise((resolve) => server.close(() => resolve())) });
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('no port');
  return {
    address: { host: '127.0.0.1', port: bound.port },
    received: () => received,
    connections: () => connections,
  };
}

describe('links between correct replicas', () => {
  it('carry frames in order, each attributed to its sender', async () => {
    const replicas = await cluster(4);
    for (let count = 0; count < 50; count++) {
      for (const [self, { links }] of replicas.entries()) links.broadcast(Buffer.from(`${self}/${count}`));
    }
    expect(replicas[0]!.links.send(3, Buffer.from('only for you'))).toBe(true);
    await until(() => replicas.every(({ frames }, self) => frames.length === (self === 3 ? 151 : 150)));
    for (const [self, { frames }] of replicas.entries()) {
      for (const peer of [0, 1, 2, 3]) {
        const own = frames.filter((text) => text.startsWith(`${peer}:`));
        const expected = Array.from({ length: peer === self ? 0 : 50 }, (_, count) => `${peer}:${peer}/${count}`);
        if (peer === 0 && self === 3) expected.push('0:only for you');
        expect(own).toEqual(expected);
      }
    }
    expect(replicas[0]!.links.status()).toEqual(
      [1, 2, 3].map((peer) => ({ peer, outbound: 'up', inbound: 'up', queuedBytes: 0, lastError: undefined })),
    );
  });

  it('carry frames of every size up to the limit, and throw for those beyond, which are our bug', async () => {
    const sizes: number[] = [];
    const replicas = await cluster(2, { onFrame: (_, bytes) => sizes.push(bytes.length) });
    const { links } = replicas[0]!;
    const sent = [1, 100, 16_384, 65_532, 65_536, 65_537, 1_000_000, limits.frameSizeBytesMax, 7];
    for (const size of sent) expect(links.send(1, new Uint8Array(size))).toBe(true);
    await until(() => sizes.length === sent.length);
    expect(sizes).toEqual(sent);
    expect(() => links.send(1, new Uint8Array(limits.frameSizeBytesMax + 1))).toThrow(RangeError);
    expect(() => links.send(1, new Uint8Array(0))).toThrow(RangeError);
    expect(() => links.send(0, new Uint8Array(1))).toThrow('no link to replica 0');
  });

  it('come back when a replica comes back, and say so on both sides', async () => {
    const [first, second] = await cluster(2);
    const { port } = second!.address;
    await second!.links.close();
    await until(() => first!.changes.length === 2);
    expect(first!.changes).toEqual(['up:1', expect.stringMatching(/^down:1:(closed-by-peer|frame-truncated)/)]);
    expect(first!.links.send(1, Buffer.from('lost'))).toBe(false);
    await until(() => first!.counted.includes('refused:1'));
    expect(first!.links.status()[0]).toMatchObject({ inbound: 'down', lastError: expect.stringContaining('nobody') });
    const again = await replica(1, 2, { port });
    again.links.moveTo(0, first!.address);
    await until(() => first!.changes.length === 3 && again.changes.length === 1);
    first!.links.send(1, Buffer.from('welcome back'));
    await until(() => again.frames.length === 1);
    expect(again.frames).toEqual(['0:welcome back']);
  });

  it('do not wait for the next attempt when the peer shows itself', async () => {
    const hourMs = 3_600_000;
    const never = { redialDelayMsMin: hourMs, redialDelayMsMax: hourMs };
    const [first, second] = (await cluster(2, { bounds: never })) as [TestReplica, TestReplica];
    const { port } = second.address;
    await second.links.close();
    await until(() => first.links.status()[0]?.outbound === 'waiting');
    const again = await replica(1, 2, { port });
    again.links.moveTo(0, first.address);
    await until(() => isUp(first, 1) && isUp(again, 0));
  });

  it('leave nothing behind when closed, and say nothing any more', async () => {
    await until(() => openHandles().sockets === 0); // of tests before
    const before = openHandles().timers;
    const replicas = await startCluster(3);
    const far = await startReplica(3, 4);
    far.links.moveTo(0, { host: '192.0.2.1', port: 9 }); // goes nowhere: closed while dialling
    for (const { links } of replicas) links.broadcast(new Uint8Array(100_000));
    await Promise.all([...replicas, far].map(({ links }) => links.close()));
    const said = replicas.map(({ changes, counted }) => changes.length + counted.length);
    await until(() => openHandles().sockets === 0 && openHandles().timers <= before);
    expect(replicas.map(({ changes, counted }) => changes.length + counted.length)).toEqual(said);
  });
});

describe('a key that is not the pinned one', () => {
  it('at a peer’s address gets neither our hello nor a frame', async () => {
    const stranger = await tlsServer(await makeLinkCertificate({ commonName: 'replica-1' }));
    const own = await replica(0, 2);
    own.links.moveTo(1, stranger.address);
    await until(() => own.counted.filter((event) => event === 'wrong-key:1').length >= 2);
    expect(own.changes).toEqual([]);
    expect(own.links.send(1, Buffer.from('secret'))).toBe(false);
    expect(own.links.status()[0]?.lastError).toContain('does not hold the pinned key');
    expect(stranger.received()).toBe(0);
  });

  it('is refused even when it is another replica’s', async () => {
    const [own, , third] = await Promise.all([replica(0, 3), replica(1, 3), replica(2, 3)]);
    own.links.moveTo(1, third.address);
    await until(() => own.counted.includes('wrong-key:1'));
    expect(own.changes).toEqual([]);
    expect(third.frames).toEqual([]);
  });

  it('is cut when it dials, and so is no key, and our own', async () => {
    const own = await replica(0, 2);
    const strangers = await Promise.all([
      rawTls(own.address, await makeLinkCertificate({ commonName: 'replica-1' })),
      rawTls(own.address),
      rawTls(own.address, await certificateOf(0)),
    ]);
    for (const { socket } of strangers) socket.write(Buffer.concat([frame('hello'), frame('evil')]));
    await until(() => strangers.every(({ ended }) => ended()));
    expect(own.counted.filter((event) => event === 'unknown-key:?')).toHaveLength(3);
    expect(own.frames).toEqual([]);
    for (const { received } of strangers) expect(received()).toHaveLength(0);
  });

  it('cannot be replaced by a resumed session', async () => {
    const own = await replica(0, 2);
    const certificate = await certificateOf(1);
    const first = await rawTls(own.address, certificate);
    let session: Buffer | undefined;
    first.socket.on('session', (ticket) => {
      session = ticket;
    });
    first.socket.write(frame('hello'));
    await until(() => session !== undefined && first.received().length > 0);
    const again = await rawTls(own.address, undefined, { session: session! });
    const resumed = again.socket.isSessionReused();
    again.socket.write(Buffer.concat([frame('hello'), frame('evil')]));
    await until(() => again.ended());
    expect(resumed).toBe(true);
    expect(own.frames).toEqual([]);
    first.socket.destroy();
  });
});

describe('the hello', () => {
  it('that is not accepted keeps the link down, and its sender learns why', async () => {
    const [own, other] = await Promise.all([
      replica(0, 2, { acceptHello: () => 'another cluster\n\u001b[31m' }),
      replica(1, 2),
    ]);
    introduce([own, other]);
    await until(() => isUp(own, 1) && other.counted.includes('turned-away:0'));
    expect(own.counted).toContain('hello-refused:1');
    expect(other.changes).toEqual([]);
    expect(other.links.status()[0]?.lastError).toContain('turned-away: another cluster??[31m');
    expect(own.links.status()[0]).toMatchObject({ outbound: 'up', inbound: 'down' });
  });

  it('has to be there before a newer link takes the place of an older one', async () => {
    const own = await replica(0, 2);
    const certificate = await certificateOf(1);
    const older = await rawTls(own.address, certificate);
    older.socket.write(Buffer.concat([frame('hello'), frame('a')]));
    await until(() => own.frames.length === 1);
    const newer = await rawTls(own.address, certificate);
    const third = await rawTls(own.address, certificate);
    third.socket.write(frame('wrong hello'));
    await until(() => third.ended());
    older.socket.write(frame('b'));
    await until(() => own.frames.length === 2);
    newer.socket.write(Buffer.concat([frame('hello'), frame('c')]));
    await until(() => older.ended() && own.frames.length === 3);
    expect(own.frames).toEqual(['1:a', '1:b', '1:c']);
    expect(own.counted).toEqual(['hello-refused:1', 'replaced:1']);
    expect(own.links.status()[0]?.inbound).toBe('up');
    newer.socket.destroy();
    await until(() => own.links.status()[0]?.inbound === 'down');
  });

  it('is waited for, but not for ever, and so is TLS', async () => {
    const own = await replica(0, 2, { bounds: { handshakeTimeoutMs: 150 } });
    const silentTcp = await rawTcp(own.address);
    const silentTls = await rawTls(own.address, await certificateOf(1));
    const slow = await rawTls(own.address, await certificateOf(1));
    const drip = setInterval(() => slow.socket.write(Buffer.of(0)), 20); // a head, then nothing but zeroes
    slow.socket.write(Buffer.from([0, 0, 16, 0]));
    await until(() => silentTcp.ended() && silentTls.ended() && slow.ended());
    clearInterval(drip);
    expect(own.counted.filter((event) => event === 'handshake-timeout:?')).toHaveLength(3);
  });

  it('is answered, or else the dialler gives up', async () => {
    const mute = await tlsServer(await certificateOf(1));
    const own = await replica(0, 2, { bounds: { handshakeTimeoutMs: 100 } });
    own.links.moveTo(1, mute.address);
    await until(() => own.counted.includes('silent:1') && mute.connections() > 1);
    expect(own.changes).toEqual([]);
  });
});

describe('bytes that are no frames', () => {
  it('before TLS are dropped and counted; others go on', async () => {
    const replicas = await cluster(2);
    const own = replicas[0]!;
    const garbage = await Promise.all(
      [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(70_000, 0xff), Buffer.from([0x16, 3, 1, 0xff, 0xff])].map(
        async (bytes) => {
          const link = await rawTcp(own.address);
          link.socket.end(bytes);
          return link;
        },
      ),
    );
    await until(() => garbage.every(({ ended }) => ended()));
    await expect(rawTls(own.address, undefined, { maxVersion: 'TLSv1.2' })).rejects.toThrow();
    await until(() => own.counted.filter((event) => event === 'handshake-failed:?').length === 4);
    replicas[1]!.links.send(0, Buffer.from('still here'));
    await until(() => own.frames.length === 1);
  });

  it.each([
    ['frame-too-large', Buffer.from([0xff, 0, 0, 0, 1, 2, 3]), false],
    ['frame-empty', Buffer.alloc(4), false],
    ['frame-truncated', Buffer.from([0, 0, 0, 9, 1, 2, 3]), true],
    ['frame-truncated', Buffer.from([0, 0]), true],
  ])('%s: end the link of that peer alone, after the frames before them', async (event, bytes, ends) => {
    const own = await replica(0, 3);
    const [bad, good] = await Promise.all(
      [1, 2].map(async (peer) => {
        const link = await rawTls(own.address, await certificateOf(peer));
        link.socket.write(Buffer.concat([frame('hello'), frame('before')]));
        return link as RawLink<typeof link.socket>;
      }),
    );
    await until(() => own.frames.length === 2);
    if (ends) bad!.socket.end(bytes);
    else bad!.socket.write(bytes);
    await until(() => own.counted.length === 1 && bad!.ended());
    expect(own.counted).toEqual([`${event}:1`]);
    good!.socket.write(frame('after'));
    await until(() => own.frames.length === 3);
    expect(own.frames[2]).toBe('2:after');
    good!.socket.destroy();
  });

  it('or that the acceptor has no business to send, end the link we dialled', async () => {
    const chatty = createServer({
      key: (await certificateOf(1)).keyPem,
      cert: (await certificateOf(1)).certificatePem,
      requestCert: true,
      rejectUnauthorized: false,
    });
    chatty.on('secureConnection', (socket) => {
      socket.on('error', () => {});
      socket.resume();
      socket.write(Buffer.concat([frame(Buffer.of(1)), frame(Buffer.of(2)), frame('block')]));
    });
    await new Promise<void>((resolve) => chatty.listen(0, '127.0.0.1', resolve));
    open.push({ close: () => new Promise((resolve) => chatty.close(() => resolve())) });
    const bound = chatty.address();
    if (bound === null || typeof bound === 'string') throw new Error('no port');
    const own = await replica(0, 2);
    own.links.moveTo(1, { host: '127.0.0.1', port: bound.port });
    await until(() => own.changes.length >= 2);
    expect(own.changes.slice(0, 2)).toEqual(['up:1', expect.stringContaining('down:1:unexpected')]);
    expect(own.frames).toEqual([]);
  });
});

describe('too much', () => {
  it('connections at once displace each other, not the peers', async () => {
    const replicas = await cluster(2, { bounds: { strangersMax: 16 } });
    const own = replicas[0]!;
    const flood = await Promise.all(Array.from({ length: 120 }, () => rawTcp(own.address)));
    await until(() => flood.filter(({ ended }) => ended()).length >= 104);
    expect(own.counted.filter((event) => event === 'stranger-evicted:?').length).toBeGreaterThanOrEqual(104);
    // a peer that has to come back comes through while the flood stays
    await replicas[1]!.links.close();
    const again = await replica(1, 2);
    again.links.moveTo(0, own.address);
    await until(() => isUp(again, 0));
    again.links.send(0, Buffer.from('through'));
    await until(() => own.frames.includes('1:through'));
    for (const { socket } of flood) socket.destroy();
  });

  it('for one peer resets its link only: bytes waiting are bounded and others go on', async () => {
    const bound = 24 * 1024 * 1024;
    const replicas = await cluster(3, { bounds: { queueSizeBytesMax: bound } });
    const [own, slow, good] = replicas as [TestReplica, TestReplica, TestReplica];
    slow.links.pause(0);
    const block = new Uint8Array(1024 * 1024);
    let sent = 0;
    let peakBytes = 0;
    while (isUp(own, 1) && own.links.send(1, block)) {
      sent += 1;
      peakBytes = Math.max(peakBytes, own.links.status()[0]!.queuedBytes);
      own.links.send(2, Buffer.from('x'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => own.changes.some((change) => change.startsWith('down:1:queue-full')));
    expect(peakBytes).toBeGreaterThan(bound / 2);
    expect(peakBytes).toBeLessThanOrEqual(bound);
    expect(own.counted).toContain('queue-full:1');
    await until(() => good.frames.length === sent);
    expect(own.changes.filter((change) => change.includes(':2'))).toEqual(['up:2']);
    // the slow one comes back by itself and, once it reads again, is served
    await until(() => own.changes.filter((change) => change === 'up:1').length === 2);
    own.links.send(1, Buffer.from('later'));
    slow.links.resume(0);
    await until(() => slow.frames.includes('0:later'));
  });

  it('is not read from a peer while it is paused', async () => {
    const replicas = await cluster(3);
    const [own, first, second] = replicas as [TestReplica, TestReplica, TestReplica];
    own.links.pause(1);
    for (let count = 0; count < 64; count++) first.links.send(0, new Uint8Array(512 * 1024));
    second.links.send(0, Buffer.from('unhindered'));
    await until(() => own.frames.length > 0);
    await until(() => first.links.status()[0]!.queuedBytes > 1024 * 1024);
    expect(own.frames).toEqual(['2:unhindered']);
    own.links.resume(1);
    await until(() => own.frames.length === 65);
    // nor from its next link
    own.links.pause(1);
    await first.links.close();
    const again = await replica(1, 3);
    again.links.moveTo(0, own.address);
    await until(() => isUp(again, 0));
    for (let count = 0; count < 64; count++) again.links.send(0, new Uint8Array(512 * 1024));
    await until(() => again.links.status()[0]!.queuedBytes > 1024 * 1024);
    expect(own.frames.length).toBe(65);
    own.links.resume(1);
    await until(() => own.frames.length === 129);
  });
});

describe('an address', () => {
  it('that is taken, or not ours, is a typed error with a hint', async () => {
    const own = await replica(0, 2);
    const taken = replica(0, 2, { port: own.address.port });
    await expect(taken).rejects.toThrow(TransportError);
    await expect(taken).rejects.toMatchObject({ code: 'port-in-use', hint: expect.stringContaining('other process') });
    const { keyPem, certificatePem, keyDigest } = await certificateOf(0);
    const away = new PeerLinks({
      self: 0,
      peers: [{ host: '192.0.2.1', port: 0, keyDigest }],
      keyPem,
      certificatePem,
      hello: Buffer.of(1),
      acceptHello: () => undefined,
      onFrame: () => {},
      onUp: () => {},
      onDown: () => {},
      onCounted: () => {},
    });
    await expect(away.listen()).rejects.toMatchObject({ code: 'address-unavailable' });
    await away.close();
  });

  it('can change while the cluster runs', async () => {
    const [first, second] = (await cluster(2)) as [TestReplica, TestReplica];
    await second.links.close();
    const elsewhere = await replica(1, 2);
    first.links.moveTo(1, elsewhere.address);
    await until(() => first.changes.filter((change) => change === 'up:1').length === 2);
  });
});
