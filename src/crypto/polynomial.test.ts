/** Every polynomial of degree 1 and 2 over tiny fields, every set of holders. */
import { describe, expect, test } from 'vitest';
import { coordinateOf, type Evaluation, evaluatePolynomial, interpolateAt, type Polynomial } from './polynomial.ts';
import { everyPolynomial, everySubset } from './testing/everything.ts';

const fields = [
  { order: 7n, threshold: 2, holders: 6 },
  { order: 7n, threshold: 3, holders: 6 },
  { order: 11n, threshold: 2, holders: 10 },
];

const evaluationsOf = (polynomial: Polynomial, holders: readonly number[], order: bigint): readonly Evaluation[] =>
  holders.map((holder) => ({ holder, value: evaluatePolynomial(polynomial, BigInt(coordinateOf(holder)), order) }));

describe.each(fields)('$threshold of $holders holders in the field of $order', ({ order, threshold, holders }) => {
  test('any threshold evaluations, in any order, give the secret and every other evaluation', () => {
    for (const polynomial of everyPolynomial(order, threshold)) {
      for (const subset of everySubset(holders, threshold)) {
        const evaluations = evaluationsOf(polynomial, subset, order);
        const last = evaluationsOf(polynomial, [holders - 1], order)[0]?.value;
        if (interpolateAt(evaluations, 0n, order) !== polynomial[0]) expect.fail(`${polynomial} at 0 from ${subset}`);
        if (interpolateAt([...evaluations].reverse(), BigInt(holders), order) !== last) {
          expect.fail(`${polynomial} at ${holders} from ${subset}`);
        }
      }
    }
  });

  test('more than enough give the same', () => {
    for (const polynomial of everyPolynomial(order, threshold)) {
      const evaluations = evaluationsOf(polynomial, [...Array(holders).keys()], order);
      if (interpolateAt(evaluations, 0n, order) !== polynomial[0]) expect.fail(`${polynomial}`);
    }
  });

  test('whatever fewer evaluations are, each secret has exactly as many polynomials with them as any other', () => {
    for (const subset of everySubset(holders, threshold - 1)) {
      const polynomials = new Map<string, bigint[]>();
      for (const polynomial of everyPolynomial(order, threshold)) {
        const seen = evaluationsOf(polynomial, subset, order).map(({ value }) => value);
        const secrets = polynomials.get(String(seen)) ?? [];
        polynomials.set(String(seen), [...secrets, polynomial[0] as bigint]);
      }
      expect(polynomials.size).toBe(Number(order) ** (threshold - 1));
      for (const secrets of polynomials.values()) {
        expect([...secrets].sort((a, b) => Number(a - b))).toEqual(
          Array.from({ length: Number(order) }, (_, i) => BigInt(i)),
        );
      }
    }
  });
});

test('a holder there twice is our own mistake', () => {
  const evaluation = { holder: 1, value: 3n };
  expect(() => interpolateAt([evaluation, evaluation], 0n, 7n)).toThrow(RangeError);
});
