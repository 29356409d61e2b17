/**
 * Widely held: f faulty dealers, each with f victims of its own, can leave all but one correct replica without a key share
 * when the key is settled. Who waits for openings waits for commits, so no commit may wait for shares before that is healed.
 */
import { describe, expect, it } from 'vitest';
import type { KeyGeneration } from './key-generation.ts';
import * as faulty from './testing/faulty-replicas.ts';
import { type Faulty, KeyCluster, type Posted } from './testing/key-cluster.ts';

describe.each([
  { n: 7, f: 2, k: 0 },
  { n: 9, f: 2, k: 1 },
  { n: 10, f: 3, k: 0 },
])('n = $n, f = $f, k = $k', (size) => {
  const { n, f } = size;
  const liars = Array.from({ length: f }, (_, i) => n - 1 - i);
  const correctCount = n - f;
  /** As many as a quorum can do without, in turn. */
  const victimCount = n - Math.ceil((n + f + 1) / 2);
  const victimsOf = (liar: number): readonly number[] => {
    const first = (n - 1 - liar) * victimCount;
    return Array.from({ length: victimCount }, (_, i) => (first + i) % correctCount);
  };
  const dealers = new Map(
    liars.map((liar): [number, Faulty] => [liar, faulty.dealsWronglyTo(({ self }) => victimsOf(self))]),
  );
  /** Until the key is settled: one correct dealing, and no complaint. */
  const isHeldBack = ({ author, duty }: Posted): boolean =>
    faulty.isKind(duty, 'complaint') || (faulty.isKind(duty, 'dealing') && author > 0 && author < correctCount);

  it('there are f + 1 correct key shares from that commit on, and it comes', () => {
    let fewestWhenSettled = n;
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const cluster = new KeyCluster({
        size,
        seed,
        faulty: dealers,
        isHeldBack,
        afterCommit: ({ correctMachines }) => {
          const [first] = correctMachines as [KeyGeneration];
          for (const machine of correctMachines) expect(machine.isWidelyHeld).toBe(first.isWidelyHeld);
          const shares = correctMachines.filter(({ keyShare }) => keyShare !== undefined).length;
          if (first.transcript !== undefined) fewestWhenSettled = Math.min(fewestWhenSettled, shares);
          if (first.isWidelyHeld) expect(shares).toBeGreaterThan(f);
        },
      }).run();
      for (const { isWidelyHeld, keyShare, owed } of cluster.correctMachines) {
        expect(isWidelyHeld).toBe(true);
        expect(keyShare).toBeDefined();
        expect(owed).toEqual([]);
      }
    }
    // Else the above would show nothing.
    expect(fewestWhenSettled).toBeLessThanOrEqual(f);
  });
});
