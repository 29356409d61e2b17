/**
 * Curve by noble: BLS12-381 in plain JavaScript, which runs in browsers too. Some six times slower than `curve-mcl.ts`
 * and equal to it byte for byte.
 *
 * Safety: noble means to take the same time for all scalars, as far as bigints let it; they do not promise any.
 * Nothing here throws on what comes from outside. This file must stay free of what only Node has.
 */
import type { WeierstrassPoint, WeierstrassPointCons } from '@noble/curves/abstract/weierstrass.js';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import type { CurveGroup, G1Point, G2Point, PairingCurve } from './curve.ts';

type NobleG1 = typeof bls12_381.G1.Point.BASE;
type NobleG2 = typeof bls12_381.G2.Point.BASE;

const { Fr } = bls12_381.fields;

/** The suite of `hashToG1`. */
const tag = new TextEncoder().encode('BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_');

function groupOf<Field, Point extends object>(
  family: WeierstrassPointCons<Field>,
  sizeBytes: number,
): CurveGroup<Point> {
  const inside = (point: Point): WeierstrassPoint<Field> => point as unknown as WeierstrassPoint<Field>;
  const outside = (point: WeierstrassPoint<Field>): Point => point as unknown as Point;
  const multiply = (point: Point, scalar: bigint): WeierstrassPoint<Field> => {
    const reduced = Fr.create(scalar);
    return reduced === 0n || inside(point).is0() ? family.ZERO : inside(point).multiply(reduced);
  };
  return {
    sizeBytes,
    generator: outside(family.BASE),
    zero: outside(family.ZERO),
    add: (a, b) => outside(inside(a).add(inside(b))),
    multiply: (point, scalar) => outside(multiply(point, scalar)),
    sumOfProducts: (points, scalars) =>
      outside(points.reduce((sum, point, index) => sum.add(multiply(point, scalars[index] as bigint)), family.ZERO)),
    equals: (a, b) => inside(a).equals(inside(b)),
    isZero: (point) => inside(point).is0(),
    // Noble encodes zero in one of its projective forms only.
    encode: (point) => (inside(point).is0() ? family.ZERO : inside(point)).toBytes(true),
    decode(bytes) {
      if (bytes.length !== sizeBytes) return undefined;
      try {
        // Of a plain Uint8Array: noble knows no other kind. It checks the subgroup.
        return outside(family.fromBytes(Uint8Array.from(bytes)));
      } catch {
        return undefined;
      }
    },
  };
}

/** Hashes to G1 by the RFC 9380 suite BLS12381G1_XMD:SHA-256_SSWU_RO_ with a domain separation tag. */
export function nobleHashToG1(message: Uint8Array, separationTag: Uint8Array): G1Point {
  return bls12_381.G1.hashToCurve(Uint8Array.from(message), { DST: separationTag }) as unknown as G1Point;
}

export const nobleCurve: PairingCurve = {
  name: 'noble',
  order: Fr.ORDER,
  g1: groupOf<bigint, G1Point>(bls12_381.G1.Point, 48),
  g2: groupOf<NobleG2['X'], G2Point>(bls12_381.G2.Point, 96),
  hashToG1: (message) => nobleHashToG1(message, tag),
  pairingsAreEqual(a, b, c, d) {
    // A pairing with zero is one, and noble refuses to compute it.
    const pairs = [
      { g1: a as unknown as NobleG1, g2: b as unknown as NobleG2 },
      { g1: (c as unknown as NobleG1).negate(), g2: d as unknown as NobleG2 },
    ].filter((pair) => !pair.g1.is0() && !pair.g2.is0());
    const { Fp12 } = bls12_381.fields;
    return pairs.length === 0 || Fp12.eql(bls12_381.pairingBatch(pairs), Fp12.ONE);
  },
};
