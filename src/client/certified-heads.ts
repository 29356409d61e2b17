/**
 * Certified heads: what one client knows of the log: its newest head, and the last ones proven to be of the same log.
 *
 * In: heads that the service signed, with what was proven of them. Out: the newest; whether one is known; the alarm when
 * two of them cannot be of one log. Owns the newest head, which only ever goes on from the one before.
 * Safety: however many replicas are faulty, all heads that were accepted are of one log, the one of the head that was kept.
 */
import { type CertifiedHeadDocument, certifiedHeadDocument } from '../verify/document.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { CoterieError } from './client-error.ts';
import type { ServiceKey } from './service-key.ts';

/** Two heads that the service signed and that are not of one log: more than f replicas are, or were, faulty. */
export interface InconsistentHeads {
  /** The one that this client held. */
  readonly first: CertifiedHeadDocument;
  readonly second: CertifiedHeadDocument;
}

/** What a client does when nobody can prove any more that the log goes on from its last head. */
export type GapPolicy = 'refuse' | 'accept';

/** A newer head that was taken although the log between the two was not proven to be one. */
export interface HistoryGap {
  readonly before: CertifiedHeadDocument;
  readonly after: CertifiedHeadDocument;
}

export class CertifiedHeads {
  /** May the newest head be replaced by a later one without proof that it goes on from it? */
  readonly mayLeap: boolean;
  readonly serviceKey: ServiceKey;
  readonly #serviceId: string;
  readonly #keep: (head: CertifiedHead) => void;
  readonly #onAlarm: (evidence: InconsistentHeads) => void;
  readonly #onGap: (gap: HistoryGap) => void;
  #newest: CertifiedHead | undefined;
  /** Heads of our log by their size, the last ones learned. */
  readonly #known = new Map<number, CertifiedHead>();
  #alarmed = false;

  constructor(options: {
    readonly serviceKey: ServiceKey;
    readonly serviceId: string;
    /** The head that was kept, its signature checked. */
    readonly newest: CertifiedHead | undefined;
    /** Told each newest head. */
    readonly keep: (head: CertifiedHead) => void;
    /** Told once. */
    readonly onAlarm: (evidence: InconsistentHeads) => void;
    readonly gapPolicy?: GapPolicy | undefined;
    /** Told each time, when the policy is to accept. */
    readonly onGap: (gap: HistoryGap) => void;
  }) {
    this.serviceKey = options.serviceKey;
    this.#serviceId = options.serviceId;
    this.#keep = options.keep;
    this.#onAlarm = options.onAlarm;
    this.#onGap = options.onGap;
    this.mayLeap = options.gapPolicy === 'accept';
    this.#newest = options.newest;
    if (options.newest !== undefined) this.#remember(options.newest);
  }

  get newest(): CertifiedHead | undefined {
    return this.#newest;
  }

  /** Did the service sign it? */
  isSigned(certified: CertifiedHead): boolean {
    return certified.head.serviceId === this.#serviceId && this.serviceKey.isSigned(certified);
  }

  /** Is it a head of our log, as was proven before? */
  isKnown(certified: CertifiedHead): boolean {
    return [this.#known.get(certified.head.logSize), this.#newest].some(
      (ours) => ours !== undefined && isSameHead(ours, certified),
    );
  }

  /** A head of our log that this one cannot be of one log with, whatever anybody proves. */
  contradicted(certified: CertifiedHead): CertifiedHead | undefined {
    const sameSize = this.#known.get(certified.head.logSize);
    for (const ours of [sameSize, this.#newest]) {
      if (ours !== undefined && contradict(ours.head, certified.head)) return ours;
    }
    return undefined;
  }

  /** It goes on from the newest, which was proven; or it is the first. */
  advance(certified: CertifiedHead): void {
    this.#remember(certified);
    if (this.#newest !== undefined && this.#newest.head.logSize >= certified.head.logSize) return;
    this.#newest = certified;
    this.#keep(certified);
  }

  /** The newest goes on from it, which was proven. */
  accept(certified: CertifiedHead): void {
    this.#remember(certified);
  }

  /** It is later than the newest, and nobody can say whether it goes on from it: it takes its place all the same. */
  leap(certified: CertifiedHead): void {
    const before = this.#newest;
    this.#known.clear();
    this.#newest = undefined;
    this.advance(certified);
    if (before !== undefined)
      this.#onGap({ before: certifiedHeadDocument(before), after: certifiedHeadDocument(certified) });
  }

  /** The error for what hangs on a head of which nobody can say whether it is of our log. */
  gap({ head }: CertifiedHead): CoterieError {
    const sentence =
      `the replicas have dropped what would prove that the log of ${head.logSize} requests goes on from the last head ` +
      `that this client saw, of ${this.#newest?.head.logSize ?? 0}`;
    return new CoterieError('history-gap', sentence, { outcome: 'unknown' });
  }

  /** Tells that these two are not of one log; the error is for the calls that hang on the second. */
  alarm(first: CertifiedHead, second: CertifiedHead): CoterieError {
    const evidence = { first: certifiedHeadDocument(first), second: certifiedHeadDocument(second) };
    if (!this.#alarmed) {
      this.#alarmed = true;
      this.#onAlarm(evidence);
    }
    const sentence =
      `the service signed two heads that are not of one log, of ${first.head.logSize} and of ${second.head.logSize} ` +
      'requests: more replicas are faulty than it tolerates';
    return new CoterieError('inconsistent-head', sentence, { outcome: 'unknown', evidence });
  }

  #remember(certified: CertifiedHead): void {
    const { logSize } = certified.head;
    this.#known.delete(logSize);
    this.#known.set(logSize, certified);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= limits.clientHeadsKeptMax) break;
      this.#known.delete(oldest);
    }
  }
}

/** Are these heads of the same leaves? */
export function isSameHead({ head: a }: CertifiedHead, { head: b }: CertifiedHead): boolean {
  return a.logSize === b.logSize && a.logRoot === b.logRoot;
}

/**
 * Do two signed heads show by themselves that they are not of one log? One size has one root; one commit has one head; and
 * a longer log is of a later commit, never of an earlier one.
 */
function contradict(a: Head, b: Head): boolean {
  if (a.logSize === b.logSize) {
    const isSameState = a.stateRoot === b.stateRoot && a.checkpoint === b.checkpoint;
    return a.logRoot !== b.logRoot || (a.commitIndex === b.commitIndex && !isSameState);
  }
  const [shorter, longer] = a.logSize < b.logSize ? [a, b] : [b, a];
  if (shorter.epoch !== longer.epoch) return shorter.epoch > longer.epoch;
  return shorter.commitIndex >= longer.commitIndex || shorter.timestamp > longer.timestamp;
}
