/** Everything there is of what is finite: polynomials over a tiny field, subsets of holders. */
import type { Polynomial } from '../polynomial.ts';

/** All with so many coefficients, leading zeros included. */
export function everyPolynomial(order: bigint, threshold: number): readonly Polynomial[] {
  if (threshold === 0) return [[]];
  const shorter = everyPolynomial(order, threshold - 1);
  return Array.from({ length: Number(order) }, (_, i) => shorter.map((rest) => [BigInt(i), ...rest])).flat();
}

/** All of so many of the numbers from 0 to count - 1, ascending. */
export function everySubset(count: number, size: number): readonly (readonly number[])[] {
  if (size === 0) return [[]];
  if (size > count) return [];
  const withLast = everySubset(count - 1, size - 1).map((rest) => [...rest, count - 1]);
  return [...everySubset(count - 1, size), ...withLast];
}
