/**
 * What goes into the certification and what comes out. Both are plain data: it never waits, reads a clock or draws a random
 * number; effects are carried out by `replica/`.
 */
import type { Digest } from '../crypto/hash.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import type { Head } from '../wire/head.ts';
import type { PeerMessage } from '../wire/peer-message.ts';

export type SignatureShareMessage = Extract<PeerMessage, { readonly kind: 'signature-share' }>;
export type CertifiedStatementMessage = Extract<PeerMessage, { readonly kind: 'certified-statement' }>;

export type CertificationInput =
  /** Our own execution came to a head that is due. In the order of the commits. */
  | { readonly kind: 'due'; readonly head: Head }
  /** From the replica at the other end of an authenticated link. */
  | (SignatureShareMessage & { readonly from: number })
  | (CertifiedStatementMessage & { readonly from: number })
  /** Our link to this replica is up: what we sent before may be lost. */
  | { readonly kind: 'connected'; readonly peer: number }
  /** Somebody waits for a certified head of at least so many leaves. */
  | { readonly kind: 'wanted'; readonly logSize: number };

/** Something refused: which rule it broke and who sent it. The ordering's evidence has the same form. */
export interface CertificationEvidence {
  readonly kind: 'rejection';
  readonly rule: string;
  readonly from: number;
  readonly author: number | undefined;
  readonly digest: Digest | undefined;
}

export interface CertificationEffects {
  readonly send: readonly { readonly to: number | 'all'; readonly message: PeerMessage }[];
  readonly evidence: readonly CertificationEvidence[];
  /** Step again at this time at the latest, with or without input; undefined when nothing is waited for. */
  readonly wakeAtMs: number | undefined;
}

export interface CertifiedStatement {
  readonly encoded: Uint8Array;
  readonly signature: Uint8Array;
}

/** The service signed another head than ours: this replica executed something else than the correct ones. */
export interface Divergence {
  /** Ours of the same commit; or our next one, when none was due at that commit by our log. */
  readonly own: Head;
  /** SHA-256 of the encoded head that the service signed, and its signature: together a proof to anyone. */
  readonly digest: Digest;
  readonly signature: Uint8Array;
  /** That head; undefined when it is known by the shares of others only, which carry its digest. */
  readonly certified: CertifiedHead | undefined;
}

/** For people. */
export interface CertificationStatus {
  readonly hasServiceKey: boolean;
  /** It has a key share and has not diverged. */
  readonly isSigning: boolean;
  readonly hasDiverged: boolean;
  /** Of the newest certified head; 0 when there is none. */
  readonly certifiedCommitIndex: number;
  readonly certifiedLogSize: number;
  /** Due heads above it. */
  readonly waitingHeads: number;
  readonly isMembershipCertified: boolean;
  /** Replicas whose signature shares or certified statements were provably wrong lately, and are not looked at for a while. */
  readonly excluded: readonly number[];
}
