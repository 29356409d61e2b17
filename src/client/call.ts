/**
 * Call: one operation that a caller waits for, and the calls that wait for their turn.
 *
 * Owns nothing but the caller's promise; each call is settled exactly once. There is no timer for a call: deadlines are
 * looked at by the clock of whoever holds it.
 */
import type { CertifiedReplyDocument } from '../verify/document.ts';
import { limits } from '../wire/limits.ts';
import type { Value } from '../wire/value.ts';

/** A request's fields besides its operations, signature included (`wire/request.ts`). */
const requestOverheadSizeBytes = 139;

/** What a certified call has besides its value. */
export interface Proof {
  readonly document: CertifiedReplyDocument;
  /** Which of the operations of the document is this call's. */
  readonly operationIndex: number;
}

export interface CallRequest {
  readonly operation: string;
  readonly input: Uint8Array;
  /** It is settled with a proof only, and shares no request with calls that are not. */
  readonly certified: boolean;
  readonly deadlineAtMs: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (value: Value, proof: Proof | undefined) => void;
  readonly reject: (error: unknown) => void;
  /** The signal was aborted before the call was settled. */
  readonly onAbort: (call: Call) => void;
}

export class Call {
  readonly operation: string;
  readonly input: Uint8Array;
  readonly certified: boolean;
  readonly deadlineAtMs: number;
  /** Its bytes have been given to a link. */
  sent = false;
  /** It must not share a request: its caller wants that, or together with others its result was too large. */
  alone = false;
  /** Told when the call is given up, so that its request can be. */
  onSettled: (() => void) | undefined;
  #waiting: CallRequest | undefined;
  #abort: (() => void) | undefined;

  constructor(request: CallRequest) {
    this.operation = request.operation;
    this.input = request.input;
    this.certified = request.certified;
    this.deadlineAtMs = request.deadlineAtMs;
    this.#waiting = request;
    if (request.signal !== undefined) {
      this.#abort = () => request.onAbort(this);
      request.signal.addEventListener('abort', this.#abort, { once: true });
    }
  }

  get settled(): boolean {
    return this.#waiting === undefined;
  }

  /** Bytes it takes in a request. */
  get sizeBytes(): number {
    return 5 + this.operation.length + this.input.length;
  }

  resolve(value: Value, proof: Proof | undefined): void {
    this.#settle()?.resolve(value, proof);
  }

  reject(error: unknown): void {
    this.#settle()?.reject(error);
  }

  #settle(): CallRequest | undefined {
    const waiting = this.#waiting;
    if (waiting === undefined) return undefined;
    this.#waiting = undefined;
    if (this.#abort !== undefined) waiting.signal?.removeEventListener('abort', this.#abort);
    this.onSettled?.();
    return waiting;
  }
}

/** Does a call with an input of this size fit a request of its own? */
export function fitsRequest(operation: string, input: Uint8Array): boolean {
  return requestOverheadSizeBytes + 5 + operation.length + input.length <= limits.requestSizeBytesMax;
}

/** Calls that wait for a request to carry them, first come first served. Bounded by `limits`. */
export class CallQueue {
  #calls: Call[] = [];
  #head = 0;
  #sizeBytes = 0;
  #earliestDeadlineMs = Number.POSITIVE_INFINITY;

  get length(): number {
    return this.#calls.length - this.#head;
  }

  /** False when as many wait as may. */
  push(call: Call): boolean {
    const { clientCallsWaitingMax, clientCallsWaitingSizeBytesMax } = limits;
    if (this.length >= clientCallsWaitingMax) return false;
    if (this.length > 0 && this.#sizeBytes + call.sizeBytes > clientCallsWaitingSizeBytesMax) return false;
    this.#calls.push(call);
    this.#sizeBytes += call.sizeBytes;
    if (call.deadlineAtMs < this.#earliestDeadlineMs) this.#earliestDeadlineMs = call.deadlineAtMs;
    return true;
  }

  /** Takes the calls of the next request; none when nobody waits. */
  take(operationsMax: number): Call[] {
    const taken: Call[] = [];
    let leftBytes = limits.requestSizeBytesMax - requestOverheadSizeBytes;
    while (this.#head < this.#calls.length && taken.length < operationsMax) {
      const call = this.#calls[this.#head]!;
      if (!call.settled) {
        if (taken.length > 0 && (call.alone || call.sizeBytes > leftBytes)) break;
        taken.push(call);
        leftBytes -= call.sizeBytes;
      }
      this.#head += 1;
      this.#sizeBytes -= call.sizeBytes;
      if (call.alone && !call.settled) break;
    }
    this.#compact();
    return taken;
  }

  /** Gives every call whose deadline has passed to `onExpired`, which settles it. */
  expire(nowMs: number, onExpired: (call: Call) => void): void {
    if (nowMs < this.#earliestDeadlineMs) return;
    const kept: Call[] = [];
    for (let i = this.#head; i < this.#calls.length; i++) {
      const call = this.#calls[i]!;
      if (!call.settled && call.deadlineAtMs <= nowMs) onExpired(call);
      if (!call.settled) kept.push(call);
    }
    this.#replace(kept);
  }

  /** Takes all. */
  clear(): Call[] {
    const rest = this.#calls.slice(this.#head).filter((call) => !call.settled);
    this.#replace([]);
    return rest;
  }

  #replace(calls: Call[]): void {
    this.#calls = calls;
    this.#head = 0;
    this.#sizeBytes = 0;
    this.#earliestDeadlineMs = Number.POSITIVE_INFINITY;
    for (const call of calls) {
      this.#sizeBytes += call.sizeBytes;
      if (call.deadlineAtMs < this.#earliestDeadlineMs) this.#earliestDeadlineMs = call.deadlineAtMs;
    }
  }

  #compact(): void {
    if (this.#head === this.#calls.length) this.#replace([]);
    else if (this.#head > 4096) {
      this.#calls = this.#calls.slice(this.#head);
      this.#head = 0;
    }
  }
}
