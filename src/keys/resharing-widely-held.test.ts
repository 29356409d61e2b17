/**
 * Shows that an epoch which begins when its sharing is widely held begins with f + 1 correct key shares, though settled would not
 * be enough: f faulty dealers, each with victims of its own, can leave all but one correct holder without a share then.
 */
import { describe, expect, it } from 'vitest';
import { plainCurve as curve } from '../../simulator/plain-curve.ts';
import { dutyKinds } from '../wire/duty.ts';
import { resharingOf, type SharingTarget } from './sharing-source.ts';
import * as faulty from './testing/faulty-resharers.ts';
import type { Posted } from './testing/key-cluster.ts';
import { type FaultyResharer, generated, idsUpTo, ResharingCluster } from './testing/resharing-cluster.ts';

describe.each([
  { n: 7, f: 2, k: 0 },
  { n: 9, f: 2, k: 1 },
  { n: 10, f: 3, k: 0 },
])('n = $n, f = $f, k = $k', ({ n, f, k }) => {
  const from = generated({ n, f, k }, { seed: 4 });
  const liars = Array.from({ length: f }, (_, i) => n - 1 - i);
  /** As many as a dealing can do without. */
  const victimCount = n - (2 * f + 1);
  const victimsOf = (liar: number): readonly string[] => {
    const first = (n - 1 - liar) * victimCount;
    return Array.from({ length: victimCount }, (_, i) => `r${(first + i) % (n - f)}`);
  };
  const dealers = new Map(
    liars.map((liar): [string, FaultyResharer] => [`r${liar}`, faulty.dealsWronglyTo(() => victimsOf(liar))]),
  );
  /** As long as there is anything else: one correct dealing, and no complaint. */
  const isHeldBack = ({ author, duty }: Posted): boolean =>
    duty.kind === dutyKinds.nextComplaint || (duty.kind === dutyKinds.nextDealing && author > 0 && author < n - f);

  it('f + 1 + k correct holders have their shares when the epoch may change, and the others later', () => {
    let fewestWhenSettled = n;
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const cluster = new ResharingCluster({
        from,
        to: { replicaIds: idsUpTo(n), f, k },
        seed,
        faulty: dealers,
        isHeldBack,
        afterCommit: ({ correctMachines }) => {
          const shares = correctMachines.filter(({ keyShare }) => keyShare !== undefined).length;
          for (const { isWidelyHeld } of correctMachines) expect(isWidelyHeld).toBe(correctMachines[0]?.isWidelyHeld);
          if (correctMachines[0]?.isSettled === true) fewestWhenSettled = Math.min(fewestWhenSettled, shares);
          if (correctMachines[0]?.isWidelyHeld === true) expect(shares).toBeGreaterThanOrEqual(f + 1 + k);
        },
      }).run();
      for (const { keyShare, owed } of cluster.correctMachines) {
        expect(keyShare).toBeDefined();
        expect(owed).toEqual([]);
      }
    }
    // Else the above would show nothing.
    expect(fewestWhenSettled).toBeLessThan(f + 1 + k);
  });
});

describe('how many answers it takes', () => {
  const target = (n: number, f: number, k: number): SharingTarget => {
    const { replicas, ...rest } = new ResharingCluster({
      from: generated({ n: 4, f: 1, k: 0 }),
      to: { replicaIds: idsUpTo(n), f: 1, k: 0 },
    }).target;
    return { ...rest, replicas, f, k };
  };
  /** Without r0: where k is not 0 it is its turn to be made clean. */
  const setOf = (count: number): number => (2 ** count - 1) << 1;
  const withTurn = (holders: number): number => holders | 1;

  it.each([
    { change: 'among 4', from: { n: 4, f: 1, k: 0 }, to: { n: 4, f: 1, k: 0 }, confirmations: 3, wide: 3 },
    { change: 'among 6 with k = 1', from: { n: 6, f: 1, k: 1 }, to: { n: 6, f: 1, k: 1 }, confirmations: 3, wide: 4 },
    { change: 'among 7', from: { n: 7, f: 2, k: 0 }, to: { n: 7, f: 2, k: 0 }, confirmations: 5, wide: 5 },
    { change: 'from 7 to 4', from: { n: 7, f: 2, k: 0 }, to: { n: 4, f: 1, k: 0 }, confirmations: 3, wide: 3 },
    // Three are sure to answer when one of the four is silent: to wait for the fourth could be for ever.
    {
      change: 'from 4 to 6 with k = 1',
      from: { n: 4, f: 1, k: 0 },
      to: { n: 6, f: 1, k: 1 },
      confirmations: 3,
      wide: 3,
    },
    {
      change: 'from 6 to 9 with k = 1',
      from: { n: 6, f: 1, k: 1 },
      to: { n: 9, f: 1, k: 1 },
      confirmations: 3,
      wide: 4,
    },
  ])('is $confirmations, then $wide, $change', ({ from, to, confirmations, wide }) => {
    const { source } = generated(from);
    const next = target(to.n, to.f, to.k);
    const { isConfirmedBy, isWideWith } = resharingOf(curve, source, {
      ...next,
      serviceId: source.transcript.serviceId,
    });
    for (let count = 0; count < to.n; count++) {
      expect(isConfirmedBy(setOf(count))).toBe(count >= confirmations);
      expect(isWideWith(setOf(count))).toBe(count >= wide);
      const confirmed = from.k === 0 ? count + 1 : count;
      expect(isConfirmedBy(withTurn(setOf(count)))).toBe(confirmed >= confirmations);
      expect(isWideWith(withTurn(setOf(count)))).toBe(count + 1 >= wide);
    }
  });
});
