/**
 * Accepted results: reads what replicas agreed on, and keeps the last few results to notice who says otherwise.
 *
 * In: results that were accepted, replies that came later. Out: outcomes; whether a reply is a lie. Bounded by `limits`.
 */
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import { decodeOutcomes, type Outcome } from '../wire/outcome.ts';
import { sameBytes } from './reply-tally.ts';

export interface Reported {
  readonly number: number;
  readonly requestDigest: Digest;
  readonly commitIndex: number;
  readonly result: Uint8Array;
}

export type ReadResult =
  | { readonly kind: 'outcomes'; readonly outcomes: readonly Outcome[] }
  /** The request as a whole was not executed. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'not-a-result'; readonly reason: string };

/** Codes that speak of the request, not of an operation. No service can fail with them (`wire/outcome.ts`). */
const requestCodes: readonly string[] = [
  'session-expired',
  'window',
  'already-acknowledged',
  'result-forgotten',
  'number-reused',
];

/** What the result of a request with so many operations says. */
export function readResult(result: Uint8Array, operations: number): ReadResult {
  const decoded = decodeOutcomes(result);
  if (!decoded.ok) return { kind: 'not-a-result', reason: decoded.reason };
  const outcomes = decoded.value;
  if (outcomes.length !== operations) {
    return { kind: 'not-a-result', reason: `${outcomes.length} outcomes of ${operations} operations` };
  }
  const first = outcomes[0];
  if (first !== undefined && !first.ok && requestCodes.includes(first.code)) return { kind: 'refused', ...first };
  return { kind: 'outcomes', outcomes };
}

export class AcceptedResults {
  /** By request number, oldest first. */
  readonly #kept = new Map<number, Reported>();

  add(accepted: Reported): void {
    if (accepted.result.length > limits.clientResultKeptSizeBytesMax) return;
    this.#kept.set(accepted.number, accepted);
    for (const number of this.#kept.keys()) {
      if (this.#kept.size <= limits.clientResultsKeptMax) break;
      this.#kept.delete(number);
    }
  }

  /** Does this reply contradict the result that was accepted? False when that is not kept any more. */
  contradicts(reply: Reported): boolean {
    const accepted = this.#kept.get(reply.number);
    return accepted !== undefined && contradict(accepted, reply);
  }
}

/**
 * A request is executed once, with one result; but a copy that is ordered later may be refused, and a correct replica
 * reports both. So only two different executions contradict each other.
 */
export function contradict(accepted: Reported, reply: Reported): boolean {
  if (accepted.requestDigest !== reply.requestDigest) return true;
  if (accepted.commitIndex === reply.commitIndex && sameBytes(accepted.result, reply.result)) return false;
  return !isRefusal(accepted.result) && !isRefusal(reply.result);
}

function isRefusal(result: Uint8Array): boolean {
  const decoded = decodeOutcomes(result);
  const first = decoded.ok ? decoded.value[0] : undefined;
  return first !== undefined && !first.ok && requestCodes.includes(first.code);
}
