/** Every polynomial over a tiny group, every holder, everything it could be told; and the rule of Horner at large. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { commitmentAt, commitTo, evaluationMatches } from './feldman.ts';
import { coordinateOf, evaluatePolynomial, interpolateAt } from './polynomial.ts';
import { everyPolynomial, everySubset } from './testing/everything.ts';
import { logOf, tinyCurve } from './testing/tiny-curve.ts';

describe.each([
  { order: 7n, threshold: 2, holders: 6 },
  { order: 7n, threshold: 3, holders: 6 },
  { order: 11n, threshold: 2, holders: 10 },
])('$threshold of $holders holders in a group of $order', ({ order, threshold, holders }) => {
  const curve = tinyCurve(order);

  test('what matches is exactly the evaluation', () => {
    for (const polynomial of everyPolynomial(order, threshold)) {
      const commitments = commitTo(curve, polynomial);
      for (let holder = 0; holder < holders; holder++) {
        const value = evaluatePolynomial(polynomial, BigInt(coordinateOf(holder)), order);
        for (let claimed = -order; claimed < 2n * order; claimed++) {
          if (evaluationMatches(curve, commitments, holder, claimed) !== (claimed === value)) {
            expect.fail(`${polynomial}: holder ${holder} has ${value}, is told ${claimed}`);
          }
        }
      }
    }
  });

  test('whoever of a set of threshold holders is told what: all match exactly when they determine the polynomial', () => {
    const told = everyPolynomial(order, threshold);
    const subsets = everySubset(holders, threshold).slice(-3);
    for (const polynomial of everyPolynomial(order, threshold).slice(0, 60)) {
      const commitments = commitTo(curve, polynomial);
      for (const subset of subsets) {
        for (const values of told) {
          const evaluations = subset.map((holder, i) => ({ holder, value: values[i] as bigint }));
          const allMatch = evaluations.every(({ holder, value }) =>
            evaluationMatches(curve, commitments, holder, value),
          );
          const isThePolynomial = Array.from({ length: threshold }, (_, x) => BigInt(x)).every(
            (x) => interpolateAt(evaluations, x, order) === evaluatePolynomial(polynomial, x, order),
          );
          if (allMatch !== isThePolynomial) expect.fail(`${polynomial}: ${subset} are told ${values}`);
        }
      }
    }
  });
});

test('the commitment at a holder is the sum of the commitments times the powers of its coordinate', () => {
  const curve = tinyCurve(0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n);
  const coefficients = fc.array(fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: curve.order - 1n })), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(coefficients, fc.integer({ min: 0, max: 70_000 }), (polynomial, holder) => {
      const x = BigInt(coordinateOf(holder));
      expect(logOf(commitmentAt(curve, commitTo(curve, polynomial), holder))).toBe(
        evaluatePolynomial(polynomial, x, curve.order),
      );
    }),
  );
});
