/** Lengths of time as people write them, and what is none. */
import { expect, it } from 'vitest';
import { durationBetween, parseDuration } from './duration.ts';

it('is a whole number with its unit', () => {
  const all = ['5ms', '90s', '2m', '12h', '7d'].map(parseDuration);
  expect(all).toEqual([5, 90_000, 120_000, 43_200_000, 604_800_000]);
  for (const text of ['', '0s', '1.5h', '-1s', '10', '3w', '4000d', '1e3s', ' 1s']) {
    expect(() => parseDuration(text), text).toThrow('such as 12h');
  }
});

it('is milliseconds where it has no unit, and within its bounds, where nothing may be one', () => {
  const read = durationBetween(0, 60_000);
  expect(['0', '250', '60000', '1m', '20s'].map(read)).toEqual([0, 250, 60_000, 60_000, 20_000]);
  for (const text of ['60001', '2m', '61s']) expect(() => read(text), text).toThrow('from 0 ms to 60000 ms');
  for (const text of ['', '-1', '1.5', 'soon']) expect(() => read(text), text).toThrow('such as 12h');
  expect(() => durationBetween(100, 60_000)('0')).toThrow('from 100 ms');
});
