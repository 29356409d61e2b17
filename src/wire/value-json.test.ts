/**
 * Shows that JSON of a modest size that would take gigabytes as a value is refused before it is built, and by its size when
 * that alone is too much.
 */
import { describe, expect, it } from 'vitest';
import { limits } from './limits.ts';
import { valueFromJson } from './value-json.ts';

/** A list of so many records with one key each; counts how many of them were read. */
function recordsWith(key: string, count: number): { readonly list: readonly unknown[]; readonly reads: () => number } {
  let reads = 0;
  const member = {
    enumerable: true,
    get: () => {
      reads += 1;
      return 0;
    },
  };
  const list = Array.from({ length: count }, () => Object.defineProperty({}, key, member));
  return { list, reads: () => reads };
}

describe('JSON as a value', () => {
  it('is read no further than its records may take slots', () => {
    const { list, reads } = recordsWith('1023', 50_000);
    expect(() => valueFromJson(list)).toThrow('whole numbers as keys');
    expect(reads()).toBeLessThanOrEqual(limits.valueSlotsMax / 1024);
  });

  it('is read no further than a value may be long', () => {
    const { list, reads } = recordsWith('k', 200_000);
    expect(() => valueFromJson(list)).toThrow(`at most ${limits.valueSizeBytesMax} bytes`);
    expect(reads()).toBeLessThan(100_000);
  });

  it('is a value up to the limits', () => {
    const { list } = recordsWith('1023', limits.valueSlotsMax / 1024);
    expect(valueFromJson(list)).toHaveLength(limits.valueSlotsMax / 1024);
    const text = 'x'.repeat(limits.valueSizeBytesMax - 5);
    expect(valueFromJson(text)).toBe(text);
    expect(() => valueFromJson(`${text}x`)).toThrow(RangeError);
  });
});
