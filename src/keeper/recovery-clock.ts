/**
 * Recovery clock: when a replica is to be made clean at the latest, whatever it says itself.
 *
 * In: the times of its keeper. Out: when. A process that was taken over asks for no recovery turn; this asks for it.
 * Within one life of the keeper the steady clock counts, which nobody can set: who can move the time of many machines must not
 * start them all anew at once. The wall clock carries the moment over to the keeper's next life.
 * Liveness: a clean replica proposes nothing until the next epoch, so replicas that all became clean by their clocks in one epoch
 * would end the service for good. So `at most` must be longer than it takes all turns to come round, and the moments of
 * different replicas lie one share of it apart, also where all were switched off for long and are all overdue.
 */
import { KeeperError } from './keeper-error.ts';

export interface ClockOptions {
  /** Longest time from one clean start to the next. */
  readonly atMostMs: number;
  /** Which group of replicas has its turn with this one, and how many groups there are. */
  readonly group: number;
  readonly groups: number;
}

/** Which turn a replica has: `max(1, k)` of them at a time, by index. */
export function turnGroup(
  index: number,
  { n, k }: { readonly n: number; readonly k: number },
): Omit<ClockOptions, 'atMostMs'> {
  const size = Math.max(1, k);
  const groups = Math.ceil(n / size);
  return { group: Math.floor(index / size) % groups, groups };
}

/** Throws `at-most-too-short`, when replicas would be made clean faster than epochs change. */
export function checkAtMost(atMostMs: number, groups: number, epochIntervalMs: number): void {
  const leastMs = (groups + 2) * epochIntervalMs;
  if (epochIntervalMs > 0 && atMostMs >= leastMs) return;
  const epochs = epochIntervalMs === 0 ? 'epochs change only by request' : `an epoch takes ${epochIntervalMs} ms`;
  throw new KeeperError(
    'at-most-too-short',
    `A clean start at the latest after ${atMostMs} ms would end this cluster: ${epochs}, and all replicas have had their turn after ${groups} epochs.`,
    epochIntervalMs === 0
      ? 'A replica that was started clean proposes nothing until the next epoch. Make the cluster with --epoch-interval, or leave out --at-most.'
      : `A replica that was started clean proposes nothing until the next epoch. Give at least ${leastMs} ms.`,
  );
}

/** When a replica that was clean just now is due: the first time earlier, each group at its own moment. */
export function firstDueMs(nowMs: number, { atMostMs, group, groups }: ClockOptions): number {
  return nowMs + Math.ceil((atMostMs * (group + 1)) / groups);
}

export class RecoveryClock {
  readonly #options: ClockOptions;
  #wallDueMs: number;
  #steadyDueMs: number;

  /** `dueAtMs` by the wall clock, from the life before; a moment that has passed becomes this group's moment from now on. */
  constructor(options: ClockOptions, now: { readonly wallMs: number; readonly steadyMs: number }, dueAtMs: number) {
    this.#options = options;
    const { atMostMs } = options;
    const isOverdue = dueAtMs <= now.wallMs;
    // A wall clock that was set back must not make it later than a whole term from now.
    this.#wallDueMs = isOverdue ? firstDueMs(now.wallMs, options) : Math.min(dueAtMs, now.wallMs + atMostMs);
    this.#steadyDueMs = now.steadyMs + (this.#wallDueMs - now.wallMs);
  }

  /** By the wall clock, for the record. */
  get dueAtMs(): number {
    return this.#wallDueMs;
  }

  /** The replica has just been started clean. */
  restart(now: { readonly wallMs: number; readonly steadyMs: number }): void {
    this.#wallDueMs = now.wallMs + this.#options.atMostMs;
    this.#steadyDueMs = now.steadyMs + this.#options.atMostMs;
  }

  /** How long to wait by the steady clock; at most 0 when it is due. */
  remainingMs(steadyMs: number): number {
    return this.#steadyDueMs - steadyMs;
  }
}
