import { describe, expect, it } from 'vitest';
import { encodePeerMessage } from '../wire/peer-message.ts';
import type { ReplicaInput } from './effects.ts';
import { InputQueue } from './input-queue.ts';

const request = (link: number, sizeBytes: number): ReplicaInput => ({
  kind: 'client-request',
  link,
  request: new Uint8Array(sizeBytes),
});

function newQueue(options: Partial<ConstructorParameters<typeof InputQueue>[0]> = {}) {
  const paused = new Set<number>();
  const queue = new InputQueue({
    sourceSizeBytesMax: 10_000,
    sizeBytesMax: 50_000,
    everySourceEachTime: false,
    pause: (source, isPaused) => (isPaused ? paused.add(source) : paused.delete(source)),
    ...options,
  });
  const linksOf = (inputs: readonly ReplicaInput[]): readonly number[] =>
    inputs.map((input) => (input.kind === 'client-request' ? input.link : -1));
  const push = (link: number, sizeBytes: number): void => queue.push(link, request(link, sizeBytes));
  return { queue, paused, push, take: (costBytesMax: number) => linksOf(queue.take(costBytesMax)) };
}

describe('what waits for a step', () => {
  it('is taken from all sources in turn, so that one that sends without end waits for itself', () => {
    const { push, take } = newQueue();
    for (let i = 0; i < 1_000; i++) push(1, 100);
    push(2, 100);
    push(3, 100);
    push(2, 100);
    expect(take(8_000).slice(0, 5)).toEqual([1, 2, 3, 1, 2]);
  });

  it('is taken in parts of bounded cost, small inputs and large ones, and all of it in the end', () => {
    const { queue, push, take } = newQueue();
    for (let i = 0; i < 1_000; i++) push(1, 10);
    push(2, 9_000);
    const sizes: number[] = [];
    while (!queue.isEmpty) sizes.push(take(20_000).length);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(1_001);
    expect(Math.max(...sizes)).toBeLessThan(20);
    push(1, 1_000_000);
    expect(take(20_000)).toEqual([1]);
  });

  it('is forgotten when a life ends, and whoever was paused goes on with the next', () => {
    const { queue, push, paused } = newQueue();
    for (let i = 0; i < 11; i++) push(1, 1_000);
    expect([...paused]).toEqual([1]);
    queue.release();
    expect(queue.isEmpty).toBe(true);
    expect([...paused]).toEqual([]);
  });

  it('comes from every source each time when blocks of one round belong together', () => {
    const { push, take } = newQueue({ everySourceEachTime: true });
    for (const source of [0, 0, 1, 2]) push(source, 9_000);
    expect(take(1_000)).toEqual([0, 1, 2]);
    expect(take(1_000)).toEqual([0]);
  });

  it('has its source paused above its bound, and no other one, until half is gone', () => {
    const { push, take, paused } = newQueue();
    for (let i = 0; i < 11; i++) push(1, 1_000);
    push(2, 1_000);
    expect([...paused]).toEqual([1]);
    take(12_000);
    expect([...paused]).toEqual([1]);
    take(8_000);
    expect([...paused]).toEqual([]);
  });

  it('has those paused that send more when all together are too much', () => {
    const { push, take, paused, queue } = newQueue();
    for (let source = 0; source < 8; source++) push(source, 8_000);
    expect([...paused]).toEqual([6, 7]);
    while (!queue.isEmpty) take(20_000);
    expect([...paused]).toEqual([]);
  });

  it('costs by the requests that a replica passes on, each of which is to be checked', () => {
    const queueOf = (frame: Uint8Array) => {
      const { queue } = newQueue({ everySourceEachTime: true });
      for (let i = 0; i < 20; i++) queue.push(1, { kind: 'peer-frame', from: 1, frame });
      return queue;
    };
    const frame = encodePeerMessage({
      kind: 'requests',
      requests: Array.from({ length: 50 }, () => new Uint8Array(10)),
    });
    expect(queueOf(frame).take(200_000).length).toBeLessThan(5);
    expect(queueOf(encodePeerMessage({ kind: 'catch-up', afterRound: 50 })).take(200_000)).toHaveLength(20);
  });
});
