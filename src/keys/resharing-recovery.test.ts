/**
 * Shows that a resharing ends though the replicas whose turn it is are made clean in the middle of it, after they have confirmed
 * what a faulty dealer dealt rightly to them and to few others: nothing waits for openings that only they could give.
 */
import { expect, it } from 'vitest';
import { dutyKinds } from '../wire/duty.ts';
import * as faulty from './testing/faulty-resharers.ts';
import type { Posted } from './testing/key-cluster.ts';
import { type FaultyResharer, generated, idsUpTo, ResharingCluster } from './testing/resharing-cluster.ts';

/** Whose turn it is at the end of epoch 0: r0, or r0 and r1. */
it.each([
  { n: 6, f: 1, k: 1 },
  { n: 8, f: 1, k: 2 },
  { n: 9, f: 2, k: 1 },
])('n = $n, f = $f, k = $k', ({ n, f, k }) => {
  const from = generated({ n, f, k }, { seed: 4 });
  const recovering = idsUpTo(k);
  const liars = idsUpTo(n).slice(n - f);
  // Right for 2f + 1: those who are about to be made clean, the liars, and too few others.
  const favoured = [...idsUpTo(2 * f + 1 - f), ...liars];
  const liar = faulty.dealsWronglyTo(() => idsUpTo(n).filter((id) => !favoured.includes(id)));
  const opensNothing: FaultyResharer = (view) => liar(view).filter(({ kind }) => kind !== dutyKinds.nextOpening);
  const stopsAfterConfirming: FaultyResharer = ({ committed, owed, cluster, replicaId, hasEntered }) => {
    const author = cluster.dealers.indexOf(replicaId);
    const isResponse = ({ kind }: { readonly kind: number }): boolean => kind === dutyKinds.nextResponse;
    if (hasEntered) return owed;
    return committed.some((posted) => posted.author === author && isResponse(posted.duty))
      ? []
      : owed.filter(isResponse);
  };
  const others = new Map<string, FaultyResharer>([
    ...liars.map((id) => [id, opensNothing] as const),
    ...recovering.map((id) => [id, stopsAfterConfirming] as const),
  ]);
  /** As long as there is anything else: correct dealings, and complaints. */
  const isHeldBack = ({ author, duty }: Posted): boolean =>
    duty.kind === dutyKinds.nextComplaint || (duty.kind === dutyKinds.nextDealing && author < n - f);

  for (let seed = 1; seed <= 12; seed++) {
    const to = { replicaIds: idsUpTo(n), f, k };
    const cluster = new ResharingCluster({ from, to, seed, faulty: others, isHeldBack }).run();
    for (const { keyShare } of cluster.correctMachines) expect(keyShare).toBeDefined();
  }
});
