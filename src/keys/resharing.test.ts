/**
 * Shows that a resharing ends with shares of the same service key at every correct holder, to the same or to another membership
 * and f, whatever up to f faulty replicas post before the change and after it; that then nobody owes anything; and that a
 * restart, or going on from another replica's history, at any moment changes nothing.
 */
import { describe, expect, it } from 'vitest';
import { plainCurve as curve } from '../../simulator/plain-curve.ts';
import { interpolateAt } from '../crypto/polynomial.ts';
import { below, seeded, shuffled } from '../ordering/testing/random-dag.ts';
import type { Duty } from '../wire/block.ts';
import { dutyKinds } from '../wire/duty.ts';
import { Resharing } from './resharing.ts';
import { decodeSharingSource, encodeSharingSource, resharingOf } from './sharing-source.ts';
import * as faulty from './testing/faulty-resharers.ts';
import type { Posted } from './testing/key-cluster.ts';
import {
  type FaultyResharer,
  generated,
  type Held,
  idsUpTo,
  ResharingCluster,
  type ResharingClusterOptions,
  secretsIn,
} from './testing/resharing-cluster.ts';
import { encodeTranscript, type Transcript, verifyTranscript } from './transcript.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const saying = ({ kind, payload }: Duty): string => `${kind} ${hex(payload)}`;

/** The secret that these holders' shares make. */
function keyOf({ source, shares }: Held, holders: readonly string[]): string {
  const evaluations = holders.map((id) => ({ holder: source.replicaIds.indexOf(id), value: shares.get(id) as bigint }));
  return hex(curve.g2.encode(curve.g2.multiply(curve.g2.generator, interpolateAt(evaluations, 0n, curve.order))));
}

/** Checks all that must hold when a run is over. */
function checkOutcome(cluster: ResharingCluster): Held {
  const { held, source, target, correctHolders } = cluster;
  const { transcript } = held.source;
  for (const id of correctHolders) {
    const machine = cluster.machine(id);
    expect(hex(encodeTranscript(machine.transcript as Transcript))).toBe(hex(encodeTranscript(transcript)));
    expect(machine.owed).toEqual([]);
    const share = machine.keyShare as bigint;
    expect(hex(curve.g2.encode(curve.g2.multiply(curve.g2.generator, share)))).toBe(
      hex(transcript.verificationKeys[cluster.holders.indexOf(id)] as Uint8Array),
    );
  }
  for (const about of cluster.evidence) expect(cluster.faulty.has(about.split(' ')[0] as string), about).toBe(true);
  expect(hex(transcript.serviceKey)).toBe(hex(source.transcript.serviceKey));
  expect(transcript).toMatchObject({
    epoch: target.epoch,
    sourceEpoch: source.transcript.epoch,
    threshold: target.f + 1,
  });
  expect(transcript.dealers).toHaveLength(source.transcript.threshold);
  const [front, back] = [correctHolders.slice(0, target.f + 1), correctHolders.slice(-target.f - 1)];
  for (const holders of [front, back]) expect(keyOf(held, holders)).toBe(hex(source.transcript.serviceKey));
  const dealings = cluster.machine(correctHolders[0] as string).qualifiedDealings;
  const sharing = resharingOf(curve, source, target);
  expect(verifyTranscript({ sharing, transcript, dealings })).toEqual({ ok: true });
  return held;
}

interface Change {
  readonly name: string;
  readonly from: { readonly n: number; readonly f: number; readonly k: number };
  readonly to: { readonly replicaIds: readonly string[]; readonly f: number; readonly k: number };
  readonly seeds: number;
}

const changes: readonly Change[] = [
  { name: '4 replicas stay', from: { n: 4, f: 1, k: 0 }, to: { replicaIds: idsUpTo(4), f: 1, k: 0 }, seeds: 6 },
  { name: '6 replicas stay, k = 1', from: { n: 6, f: 1, k: 1 }, to: { replicaIds: idsUpTo(6), f: 1, k: 1 }, seeds: 3 },
  { name: '7 replicas stay', from: { n: 7, f: 2, k: 0 }, to: { replicaIds: idsUpTo(7), f: 2, k: 0 }, seeds: 3 },
  { name: '13 replicas stay', from: { n: 13, f: 4, k: 0 }, to: { replicaIds: idsUpTo(13), f: 4, k: 0 }, seeds: 1 },
  { name: '4 become 7', from: { n: 4, f: 1, k: 0 }, to: { replicaIds: idsUpTo(7), f: 1, k: 0 }, seeds: 4 },
  { name: '4 become 6, k = 1', from: { n: 4, f: 1, k: 0 }, to: { replicaIds: idsUpTo(6), f: 1, k: 1 }, seeds: 3 },
  { name: 'f becomes 2 of 7', from: { n: 7, f: 1, k: 0 }, to: { replicaIds: idsUpTo(7), f: 2, k: 0 }, seeds: 3 },
  {
    name: '7 become 4',
    from: { n: 7, f: 2, k: 0 },
    to: { replicaIds: ['r6', 'r2', 'r0', 'r3'], f: 1, k: 0 },
    seeds: 4,
  },
  {
    name: '3 of 7 are replaced',
    from: { n: 7, f: 1, k: 0 },
    to: { replicaIds: ['r7', 'r1', 'r8', 'r3', 'r4', 'r9', 'r6'], f: 1, k: 0 },
    seeds: 3,
  },
];

/** As many faulty ones as both epochs allow: some that stay, some that leave, some that join. */
function faultyIn({ from, to }: Change, seed: number, of: FaultyResharer): ReadonlyMap<string, FaultyResharer> {
  const old = idsUpTo(from.n);
  const random = seeded(seed);
  const staying = shuffled(
    random,
    to.replicaIds.filter((id) => old.includes(id)),
  );
  const leaving = shuffled(
    random,
    old.filter((id) => !to.replicaIds.includes(id)),
  );
  const joining = shuffled(
    random,
    to.replicaIds.filter((id) => !old.includes(id)),
  );
  const both = Math.min(from.f, to.f);
  const ids = [...staying.slice(0, both), ...leaving.slice(0, from.f - both), ...joining.slice(0, to.f - both)];
  return new Map(ids.map((id) => [id, of]));
}

const somebodyElse = ({ cluster, replicaId }: { readonly cluster: ResharingCluster; readonly replicaId: string }) =>
  cluster.holders.filter((id) => id !== replicaId);

const behaviours: readonly (readonly [string, FaultyResharer])[] = [
  ['are silent', faulty.silent],
  ['deal nothing', faulty.dealsNothing],
  ['deal another secret', faulty.dealsAnotherSecret],
  ["deal another's share", faulty.dealsShareOfAnother],
  ['deal wrongly to one', faulty.dealsWronglyTo((view) => somebodyElse(view).slice(0, 1))],
  ['deal wrongly to the last f', faulty.dealsWronglyTo((view) => somebodyElse(view).slice(-view.cluster.target.f))],
  ['deal wrongly to all', faulty.dealsWronglyTo(somebodyElse)],
  ['commit to a coefficient more', faulty.dealsOfDegree(1)],
  ['commit to a coefficient less', faulty.dealsOfDegree(-1)],
  ['deal twice', faulty.dealsTwice],
  ['deal what is bound to another sharing', faulty.dealsElsewhere],
  ['complain about right dealings', faulty.complainsFalsely],
  ['complain with lies', faulty.complainsWithLies],
  ['open lies', faulty.opensLies],
  ['say nonsense', faulty.babbles],
];

describe.each(changes)('$name', (change) => {
  const seeds = Array.from({ length: change.seeds }, (_, i) => i + 1);
  const from = generated(change.from, { seed: 3 });
  const outcome = (seed: number, options: Partial<ResharingClusterOptions> = {}): ResharingCluster => {
    const cluster = new ResharingCluster({ from, to: change.to, seed, ...options }).run();
    checkOutcome(cluster);
    return cluster;
  };

  it('the key goes on when all are correct', () => {
    for (const seed of seeds) expect(outcome(seed).evidence.size).toBe(0);
  });

  it.each(behaviours)('the key goes on when as many as may be %s', (_, of) => {
    for (const seed of seeds) outcome(seed, { faulty: faultyIn(change, seed, of) });
  });

  it('the key goes on when they do different things, and a correct one is slow', () => {
    for (const seed of seeds) {
      const random = seeded(seed);
      const chosen = [...faultyIn(change, seed, faulty.silent).keys()];
      const mixed = new Map(chosen.map((id) => [id, shuffled(random, behaviours)[0]?.[1] as FaultyResharer]));
      const slow = idsUpTo(change.from.n).findIndex((id) => !mixed.has(id));
      outcome(seed, { faulty: mixed, isHeldBack: ({ author }) => author === slow });
    }
  });
});

describe('who is being made clean', () => {
  it.each([
    { from: { n: 4, f: 1, k: 0 }, liars: [] },
    { from: { n: 6, f: 1, k: 1 }, liars: ['r2'] },
    { from: { n: 9, f: 2, k: 1 }, liars: ['r2', 'r5'] },
  ])(
    'of $from.n says nothing before the change, and has its share afterwards; $liars are silent',
    ({ from, liars }) => {
      for (const seed of [1, 2, 3]) {
        const cluster = new ResharingCluster({
          from: generated(from, { seed }),
          to: { replicaIds: idsUpTo(from.n), f: from.f, k: from.k },
          seed,
          away: ['r0'],
          faulty: new Map(liars.map((id) => [id, faulty.silent])),
        }).run();
        checkOutcome(cluster);
        expect(cluster.machine('r0').transcript?.dealers).not.toContain(0);
      }
    },
  );
});

describe('a dealing that is wrong for who cannot speak before the change', () => {
  const from = generated({ n: 4, f: 1, k: 0 }, { seed: 2 });
  const liesTo = (ids: readonly string[]) => new Map([['r1', faulty.dealsWronglyTo(() => ids)]]);
  /** All the dealings of others but one, so that the liar's is qualified. */
  const isHeldBack = ({ author, duty }: Posted): boolean => duty.kind === dutyKinds.nextDealing && author > 1;

  it.each([
    ['joins', idsUpTo(7), ['r4', 'r5', 'r6'], []],
    ['is being made clean', idsUpTo(4), ['r3'], ['r3']],
  ])('is complained about and opened after it, when it %s', (_, replicaIds, victims, away) => {
    let waited = 0;
    for (const seed of [1, 2, 3, 4]) {
      const cluster = new ResharingCluster({
        from,
        to: { replicaIds, f: 1, k: 0 },
        seed,
        faulty: liesTo(victims),
        away,
        isHeldBack,
      }).runBefore();
      expect(cluster.machine('r0').transcript?.dealers).toEqual([0, 1]);
      cluster.enter();
      for (const id of victims) {
        expect(cluster.machine(id).keyShare).toBeUndefined();
        // Of the kinds of the epoch that has begun.
        expect(cluster.machine(id).owed.map(({ kind }) => kind)).toEqual([dutyKinds.complaint]);
        waited += 1;
      }
      cluster.runAfter();
      checkOutcome(cluster);
      expect([...cluster.evidence]).toEqual(['r1 resharing: a dealing that is wrong for a holder']);
      // What was opened is the liar's own polynomial: its old share at zero, which it had itself.
      const openings = cluster.commits
        .slice(cluster.commitsBefore)
        .flatMap(({ blocks }) =>
          blocks.flatMap(({ author, duties }) =>
            duties
              .filter(({ kind }) => kind === dutyKinds.opening)
              .map(({ payload }) => ({ holder: author, value: BigInt(`0x${hex(payload.subarray(34))}`) })),
          ),
        );
      expect(interpolateAt(openings.slice(0, 2), 0n, curve.order)).toBe(from.shares.get('r1'));
    }
    expect(waited).toBe(4 * victims.length);
  });

  it('is nobody else’s evidence when its dealer has left', () => {
    const of = generated({ n: 7, f: 2, k: 0 }, { seed: 5 });
    const cluster = new ResharingCluster({
      from: of,
      to: { replicaIds: ['r2', 'r3', 'r4', 'r5'], f: 1, k: 0 },
      seed: 1,
      faulty: new Map([['r0', faulty.dealsWronglyTo(() => ['r5'])]]),
      away: ['r5'],
      isHeldBack: ({ author, duty }) => duty.kind === dutyKinds.nextDealing && author > 2,
    }).run();
    checkOutcome(cluster);
    expect(cluster.machine('r3').transcript?.dealers).toContain(0);
    expect(cluster.machine('r5').keyShare).toBeDefined();
    expect(cluster.evidence.size).toBe(0);
  });
});

describe('offences', () => {
  const from = generated({ n: 4, f: 1, k: 0 }, { seed: 3 });
  it.each<readonly [string, FaultyResharer, readonly string[]]>([
    ['none', faulty.silent, []],
    ['another secret', faulty.dealsAnotherSecret, ['a dealing of another secret']],
    ["another's share", faulty.dealsShareOfAnother, ['a dealing of another secret']],
    ['of another sharing', faulty.dealsElsewhere, ['a malformed dealing']],
    ['two dealings', faulty.dealsTwice, ['a second dealing']],
    ['a wrong dealing', faulty.dealsWronglyTo(somebodyElse), ['a dealing that is wrong for a holder']],
    ['false complaints', faulty.complainsFalsely, ['an unjustified complaint']],
    ['openings', faulty.opensLies, ['an opening nobody asked for']],
  ])('are evidence: %s', (_, of, rules) => {
    const to = { replicaIds: idsUpTo(4), f: 1, k: 0 };
    const cluster = new ResharingCluster({ from, to, seed: 3, faulty: new Map([['r2', of]]) }).run();
    const found = [...cluster.evidence].map((about) => about.replace('r2 resharing: ', ''));
    for (const rule of rules) expect(found).toContain(rule);
    if (rules.length === 0) expect(found).toEqual([]);
  });

  it('is an answer of one who will hold nothing', () => {
    const of = generated({ n: 7, f: 2, k: 0 }, { seed: 5 });
    const answers: FaultyResharer = ({ owed, hasEntered, cluster }) =>
      hasEntered ? [] : [...owed, ...(cluster.machines.get('r2')?.owed.filter(({ kind }) => kind === 8) ?? [])];
    const to = { replicaIds: ['r2', 'r3', 'r4', 'r5'], f: 1, k: 0 };
    const cluster = new ResharingCluster({ from: of, to, faulty: new Map([['r0', answers]]) }).run();
    checkOutcome(cluster);
    expect([...cluster.evidence]).toEqual(['r0 resharing: an answer of no holder']);
  });
});

/** All that others can see of a replica, and its secret. */
function stateOf(machine: Resharing) {
  const { transcript, owed, isWidelyHeld, isSettled, keyShare, progress, qualifiedDealings, history, hasEntered } =
    machine;
  return {
    transcript: transcript === undefined ? undefined : hex(encodeTranscript(transcript)),
    owed: owed.map(saying),
    isWidelyHeld,
    isSettled,
    keyShare,
    progress,
    qualifiedDealings: qualifiedDealings.map(hex),
    history: history.map(({ author, duty }) => `${author} ${saying(duty)}`),
    hasEntered,
  };
}

describe('after any commit, on either side of the change', () => {
  it.each<readonly [string, FaultyResharer]>([
    ['silence', faulty.silent],
    ['wrong dealings', faulty.dealsWronglyTo(() => ['r4'])],
    ['false complaints', faulty.complainsFalsely],
    ['babble', faulty.babbles],
  ])('a restart, and going on from a history, leave a replica where it was: %s', (name, of) => {
    const from = generated({ n: 4, f: 1, k: 0 }, { seed: 6 });
    const counts = { before: 0, after: 0, withoutCommits: 0 };
    for (const seed of [1, 2, 3]) {
      const random = seeded(seed);
      const twins: { readonly id: string; readonly machine: Resharing }[] = [];
      const cluster = new ResharingCluster({
        from,
        to: { replicaIds: idsUpTo(6), f: 1, k: 0 },
        seed,
        faulty: new Map([['r1', of]]),
        isHeldBack: ({ author, duty }) => duty.kind === dutyKinds.nextDealing && author > 1,
        afterCommit: (now) => {
          for (const { id, machine } of twins) {
            if (now.hasEntered && !machine.hasEntered) machine.enter();
            if (machine.history.length < now.machine(id).history.length) machine.committed(now.commits.at(-1)!);
            expect(stateOf(machine)).toEqual(stateOf(now.machine(id)));
          }
          const ids = [...now.machines.keys()].filter((id) => id !== 'r1');
          const id = ids[below(random, ids.length)] as string;
          expect(stateOf(now.restarted(id))).toEqual(stateOf(now.machine(id)));
          const other = now.machine(ids[below(random, ids.length)] as string);
          const machine = now.goneOn(id, other.history);
          expect(stateOf(machine)).toEqual(stateOf(now.machine(id)));
          expect(machine.takeEvidence()).toEqual([]);
          if (random() < 0.3) twins.push({ id, machine });
          counts[now.hasEntered ? 'after' : 'before'] += 1;
        },
      }).run();
      checkOutcome(cluster);
      // With what is in a closing checkpoint alone, before anything is said in the new DAG.
      for (const id of cluster.correctHolders) {
        const closing = cluster.machine(id).history.filter(({ duty }) => duty.kind >= dutyKinds.nextDealing);
        const machine = cluster.goneOn(id, closing);
        expect(machine.hasEntered && machine.isWidelyHeld).toBe(true);
        expect(machine.transcript).toEqual(cluster.machine(id).transcript);
        for (const commit of cluster.commits.slice(cluster.commitsBefore)) machine.committed(commit);
        expect(stateOf(machine)).toEqual(stateOf(cluster.machine(id)));
        counts.withoutCommits += 1;
      }
    }
    expect(counts.before).toBeGreaterThan(10);
    // One who joins was deceived: it complains, and others open.
    if (name === 'wrong dealings') expect(counts.after).toBeGreaterThan(5);
    expect(counts.withoutCommits).toBe(15);
  });
});

describe('a replica', () => {
  const from = generated({ n: 4, f: 1, k: 0 }, { seed: 2 });
  const to = { replicaIds: idsUpTo(4), f: 1, k: 0 };
  const { source, target } = new ResharingCluster({ from, to });
  const own = secretsIn(1, 'r0');
  const options = { curve, source, target, replicaId: 'r0', decryptionKey: own.decryptionKey };
  const share = from.shares.get('r0') as bigint;

  it('deals its key share when it has it, and none that is not its own', () => {
    let known: bigint | undefined;
    const machine = new Resharing({ ...options, dealing: { share: () => known, seed: own.seed } });
    expect(machine.owed).toEqual([]);
    for (const wrong of [0n, share + 1n, from.shares.get('r1') as bigint, share + curve.order]) {
      known = wrong;
      expect(machine.owed).toEqual([]);
    }
    known = share;
    expect(machine.owed.map(({ kind }) => kind)).toEqual([dutyKinds.nextDealing]);
    expect(machine.owed[0]).toBe(machine.owed[0]);
  });

  it('without secrets follows, owes nothing and has no share', () => {
    const cluster = new ResharingCluster({ from, to }).runBefore();
    const follower = new Resharing({ ...options, dealing: undefined, decryptionKey: undefined });
    for (const commit of cluster.commits) {
      follower.committed(commit);
      expect(follower.owed).toEqual([]);
    }
    expect(follower.transcript).toEqual(cluster.machine('r0').transcript);
    expect(follower.keyShare).toBeUndefined();
  });

  it("is refused with another's decryption key", () => {
    const { decryptionKey } = secretsIn(1, 'r1');
    expect(() => new Resharing({ ...options, decryptionKey, dealing: undefined })).toThrow('is not that of replica 0');
  });

  it('does not begin an epoch whose sharing is not widely held', () => {
    const machine = new Resharing({ ...options, dealing: undefined });
    expect(() => machine.enter()).toThrow('invariant');
  });

  it('takes nothing from the other side of the change', () => {
    const cluster = new ResharingCluster({ from, to }).runBefore();
    const before = new Resharing({ ...options, dealing: undefined });
    for (const commit of cluster.commits) {
      const blocks = commit.blocks.map((block) => {
        return { ...block, duties: block.duties.map(({ kind, payload }) => ({ kind: kind - 6, payload })) };
      });
      before.committed({ ...commit, blocks });
    }
    expect(before.history).toEqual([]);
    expect(before.takeEvidence()).toEqual([]);
    const after = cluster.enter().machine('r0');
    const { history } = after;
    const count = history.length;
    for (const commit of cluster.commits) after.committed(commit);
    expect(after.history).toHaveLength(count);
    expect(after.takeEvidence()).toEqual([]);
  });

  it('is not built where too few stay, or out of what does not go before', () => {
    const joining = {
      ...target,
      replicas: target.replicas.map((each) => ({ ...each, replicaId: `${each.replicaId}x` })),
    };
    expect(() => resharingOf(curve, source, joining)).toThrow('too few');
    expect(() => resharingOf(curve, source, { ...target, epoch: 0 })).toThrow('not before');
  });
});

describe('the source of a resharing', () => {
  const from = generated({ n: 7, f: 2, k: 0 }, { seed: 2 });
  const first = from.source;
  const second = new ResharingCluster({ from, to: { replicaIds: idsUpTo(7), f: 2, k: 0 } }).run().held.source;

  it.each([
    ['key generation', first],
    ['a resharing', second],
  ])('decodes to what was encoded, and is refused when cut or too long: %s', (_, source) => {
    const encoded = encodeSharingSource(source);
    const decoded = decodeSharingSource(encoded);
    if (!decoded.ok) throw new Error(decoded.reason);
    expect(hex(encodeSharingSource(decoded.value))).toBe(hex(encoded));
    expect(decoded.value.replicaIds).toEqual(source.replicaIds);
    expect(decoded.value.transcript.sourceEpoch).toBe(source === first ? undefined : 0);
    for (let length = 0; length < encoded.length; length++) {
      expect(decodeSharingSource(encoded.subarray(0, length)).ok).toBe(false);
    }
    expect(decodeSharingSource(Buffer.concat([encoded, Buffer.alloc(1)])).ok).toBe(false);
  });
});
