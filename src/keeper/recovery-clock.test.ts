/** When a keeper makes its replica clean by its own clock, and that a whole cluster never does so at once. */
import { describe, expect, test } from 'vitest';
import { checkAtMost, firstDueMs, RecoveryClock, turnGroup } from './recovery-clock.ts';

const day = 86_400_000;
const options = { atMostMs: 8 * day, group: 1, groups: 4 };
const start = { wallMs: 1_000 * day, steadyMs: 5_000 };

describe('the clock', () => {
  test('is due after its time, and a whole time later when it was started again', () => {
    const clock = new RecoveryClock(options, start, start.wallMs + day);
    expect(clock.remainingMs(start.steadyMs)).toBe(day);
    expect(clock.remainingMs(start.steadyMs + day)).toBe(0);
    clock.restart({ wallMs: start.wallMs + day, steadyMs: start.steadyMs + day });
    expect(clock.remainingMs(start.steadyMs + day)).toBe(8 * day);
    expect(clock.dueAtMs).toBe(start.wallMs + 9 * day);
  });

  test('is not put off by a wall clock that was set back, nor by one keeper after another', () => {
    const dueAtMs = start.wallMs + day;
    const back = new RecoveryClock(options, { wallMs: start.wallMs - 100 * day, steadyMs: 0 }, dueAtMs);
    expect(back.remainingMs(0)).toBe(8 * day);
    const second = new RecoveryClock(options, { wallMs: start.wallMs + day / 2, steadyMs: 0 }, dueAtMs);
    expect(second.remainingMs(0)).toBe(day / 2);
  });

  test('of replicas that were all switched off for long is due for one group after the other', () => {
    const dues = [0, 1, 2, 3].map((group) => {
      const clock = new RecoveryClock({ ...options, group }, start, start.wallMs - 50 * day);
      return clock.remainingMs(start.steadyMs);
    });
    expect(dues).toEqual([2 * day, 4 * day, 6 * day, 8 * day]);
    expect([0, 1, 2, 3].map((group) => firstDueMs(0, { ...options, group }))).toEqual(dues);
  });
});

test('replicas that have their turn together are of one group', () => {
  expect([0, 1, 2, 3].map((index) => turnGroup(index, { n: 4, k: 0 }).group)).toEqual([0, 1, 2, 3]);
  expect([0, 1, 2, 3, 4, 5, 6, 7].map((index) => turnGroup(index, { n: 8, k: 2 }).group)).toEqual([
    0, 0, 1, 1, 2, 2, 3, 3,
  ]);
  expect(turnGroup(40, { n: 8, k: 2 })).toEqual({ group: 0, groups: 4 });
});

test('a time in which epochs cannot follow is refused, and so is any where they change by request only', () => {
  checkAtMost(6 * day, 4, day);
  const tooShort = expect.objectContaining({ code: 'at-most-too-short' });
  expect(() => checkAtMost(6 * day - 1, 4, day)).toThrow(tooShort);
  expect(() => checkAtMost(1_000 * day, 4, 0)).toThrow(tooShort);
});
