/**
 * Feldman commitments: each coefficient of a polynomial times the generator of G2. Everybody can compute from them
 * what any evaluation must be, in the exponent, and nobody the evaluation.
 *
 * Safety: an evaluation matches exactly when it is the polynomial's value there, so what `threshold` holders have found
 * to match determines the polynomial (shown for every polynomial over a tiny group in the test).
 * Source: Feldman, "A practical scheme for non-interactive verifiable secret sharing" (1987).
 */
import type { CurveGroup, G2Point, PairingCurve } from './curve.ts';
import { coordinateOf, type Polynomial } from './polynomial.ts';

/** One commitment a coefficient, constant first. */
export function commitTo(curve: PairingCurve, polynomial: Polynomial): readonly G2Point[] {
  return polynomial.map((coefficient) => curve.g2.multiply(curve.g2.generator, coefficient));
}

/** The holder's evaluation times the generator: what the commitments say it is. */
export function commitmentAt(curve: PairingCurve, commitments: readonly G2Point[], holder: number): G2Point {
  const { g2 } = curve;
  // Horner's rule: all scalars are the small coordinate, so a few additions each, and no multiplication of full width.
  return commitments.reduceRight(
    (sum, commitment) => g2.add(smallMultiple(g2, sum, coordinateOf(holder)), commitment),
    g2.zero,
  );
}

/** Is this the evaluation, reduced, that the commitments say the holder must have? */
export function evaluationMatches(
  curve: PairingCurve,
  commitments: readonly G2Point[],
  holder: number,
  evaluation: bigint,
): boolean {
  if (evaluation < 0n || evaluation >= curve.order) return false;
  const { g2 } = curve;
  return g2.equals(g2.multiply(g2.generator, evaluation), commitmentAt(curve, commitments, holder));
}

/** By doubling and adding, from the factor's highest bit. */
function smallMultiple<Point>(group: CurveGroup<Point>, point: Point, factor: number): Point {
  if (group.isZero(point)) return point;
  let sum = point;
  for (let bit = 30 - Math.clz32(factor); bit >= 0; bit--) {
    sum = group.add(sum, sum);
    if (((factor >>> bit) & 1) === 1) sum = group.add(sum, point);
  }
  return sum;
}
