/**
 * Curve: what the schemes above need of a pairing-friendly curve, so that they run on any provider alike.
 *
 * `curve-mcl.ts` (default) and `curve-noble.ts` are BLS12-381 and equal byte for byte. Points are opaque and belong to
 * the provider that made them. Scalars are bigints, reduced modulo the order where they are used.
 * Source: RFC 9380 (hash to curve), the ZCash encoding of points (compressed, 48 and 96 bytes).
 */

declare const g1: unique symbol;
declare const g2: unique symbol;

export type G1Point = object & { readonly [g1]: true };
export type G2Point = object & { readonly [g2]: true };

/** A group of prime order, written additively. No method changes a point it is given. */
export interface CurveGroup<Point> {
  /** Bytes of an encoded point. */
  readonly sizeBytes: number;
  readonly generator: Point;
  readonly zero: Point;
  add(a: Point, b: Point): Point;
  multiply(point: Point, scalar: bigint): Point;
  /** Sum of scalars[i] * points[i]; zero when there are none. */
  sumOfProducts(points: readonly Point[], scalars: readonly bigint[]): Point;
  equals(a: Point, b: Point): boolean;
  isZero(point: Point): boolean;
  encode(point: Point): Uint8Array;
  /** Undefined unless the bytes are the canonical encoding of a point of the subgroup. Zero is one: who must not have it asks. */
  decode(bytes: Uint8Array): Point | undefined;
}

export interface PairingCurve {
  readonly name: string;
  /** Order of both groups, a prime. */
  readonly order: bigint;
  readonly g1: CurveGroup<G1Point>;
  readonly g2: CurveGroup<G2Point>;
  /** Hashes to G1 by the suite BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_. */
  hashToG1(message: Uint8Array): G1Point;
  /** Is e(a, b) = e(c, d)? */
  pairingsAreEqual(a: G1Point, b: G2Point, c: G1Point, d: G2Point): boolean;
}
