/** The commit that closes a DAG is the last of it everywhere: nothing is decided or proposed after it, and who is behind gets there. */
import { describe, expect, it } from 'vitest';
import type { Membership } from '../membership/membership.ts';
import { ScriptedDuties, TestCoin } from './testing/scripted-duties.ts';
import { TestCluster, testRequest } from './testing/test-cluster.ts';

const closesAt = 4;

function closing(): TestCluster {
  const duties = (self: number, membership: Membership, before: number): ScriptedDuties => {
    const source = new ScriptedDuties({ self, coinFrom: 1_000, coin: new TestCoin(membership, 0), before });
    source.closesAt = closesAt;
    source.workUntil = 1_000;
    return source;
  };
  return new TestCluster({ n: 4, f: 1, duties });
}

const last = (cluster: TestCluster, index: number) => cluster.commits[index]?.at(-1);

describe('a closed DAG', () => {
  it('has the same last commit on all replicas, however much there is to do', () => {
    const cluster = closing();
    for (let number = 1; number <= 20; number++) {
      cluster.request(number % 4, testRequest(cluster.membership, number % 4, number));
      cluster.settle(20);
    }
    for (const index of [0, 1, 2, 3]) {
      expect(last(cluster, index)?.index).toBe(closesAt);
      expect(last(cluster, index)?.digest).toBe(last(cluster, 0)?.digest);
    }
    const rounds = cluster.replicas.map((replica) => replica?.status.round);
    cluster.request(0, testRequest(cluster.membership, 3, 99));
    cluster.settle(3_000);
    expect(cluster.replicas.map((replica) => replica?.status.round)).toEqual(rounds);
    expect(cluster.replicas.map((replica) => replica?.status.commitIndex)).toEqual([4, 4, 4, 4]);
  });

  it('keeps what it was given and did not order, for whoever takes it on', () => {
    const cluster = closing();
    cluster.settle(200);
    expect(last(cluster, 2)?.index).toBe(closesAt);
    const request = testRequest(cluster.membership, 1, 1);
    cluster.request(2, request);
    cluster.settle(500);
    expect(cluster.replicas[2]?.uncommittedRequests).toEqual([request.bytes]);
    for (const index of [0, 1, 3]) expect(cluster.replicas[index]?.uncommittedRequests).toEqual([]);
  });

  it('still gives its blocks to one that was away, which comes to the same end, and after a restart too', () => {
    const cluster = closing();
    cluster.loses = ({ from, to }) => from === 3 || to === 3;
    cluster.settle(300);
    expect(last(cluster, 0)?.index).toBe(closesAt);
    expect(last(cluster, 3)).toBeUndefined();
    cluster.loses = () => false;
    cluster.settle(12_000);
    expect(last(cluster, 3)?.digest).toBe(last(cluster, 0)?.digest);
    cluster.stop(1);
    cluster.restart(1);
    cluster.settle(300);
    expect(last(cluster, 1)?.digest).toBe(last(cluster, 0)?.digest);
    expect(cluster.replicas[1]?.status.commitIndex).toBe(closesAt);
  });
});

describe('an observer', () => {
  it('passes on what it is given at once, since it makes no blocks', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    cluster.goOn(3, { observer: true });
    const request = testRequest(cluster.membership, 1, 1);
    cluster.request(3, request);
    cluster.settle(100);
    // Each of those it was passed on to may have ordered it; it is executed once.
    for (const index of [0, 1, 2, 3])
      expect(new Set(cluster.committedRequests(index))).toEqual(new Set([request.digest]));
    expect(cluster.replicas[3]?.status.round).toBe(0);
  });
});
