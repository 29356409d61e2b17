/**
 * Tiny curve: groups of any small prime order, in which a point is its own discrete logarithm, so that tests can try
 * everything there is. It hides nothing.
 */
import type { CurveGroup, G1Point, G2Point, PairingCurve } from '../curve.ts';
import { modulo, scalarFromHash } from '../scalar.ts';

interface TinyPoint {
  readonly log: bigint;
}

/** Sizes of encodings are those of the real curve. */
export function tinyCurve(order: bigint): PairingCurve {
  return {
    name: `tiny curve of order ${order}`,
    order,
    g1: tinyGroup(order, 48) as unknown as CurveGroup<G1Point>,
    g2: tinyGroup(order, 96) as unknown as CurveGroup<G2Point>,
    hashToG1: (message) => ({ log: scalarFromHash({ order }, [message]) }) as unknown as G1Point,
    pairingsAreEqual: (a, b, c, d) => modulo(logOf(a) * logOf(b) - logOf(c) * logOf(d), order) === 0n,
  };
}

/** The discrete logarithm of a point of a tiny curve: what a test may know. */
export function logOf(point: G1Point | G2Point): bigint {
  return (point as unknown as TinyPoint).log;
}

function tinyGroup(order: bigint, sizeBytes: number): CurveGroup<TinyPoint> {
  const pointAt = (log: bigint): TinyPoint => ({ log: modulo(log, order) });
  return {
    sizeBytes,
    generator: pointAt(1n),
    zero: pointAt(0n),
    add: (a, b) => pointAt(a.log + b.log),
    multiply: (point, scalar) => pointAt(point.log * scalar),
    sumOfProducts: (points, scalars) =>
      pointAt(points.reduce((sum, { log }, i) => sum + log * (scalars[i] as bigint), 0n)),
    equals: (a, b) => a.log === b.log,
    isZero: ({ log }) => log === 0n,
    encode: ({ log }) => Buffer.from(log.toString(16).padStart(2 * sizeBytes, '0'), 'hex'),
    decode: (bytes) => {
      if (bytes.length !== sizeBytes) return undefined;
      const log = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
      return log < order ? { log } : undefined;
    },
  };
}
