/** State store: what it reads, ranges over, sums up and hands to the engine, whatever lies in layers and whatever is stored. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Change, StateDamage, type StateView } from './engine.ts';
import { MemoryEngine } from './memory-engine.ts';
import { StateStore } from './state-store.ts';
import { plainTree } from './testing/plain-tree.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const storeOver = (engine: StateView): StateStore => new StateStore({ engine, table: 'service' });

const key = fc.oneof(
  { weight: 3, arbitrary: fc.nat(60).map((n) => `${n}`) },
  { weight: 1, arbitrary: fc.constantFrom('', 'a', 'a\0', 'a\0\0', '\uffff', '\ue000', '\u{1f600}', '\u{10ffff}x') },
);
/** Ranges may begin where no key can be. */
const bound = fc.oneof(key, fc.constantFrom('\ud800', '\udfff', 'a\ud83d', '4'.repeat(2_000), '\uffff'.repeat(1_025)));
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ kind: fc.constant('write' as const), key, value: fc.option(fc.constantFrom('x', 'yy')) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('range' as const),
      start: fc.option(bound, { nil: undefined }),
      inclusive: fc.boolean(),
      reverse: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'summary' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'freeze' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'store' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restore' as const }) },
);

describe('a store', () => {
  it('reads as a plain map does, over an engine that is some checkpoints behind', async () => {
    const seen = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120, size: 'max' }), async (plan) => {
        const engine = new MemoryEngine();
        let store = storeOver(engine);
        let map = new Map<string, Uint8Array>();
        let waiting: { readonly changes: Iterable<Change>; readonly map: ReadonlyMap<string, Uint8Array> }[] = [];
        let stored: ReadonlyMap<string, Uint8Array> = new Map();
        for (const next of plan) {
          seen.set(next.kind, (seen.get(next.kind) ?? 0) + 1);
          switch (next.kind) {
            case 'write':
              store.merge(new Map([[next.key, next.value === null ? undefined : bytes(next.value)]]));
              if (next.value === null) map.delete(next.key);
              else map.set(next.key, bytes(next.value));
              expect(store.has(next.key)).toBe(next.value !== null);
              break;
            case 'range': {
              const { start, inclusive, reverse } = next;
              const isInside = (found: string): boolean =>
                start === undefined || (reverse ? found < start : found > start) || (inclusive && found === start);
              const keys = [...map.keys()].filter(isInside).sort((a, b) => (a < b ? -1 : 1));
              if (reverse) keys.reverse();
              const found = [...store.entriesFrom(start, inclusive, reverse)];
              expect(found.map((entry) => entry.key)).toEqual(keys);
              for (const entry of found) expect(Buffer.compare(entry.value, map.get(entry.key) ?? bytes('-'))).toBe(0);
              break;
            }
            case 'summary':
              expect(store.summary()).toMatchObject({ root: plainTree(map).root, entries: map.size });
              break;
            case 'freeze':
              waiting.push({ changes: store.freeze(), map: new Map(map) });
              expect(store.changedEntries).toBe(0);
              break;
            case 'store': {
              const [oldest, ...rest] = waiting;
              if (oldest === undefined) break;
              await engine.write(oldest.changes);
              // Until it is told, it may find either in the engine.
              for (const [name, value] of map) expect(Buffer.compare(store.read(name) ?? bytes('-'), value)).toBe(0);
              store.stored();
              waiting = rest;
              stored = oldest.map;
              break;
            }
            case 'restore': {
              const { root } = plainTree(stored);
              store = new StateStore({ engine, table: 'service', root: root as StateStore['tree']['root'] });
              map = new Map(stored);
              waiting = [];
              expect(store.summary()).toMatchObject({ root, entries: map.size });
              break;
            }
          }
        }
        for (const { changes } of waiting) {
          await engine.write(changes);
          store.stored();
        }
        await engine.write(store.freeze());
        const { root } = plainTree(map);
        const restored = new StateStore({ engine, table: 'service', root: root as StateStore['tree']['root'] });
        const entries = [...restored.entriesFrom(undefined, true, false)];
        expect(new Map(entries.map((entry) => [entry.key, `${entry.value}`]))).toEqual(
          new Map([...map].map(([name, value]) => [name, `${value}`])),
        );
        // Nothing is left of what was deleted.
        expect([...engine.keys({})]).toHaveLength(map.size === 0 ? 0 : map.size + plainTree(map).nodes.size);
      }),
      { numRuns: 150 },
    );
    expect(Math.min(...seen.values())).toBeGreaterThan(100);
  });

  it('counts what was written since the last freeze: each key once, with its last value', () => {
    const store = storeOver(new MemoryEngine());
    const counts = (): readonly number[] => [store.changedEntries, store.changedSizeBytes];
    store.merge(new Map([['key', bytes('12345')]]));
    expect(counts()).toEqual([1, 8]);
    store.merge(new Map([['key', bytes('1')]]));
    expect(counts()).toEqual([1, 4]);
    store.merge(new Map([['key', undefined]]));
    store.merge(new Map([['not there', undefined]]));
    expect(counts()).toEqual([2, 12]);
    store.merge(new Map([['\u{1f600}', bytes('1')]]));
    expect(counts()).toEqual([3, 19]);
    store.freeze();
    expect(counts()).toEqual([0, 0]);
  });

  it('keeps what was deleted and came back while the checkpoints with and without it were on their way', async () => {
    const engine = new MemoryEngine();
    const store = storeOver(engine);
    const freezes = [bytes('1'), undefined, bytes('1'), bytes('2')].map((value) => {
      store.merge(new Map([['key', value]]));
      return store.freeze();
    });
    for (const changes of freezes) {
      await engine.write(changes);
      store.stored();
    }
    const { root } = store.summary();
    const restored = new StateStore({ engine, table: 'service', root });
    expect(restored.read('key')).toEqual(bytes('2'));
    expect(() => store.stored()).toThrow(/invariant/);
  });

  it('makes each change of a freeze anew whenever it is iterated over', () => {
    const store = storeOver(new MemoryEngine());
    store.merge(new Map([['key', bytes('1')]]));
    const changes = store.freeze();
    store.merge(new Map([['key', bytes('2')]]));
    expect([...changes]).toEqual([...changes]);
    expect([...changes]).toHaveLength(2);
    expect([...changes][0]?.value).toEqual(bytes('1'));
  });
});

describe('an engine that cannot be read', () => {
  /** Fails as often as it says. */
  const failing = (error: unknown, times: number): StateView => {
    let left = times;
    const fail = (): undefined => {
      left -= 1;
      if (left >= 0) throw error;
      return undefined;
    };
    return {
      get: () => fail(),
      keys: () => [],
      entries: () => ({ [Symbol.iterator]: () => ({ next: () => ({ done: true, value: fail() }) }) }),
    };
  };
  const attempts: readonly (readonly [string, (store: StateStore) => unknown])[] = [
    ['a key', (store) => store.read('key')],
    ['a range', (store) => [...store.entriesFrom('a', true, false)]],
  ];

  it.each(attempts)('is told when whoever read %s has made nothing of it', (_, read) => {
    const damage = new StateDamage('not what was written');
    const store = storeOver(failing(damage, 1));
    expect(() => read(store)).toThrow(damage);
    expect(() => store.checkReads()).toThrow(damage);
    store.checkReads();
  });

  it.each(attempts)('is tried again for %s where it was the stack that ended', (_, read) => {
    const overflow = new RangeError('Maximum call stack size exceeded');
    for (const error of [overflow, new StateDamage('cannot be read', { cause: overflow })]) {
      const once = storeOver(failing(error, 1));
      expect(() => read(once)).toThrow(error);
      once.checkReads();
      const always = storeOver(failing(error, 9));
      expect(() => read(always)).toThrow(error);
      expect(() => always.checkReads()).toThrow(error);
    }
  });

  it('is damaged when it holds a key that is no text', async () => {
    const engine = new MemoryEngine();
    await engine.write([{ key: Uint8Array.of(1, 0xff), value: bytes('1') }]);
    const store = storeOver(engine);
    expect(() => [...store.entriesFrom(undefined, true, false)]).toThrow(StateDamage);
    expect(() => store.checkReads()).toThrow(StateDamage);
  });
});
