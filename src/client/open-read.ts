/**
 * Open read: what a session keeps of a certified read without an answer.
 */
import { emptySet, type ReplicaSet } from '../membership/membership.ts';
import type { CertifiedStateDocument } from '../verify/document.ts';
import type { CoterieError } from './client-error.ts';

/** What is under a key, as of one certified head, encoded. */
export interface StateAnswer {
  /** Undefined when there is no such key. */
  readonly value: Uint8Array | undefined;
  readonly asOf: { readonly commitIndex: number; readonly timestamp: number };
  readonly ageMs: number;
  readonly document: CertifiedStateDocument;
}

export interface ReadRequest {
  readonly key: string;
  /** The answer must be as of this commit or a later one. */
  readonly notBefore: number;
  /** The head of the answer must not be older than this, by our clock. */
  readonly ageMsMax: number;
  readonly deadlineAtMs: number;
  readonly resolve: (answer: StateAnswer) => void;
  readonly reject: (error: CoterieError) => void;
}

export interface OpenRead extends ReadRequest {
  settled: boolean;
  /** Whose links, as they are now, have been asked and have not refused. */
  askedOf: ReplicaSet;
  /** Who was asked last. */
  target: number;
  copies: number;
  firstAskedAtMs: number;
  nextCopyAtMs: number;
  /** Who said, or showed, that it has nothing as new as was asked for. */
  tooOldBy: ReplicaSet;
  /** The youngest of the answers that were too old. */
  youngestAgeMs: number | undefined;
  /** Who said that it certifies nothing at the moment. */
  uncertifiedBy: ReplicaSet;
  /** Who said that this service does not show its state. */
  deniedBy: ReplicaSet;
  /** Whose answer was not proven. */
  disprovenBy: ReplicaSet;
}

/** What is known of replicas, by their places. */
const nobodyAsked = {
  askedOf: emptySet,
  target: -1,
  tooOldBy: emptySet,
  uncertifiedBy: emptySet,
  deniedBy: emptySet,
  disprovenBy: emptySet,
} as const;

/** A read that nobody was asked for yet. */
export function openRead(request: ReadRequest): OpenRead {
  return {
    ...request,
    ...nobodyAsked,
    settled: false,
    copies: 0,
    firstAskedAtMs: 0,
    nextCopyAtMs: 0,
    youngestAgeMs: undefined,
  };
}

/** The replicas are others now: whatever was said by those before does not count. */
export function forgetReplicas(read: OpenRead): void {
  Object.assign(read, nobodyAsked);
}
