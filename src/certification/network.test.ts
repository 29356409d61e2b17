/**
 * Certification over a bad network, among liars: replicas crash and come back, letters are lost, repeated and late; at the
 * end every correct replica has the last head certified, and nobody accuses a correct one.
 */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../simulator/prng.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import { CertificationCluster, headOf, type Letter, type Liar } from './testing/certification-cluster.ts';

type Share = Extract<PeerMessage, { kind: 'signature-share' }>;

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
const toAll = (cluster: CertificationCluster, from: number, message: PeerMessage): readonly Letter[] =>
  Array.from({ length: cluster.n }, (_, to) => ({ from, to, message })).filter(({ to }) => to !== from);

/** The share of a head that a correct replica sent. */
function sharedHead(cluster: CertificationCluster, letter: Letter | undefined): Share | undefined {
  if (letter?.message.kind !== 'signature-share' || letter.message.statement !== 'head') return undefined;
  return cluster.liars.has(letter.from) ? undefined : letter.message;
}

/** Answers each share of a head with something of its own, to all. */
const answering =
  (answer: (cluster: CertificationCluster, self: number, heard: Share) => PeerMessage): Liar =>
  (cluster, self, letter) => {
    const heard = sharedHead(cluster, letter);
    return heard === undefined ? [] : toAll(cluster, self, answer(cluster, self, heard));
  };

const liars: Readonly<Record<string, Liar>> = {
  'bad shares': answering(({ keys }, self, heard) => ({
    ...heard,
    share: keys.curve.g1.encode(keys.curve.g1.multiply(keys.curve.g1.generator, BigInt(self + heard.commitIndex))),
  })),
  'no points': answering((_, __, heard) => ({ ...heard, share: new Uint8Array(48).fill(255) })),
  'shares replayed from another head': answering(({ keys }, self, heard) => ({
    ...heard,
    share: keys.shareMessage(self, headOf(heard.commitIndex + 1)).share,
  })),
  "somebody else's share": answering((_, __, heard) => heard),
  'shares of another head': answering(({ keys }, self, { commitIndex }) =>
    keys.shareMessage(self, headOf(commitIndex, 'wrong')),
  ),
  'one head to some, another to others': (cluster, self, letter) => {
    const heard = sharedHead(cluster, letter);
    if (heard === undefined) return [];
    const { commitIndex } = heard;
    return toAll(cluster, self, heard).map((each) => ({
      ...each,
      message: cluster.keys.shareMessage(self, headOf(commitIndex, each.to % 2 === 0 ? 'right' : 'wrong')),
    }));
  },
  'forged certified heads': answering(({ keys }, _, { commitIndex }) => ({
    ...keys.certified(headOf(commitIndex, 'forged')),
    signature: keys.certified(headOf(commitIndex)).signature,
  })),
  'forged signatures of right heads': answering(({ keys }, _, { commitIndex }) => ({
    ...keys.certified(headOf(commitIndex)),
    signature: keys.certified(headOf(commitIndex + 1)).signature,
  })),
  'certified statements that are no heads': answering((_, __, { share }) => ({
    kind: 'certified-statement',
    statement: 'head',
    encoded: new Uint8Array(125),
    signature: share,
  })),
  'wrong statements of the membership': answering((_, __, { share, digest }) => ({
    kind: 'signature-share',
    statement: 'membership',
    commitIndex: 0,
    digest,
    share,
  })),
};

/** A few hundred milliseconds of anything, then peace. */
function runBadly(cluster: CertificationCluster, prng: Prng, ms: number): number {
  const correct = Array.from({ length: cluster.n }, (_, index) => index).filter((index) => !cluster.liars.has(index));
  const { post } = cluster;
  cluster.post = () => {
    const copies = prng.below(10) < 2 ? 0 : prng.below(10) < 2 ? 2 : 1;
    return Array.from({ length: copies }, () => prng.between(1, 30));
  };
  let last = 0;
  for (let elapsed = 0; elapsed < ms; elapsed += 10) {
    last += prng.below(2);
    for (const index of correct) {
      const executed = cluster.executed[index] as number;
      const isDown = cluster.machines[index] === undefined;
      if (isDown && prng.below(15) === 0) cluster.start(index);
      else if (!isDown && prng.below(80) === 0) cluster.crash(index);
      else if (!isDown && prng.below(3) > 0) cluster.execute(index, prng.between(executed, last));
      if (!isDown && prng.below(10) === 0) cluster.step(index, [{ kind: 'wanted', logSize: executed * 3 }]);
    }
    cluster.run(10);
  }
  for (const index of correct) {
    if (cluster.machines[index] === undefined) cluster.start(index);
    cluster.execute(index, last);
  }
  cluster.run(6_000);
  cluster.post = post;
  return last;
}

function expectAllCertified(cluster: CertificationCluster, last: number): void {
  for (const [index, machine] of cluster.machines.entries()) {
    if (machine === undefined || cluster.liars.has(index)) continue;
    expect(machine.status).toMatchObject({
      certifiedCommitIndex: last,
      waitingHeads: 0,
      hasDiverged: false,
      isMembershipCertified: true,
    });
    expect(machine.newest?.head).toEqual(headOf(last));
    expect(hex(machine.newest?.signature)).toBe(hex(cluster.keys.certified(headOf(last)).signature));
    const { statement: encoded } = cluster;
    expect(hex(machine.membershipStatement?.encoded)).toBe(hex(encoded));
    expect(hex(machine.membershipStatement?.signature)).toBe(hex(cluster.keys.signature('membership', encoded)));
    for (const { from } of cluster.evidence[index] ?? []) expect([...cluster.liars.keys()]).toContain(from);
  }
}

describe.each([
  { n: 4, f: 1 },
  { n: 7, f: 2 },
])('n = $n', ({ n, f }) => {
  it.each([1, 2, 3, 4, 5, 6])('all that are correct, seed %i', (seed) => {
    const cluster = new CertificationCluster({ n, f });
    const last = runBadly(cluster, new Prng(seed), 1_000);
    expect(last).toBeGreaterThan(20);
    expectAllCertified(cluster, last);
  });

  it.each(Object.entries(liars))('f that send %s', (name, liar) => {
    const cluster = new CertificationCluster({ n, f });
    for (let index = 0; index < f; index++) cluster.liars.set(index, liar);
    const last = runBadly(cluster, new Prng(7), 600);
    expectAllCertified(cluster, last);
    for (let index = 0; index < f; index++) {
      const accusers = cluster.machines.filter((_, accuser) => cluster.rulesAgainst(accuser, index).length > 0);
      expect(accusers.length, name).toBeGreaterThan(0);
    }
  });

  it('f that are down and f others without a key share', () => {
    const withoutShare = Array.from({ length: f }, (_, i) => i);
    const cluster = new CertificationCluster({ n, f, withoutShare });
    for (let index = n - f; index < n; index++) cluster.crash(index);
    cluster.executeAll(5);
    cluster.run(300);
    expectAllCertified(cluster, 5);
  });

  it('f whose state is corrupted notice and stop signing; the others go on', () => {
    const cluster = new CertificationCluster({ n, f });
    const corrupted = Array.from({ length: f }, (_, i) => i * 2);
    cluster.executeAll(3);
    cluster.run(200);
    for (const index of corrupted) cluster.histories[index] = 'corrupted';
    for (let commit = 4; commit <= 10; commit++) {
      cluster.executeAll(commit);
      cluster.run(10);
    }
    cluster.run(300);
    for (let index = 0; index < n; index++) {
      const { status, divergence } = cluster.machine(index);
      if (corrupted.includes(index)) {
        expect(status).toMatchObject({ hasDiverged: true, isSigning: false, certifiedCommitIndex: 3 });
        expect(divergence?.own).toEqual(headOf(4, 'corrupted'));
        expect(cluster.rulesAgainst(index, index)).toEqual(['head: the service signed another one than ours']);
      } else {
        expect(status).toMatchObject({ hasDiverged: false, isSigning: true, certifiedCommitIndex: 10 });
        for (const other of corrupted) {
          expect(cluster.rulesAgainst(index, other)).toEqual([
            'signature share: of another head than the certified one',
          ]);
        }
      }
    }
  });

  it('one that comes back after all others are idle gets what was certified meanwhile', () => {
    const cluster = new CertificationCluster({ n, f });
    cluster.crash(1);
    for (let index = 0; index < n; index++) if (index !== 1) cluster.execute(index, 9);
    cluster.run(1_000);
    cluster.start(1);
    cluster.run(50);
    expect(cluster.newestOf(1)).toBe(0);
    cluster.execute(1, 9);
    expect(cluster.newestOf(1)).toBe(9);
    expect(cluster.machine(1).status.isMembershipCertified).toBe(true);
  });

  it('all that come back at once certify the last head again', () => {
    const cluster = new CertificationCluster({ n, f });
    cluster.executeAll(4);
    cluster.run(300);
    for (let index = 0; index < n; index++) cluster.crash(index);
    for (let index = 0; index < n; index++) cluster.start(index);
    cluster.run(300);
    expectAllCertified(cluster, 4);
  });
});

describe('the membership', () => {
  it('is certified once, at once, and said to who comes later', () => {
    const cluster = new CertificationCluster({ n: 4, f: 1 });
    cluster.run(2);
    for (let index = 0; index < 4; index++) expect(cluster.machine(index).status.isMembershipCertified).toBe(true);
    const silent = cluster.step(0, []);
    expect(silent).toEqual({ send: [], evidence: [], wakeAtMs: undefined });
    expect(cluster.step(0, [{ kind: 'connected', peer: 2 }])?.send.map(({ message }) => message)).toEqual([
      {
        kind: 'certified-statement',
        statement: 'membership',
        encoded: cluster.statement,
        signature: cluster.keys.signature('membership', cluster.statement),
      },
    ]);
  });

  it('is certified although the first shares are lost', () => {
    const cluster = new CertificationCluster({ n: 4, f: 1 });
    const { post } = cluster;
    for (let index = 0; index < 4; index++) cluster.crash(index);
    cluster.post = () => [];
    for (let index = 0; index < 4; index++) cluster.start(index);
    cluster.run(10);
    cluster.post = post;
    expect(cluster.machine(2).status.isMembershipCertified).toBe(false);
    cluster.run(600);
    for (let index = 0; index < 4; index++) expect(cluster.machine(index).status.isMembershipCertified).toBe(true);
  });

  it('is said again to who says its share again', () => {
    const cluster = new CertificationCluster({ n: 4, f: 1 });
    const { post } = cluster;
    cluster.post = ({ to }) => (to === 3 ? [] : [1]);
    cluster.crash(3);
    cluster.start(3);
    cluster.run(400);
    cluster.post = post;
    expect(cluster.machine(3).status.isMembershipCertified).toBe(false);
    cluster.run(200);
    expect(cluster.machine(3).status.isMembershipCertified).toBe(true);
  });

  it('is certified by f + 1, a little later', () => {
    const cluster = new CertificationCluster({ n: 4, f: 1, withoutShare: [2, 3] });
    cluster.run(50);
    expect(cluster.machine(2).status.isMembershipCertified).toBe(false);
    cluster.run(100);
    for (let index = 0; index < 4; index++) expect(cluster.machine(index).status.isMembershipCertified).toBe(true);
  });

  it('is not certified by a wrong signature', () => {
    const cluster = new CertificationCluster({ n: 4, f: 1, withoutShare: [0, 1, 2, 3] });
    const { statement: encoded } = cluster;
    const signature = cluster.keys.signature('head', encoded);
    const other = Uint8Array.from(encoded).fill(2, -1);
    const message = { kind: 'certified-statement', statement: 'membership' } as const;
    cluster.step(0, [{ from: 1, ...message, encoded, signature }]);
    cluster.step(0, [{ from: 2, ...message, encoded: other, signature: cluster.keys.signature('membership', other) }]);
    expect(cluster.machine(0).membershipStatement).toBeUndefined();
    expect(cluster.rulesAgainst(0, 1)).toEqual(['certified statement: not signed by the service']);
    expect(cluster.rulesAgainst(0, 2)).toEqual(['certified statement: another membership statement']);
    cluster.step(0, [{ from: 3, ...message, encoded, signature: cluster.keys.signature('membership', encoded) }]);
    expect(cluster.machine(0).status.isMembershipCertified).toBe(true);
  });
});
