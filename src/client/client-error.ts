/**
 * Client error: the one kind of error that a client's calls end with.
 *
 * `code` says what happened, `outcome` what is known about the operation, `hint` what to do. No error carries a key, an
 * input or a result.
 */
import type { Failure } from '../wire/outcome.ts';
import type { Proof } from './call.ts';
import type { InconsistentHeads } from './certified-heads.ts';

export type CoterieErrorCode =
  /** The operation was refused by the service, or by the execution; it changed nothing. See `rejection`. */
  | 'rejected'
  /** The deadline passed although enough replicas were connected. */
  | 'timeout'
  /** Too few replicas can be reached to believe an answer. */
  | 'unavailable'
  /** The caller's signal. */
  | 'aborted'
  /** The client was closed. */
  | 'closed'
  /** The input is not a value, or too large; or an option makes no sense. */
  | 'invalid-input'
  /** Too many calls wait in this client already. */
  | 'overloaded'
  /** Replicas, at least one of them correct, did not take the request. */
  | 'refused'
  /** The replicas have forgotten this client's session, and with it whether the operation was executed. */
  | 'session-expired'
  /** The operation may have been executed, but its result had to be forgotten. */
  | 'result-lost'
  /** Enough replicas agreed on something that is not a result. */
  | 'invalid-result'
  /** The genesis cannot be read, or belongs to another service than the one asked for. */
  | 'invalid-genesis'
  /** No membership that the service signed could be had. */
  | 'invalid-membership'
  /** A certified call without the service key. */
  | 'no-service-key'
  /** Replicas, at least one of them correct, cannot give certified replies at the moment. */
  | 'not-certifying'
  /** The service signed two heads that are not of one log. See `evidence`. */
  | 'inconsistent-head'
  /** Nobody can show any more that the log goes on from the last head that was kept: it was too long ago. */
  | 'history-gap'
  /** A certified read found nothing as new as was asked for. */
  | 'too-old'
  /** The service shows its state through its operations only. */
  | 'not-public';

/**
 * What is known of the operation: it never left this process, it was not executed and will not be, or nobody knows.
 * An operation that is safe to repeat can be called again in each case.
 */
export type KnownOutcome = 'not-sent' | 'not-executed' | 'unknown';

export class CoterieError extends Error {
  override readonly name = 'CoterieError';
  readonly code: CoterieErrorCode;
  /** What to do about it. */
  readonly hint: string;
  readonly outcome: KnownOutcome;
  /** With `rejected`: the code and the message of the service or of the execution (`wire/outcome.ts`). */
  readonly rejection: { readonly code: string; readonly message: string } | undefined;
  /** With `rejected`, of a certified call: that the operation was refused is certified too. */
  readonly proof: Proof | undefined;
  /** With `inconsistent-head`: two certified heads, to show to others. */
  readonly evidence: InconsistentHeads | undefined;

  constructor(
    code: CoterieErrorCode,
    sentence: string,
    options: {
      readonly outcome: KnownOutcome;
      readonly cause?: unknown;
      /** Fits better than the one that goes with the code. */
      readonly hint?: string;
      readonly rejection?: { readonly code: string; readonly message: string };
      readonly proof?: Proof | undefined;
      readonly evidence?: InconsistentHeads;
    },
  ) {
    super(sentence, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? hints[code];
    this.outcome = options.outcome;
    this.rejection = options.rejection;
    this.proof = options.proof;
    this.evidence = options.evidence;
  }
}

const hints: Readonly<Record<CoterieErrorCode, string>> = {
  rejected: 'Nothing was changed; see `rejection.code` for the reason.',
  timeout: 'The cluster is slow or has lost too many replicas; check its status, then ask again or allow more time.',
  unavailable: 'Start the replicas, or check the network and the addresses in the genesis.',
  aborted: 'The caller gave up; if the outcome matters, ask the service.',
  closed: 'Connect again; if the outcome matters, ask the service.',
  'invalid-input': 'Pass null, booleans, finite numbers, text, bytes, lists and plain records within the size limits.',
  overloaded: 'Wait for calls to finish before making more.',
  refused: 'Check that client and replicas run versions that fit each other.',
  'session-expired': 'If the operation is safe to repeat, call it again: a new session is used.',
  'result-lost': 'Ask the service what is the case; if the operation is safe to repeat, call it again.',
  'invalid-result': 'Check that client and replicas run versions that fit each other; do not trust the result.',
  'invalid-genesis': 'Use the genesis of the cluster as its operator gave it to you.',
  'invalid-membership': 'Check the service key, and that the addresses are those of the HTTP ports of its replicas.',
  'no-service-key': 'Connect with the service key, as the operator published it.',
  'not-certifying': 'A new cluster generates its service key first; check its status, then ask again.',
  'inconsistent-head': 'Keep the evidence, show it to the operators and to others, and trust no answer meanwhile.',
  'history-gap':
    'Find a replica that retains more of the log; or connect with `historyGap: "accept"` to go on from the newer head without proof.',
  'too-old': 'Allow an older one, or make a certified call first: a service where nothing happens makes no new heads.',
  'not-public': 'Call an operation of the service that reads it.',
};

/** The error of an operation whose outcome is a failure. */
export function rejected(operation: string, { code, message }: Failure, proof?: Proof): CoterieError {
  return new CoterieError('rejected', `${operation} was rejected: ${code}: ${message}`, {
    outcome: 'not-executed',
    rejection: { code, message },
    proof,
  });
}
