/**
 * What every state engine can do, shown for the one in memory and the one on disk with the same tests: keys in the order
 * of their bytes, ranges both ways, writes that are there whole or not at all, and snapshots that stay as they were.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Change, Range, StateEngine, StateView } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { limits } from '../wire/limits.ts';
import { LmdbEngine } from './lmdb-engine.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const text = (found: Uint8Array | undefined): string | undefined =>
  found === undefined ? undefined : Buffer.from(found).toString('latin1');
const put = (key: string, value: string): Change => ({ key: bytes(key), value: bytes(value) });
const remove = (key: string): Change => ({ key: bytes(key), value: undefined });
const keysOf = (view: StateView, range: Range = {}): readonly (string | undefined)[] =>
  [...view.keys(range)].map((key) => text(key));
const entriesOf = (view: StateView, range: Range = {}): Record<string, string | undefined> =>
  Object.fromEntries([...view.entries(range)].map(({ key, value }) => [text(key), text(value)]));

type Opener = () => Promise<StateEngine>;
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'coterie-state-engine-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const engines: readonly (readonly [string, Opener])[] = [
  ['memory', async () => new MemoryEngine()],
  [
    'memory, slow to sync',
    async () => new MemoryEngine({ sync: () => new Promise((resolve) => setTimeout(resolve, 1)) }),
  ],
  ['lmdb', async () => LmdbEngine.open(await mkdtemp(join(root, 'engine-')))],
];

describe.each(engines)('the state engine: %s', (_name, open) => {
  const opened: StateEngine[] = [];
  const fresh: Opener = async () => {
    const engine = await open();
    opened.push(engine);
    return engine;
  };
  afterAll(async () => {
    for (const engine of opened) await engine.close();
  });

  test('gives back what was written, and nothing else', async () => {
    const engine = await fresh();
    expect(engine.get(bytes('a'))).toBeUndefined();
    expect(keysOf(engine)).toEqual([]);
    await engine.write([put('a', '1'), put('b', ''), put('c', '3')]);
    await engine.write([remove('c'), remove('never there'), put('a', '4')]);
    expect(entriesOf(engine)).toEqual({ a: '4', b: '' });
    expect(text(engine.get(bytes('a')))).toBe('4');
    expect(engine.get(bytes('b'))).toEqual(new Uint8Array());
    expect(engine.get(bytes('c'))).toBeUndefined();
  });

  test('lets the last change of a key win, also one that deletes', async () => {
    const engine = await fresh();
    await engine.write([put('a', '1'), remove('a'), put('b', '1'), put('b', '2'), put('c', '1'), remove('c')]);
    await engine.write([remove('b'), put('b', '3')]);
    expect(entriesOf(engine)).toEqual({ b: '3' });
  });

  test('orders keys by their bytes, a prefix first, zeros and the highest byte as any other', async () => {
    const engine = await fresh();
    const keys = [
      '\0',
      '\0\0',
      '\0\xff',
      '\x01',
      'a',
      'a\0',
      'a\0b',
      'aa',
      'b',
      '\x7f',
      '\x80',
      '\xff',
      '\xff\0',
      '\xff\xff',
    ];
    await engine.write(keys.toReversed().map((key) => put(key, `of ${key}`)));
    expect(keysOf(engine)).toEqual(keys);
    expect(keysOf(engine, { reverse: true })).toEqual(keys.toReversed());
    for (const key of keys) expect(text(engine.get(bytes(key)))).toBe(`of ${key}`);
  });

  test('gives a range from its start to before its end, both ways, whether they are there or not', async () => {
    const engine = await fresh();
    await engine.write(['b', 'd', 'f', 'h'].map((key) => put(key, key)));
    const cases: readonly [start: string | undefined, end: string | undefined, expected: readonly string[]][] = [
      [undefined, undefined, ['b', 'd', 'f', 'h']],
      ['b', 'h', ['b', 'd', 'f']],
      ['a', 'i', ['b', 'd', 'f', 'h']],
      ['c', 'g', ['d', 'f']],
      ['d', 'd', []],
      ['e', 'e', []],
      ['f', 'c', []],
      ['i', undefined, []],
      [undefined, 'b', []],
      [undefined, 'a', []],
      ['d', undefined, ['d', 'f', 'h']],
      [undefined, 'f', ['b', 'd']],
    ];
    for (const [from, to, expected] of cases) {
      const range = {
        start: from === undefined ? undefined : bytes(from),
        end: to === undefined ? undefined : bytes(to),
      };
      expect(keysOf(engine, range)).toEqual(expected);
      expect(keysOf(engine, { ...range, reverse: true })).toEqual(expected.toReversed());
      expect(Object.keys(entriesOf(engine, range))).toEqual(expected);
    }
  });

  test('lets a range be left before its end, and be walked beside others', async () => {
    const engine = await fresh();
    await engine.write(Array.from({ length: 100 }, (_, i) => put(`k${String(i).padStart(3, '0')}`, `${i}`)));
    for (const key of engine.keys({})) if (text(key) === 'k003') break;
    const down = engine.entries({ reverse: true })[Symbol.iterator]();
    const pairs = [];
    for (const { key } of engine.entries({ start: bytes('k010'), end: bytes('k013') })) {
      pairs.push([text(key), text(down.next().value?.key), text(engine.get(bytes('k050')))]);
    }
    down.return?.();
    expect(pairs).toEqual([
      ['k010', 'k099', '50'],
      ['k011', 'k098', '50'],
      ['k012', 'k097', '50'],
    ]);
  });

  test('takes the largest keys and values, and refuses larger ones and an empty key without changing anything', async () => {
    const engine = await fresh();
    const longKey = 'k'.repeat(limits.engineKeySizeBytesMax);
    const large = Buffer.alloc(limits.engineValueSizeBytesMax, 'value');
    const otherLarge = Buffer.alloc(limits.engineValueSizeBytesMax - 1, 'other');
    await engine.write([
      { key: bytes(longKey), value: large },
      { key: bytes('other'), value: otherLarge },
      put('z', '1'),
    ]);
    expect(Buffer.compare(engine.get(bytes(longKey)) ?? bytes(''), large)).toBe(0);
    const found = [...engine.entries({})];
    expect(found.map(({ key }) => text(key))).toEqual([longKey, 'other', 'z']);
    expect(found.map(({ value }) => value.length)).toEqual([large.length, otherLarge.length, 1]);
    expect(Buffer.compare(found[0]?.value ?? bytes(''), large)).toBe(0);
    expect(Buffer.compare(found[1]?.value ?? bytes(''), otherLarge)).toBe(0);

    await expect(engine.write([put('z', '2'), put(`${longKey}k`, '')])).rejects.toThrow(RangeError);
    await expect(engine.write([put('z', '2'), remove('')])).rejects.toThrow(RangeError);
    const tooLarge = { key: bytes('y'), value: Buffer.alloc(limits.engineValueSizeBytesMax + 1) };
    await expect(engine.write([put('z', '2'), tooLarge])).rejects.toThrow(RangeError);
    expect(text(engine.get(bytes('z')))).toBe('1');
    await engine.write([put('z', '3')]);
    expect(text(engine.get(bytes('z')))).toBe('3');
  });

  test('changes nothing when what gives the changes throws in the middle', async () => {
    const engine = await fresh();
    await engine.write([put('a', '1'), put('b', '1')]);
    const broken = function* (): Generator<Change> {
      for (let i = 0; i < 5_000; i++) yield put(`new ${i}`, 'x');
      yield remove('a');
      throw new Error('no more');
    };
    await expect(engine.write(broken())).rejects.toThrow('no more');
    expect(entriesOf(engine)).toEqual({ a: '1', b: '1' });
  });

  test('keeps its own copy of what it is given, and what it gave stays as it was', async () => {
    const engine = await fresh();
    const key = Buffer.from('key');
    const value = Buffer.from('value');
    const written = engine.write([{ key, value }]);
    await written;
    key.fill('x');
    value.fill('x');
    const found = engine.get(bytes('key'));
    const [entry] = engine.entries({});
    await engine.write([
      put('key', 'other'),
      ...Array.from({ length: 2_000 }, (_, i) => put(`k${i}`, `${i}`.repeat(50))),
    ]);
    for (const each of engine.entries({})) engine.get(each.key);
    expect(text(found)).toBe('value');
    expect(text(entry?.key)).toBe('key');
    expect(text(entry?.value)).toBe('value');
  });

  test('shows each write whole or not at all while it is written, and writes in the order they were asked for', async () => {
    const engine = await fresh();
    const keys = Array.from({ length: 4_000 }, (_, i) => `k${String(i).padStart(5, '0')}`);
    const writeAll = (value: string): Promise<void> => engine.write(keys.map((key) => put(key, value)));
    await writeAll('0');
    let areWritten = false;
    const writes = Promise.all(['1', '2', '3'].map(writeAll)).then(() => {
      areWritten = true;
    });
    const seen = new Set<string | undefined>();
    while (!areWritten) {
      const values = new Set([...engine.entries({})].map(({ value }) => text(value)));
      expect(values.size).toBe(1);
      const [value] = values;
      expect(text(engine.get(bytes('k00000')))).toBe(value);
      seen.add(value);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await writes;
    expect([...seen]).toEqual([...seen].toSorted());
    expect(new Set([...engine.entries({})].map(({ value }) => text(value)))).toEqual(new Set(['3']));
  });

  test('keeps a snapshot as it was, during and after writes, until it is closed', async () => {
    const engine = await fresh();
    await engine.write([put('a', '1'), put('b', '1')]);
    const first = engine.snapshot();
    const many = Array.from({ length: 5_000 }, (_, i) => put(`many ${i}`, 'x'));
    const writing = engine.write([put('a', '2'), remove('b'), ...many]);
    const during = engine.snapshot();
    const seenDuring = entriesOf(during);
    await new Promise((resolve) => setImmediate(resolve));
    expect(entriesOf(first)).toEqual({ a: '1', b: '1' });
    expect(entriesOf(during)).toEqual(seenDuring);
    await writing;
    const second = engine.snapshot();
    await engine.write([put('a', '3'), ...many.map(({ key }) => ({ key, value: undefined }))]);
    expect(entriesOf(first)).toEqual({ a: '1', b: '1' });
    expect(text(first.get(bytes('b')))).toBe('1');
    expect(entriesOf(during)).toEqual(seenDuring);
    expect(text(second.get(bytes('a')))).toBe('2');
    expect(keysOf(second).length).toBe(5_001);
    expect(keysOf(second, { reverse: true }).at(-1)).toBe('a');
    expect(entriesOf(engine)).toEqual({ a: '3' });
    first.close();
    during.close();
    expect(text(second.get(bytes('a')))).toBe('2');
    second.close();
    expect(() => second.get(bytes('a'))).toThrow(/closed/);
    expect(() => [...first.keys({})]).toThrow(/closed/);
    second.close();
  });

  test('is a sorted map, whatever is written, with all its snapshots', async () => {
    const key = fc.oneof(
      fc.stringMatching(/^[abc]{1,4}$/),
      fc.uint8Array({ minLength: 1, maxLength: 4 }).map((each) => Buffer.from(each).toString('latin1')),
    );
    const value = fc.string({ maxLength: 5 }).map((each) => Buffer.from(each).toString('latin1'));
    const write = fc.array(fc.tuple(key, fc.option(value, { nil: undefined, freq: 3 })), { maxLength: 40 });
    const range = fc.record({ start: fc.option(key), end: fc.option(key), reverse: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(write, fc.boolean(), range), { maxLength: 8 }), async (steps) => {
        const engine = await fresh();
        await engine.write([...engine.keys({})].map((each) => ({ key: each, value: undefined })));
        const model = new Map<string, string>();
        const snapshots: { readonly view: ReturnType<StateEngine['snapshot']>; readonly expected: string }[] = [];
        for (const [changes, isKept, { start, end, reverse }] of steps) {
          await engine.write(changes.map(([k, v]) => (v === undefined ? remove(k) : put(k, v))));
          for (const [k, v] of changes) v === undefined ? model.delete(k) : model.set(k, v);
          const sorted = [...model].sort(([a], [b]) => Buffer.compare(bytes(a), bytes(b)));
          const within = sorted.filter(
            ([k]) => (start === null || bytesAtLeast(k, start)) && (end === null || !bytesAtLeast(k, end)),
          );
          const expected = reverse ? within.toReversed() : within;
          const bounds = {
            start: start === null ? undefined : bytes(start),
            end: end === null ? undefined : bytes(end),
            reverse,
          };
          expect([...engine.entries(bounds)].map((each) => [text(each.key), text(each.value)])).toEqual(expected);
          for (const [k] of changes) expect(text(engine.get(bytes(k)))).toBe(model.get(k));
          if (isKept) snapshots.push({ view: engine.snapshot(), expected: JSON.stringify(sorted) });
        }
        for (const { view, expected } of snapshots) {
          expect(JSON.stringify([...view.entries({})].map((each) => [text(each.key), text(each.value)]))).toBe(
            expected,
          );
          view.close();
        }
      }),
      { numRuns: 40 },
    );
  });

  test('says no more once it is closed', async () => {
    const engine = await open();
    await engine.write([put('a', '1')]);
    await engine.close();
    expect(() => engine.get(bytes('a'))).toThrow(/closed/);
    expect(() => [...engine.keys({})]).toThrow(/closed/);
    expect(() => engine.snapshot()).toThrow(/closed/);
    await expect(engine.write([put('a', '2')])).rejects.toThrow(/closed/);
    await engine.close();
  });
});

const bytesAtLeast = (key: string, bound: string): boolean => Buffer.compare(bytes(key), bytes(bound)) >= 0;
