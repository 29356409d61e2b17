/** Shows that a value is found exactly when it is the same in all that can be, by trying everything in a small field. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { modulo } from '../src/crypto/scalar.ts';
import { type LinearForm, LinearSystem } from './linear-system.ts';

const order = 5n;
const unknowns = 3;
const forms = fc.array(fc.bigInt({ min: 0n, max: order - 1n }), { minLength: unknowns, maxLength: unknowns });
const worlds = Array.from({ length: Number(order) ** unknowns }, (_, i) =>
  Array.from({ length: unknowns }, (_, j) => BigInt(Math.floor(i / Number(order) ** j)) % order),
);
const asForm = (factors: readonly bigint[]): LinearForm => new Map(factors.map((factor, i) => [i, factor]));
const valueIn = (world: readonly bigint[], factors: readonly bigint[]): bigint =>
  modulo(
    factors.reduce((sum, factor, i) => sum + factor * (world[i] as bigint), 0n),
    order,
  );

it('knows what follows, and nothing else', () => {
  fc.assert(
    fc.property(fc.nat(worlds.length - 1), fc.array(forms, { maxLength: 4 }), forms, (truth, known, asked) => {
      const world = worlds[truth] as readonly bigint[];
      const system = new LinearSystem(order);
      for (const factors of known) system.learn(asForm(factors), valueIn(world, factors));
      const possible = worlds.filter((each) => known.every((form) => valueIn(each, form) === valueIn(world, form)));
      const values = new Set(possible.map((each) => valueIn(each, asked)));
      expect(system.valueOf(asForm(asked))).toBe(values.size === 1 ? valueIn(world, asked) : undefined);
    }),
    { numRuns: 300 },
  );
});

it('does not take what contradicts what it knows', () => {
  const system = new LinearSystem(order);
  system.learn(asForm([1n, 2n]), 3n);
  expect(() => system.learn(asForm([2n, 4n]), 2n)).toThrow('contradict');
  system.learn(asForm([2n, 4n]), 1n);
});
