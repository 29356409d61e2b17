/**
 * Shows that one seed gives one sequence for ever (a changed sequence would make every recorded seed another run), and
 * that draws are spread as their names say.
 */
import { describe, expect, it } from 'vitest';
import { Prng } from './prng.ts';

const draws = (prng: Prng, count: number): readonly number[] => Array.from({ length: count }, () => prng.next());

describe('a seed', () => {
  it('gives the same numbers today as when they were recorded', () => {
    expect(draws(new Prng(1), 4)).toEqual([1859756884, 2932928853, 1348694823, 1395335378]);
  });

  it('differs from its neighbours and from one that differs in its high half only', () => {
    const sequences = [1, 2, 3, 1 + 2 ** 32, 1 + 2 ** 40].map((seed) => draws(new Prng(seed), 3).join());
    expect(new Set(sequences).size).toBe(sequences.length);
  });

  it('forks generators that do not follow it', () => {
    const prng = new Prng(9);
    const fork = prng.fork();
    expect(draws(fork, 5)).not.toEqual(draws(prng, 5));
  });
});

describe('draws', () => {
  it('stay within their bounds and reach both ends', () => {
    const prng = new Prng(5);
    const between = new Set(Array.from({ length: 500 }, () => prng.between(-2, 2)));
    expect([...between].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2]);
    for (let i = 0; i < 500; i++) {
      const ms = prng.timeMs(0.25, 2);
      expect(ms).toBeGreaterThanOrEqual(0.25);
      expect(ms).toBeLessThan(2);
      expect(Number.isInteger(ms * 64)).toBe(true);
    }
  });

  it('happen with about the probability asked for', () => {
    const prng = new Prng(6);
    const hits = Array.from({ length: 10_000 }, () => prng.chance(0.2)).filter(Boolean).length;
    expect(Math.abs(hits - 2_000)).toBeLessThan(200);
    const counts = { a: 0, b: 0 };
    for (let i = 0; i < 10_000; i++) {
      const drawn = prng.weighted<'a' | 'b'>([
        ['a', 1],
        ['b', 3],
      ]);
      counts[drawn] += 1;
    }
    expect(Math.abs(counts.b - 7_500)).toBeLessThan(250);
  });

  it('shuffle without losing anything', () => {
    const items = Array.from({ length: 20 }, (_, index) => index);
    const shuffled = new Prng(7).shuffle(items);
    expect(shuffled).not.toEqual(items);
    expect([...shuffled].sort((a, b) => a - b)).toEqual(items);
  });
});
