/** Shows that a replica asks where the others are as long as it is without a quorum, and now and then while only some are missing. */
import { expect, it } from 'vitest';
import { Loneliness } from './loneliness.ts';

const few = { isQuorum: false, isWhole: false };
const some = { isQuorum: true, isWhole: false };
const all = { isQuorum: true, isWhole: true };

/** The times, twice a second, at which it asks. */
function asked(loneliness: Loneliness, seen: typeof few, fromMs: number, untilMs: number): number[] {
  const times: number[] = [];
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += 500) if (loneliness.isFelt(seen, nowMs)) times.push(nowMs);
  return times;
}

it('is felt all the time without a quorum, once the others had time to come', () => {
  const loneliness = new Loneliness();
  expect(asked(loneliness, few, 0, 3_000)).toEqual([1_500, 2_000, 2_500, 3_000]);
  expect(asked(loneliness, all, 3_500, 4_500)).toEqual([]);
  expect(asked(loneliness, few, 5_000, 6_500)).toEqual([6_500]);
});

it('is felt now and then while one is missing, though those who are there are enough', () => {
  const loneliness = new Loneliness();
  expect(asked(loneliness, some, 0, 16_000)).toEqual([5_000, 10_000, 15_000]);
  expect(asked(loneliness, all, 16_500, 60_000)).toEqual([]);
});
