/** The key-value service, as its callers see it. */
import { testService } from 'coterie/service';
import { describe, expect, it } from 'vitest';
import { kv } from './kv.ts';

describe('kv', () => {
  it('puts, gets and deletes', () => {
    const store = testService(kv);
    expect(store.call('get', { key: 'a' })).toBeNull();
    expect(store.call('put', { key: 'a', value: 'one' })).toBeNull();
    expect(store.call('get', { key: 'a' })).toBe('one');
    store.call('put', { key: 'a', value: new Uint8Array([1, 2]) });
    expect(store.call('get', { key: 'a' })).toEqual(new Uint8Array([1, 2]));
    expect(store.call('delete', { key: 'a' })).toEqual({ deleted: true });
    expect(store.call('delete', { key: 'a' })).toEqual({ deleted: false });
    expect(store.call('get', { key: 'a' })).toBeNull();
  });

  it('lists by prefix, a page at a time', () => {
    const store = testService(kv);
    for (const key of ['b/2', 'a', 'b/1', 'b/3', 'c', 'b']) store.call('put', { key, value: key });
    const first = store.call('list', { prefix: 'b/', limit: 2 });
    expect(first).toEqual({
      entries: [
        { key: 'b/1', value: 'b/1' },
        { key: 'b/2', value: 'b/2' },
      ],
      next: 'b/2',
    });
    expect(store.call('list', { prefix: 'b/', limit: 2, after: 'b/2' })).toEqual({
      entries: [{ key: 'b/3', value: 'b/3' }],
      next: null,
    });
    expect(store.call('list', {}).entries.map(({ key }) => key)).toEqual(['a', 'b', 'b/1', 'b/2', 'b/3', 'c']);
    expect(store.call('list', { prefix: 'b/', limit: 3 }).next).toBeNull();
    expect(store.outcome('list', { prefix: 'b/', after: 'c' })).toMatchObject({ ok: false, code: 'bad-cursor' });
  });

  it('ends a page early when values are large, and loses nothing', () => {
    const store = testService(kv);
    const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    for (const key of keys) store.call('put', { key, value: '€'.repeat(128 * 1024) });
    const listed: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = store.call('list', after === undefined ? {} : { after });
      listed.push(...page.entries.map(({ key }) => key));
      if (page.next === null) break;
      after = page.next;
    }
    expect(listed).toEqual(keys);
  });

  it('compares and sets', () => {
    const store = testService(kv);
    expect(store.call('cas', { key: 'a', expected: 'x', value: 'y' })).toEqual({ swapped: false, current: null });
    expect(store.call('cas', { key: 'a', expected: null, value: 'x' })).toEqual({ swapped: true, current: 'x' });
    expect(store.call('cas', { key: 'a', expected: null, value: 'z' })).toEqual({ swapped: false, current: 'x' });
    expect(store.call('cas', { key: 'a', expected: 'x', value: 'y' })).toEqual({ swapped: true, current: 'y' });
    expect(store.call('get', { key: 'a' })).toBe('y');
    const bytes = new Uint8Array([1, 2]);
    store.call('put', { key: 'b', value: bytes });
    expect(store.call('cas', { key: 'b', expected: new Uint8Array([1]), value: 'n' }).swapped).toBe(false);
    expect(store.call('cas', { key: 'b', expected: new Uint8Array([1, 3]), value: 'n' }).swapped).toBe(false);
    expect(store.call('cas', { key: 'b', expected: '\u0001\u0002', value: 'n' }).swapped).toBe(false);
    expect(store.call('cas', { key: 'b', expected: bytes, value: 'y' }).swapped).toBe(true);
  });

  it('refuses what is no key or value', () => {
    const store = testService(kv);
    const bad: readonly unknown[] = [
      null,
      {},
      { key: '', value: 'x' },
      { key: 'k'.repeat(257), value: 'x' },
      { key: 1, value: 'x' },
      { key: 'a', value: 5 },
      { key: 'a', value: 'x'.repeat(128 * 1024 + 1) },
      { key: 'a', value: new Uint8Array(128 * 1024 + 1) },
    ];
    for (const input of bad) expect(store.outcome('put', input)).toMatchObject({ ok: false, code: 'invalid-input' });
    expect(store.outcome('list', { limit: 0 })).toMatchObject({ ok: false, code: 'invalid-input' });
    expect(store.outcome('list', { limit: 1001 })).toMatchObject({ ok: false, code: 'invalid-input' });
    expect(store.call('list', {}).entries).toEqual([]);
  });
});
