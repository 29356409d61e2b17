/**
 * Sessions: which requests were executed already, and what came out, so that each is executed at most once however
 * often it is ordered (docs/protocol/sessions.md, normative; the rule numbers below are of its section 3).
 *
 * In: the requests of the commits in their order. Out: execute it, or answer with this result. Owns the table of
 * sessions. Everything here, forgetting included, is a function of the ordered requests and their results alone, so all
 * replicas remember and forget alike.
 * Safety: no (session, number) is ever executed twice, whatever was forgotten meanwhile. Bounded by `limits`.
 */
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import type { SystemCode } from '../wire/outcome.ts';
import type { Request } from '../wire/request.ts';
import { type Aged, AgeList } from './age-list.ts';
import { type Packed, pack, unpack } from './packed.ts';

/** A session by its three parts, in a form to compare and to send. */
export interface SessionName {
  /** Public key as hex. */
  readonly client: string;
  /** Nonce as hex. */
  readonly nonce: string;
  readonly key: string;
}

/** What is kept of an executed request until the client has it. */
export interface RememberedResult {
  readonly requestDigest: Digest;
  readonly commitIndex: number;
  /** Place of the execution in the log, from 0. */
  readonly leafIndex: number;
  readonly result: Uint8Array;
}

export type Admission =
  /** Execute it, then `remember` what came out. */
  | { readonly kind: 'execute'; readonly session: Session }
  /** It was executed; answer with the very same. */
  | { readonly kind: 'duplicate'; readonly remembered: RememberedResult }
  | { readonly kind: 'refused'; readonly code: SystemCode; readonly message: string };

export interface SessionBounds {
  readonly sessionsMax: number;
  readonly sessionWindowRequests: number;
  readonly sessionResultsSizeBytesMax: number;
  readonly sessionResultOverheadSizeBytes: number;
}

interface KeptResult extends Aged<KeptResult> {
  readonly requestDigest: Digest;
  readonly commitIndex: number;
  readonly leafIndex: number;
  readonly result: Packed;
  readonly session: Session;
  readonly number: number;
}

interface Session extends Aged<Session> {
  readonly key: string;
  readonly birth: number;
  /** The client has the results up to here. */
  acknowledged: number;
  /** Results up to here are gone, acknowledged or not; never falls. No number up to here is ever executed again. */
  floor: number;
  readonly results: Map<number, KeptResult>;
}

const refuse = (code: SystemCode, message: string): Admission => ({ kind: 'refused', code, message });

export function sessionNameOf(request: Request): SessionName {
  const client = hex(request.client);
  const nonce = hex(request.session.nonce);
  return { client, nonce, key: `${client}${nonce}${request.session.birth}` };
}

export class Sessions {
  readonly #bounds: SessionBounds;
  readonly #sessions = new Map<string, Session>();
  /** All sessions, by their last use. */
  readonly #byUse = new AgeList<Session>();
  /** All results kept, by their execution. */
  readonly #byExecution = new AgeList<KeptResult>();
  #keptSizeBytes = 0;
  /** The largest birth of any session ever forgotten: no session born then or before is ever made again. */
  #expiredFloor = -1;

  constructor(bounds: SessionBounds = limits) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get keptSizeBytes(): number {
    return this.#keptSizeBytes;
  }

  get expiredFloor(): number {
    return this.#expiredFloor;
  }

  /** Decides about a request that is ordered in the commit of this index. */
  admit(name: SessionName, request: Request, commitIndex: number): Admission {
    const { number, acknowledged } = request;
    // Rule 1. Judged by the request alone, so that the verdict is final and costs no memory.
    if (number > acknowledged + this.#bounds.sessionWindowRequests) {
      const window = this.#bounds.sessionWindowRequests;
      return refuse('window', `request ${number} acknowledges ${acknowledged}; at most ${window} may lie between`);
    }
    const session = this.#sessions.get(name.key);
    if (session === undefined) return this.#begin(name, request, commitIndex);
    this.#byUse.remove(session);
    this.#byUse.add(session);

    // Rule 4.
    if (acknowledged > session.acknowledged) {
      session.acknowledged = acknowledged;
      this.#raiseFloor(session, acknowledged);
    }
    // Rule 5.
    if (number <= session.floor) {
      if (number <= session.acknowledged) {
        return refuse('already-acknowledged', `the client has acknowledged the requests up to ${session.acknowledged}`);
      }
      return refuse('result-forgotten', `what became of the requests up to ${session.floor} had to be forgotten`);
    }
    const kept = session.results.get(number);
    if (kept === undefined) return { kind: 'execute', session };
    // Rule 6.
    if (kept.requestDigest === request.digest) return { kind: 'duplicate', remembered: unpackResult(kept) };
    return refuse('number-reused', `another request of this session was executed as number ${number}`);
  }

  /** Keeps the result of a request that `admit` let through, until it is acknowledged or has to make room. */
  remember(session: Session, number: number, remembered: RememberedResult): void {
    const result = pack(remembered.result);
    const kept = { ...remembered, result, session, number, older: undefined, younger: undefined };
    session.results.set(number, kept);
    this.#byExecution.add(kept);
    this.#keptSizeBytes += this.#costOf(kept);
    // Rule 8.
    while (this.#keptSizeBytes > this.#bounds.sessionResultsSizeBytesMax) {
      const oldest = this.#byExecution.oldest as KeptResult;
      this.#raiseFloor(oldest.session, oldest.number);
    }
  }

  /** The remembered result of exactly this request. Looks, and changes nothing: replicas are asked at different times. */
  find(name: SessionName, request: Request): RememberedResult | undefined {
    const kept = this.#sessions.get(name.key)?.results.get(request.number);
    return kept?.requestDigest === request.digest ? unpackResult(kept) : undefined;
  }

  /** Rules 2, 3 and 7: a request of a session that is not in the table. */
  #begin(name: SessionName, request: Request, commitIndex: number): Admission {
    const { birth } = request.session;
    if (birth >= commitIndex) {
      return refuse('session-expired', `the session claims birth ${birth}, which lies in the future; begin another`);
    }
    if (birth <= this.#expiredFloor) {
      return refuse('session-expired', 'the session is not remembered any more, if it ever was; begin another');
    }
    while (this.#sessions.size >= this.#bounds.sessionsMax) this.#forget(this.#byUse.oldest as Session);
    const { key } = name;
    const { acknowledged } = request;
    const results = new Map<number, KeptResult>();
    const session = { key, birth, acknowledged, floor: acknowledged, results, older: undefined, younger: undefined };
    this.#sessions.set(key, session);
    this.#byUse.add(session);
    return { kind: 'execute', session };
  }

  #forget(session: Session): void {
    this.#sessions.delete(session.key);
    this.#byUse.remove(session);
    this.#expiredFloor = Math.max(this.#expiredFloor, session.birth);
    for (const kept of session.results.values()) this.#drop(kept);
    session.results.clear();
  }

  /** Forgets the results of a session up to a number, and with them the right to execute any of these numbers. */
  #raiseFloor(session: Session, floor: number): void {
    // Numbers that were executed lie within a window above the floor of their time, so this loop is short.
    const last = Math.min(floor, session.floor + this.#bounds.sessionWindowRequests);
    for (let number = session.floor + 1; number <= last && session.results.size > 0; number++) {
      const kept = session.results.get(number);
      if (kept === undefined) continue;
      session.results.delete(number);
      this.#drop(kept);
    }
    session.floor = Math.max(session.floor, floor);
  }

  #drop(kept: KeptResult): void {
    this.#byExecution.remove(kept);
    this.#keptSizeBytes -= this.#costOf(kept);
  }

  #costOf(kept: KeptResult): number {
    return kept.result.length + this.#bounds.sessionResultOverheadSizeBytes;
  }
}

function unpackResult({ requestDigest, commitIndex, leafIndex, result }: KeptResult): RememberedResult {
  return { requestDigest, commitIndex, leafIndex, result: unpack(result) };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
