/**
 * Shows on random sequences of right and wrong duties that the machine qualifies, disqualifies and exposes what a slow
 * second implementation does, after each of them; and that what may be judged at others' cost is bounded.
 */
import { describe, expect, it } from 'vitest';
import { plainCurve as curve } from '../../simulator/plain-curve.ts';
import { simulatedSecrets } from '../../simulator/session-secrets.ts';
import { discloseSharedKey, encodeComplaint } from '../crypto/complaint.ts';
import { encodeDealing } from '../crypto/dealing.ts';
import { deal, encryptionKeyOf, openEvaluation } from '../crypto/verifiable-sharing.ts';
import { below, type Random, seeded } from '../ordering/testing/random-dag.ts';
import type { Duty } from '../wire/block.ts';
import { holderKeysOf } from './holder-keys.ts';
import { complaintDuty, dealingContext, dealingDuty, nameOfDealing, openingDuty, responseDuty } from './key-duty.ts';
import { Qualification } from './qualification.ts';
import { generationOf } from './sharing.ts';
import { keyMembership, type Size } from './testing/key-cluster.ts';
import { type Outcome, qualifyPlainly, type Said } from './testing/plain-qualification.ts';

interface Sample {
  readonly author: number;
  readonly duty: Duty;
  readonly said: Said;
}

/** All that can be said, right and wrong; a dealer has three dealings: for all, wrong for some, of another epoch. */
function samplesOf(size: Size): readonly Sample[] {
  const membership = keyMembership(size);
  const holderKeys = holderKeysOf(curve, membership.members);
  const nobody = encryptionKeyOf(curve, 4_711n);
  const samples: Sample[] = [];
  const holders = holderKeys.map((_, holder) => holder);
  for (const dealer of holders) {
    for (const kind of [0, 1, 2]) {
      const dealing = 3 * dealer + kind;
      const isWellFormed = kind !== 2;
      const isRightFor = (holder: number): boolean => kind === 0 || holder % 2 === 0;
      const context = dealingContext(isWellFormed ? membership : { ...membership, epoch: 9 }, dealer);
      const dealt = deal({
        curve,
        context,
        threshold: size.f + 1,
        holderKeys: holderKeys.map((key, holder) => (isRightFor(holder) ? key : nobody)),
        seed: new Uint8Array(32).fill(dealing + 1),
      });
      const encoded = encodeDealing(curve, dealt);
      const name = nameOfDealing(dealer, encoded);
      const add = (author: number, duty: Duty, said: Said): void => {
        samples.push({ author, duty, said });
      };
      add(dealer, dealingDuty(encoded), { kind: 'dealing', author: dealer, dealing, isWellFormed });
      for (const author of holders) {
        const about = { author, dealer, dealing };
        const opened = { curve, context, dealing: dealt, holder: author, ...simulatedSecrets(author) };
        add(author, responseDuty(name), { kind: 'response', ...about });
        const complaint = encodeComplaint(curve, discloseSharedKey(opened));
        add(author, complaintDuty(name, complaint), { kind: 'complaint', ...about, isRight: !isRightFor(author) });
        add(author, complaintDuty(name, complaint.subarray(1)), { kind: 'complaint', ...about, isRight: false });
        const evaluation = openEvaluation(opened);
        if (evaluation !== undefined) {
          add(author, openingDuty(name, evaluation), { kind: 'opening', ...about, isRight: true });
        }
        add(author, openingDuty(name, 7n), { kind: 'opening', ...about, isRight: false });
      }
    }
  }
  return samples;
}

function outcomeOf(qualification: Qualification): Outcome {
  const dealings = [...qualification.dealings].sort((a, b) => a.dealer - b.dealer);
  const dealersOf = (states: Iterable<{ readonly dealer: number }>): readonly number[] =>
    [...states].map(({ dealer }) => dealer);
  const exposed = qualification.qualified.filter(({ isExposed }) => isExposed);
  return {
    wellFormed: dealersOf(dealings),
    disqualified: dealersOf(dealings.filter(({ status }) => status === 'disqualified')),
    qualified: dealersOf(qualification.qualified),
    exposed: dealersOf(exposed),
    openings: exposed.map(({ dealer, openings }) => `${dealer}: ${openings.map(({ holder }) => holder).join(' ')}`),
  };
}

/** Mostly plausible: responses often, wrong things now and then, openings mostly of what is to be opened. */
function randomSample(random: Random, samples: readonly Sample[], qualification: Qualification): Sample {
  const exposed = qualification.qualified.filter(({ isExposed }) => isExposed).map(({ dealer }) => dealer);
  const isForOpenings = exposed.length > 0 && random() < 0.4;
  for (;;) {
    const sample = samples[below(random, samples.length)] as Sample;
    const { said } = sample;
    if (isForOpenings && !(said.kind === 'opening' && exposed.includes(said.dealer))) continue;
    const isPlausible =
      said.kind === 'response' ||
      said.kind === 'dealing' ||
      (said.kind === 'opening' && (exposed.includes(said.dealer) || random() < 0.1)) ||
      (said.kind === 'complaint' && (qualification.isSettled || random() < 0.12));
    if (isPlausible) return sample;
  }
}

describe.each([
  { n: 4, f: 1, k: 0, sequences: 150, length: 220 },
  { n: 6, f: 1, k: 1, sequences: 60, length: 360 },
  { n: 7, f: 2, k: 0, sequences: 50, length: 600 },
])('qualification among $n', ({ sequences, length, ...size }) => {
  it('is what the second implementation says, after each duty', () => {
    const sharing = generationOf(curve, keyMembership(size));
    const samples = samplesOf(size);
    const verdicts = new Map<string, boolean>();
    const seen = { settled: 0, disqualified: 0, exposed: 0, opened: 0 };
    for (let seed = 1; seed <= sequences; seed++) {
      const random = seeded(seed);
      const qualification = new Qualification({
        sharing,
        judge: (question, verdict) => {
          const known = verdicts.get(question) ?? verdict();
          verdicts.set(question, known);
          return known;
        },
        fault: () => {},
      });
      const said: Said[] = [];
      for (let i = 0; i < length; i++) {
        const sample = randomSample(random, samples, qualification);
        said.push(sample.said);
        const before = i % 20 === 0 || seed % 10 === 0 ? outcomeOf(qualification) : undefined;
        const hasChanged = qualification.take({ dealer: sample.author, holder: sample.author }, sample.duty);
        if (before !== undefined) {
          expect(outcomeOf(qualification), `seed ${seed}, duty ${i}`).toEqual(qualifyPlainly(said, size));
          if (!hasChanged) expect(outcomeOf(qualification)).toEqual(before);
        }
      }
      const outcome = outcomeOf(qualification);
      expect(outcome, `seed ${seed}`).toEqual(qualifyPlainly(said, size));
      if (qualification.isSettled) seen.settled += 1;
      seen.disqualified += outcome.disqualified.length;
      seen.exposed += outcome.exposed.length;
      if (qualification.qualified.some(({ openings }) => openings.length === size.f + 1)) seen.opened += 1;
    }
    expect(seen.settled).toBeGreaterThan(sequences / 4);
    for (const times of Object.values(seen)) expect(times).toBeGreaterThan(sequences / 20);
  });
});

it('judges one dealing a dealer, one complaint and one opening a holder and dealing, however many are posted', () => {
  const size = { n: 4, f: 1, k: 0 };
  const asked: string[] = [];
  const qualification = new Qualification({
    sharing: generationOf(curve, keyMembership(size)),
    judge: (question, verdict) => {
      asked.push(question);
      return verdict();
    },
    fault: () => {},
  });
  const random = seeded(1);
  const samples = samplesOf(size);
  for (let i = 0; i < 20_000; i++) {
    const { author, duty } = samples[below(random, samples.length)] as Sample;
    qualification.take({ dealer: author, holder: author }, duty);
  }
  const { n } = size;
  expect(asked.length).toBeLessThanOrEqual(n + 2 * n * n);
});
