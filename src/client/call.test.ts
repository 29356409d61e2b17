/** The queue of calls: who is taken into a request, and who is told that the deadline has passed. */
import { expect, it } from 'vitest';
import { limits } from '../wire/limits.ts';
import { encodeRequest } from '../wire/request.ts';
import { Call, CallQueue, fitsRequest } from './call.ts';

const callOf = (inputSizeBytes: number, deadlineAtMs = 1_000): Call =>
  new Call({
    operation: 'put',
    input: new Uint8Array(inputSizeBytes),
    certified: false,
    deadlineAtMs,
    signal: undefined,
    resolve: () => {},
    reject: () => {},
    onAbort: () => {},
  });

function queueOf(calls: readonly Call[]): CallQueue {
  const queue = new CallQueue();
  for (const call of calls) expect(queue.push(call)).toBe(true);
  return queue;
}

it('takes calls in their order, as many as are wanted', () => {
  const calls = [1, 2, 3].map(callOf);
  const queue = queueOf(calls);
  expect(queue.take(2)).toEqual(calls.slice(0, 2));
  expect(queue.take(2)).toEqual(calls.slice(2));
  expect(queue.take(2)).toEqual([]);
});

it('fills a request to the last byte that the wire allows, and no further', () => {
  const sizeOf = (inputs: readonly Uint8Array[]): number =>
    encodeRequest(
      {
        client: new Uint8Array(32),
        session: { birth: 0, nonce: new Uint8Array(16) },
        number: 1,
        acknowledged: 0,
        operations: inputs.map((input) => ({ name: 'put', input })),
      },
      () => new Uint8Array(64),
    ).bytes.length;
  const roomBytes = limits.requestSizeBytesMax - sizeOf([new Uint8Array(0)]);
  expect(fitsRequest('put', new Uint8Array(roomBytes))).toBe(true);
  expect(fitsRequest('put', new Uint8Array(roomBytes + 1))).toBe(false);
  const exact = [callOf(roomBytes - 108), callOf(100), callOf(0)];
  const taken = queueOf(exact).take(10);
  expect(taken).toEqual(exact.slice(0, 2));
  expect(sizeOf(taken.map(({ input }) => input))).toBe(limits.requestSizeBytesMax);
});

it('gives a call that must be alone a request of its own, and keeps the order', () => {
  const calls = [1, 2, 3].map(callOf);
  calls[1]!.alone = true;
  const queue = queueOf(calls);
  expect([queue.take(9), queue.take(9), queue.take(9)]).toEqual(calls.map((call) => [call]));
});

it('leaves out calls that were given up', () => {
  const calls = [1, 2, 3].map(callOf);
  const queue = queueOf(calls);
  calls[0]!.reject(new Error('given up'));
  calls[2]!.reject(new Error('given up'));
  expect(queue.take(9)).toEqual([calls[1]]);
  expect(queue.length).toBe(0);
});

it('names those whose deadline has passed, once, and keeps the rest', () => {
  const calls = [callOf(1, 50), callOf(1, 10), callOf(1, 90)];
  const queue = queueOf(calls);
  const expired: Call[] = [];
  const expire = (nowMs: number): void =>
    queue.expire(nowMs, (call) => {
      expired.push(call);
      call.reject(new Error('too late'));
    });
  expire(9);
  expect(expired).toEqual([]);
  expire(50);
  expire(50);
  expect(expired).toEqual([calls[0], calls[1]]);
  expect(queue.take(9)).toEqual([calls[2]]);
});

it('is bounded in bytes as well as in calls', () => {
  const queue = new CallQueue();
  const large = limits.requestSizeBytesMax / 2;
  let taken = 0;
  while (queue.push(callOf(large))) taken += 1;
  expect(taken * large).toBeLessThanOrEqual(limits.clientCallsWaitingSizeBytesMax);
  queue.take(1);
  expect(queue.push(callOf(large))).toBe(true);
});

it('settles a call once only', () => {
  const told: unknown[] = [];
  const call = new Call({
    operation: 'put',
    input: new Uint8Array(0),
    certified: false,
    deadlineAtMs: 0,
    signal: undefined,
    resolve: (value) => told.push(value),
    reject: (error) => told.push(error),
    onAbort: () => {},
  });
  call.resolve('first', undefined);
  call.reject(new Error('second'));
  expect(told).toEqual(['first']);
});
