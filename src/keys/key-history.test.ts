/**
 * Shows that a replica which is given the history of another one, in place of the commits, is where the other one is and goes
 * on as it does: at any commit, whatever faulty replicas posted. And that the history is as small as it is said to be.
 */
import { describe, expect, it } from 'vitest';
import { simulatedSecrets } from '../../simulator/session-secrets.ts';
import { complaintSizeBytes } from '../crypto/complaint.ts';
import { below, seeded } from '../ordering/testing/random-dag.ts';
import type { Duty } from '../wire/block.ts';
import { dutyKinds } from '../wire/duty.ts';
import { dealingNameSizeBytes } from './key-duty.ts';
import { KeyGeneration } from './key-generation.ts';
import * as faulty from './testing/faulty-replicas.ts';
import { type Faulty, KeyCluster } from './testing/key-cluster.ts';
import { encodeTranscript } from './transcript.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** All that others can see of a replica, and its secret. */
function stateOf(machine: KeyGeneration) {
  const { transcript, owed, isWidelyHeld, keyShare, progress, qualifiedDealings, history } = machine;
  const saying = ({ kind, payload }: Duty): string => `${kind} ${hex(payload)}`;
  return {
    transcript: transcript === undefined ? undefined : hex(encodeTranscript(transcript)),
    owed: owed.map(saying),
    isWidelyHeld,
    keyShare,
    progress,
    qualifiedDealings: qualifiedDealings.map(hex),
    history: history.map(({ author, duty }) => `${author} ${saying(duty)}`),
  };
}

const everybody = (): readonly number[] => [0, 1, 2];

/** The nth of these has its complaints padded: they are refused, and hold its place. */
const complainsAtLength: Faulty = (view) =>
  faulty.complainsFalsely(view).map((duty) => {
    if (!faulty.isKind(duty, 'complaint')) return duty;
    return { ...duty, payload: Buffer.concat([duty.payload, new Uint8Array(50_000)]) };
  });

describe.each<readonly [string, Faulty]>([
  ['silent', faulty.silent],
  ['wrong dealings', faulty.dealsWronglyTo(everybody)],
  ['two dealings', faulty.dealsTwice],
  ['truncated dealings', faulty.dealsTruncated],
  ['false complaints', faulty.complainsFalsely],
  ['endless complaints', complainsAtLength],
  ['wrong openings', faulty.opensLies],
  ['babble', faulty.babbles],
])('with a faulty replica: %s', (_, behaviour) => {
  it('a replica goes on from the history of another one as if it had seen the commits', () => {
    let count = 0;
    for (const seed of [1, 2, 3]) {
      const random = seeded(seed);
      const twins: { readonly self: number; readonly machine: KeyGeneration }[] = [];
      const size = { n: 7, f: 2, k: 0 };
      const liars = new Map([
        [5, behaviour],
        [6, faulty.dealsWronglyTo(() => [seed])],
      ]);
      new KeyCluster({
        size,
        seed,
        faulty: liars,
        afterCommit: (cluster) => {
          const { commits, machines } = cluster;
          for (const { self, machine } of twins) {
            machine.committed(commits.at(-1)!);
            expect(stateOf(machine)).toEqual(stateOf(machines[self]!));
          }
          if (random() > 0.3) return;
          const self = below(random, 5);
          const machine = cluster.goneOn(self, machines[below(random, 5)]!.history);
          expect(stateOf(machine)).toEqual(stateOf(machines[self]!));
          expect(machine.takeEvidence()).toEqual([]);
          twins.push({ self, machine });
        },
      }).run();
      count += twins.length;
    }
    expect(count).toBeGreaterThan(6);
  });
});

it('the history has one duty of each kind for each replica and dealing, and no more of a complaint than a complaint', () => {
  const { machines, membership, curve } = new KeyCluster({
    size: { n: 7, f: 2, k: 0 },
    seed: 5,
    faulty: new Map([
      [5, complainsAtLength],
      [6, faulty.dealsWronglyTo(everybody)],
    ]),
  }).run();
  const { history } = machines[0]!;
  const { n } = membership.rule;
  const longest = dealingNameSizeBytes + complaintSizeBytes(curve) + 1;
  const complaints = history.filter(({ duty }) => duty.kind === dutyKinds.complaint);
  expect(complaints.some(({ author }) => author === 5)).toBe(true);
  for (const { duty } of complaints) expect(duty.payload.length).toBeLessThanOrEqual(longest);
  const names = history.map(({ author, duty }) => {
    const about = duty.kind === dutyKinds.dealing ? '' : hex(duty.payload.subarray(0, dealingNameSizeBytes));
    return `${author} ${duty.kind} ${about}`;
  });
  expect(new Set(names).size).toBe(history.length);
  expect(history.length).toBeLessThanOrEqual(n + 3 * n * n);
});

it('a replica without secrets has the same history', () => {
  const cluster = new KeyCluster({ size: { n: 4, f: 1, k: 0 }, seed: 2 }).run();
  const { curve, membership, machines } = cluster;
  const { history } = machines[0]!;
  const follower = new KeyGeneration({ curve, membership, self: 1, secrets: undefined, history });
  const holder = new KeyGeneration({ curve, membership, self: 1, secrets: simulatedSecrets(1), history });
  expect(stateOf(follower)).toEqual({ ...stateOf(holder), keyShare: undefined });
  expect(holder.keyShare).toBe(machines[1]!.keyShare);
});
