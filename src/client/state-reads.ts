/**
 * State reads: asks one replica what is under a key, the next when it is slow, cannot say, or says what is too old, and
 * believes what is proven as of a head that the service signed and that is of the log of all others.
 *
 * In: reads, answers, the passing of time. Out: settled reads. Owns the reads that are open. Nothing is ordered for a read,
 * and one replica is enough for it, whoever that is.
 * Safety: a replica can withhold, and can answer as of an older head than others have, down to the newest that this client
 * has seen; it can say nothing else than the state of the head it shows. So reads of one client never go back.
 */
import { containsReplica, emptySet, type QuorumRule, withoutReplica, withReplica } from '../membership/membership.ts';
import { certifiedStateDocument } from '../verify/document.ts';
import { encodeClientToReplica, type RefusalCode, type ReplicaToClient } from '../wire/client-message.ts';
import type { CertifiedHeads } from './certified-heads.ts';
import { CoterieError, type CoterieErrorCode } from './client-error.ts';
import type { HeadChains } from './head-chains.ts';
import type { Latency } from './latency.ts';
import { forgetReplicas, type OpenRead, openRead, type ReadRequest } from './open-read.ts';
import type { ReplicaLinks } from './replica-links.ts';
import type { StateMessage } from './service-key.ts';
import type { Standings } from './standing.ts';

type StateRefused = Extract<ReplicaToClient, { readonly kind: 'state-refused' }>;

export interface ReadsUse {
  /** For waiting. */
  readonly now: () => number;
  /** Milliseconds since 1970, for ages. */
  readonly clock: () => number;
  readonly onChange: () => void;
  /** It sent what is not true. */
  readonly convict: (replica: number) => void;
  /** It sent what nobody asked for. */
  readonly distrust: (replica: number, what: string) => void;
}

/** The replicas of one epoch, and what is between them and us. */
export interface AskedReplicas {
  readonly rule: QuorumRule;
  readonly links: ReplicaLinks;
  readonly standings: Standings;
  readonly chains: HeadChains;
}

/** One question to one replica. */
interface Asked {
  readonly read: OpenRead;
  readonly replica: number;
  /** As it was put: what the caller wants, and not behind what we had seen. */
  readonly notBefore: number;
}

export class StateReads {
  #rule: QuorumRule;
  #links: ReplicaLinks;
  #standings: Standings;
  readonly #heads: CertifiedHeads;
  #chains: HeadChains;
  readonly #latency: Latency;
  readonly #use: ReadsUse;
  readonly #open = new Set<OpenRead>();
  /** Questions without an answer, by their number. */
  readonly #asked = new Map<number, Asked>();
  #number = 0;

  constructor(options: {
    readonly asked: AskedReplicas;
    readonly heads: CertifiedHeads;
    readonly latency: Latency;
    readonly use: ReadsUse;
  }) {
    const { rule, links, standings, chains } = options.asked;
    this.#rule = rule;
    this.#links = links;
    this.#standings = standings;
    this.#chains = chains;
    this.#heads = options.heads;
    this.#latency = options.latency;
    this.#use = options.use;
  }

  /** From here on these are asked, for what is open too. */
  move({ rule, links, standings, chains }: AskedReplicas): void {
    this.#rule = rule;
    this.#links = links;
    this.#standings = standings;
    this.#chains = chains;
    this.#asked.clear();
    for (const read of this.#open) {
      forgetReplicas(read);
      this.#askNext(read, this.#use.now());
    }
  }

  /** Reads without an answer. */
  get open(): number {
    return this.#open.size;
  }

  /** Returns how to give it up. */
  begin(request: ReadRequest): (error: CoterieError) => void {
    const read = openRead(request);
    this.#open.add(read);
    this.#askNext(read, this.#use.now());
    return (error) => this.#settle(read, () => read.reject(error));
  }

  /** There is another replica to ask. */
  up(replica: number): void {
    for (const read of this.#open) if (!isAsked(read, read.target)) this.#ask(read, replica);
  }

  /** The link has ended, and with it what was asked on it. */
  down(replica: number): void {
    for (const [number, asked] of this.#asked) if (asked.replica === replica) this.#asked.delete(number);
    for (const read of this.#open) {
      read.askedOf = withoutReplica(read.askedOf, replica);
      if (read.target === replica) this.#askNext(read, this.#use.now());
    }
  }

  tick(nowMs: number): void {
    for (const read of this.#open) {
      if (nowMs >= read.deadlineAtMs) this.#settle(read, () => read.reject(this.#overdue(read)));
      else if (nowMs >= read.nextCopyAtMs) {
        if (isAsked(read, read.target)) this.#standings.suspect(read.target, nowMs);
        this.#askNext(read, nowMs);
      }
    }
  }

  /** This process was held up for so long: the replicas are not to be blamed for it. */
  postpone(heldUpMs: number): void {
    for (const read of this.#open) read.nextCopyAtMs += heldUpMs;
  }

  /** Rejects what is open. */
  close(): void {
    for (const read of [...this.#open]) this.#fail(read, 'closed', 'the client is closed');
  }

  take(replica: number, message: StateMessage | StateRefused): void {
    if (message.kind === 'state') this.#takeAnswer(replica, message);
    else this.#takeRefusal(replica, message);
  }

  #takeAnswer(replica: number, message: StateMessage): void {
    const asked = this.#answered(replica, message.number);
    if (asked === undefined) return;
    const { read, notBefore } = asked;
    const isTrue = this.#heads.isSigned(message.certifiedHead) && this.#heads.serviceKey.holdsState(read.key, message);
    if (!isTrue) {
      this.#noteDisproven(read, replica);
      this.#use.convict(replica);
      return;
    }
    if (message.certifiedHead.head.commitIndex < notBefore) {
      this.#noteTooOld(read, replica);
      this.#use.distrust(replica, 'it answered as of an older head than was asked for');
      return;
    }
    this.#chains.take(replica, message, {
      onProven: () => this.#accept(read, replica, message),
      onInconsistent: (error) => this.#settle(read, () => read.reject(error)),
    });
  }

  #takeRefusal(replica: number, { number, code, reason }: StateRefused): void {
    const read = this.#answered(replica, number)?.read;
    if (read === undefined || read.settled) return;
    read.askedOf = withoutReplica(read.askedOf, replica);
    if (code === 'too-old') this.#noteTooOld(read, replica);
    else if (code === 'not-certifying') read.uncertifiedBy = withReplica(read.uncertifiedBy, replica);
    else if (code === 'not-public' || code === 'malformed') read.deniedBy = withReplica(read.deniedBy, replica);
    else this.#standings.suspect(replica, this.#use.now());
    if (this.#rule.hasCorrect(read.deniedBy)) this.#fail(read, deniedAs(code), reason);
    else if (this.#rule.hasCorrect(read.uncertifiedBy)) this.#fail(read, 'not-certifying', reason);
    else this.#askNext(read, this.#use.now());
  }

  /** What this is the answer to; undefined, and the replica is told apart, when that was never asked or nobody waits. */
  #answered(replica: number, number: number): Asked | undefined {
    const asked = this.#asked.get(number);
    if (asked === undefined ? number > this.#number : asked.replica !== replica) {
      this.#use.distrust(replica, 'it answered a question for the state that nobody asked it');
      return undefined;
    }
    this.#asked.delete(number);
    return asked;
  }

  #accept(read: OpenRead, replica: number, { value, proof, certifiedHead }: StateMessage): void {
    if (read.settled) return;
    const { head, signature } = certifiedHead;
    const { commitIndex, timestamp } = head;
    const ageMs = Math.max(0, this.#use.clock() - timestamp);
    if (ageMs > read.ageMsMax) {
      read.youngestAgeMs = Math.min(ageMs, read.youngestAgeMs ?? ageMs);
      read.askedOf = withoutReplica(read.askedOf, replica);
      this.#noteTooOld(read, replica);
      if (!read.settled) this.#askNext(read, this.#use.now());
      return;
    }
    const nowMs = this.#use.now();
    this.#latency.observe(nowMs - read.firstAskedAtMs);
    if (read.copies === 1) this.#standings.praise(replica, nowMs);
    const document = certifiedStateDocument({ key: read.key, value, proof, head, signature });
    this.#settle(read, () => read.resolve({ value, asOf: { commitIndex, timestamp }, ageMs, document }));
  }

  /** So many say so that it is no matter of the one replica. */
  #noteTooOld(read: OpenRead, replica: number): void {
    read.tooOldBy = withReplica(read.tooOldBy, replica);
    if (this.#rule.isQuorum(read.tooOldBy)) this.#settle(read, () => read.reject(this.#tooOld(read)));
  }

  /** One replica may lie. That a correct one is not proven right either says something about the key. */
  #noteDisproven(read: OpenRead, replica: number): void {
    read.disprovenBy = withReplica(read.disprovenBy, replica);
    if (!this.#rule.hasCorrect(read.disprovenBy)) return;
    this.#fail(read, 'invalid-result', 'replicas prove it, but not under the service key that was given');
  }

  /** Somebody connected who was not asked; else somebody new is dialled; else all may be asked again. */
  #askNext(read: OpenRead, nowMs: number): void {
    if (read.settled) return;
    read.nextCopyAtMs = nowMs + this.#latency.patienceMs(read.copies + 1);
    const order = this.#standings.order(nowMs);
    const hasSaid = (replica: number): boolean =>
      [read.tooOldBy, read.uncertifiedBy, read.deniedBy, read.disprovenBy].some((set) => containsReplica(set, replica));
    const isFree = (replica: number): boolean => containsReplica(this.#links.up, replica) && !isAsked(read, replica);
    const untold = order.filter((replica) => isFree(replica) && !hasSaid(replica));
    for (const replica of untold) if (this.#ask(read, replica)) return;
    const stranger = order.find((replica) => !containsReplica(this.#links.up, replica) && !hasSaid(replica));
    if (stranger !== undefined && this.#links.widen(stranger)) return;
    if (read.copies === 0) return;
    // A question may have been lost, and what was too old or not certified may be there by now; but not at once.
    if (nowMs - read.firstAskedAtMs < this.#latency.patienceMs(1)) return;
    read.askedOf = emptySet;
    const again = order.find((replica) => isFree(replica) && replica !== read.target) ?? order.find(isFree);
    if (again !== undefined) this.#ask(read, again);
  }

  #ask(read: OpenRead, replica: number): boolean {
    this.#number += 1;
    const number = this.#number;
    const { key } = read;
    const notBefore = Math.max(read.notBefore, this.#heads.newest?.head.commitIndex ?? 0);
    const logSize = this.#chains.name(replica);
    const frame = encodeClientToReplica({ kind: 'ask-state', number, key, notBefore, logSize });
    if (!this.#links.send(replica, frame)) return false;
    const nowMs = this.#use.now();
    this.#asked.set(number, { read, replica, notBefore });
    if (read.copies === 0) read.firstAskedAtMs = nowMs;
    read.copies += 1;
    read.askedOf = withReplica(read.askedOf, replica);
    read.target = replica;
    read.nextCopyAtMs = nowMs + this.#latency.patienceMs(read.copies);
    return true;
  }

  #overdue(read: OpenRead): CoterieError {
    if (read.tooOldBy !== emptySet) return this.#tooOld(read);
    const isHeard = this.#rule.hasCorrect(this.#links.up);
    return errorOf(read, isHeard ? 'timeout' : 'unavailable', 'no replica has proven it before the deadline');
  }

  #tooOld(read: OpenRead): CoterieError {
    const { youngestAgeMs } = read;
    const said = 'the replicas have nothing certified that is as new as was asked for';
    return errorOf(
      read,
      'too-old',
      youngestAgeMs === undefined ? said : `${said}; the newest is ${youngestAgeMs} ms old`,
    );
  }

  #fail(read: OpenRead, code: CoterieErrorCode, sentence: string): void {
    this.#settle(read, () => read.reject(errorOf(read, code, sentence)));
  }

  #settle(read: OpenRead, tell: () => void): void {
    if (read.settled) return;
    read.settled = true;
    this.#open.delete(read);
    tell();
    this.#use.onChange();
  }
}

function isAsked({ askedOf }: OpenRead, replica: number): boolean {
  return replica >= 0 && containsReplica(askedOf, replica);
}

function deniedAs(code: RefusalCode): CoterieErrorCode {
  return code === 'not-public' ? 'not-public' : 'refused';
}

/** Nothing is ordered for a read, so nothing was executed, whatever happened. */
function errorOf({ key }: OpenRead, code: CoterieErrorCode, sentence: string): CoterieError {
  const shown = key.length > 40 ? `${key.slice(0, 40)}…` : key;
  return new CoterieError(code, `reading ${JSON.stringify(shown)}: ${sentence}`, { outcome: 'not-executed' });
}
