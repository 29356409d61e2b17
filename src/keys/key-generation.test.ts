/**
 * Shows that all correct replicas end with one transcript and shares that fit it, whatever up to f faulty replicas post and
 * however commits come about; that then nobody owes anything; and that a restart at any moment changes nothing.
 */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { simulatedSecrets } from '../../simulator/session-secrets.ts';
import { interpolateAt } from '../crypto/polynomial.ts';
import { seeded, shuffled } from '../ordering/testing/random-dag.ts';
import type { Duty } from '../wire/block.ts';
import { KeyGeneration } from './key-generation.ts';
import { generationOf } from './sharing.ts';
import * as faulty from './testing/faulty-replicas.ts';
import {
  type ClusterOptions,
  type Faulty,
  KeyCluster,
  keyMembership,
  type Size,
  sizes,
} from './testing/key-cluster.ts';
import { encodeTranscript, type Transcript, verifyTranscript } from './transcript.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const hexOf = (duties: readonly Duty[]): readonly string[] =>
  duties.map(({ kind, payload }) => `${kind} ${hex(payload)}`);

/** Checks all that must hold when a run is over; returns the transcript. */
function checkOutcome(cluster: KeyCluster): Transcript {
  const { curve, membership, correctMachines: machines, correct } = cluster;
  const transcript = machines[0]?.transcript;
  if (transcript === undefined) throw new Error('no transcript');
  const threshold = membership.rule.f + 1;
  for (const [i, machine] of machines.entries()) {
    expect(hex(encodeTranscript(machine.transcript as Transcript))).toBe(hex(encodeTranscript(transcript)));
    expect(machine.owed).toEqual([]);
    const share = machine.keyShare as bigint;
    const self = correct[i] as number;
    expect(hex(curve.g2.encode(curve.g2.multiply(curve.g2.generator, share)))).toBe(
      hex(transcript.verificationKeys[self] as Uint8Array),
    );
    const accused = machine.takeEvidence().map(({ author }) => author);
    expect(accused.filter((author) => author === undefined || !cluster.faulty.has(author))).toEqual([]);
    expect(machine.progress).toMatchObject({ qualified: threshold, needed: threshold, isComplete: true });
  }
  const evaluations = correct.slice(-threshold).map((holder) => ({
    holder,
    value: cluster.machines[holder]?.keyShare as bigint,
  }));
  const key = curve.g2.multiply(curve.g2.generator, interpolateAt(evaluations, 0n, curve.order));
  expect(hex(curve.g2.encode(key))).toBe(hex(transcript.serviceKey));
  const dealings = machines[0]?.qualifiedDealings ?? [];
  expect(verifyTranscript({ sharing: generationOf(curve, membership), transcript, dealings })).toEqual({ ok: true });
  return transcript;
}

const faultyOf = ({ n, f }: Size, seed: number, of: Faulty): ReadonlyMap<number, Faulty> =>
  new Map(
    shuffled(
      seeded(seed),
      Array.from({ length: n }, (_, i) => i),
    )
      .slice(0, f)
      .map((index) => [index, of]),
  );

const notSelf = ({ n }: Size, self: number): readonly number[] =>
  Array.from({ length: n }, (_, i) => i).filter((i) => i !== self);

describe.each(sizes)('n = $n, f = $f, k = $k', (size) => {
  const runs = size.n <= 7 ? 6 : 2;
  const seeds = Array.from({ length: runs }, (_, i) => i + 1);
  const outcomes = (of: Faulty | undefined, options: Partial<ClusterOptions> = {}): readonly KeyCluster[] =>
    seeds.map((seed) => {
      const faulty = of === undefined ? new Map<number, Faulty>() : faultyOf(size, seed, of);
      const cluster = new KeyCluster({ size, seed, faulty, ...options }).run();
      checkOutcome(cluster);
      return cluster;
    });

  it('ends with one key when all are correct', () => {
    for (const { correctMachines } of outcomes(undefined)) expect(correctMachines[0]?.progress.disqualified).toBe(0);
  });

  it.each<[string, Faulty]>([
    ['are silent', faulty.silent],
    ['deal nothing', faulty.dealsNothing],
    ['deal wrongly to one', faulty.dealsWronglyTo(({ self }) => [(self + 1) % size.n])],
    ['deal wrongly to f', faulty.dealsWronglyTo(({ self }) => notSelf(size, self).slice(0, size.f))],
    ['deal wrongly to f + 1', faulty.dealsWronglyTo(({ self }) => notSelf(size, self).slice(0, size.f + 1))],
    ['deal wrongly to all', faulty.dealsWronglyTo(({ self }) => notSelf(size, self))],
    ['commit to a coefficient more', faulty.dealsOfDegree(1)],
    ['commit to a coefficient less', faulty.dealsOfDegree(-1)],
    ['leave out a share', faulty.dealsTruncated],
    ['deal late', faulty.dealsLate],
    ['deal twice', faulty.dealsTwice],
    ['deal what they dealt in another epoch', faulty.dealsFromAnotherEpoch],
    ['deal what another dealt', faulty.dealsOfAnother],
    ["copy another's ephemeral key", faulty.copiesEphemeral],
    ['complain about right dealings', faulty.complainsFalsely],
    ['complain with lies', faulty.complainsWithLies],
    ['open lies', faulty.opensLies],
    ['say nonsense', faulty.babbles],
  ])('ends with one key when f replicas %s', (_, of) => {
    outcomes(of);
  });

  it('ends with one key when f replicas do different things and a correct one is slow', () => {
    const all: readonly Faulty[] = [
      faulty.silent,
      faulty.dealsWronglyTo(({ self }) => notSelf(size, self).slice(0, size.f)),
      faulty.dealsTwice,
      faulty.dealsLate,
      faulty.copiesEphemeral,
      faulty.complainsFalsely,
      faulty.complainsWithLies,
      faulty.opensLies,
      faulty.babbles,
    ];
    for (let seed = 1; seed <= 2 * runs; seed++) {
      const random = seeded(seed);
      const chosen = faultyOf(size, seed, faulty.silent);
      const mixed = new Map([...chosen.keys()].map((index) => [index, shuffled(random, all)[0] as Faulty]));
      const slow = [...Array(size.n).keys()].find((index) => !mixed.has(index));
      const isHeldBack = ({ author }: { readonly author: number }): boolean => author === slow;
      checkOutcome(new KeyCluster({ size, seed, faulty: mixed, isHeldBack }).run());
    }
  });

  it('gives their share to those who complain only after the dealing was qualified, though f open lies', () => {
    let waited = 0;
    for (const seed of [1, 2, 3, 4]) {
      const victim = seed % size.n;
      const wrongTo = faulty.dealsWronglyTo(() => [victim]);
      const both: Faulty = (view) => [
        ...wrongTo(view).filter((duty) => !faulty.isKind(duty, 'opening')),
        ...faulty.opensLies(view).filter((duty) => faulty.isKind(duty, 'opening')),
      ];
      const dealers = faultyOf(size, seed, both);
      if (dealers.has(victim)) continue;
      let hasWaited = false;
      const cluster = new KeyCluster({
        size,
        seed,
        faulty: dealers,
        isHeldBack: ({ author }) => author === victim,
        afterCommit: ({ machines }) => {
          const machine = machines[victim] as KeyGeneration;
          hasWaited ||= machine.transcript !== undefined && machine.keyShare === undefined;
        },
      });
      checkOutcome(cluster.run());
      if (hasWaited) waited += 1;
    }
    expect(waited).toBeGreaterThan(0);
  });
});

describe('offences', () => {
  const size = { n: 4, f: 1, k: 0 };
  const rulesOf = (of: Faulty): readonly string[] => {
    const cluster = new KeyCluster({ size, seed: 3, faulty: new Map([[2, of]]) }).run();
    const evidence = cluster.machines[0]?.takeEvidence() ?? [];
    expect(evidence.every(({ author, from }) => author === 2 && from === 2)).toBe(true);
    expect(cluster.machines[0]?.takeEvidence()).toEqual([]);
    return evidence.map(({ rule }) => rule).sort();
  };

  it.each<[string, Faulty, readonly string[]]>([
    ['none', faulty.silent, []],
    ['a truncated dealing', faulty.dealsTruncated, ['key generation: a malformed dealing']],
    ["another epoch's", faulty.dealsFromAnotherEpoch, ['key generation: a malformed dealing']],
    ["another's ephemeral key", faulty.copiesEphemeral, ['key generation: a malformed dealing']],
    ['two dealings', faulty.dealsTwice, ['key generation: a second dealing']],
    [
      'a wrong dealing',
      faulty.dealsWronglyTo(() => [0, 1, 3]),
      ['key generation: a dealing that is wrong for a holder'],
    ],
    [
      'false complaints',
      faulty.complainsFalsely,
      ['key generation: about a dealing that is not there', 'key generation: an unjustified complaint'],
    ],
    [
      'lying complaints',
      faulty.complainsWithLies,
      ['key generation: about a dealing that is not there', 'key generation: an unjustified complaint'],
    ],
    [
      'openings',
      faulty.opensLies,
      ['key generation: about a dealing that is not there', 'key generation: an opening nobody asked for'],
    ],
    [
      'nonsense',
      faulty.babbles,
      ['key generation: a duty that says nothing', 'key generation: about a dealing that is not there'],
    ],
  ])('are evidence, once each, and never against who is correct: %s', (_, of, rules) => {
    expect(rulesOf(of)).toEqual(rules);
  });
});

describe('a restart', () => {
  it.each<[string, ReadonlyMap<number, Faulty>, number | undefined]>([
    ['all correct', new Map(), undefined],
    ['a silent one', new Map([[1, faulty.silent]]), undefined],
    ['a dealer disqualified', new Map([[3, faulty.dealsWronglyTo(() => [0, 1, 2])]]), undefined],
    ['openings', new Map([[3, faulty.dealsWronglyTo(() => [1])]]), 1],
  ])('after any commit leaves every replica owing what it owed, and the run as it was: %s', (_, of, late) => {
    const size = { n: 4, f: 1, k: 0 };
    const isHeldBack = ({ author }: { readonly author: number }): boolean => author === late;
    let compared = 0;
    const options = { size, seed: 11, faulty: of, isHeldBack, dutiesPerCommitMax: 1 };
    const undisturbed = new KeyCluster({
      ...options,
      afterCommit: (cluster) => {
        for (const [self, machine] of cluster.machines.entries()) {
          const again = cluster.restarted(self);
          expect(hexOf(again.owed)).toEqual(hexOf(machine.owed));
          expect(again.transcript).toEqual(machine.transcript);
          expect(again.keyShare).toBe(machine.keyShare);
          expect(again.progress).toEqual(machine.progress);
          compared += 1;
        }
      },
    }).run();
    const transcript = checkOutcome(undisturbed);
    expect(compared).toBeGreaterThanOrEqual(40);
    const hasOpenings = undisturbed.commits.some(({ blocks }) =>
      faulty.isKind(blocks[0]?.duties[0] as Duty, 'opening'),
    );
    expect(hasOpenings).toBe(late !== undefined);

    const allTheTime = new KeyCluster({
      ...options,
      afterCommit: (cluster) => {
        for (const self of cluster.machines.keys()) cluster.machines[self] = cluster.restarted(self);
      },
    }).run();
    expect(allTheTime.commits).toEqual(undisturbed.commits);
    expect(checkOutcome(allTheTime)).toEqual(transcript);
  });
});

describe('a replica', () => {
  const size = { n: 4, f: 1, k: 0 };

  it('without secrets follows, owes nothing and has no share', () => {
    const cluster = new KeyCluster({ size, seed: 2 }).run();
    const { curve, membership, commits } = cluster;
    const observer = new KeyGeneration({ curve, membership, self: 1, secrets: undefined });
    for (const commit of commits) {
      observer.committed(commit);
      expect(observer.owed).toEqual([]);
    }
    expect(observer.transcript).toEqual(cluster.machines[0]?.transcript);
    expect(observer.keyShare).toBeUndefined();
    expect(observer.progress).toEqual(cluster.machines[0]?.progress);
  });

  it("is refused with another's decryption key", () => {
    const options = { curve: plainCurve, membership: keyMembership(size), self: 1, secrets: simulatedSecrets(2) };
    expect(() => new KeyGeneration(options)).toThrow('the decryption key is not that of replica 1');
  });

  it('owes its dealing first, then what the dealings of others ask, each the same object until it is committed', () => {
    const { membership } = new KeyCluster({ size });
    const machine = new KeyGeneration({ curve: plainCurve, membership, self: 0, secrets: simulatedSecrets(0) });
    expect(machine.owed.map(faulty.describeDuty)).toEqual(['dealing']);
    expect(machine.owed[0]).toBe(machine.owed[0]);
  });

  it('stops owing its dealing when the key is made by others', () => {
    const cluster = new KeyCluster({
      size,
      seed: 4,
      isHeldBack: ({ author, duty }) => author === 0 && duty.kind === 1,
    });
    checkOutcome(cluster.run());
    expect(cluster.machines[0]?.transcript?.dealers).not.toContain(0);
    const dealt = cluster.commits.flatMap(({ blocks }) => blocks).filter(({ duties }) => duties[0]?.kind === 1);
    expect(dealt.some(({ author }) => author === 1)).toBe(true);
  });
});
