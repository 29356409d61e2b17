/**
 * State reads: who asks what is under a key of the state, and the answers, each proven as of a certified head.
 *
 * In: questions of clients; the newest certified head and how far we have executed. Out: answers for the links that asked,
 * and whether a head is to be wished for. Pure; owns the questions that wait: bounded in number, bytes and time. Nothing is
 * ordered for an answer. It is of the newest certified head at which the execution still has the state; what wants a later
 * head waits for one, and makes the replica wish for it, as a certified call does.
 * Safety: the proof decides, not we. Whoever hoards questions loses the oldest, and keeps nobody else from an answer.
 */
import type { CertifiedHead, RefusalCode } from '../wire/client-message.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { encodeStateProof, type StateProof } from '../wire/state-proof.ts';
import type { CertifiedAnswer } from './certified-replies.ts';
import type { LinkChains } from './link-chains.ts';

/** Where proofs come from: the execution. Undefined when it does not have the state as of this head. */
export interface StateProver {
  proveState(
    key: string,
    head: Head,
  ): { readonly proof: StateProof; readonly value: Uint8Array | undefined } | undefined;
}

export interface StateQuestion {
  readonly link: number;
  /** The client's own, to know the answer by. */
  readonly number: number;
  readonly key: string;
  /** The answer must be as of this commit or a later one. */
  readonly notBefore: number;
  /** The client holds a head of so many leaves. */
  readonly logSize: number;
}

export interface ReadCircumstances {
  /** Undefined for a moment at the beginning of an epoch and after a start, and as long as there is no service key. */
  readonly newest: CertifiedHead | undefined;
  /** Heads are certified here, or soon will be. */
  readonly hasServiceKey: boolean;
  /** The last commit that was executed. */
  readonly executedIndex: number;
  /** This replica differs from the service: it has nothing to say. */
  readonly hasDiverged: boolean;
  readonly nowMs: number;
}

interface Waiting extends StateQuestion {
  readonly untilMs: number;
}

/** Certified heads that are tried, the newest first: that one may be ahead of what we have executed. */
const headsTried = 4;

export class StateReads {
  readonly #prover: StateProver;
  readonly #chains: LinkChains;
  readonly #isPublic: boolean;
  #heads: readonly CertifiedHead[] = [];
  #executedIndex = 0;
  /** Not looked at yet, in order. */
  #fresh: StateQuestion[] = [];
  /** Waits for another head, or for us to execute; the oldest first. */
  #waiting: Waiting[] = [];
  #sizeBytes = 0;
  #answers: CertifiedAnswer[] = [];

  /** `isPublic`: the service lets anybody read its state (`service-definition.ts`). */
  constructor(options: { readonly prover: StateProver; readonly chains: LinkChains; readonly isPublic: boolean }) {
    this.#prover = options.prover;
    this.#chains = options.chains;
    this.#isPublic = options.isPublic;
  }

  /** There are questions that were not looked at: `take` has something to do at once. */
  get isUnfinished(): boolean {
    return this.#fresh.length > 0;
  }

  /** When the first question has waited long enough; undefined when none waits, or all for the first head: that comes, or the link goes. */
  get wakeAtMs(): number | undefined {
    return this.#heads.length === 0 ? undefined : this.#waiting[0]?.untilMs;
  }

  /**
   * Whether a head of what has been executed by now would do, and the newest certified one does not: one is to be wished for
   * then, if there are results for it to cover.
   */
  ask(question: StateQuestion): boolean {
    if (!this.#isPublic) {
      this.#refuse(question, 'not-public', 'this service shows its state through its operations only');
      return false;
    }
    this.#push(question);
    const { notBefore } = question;
    return notBefore > (this.#heads[0]?.head.commitIndex ?? notBefore) && notBefore <= this.#executedIndex;
  }

  /** A link is gone. */
  forget(link: number): void {
    this.#fresh = this.#fresh.filter((question) => this.#keeps(question, link));
    this.#waiting = this.#waiting.filter((question) => this.#keeps(question, link));
  }

  /** What can be answered now, or never will be. */
  take({ newest, hasServiceKey, executedIndex, hasDiverged, nowMs }: ReadCircumstances): readonly CertifiedAnswer[] {
    const isNews = this.#note(newest, executedIndex);
    if (!hasServiceKey || hasDiverged) {
      const reason = hasDiverged ? 'this replica has diverged; ask another one' : 'there is no service key yet';
      for (const question of [...this.#waiting, ...this.#fresh]) this.#refuse(question, 'not-certifying', reason);
      this.#waiting = [];
      this.#fresh = [];
      this.#sizeBytes = 0;
    } else {
      if (isNews) this.#waiting = this.#waiting.filter((question) => !this.#answer(question));
      if (newest !== undefined) this.#giveUp(nowMs);
      this.#look(nowMs);
    }
    const answers = this.#answers;
    this.#answers = [];
    return answers;
  }

  #push(question: StateQuestion): void {
    this.#chains.begin(question.link, question.logSize);
    this.#fresh.push(question);
    this.#sizeBytes += costOf(question);
    const { stateReadsWaitingMax, stateReadsWaitingSizeBytesMax } = limits;
    while (
      this.#waiting.length + this.#fresh.length > stateReadsWaitingMax ||
      this.#sizeBytes > stateReadsWaitingSizeBytesMax
    ) {
      const oldest = this.#waiting.shift() ?? this.#fresh.shift();
      if (oldest === undefined) return;
      this.#sizeBytes -= costOf(oldest);
      this.#refuse(oldest, 'overloaded', 'too many questions wait here; ask another replica, or later');
    }
  }

  /** Is there a head or a commit that there was not before? */
  #note(newest: CertifiedHead | undefined, executedIndex: number): boolean {
    const isNewHead = newest !== undefined && newest !== this.#heads[0];
    if (isNewHead) this.#heads = [newest, ...this.#heads].slice(0, headsTried);
    const isNews = isNewHead || executedIndex !== this.#executedIndex;
    this.#executedIndex = executedIndex;
    return isNews;
  }

  /** Answers what was asked since, as much as one step may take. */
  #look(nowMs: number): void {
    let [count, sizeBytes] = [0, 0];
    for (const question of this.#fresh) {
      if (count === limits.stateReadsPerStepMax || sizeBytes >= limits.stateReadsPerStepSizeBytesMax) break;
      count += 1;
      const answered = this.#answer(question);
      if (answered) sizeBytes += sizeOf(this.#answers.at(-1));
      else this.#waiting.push({ ...question, untilMs: nowMs + limits.stateReadWaitMs });
    }
    this.#fresh = this.#fresh.slice(count);
  }

  #answer(question: StateQuestion): boolean {
    const { link, number, key, notBefore } = question;
    for (const certifiedHead of this.#heads) {
      if (certifiedHead.head.commitIndex < notBefore) return false;
      const proven = this.#prover.proveState(key, certifiedHead.head);
      if (proven === undefined) continue;
      const { value } = proven;
      const proof = encodeStateProof(proven.proof);
      const tied = this.#chains.tied(link, certifiedHead);
      this.#answers.push({ link, message: { kind: 'state', number, value, proof, ...tied } });
      this.#sizeBytes -= costOf(question);
      return true;
    }
    return false;
  }

  #giveUp(nowMs: number): void {
    while (this.#waiting[0] !== undefined && this.#waiting[0].untilMs <= nowMs) {
      const question = this.#waiting.shift() as Waiting;
      this.#sizeBytes -= costOf(question);
      const [newest] = this.#heads;
      this.#refuse(question, 'too-old', `the newest certified head here is of commit ${newest?.head.commitIndex ?? 0}`);
    }
  }

  #refuse({ link, number }: StateQuestion, code: RefusalCode, reason: string): void {
    this.#answers.push({ link, message: { kind: 'state-refused', number, code, reason } });
  }

  #keeps(question: StateQuestion, gone: number): boolean {
    if (question.link !== gone) return true;
    this.#sizeBytes -= costOf(question);
    return false;
  }
}

/** What it takes up while it waits: its key, and what is kept with it. */
function costOf({ key }: StateQuestion): number {
  return 2 * key.length + 128;
}

function sizeOf(answer: CertifiedAnswer | undefined): number {
  if (answer?.message.kind !== 'state') return 0;
  return (answer.message.value?.length ?? 0) + answer.message.proof.length;
}
