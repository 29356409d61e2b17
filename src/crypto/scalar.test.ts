import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  coefficientFromSeed,
  decodeScalar,
  encodeScalar,
  invert,
  modulo,
  scalarFromHash,
  scalarFromSeed,
} from './scalar.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const large = { order: 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n };
const anyScalar = fc.bigInt({ min: 0n, max: large.order - 1n });

describe('arithmetic', () => {
  test('of every number of a tiny field', () => {
    for (let number = -30n; number < 30n; number++) {
      const reduced = modulo(number, 11n);
      expect(reduced >= 0n && reduced < 11n && (number - reduced) % 11n === 0n).toBe(true);
      if (reduced !== 0n) expect(modulo(number * invert(number, 11n), 11n)).toBe(1n);
    }
    expect(() => invert(22n, 11n)).toThrow(RangeError);
  });

  test('an inverse is one', () => {
    fc.assert(
      fc.property(anyScalar, (scalar) => {
        fc.pre(scalar !== 0n);
        expect(modulo(scalar * invert(scalar, large.order), large.order)).toBe(1n);
      }),
    );
  });
});

describe('bytes', () => {
  test('one scalar has one encoding', () => {
    fc.assert(
      fc.property(anyScalar, (scalar) => {
        const bytes = encodeScalar(scalar);
        expect(bytes).toHaveLength(32);
        expect(decodeScalar(large, bytes)).toBe(scalar);
      }),
    );
  });

  test('what is not reduced, or of another length, is refused', () => {
    expect(decodeScalar(large, encodeScalar(large.order - 1n))).toBe(large.order - 1n);
    expect(decodeScalar(large, encodeScalar(large.order))).toBeUndefined();
    expect(decodeScalar(large, new Uint8Array(32).fill(255))).toBeUndefined();
    for (const length of [0, 31, 33]) expect(decodeScalar(large, new Uint8Array(length))).toBeUndefined();
    expect(() => encodeScalar(-1n)).toThrow(RangeError);
    expect(() => encodeScalar(1n << 256n)).toThrow(RangeError);
  });

  test('a view decodes as what it shows', () => {
    const bytes = Buffer.concat([utf8('xx'), encodeScalar(258n), utf8('x')]);
    expect(decodeScalar(large, bytes.subarray(2, 34))).toBe(258n);
  });
});

describe('derived from a seed', () => {
  const seed = new Uint8Array(32).fill(7);

  test('the same again for the same seed and labels, and another for any other', () => {
    const derived = [
      scalarFromSeed(large, seed, utf8('ab'), utf8('c')),
      scalarFromSeed(large, seed, utf8('a'), utf8('bc')),
      scalarFromSeed(large, seed, utf8('abc')),
      scalarFromSeed(large, seed),
      scalarFromSeed(large, new Uint8Array(32).fill(8), utf8('abc')),
    ];
    expect(new Set(derived).size).toBe(derived.length);
    expect(scalarFromSeed(large, seed, utf8('abc'))).toBe(derived[2]);
  });

  test('every value about equally often, zero only where it may be', () => {
    const count = (derive: typeof scalarFromSeed): readonly number[] => {
      const counts = new Array<number>(7).fill(0);
      for (let i = 0; i < 7000; i++) {
        const scalar = Number(derive({ order: 7n }, seed, Uint8Array.of(i >> 8, i & 255)));
        counts[scalar] = (counts[scalar] as number) + 1;
      }
      return counts;
    };
    const [zeros, ...others] = count(scalarFromSeed);
    expect(zeros).toBe(0);
    for (const times of others) expect(Math.abs(times - 7000 / 6)).toBeLessThan(150);
    for (const times of count(coefficientFromSeed)) expect(Math.abs(times - 1000)).toBeLessThan(150);
  });

  test('as ever: replicas of all versions derive the same keys from what is on their disks', () => {
    // Computed with Python's hmac and hashlib.
    expect(scalarFromSeed(large, seed, utf8('key')).toString(16)).toBe(
      '3bf4b24776fd6c9c44c55ce8daa70b434247c1cab38dcf56a6698dbb27bb4a40',
    );
    expect(coefficientFromSeed(large, seed, utf8('key')).toString(16)).toBe(
      '30e5c3bbbb104480d7e149004174f6507216aab6efa61e2f1052aae4f62a642f',
    );
    expect(scalarFromHash(large, [utf8('a'), utf8('b')]).toString(16)).toBe(
      '648cfe4a4b7d52d8192539b0bc8e699773cd04c041d601916e1ce1028ebb4afa',
    );
  });
});

test('a challenge depends on where each part ends', () => {
  expect(scalarFromHash(large, [utf8('ab'), utf8('c')])).not.toBe(scalarFromHash(large, [utf8('a'), utf8('bc')]));
});
