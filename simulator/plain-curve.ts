/**
 * Plain curve: a stand-in for BLS12-381 without any security, for simulations: a point is its own discrete logarithm.
 *
 * Order and sizes are those of the real curve, so every message is as long as in production and all equations hold;
 * they are checked by multiplication, some thousand times faster. Whoever reads a key here knows the secret, so
 * nothing that a test says about forging may rest on it.
 */
import type { CurveGroup, G1Point, G2Point, PairingCurve } from '../src/crypto/curve.ts';
import { sha256 } from '../src/crypto/hash.ts';

interface PlainPoint {
  readonly log: bigint;
}

const order = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;

function groupOf<Point extends object>(sizeBytes: number): CurveGroup<Point> {
  const point = (log: bigint): Point => {
    const rest = log % order;
    return { log: rest < 0n ? rest + order : rest } satisfies PlainPoint as unknown as Point;
  };
  return {
    sizeBytes,
    generator: point(1n),
    zero: point(0n),
    add: (a, b) => point(logOf(a) + logOf(b)),
    multiply: (a, scalar) => point(logOf(a) * scalar),
    sumOfProducts: (points, scalars) =>
      point(points.reduce((sum, each, index) => sum + logOf(each) * (scalars[index] as bigint), 0n)),
    equals: (a, b) => logOf(a) === logOf(b),
    isZero: (a) => logOf(a) === 0n,
    encode: (a) =>
      Buffer.from(
        logOf(a)
          .toString(16)
          .padStart(2 * sizeBytes, '0'),
        'hex',
      ),
    decode(bytes) {
      if (bytes.length !== sizeBytes) return undefined;
      const log = BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`);
      return log < order ? point(log) : undefined;
    },
  };
}

function logOf(point: object): bigint {
  return (point as PlainPoint).log;
}

const g1 = groupOf<G1Point>(48);

/** Insecure: for simulations only. */
export const plainCurve: PairingCurve = {
  name: 'plain',
  order,
  g1,
  g2: groupOf<G2Point>(96),
  hashToG1: (message) => g1.multiply(g1.generator, BigInt(`0x${sha256(message)}`)),
  pairingsAreEqual: (a, b, c, d) => (logOf(a) * logOf(b) - logOf(c) * logOf(d)) % order === 0n,
};
