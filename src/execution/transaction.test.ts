/** The state against an obvious twin: a plain map, copied for each transaction and sorted for each range. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryEngine } from '../state/memory-engine.ts';
import { StateStore } from '../state/state-store.ts';
import type { Value } from '../wire/value.ts';
import { OperationFailure } from './failure.ts';
import type { Range } from './service-definition.ts';
import { Transaction } from './transaction.ts';

const emptyStore = (): StateStore => new StateStore({ engine: new MemoryEngine(), table: 'service' });

/** Few keys, that lie close together, so that transactions meet; among them all that is awkward about order. */
const key = fc.oneof(
  fc.constantFrom('', 'a', 'aa', 'ab', 'ab\u0000', 'b', '\uffff', 'a\uffff', 'a\uffff\uffff', '\u{1f600}', '\ue000'),
  fc.string({ minLength: 1, maxLength: 2, unit: fc.constantFrom('a', 'b', 'c', '\uffff') }),
);
const optionalKey = fc.option(key, { nil: undefined });
const range: fc.Arbitrary<Range> = fc
  .record({
    ends: fc.oneof(fc.record({ prefix: optionalKey }), fc.record({ from: optionalKey, to: optionalKey })),
    after: optionalKey,
    limit: fc.option(fc.nat(4), { nil: undefined }),
    reverse: fc.boolean(),
  })
  .map(({ ends, ...rest }) => ({ ...ends, ...rest }));

const action = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value: fc.nat(99) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('get' as const), key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('range' as const), range }) },
);
const transactions = fc.array(fc.record({ succeeds: fc.boolean(), actions: fc.array(action, { maxLength: 12 }) }), {
  maxLength: 12,
});

/** What a range must give, by looking at every key. */
function twinRange(twin: ReadonlyMap<string, Value>, wanted: Range): readonly unknown[] {
  const { prefix, from, to, after, limit, reverse = false } = wanted;
  const keys = [...twin.keys()].filter(
    (candidate) =>
      (prefix === undefined || candidate.startsWith(prefix)) &&
      (from === undefined || candidate >= from) &&
      (to === undefined || candidate < to) &&
      (after === undefined || (reverse ? candidate < after : candidate > after)),
  );
  keys.sort((a, b) => (a < b ? -1 : 1));
  if (reverse) keys.reverse();
  return keys.slice(0, limit).map((found) => ({ key: found, value: twin.get(found) }));
}

describe('transactions', () => {
  it('read, write, range, keep and undo as a plain map does', () => {
    fc.assert(
      fc.property(transactions, (plan) => {
        const store = emptyStore();
        let twin = new Map<string, Value>();
        for (const { succeeds, actions } of plan) {
          const transaction = new Transaction(store, true);
          const view = new Map(twin);
          for (const step of actions) {
            if (step.kind === 'put') {
              transaction.put(step.key, step.value);
              view.set(step.key, step.value);
            } else if (step.kind === 'delete') {
              expect(transaction.delete(step.key)).toBe(view.delete(step.key));
            } else if (step.kind === 'get') {
              expect(transaction.get(step.key)).toBe(view.get(step.key));
              expect(transaction.has(step.key)).toBe(view.has(step.key));
            } else {
              expect([...transaction.range(step.range)]).toEqual(twinRange(view, step.range));
            }
          }
          const writes = transaction.end();
          if (succeeds) {
            if (writes !== undefined) store.merge(writes);
            twin = view;
          }
        }
        expect([...new Transaction(store, false).range()]).toEqual(twinRange(twin, {}));
        expect(store.summary().entries).toBe(twin.size);
      }),
      { numRuns: 1_500 },
    );
  });

  it('nobody can change a stored value but by put', () => {
    const store = emptyStore();
    const transaction = new Transaction(store, true);
    const list = [1];
    transaction.put('list', list);
    list.push(2);
    const seen = transaction.get<number[]>('list');
    seen?.push(3);
    expect(transaction.get('list')).toEqual([1]);
  });

  it('a range read slowly may be interrupted by writes of its own operation, and stays in order', () => {
    const transaction = new Transaction(emptyStore(), true);
    for (const name of ['a', 'c', 'e']) transaction.put(name, 1);
    const seen: string[] = [];
    for (const { key: name } of transaction.range()) {
      seen.push(name);
      transaction.delete('c');
      transaction.put('b', 2);
    }
    expect(seen).toEqual(['a', 'e']);
  });

  it('refuses keys and values beyond the limits, by bytes, and takes those at the limit', () => {
    const transaction = new Transaction(emptyStore(), true);
    transaction.put('k'.repeat(1024), null);
    transaction.put('v', new Uint8Array(512 * 1024 - 5));
    expect(() => transaction.put('k'.repeat(1025), null)).toThrow(OperationFailure);
    expect(() => transaction.put('é'.repeat(513), null)).toThrow(OperationFailure);
    expect(() => transaction.get('é'.repeat(513))).toThrow(OperationFailure);
    expect(() => transaction.put('v', new Uint8Array(512 * 1024 - 4))).toThrow(/^the value for a state key has/);
    expect(() => transaction.put('v', 'x'.repeat(2 ** 21))).toThrow(OperationFailure);
    expect(() => transaction.put('\ud800', 1)).toThrow(RangeError);
    expect(() => transaction.put('v', Number.NaN)).toThrow(TypeError);
  });

  it('is of no use once its operation has ended', () => {
    const transaction = new Transaction(emptyStore(), true);
    transaction.put('a', 1);
    const begun = transaction.range()[Symbol.iterator]();
    transaction.end();
    expect(() => transaction.get('a')).toThrow(/had ended/);
    expect(() => transaction.put('b', 1)).toThrow(/had ended/);
    expect(() => begun.next()).toThrow(/had ended/);
  });

  it('refuses ranges that say two things', () => {
    const transaction = new Transaction(emptyStore(), false);
    expect(() => [...transaction.range({ prefix: 'a', from: 'b' })]).toThrow(TypeError);
    expect(() => [...transaction.range({ limit: -1 })]).toThrow(RangeError);
    expect(() => [...transaction.range({ limit: Number.NaN })]).toThrow(RangeError);
  });
});
