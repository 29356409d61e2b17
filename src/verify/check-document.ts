/**
 * Check document: a whole document against the service key, to what it proves.
 *
 * Pure, and parametrised by the primitives: the entry `coterie/verify` and Node's client run the very same checks. They
 * take anything, and never throw.
 */
import { domains } from '../wire/domain.ts';
import type { Head } from '../wire/head.ts';
import type { Value } from '../wire/value.ts';
import { checkConsistency, checkHead, checkServiceKey, statementMessage } from './check-head.ts';
import { checkInclusion, checkRequestSignature } from './check-reply.ts';
import { type CertifiedHeadDocument, certifiedHeadDocument } from './document.ts';
import { bytesOfHex, hexOfBytes } from './hex.ts';
import type { VerifyPrimitives } from './primitives.ts';
import {
  fieldsOfDocument,
  kindOfDocument,
  type ReadHead,
  readHead,
  readHeadDocument,
  readMembershipDocument,
  readPath,
  readReplyDocument,
  readServiceKey,
  readStateDocument,
} from './read-document.ts';
import { readMembership, type VerifiedMembership } from './read-membership.ts';
import { type Outcome, type ReadOperation, readRequest, readResult } from './read-request.ts';
import { valueOfBytes } from './read-value.ts';
import { demand, judged, Refusal, type Refused } from './refusal.ts';
import { checkStateProof, readStateProof } from './state-proof.ts';

export interface CompareOptions {
  /**
   * The certified head that was seen last, as a document. The head that is checked must be of the same log, whichever of
   * the two is the later one.
   */
  readonly lastHead?: unknown;
  /** The proof of that: hashes as hex, from the earlier of the two heads to the later. */
  readonly consistencyPath?: unknown;
}

export interface VerifiedOperation {
  readonly name: string;
  /** Undefined when what the client sent is no value; the service refused it then. */
  readonly input: Value | undefined;
  readonly outcome: Outcome;
}

export interface VerifiedReply {
  readonly serviceId: string;
  /** The public key of who asked, 64 hex characters. */
  readonly client: string;
  /** SHA-256 of the request without its signature, 64 hex characters. */
  readonly requestDigest: string;
  readonly operations: readonly VerifiedOperation[];
  readonly commitIndex: number;
  /** Agreed time of the head, milliseconds since 1970: the request was executed by then. */
  readonly timestamp: number;
  /** Place in the log, from 0. */
  readonly leafIndex: number;
  readonly head: Head;
  /** To keep, and to give as `lastHead` the next time. */
  readonly certifiedHead: CertifiedHeadDocument;
}

/** What is under a key of the service's state, as of one head. */
export interface VerifiedState {
  readonly serviceId: string;
  readonly key: string;
  /** False: at that commit there was no such key. */
  readonly present: boolean;
  /** Undefined when there was none. */
  readonly value: Value | undefined;
  /** The commit after which it was so, and its agreed time, milliseconds since 1970. What came later may have changed it. */
  readonly asOf: { readonly commitIndex: number; readonly timestamp: number };
  readonly head: Head;
  /** To keep, and to give as `lastHead` the next time. */
  readonly certifiedHead: CertifiedHeadDocument;
}

export type StateVerdict = { readonly ok: true; readonly state: VerifiedState } | Refused;
export type ReplyVerdict = { readonly ok: true; readonly reply: VerifiedReply } | Refused;
export type HeadVerdict =
  | { readonly ok: true; readonly head: Head; readonly certifiedHead: CertifiedHeadDocument }
  | Refused;
export type MembershipVerdict = { readonly ok: true; readonly membership: VerifiedMembership } | Refused;
export type ConsistencyVerdict = { readonly ok: true } | Refused;
export type DocumentVerdict =
  | { readonly ok: true; readonly kind: 'reply'; readonly reply: VerifiedReply }
  | {
      readonly ok: true;
      readonly kind: 'head';
      readonly head: Head;
      readonly certifiedHead: CertifiedHeadDocument;
    }
  | { readonly ok: true; readonly kind: 'state'; readonly state: VerifiedState }
  | { readonly ok: true; readonly kind: 'membership'; readonly membership: VerifiedMembership }
  | Refused;

/** A certified reply: an object, or its JSON text. */
export function checkReplyDocument(
  document: unknown,
  serviceKey: unknown,
  options: CompareOptions,
  primitives: VerifyPrimitives,
): ReplyVerdict {
  return judged(() => {
    const key = usableServiceKey(serviceKey, primitives);
    const read = readReplyDocument(document);
    const request = readRequest(read.request);
    const outcomes = readResult(read.result);
    const isWhole = outcomes.length === request.operations.length;
    demand(isWhole, 'result', 'the result has another number of outcomes than the request has operations');
    checkHead(read, key, primitives);
    checkRequestSignature(request, read.head.serviceId, primitives);
    const requestDigest = primitives.sha256(request.signedPart);
    checkInclusion({ ...read, requestDigest }, read.head, primitives);
    compare(read, options, key, primitives);
    const { commitIndex, leafIndex, head } = read;
    return {
      ok: true,
      reply: {
        serviceId: head.serviceId,
        client: hexOfBytes(request.client),
        requestDigest: hexOfBytes(requestDigest),
        operations: request.operations.map((operation, i) => verifiedOperation(operation, outcomes[i] as Outcome)),
        commitIndex,
        timestamp: head.timestamp,
        leafIndex,
        head,
        certifiedHead: certifiedHeadDocument(read),
      },
    };
  });
}

export function checkHeadDocument(
  document: unknown,
  serviceKey: unknown,
  options: CompareOptions,
  primitives: VerifyPrimitives,
): HeadVerdict {
  return judged(() => {
    const key = usableServiceKey(serviceKey, primitives);
    const read = readHeadDocument(document);
    checkHead(read, key, primitives);
    compare(read, options, key, primitives);
    return { ok: true, head: read.head, certifiedHead: certifiedHeadDocument(read) };
  });
}

/** What is under a key of the state. */
export function checkStateDocument(
  document: unknown,
  serviceKey: unknown,
  options: CompareOptions,
  primitives: VerifyPrimitives,
): StateVerdict {
  return judged(() => {
    const serviceKeyBytes = usableServiceKey(serviceKey, primitives);
    const read = readStateDocument(document);
    const { key, head } = read;
    const proof = readStateProof(read.proof);
    const value = read.value === undefined ? undefined : valueOfBytes(read.value);
    demand((value === undefined) === (read.value === undefined), 'state', 'the value has no canonical form');
    checkHead(read, serviceKeyBytes, primitives);
    checkStateProof({ key, value: read.value, proof, root: bytesOfHex(head.stateRoot) }, primitives.sha256);
    compare(read, options, serviceKeyBytes, primitives);
    return {
      ok: true,
      state: {
        serviceId: head.serviceId,
        key,
        present: value !== undefined,
        value,
        asOf: { commitIndex: head.commitIndex, timestamp: head.timestamp },
        head,
        certifiedHead: certifiedHeadDocument(read),
      },
    };
  });
}

export function checkMembershipDocument(
  document: unknown,
  serviceKey: unknown,
  primitives: VerifyPrimitives,
): MembershipVerdict {
  return judged(() => {
    const key = usableServiceKey(serviceKey, primitives);
    const { statement, signature } = readMembershipDocument(document);
    const membership = readMembership(statement);
    const message = statementMessage(domains.membership, statement, primitives);
    const isSigned = primitives.verifyServiceSignature(key, message, signature);
    demand(isSigned, 'signature', 'the service did not sign this membership');
    return { ok: true, membership };
  });
}

/** A document of whichever kind it says it is. */
export function checkAnyDocument(
  document: unknown,
  serviceKey: unknown,
  options: CompareOptions,
  primitives: VerifyPrimitives,
): DocumentVerdict {
  return judged((): DocumentVerdict & { readonly ok: true } => {
    const fields = fieldsOfDocument(document);
    const kind = kindOfDocument(fields);
    demand(kind !== undefined, 'document', 'this is no document of a kind that is known');
    switch (kind) {
      case 'reply':
        return { ...proven(checkReplyDocument(fields, serviceKey, options, primitives)), kind };
      case 'head':
        return { ...proven(checkHeadDocument(fields, serviceKey, options, primitives)), kind };
      case 'state':
        return { ...proven(checkStateDocument(fields, serviceKey, options, primitives)), kind };
      case 'membership':
        return { ...proven(checkMembershipDocument(fields, serviceKey, primitives)), kind };
    }
  });
}

/** Two heads in the form that documents have them in; who signed them has been checked elsewhere. */
export function checkHeadsConsistent(
  first: unknown,
  second: unknown,
  path: unknown,
  primitives: VerifyPrimitives,
): ConsistencyVerdict {
  return judged(() => {
    const hashes = readPath(path, 'consistency', 'the path');
    checkConsistency(readHead(first), readHead(second), hashes, primitives);
    return { ok: true };
  });
}

function usableServiceKey(serviceKey: unknown, primitives: VerifyPrimitives): Uint8Array {
  const key = readServiceKey(serviceKey);
  checkServiceKey(key, primitives);
  return key;
}

/** Throws unless the head is of the log of the last head, when there is one. */
function compare(
  { head }: ReadHead,
  { lastHead, consistencyPath = [] }: CompareOptions,
  key: Uint8Array,
  primitives: VerifyPrimitives,
): void {
  if (lastHead === undefined) return;
  const last = judged(() => {
    const read = readHeadDocument(lastHead);
    checkHead(read, key, primitives);
    return { ok: true, head: read.head };
  });
  if (!last.ok) throw new Refusal('consistency', `the last head is not proven: ${last.reason.sentence}`);
  const hashes = readPath(consistencyPath, 'consistency', 'consistencyPath');
  const isLater =
    last.head.logSize < head.logSize ||
    (last.head.logSize === head.logSize && last.head.commitIndex <= head.commitIndex);
  checkConsistency(isLater ? last.head : head, isLater ? head : last.head, hashes, primitives);
}

function verifiedOperation({ name, input }: ReadOperation, outcome: Outcome): VerifiedOperation {
  return { name, input: valueOfBytes(input), outcome };
}

function proven<Verdict extends { readonly ok: boolean }>(verdict: Verdict | Refused): Verdict & { readonly ok: true } {
  if (verdict.ok) return verdict as Verdict & { readonly ok: true };
  const { code, sentence } = (verdict as Refused).reason;
  throw new Refusal(code, sentence);
}
