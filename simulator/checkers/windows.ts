/**
 * Windows: how old code, state, session keys and key share of every replica become, by what all agree on; whether that keeps the
 * bounds (docs/protocol/epochs.md §7), and whether it is true.
 *
 * In: the agreed state at the end of each epoch, and whom its keeper really started clean. Whoever named keys, and was made clean when
 * it was its turn, is within the bounds; time that changes took beyond the schedule is allowed for, as it was measured. Whoever did not is
 * older, and must be seen to be: what the report shows as too old is kept, as the alarm would have it.
 */

import { summarizeEpoch } from '../../src/wire/epoch-report.ts';
import type { EpochState } from '../../src/wire/epoch-state.ts';
import type { Genesis } from '../../src/wire/genesis.ts';
import type { StatedReplica } from '../../src/wire/membership-statement.ts';
import { boundsOf, type WindowKind, windowKinds, windowsOf } from '../../src/wire/recovery-window.ts';
import type { Report } from './violation.ts';

/** What an alarm says: this of a replica was older than it may be, when this epoch ended. */
export interface Overdue {
  readonly epoch: number;
  readonly replicaId: string;
  readonly kind: WindowKind;
}

interface EndedEpoch {
  /** Agreed milliseconds beyond the schedule. */
  readonly overrunMs: number;
  readonly ids: string;
}

export class WindowChecker {
  readonly #report: Report;
  readonly #epochIntervalMs: number;
  readonly #ended = new Map<number, EndedEpoch>();
  /** By id, the epoch at whose end it was to be made clean last. */
  readonly #lastTurn = new Map<string, number>();
  /** By the epoch for which, ids of replicas that a keeper started clean. */
  readonly #startedClean = new Map<number, Set<string>>();
  readonly #disputes = new Set<string>();
  readonly overdue: Overdue[] = [];

  constructor(report: Report, { epochIntervalMs }: Pick<Genesis, 'epochIntervalMs'>) {
    this.#report = report;
    this.#epochIntervalMs = epochIntervalMs;
  }

  /** Ids of replicas whose keys were ever in dispute. */
  get disputes(): ReadonlySet<string> {
    return this.#disputes;
  }

  /** Its keeper starts it clean, to be so in this epoch. */
  startedClean(replicaId: string, epoch: number): void {
    const started = this.#startedClean.get(epoch) ?? new Set();
    this.#startedClean.set(epoch, started.add(replicaId));
  }

  /** A correct replica has taken the closing commit of its epoch, at this agreed time. */
  closed(state: EpochState, timestamp: number): void {
    const { membership, phase, began } = state;
    if (phase.kind !== 'resharing' || this.#ended.has(membership.epoch)) return;
    const overrunMs = this.#overrunMs(timestamp - began.timestamp);
    this.#ended.set(membership.epoch, { overrunMs, ids: idsOf(membership.replicas) });
    this.look(state, timestamp);
    this.#checkTurn(state, phase.turn);
    for (const replicaId of state.disputed) this.#disputes.add(replicaId);
    for (const replica of phase.next.replicas) this.#checkRenewal(state, replica, phase.turn);
  }

  /** The ages at an agreed time in an epoch: nobody who did what it should is older than it may be. */
  look(state: EpochState, timestamp: number): void {
    const report = summarizeEpoch(state, { epochIntervalMs: this.#epochIntervalMs });
    const bounds = boundsOf(report);
    if (bounds === undefined) return;
    const { epoch, replicas } = state.membership;
    const slackMs = this.#slackMs(state, timestamp);
    for (const { replicaId, agesMs } of windowsOf(report, timestamp)) {
      const replica = replicas.find((each) => each.replicaId === replicaId) as StatedReplica;
      for (const kind of windowKinds) {
        if (agesMs[kind] > bounds[kind]) this.overdue.push({ epoch, replicaId, kind });
        const allowedMs = slackMs[kind];
        if (allowedMs === undefined || agesMs[kind] <= allowedMs || !this.#isInTime(state, replica, kind)) continue;
        const ages = `${agesMs[kind]} ms old in epoch ${epoch}, of at most ${allowedMs}`;
        this.#report('windows', `the ${kind} of ${replicaId} is ${ages}`);
      }
    }
  }

  #overrunMs(lengthMs: number): number {
    return Math.max(0, lengthMs - this.#epochIntervalMs);
  }

  /**
   * How old each may be: as many intervals as an epoch, or a round of turns, has, and what the changes took in between and in the change
   * that made it fresh; undefined where it is not known, or the replicas were others.
   */
  #slackMs({ membership, began }: EpochState, timestamp: number): Readonly<Record<WindowKind, number | undefined>> {
    const { epoch, k, replicas } = membership;
    const now = this.#overrunMs(timestamp - began.timestamp);
    const after = (count: number): number | undefined => {
      const since = Math.max(0, epoch - count);
      const ended = Array.from({ length: epoch - since }, (_, i) => this.#ended.get(since + i));
      const isKnown = ended.every((each) => each?.ids === idsOf(replicas));
      const overrunsMs = ended.reduce((sum, each) => sum + (each?.overrunMs ?? 0), now);
      return isKnown
        ? Math.max((count + 1) * this.#epochIntervalMs, count * this.#epochIntervalMs + overrunsMs)
        : undefined;
    };
    const perEpoch = after(1);
    const perRound = after(Math.ceil(replicas.length / Math.max(1, k)));
    return { code: perRound, state: perRound, 'session-key': perEpoch, 'key-share': perEpoch };
  }

  /** Did it do its part: named keys at the last change, and was clean when it was to be made so last? */
  #isInTime({ membership: { epoch }, sharingEpoch }: EpochState, replica: StatedReplica, kind: WindowKind): boolean {
    // Where the sharing is that of an earlier epoch, all shares are as old as that, and seen to be.
    if (kind === 'key-share') return sharingEpoch === epoch;
    if (kind === 'session-key') return replica.keysSince.epoch === epoch;
    const turn = this.#lastTurn.get(replica.replicaId);
    return turn === undefined || replica.cleanSince.epoch > turn;
  }

  /** Nobody else was made clean, and never more at once than may be. */
  #checkTurn({ membership }: EpochState, turn: readonly string[]): void {
    const { epoch, k, replicas } = membership;
    const atOnce = Math.min(Math.max(1, k), replicas.length);
    if (turn.length > atOnce)
      this.#report('windows', `${turn.length} replicas have a turn at the end of epoch ${epoch}`);
    for (const replicaId of this.#startedClean.get(epoch + 1) ?? []) {
      if (!turn.includes(replicaId))
        this.#report('windows', `${replicaId} was made clean in epoch ${epoch}, not in its turn`);
    }
    for (const replicaId of turn) this.#lastTurn.set(replicaId, epoch);
  }

  /** What the next membership says of a replica, and what is true. */
  #checkRenewal({ membership, successors, disputed }: EpochState, next: StatedReplica, turn: readonly string[]): void {
    const { replicaId, recovery } = next;
    const epoch = membership.epoch + 1;
    const before = membership.replicas.find((each) => each.replicaId === replicaId);
    if (before === undefined) return;
    const isNamed = successors.some(({ statement }) => statement.replicaId === replicaId);
    const counts = isNamed && !disputed.includes(replicaId);
    const isNew = next.signingKey !== before.signingKey;
    if (isNew !== counts || (next.keysSince.epoch === epoch) !== counts) {
      this.#report(
        'windows',
        `${replicaId} has ${isNew ? 'new' : 'old'} keys in epoch ${epoch}, and named ${isNamed ? 'some' : 'none'}`,
      );
    }
    if (next.cleanSince.epoch !== epoch) return;
    // A process that was started clean for an earlier change and came too late for it is still that, until it has had keys certified.
    const wasMadeSo = [...this.#startedClean].some(
      ([made, ids]) => made > before.cleanSince.epoch && made <= epoch && ids.has(replicaId),
    );
    // By awareness a replica vouches for itself, in its turn alone.
    const mayBeSaidSo = recovery === 'awareness' ? turn.includes(replicaId) : wasMadeSo;
    if (!mayBeSaidSo) this.#report('windows', `${replicaId} counts as clean in epoch ${epoch}, and nobody made it so`);
  }
}

function idsOf(replicas: readonly StatedReplica[]): string {
  return replicas.map(({ replicaId }) => replicaId).join(' ');
}
