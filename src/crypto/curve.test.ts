/**
 * Two providers of one curve, equal byte for byte: the same points from the same numbers, and the same encodings
 * refused, among them each kind of crafted one. Points outside the subgroup are made here, from the equations alone.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { CurveGroup, PairingCurve } from './curve.ts';
import { mclCurve, mclHashToG1 } from './curve-mcl.ts';
import { nobleCurve, nobleHashToG1 } from './curve-noble.ts';

const { order } = mclCurve;
const { Fp, Fp2 } = bls12_381.fields;
const prime = Fp.ORDER;
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

type Group = CurveGroup<object>;
const groups = (curve: PairingCurve): readonly Group[] => [curve.g1 as unknown as Group, curve.g2 as unknown as Group];
const pairs = groups(mclCurve).map((mcl, index) => ({
  name: `G${index + 1}`,
  mcl,
  noble: groups(nobleCurve)[index] as Group,
}));

const scalars = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, order - 1n, order, order + 1n, 2n ** 256n, -(2n ** 300n)),
  fc.bigInt({ min: -100n, max: 100n }),
  fc.bigInt({ min: 0n, max: order - 1n }),
);

describe.each(pairs)('$name of both providers', ({ mcl, noble }) => {
  const ofMcl = (scalar: bigint): object => mcl.multiply(mcl.generator, scalar);
  const ofNoble = (scalar: bigint): object => noble.multiply(noble.generator, scalar);

  test('has the same order, sizes, generator and zero', () => {
    expect(nobleCurve.order).toBe(order);
    expect(noble.sizeBytes).toBe(mcl.sizeBytes);
    expect(hexOf(noble.encode(noble.generator))).toBe(hexOf(mcl.encode(mcl.generator)));
    expect(hexOf(noble.encode(noble.zero))).toBe(hexOf(mcl.encode(mcl.zero)));
    expect([mcl.isZero(mcl.zero), noble.isZero(noble.zero)]).toEqual([true, true]);
    expect([mcl.isZero(mcl.generator), noble.isZero(noble.generator)]).toEqual([false, false]);
  });

  test('adds and multiplies alike, whatever the scalars', () => {
    fc.assert(
      fc.property(scalars, scalars, (a, b) => {
        const sum = mcl.add(ofMcl(a), ofMcl(b));
        expect(hexOf(mcl.encode(sum))).toBe(hexOf(noble.encode(noble.add(ofNoble(a), ofNoble(b)))));
        expect(mcl.equals(sum, ofMcl(a + b))).toBe(true);
        expect(mcl.isZero(sum)).toBe((a + b) % order === 0n);
        const product = mcl.multiply(ofMcl(a), b);
        expect(hexOf(mcl.encode(product))).toBe(hexOf(noble.encode(noble.multiply(ofNoble(a), b))));
        expect(mcl.equals(product, ofMcl(a * b))).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  test('adds up products alike, none among them', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(scalars, scalars), { maxLength: 5 }), (terms) => {
        const factors = terms.map(([, factor]) => factor);
        const points = terms.map(([log]) => log);
        const sum = mcl.sumOfProducts(points.map(ofMcl), factors);
        expect(hexOf(mcl.encode(sum))).toBe(hexOf(noble.encode(noble.sumOfProducts(points.map(ofNoble), factors))));
        expect(mcl.equals(sum, ofMcl(terms.reduce((total, [log, factor]) => total + log * factor, 0n)))).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  test('adds up more products than fit into the memory of the library at once', () => {
    const logs = Array.from({ length: 600 }, (_, index) => BigInt(index) ** 3n);
    const sum = mcl.sumOfProducts(logs.map(ofMcl), logs);
    expect(mcl.equals(sum, ofMcl(logs.reduce((total, log) => total + log * log, 0n)))).toBe(true);
  });

  test('changes no point it is given, and gives encodings that are the caller’s own', () => {
    const point = ofMcl(7n);
    const before = hexOf(mcl.encode(point));
    mcl.add(point, point);
    mcl.multiply(point, 5n);
    mcl.multiply(point, order - 1n);
    mcl.sumOfProducts([point, point], [2n, 3n]);
    mcl.encode(point).fill(0);
    expect(hexOf(mcl.encode(point))).toBe(before);
  });

  test('decodes what it encodes, also inside a longer buffer', () => {
    fc.assert(
      fc.property(scalars, (scalar) => {
        const bytes = mcl.encode(ofMcl(scalar));
        const around = Buffer.concat([Buffer.alloc(3, 0xff), bytes, Buffer.alloc(3, 0xff)]);
        for (const group of [mcl, noble]) {
          const point = group.decode(around.subarray(3, 3 + bytes.length));
          expect(point !== undefined && group.equals(point, group.multiply(group.generator, scalar))).toBe(true);
          expect(hexOf(group.encode(point as object))).toBe(hexOf(bytes));
        }
      }),
      { numRuns: 15 },
    );
  });

  test('decodes changed bytes alike, and never to what encodes otherwise', () => {
    const size = mcl.sizeBytes;
    const changes = fc.array(fc.tuple(fc.nat(size - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(scalars, changes, (scalar, changed) => {
        const bytes = Uint8Array.from(mcl.encode(ofMcl(scalar)));
        for (const [at, value] of changed) bytes[at] = value;
        for (const group of [mcl, noble]) {
          const point = group.decode(bytes);
          if (point !== undefined) expect(hexOf(group.encode(point))).toBe(hexOf(bytes));
        }
        expect(mcl.decode(bytes) === undefined).toBe(noble.decode(bytes) === undefined);
      }),
      { numRuns: 40 },
    );
  });
});

/** 48 bytes, big-endian. */
const fieldBytes = (x: bigint): Uint8Array => Buffer.from(x.toString(16).padStart(96, '0'), 'hex');
const withFlags = (bytes: Uint8Array, flags: number): Uint8Array => {
  const copy = Uint8Array.from(bytes);
  copy[0] = ((copy[0] as number) & 0x1f) | flags;
  return copy;
};
const zeroWith = (size: number, flags: number, stray?: number): Uint8Array => {
  const bytes = withFlags(new Uint8Array(size), flags);
  if (stray !== undefined) bytes[stray] = (bytes[stray] as number) | 1;
  return bytes;
};
const hasRoot = (root: () => unknown): boolean => {
  try {
    return root() !== undefined;
  } catch {
    return false;
  }
};

/** x coordinates of points that are on the curve but not in the subgroup, and of none. */
const small = Array.from({ length: 12 }, (_, x) => BigInt(x));
const onG1 = (x: bigint): boolean => hasRoot(() => Fp.sqrt(Fp.create(x ** 3n + 4n)));
const pairOf = (x: bigint) => Fp2.fromBigTuple([x, 1n]);
const onG2 = (x: bigint): boolean =>
  hasRoot(() => Fp2.sqrt(Fp2.add(Fp2.mul(Fp2.sqr(pairOf(x)), pairOf(x)), Fp2.fromBigTuple([4n, 4n]))));
const encodedG2 = (c0: bigint, c1: bigint): Uint8Array => Buffer.concat([fieldBytes(c1), fieldBytes(c0)]);

const { g1, g2 } = mclCurve;
const some1 = g1.encode(g1.multiply(g1.generator, 5n));
const some2 = g2.encode(g2.multiply(g2.generator, 5n));
/** A point of the subgroup whose x + prime still fits into the bits there are: the same point, written otherwise. */
const lowX = Array.from({ length: 200 }, (_, index) => g1.encode(g1.multiply(g1.generator, BigInt(index + 1)))).find(
  (bytes) => BigInt(`0x${hexOf(withFlags(bytes, 0))}`) + prime < 2n ** 381n,
) as Uint8Array;

const refused: readonly (readonly [string, 0 | 1, readonly Uint8Array[]])[] = [
  ['the wrong length', 0, [new Uint8Array(0), some1.subarray(1), Buffer.concat([some1, some1]), new Uint8Array(2e6)]],
  ['the wrong length', 1, [new Uint8Array(0), some2.subarray(1), some1, Buffer.concat([some2, some2])]],
  ['not on the curve', 0, small.filter((x) => !onG1(x)).map((x) => withFlags(fieldBytes(x), 0x80))],
  ['not on the curve', 1, small.filter((x) => !onG2(x)).map((x) => withFlags(encodedG2(x, 1n), 0x80))],
  ['not in the subgroup', 0, small.filter(onG1).map((x) => withFlags(fieldBytes(x), 0xa0))],
  ['not in the subgroup', 1, small.filter(onG2).map((x) => withFlags(encodedG2(x, 1n), 0xa0))],
  [
    'x that is not reduced',
    0,
    [withFlags(fieldBytes(BigInt(`0x${hexOf(withFlags(lowX, 0))}`) + prime), (lowX[0] as number) & 0xe0)],
  ],
  ['x that is not reduced', 0, small.map((x) => withFlags(fieldBytes(prime + x), 0x80))],
  [
    'x that is not reduced',
    1,
    small.flatMap((x) => [encodedG2(prime + x, 1n), encodedG2(x, prime + 1n)].map((b) => withFlags(b, 0x80))),
  ],
  ['flags of no compressed point', 0, [0x00, 0x20, 0x40, 0x60, 0xc0, 0xe0].map((flags) => withFlags(some1, flags))],
  ['flags of no compressed point', 1, [0x00, 0x20, 0x40, 0x60, 0xc0, 0xe0].map((flags) => withFlags(some2, flags))],
  [
    'flags on the second coordinate',
    1,
    [0x20, 0x40, 0x80].map((flag) => some2.map((byte, i) => (i === 48 ? byte | flag : byte))),
  ],
  ['zero with the flags of another', 0, [0x00, 0x20, 0x40, 0x60, 0x80, 0xa0, 0xe0].map((flags) => zeroWith(48, flags))],
  ['zero with the flags of another', 1, [0x00, 0x20, 0x40, 0x60, 0x80, 0xa0, 0xe0].map((flags) => zeroWith(96, flags))],
  ['zero with a stray bit', 0, [0, 1, 24, 47].map((at) => zeroWith(48, 0xc0, at))],
  ['zero with a stray bit', 1, [0, 1, 47, 48, 49, 95].map((at) => zeroWith(96, 0xc0, at))],
  ['the uncompressed form', 0, [bls12_381.G1.Point.BASE.toBytes(false)]],
  ['the uncompressed form', 1, [bls12_381.G2.Point.BASE.toBytes(false)]],
];

describe('encodings refused by both', () => {
  const cases = refused.flatMap(([what, group, encodings]) =>
    [mclCurve, nobleCurve].map((curve) => ({ what, group, encodings, curve, where: `G${group + 1}` })),
  );
  test.each(cases)('$what, in $where of $curve.name', ({ group, encodings, curve }) => {
    expect(encodings.length).toBeGreaterThan(0);
    for (const bytes of encodings) expect((groups(curve)[group] as Group).decode(bytes)).toBeUndefined();
  });
});

test('the points said to lie outside the subgroup are on the curve', () => {
  const outside = small.filter(onG1).map((x) => {
    const y = Fp.sqrt(Fp.create(x ** 3n + 4n));
    return bls12_381.G1.Point.fromAffine({ x, y });
  });
  expect(outside.length).toBeGreaterThan(0);
  expect(outside.map((point) => point.isTorsionFree())).toEqual(outside.map(() => false));
});

test('both hash alike to points of the subgroup, under any tag', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ minLength: 1, maxLength: 300 }), (message, tag) => {
      const point = mclHashToG1(message, tag);
      expect(hexOf(g1.encode(point))).toBe(hexOf(nobleCurve.g1.encode(nobleHashToG1(message, tag))));
      expect(hexOf(g1.encode(mclCurve.hashToG1(message)))).toBe(
        hexOf(nobleCurve.g1.encode(nobleCurve.hashToG1(Buffer.from(message)))),
      );
      expect(g1.decode(g1.encode(point))).toBeDefined();
    }),
    { numRuns: 10 },
  );
});

describe.each([
  { curve: mclCurve, runs: 25 },
  { curve: nobleCurve, runs: 4 },
  { curve: plainCurve, runs: 100 },
])('pairings of $curve.name', ({ curve, runs }) => {
  const first = (log: bigint) => curve.g1.multiply(curve.g1.generator, log);
  const second = (log: bigint) => curve.g2.multiply(curve.g2.generator, log);

  test('are equal exactly if the products of the logarithms are', () => {
    fc.assert(
      fc.property(scalars, scalars, scalars, scalars, (a, b, c, d) => {
        const [p, q] = [first(a), second(b)];
        expect(curve.pairingsAreEqual(p, q, first(c), second(d))).toBe((a * b - c * d) % order === 0n);
        expect(curve.pairingsAreEqual(p, q, first(a * b), curve.g2.generator)).toBe(true);
        expect(curve.pairingsAreEqual(first(a * b), curve.g2.generator, p, q)).toBe(true);
        expect(curve.pairingsAreEqual(first(a * b + 1n), curve.g2.generator, p, q)).toBe(false);
      }),
      { numRuns: runs },
    );
  });

  test('with zero are one', () => {
    const { zero } = curve.g1;
    expect(curve.pairingsAreEqual(zero, second(3n), first(4n), curve.g2.zero)).toBe(true);
    expect(curve.pairingsAreEqual(zero, curve.g2.generator, first(4n), second(3n))).toBe(false);
    expect(curve.pairingsAreEqual(first(4n), curve.g2.generator, zero, second(3n))).toBe(false);
  });
});

describe('mcl', () => {
  test('gives its stack back after refusals too', () => {
    const bad = zeroWith(96, 0xe0);
    for (let i = 0; i < 20_000; i++) g2.decode(bad);
    expect(g2.isZero(g2.add(g2.generator, g2.multiply(g2.generator, -1n)))).toBe(true);
  });

  test('does not keep a process alive, nor listen to anything of it', () => {
    const script = `
      const before = process.eventNames().join();
      const { default: mcl } = await import('mcl-wasm');
      await mcl.init(mcl.BLS12_381);
      console.log(process.eventNames().join() === before, process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap').length);
    `;
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const options = { cwd: root, encoding: 'utf8', timeout: 30_000 } as const;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', script], options)).toBe('true 0\n');
  });
});
