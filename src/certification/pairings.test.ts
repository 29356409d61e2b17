/** What certification costs: pairings, counted on a curve that counts; and that it runs on the real one. */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { CertificationCluster, headOf } from './testing/certification-cluster.ts';

function counting(curve: PairingCurve): { readonly curve: PairingCurve; readonly count: () => number } {
  let pairings = 0;
  const pairingsAreEqual: PairingCurve['pairingsAreEqual'] = (...points) => {
    pairings += 1;
    return curve.pairingsAreEqual(...points);
  };
  return { curve: { ...curve, pairingsAreEqual }, count: () => pairings };
}

describe.each([
  { n: 4, f: 1 },
  { n: 7, f: 2 },
  { n: 13, f: 4 },
])('n = $n', ({ n, f }) => {
  it('no pairing while 2f + 1 sign, whether somebody waits or not', () => {
    const { curve, count } = counting(plainCurve);
    const cluster = new CertificationCluster({ n, f, curve });
    for (let index = n - 1; index > 2 * f; index--) cluster.crash(index);
    for (let commit = 1; commit <= 20; commit++) {
      for (let index = 0; index <= 2 * f; index++) {
        cluster.execute(index, commit);
        if (commit % 2 === 0) cluster.step(index, [{ kind: 'wanted', logSize: 3 * commit }]);
      }
      cluster.run(10);
    }
    cluster.run(500);
    for (let index = 0; index <= 2 * f; index++) expect(cluster.newestOf(index)).toBe(20);
    expect(cluster.machine(0).status.isMembershipCertified).toBe(true);
    expect(count()).toBe(0);
  });

  it('one pairing for each signature and replica while only f + 1 sign', () => {
    const { curve, count } = counting(plainCurve);
    const withoutShare = Array.from({ length: n - f - 1 }, (_, i) => n - 1 - i);
    const cluster = new CertificationCluster({ n, f, curve, withoutShare });
    for (let commit = 1; commit <= 5; commit++) {
      cluster.executeAll(commit);
      cluster.run(2);
    }
    cluster.run(500);
    for (let index = 0; index < n; index++) expect(cluster.newestOf(index)).toBe(5);
    // One for the head that covers all, one for the membership.
    expect(count()).toBe(2 * n);
  });

  it('what f liars cost is bounded, however much they send', () => {
    const { curve, count } = counting(plainCurve);
    const cluster = new CertificationCluster({ n, f, curve });
    cluster.run(10);
    for (let liar = 0; liar < f; liar++) cluster.crash(liar);
    for (let commit = 1; commit <= 40; commit++) {
      for (let index = f; index < n; index++) {
        cluster.execute(index, commit);
        for (let liar = 0; liar < f; liar++) {
          const bad = { ...cluster.keys.shareMessage(liar, headOf(commit + 1)), share: new Uint8Array(48).fill(1) };
          const { signature } = cluster.keys.certified(headOf(0));
          const forged = { ...cluster.keys.certified(headOf(commit, 'forged')), signature };
          const message = commit % 2 === 0 ? bad : forged;
          cluster.step(index, [{ ...message, from: liar }]);
        }
      }
      cluster.run(10);
    }
    cluster.run(500);
    for (let index = f; index < n; index++) expect(cluster.newestOf(index)).toBe(40);
    // Each liar is found out once: by a forged signature, or with all shares of one head.
    expect(count()).toBeLessThanOrEqual((n - f) * f * (n + 1));
  });
});

it('runs on BLS12-381', () => {
  const { curve, count } = counting(mclCurve);
  const cluster = new CertificationCluster({ n: 4, f: 1, curve });
  cluster.executeAll(3);
  cluster.run(150);
  for (let index = 0; index < 4; index++) {
    const { newest, membershipStatement } = cluster.machine(index);
    expect(newest?.head).toEqual(headOf(3));
    const { signature } = cluster.keys.certified(headOf(3));
    expect(Buffer.compare(newest?.signature ?? new Uint8Array(), signature)).toBe(0);
    expect(membershipStatement?.encoded).toEqual(cluster.statement);
  }
  expect(count()).toBe(0);
  cluster.crash(3);
  cluster.start(3);
  cluster.run(10);
  expect(cluster.newestOf(3)).toBe(3);
  expect(count()).toBeGreaterThan(0);
});
