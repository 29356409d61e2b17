/**
 * A key-value service: put, get, delete, list by prefix, compare-and-set.
 *
 * It uses the public API only; copy it to begin a service of your own (docs/operations/writing-a-service.md).
 */
import { defineService, query, update } from 'coterie/service';
import * as z from 'zod';
import { stateKeyOf } from './certified-reads.ts';

/** Text or bytes. */
export type KvValue = string | Uint8Array;

export type KvEntry = { readonly key: string; readonly value: KvValue };

const key = z.string().min(1).max(256);
const value = z.union([
  z.string().max(128 * 1024),
  z.instanceof(Uint8Array).refine((bytes) => bytes.length <= 128 * 1024),
]);

export { getCertified, type KvRead, kvValueOf } from './certified-reads.ts';

/** Whoever has a key may write here anyhow, and anybody can make one: signing would keep nobody out. */
const anonymous = true;

/** A page ends when its keys and values together pass this length; the next one goes on from there. */
const pageLengthMax = 256 * 1024;

export const kv = defineService({
  name: 'kv',
  version: '1',
  // Whoever may call `get` may read, and anybody may.
  publicState: true,
  operations: {
    /** Stores a value under a key. */
    put: update({
      anonymous,
      input: z.object({ key, value }),
      apply({ state }, input) {
        state.put(stateKeyOf(input.key), input.value);
      },
    }),

    /** The value of a key, null when there is none. */
    get: query({
      anonymous,
      input: z.object({ key }),
      apply({ state }, input) {
        return state.get<KvValue>(stateKeyOf(input.key)) ?? null;
      },
    }),

    /** Removes a key; says whether it was there. */
    delete: update({
      anonymous,
      input: z.object({ key }),
      apply({ state }, input) {
        return { deleted: state.delete(stateKeyOf(input.key)) };
      },
    }),

    /** Entries with a prefix, in the order of their keys, a page at a time: pass `next` as `after` to go on. */
    list: query({
      anonymous,
      input: z.object({
        prefix: z.string().max(256).default(''),
        after: z.string().max(256).optional(),
        limit: z.int().min(1).max(1000).default(100),
      }),
      apply({ state, fail }, { prefix, after, limit }) {
        if (after !== undefined && !after.startsWith(prefix)) return fail('bad-cursor', 'after must begin with prefix');
        const entries: KvEntry[] = [];
        let length = 0;
        for (const entry of state.range<KvValue>({ prefix, after })) {
          const isFull = entries.length === limit || length > pageLengthMax;
          if (isFull) return { entries, next: entries.at(-1)?.key ?? null };
          entries.push(entry);
          length += entry.key.length + entry.value.length;
        }
        return { entries, next: null };
      },
    }),

    /** Stores a value if the key still has the expected one (null: if it is absent); `current` is what it has now. */
    cas: update({
      anonymous,
      input: z.object({ key, expected: value.nullable(), value }),
      apply({ state }, input) {
        const current = state.get<KvValue>(stateKeyOf(input.key)) ?? null;
        if (!isSame(current, input.expected)) return { swapped: false, current };
        state.put(stateKeyOf(input.key), input.value);
        return { swapped: true, current: input.value };
      },
    }),
  },
});

function isSame(a: KvValue | null, b: KvValue | null): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
  }
  return a === b;
}
