/**
 * Shows that a replica which goes on from a frontier, with the blocks above its horizon and nothing else, commits what one
 * commits that has seen everything: on random DAGs with equivocators and wrong shares, from each of their commits, whatever the
 * order in which blocks come and however many slots are decided at a time. And that it would not, were a part of it missing.
 */
import { describe, expect, it } from 'vitest';
import type { Digest } from '../crypto/hash.ts';
import { frontierOfGenesis } from '../membership/restored.ts';
import type { OrderingFrontier } from '../wire/checkpoint.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../wire/checkpoint.ts';
import { BlockDag } from './block-dag.ts';
import { Coins } from './coins.ts';
import type { VerifiedBlock } from './commit.ts';
import { CommitSequence } from './commit-sequence.ts';
import { initialPosition } from './committer.ts';
import { initialHorizon } from './linearizer.ts';
import { below, type Random, seeded } from './testing/random-dag.ts';
import { anyOrder, randomWorld, type World } from './testing/random-world.ts';
import { ScriptedDuties, TestCoin } from './testing/scripted-duties.ts';
import { testMembership } from './testing/test-cluster.ts';

/** What a replica says at each commit: the commit, and where another one can go on. */
interface Step {
  readonly digest: Digest;
  readonly blocks: readonly Digest[];
  readonly frontier: OrderingFrontier;
}

/** The steps of a replica that is given all blocks above its horizon in some order, and decides now and then. */
function play({ membership, blocks, coinFrom }: World, random: Random, from: OrderingFrontier): readonly Step[] {
  const steps: Step[] = [];
  const dag = new BlockDag(membership, from);
  const coin = new TestCoin(membership, 0);
  const scripted = new ScriptedDuties({ self: 0, coinFrom, coin, before: from.commitIndex });
  const duties = {
    committed(commit: Parameters<ScriptedDuties['committed']>[0]): void {
      scripted.committed(commit);
      const { digest, blocks: ordered } = commit;
      steps.push({ digest, blocks: ordered.map((each) => each.digest), frontier: sequence.frontier });
    },
    owed: [],
    hasWork: false,
    isClosed: false,
    get coin() {
      return scripted.coin;
    },
  };
  const coins = new Coins({ membership, duties, quorumRound: () => Number.POSITIVE_INFINITY });
  const sequence = new CommitSequence({ membership, dag, duties, coins, from });
  const order = anyOrder(random, blocks);
  const batchMax = [1, 4, 30, 1_000][below(random, 4)]!;
  const take = (block: VerifiedBlock): void => {
    if (block.round <= sequence.horizon) return;
    dag.insert(block);
    coins.accepted(block);
  };
  for (let done = 0; done < order.length; ) {
    const size = 1 + below(random, batchMax);
    for (const block of order.slice(done, done + size)) take(block);
    done += size;
    sequence.decide();
    dag.prune(sequence.horizon + 1);
  }
  return steps;
}

/** Over the wire and back, as in a checkpoint. */
function recoded(ordering: OrderingFrontier): OrderingFrontier {
  const tree = { root: ordering.commitDigest, entries: 0, sizeBytes: 0 };
  const digest = ordering.commitDigest;
  const rest = { serviceId: digest, epoch: 0, service: tree, system: tree, logSize: 0, logFrontier: [] };
  const more = { sessions: { expiredBirths: 0, admissions: 0 }, membershipDigest: digest, nextMembership: undefined };
  const decoded = decodeCheckpoint(encodeCheckpoint({ ...rest, ...more, ordering }));
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value.ordering;
}

/** How many restored replicas, over all seeds and commits, went on otherwise than the first one. */
function count(seeds: number, change: (frontier: OrderingFrontier) => OrderingFrontier = (frontier) => frontier) {
  let restored = 0;
  let split = 0;
  let aboveGenesis = 0;
  let withCommitted = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const world = randomWorld(seed, { lasting: true });
    const random = seeded(seed + 9_000);
    const all = play(world, random, frontierOfGenesis(world.membership));
    for (let i = below(random, 3); i < all.length; i += 1 + below(random, 5)) {
      const { frontier } = all[i]!;
      const rest = play(world, random, change(recoded(frontier)));
      restored += 1;
      if (frontier.horizon > 0) aboveGenesis += 1;
      if (frontier.committed.length > 0) withCommitted += 1;
      if (JSON.stringify(rest) !== JSON.stringify(all.slice(i + 1))) split += 1;
    }
  }
  return { restored, split, aboveGenesis, withCommitted };
}

describe('a replica that goes on from a frontier', () => {
  it('commits what one commits that has seen everything, and says the same frontiers', () => {
    const { restored, split, aboveGenesis, withCommitted } = count(40);
    expect(split).toBe(0);
    expect(restored).toBeGreaterThan(200);
    expect(aboveGenesis).toBeGreaterThan(restored / 3);
    expect(withCommitted).toBe(restored);
  });

  it.each<[string, (frontier: OrderingFrontier) => OrderingFrontier]>([
    ['the blocks that are ordered', (frontier) => ({ ...frontier, committed: [] })],
    ['one of them', (frontier) => ({ ...frontier, committed: frontier.committed.slice(1) })],
    ['the horizon', (frontier) => ({ ...frontier, horizon: Math.max(0, frontier.horizon - 1) })],
    ['whether the period has a commit', (frontier) => ({ ...frontier, periodHasCommit: !frontier.periodHasCommit })],
    ['the time', (frontier) => ({ ...frontier, timestamp: frontier.timestamp + 1_000 })],
  ])('would commit something else if it had %s wrong', (_, change) => {
    expect(count(12, change).split).toBeGreaterThan(0);
  });
});

it('begins at genesis where the decision rule begins', () => {
  const { horizon, next, periodHasCommit, committed } = frontierOfGenesis(testMembership({ n: 4, f: 1 }));
  expect({ next, periodHasCommit }).toEqual(initialPosition);
  expect({ horizon, committed }).toEqual({ horizon: initialHorizon, committed: [] });
});
