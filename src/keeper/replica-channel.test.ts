/** The keeper's end of the channel takes messages as they come, and a flood only as fast as it wants. */
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../wire/limits.ts';
import { ReplicaChannel } from './replica-channel.ts';

let near: Socket;
let far: Socket;
let channel: ReplicaChannel;
const messages: unknown[] = [];
const complaints: string[] = [];
let changed: () => void = () => {};

beforeEach(async () => {
  messages.length = 0;
  complaints.length = 0;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  far = connect(address.port, '127.0.0.1').on('error', () => {});
  near = await accepted;
  server.close();
  channel = new ReplicaChannel({
    stream: near,
    onMessage: (message) => {
      messages.push(message);
      changed();
    },
    onMalformed: (reason) => {
      complaints.push(reason);
      changed();
    },
  });
});
afterEach(() => {
  channel.close();
  far.destroy();
});

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise<void>((resolve) => (changed = resolve));
}

describe('what comes in', () => {
  test('is taken apart by lines, however it is cut into pieces', async () => {
    const bytes = Buffer.from('{"a":1}\n{"b":"ü"}\n\n{"cmd":"NODE_HANDLE_ACK"}\nnot JSON\n"last"\n');
    for (const byte of bytes) far.write(Buffer.of(byte));
    await until(() => messages.includes('last'));
    expect(messages).toEqual([{ a: 1 }, { b: 'ü' }, 'last']);
    expect(complaints).toEqual(['a message that is not JSON', 'a message that is not JSON']);
  });

  test('and is too long for a message is skipped up to its end, not kept, and told of once', async () => {
    const long = Buffer.alloc(2 * limits.keeperMessageSizeBytesMax, 'x');
    far.write(long);
    far.write('still the same line\n{"kind":"next"}\n');
    await until(() => messages.length > 0);
    expect(messages).toEqual([{ kind: 'next' }]);
    expect(complaints).toEqual([`a message of more than ${limits.keeperMessageSizeBytesMax} bytes`]);
  });

  test('and is too much waits on the other side', async () => {
    const startedMs = performance.now();
    const flood = Buffer.alloc(32 * 1024 * 1024, '{"kind":"turn","epoch":1}\n');
    far.write(flood);
    // More than may be saved up, so that the channel had to wait.
    await until(() => messages.length > 3 * limits.keeperMessagesPerSecond);
    const seconds = (performance.now() - startedMs) / 1000;
    expect(messages.length).toBeLessThanOrEqual((seconds + 3) * limits.keeperMessagesPerSecond);
    // Beyond what was taken there is one piece that was read and waits.
    expect(near.bytesRead).toBeLessThan(1024 * 1024);
    expect(near.isPaused()).toBe(true);
  });

  test('and never ends costs no more than its allowance of bytes', async () => {
    const startedMs = performance.now();
    far.write(Buffer.alloc(32 * 1024 * 1024, 'x'));
    while (near.bytesRead < 2.5 * limits.keeperBytesPerSecond) await new Promise((resolve) => setTimeout(resolve, 20));
    const seconds = (performance.now() - startedMs) / 1000;
    expect(near.bytesRead).toBeLessThanOrEqual((seconds + 3) * limits.keeperBytesPerSecond);
    expect(complaints).toHaveLength(1);
  });
});

test('what the replica does not read is not kept for it for ever', async () => {
  far.pause();
  const answer = { kind: 'refused', reason: 'x'.repeat(64 * 1024) };
  for (let i = 0; i < 1_000; i++) channel.send(answer);
  expect(near.writableLength).toBeLessThan(2 * limits.keeperMessageSizeBytesMax);
});
