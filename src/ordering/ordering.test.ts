import { describe, expect, it } from 'vitest';
import { TestCluster, testRequest } from './testing/test-cluster.ts';

const agree = (cluster: TestCluster, indexes: readonly number[]): void => {
  const sequences = indexes.map((index) => (cluster.commits[index] ?? []).map((commit) => commit.digest));
  const shortest = Math.min(...sequences.map((sequence) => sequence.length));
  for (const sequence of sequences) expect(sequence.slice(0, shortest)).toEqual(sequences[0]?.slice(0, shortest));
};

describe('ordering in common cases', () => {
  it('commits a request on every replica, then falls silent', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    const request = testRequest(cluster.membership, 0, 1);
    cluster.request(1, request);
    cluster.settle();
    for (let index = 0; index < 4; index++) expect(cluster.committedRequests(index)).toContain(request.digest);
    agree(cluster, [0, 1, 2, 3]);
    const { sentCount } = cluster;
    cluster.settle(2_000);
    expect(cluster.sentCount).toBe(sentCount);
  });

  it('says nothing at all without a request', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    cluster.settle(2_000);
    expect(cluster.sentCount).toBe(0);
  });

  it.each([
    { n: 4, f: 1, k: 0, down: [2] },
    { n: 6, f: 1, k: 1, down: [1, 4] },
    { n: 7, f: 2, k: 0, down: [0, 6] },
    { n: 10, f: 3, k: 0, down: [7, 8, 9] },
    { n: 13, f: 4, k: 0, down: [0, 1, 2, 3] },
  ])('goes on with n=$n while $down are down', ({ n, f, k, down }) => {
    const cluster = new TestCluster({ n, f, k });
    for (const index of down) cluster.crash(index);
    const up = Array.from({ length: n }, (_, index) => index).filter((index) => !down.includes(index));
    const requests = Array.from({ length: 12 }, (_, number) => testRequest(cluster.membership, number % 3, number + 1));
    for (const [turn, request] of requests.entries()) {
      cluster.request(up[turn % up.length] as number, request);
      cluster.settle(300);
    }
    for (const index of up) {
      for (const request of requests) expect(cluster.committedRequests(index)).toContain(request.digest);
    }
    agree(cluster, up);
  });

  it('makes no progress without a quorum, and goes on when there is one again', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    cluster.crash(2);
    cluster.crash(3);
    const request = testRequest(cluster.membership, 0, 1);
    cluster.request(0, request);
    cluster.settle(3_000);
    expect(cluster.committedRequests(0)).toEqual([]);
    cluster.restart(3);
    cluster.settle(6_000);
    for (const index of [0, 1, 3]) expect(cluster.committedRequests(index)).toContain(request.digest);
  });
});

describe('a replica that was away', () => {
  it('gets all it missed, within the horizon and far beyond it', () => {
    for (const count of [3, 60]) {
      const cluster = new TestCluster({ n: 4, f: 1 });
      cluster.request(0, testRequest(cluster.membership, 0, 1));
      cluster.settle();
      cluster.crash(3);
      for (let number = 2; number < count + 2; number++) {
        cluster.request(number % 3, testRequest(cluster.membership, 0, number));
        cluster.settle(60);
      }
      cluster.restart(3);
      cluster.settle(3_000);
      cluster.request(3, testRequest(cluster.membership, 1, 1));
      cluster.settle(3_000);
      expect(cluster.commits[3]?.length).toBe(cluster.commits[0]?.length);
      agree(cluster, [0, 1, 2, 3]);
      expect(cluster.committedRequests(3)).toContain(testRequest(cluster.membership, 1, 1).digest);
    }
  });

  it('never makes a second block for a round after a restart', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    for (let number = 1; number < 10; number++) {
      cluster.request(number % 4, testRequest(cluster.membership, 0, number));
      cluster.settle(100);
      cluster.crash(number % 4);
      cluster.restart(number % 4);
      cluster.settle(100);
    }
    expect(cluster.evidence.flat().filter((each) => each.kind === 'equivocation')).toEqual([]);
    agree(cluster, [0, 1, 2, 3]);
  });

  it('is not waited for for ever when all others start again without it', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    cluster.crash(3);
    cluster.request(0, testRequest(cluster.membership, 0, 1));
    cluster.settle();
    for (const index of [0, 1, 2]) cluster.stop(index);
    for (const index of [0, 1, 2]) cluster.restart(index);
    const request = testRequest(cluster.membership, 0, 2);
    cluster.request(0, request);
    cluster.settle(3_000);
    for (const index of [0, 1, 2]) expect(cluster.committedRequests(index)).toContain(request.digest);
  });

  it('gets its own requests ordered while the others do not pause for it', () => {
    const cluster = new TestCluster({ n: 4, f: 1 });
    cluster.crash(3);
    cluster.request(0, testRequest(cluster.membership, 0, 1));
    cluster.settle();
    cluster.restart(3);
    const request = testRequest(cluster.membership, 1, 1);
    // New rounds come faster than a wait for the others ends.
    for (let number = 2; number < 42; number++) {
      cluster.request(number % 3, testRequest(cluster.membership, 0, number));
      if (number === 12) cluster.request(3, request);
      cluster.settle(5);
    }
    for (const index of [0, 1, 2, 3]) expect(cluster.committedRequests(index)).toContain(request.digest);
  });
});
