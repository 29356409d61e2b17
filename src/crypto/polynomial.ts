/**
 * Polynomial: secret sharing by Shamir. The secret is the value at zero; holder i, counted from 0, has the value at
 * i + 1. Any `threshold` values determine all others; fewer say nothing about any.
 *
 * Source: Shamir, "How to share a secret" (1979).
 */
import { invert, modulo } from './scalar.ts';

/** Coefficients, constant first; as many as the threshold. */
export type Polynomial = readonly bigint[];

export interface Evaluation {
  /** From 0. */
  readonly holder: number;
  readonly value: bigint;
}

/** Where a holder's evaluation is taken: never at zero, where the secret is. */
export function coordinateOf(holder: number): number {
  return holder + 1;
}

/** The value at x, reduced. */
export function evaluatePolynomial(polynomial: Polynomial, x: bigint, order: bigint): bigint {
  return polynomial.reduceRight((value, coefficient) => modulo(value * x + coefficient, order), 0n);
}

/**
 * The value at x of the one polynomial of degree below `evaluations.length` through all of them. Throws a RangeError
 * when a holder is there twice.
 */
export function interpolateAt(evaluations: readonly Evaluation[], x: bigint, order: bigint): bigint {
  const coordinates = evaluations.map(({ holder }) => BigInt(coordinateOf(holder)));
  let sum = 0n;
  evaluations.forEach(({ value }, i) => {
    const own = coordinates[i] as bigint;
    let numerator = value;
    let denominator = 1n;
    coordinates.forEach((other, j) => {
      if (j === i) return;
      numerator = modulo(numerator * (x - other), order);
      denominator = modulo(denominator * (own - other), order);
    });
    if (denominator === 0n) throw new RangeError('two evaluations at one place');
    sum += numerator * invert(denominator, order);
  });
  return modulo(sum, order);
}
