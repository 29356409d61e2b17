import { describe, expect, it } from 'vitest';
import { BackOff } from './back-off.ts';

function expectWait(waitMs: number, wholeMs: number): void {
  expect(waitMs).toBeGreaterThanOrEqual(wholeMs / 2);
  expect(waitMs).toBeLessThanOrEqual(wholeMs);
}

describe('BackOff', () => {
  it('doubles with every failure, up to the longest wait, with jitter', () => {
    const backOff = new BackOff({ delayMsMin: 50, delayMsMax: 2_000 });
    for (const wholeMs of [50, 100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000]) expectWait(backOff.next(), wholeMs);
    expect(new Set(Array.from({ length: 20 }, () => backOff.next())).size).toBeGreaterThan(1);
  });

  it('begins anew only after a link that stayed up', () => {
    const backOff = new BackOff({ delayMsMin: 50, delayMsMax: 2_000 });
    for (let count = 0; count < 4; count++) {
      backOff.next();
      backOff.tickUp();
      backOff.tickUp();
    }
    expectWait(backOff.next(), 800);
    for (let count = 0; count < 3; count++) backOff.tickUp();
    expectWait(backOff.next(), 50);
  });
});
