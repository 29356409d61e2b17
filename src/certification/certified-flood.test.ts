/** A faulty replica that combines each head first and sends certified heads cannot make each head cost a pairing. */
import { expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import { limits } from '../wire/limits.ts';
import { CertificationCluster, headOf } from './testing/certification-cluster.ts';

function clusterThatCounts(): { readonly cluster: CertificationCluster; readonly pairings: () => number } {
  let pairings = 0;
  const pairingsAreEqual: PairingCurve['pairingsAreEqual'] = (...points) => {
    pairings += 1;
    return plainCurve.pairingsAreEqual(...points);
  };
  const cluster = new CertificationCluster({ n: 4, f: 1, curve: { ...plainCurve, pairingsAreEqual } });
  cluster.run(20);
  return { cluster, pairings: () => pairings };
}

it.each([
  ['nobody waits', false],
  ['somebody waits', true],
])('certified heads ahead of the shares take a pairing now and then, not each: %s', (_, isWanted) => {
  const { cluster, pairings } = clusterThatCounts();
  cluster.crash(3);
  const heads = 100;
  for (let commit = 1; commit <= heads; commit++) {
    for (let index = 0; index < 3; index++) {
      cluster.execute(index, commit);
      cluster.step(index, [{ ...cluster.keys.certified(headOf(commit)), from: 3 }]);
      if (isWanted) cluster.step(index, [{ kind: 'wanted', logSize: 3 * commit }]);
    }
    cluster.run(10);
  }
  cluster.run(500);
  for (let index = 0; index < 3; index++) expect(cluster.newestOf(index)).toBe(heads);
  const restsPerReplica = (10 * heads + 500) / limits.certifiedChecksRestMs;
  expect(pairings()).toBeLessThanOrEqual(3 * (restsPerReplica + 1));
});

it('a certified head that has to rest is used in the end, when there are no shares', () => {
  const { cluster } = clusterThatCounts();
  for (const index of [1, 2, 3]) cluster.crash(index);
  for (const commit of [1, 2]) {
    cluster.execute(0, commit);
    cluster.step(0, [{ ...cluster.keys.certified(headOf(commit)), from: 1 }]);
  }
  expect(cluster.newestOf(0)).toBe(1);
  cluster.run(limits.certifiedChecksRestMs + 1);
  expect(cluster.newestOf(0)).toBe(2);
});
