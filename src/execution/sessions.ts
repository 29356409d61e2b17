/**
 * Sessions: which requests were executed already, and what came out, so that each is executed at most once however
 * often it is ordered (docs/protocol/sessions.md, normative; the rule numbers below are of its section 3).
 *
 * In: the requests of the commits in their order. Out: execute it, or answer with this result; for a checkpoint, what
 * has changed (`session-entries.ts`). Owns the table of sessions. Everything here, forgetting included, is a function of the
 * ordered requests and their results alone, so all replicas remember and forget alike.
 * What changed since a checkpoint is found by age: it is what was used, or executed, last. Only what was forgotten, and a floor
 * that rose for want of room, are written down; so a request costs nothing for it.
 * Safety: no (session, number) is ever executed twice, whatever was forgotten meanwhile. Bounded by `limits`.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import { limits } from '../wire/limits.ts';
import type { SystemCode } from '../wire/outcome.ts';
import type { Request } from '../wire/request.ts';
import { type Aged, AgeList } from './age-list.ts';
import { type Packed, pack, unpack } from './packed.ts';
import { encodeResult, encodeSession, type RestoredSessions, resultKey, sessionKey } from './session-entries.ts';

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
  /** How many requests had been admitted with its last one. */
  lastUse: number;
  /** A checkpoint has it, though maybe not as it is. */
  isSaved: boolean;
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
  /** Requests admitted to a session so far. */
  #admissions = 0;

  // What the last checkpoint has.
  /** Sessions with requests since then. */
  #changed = 0;
  #savedAdmissions = 0;
  /** It has those results that were executed before this place in the log, and not forgotten. */
  #savedLeaves = 0;
  /** Sessions that it has with another floor, though none of their requests was admitted since. */
  readonly #raised = new Set<Session>();
  /** Keys that it has too many. */
  #gone: string[] = [];

  constructor({
    bounds = limits,
    from,
  }: { readonly bounds?: SessionBounds; readonly from?: RestoredSessions | undefined } = {}) {
    this.#bounds = bounds;
    if (from !== undefined) this.#restore(from);
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

  /** Sessions with requests since the last `changes`, forgotten ones included. The same wherever the same was ordered. */
  get changedSessions(): number {
    return this.#changed;
  }

  /** What a checkpoint says of all sessions together. */
  get counters(): Checkpoint['sessions'] {
    return { expiredBirths: this.#expiredFloor + 1, admissions: this.#admissions };
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
    this.#use(session);

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
      if (oldest.session.lastUse <= this.#savedAdmissions) this.#raised.add(oldest.session);
    }
  }

  /** System entries that have changed since the last time it was asked, or since the restored checkpoint; undefined: gone. */
  changes(): Map<string, Uint8Array | undefined> {
    const changes = new Map<string, Uint8Array | undefined>(this.#gone.map((key) => [key, undefined]));
    const note = (session: Session): void => {
      changes.set(sessionKey(session.key), encodeSession(session));
      session.isSaved = true;
    };
    for (const session of this.#raised) note(session);
    for (
      let used = this.#byUse.youngest;
      used !== undefined && used.lastUse > this.#savedAdmissions;
      used = used.older
    ) {
      note(used);
    }
    const { youngest } = this.#byExecution;
    for (let kept = youngest; kept !== undefined && kept.leafIndex >= this.#savedLeaves; kept = kept.older) {
      const { session, number, requestDigest, commitIndex, result } = kept;
      const encoded = encodeResult({
        session: session.key,
        number,
        requestDigest,
        commitIndex,
        result: unpack(result),
      });
      changes.set(resultKey(kept.leafIndex), encoded);
    }
    this.#gone = [];
    this.#raised.clear();
    this.#savedAdmissions = this.#admissions;
    this.#changed = 0;
    if (youngest !== undefined) this.#savedLeaves = Math.max(this.#savedLeaves, youngest.leafIndex + 1);
    return changes;
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
    const ages = { lastUse: 0, isSaved: false, older: undefined, younger: undefined };
    const session = { key, birth, acknowledged, floor: acknowledged, results, ...ages };
    this.#sessions.set(key, session);
    this.#use(session);
    return { kind: 'execute', session };
  }

  /** Makes a session that is in no list the youngest. */
  #use(session: Session): void {
    if (session.lastUse <= this.#savedAdmissions) this.#changed += 1;
    this.#admissions += 1;
    session.lastUse = this.#admissions;
    this.#byUse.add(session);
  }

  #forget(session: Session): void {
    this.#sessions.delete(session.key);
    this.#byUse.remove(session);
    this.#expiredFloor = Math.max(this.#expiredFloor, session.birth);
    for (const kept of session.results.values()) this.#drop(kept);
    session.results.clear();
    this.#raised.delete(session);
    if (session.isSaved) this.#gone.push(sessionKey(session.key));
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
    if (kept.leafIndex < this.#savedLeaves) this.#gone.push(resultKey(kept.leafIndex));
  }

  #restore({ counters, sessions, results }: RestoredSessions): void {
    this.#expiredFloor = counters.expiredBirths - 1;
    this.#admissions = counters.admissions;
    this.#savedAdmissions = counters.admissions;
    for (const session of sessions) {
      const kept = { ...session, isSaved: true, results: new Map(), older: undefined, younger: undefined };
      this.#sessions.set(session.key, kept);
      this.#byUse.add(kept);
    }
    for (const { session: key, result, ...rest } of results) {
      const session = this.#sessions.get(key) as Session;
      const kept = { ...rest, result: pack(result), session, older: undefined, younger: undefined };
      session.results.set(rest.number, kept);
      this.#byExecution.add(kept);
      this.#keptSizeBytes += this.#costOf(kept);
      this.#savedLeaves = rest.leafIndex + 1;
    }
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
