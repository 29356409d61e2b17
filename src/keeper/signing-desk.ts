/**
 * Signing desk: answers what replica processes ask to have signed, one after another.
 *
 * In: requests of one process after another. Out: certificates, each with a serial that is durable before the certificate leaves.
 * Owns the pinned service key and the part of the record that says what was promised.
 * Safety: `successor-rules.ts`. Bounds: one request at a time, and a rest between two, since each may cost a pairing.
 */
import type { Logger } from 'pino';
import type { SigningKey } from '../crypto/ed25519.ts';
import { monotonicMs, now } from '../platform/clock.ts';
import type { VerifiedMembership } from '../verify/read-membership.ts';
import { verifyCertifiedMembership } from '../verify/verify.ts';
import type { KeeperToReplica } from '../wire/keeper-message.ts';
import { limits } from '../wire/limits.ts';
import { statedBeginMs } from '../wire/membership-statement.ts';
import type { SuccessorStatement } from '../wire/successor.ts';
import type { KeeperRecord } from './keeper-store.ts';
import { certificateOf, documentOf, judgeAsk, type SignAsk } from './successor-rules.ts';

/** What the desk needs of the store. */
export interface DeskStore {
  readonly record: KeeperRecord | undefined;
  changeRecord(change: Partial<KeeperRecord>): Promise<void>;
  pinServiceKey(serviceKey: string): Promise<void>;
}

export interface SigningDeskOptions {
  readonly store: DeskStore;
  /** Undefined: it certifies nothing. */
  readonly key: SigningKey | undefined;
  readonly replicaId: string;
  readonly serviceId: string;
  /** Undefined until one is pinned. */
  readonly serviceKey: string | undefined;
  readonly logger: Logger;
  /** Gives the service key that the home shows, for the first time that one is needed; undefined when it shows none. */
  firstServiceKey(): Promise<string | undefined>;
}

/** One process of the replica, as the desk sees it. */
export class DeskVisitor {
  readonly #turnOf: number | null;
  readonly #startedAtMs = monotonicMs();
  readonly #startedAtClockMs = now();
  /** Signatures by epoch: an old epoch is never signed for again, so few are kept. */
  readonly #signed = new Map<number, number>();
  readonly #answers = new Map<string, KeeperToReplica>();

  /** `turnOf`: it was started clean, for the turn of this epoch; null: it was not started clean. */
  constructor({ turnOf }: { readonly turnOf: number | null }) {
    this.#turnOf = turnOf;
  }

  /**
   * Clean is who was started clean in this epoch, not too long ago, and has had nothing signed: later it may have been taken over. Who
   * missed the end of its turn takes part in the next epoch, and is not as new as the one after that.
   */
  isCleanIn(membership: VerifiedMembership): boolean {
    if (this.#turnOf === null || this.#signed.size > 0) return false;
    if (monotonicMs() - this.#startedAtMs > limits.keeperCleanForMs) return false;
    const beganMs = statedBeginMs(membership);
    return this.#turnOf === membership.epoch || beganMs === undefined || this.#startedAtClockMs >= beganMs;
  }

  /** It was started clean for a turn of an earlier epoch. */
  hasMissedTurn(epoch: number): boolean {
    return this.#turnOf !== null && this.#turnOf < epoch;
  }

  signedFor(epoch: number): number {
    return this.#signed.get(epoch) ?? 0;
  }

  /** What it got for the same keys before: asking twice makes nothing less clean. */
  answerFor(statement: SuccessorStatement): KeeperToReplica | undefined {
    return this.#answers.get(nameOf(statement));
  }

  noteSigned(statement: SuccessorStatement, answer: KeeperToReplica): void {
    const { epoch } = statement;
    this.#signed.set(epoch, this.signedFor(epoch) + 1);
    for (const old of this.#signed.keys()) if (old < epoch - 1) this.#signed.delete(old);
    this.#answers.set(nameOf(statement), answer);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= limits.keeperSignaturesPerLifeMax) break;
      this.#answers.delete(oldest);
    }
  }
}

export class SigningDesk {
  readonly #options: SigningDeskOptions;
  #serviceKey: string | undefined;
  #isBusy = false;
  /** Ends when no key is looked for. */
  #pinning: Promise<unknown> = Promise.resolve();
  #restUntilMs = 0;

  constructor(options: SigningDeskOptions) {
    this.#options = options;
    this.#serviceKey = options.serviceKey;
  }

  /** The pinned one. */
  get serviceKey(): string | undefined {
    return this.#serviceKey;
  }

  /** Never rejects but when the store fails. */
  async answer(ask: SignAsk, visitor: DeskVisitor): Promise<KeeperToReplica> {
    await this.#pinning;
    if (this.#isBusy || monotonicMs() < this.#restUntilMs)
      return refused('it was asked for too soon after the last time');
    this.#isBusy = true;
    try {
      return await this.#judge(ask, visitor);
    } finally {
      this.#isBusy = false;
      this.#restUntilMs = monotonicMs() + limits.keeperSignRestMs;
    }
  }

  /** Pins the service key, if none is pinned yet: the sooner, the less likely is it that of an attacker. */
  async pin(shown: Pick<SignAsk, 'membership'>): Promise<void> {
    if (this.#serviceKey !== undefined || this.#isBusy || monotonicMs() < this.#restUntilMs) return;
    this.#isBusy = true;
    const pinned = this.#verified(shown).finally(() => {
      this.#isBusy = false;
      // What was pinned is not looked for again: no rest is needed for that.
      if (this.#serviceKey === undefined) this.#restUntilMs = monotonicMs() + limits.keeperSignRestMs;
    });
    this.#pinning = pinned.catch(() => undefined);
    await pinned;
  }

  async #judge(ask: SignAsk, visitor: DeskVisitor): Promise<KeeperToReplica> {
    const { store, key, replicaId, serviceId, logger } = this.#options;
    if (key === undefined) return this.#refuse('this keeper has no identity key for the replica');
    const membership = await this.#verified(ask);
    if (typeof membership === 'string') return this.#refuse(membership);
    const { record } = store;
    if (record === undefined) throw new Error('the desk works without a record');
    const { certifiedEpoch, serial } = record;
    const identity = { replicaId, serviceId, key, certifiedEpoch, serial };
    const judged = judgeAsk(ask, membership, identity, visitor);
    if (!judged.ok) return this.#refuse(judged.reason);
    const { statement, presentEpoch } = judged;
    const before = visitor.answerFor(statement) ?? answerIn(record, statement);
    if (before !== undefined) return before;
    // A turn is over when clean keys are certified, or when it was missed: who starts clean again is silent again.
    const isOver = statement.isClean || visitor.hasMissedTurn(presentEpoch) ? { turnOf: null } : {};
    const { epoch, serial: number, isClean } = statement;
    const certificate = Buffer.from(certificateOf(statement, key)).toString('hex');
    const certified = { keys: nameOf(statement), epoch, serial: number, isClean, certificate };
    await store.changeRecord({ certifiedEpoch: presentEpoch, serial: number, certified, ...isOver });
    logger.info({ epoch, serial: number, isClean }, 'certified the next session keys of the replica');
    const answer = { kind: 'successor-signed', certificate, serial: number, isClean } as const;
    visitor.noteSigned(statement, answer);
    return answer;
  }

  /** The membership, or why it is none. */
  async #verified(ask: Pick<SignAsk, 'membership'>): Promise<VerifiedMembership | string> {
    const document = documentOf(ask);
    if (this.#serviceKey !== undefined) {
      const verdict = verifyCertifiedMembership(document, this.#serviceKey);
      return verdict.ok ? verdict.membership : `the membership is not proven: ${verdict.reason.sentence}`;
    }
    const first = await this.#options.firstServiceKey();
    if (first === undefined) return 'this keeper knows no service key, and the home shows none';
    const verdict = verifyCertifiedMembership(document, first);
    if (!verdict.ok) return `the membership is not proven: ${verdict.reason.sentence}`;
    // Of another service is refused all the same, and must not be pinned.
    if (verdict.membership.serviceId === this.#options.serviceId) {
      await this.#options.store.pinServiceKey(first);
      this.#serviceKey = first;
      this.#options.logger.warn(
        { serviceKey: first },
        'pinned the service key at first sight: compare it with that of another replica, or give it with --service-key',
      );
    }
    return verdict.membership;
  }

  #refuse(reason: string): KeeperToReplica {
    this.#options.logger.warn({ reason }, 'refused to certify what the replica asked for');
    return refused(reason);
  }
}

/** What the same keys got in an earlier life of the replica, when they were clean: a crash makes them no less so. */
function answerIn({ certified }: KeeperRecord, statement: SuccessorStatement): KeeperToReplica | undefined {
  if (certified?.isClean !== true || certified.keys !== nameOf(statement)) return undefined;
  const { certificate, serial, isClean } = certified;
  return { kind: 'successor-signed', certificate, serial, isClean };
}

/** The keys and the epoch, whatever else it says. */
function nameOf({ epoch, keys }: SuccessorStatement): string {
  return `${epoch} ${keys.signingKey} ${keys.linkKeyDigest} ${keys.encryptionKey}`;
}

function refused(reason: string): KeeperToReplica {
  return { kind: 'refused', reason: reason.slice(0, limits.keeperReasonLengthMax) };
}
