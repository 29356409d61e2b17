/**
 * Shows that recovery turns reach everybody, whatever the faulty do: a pure twin of the schedule, the production epoch control without
 * a cluster, over all sizes and beginnings, and over random behaviour of the faulty; and that windows keep their bounds then.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EpochControl } from '../src/epochs/epoch-control.ts';
import { beginEpoch } from '../src/epochs/epoch-rules.ts';
import { bodyOf } from '../src/membership/epochs.ts';
import { defaultParameters } from '../src/membership/genesis.ts';
import type { EpochState } from '../src/wire/epoch-state.ts';
import type { RecoveryMethod } from '../src/wire/genesis.ts';
import { encodeSuccessor } from '../src/wire/successor.ts';
import { encodeValue } from '../src/wire/value.ts';
import { WindowChecker } from './checkers/windows.ts';
import { Signatures } from './keys.ts';
import { plainCurve } from './plain-curve.ts';
import { firstSecrets, freshSecrets, publicKeysOf, type SessionSecrets } from './session-secrets.ts';
import { certifiedBy } from './simulated-keeper.ts';
import {
  type ClusterSize,
  firstSimulatedMembership,
  identityKeyAt,
  placeOf,
  type SimulatedSchedule,
  simulatedGenesis,
} from './simulated-membership.ts';
import { roundsOfTurns } from './turns.ts';

const signatures = new Signatures();
const epochIntervalMs = 1_000;
const successorWaitMs = 80;

/** What a replica does at a change: `clean` in its turn is what it should. */
type Deed = 'as it should' | 'names none' | 'is not clean' | 'says clean out of turn';

/** One epoch after another, by the production rules alone. */
class Chain {
  state: EpochState;
  readonly turns: (readonly string[])[] = [];
  readonly said: string[] = [];
  readonly checker: WindowChecker;
  readonly #rules: SimulatedSchedule;
  readonly #secrets = new Map<number, SessionSecrets>();
  #timestamp: number;
  #commits = 0;

  constructor(size: ClusterSize, { epoch = 0, method = 'hardware' as RecoveryMethod } = {}) {
    const administrators = { approvals: 0, keys: [] };
    this.#rules = { epochIntervalMs, successorWaitMs, administrators, recovery: [method] };
    const genesis = simulatedGenesis({
      size,
      parameters: defaultParameters,
      seed: 1,
      curve: plainCurve,
      checkpointIntervalMs: 100,
      schedule: this.#rules,
    });
    this.#timestamp = genesis.created;
    const body = { ...bodyOf(firstSimulatedMembership(genesis), genesis), epoch };
    this.state = beginEpoch({ body, sharingEpoch: epoch }, { commitIndex: 0, timestamp: this.#timestamp });
    this.checker = new WindowChecker((_, message) => this.said.push(message), this.#rules);
  }

  change(deedOf: (place: number) => Deed): void {
    const control = new EpochControl({ state: this.state, rules: this.#rules, isEncryptionKey: () => true });
    this.#commit(control, epochIntervalMs);
    const { phase, membership } = control.state;
    if (phase.kind !== 'preparing') throw new Error('the epoch does not end');
    this.turns.push(phase.turn);
    for (const { replicaId } of membership.replicas)
      this.#name(control, replicaId, phase.turn, deedOf(placeOf(replicaId)));
    this.#commit(control, 10);
    if (control.state.phase.kind === 'preparing') this.#commit(control, successorWaitMs);
    this.#commit(control, 10, { isNextHeld: true });
    const { state } = control;
    if (state.phase.kind !== 'resharing') throw new Error('no next membership');
    this.checker.closed(state, this.#timestamp);
    const began = { commitIndex: this.#commits, timestamp: this.#timestamp };
    this.state = beginEpoch({ body: state.phase.next, sharingEpoch: membership.epoch + 1 }, began, state);
  }

  #commit(control: EpochControl, afterMs: number, { isNextHeld = false } = {}): void {
    this.#timestamp += afterMs;
    this.#commits += 1;
    control.committed({ commitIndex: this.#commits, timestamp: this.#timestamp }, { isHeld: true, isNextHeld });
  }

  #name(control: EpochControl, replicaId: string, turn: readonly string[], deed: Deed): void {
    if (deed === 'names none') return;
    const { serviceId, epoch, replicas } = control.state.membership;
    const place = placeOf(replicaId);
    const isTurn = turn.includes(replicaId);
    const isClean = deed === 'says clean out of turn' || (isTurn && deed === 'as it should');
    // The keeper of one that is by hardware says so only of what it started clean itself.
    if (isTurn && deed === 'as it should') this.checker.startedClean(replicaId, epoch + 1);
    const next = freshSecrets(place, `epoch ${epoch + 1}`);
    const isAware = replicas.some((each) => each.replicaId === replicaId && each.recovery === 'awareness');
    const present = this.#secrets.get(place) ?? firstSecrets(place);
    const certifier = isAware ? present.signing : identityKeyAt(place);
    const statement = {
      serviceId,
      replicaId,
      epoch: epoch + 1,
      serial: epoch + 1,
      isClean,
      keys: publicKeysOf(plainCurve, next),
    };
    const successor = encodeSuccessor(certifiedBy(signatures, statement, { certifier, next }));
    const { ok } = control.apply('coterie.successor', encodeValue({ successor }));
    if (!ok) throw new Error(`the keys of ${replicaId} were refused`);
    this.#secrets.set(place, next);
  }
}

const sizes: readonly ClusterSize[] = [
  { n: 4, f: 1, k: 0 },
  { n: 5, f: 1, k: 0 },
  { n: 6, f: 1, k: 1 },
  { n: 7, f: 2, k: 0 },
  { n: 9, f: 1, k: 2 },
  { n: 13, f: 2, k: 3 },
  { n: 31, f: 3, k: 10 },
];

describe.each(sizes)('$n replicas with k = $k', (size) => {
  const { n, k } = size;
  const atOnce = Math.max(1, k);
  const round = roundsOfTurns(size);

  it('have a turn each within ceil(n / c) changes, never more than c at once, from whatever epoch on', () => {
    for (let epoch = 0; epoch < Math.min(n, 9); epoch++) {
      const chain = new Chain(size, { epoch });
      // Nobody names anything, and nobody is made clean: it changes nothing of whose turn it is.
      for (let change = 0; change < round; change++) chain.change(() => 'names none');
      expect(new Set(chain.turns.flat()).size).toBe(n);
      for (const turn of chain.turns) expect(new Set(turn).size).toBe(Math.min(atOnce, n));
    }
  });
});

const deeds: readonly Deed[] = ['as it should', 'names none', 'is not clean'];
const plans = fc.record({
  size: fc.constantFrom(...sizes.slice(0, 5)),
  method: fc.constantFrom<RecoveryMethod>('hardware', 'awareness'),
  faulty: fc.nat(),
  misdeeds: fc.array(fc.constantFrom(...deeds), { minLength: 14, maxLength: 14 }),
});

describe('whatever a faulty replica does', () => {
  it('everybody else is made clean in every round, and is within the bounds', () => {
    fc.assert(
      fc.property(plans, ({ size, method, faulty, misdeeds }) => {
        const chain = new Chain(size, { method });
        const bad = faulty % size.n;
        const changes = 2 * roundsOfTurns(size) + 2;
        for (let i = 0; i < changes; i++) {
          chain.change((place) => (place === bad ? (misdeeds[i % misdeeds.length] ?? 'names none') : 'as it should'));
        }
        expect(chain.said).toEqual([]);
        expect(chain.checker.overdue.filter(({ replicaId }) => replicaId !== `r${bad}`)).toEqual([]);
      }),
      { numRuns: 12 },
    );
  });

  it('one that never comes back clean is seen to be too old, and nobody else is', () => {
    const chain = new Chain({ n: 4, f: 1, k: 0 });
    for (let i = 0; i < 8; i++) chain.change((place) => (place === 2 ? 'is not clean' : 'as it should'));
    expect(chain.said).toEqual([]);
    const seen = chain.checker.overdue.map(({ replicaId, kind }) => `${kind} of ${replicaId}`);
    expect(new Set(seen)).toEqual(new Set(['code of r2', 'state of r2']));
  });

  it('one that did its part and is too old all the same breaks the promise', () => {
    const chain = new Chain({ n: 4, f: 1, k: 0 });
    for (let i = 0; i < 5; i++) chain.change(() => 'as it should');
    const { membership, began } = chain.state;
    // All is well until an epoch has lasted longer than it may, and what it lasted longer is no slack of its own.
    chain.checker.look(chain.state, began.timestamp + epochIntervalMs);
    expect(chain.said).toEqual([]);
    const older = { epoch: membership.epoch, timestamp: began.timestamp - 6 * epochIntervalMs };
    const replicas = membership.replicas.map((each, i) =>
      i === 3 ? { ...each, keysSince: older, cleanSince: older } : each,
    );
    chain.checker.look({ ...chain.state, membership: { ...membership, replicas } }, began.timestamp);
    expect(chain.said.map((each) => each.split(' is ')[0])).toEqual([
      'the code of r3',
      'the state of r3',
      'the session-key of r3',
    ]);
  });

  it('one that says it is clean out of its turn gets nowhere by awareness, and is found out where a keeper vouches', () => {
    const isR1 = (place: number): Deed => (place === 1 ? 'says clean out of turn' : 'as it should');
    const aware = new Chain({ n: 4, f: 1, k: 0 }, { method: 'awareness' });
    aware.change(isR1);
    expect(aware.state.membership.replicas[1]?.cleanSince.epoch).toBe(0);
    expect(aware.said).toEqual([]);
    const kept = new Chain({ n: 4, f: 1, k: 0 });
    kept.change(isR1);
    expect(kept.said).toEqual(['r1 counts as clean in epoch 1, and nobody made it so']);
  });
});
