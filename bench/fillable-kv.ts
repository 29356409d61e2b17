/**
 * A key-value service that can also write many entries at one word: so that a benchmark has a large state in seconds, and
 * not after as many requests as a cluster gets in years.
 */
import { defineService, update } from 'coterie/service';
import { kv } from 'coterie/services/kv';
import * as z from 'zod';

export const service = defineService({
  ...kv,
  name: 'fillable-kv',
  operations: {
    ...kv.operations,
    /** Writes `count` entries from number `from` on, with values of `size` characters. No two values are the same. */
    fill: update({
      anonymous: true,
      input: z.object({ from: z.int().min(0), count: z.int().min(1).max(20_000), size: z.int().min(16).max(65_536) }),
      apply({ state }, { from, count, size }) {
        for (let number = from; number < from + count; number++) {
          state.put(filledKey(number), filledValue(number, size));
        }
      },
    }),
  },
});

/** The key of an entry that `fill` writes. */
export function filledKey(number: number): string {
  return `filled/${number.toString().padStart(10, '0')}`;
}

function filledValue(number: number, size: number): string {
  return number
    .toString()
    .padStart(16, '0')
    .repeat(Math.ceil(size / 16))
    .slice(0, size);
}
