/**
 * Refusal: why a document is not proven. The code names the part that is wrong; the sentence says what is wrong with it.
 *
 * Inside this folder a check that fails throws a `Refusal`; `judged` turns it into a verdict, so that no entry throws.
 */

/** The part of a document, or of what it was compared with, that is wrong. */
export type ReasonCode =
  /** Not JSON, too large, of another kind or version, a field missing or too many. */
  | 'document'
  /** What was given as the service key is none. */
  | 'service-key'
  /** The request has no canonical form, or its client did not sign it for this service. */
  | 'request'
  /** The result has no canonical form, or another number of outcomes than the request has operations. */
  | 'result'
  /** The log of the head does not hold this request with this result at this place. */
  | 'inclusion'
  /** The state of the head does not have this under the key, or the key, value or proof has no canonical form. */
  | 'state'
  /** A field of the head has no canonical form. */
  | 'head'
  /** The service did not sign this. */
  | 'signature'
  /** The membership statement has no canonical form. */
  | 'membership'
  /** One head does not go on from the other: the log was rewritten or forked, or the proof is not for these two. */
  | 'consistency';

export interface Reason {
  readonly code: ReasonCode;
  /** For people. Holds nothing of the document but names of our own. */
  readonly sentence: string;
}

export interface Refused {
  readonly ok: false;
  readonly reason: Reason;
}

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: ReasonCode;

  constructor(code: ReasonCode, sentence: string) {
    super(sentence);
    this.code = code;
  }
}

/** Throws a refusal unless the condition holds. */
export function demand(condition: boolean, code: ReasonCode, sentence: string): asserts condition {
  if (!condition) throw new Refusal(code, sentence);
}

/** Runs a check; a refusal becomes its answer. */
export function judged<Verdict extends { readonly ok: true }>(check: () => Verdict): Verdict | Refused {
  try {
    return check();
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: { code: error.code, sentence: error.message } };
    throw error;
  }
}
