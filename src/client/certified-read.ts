/**
 * Certified read: what a caller asks and gets who wants to know what is under a key of the service's state.
 *
 * In: a key and options, of unknown sense; an answer that is proven. Out: the question; the decoded answer.
 */
import type { CertifiedStateDocument } from '../verify/document.ts';
import { limits } from '../wire/limits.ts';
import { decodeValue, type Value } from '../wire/value.ts';
import { CoterieError } from './client-error.ts';
import type { ReadRequest, StateAnswer } from './open-read.ts';
import type { CallOptions } from './typed-client.ts';

export interface ReadOptions extends CallOptions {
  /**
   * The head of the answer is not older than this by our clock, in milliseconds. Where nothing happens no new heads are
   * made, so that everything there is becomes too old in time.
   */
  readonly maxAgeMs?: number | undefined;
  /** The answer is as of this commit or a later one. It is never as of an earlier one than this client has seen. */
  readonly notBefore?: number | undefined;
}

export interface CertifiedRead {
  /** Undefined when there was no such key. */
  readonly value: Value | undefined;
  /** The commit after which it was so, and its agreed time, milliseconds since 1970. */
  readonly asOf: { readonly commitIndex: number; readonly timestamp: number };
  /** Our clock less the agreed time of the head; 0 when our clock is behind. */
  readonly ageMs: number;
  /** Proves it to anybody who has the service key. */
  readonly document: CertifiedStateDocument;
}

/** Throws a `CoterieError` with `invalid-input`. */
export function readQuestion(
  stateKey: unknown,
  { maxAgeMs = Number.POSITIVE_INFINITY, notBefore = 0 }: ReadOptions,
): Pick<ReadRequest, 'key' | 'notBefore' | 'ageMsMax'> {
  if (typeof stateKey !== 'string' || !stateKey.isWellFormed()) throw invalid('a state key is well-formed text');
  if (Buffer.byteLength(stateKey) > limits.stateKeySizeBytesMax) {
    throw invalid(`a state key has at most ${limits.stateKeySizeBytesMax} bytes`);
  }
  if (typeof maxAgeMs !== 'number' || !(maxAgeMs >= 0))
    throw invalid('maxAgeMs is a number of milliseconds, 0 or more');
  if (!Number.isSafeInteger(notBefore) || notBefore < 0) throw invalid('notBefore is the index of a commit');
  return { key: stateKey, notBefore, ageMsMax: maxAgeMs };
}

/** Throws a `CoterieError` with `invalid-result` when the service has stored what is no value. */
export function certifiedReadOf({ value: encoded, ...answer }: StateAnswer): CertifiedRead {
  if (encoded === undefined) return { value: undefined, ...answer };
  const decoded = decodeValue(encoded);
  if (decoded.ok) return { value: decoded.value, ...answer };
  throw new CoterieError('invalid-result', 'the service certified what is no value', { outcome: 'unknown' });
}

function invalid(sentence: string): CoterieError {
  return new CoterieError('invalid-input', sentence, { outcome: 'not-sent' });
}
