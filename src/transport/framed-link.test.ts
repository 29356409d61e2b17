import { createServer, type Server, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FramedLink, type LinkEnd } from './framed-link.ts';
import { certificateOf, frame, type RawLink, rawTls, until } from './loopback.testing.ts';

let server: Server;
let socket: TLSSocket;
let other: RawLink<TLSSocket>;

beforeEach(async () => {
  const { keyPem, certificatePem } = await certificateOf(0);
  server = createServer({ key: keyPem, cert: certificatePem });
  const secured = new Promise<TLSSocket>((resolve) => server.once('secureConnection', resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('no port');
  other = await rawTls({ host: '127.0.0.1', port: bound.port });
  socket = await secured;
});

afterEach(() => {
  other.socket.destroy();
  socket.destroy();
  server.close();
});

function startLink(queueSizeBytesMax = 64 * 1024 * 1024) {
  const link = new FramedLink(socket, {
    receiveSizeBytesMax: 1000,
    sendSizeBytesMax: 16 * 1024 * 1024,
    queueSizeBytesMax,
  });
  const frames: string[] = [];
  const ends: LinkEnd[] = [];
  link.start({ onFrame: (bytes) => frames.push(Buffer.from(bytes).toString()), onEnd: (end) => ends.push(end) });
  return { link, frames, ends };
}

describe('FramedLink', () => {
  it('writes all frames of one turn at once', async () => {
    const { link } = startLink();
    const sizes: number[] = [];
    other.socket.on('data', (chunk: Buffer) => sizes.push(chunk.length));
    for (let count = 0; count < 100; count++) link.send(Buffer.from('0123456789'));
    expect(link.queuedBytes).toBe(1400);
    await until(() => other.received().length === 1400);
    expect(sizes).toEqual([1400]);
    expect(link.queuedBytes).toBe(0);
  });

  it('calls back from the event loop only: not from send, reset or start', async () => {
    const { link, ends } = startLink(100);
    expect(link.send(new Uint8Array(97))).toBe(true);
    expect(link.send(new Uint8Array(97))).toBe(false);
    expect(link.open).toBe(false);
    expect(link.queuedBytes).toBe(0);
    expect(ends).toEqual([]);
    await until(() => ends.length === 1);
    expect(ends).toEqual([{ code: 'queue-full', detail: '101 bytes wait' }]);
  });

  it.each(['before', 'after'])('keeps frames, and the end when it comes %s, until it is started', async (order) => {
    other.socket.write(frame('early'));
    const link = new FramedLink(socket, { receiveSizeBytesMax: 10, sendSizeBytesMax: 10, queueSizeBytesMax: 100 });
    const seen: string[] = [];
    const use = {
      onFrame: (bytes: Uint8Array) => seen.push(Buffer.from(bytes).toString()),
      onEnd: ({ code }: LinkEnd) => seen.push(code),
    };
    if (order === 'before') {
      link.reset({ code: 'replaced' });
      await new Promise((resolve) => socket.once('close', resolve));
      link.start(use);
      expect(seen).toEqual([]);
      await until(() => seen.length === 1);
      expect(seen).toEqual(['replaced']);
    } else {
      await until(() => socket.bytesRead > 0);
      link.start(use);
      await until(() => seen.length === 1);
      other.socket.end();
      await until(() => seen.length === 2);
      expect(seen).toEqual(['early', 'closed-by-peer']);
    }
  });

  it('delivers nothing after it was reset from within a frame', async () => {
    const link = new FramedLink(socket, { receiveSizeBytesMax: 10, sendSizeBytesMax: 10, queueSizeBytesMax: 100 });
    const seen: string[] = [];
    link.start({
      onFrame: (bytes) => {
        seen.push(Buffer.from(bytes).toString());
        link.reset({ code: 'unexpected' });
      },
      onEnd: ({ code }) => seen.push(code),
    });
    other.socket.write(Buffer.concat([frame('a'), frame('b')]));
    await until(() => seen.includes('unexpected'));
    expect(seen).toEqual(['a', 'unexpected']);
  });

  it('is stuck when bytes wait and none are taken, tick after tick', async () => {
    other.socket.pause();
    const { link, ends } = startLink();
    while (link.queuedBytes === 0) {
      link.send(new Uint8Array(8 * 1024 * 1024));
      await new Promise((resolve) => setTimeout(resolve, 30)); // all that sockets buffer
    }
    for (let count = 0; count < 3; count++) link.tick({ stuckTicksMax: 3 });
    expect(link.open).toBe(true);
    link.tick({ stuckTicksMax: 3 });
    expect(link.open).toBe(false);
    await until(() => ends.length === 1);
    expect(ends[0]?.code).toBe('stuck');
  });

  it('is silent when nothing comes, unless it is we who do not read', async () => {
    const { link, frames, ends } = startLink();
    const bounds = { stuckTicksMax: 3, silentTicksMax: 2 };
    link.pause();
    for (let count = 0; count < 9; count++) link.tick(bounds);
    link.resume();
    link.tick(bounds);
    link.tick(bounds);
    other.socket.write(frame('alive'));
    await until(() => frames.length === 1);
    link.tick(bounds);
    link.tick(bounds);
    expect(link.open).toBe(true);
    link.tick(bounds);
    await until(() => ends.length === 1);
    expect(ends).toEqual([{ code: 'silent' }]);
  });

  it('does not wait for ever for the rest of a frame', async () => {
    const { link, frames, ends } = startLink();
    const bounds = { stuckTicksMax: 3, insideFrameTicksMax: 2 };
    for (const text of ['a', 'b', 'c']) {
      other.socket.write(Buffer.concat([frame(text), Buffer.from([0, 0])]));
      await until(() => frames.at(-1) === text);
      link.tick(bounds); // inside a frame at every tick, but a new one each time
      link.tick(bounds);
      other.socket.write(Buffer.concat([Buffer.from([0, 1]), Buffer.from('x')]));
      await until(() => frames.at(-1) === 'x');
    }
    other.socket.write(Buffer.from([0, 0, 0, 50, 1]));
    await until(() => link.heldBytes > 0);
    for (let count = 0; count < 4 && link.open; count++) link.tick(bounds);
    await until(() => ends.length === 1);
    expect(ends[0]?.code).toBe('frame-too-slow');
  });

  it('closes even when the other end neither reads nor closes', async () => {
    other.socket.pause();
    const { link, ends } = startLink();
    link.send(new Uint8Array(16 * 1024 * 1024));
    link.close();
    expect(link.send(Buffer.from('x'))).toBe(false);
    await until(() => ends.length === 1);
    expect(ends).toEqual([{ code: 'closed-here' }]);
    expect(link.queuedBytes).toBe(0);
  });
});
