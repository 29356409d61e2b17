/**
 * Shows that blocks which become acceptable only because their made-up parents have got older than the horizon do not
 * hold up the correct replicas, of whom one alone has been given them.
 */
import { expect, it } from 'vitest';
import { sign } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { encodeBlock } from '../wire/block.ts';
import { TestCluster, testKey, testRequest } from './testing/test-cluster.ts';
import { blockPreimage } from './validity.ts';

/** Time that the cluster takes for 20 requests one after another, from when its horizon has begun to rise. */
function elapsedMs(attack: (cluster: TestCluster) => void): number {
  const cluster = new TestCluster({ n: 4, f: 1 });
  cluster.crash(3);
  let number = 0;
  const putOne = () => {
    number += 1;
    const request = testRequest(cluster.membership, 0, number);
    cluster.request(number % 3, request);
    const endMs = cluster.nowMs + 60_000;
    const isDone = () => [0, 1, 2].every((index) => cluster.committedRequests(index).includes(request.digest));
    while (!isDone() && cluster.nowMs < endMs) cluster.settle(5);
    expect(isDone()).toBe(true);
  };
  while ((cluster.replicas[0]?.status.round ?? 0) < 2 * cluster.membership.parameters.pruneDepth) putOne();
  attack(cluster);
  while ((cluster.replicas[0]?.status.round ?? 0) < 4 * cluster.membership.parameters.pruneDepth) putOne();
  const beganAtMs = cluster.nowMs;
  for (let i = 0; i < 20; i++) putOne();
  return cluster.nowMs - beganAtMs;
}

it('blocks whose made-up parents the horizon passes cost the others next to nothing', () => {
  const undisturbedMs = elapsedMs(() => {});
  const attackedMs = elapsedMs((cluster) => {
    const now = cluster.replicas[0]?.status.round ?? 0;
    for (let round = now + 1; round <= now + 300; round++) {
      const parents = [3, 0, 1].map((author) => ({
        round: round - 1,
        author,
        digest: sha256(Buffer.from(`${round} ${author}`)),
      }));
      const { bytes } = encodeBlock(
        { epoch: 0, round, author: 3, timestamp: 0, parents, requests: [], duties: [] },
        (digest) => sign(testKey(3), blockPreimage(digest)),
      );
      cluster.step(0, [{ kind: 'peer-message', from: 3, message: { kind: 'block', block: bytes } }]);
    }
  });
  expect(attackedMs).toBeLessThan(3 * undisturbedMs);
});
