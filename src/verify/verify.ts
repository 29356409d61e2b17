/**
 * Verify: the entry `coterie/verify`. Checks what a service certified with its public key alone: no network, no
 * configuration, no clock, nothing of Node; in a browser as anywhere else.
 *
 * Trust: whoever deceives it must hold f + 1 key shares, or break BLS12-381 or SHA-256. It shares no decoder with the
 * replicas. None of its functions throws, whatever it is given.
 */
import {
  type CompareOptions,
  type ConsistencyVerdict,
  checkAnyDocument,
  checkHeadDocument,
  checkHeadsConsistent,
  checkMembershipDocument,
  checkReplyDocument,
  checkStateDocument,
  type DocumentVerdict,
  type HeadVerdict,
  type MembershipVerdict,
  type ReplyVerdict,
  type StateVerdict,
} from './check-document.ts';
import { noblePrimitives } from './noble-primitives.ts';

export type { Head } from '../wire/head.ts';
export type { Value } from '../wire/value.ts';
export type {
  CompareOptions,
  ConsistencyVerdict,
  DocumentVerdict,
  HeadVerdict,
  MembershipVerdict,
  ReplyVerdict,
  StateVerdict,
  VerifiedOperation,
  VerifiedReply,
  VerifiedState,
} from './check-document.ts';
export type {
  CertifiedHeadDocument,
  CertifiedMembershipDocument,
  CertifiedReplyDocument,
  CertifiedStateDocument,
} from './document.ts';
export type { ReplicaAddress, VerifiedMembership, VerifiedReplica } from './read-membership.ts';
export type { Outcome } from './read-request.ts';
export type { Reason, ReasonCode, Refused } from './refusal.ts';

/**
 * Checks a certified reply, given as JSON text or as the object it is of. `serviceKey` has 192 hex characters. With
 * `lastHead`, a certified head seen before, the log must also be the same one.
 */
export function verifyCertifiedReply(document: unknown, serviceKey: string, options?: CompareOptions): ReplyVerdict {
  return checkReplyDocument(document, serviceKey, options ?? {}, noblePrimitives);
}

/** Checks a certified head; the rest as above. */
export function verifyCertifiedHead(document: unknown, serviceKey: string, options?: CompareOptions): HeadVerdict {
  return checkHeadDocument(document, serviceKey, options ?? {}, noblePrimitives);
}

/**
 * Checks what is under a key of the service's state, or that nothing is. Look at `key` of the verdict: a document of
 * another key is as true as the one that you asked for. The rest as above.
 */
export function verifyCertifiedState(document: unknown, serviceKey: string, options?: CompareOptions): StateVerdict {
  return checkStateDocument(document, serviceKey, options ?? {}, noblePrimitives);
}

/** Checks a certified membership: who the replicas are, and where. */
export function verifyCertifiedMembership(document: unknown, serviceKey: string): MembershipVerdict {
  return checkMembershipDocument(document, serviceKey, noblePrimitives);
}

/** Checks a document of whichever of these kinds it says it is. */
export function verifyDocument(document: unknown, serviceKey: string, options?: CompareOptions): DocumentVerdict {
  return checkAnyDocument(document, serviceKey, options ?? {}, noblePrimitives);
}

/**
 * Does the log of `second` go on from that of `first`, which has no more leaves? Both are heads in the form that documents
 * have them in and have been verified; `path` is a list of hashes as hex.
 */
export function verifyConsistency(first: unknown, second: unknown, path: unknown): ConsistencyVerdict {
  return checkHeadsConsistent(first, second, path, noblePrimitives);
}
