/** The harness: it gives what a client would get, under the guard, and finds a service that is not deterministic. */
import { expect, it } from 'vitest';
import * as z from 'zod';
import { defineService, query, TestCallError, testService, update } from './service.ts';

let outside = 0;

const service = defineService({
  name: 'tally',
  version: '1',
  operations: {
    add: update({
      input: z.int(),
      apply({ state, fail }, amount) {
        const total = (state.get<number>('total') ?? 0) + amount;
        if (total < 0) fail('below-zero', 'a tally is never negative');
        state.put('total', total);
        return total;
      },
    }),
    who: query({ input: z.null(), apply: ({ client, timeMs }) => `${client.slice(0, 2)} ${timeMs}` }),
    stamp: update({ input: z.null(), apply: () => Date.now() }),
    'hidden-result': update({ input: z.null(), apply: () => ++outside }),
    'hidden-state': update({
      input: z.null(),
      apply({ state }) {
        state.put('hidden', ++outside);
      },
    }),
  },
});

it('calls, and throws what an operation failed with', () => {
  const tally = testService(service);
  expect(tally.call('add', 5)).toBe(5);
  expect(tally.call('add', 2)).toBe(7);
  expect(() => tally.call('add', -8)).toThrow(TestCallError);
  expect(() => tally.call('add', -8)).toThrow('below-zero: a tally is never negative');
  expect(tally.call('add', 0)).toBe(7);
  expect(tally.outcome('add', 'many')).toMatchObject({ ok: false, code: 'invalid-input' });
});

it('says who calls and when', () => {
  const tally = testService(service);
  expect(tally.call('who', null, { client: 'ab'.repeat(32), timeMs: 1_800_000_000_000 })).toBe('ab 1800000000000');
  expect(tally.call('who', null)).toBe('ab 1800000000000');
  expect(() => tally.call('who', null, { timeMs: 5 })).toThrow(/never falls/);
  expect(() => tally.call('who', null, { client: 'me' })).toThrow(/64 hex/);
});

it('has the guard that replicas have', () => {
  expect(testService(service).outcome('stamp', null)).toEqual({
    ok: false,
    code: 'not-deterministic',
    message: 'the operation used Date.now, which reads a clock: take context.timeMs',
    detail: expect.stringContaining('ForbiddenUse'),
  });
});

it('executes everything twice, and notices what is kept outside of the state', () => {
  expect(() => testService(service).call('hidden-result', null)).toThrow(
    /not deterministic.*returned different results/,
  );
  expect(() => testService(service).call('hidden-state', null)).toThrow(/not deterministic.*wrote different things/);
});

it('two runs of the same calls have the same digest', () => {
  const digests = [1, 2].map(() => {
    const tally = testService(service);
    tally.call('add', 5);
    return tally.stateDigest;
  });
  expect(digests[0]).toBe(digests[1]);
});
