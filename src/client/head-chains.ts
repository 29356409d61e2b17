/**
 * Head chains: ties every certified head that comes in to the newest one of this client, before anything that hangs on it
 * is believed.
 *
 * In: signed heads, each with a proof that it goes on from the one before on its link, or from one that was named. Out:
 * proven, or not of our log. A head that its own proof does not tie to ours is asked about: where is a head that both
 * the stray one and ours are the beginning of?
 * Safety: a head counts as proven only by proofs that end in one head of ours. A proof that fails convicts nobody by
 * itself, since either of its ends may be the forked one: when another replica ties the two, who failed has lied; when
 * replicas, one of them correct, fail to, there are two logs. When such ones say that they have dropped what the proof takes,
 * there is a gap in the history, which only the caller can agree to.
 */
import {
  containsReplica,
  emptySet,
  type QuorumRule,
  type ReplicaSet,
  withoutReplica,
  withReplica,
} from '../membership/membership.ts';
import { type CertifiedHead, encodeClientToReplica, type ReplicaToClient } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import { type CertifiedHeads, isSameHead } from './certified-heads.ts';
import type { CoterieError } from './client-error.ts';

/** Hangs on a head. Told one of the two, once, or nothing when the link that brought it is forgotten. */
export interface HeadWaiter {
  readonly onProven: () => void;
  /** It is of another log, or nobody can say. */
  readonly onInconsistent: (error: CoterieError) => void;
}

export interface ChainsUse {
  readonly now: () => number;
  /** Replicas with links. */
  readonly up: () => ReplicaSet;
  readonly send: (replica: number, frame: Uint8Array) => boolean;
  /** It sent what is not true. */
  readonly convict: (replica: number) => void;
  /** It sent what nobody asked for. */
  readonly distrust: (replica: number, what: string) => void;
  /** More replicas have to be asked than are connected. */
  readonly widen: () => void;
}

type Answer = Omit<Extract<ReplicaToClient, { readonly kind: 'head' }>, 'kind'>;
type HeadAnswer = Answer & { readonly certifiedHead: CertifiedHead };

/** A head of which it is not known whether it is of our log. */
interface Stray {
  /** As it came. */
  readonly head: CertifiedHead;
  /** A head that is proven to go on from it. */
  reached: CertifiedHead;
  readonly waiters: HeadWaiter[];
  /** Who gave a proof that fails. */
  failedAt: ReplicaSet;
  /** Who said that it has dropped the leaves that a proof takes. */
  gapAt: ReplicaSet;
  askedAt: number | undefined;
  asked: number;
  nextAtMs: number;
}

interface Ask {
  /** The head that was named; undefined when we had none. */
  readonly from: CertifiedHead | undefined;
  /** About this stray head: from where it has got, or from our newest. Undefined: to bring the link up to date. */
  readonly about: { readonly stray: Stray; readonly end: 'stray' | 'ours' } | undefined;
}

/** What is known of the heads on one link. */
interface Chain {
  last: CertifiedHead | undefined;
  /** Heads named in requests, while none has come. */
  named: (CertifiedHead | undefined)[];
  /** Not answered yet, in order. */
  readonly asks: Ask[];
}

/**
 * How a head is tied to the one it should go on from. `behind`: it is a smaller one, so there is nothing to prove; `gap`: the
 * leaves that the proof takes are gone.
 */
type Tie = 'proven' | 'failed' | 'gap' | 'behind' | 'none';

/** Time for an answer, and before asking again. */
const askAgainMs = 150;
const askAgainMsMax = 2_000;
/** A stray head is let go after so many; a request that hangs on it has been sent to others long since. */
const asksMax = 16;

export class HeadChains {
  readonly #heads: CertifiedHeads;
  readonly #rule: QuorumRule;
  readonly #use: ChainsUse;
  readonly #chains = new Map<number, Chain>();
  readonly #strays: Stray[] = [];

  constructor(options: { readonly heads: CertifiedHeads; readonly rule: QuorumRule; readonly use: ChainsUse }) {
    this.#heads = options.heads;
    this.#rule = options.rule;
    this.#use = options.use;
  }

  /**
   * A request that wants a certified reply goes to this replica next: the log size to name in it. When the link is at
   * another head than ours, it is brought up to date first, so that the reply comes with the right proof.
   */
  name(replica: number): number {
    const chain = this.#chainOf(replica);
    const { newest } = this.#heads;
    const isNew = chain.last === undefined && chain.asks.length === 0;
    if (!isNew && newest !== undefined && !this.#isAt(chain, newest)) this.#ask(replica, chain, newest, undefined);
    if (chain.last === undefined && !chain.named.includes(newest)) chain.named.push(newest);
    return newest?.head.logSize ?? 0;
  }

  /** Has a certified reply been asked for on this link? */
  expects(replica: number): boolean {
    return this.#chains.has(replica);
  }

  /** A certified reply came, its head signed. `waiter` hangs on the head. */
  take(replica: number, answer: HeadAnswer, waiter: HeadWaiter | undefined): void {
    const chain = this.#chainOf(replica);
    const { certifiedHead, consistentWith } = answer;
    const bases = chain.last === undefined ? chain.named : [chain.last];
    const from = bases.find((base) => base?.head.logSize === consistentWith);
    if (consistentWith !== 0 && from === undefined) {
      this.#use.distrust(replica, `it proved a head to go on from ${consistentWith} requests, which nobody named`);
      return;
    }
    const tie = from === undefined ? tieWithout(bases, answer) : this.#tie(from, answer);
    this.#arrive(replica, { certifiedHead, from, tie, waiter });
  }

  /** A head came that was asked for. */
  takeHead(replica: number, answer: Answer): void {
    const ask = this.#chains.get(replica)?.asks.shift();
    if (ask === undefined) {
      this.#use.distrust(replica, 'it sent a head that nobody asked for');
      return;
    }
    const { certifiedHead, consistentWith } = answer;
    const { from, about } = ask;
    if (consistentWith !== 0 && consistentWith !== from?.head.logSize) {
      this.#use.distrust(replica, `it proved a head to go on from ${consistentWith} requests, which nobody named`);
      return;
    }
    if (certifiedHead === undefined) {
      if (about?.end === 'ours') this.#askedOnce(about.stray, replica);
      return;
    }
    if (!this.#heads.isSigned(certifiedHead)) {
      this.#use.convict(replica);
      return;
    }
    const tie = consistentWith === 0 ? tieWithout([from], { ...answer, certifiedHead }) : this.#tie(from, answer);
    if (about === undefined) this.#arrive(replica, { certifiedHead, from, tie, waiter: undefined });
    else {
      const chain = this.#chainOf(replica);
      chain.last = certifiedHead;
      this.#learn(about, { replica, certifiedHead, from, tie });
    }
  }

  /** There is another replica to ask. */
  up(): void {
    for (const stray of this.#strays) if (stray.askedAt === undefined) stray.nextAtMs = this.#use.now();
  }

  /** The link has ended. */
  down(replica: number): void {
    this.#chains.delete(replica);
    for (const stray of this.#strays) {
      if (stray.askedAt !== replica) continue;
      stray.askedAt = undefined;
      stray.nextAtMs = this.#use.now();
    }
  }

  /** Asks about stray heads again, and others, when it is time. */
  tick(nowMs: number): void {
    for (const stray of [...this.#strays]) {
      if (nowMs < stray.nextAtMs) continue;
      if (stray.asked >= asksMax) this.#forget(stray);
      else this.#askAbout(stray, nowMs);
    }
  }

  #chainOf(replica: number): Chain {
    const chain = this.#chains.get(replica) ?? { last: undefined, named: [], asks: [] };
    this.#chains.set(replica, chain);
    return chain;
  }

  /** Will the next head on this link go on from this one? */
  #isAt({ last, asks }: Chain, head: CertifiedHead): boolean {
    const from = asks.length === 0 ? last : asks[asks.length - 1]!.from;
    return from !== undefined && isSameHead(from, head);
  }

  #ask(replica: number, chain: Chain, from: CertifiedHead, about: Ask['about']): boolean {
    const logSize = from.head.logSize;
    if (!this.#use.send(replica, encodeClientToReplica({ kind: 'ask-head', logSize }))) return false;
    chain.asks.push({ from, about });
    return true;
  }

  #tie(from: CertifiedHead | undefined, { certifiedHead, consistencyPath }: Answer): Tie {
    if (from === undefined || certifiedHead === undefined) return 'none';
    const isContinued = this.#heads.serviceKey.isContinued(from.head, certifiedHead.head, consistencyPath);
    return isContinued ? 'proven' : 'failed';
  }

  #arrive(
    replica: number,
    arrival: {
      readonly certifiedHead: CertifiedHead;
      readonly from: CertifiedHead | undefined;
      readonly tie: Tie;
      readonly waiter: HeadWaiter | undefined;
    },
  ): void {
    const { certifiedHead, from, tie, waiter } = arrival;
    const chain = this.#chainOf(replica);
    chain.last = certifiedHead;
    chain.named = [];
    const { newest } = this.#heads;
    const contradicted = this.#heads.contradicted(certifiedHead);
    if (contradicted !== undefined) {
      const error = this.#heads.alarm(contradicted, certifiedHead);
      waiter?.onInconsistent(error);
      return;
    }
    const isNext = newest === undefined || (tie === 'proven' && from !== undefined && isSameHead(from, newest));
    if (isNext) this.#heads.advance(certifiedHead);
    if (isNext || this.#heads.isKnown(certifiedHead)) {
      waiter?.onProven();
      // Both ends are of our log, and the proof is not one.
      if (tie === 'failed' && from !== undefined && this.#heads.isKnown(from)) this.#use.convict(replica);
      this.#reconsider();
      return;
    }
    this.#noteStray(replica, certifiedHead, tie, waiter);
  }

  #noteStray(replica: number, head: CertifiedHead, tie: Tie, waiter: HeadWaiter | undefined): void {
    let stray = this.#strays.find((other) => isSameHead(other.head, head));
    if (stray === undefined) {
      const fresh = { failedAt: emptySet, gapAt: emptySet, askedAt: undefined, asked: 0, nextAtMs: 0 };
      stray = { head, reached: head, waiters: [], ...fresh };
      this.#strays.push(stray);
      if (this.#strays.length > limits.clientHeadsUnprovenMax) this.#strays.shift();
    }
    if (waiter !== undefined) stray.waiters.push(waiter);
    noteTie(stray, replica, tie);
    this.#reconsider();
    if (this.#strays.includes(stray) && stray.askedAt === undefined) this.#askAbout(stray, this.#use.now(), replica);
  }

  /** Asks one replica for a head that both the stray one and ours are the beginning of: `first` when it has not failed. */
  #askAbout(stray: Stray, nowMs: number, first?: number): void {
    const { newest } = this.#heads;
    if (newest === undefined) return;
    stray.nextAtMs = nowMs + Math.min(askAgainMsMax, askAgainMs * 2 ** Math.min(stray.asked, 10));
    const candidates: number[] = [];
    for (let replica = 0; replica < this.#rule.n; replica++) {
      if (containsReplica(this.#use.up(), replica) && !hasFailed(stray, replica)) candidates.push(replica);
    }
    const isFirst = first !== undefined && candidates.includes(first);
    const replica = isFirst ? first : candidates[stray.asked % Math.max(1, candidates.length)];
    if (candidates.length < 2 || stray.asked > candidates.length) this.#use.widen();
    if (replica === undefined) return;
    const chain = this.#chainOf(replica);
    stray.asked += 1;
    // Back to back, so that one head answers both.
    const isAsked = this.#ask(replica, chain, stray.reached, { stray, end: 'stray' });
    if (isAsked && this.#ask(replica, chain, newest, { stray, end: 'ours' })) stray.askedAt = replica;
  }

  /** One of the two answers about a stray head. */
  #learn(
    { stray, end }: NonNullable<Ask['about']>,
    answer: {
      readonly replica: number;
      readonly certifiedHead: CertifiedHead;
      readonly from: CertifiedHead | undefined;
      readonly tie: Tie;
    },
  ): void {
    const { replica, certifiedHead, from, tie } = answer;
    noteTie(stray, replica, tie);
    const { newest } = this.#heads;
    const isOurs = from !== undefined && newest !== undefined && isSameHead(from, newest);
    if (tie === 'proven' && end === 'ours' && isOurs) this.#heads.advance(certifiedHead);
    if (tie === 'proven' && end === 'stray') stray.reached = certifiedHead;
    if (end === 'stray') return;
    this.#reconsider();
    this.#askedOnce(stray, replica);
  }

  /** An attempt to tie a stray head has ended; who failed is not asked again. */
  #askedOnce(stray: Stray, replica: number): void {
    if (stray.askedAt === replica) stray.askedAt = undefined;
    const isOpen = this.#strays.includes(stray) && stray.askedAt === undefined;
    if (isOpen && hasFailed(stray, replica)) this.#askAbout(stray, this.#use.now());
  }

  /** Settles the stray heads about which enough is known now. */
  #reconsider(): void {
    for (const stray of [...this.#strays]) {
      const { newest } = this.#heads;
      if (newest === undefined) return;
      // Settling one may have settled others.
      if (!this.#strays.includes(stray)) continue;
      if (this.#heads.isKnown(stray.reached)) {
        this.#forget(stray);
        this.#heads.accept(stray.head);
        for (const { onProven } of stray.waiters) onProven();
        this.#convictAll(stray.failedAt);
        continue;
      }
      const contrary = [stray.head, stray.reached].find((head) => this.#heads.contradicted(head) !== undefined);
      if (contrary === undefined && !this.#rule.hasCorrect(stray.failedAt)) {
        if (this.#rule.hasCorrect(stray.gapAt)) this.#settleGap(stray, newest);
        continue;
      }
      this.#forget(stray);
      const second = contrary ?? stray.head;
      const error = this.#heads.alarm(this.#heads.contradicted(second) ?? newest, second);
      for (const { onInconsistent } of stray.waiters) onInconsistent(error);
    }
  }

  /** Nobody is asked further whether the two are of one log: replicas, one of them correct, cannot say any more. */
  #settleGap(stray: Stray, newest: CertifiedHead): void {
    this.#forget(stray);
    const isAhead = stray.head.head.logSize > newest.head.logSize;
    if (isAhead && this.#heads.mayLeap) {
      this.#heads.leap(stray.head);
      for (const { onProven } of stray.waiters) onProven();
      return;
    }
    const error = this.#heads.gap(stray.head);
    for (const { onInconsistent } of stray.waiters) onInconsistent(error);
  }

  #forget(stray: Stray): void {
    const at = this.#strays.indexOf(stray);
    if (at !== -1) this.#strays.splice(at, 1);
  }

  #convictAll(replicas: ReplicaSet): void {
    let rest = replicas;
    for (let replica = 0; rest !== emptySet; replica++) {
      if (containsReplica(rest, replica)) this.#use.convict(replica);
      rest = withoutReplica(rest, replica);
    }
  }
}

/** There was no proof: what should there have been? */
function tieWithout(bases: readonly (CertifiedHead | undefined)[], { certifiedHead, notRetained }: HeadAnswer): Tie {
  if (bases.length === 0 || bases.some((base) => base === undefined)) return 'none';
  if (bases.some((base) => base!.head.logSize > certifiedHead.head.logSize)) return 'behind';
  return notRetained === true ? 'gap' : 'failed';
}

function noteTie(stray: Stray, replica: number, tie: Tie): void {
  if (tie === 'failed') stray.failedAt = withReplica(stray.failedAt, replica);
  if (tie === 'gap') stray.gapAt = withReplica(stray.gapAt, replica);
}

function hasFailed({ failedAt, gapAt }: Stray, replica: number): boolean {
  return containsReplica(failedAt, replica) || containsReplica(gapAt, replica);
}
