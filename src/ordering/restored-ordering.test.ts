/**
 * Shows that a replica goes on from a frontier among others: with its own log after a crash, without it as an observer, with
 * a last own block that lies below the horizon, and as one of a cluster that begins a new DAG. It commits what the others
 * commit, says the same frontiers, and never makes two blocks for one round.
 */
import { describe, expect, it } from 'vitest';
import { digestFrom, sha256 } from '../crypto/hash.ts';
import { frontierOfNewDag, restoredMembership } from '../membership/restored.ts';
import { decodeBlock } from '../wire/block.ts';
import type { Checkpoint, OrderingFrontier } from '../wire/checkpoint.ts';
import { below, type Random, seeded } from './testing/random-dag.ts';
import { ScriptedDuties, TestCoin, testDuty } from './testing/scripted-duties.ts';
import { TestCluster, testRequest } from './testing/test-cluster.ts';

/** A cluster with a coin from its third commit on, on a network that loses messages. */
function clusterOf(
  random: Random,
  size: { readonly n: number; readonly f: number; readonly ranks?: number },
): TestCluster {
  const cluster = new TestCluster({
    ...size,
    duties: (self, membership, before) => {
      const coin = new TestCoin(membership, self);
      return new ScriptedDuties({ self, coinFrom: 3, coin, before, owed: before > 0 ? [] : [testDuty(`of ${self}`)] });
    },
  });
  cluster.loses = () => random() < 0.03;
  return cluster;
}

let requests = 0;
function nextRequest(): number {
  requests += 1;
  return requests;
}

/** Gives requests to some of these replicas until the first of them has made so many more rounds. */
function work(cluster: TestCluster, random: Random, at: readonly number[], rounds: number): void {
  const roundOf = (): number => cluster.replicas[at[0]!]!.status.highestQuorumRound;
  for (const end = roundOf() + rounds; roundOf() < end; ) {
    cluster.request(at[below(random, at.length)]!, testRequest(cluster.membership, 1, nextRequest()));
    cluster.settle(5 + below(random, 30));
  }
}

/** Without losses, until all have what there is. */
function finish(cluster: TestCluster): void {
  cluster.loses = () => false;
  cluster.settle(12_000);
}

/** What a replica committed after a commit: the commits, and where it stood after each. */
function since(cluster: TestCluster, index: number, commitIndex: number) {
  const commits = (cluster.commits[index] ?? []).filter((commit) => commit.index > commitIndex);
  return {
    digests: commits.map(({ digest, timestamp }) => `${digest} ${timestamp}`),
    frontiers: (cluster.frontiers[index] ?? []).filter((frontier) => frontier.commitIndex > commitIndex),
  };
}

function expectSame(cluster: TestCluster, index: number, other: number, from: OrderingFrontier): void {
  const expected = since(cluster, other, from.commitIndex);
  expect(expected.digests.length).toBeGreaterThan(0);
  expect(since(cluster, index, from.commitIndex)).toEqual(expected);
}

function expectNoEquivocation(cluster: TestCluster): void {
  for (const evidence of cluster.evidence) expect(evidence).toEqual([]);
}

const blocksOf = (cluster: TestCluster, index: number) =>
  (cluster.logs[index] ?? []).flatMap((bytes) => {
    const decoded = decodeBlock(bytes);
    return decoded.ok ? [decoded.value] : [];
  });

/** Drops from a log what a replica may forget that stands at this frontier. */
function forgetBelow(cluster: TestCluster, index: number, { horizon }: OrderingFrontier): void {
  cluster.logs[index] = blocksOf(cluster, index)
    .filter(({ round }) => round > horizon)
    .map(({ bytes }) => bytes);
}

/** The last own block, if a replica that stands at this frontier must note it: its log may forget it. */
function ownBlockBelow(cluster: TestCluster, index: number, { horizon }: OrderingFrontier): Uint8Array | undefined {
  const own = blocksOf(cluster, index).filter(({ author }) => author === index);
  const last = own.reduce((a, b) => (b.round > a.round ? b : a));
  return last.round <= horizon ? last.bytes : undefined;
}

const sizes = [
  { n: 4, f: 1 },
  { n: 4, f: 1, ranks: 3 },
  { n: 7, f: 2 },
];

describe.each(sizes)('in a cluster of $n with $ranks ranks', (size) => {
  it('a replica that crashed goes on with its own log above the horizon', () => {
    for (const seed of [1, 2]) {
      const random = seeded(seed);
      const cluster = clusterOf(random, size);
      work(cluster, random, [0, 1, 2, 3], 50);
      for (let crash = 0; crash < 3; crash++) {
        const { frontiers } = cluster;
        const mine = frontiers[2]!;
        const from = mine[below(random, mine.length)]!;
        cluster.crash(2);
        work(cluster, random, [0, 1, 3], 1 + below(random, 12));
        const ownBlock = ownBlockBelow(cluster, 2, from);
        forgetBelow(cluster, 2, from);
        cluster.goOn(2, { from, ...(ownBlock === undefined ? {} : { ownBlock }) });
        work(cluster, random, [0, 2, 1, 3], 12);
        finish(cluster);
        expectSame(cluster, 2, 0, from);
        cluster.loses = () => random() < 0.03;
      }
      expect(cluster.replicas[2]!.isObserver).toBe(false);
      expectNoEquivocation(cluster);
    }
  });

  it('one that lost its log goes on as an observer, from the frontier of another one', () => {
    const random = seeded(7);
    const cluster = clusterOf(random, size);
    work(cluster, random, [0, 1, 2, 3], 75);
    cluster.crash(3);
    cluster.logs[3] = [];
    const from = cluster.frontiers[1]!.at(-1 - below(random, 20))!;
    expect(from.horizon).toBeGreaterThan(0);
    work(cluster, random, [0, 1, 2], 10);
    cluster.goOn(3, { from, observer: true });
    work(cluster, random, [0, 1, 2], 40);
    finish(cluster);
    expectSame(cluster, 3, 1, from);
    expect(blocksOf(cluster, 3).every(({ round }) => round > from.horizon)).toBe(true);
    expectNoEquivocation(cluster);
  });
});

describe('a last own block', () => {
  /** A replica that slept while the others left its last block far behind. */
  function asleep() {
    const random = seeded(11);
    const cluster = clusterOf(random, { n: 4, f: 1 });
    work(cluster, random, [0, 1, 2, 3], 10);
    cluster.crash(3);
    work(cluster, random, [0, 1, 2], 60);
    finish(cluster);
    return { random, cluster, from: cluster.frontiers[0]!.at(-1)! };
  }

  it('below the horizon is the first parent of the next one, which the others take and commit', () => {
    const { random, cluster, from } = asleep();
    const ownBlock = ownBlockBelow(cluster, 3, from)!;
    const before = blocksOf(cluster, 3).filter(({ author }) => author === 3).length;
    cluster.logs[3] = [];
    cluster.goOn(3, { from, ownBlock });
    expect(cluster.replicas[3]!.ownBlock?.bytes).toEqual(Buffer.from(ownBlock));
    work(cluster, random, [0, 3, 1, 2], 10);
    finish(cluster);
    const own = blocksOf(cluster, 3).filter(({ author }) => author === 3);
    const [first] = own;
    const decoded = decodeBlock(ownBlock);
    expect(first?.parents[0]?.digest).toBe(decoded.ok && decoded.value.digest);
    expect(own.length).toBeGreaterThan(5);
    expect(before).toBeGreaterThan(0);
    const committed = since(cluster, 0, from.commitIndex);
    expect(since(cluster, 3, from.commitIndex)).toEqual(committed);
    const byUs = cluster.commits[0]!.flatMap(({ blocks }) => blocks).filter(({ digest }) => digest === first?.digest);
    expect(byUs).toHaveLength(1);
    expectNoEquivocation(cluster);
  });

  it('above the horizon that the log has lost is cited all the same, once its history is here', () => {
    const random = seeded(12);
    const cluster = clusterOf(random, { n: 4, f: 1 });
    work(cluster, random, [0, 1, 2, 3], 60);
    finish(cluster);
    const from = cluster.frontiers[3]!.at(-2)!;
    const ownBlock = cluster.replicas[3]!.ownBlock!;
    cluster.crash(3);
    cluster.logs[3] = [];
    expect(ownBlock.round).toBeGreaterThan(from.horizon);
    cluster.goOn(3, { from, ownBlock: ownBlock.bytes });
    work(cluster, random, [0, 3, 1, 2], 10);
    finish(cluster);
    const next = blocksOf(cluster, 3).find(({ author, round }) => author === 3 && round > ownBlock.round);
    expect(next?.parents[0]?.digest).toBe(ownBlock.digest);
    expect(cluster.replicas[3]!.isObserver).toBe(false);
    expectSame(cluster, 3, 0, from);
    expectNoEquivocation(cluster);
  });
});

it('a replica that goes on asks for no round below its horizon', () => {
  const random = seeded(13);
  const cluster = clusterOf(random, { n: 4, f: 1 });
  work(cluster, random, [0, 1, 2, 3], 45);
  const from = cluster.frontiers[3]!.at(-1)!;
  expect(from.horizon).toBeGreaterThan(0);
  cluster.crash(3);
  cluster.logs[3] = [];
  const asked: number[] = [];
  cluster.loses = ({ from: sender, message }) => {
    if (sender === 3 && message.kind === 'catch-up') asked.push(message.afterRound);
    return sender === 3 || random() < 0.5;
  };
  cluster.goOn(3, { from, observer: true });
  for (let i = 0; i < 8; i++) {
    work(cluster, random, [0, 1, 2], 1);
    cluster.settle(200);
  }
  expect(asked.length).toBeGreaterThan(3);
  for (const afterRound of asked) expect(afterRound).toBeGreaterThanOrEqual(from.horizon);
});

describe('a cluster that begins a new DAG', () => {
  it('goes on with commits and time where the checkpoint was, and takes no block of the old one', () => {
    const random = seeded(17);
    const old = clusterOf(random, { n: 4, f: 1 });
    work(old, random, [0, 1, 2, 3], 20);
    finish(old);
    const ordering = old.frontiers[0]!.at(-1)!;
    const membership = restoredMembership(old.membership, sha256(Buffer.from('a checkpoint')));
    const from = frontierOfNewDag(membership, { ordering } as Checkpoint);
    const cluster = new TestCluster({ n: 4, f: 1, membership, from });
    for (const bytes of old.logs[0]!.slice(-5)) {
      cluster.step(1, [{ kind: 'peer-message', from: 0, message: { kind: 'block', block: bytes } }]);
    }
    expect(cluster.evidence[1]!.map((each) => each.kind === 'rejection' && each.rule)).toEqual(
      Array.from({ length: 5 }, () => 'epoch is 0, ours 1'),
    );
    cluster.evidence[1] = [];
    work(cluster, random, [0, 1, 2, 3], 45);
    finish(cluster);
    const [first] = cluster.commits[0]!;
    expect(first?.index).toBe(ordering.commitIndex + 1);
    expect(first?.timestamp).toBeGreaterThanOrEqual(ordering.timestamp);
    const { frontiers, digests } = since(cluster, 0, 0);
    for (const index of [1, 2, 3]) expect(since(cluster, index, 0)).toEqual({ frontiers, digests });
    // And a crash in the new DAG is like any other.
    const again = cluster.frontiers[3]![10]!;
    cluster.crash(3);
    cluster.goOn(3, { from: again });
    finish(cluster);
    expectSame(cluster, 3, 0, again);
    expectNoEquivocation(cluster);
  });

  it('has a genesis of its own for each checkpoint and each epoch', () => {
    const { membership } = clusterOf(seeded(1), { n: 4, f: 1 });
    const digests = [1, 2].map((byte) => digestFrom(new Uint8Array(32).fill(byte)));
    const restored = digests.map((digest) => restoredMembership(membership, digest));
    const twice = restoredMembership(restored[0]!, digests[0]!);
    expect(restored.map(({ epoch }) => epoch)).toEqual([1, 1]);
    expect(twice.epoch).toBe(2);
    const all = [membership, ...restored, twice].map(({ epochGenesis }) => epochGenesis);
    expect(new Set(all).size).toBe(all.length);
    expect(restored[0]).toMatchObject({ serviceId: membership.serviceId, rule: membership.rule });
  });
});
