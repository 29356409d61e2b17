/** Where f + 1 shares come soon and the others late, somebody who always waits does not make each head cost a pairing. */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import { limits } from '../wire/limits.ts';
import { CertificationCluster } from './testing/certification-cluster.ts';

describe.each([
  { n: 4, f: 1 },
  { n: 7, f: 2 },
])('n = $n', ({ n, f }) => {
  it('a head is certified often enough, with few pairings', () => {
    let pairings = 0;
    const pairingsAreEqual: PairingCurve['pairingsAreEqual'] = (...points) => {
      pairings += 1;
      return plainCurve.pairingsAreEqual(...points);
    };
    const cluster = new CertificationCluster({ n, f, curve: { ...plainCurve, pairingsAreEqual } });
    cluster.run(500);
    const before = pairings;
    // Two places far from each other, the first with f + 1 replicas.
    cluster.post = ({ from, to }) => [from <= f === to <= f ? 1 : 40];
    const heads = 100;
    let longestMs = 0;
    for (let commit = 1; commit <= heads; commit++) {
      for (let index = 0; index < n; index++) {
        cluster.execute(index, commit);
        cluster.step(index, [{ kind: 'wanted', logSize: 3 * commit }]);
      }
      cluster.run(10);
      longestMs = Math.max(longestMs, 10 * (commit - cluster.newestOf(0)));
    }
    const perReplicaMax = (10 * heads) / limits.certifyPairingRestMs + 1;
    expect(pairings - before).toBeLessThanOrEqual(n * perReplicaMax);
    expect(longestMs).toBeLessThanOrEqual(limits.certifyPairingRestMs + 15);
  });
});
