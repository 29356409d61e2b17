/** Whom the client prefers, with the clock in the test's hand; and how patient it is. */
import { expect, it } from 'vitest';
import { Latency } from './latency.ts';
import { Standings } from './standing.ts';

const four = (firstChoice = 1): Standings => new Standings(4, { firstChoice, random: () => 1 });

it('begins with the first choice and goes round', () => {
  expect(four(2).order(0)).toEqual([2, 3, 0, 1]);
});

it('avoids who was slow until time has passed and it was heard again', () => {
  const standings = four();
  standings.heard(1, 5);
  standings.suspect(1, 10);
  expect(standings.order(11)).toEqual([2, 3, 0, 1]);
  expect(standings.isAvoided(1, 1_000_000)).toBe(true);
  standings.heard(1, 20);
  expect(standings.isAvoided(1, 21)).toBe(true);
  expect(standings.isAvoided(1, 10 + 500)).toBe(false);
});

it('counts what several requests notice at once as one misfortune, and waits longer for each further one', () => {
  const standings = four();
  for (let i = 0; i < 5; i++) standings.suspect(1, 10);
  expect(standings.observe(1, 10, true).slow).toBe(1);
  standings.heard(1, 600);
  standings.suspect(1, 600);
  standings.heard(1, 601);
  expect(standings.isAvoided(1, 600 + 999)).toBe(true);
  expect(standings.isAvoided(1, 600 + 1_000)).toBe(false);
});

it('forgets misfortunes when the replica did its part in time', () => {
  const standings = four();
  standings.suspect(1, 0);
  standings.praise(1, 700);
  standings.suspect(1, 800);
  standings.heard(1, 801);
  expect(standings.isAvoided(1, 1_300)).toBe(false);
});

it('dials a lost replica again later and later, with a bound', () => {
  const standings = four();
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    standings.lost(1, 0, 'gone', true);
    waits.push(standings.redialAtMs(1));
  }
  expect(waits).toEqual([50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
  expect(standings.isDefinitelyDown(1)).toBe(true);
  standings.connected(1, 1);
  expect(standings.isDefinitelyDown(1)).toBe(false);
});

it('keeps away from a liar longest', () => {
  const standings = four();
  standings.lied(1, 0);
  standings.suspect(2, 0);
  standings.heard(2, 1);
  expect(standings.order(2)).toEqual([3, 0, 2, 1]);
  expect(standings.isAvoided(1, 59_000)).toBe(true);
});

it('is patient in proportion to how long answers take, within bounds, and more with each copy', () => {
  const latency = new Latency();
  expect(latency.patienceMs(1)).toBe(250);
  for (let i = 0; i < 50; i++) latency.observe(2);
  expect(latency.patienceMs(1)).toBe(30);
  expect(latency.patienceMs(2)).toBe(60);
  for (let i = 0; i < 100; i++) latency.observe(100);
  expect(latency.patienceMs(1)).toBeGreaterThanOrEqual(399);
  expect(latency.patienceMs(1)).toBeLessThan(450);
  for (let i = 0; i < 100; i++) latency.observe(60_000);
  expect(latency.patienceMs(9)).toBe(2_000);
});

it('goes with the replicas into another membership: deeds stay, and only who kept its key stays avoided', () => {
  const standings = four(3);
  standings.lied(0, 10);
  standings.lied(1, 10);
  standings.lost(2, 10, 'refused', true);
  // r1 with its old key, r0 with a new one, one that is new, r2 with its old key.
  const before = [1, 0, undefined, 2];
  const moved = standings.moved(4, (place) => {
    const replica = before[place];
    return replica === undefined ? undefined : { replica, hasSameKey: replica !== 0 };
  });
  expect([0, 1, 2, 3].map((place) => moved.isAvoided(place, 20))).toEqual([true, false, false, true]);
  expect([0, 1, 2, 3].map((place) => moved.observe(place, 20, false).wrongReplies)).toEqual([1, 1, 0, 0]);
  expect([1, 3].map((place) => moved.isDefinitelyDown(place))).toEqual([false, true]);
  // They are apart from now on.
  moved.lied(2, 30);
  expect(standings.observe(2, 30, false).wrongReplies).toBe(0);
  expect(standings.moved(2, () => undefined).order(0)).toEqual([1, 0]);
});
