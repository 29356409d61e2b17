/**
 * Document: the JSON files that carry what the service certified, and nothing else; whoever has the service key needs no
 * more to check them (docs/operations/verifying.md). Binary fields are lower-case hex.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Head } from '../wire/head.ts';
import { hexOfBytes } from './hex.ts';

export const documentVersion = 1;

export const documentKinds = {
  reply: 'certified reply',
  head: 'certified head',
  state: 'certified state',
  membership: 'certified membership',
} as const;

/** A request, what came out of it, and where that stands in the log that the service signed. */
export interface CertifiedReplyDocument {
  readonly coterie: typeof documentKinds.reply;
  readonly version: typeof documentVersion;
  /** The whole encoded request, with its client's signature. */
  readonly request: string;
  /** The encoded outcomes of its operations. */
  readonly result: string;
  readonly commitIndex: number;
  /** Place in the log, from 0. */
  readonly leafIndex: number;
  readonly inclusionPath: readonly string[];
  readonly head: Head;
  /** The service's, of the head. */
  readonly signature: string;
}

/** The state of the log as the service signed it. */
export interface CertifiedHeadDocument {
  readonly coterie: typeof documentKinds.head;
  readonly version: typeof documentVersion;
  readonly head: Head;
  readonly signature: string;
}

/** What is under a key of the service's state, as of the head that the service signed; or that nothing is. */
export interface CertifiedStateDocument {
  readonly coterie: typeof documentKinds.state;
  readonly version: typeof documentVersion;
  /** The key in UTF-8. */
  readonly key: string;
  /** The encoded value; null when there is no such key. */
  readonly value: string | null;
  /** The nodes of the state's tree from the root to the key's place, encoded. */
  readonly proof: string;
  readonly head: Head;
  readonly signature: string;
}

/** Who the replicas are, as the service signed it. */
export interface CertifiedMembershipDocument {
  readonly coterie: typeof documentKinds.membership;
  readonly version: typeof documentVersion;
  /** The encoded statement. */
  readonly statement: string;
  readonly signature: string;
}

export function certifiedReplyDocument(reply: {
  readonly request: Uint8Array;
  readonly result: Uint8Array;
  readonly commitIndex: number;
  readonly leafIndex: number;
  readonly inclusionPath: readonly Digest[];
  readonly head: Head;
  readonly signature: Uint8Array;
}): CertifiedReplyDocument {
  return {
    coterie: documentKinds.reply,
    version: documentVersion,
    request: hexOfBytes(reply.request),
    result: hexOfBytes(reply.result),
    commitIndex: reply.commitIndex,
    leafIndex: reply.leafIndex,
    inclusionPath: reply.inclusionPath,
    head: reply.head,
    signature: hexOfBytes(reply.signature),
  };
}

export function certifiedHeadDocument(certified: {
  readonly head: Head;
  readonly signature: Uint8Array;
}): CertifiedHeadDocument {
  const { head, signature } = certified;
  return { coterie: documentKinds.head, version: documentVersion, head, signature: hexOfBytes(signature) };
}

export function certifiedStateDocument(read: {
  readonly key: string;
  /** Encoded; undefined when there is no such key. */
  readonly value: Uint8Array | undefined;
  readonly proof: Uint8Array;
  readonly head: Head;
  readonly signature: Uint8Array;
}): CertifiedStateDocument {
  return {
    coterie: documentKinds.state,
    version: documentVersion,
    key: hexOfBytes(new TextEncoder().encode(read.key)),
    value: read.value === undefined ? null : hexOfBytes(read.value),
    proof: hexOfBytes(read.proof),
    head: read.head,
    signature: hexOfBytes(read.signature),
  };
}

export function certifiedMembershipDocument(certified: {
  readonly statement: Uint8Array;
  readonly signature: Uint8Array;
}): CertifiedMembershipDocument {
  return {
    coterie: documentKinds.membership,
    version: documentVersion,
    statement: hexOfBytes(certified.statement),
    signature: hexOfBytes(certified.signature),
  };
}
