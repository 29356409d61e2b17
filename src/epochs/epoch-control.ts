/**
 * Epoch control: where the epoch stands, and when it ends (docs/protocol/epochs.md §1).
 *
 * In: the operations of the system in each commit, then the end of the commit. Out: their outcomes; the next membership once it is
 * fixed; whether the commit closes the epoch. Owns the agreed state. Pure, and a function of commits alone: only what is
 * called overdue looks at a clock, and decides nothing.
 * Liveness: each phase ends by what a quorum of correct replicas brings about: commits go on while something is overdue, so agreed
 * time passes; who names no keys is waited for no longer than the genesis says; and a resharing ends without the faulty.
 * Trust: an attacker who controls f replicas can let the others wait for its successors, each change that long.
 */
import { type NextBody, nextBody } from '../membership/epochs.ts';
import { turnPlaces } from '../membership/turns.ts';
import type { EpochPhase, EpochState, Moment } from '../wire/epoch-state.ts';
import type { MembershipBody } from '../wire/membership-statement.ts';
import { decodeValue } from '../wire/value.ts';
import type { EpochRules } from './epoch-rules.ts';
import { epochValue } from './epoch-value.ts';
import { granted, refused, type SystemOutcome } from './system-outcome.ts';
import { takeApproval } from './take-approval.ts';
import { takeSuccessor } from './take-successor.ts';

export interface EpochControlOptions {
  /** At the beginning of the epoch, or as a checkpoint has it. */
  readonly state: EpochState;
  readonly rules: EpochRules;
  /** Is this text a point that can be encrypted to? The same answer everywhere. */
  readonly isEncryptionKey: (text: string) => boolean;
  /** The last commit before was the one that closes the epoch. */
  readonly isClosed?: boolean;
}

/** What is known of the service key at the end of a commit, by all alike. */
export interface KeyStanding {
  /** Enough replicas hold shares of the present sharing. */
  readonly isHeld: boolean;
  /** Enough hold shares of the next one. */
  readonly isNextHeld: boolean;
}

type Preparing = Extract<EpochPhase, { readonly kind: 'preparing' }>;

export class EpochControl {
  readonly #rules: EpochRules;
  readonly #isEncryptionKey: (text: string) => boolean;
  #state: EpochState;
  /** Administrators asked for the end of the epoch in the commit in hand. */
  #isAsked = false;
  #isClosed: boolean;
  #answer: SystemOutcome | undefined;
  #draft: { readonly state: EpochState; readonly plan: NextBody } | undefined;

  constructor({ state, rules, isEncryptionKey, isClosed = false }: EpochControlOptions) {
    this.#state = state;
    this.#rules = rules;
    this.#isEncryptionKey = isEncryptionKey;
    this.#isClosed = isClosed;
  }

  get state(): EpochState {
    return this.#state;
  }

  /** The commit that closes the epoch was taken. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Fixed, as soon as the resharing begins. */
  get next(): MembershipBody | undefined {
    const { phase } = this.#state;
    return phase.kind === 'resharing' ? phase.next : undefined;
  }

  /** Executes one operation of the system; the name is one that begins with `coterie.`. */
  apply(name: string, encodedInput: Uint8Array): SystemOutcome['outcome'] {
    const input = decodeValue(encodedInput);
    if (!input.ok) return refused(this.#state, 'invalid-input', `not an encoded value: ${input.reason}`).outcome;
    switch (name) {
      case 'coterie.successor':
        return this.#become(takeSuccessor(this.#state, input.value, this.#isEncryptionKey));
      case 'coterie.admin': {
        const approval = takeApproval(this.#state, input.value, {
          administrators: this.#rules.administrators,
          planned: () => this.#planned,
          isEncryptionKey: this.#isEncryptionKey,
          isEnding: this.#isAsked,
        });
        this.#isAsked ||= approval.advances;
        return this.#become(approval);
      }
      case 'coterie.epoch':
        return this.#described;
      default:
        return refused(this.#state, 'invalid-input', `the system has no operation ${JSON.stringify(name)}`).outcome;
    }
  }

  /** All operations of this commit were executed; does it close the epoch? */
  committed(at: Moment, { isHeld, isNextHeld }: KeyStanding): { readonly isClosing: boolean } {
    if (this.#isClosed) throw new Error('invariant: a commit after the one that closed the epoch');
    const { phase } = this.#state;
    if (phase.kind === 'steady' && (this.#isAsked || this.#isTimeToEnd(at.timestamp))) this.#prepare(at);
    if (phase.kind === 'preparing' && isHeld && this.#isPrepared(phase, at)) this.#fix(phase, at);
    this.#isAsked = false;
    this.#isClosed = phase.kind === 'resharing' && isNextHeld;
    return { isClosing: this.#isClosed };
  }

  /**
   * When by our own clock something is to happen that needs commits and that nothing else makes them for, milliseconds since
   * 1970; undefined when nothing is waited for.
   */
  get dueAtClockMs(): number | undefined {
    const { phase, began } = this.#state;
    if (this.#isClosed || phase.kind === 'resharing') return undefined;
    if (phase.kind === 'preparing') return phase.since.timestamp + this.#rules.successorWaitMs;
    const { epochIntervalMs } = this.#rules;
    return epochIntervalMs === 0 ? undefined : began.timestamp + epochIntervalMs;
  }

  /** What `coterie.epoch` answers: the same object as long as nothing has changed, because anybody may ask, as often as he likes. */
  get #described(): SystemOutcome['outcome'] {
    if (this.#answer?.state !== this.#state) {
      this.#answer = granted(
        this.#state,
        epochValue(this.#state, this.#rules, this.next === undefined ? this.#drafted : undefined),
      );
    }
    return this.#answer.outcome;
  }

  /** The next membership by what is approved so far; worked out once, because what was signed may be handed in again by anybody. */
  get #planned(): MembershipBody {
    return this.next ?? this.#drafted.body;
  }

  get #drafted(): NextBody {
    const state = this.#state;
    if (this.#draft?.state !== state) this.#draft = { state, plan: this.#plan(state.began) };
    return this.#draft.plan;
  }

  #become({ outcome, state }: SystemOutcome): SystemOutcome['outcome'] {
    this.#state = state;
    return outcome;
  }

  #isTimeToEnd(timestamp: number): boolean {
    const { epochIntervalMs } = this.#rules;
    return epochIntervalMs > 0 && timestamp >= this.#state.began.timestamp + epochIntervalMs;
  }

  #prepare(since: Moment): void {
    this.#state = { ...this.#state, phase: { kind: 'preparing', since, turn: this.#chooseTurn() }, successors: [] };
  }

  /** Who is made clean in this change, by ids ascending. */
  #chooseTurn(): readonly string[] {
    const { epoch, k, replicas } = this.#state.membership;
    const places = turnPlaces({ epoch, n: replicas.length, k });
    return places.map((place) => replicas[place]?.replicaId ?? '').sort();
  }

  /** Has everybody named its keys who will be there, or was that waited for long enough? */
  #isPrepared({ since, turn }: Preparing, at: Moment): boolean {
    if (at.timestamp >= since.timestamp + this.#rules.successorWaitMs) return true;
    const { membership, disputed, successors } = this.#state;
    const staying = new Set(this.#plan(at).body.replicas.map(({ replicaId }) => replicaId));
    return membership.replicas.every(({ replicaId, recovery }) => {
      if (!staying.has(replicaId) || disputed.includes(replicaId)) return true;
      const named = successors.find(({ statement }) => statement.replicaId === replicaId)?.statement;
      // Only a keeper's word on being clean is worth a wait: whoever else is made clean names its keys after that.
      const isToBeClean = recovery === 'hardware' && turn.includes(replicaId);
      return named !== undefined && (named.isClean || !isToBeClean);
    });
  }

  #fix({ turn }: Preparing, since: Moment): void {
    const { body, postponed } = this.#plan(since);
    const phase = { kind: 'resharing', since, turn, next: body } as const;
    this.#state = { ...this.#state, phase, approved: postponed };
  }

  /** The next membership if it were fixed now. */
  #plan({ timestamp }: Pick<Moment, 'timestamp'>): NextBody {
    const { membership, phase, approved, successors, disputed } = this.#state;
    return nextBody({
      body: membership,
      actions: approved,
      successors,
      disputed,
      turn: phase.kind === 'steady' ? [] : phase.turn,
      now: { epoch: membership.epoch + 1, timestamp },
    });
  }
}
