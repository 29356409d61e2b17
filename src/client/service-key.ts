/**
 * Service key: what the client checks with the one public key it starts from: heads, proofs, memberships.
 *
 * In: what replicas sent. Out: whether the service certified it, by the very checks of `verify/` on fast cryptography.
 * Owns the memory of the last heads it found signed: a pairing costs milliseconds, and many replies share a head.
 * The curve is loaded with the first key: who makes quick calls only does without.
 */
import { blsVerify } from '../crypto/bls.ts';
import type { G2Point, PairingCurve } from '../crypto/curve.ts';
import { importPublicKey, verify } from '../crypto/ed25519.ts';
import { type Digest, digestBytes, sha256 } from '../crypto/hash.ts';
import { checkHeadDocument, checkMembershipDocument, type MembershipVerdict } from '../verify/check-document.ts';
import { checkConsistency, checkHead } from '../verify/check-head.ts';
import { checkInclusion } from '../verify/check-reply.ts';
import type { VerifyPrimitives } from '../verify/primitives.ts';
import { judged } from '../verify/refusal.ts';
import { checkStateProof, readStateProof } from '../verify/state-proof.ts';
import type { CertifiedHead, ReplicaToClient } from '../wire/client-message.ts';
import { serviceKeySizeBytes } from '../wire/duty.ts';
import { encodeHead, type Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { CoterieError } from './client-error.ts';

export type StateMessage = Extract<ReplicaToClient, { readonly kind: 'state' }>;
export type CertifiedMessage = Extract<ReplicaToClient, { readonly kind: 'certified' }>;

/** Loads the curve and takes the key, 192 lower-case hex characters. Rejects with `invalid-input`. */
export async function loadServiceKey(text: string): Promise<ServiceKey> {
  if (typeof text !== 'string' || !new RegExp(`^[0-9a-f]{${2 * serviceKeySizeBytes}}$`).test(text)) {
    throw invalidKey(`a service key has ${2 * serviceKeySizeBytes} lower-case hex characters`);
  }
  const { mclCurve } = await import('../crypto/curve-mcl.ts');
  const point = mclCurve.g2.decode(Buffer.from(text, 'hex'));
  if (point === undefined || mclCurve.g2.isZero(point))
    throw invalidKey('this is not a point that can be a service key');
  return new ServiceKey(text, point, mclCurve);
}

export class ServiceKey {
  readonly text: string;
  readonly #bytes: Uint8Array;
  readonly #primitives: VerifyPrimitives;
  /** Heads with their signatures, in hex, that were found signed; oldest first. */
  readonly #signed = new Set<string>();

  constructor(text: string, point: G2Point, curve: PairingCurve) {
    this.text = text;
    this.#bytes = Buffer.from(text, 'hex');
    this.#primitives = primitivesOf(point, curve);
  }

  isSigned(certified: CertifiedHead): boolean {
    const form = `${Buffer.from(encodeHead(certified.head)).toString('hex')}${hexOf(certified.signature)}`;
    if (this.#signed.has(form)) return true;
    if (!passes(() => checkHead(certified, this.#bytes, this.#primitives))) return false;
    this.#signed.add(form);
    for (const oldest of this.#signed) {
      if (this.#signed.size <= limits.clientHeadsKeptMax) break;
      this.#signed.delete(oldest);
    }
    return true;
  }

  /** Is this result of this request in the log of the head that came with it? */
  isIncluded({
    requestDigest,
    result,
    commitIndex,
    leafIndex,
    inclusionPath,
    certifiedHead,
  }: CertifiedMessage): boolean {
    const path = inclusionPath.map(digestBytes);
    const placement = {
      requestDigest: digestBytes(requestDigest),
      result,
      commitIndex,
      leafIndex,
      inclusionPath: path,
    };
    return passes(() => checkInclusion(placement, certifiedHead.head, this.#primitives));
  }

  /** Has the state of the head that came with it this value, or none, under the key? */
  holdsState(key: string, { value, proof, certifiedHead }: StateMessage): boolean {
    const root = digestBytes(certifiedHead.head.stateRoot);
    return passes(() => checkStateProof({ key, value, proof: readStateProof(proof), root }, this.#primitives.sha256));
  }

  /** Does the log of `second` go on from that of `first`, which is not longer? Both are signed, or this says nothing. */
  isContinued(first: Head, second: Head, path: readonly Digest[]): boolean {
    return passes(() => checkConsistency(first, second, path.map(digestBytes), this.#primitives));
  }

  /** The head of a document, when the service signed it. */
  readHead(document: unknown): CertifiedHead | undefined {
    const verdict = checkHeadDocument(document, this.text, {}, this.#primitives);
    if (!verdict.ok) return undefined;
    return { head: verdict.head, signature: Buffer.from(verdict.certifiedHead.signature, 'hex') };
  }

  checkMembership(document: unknown): MembershipVerdict {
    return checkMembershipDocument(document, this.text, this.#primitives);
  }
}

function primitivesOf(serviceKey: G2Point, curve: PairingCurve): VerifyPrimitives {
  return {
    sha256: (bytes) => digestBytes(sha256(bytes)),
    // It was decoded when it was given; the checks ask with its bytes again.
    isServiceKey: (bytes) => sameAs(curve.g2.encode(serviceKey), bytes),
    verifyServiceSignature: (_, message, signature) => {
      const point = curve.g1.decode(signature);
      return point !== undefined && blsVerify(curve, serviceKey, message, point);
    },
    verifyClientSignature: (client, message, signature) => {
      const key = importPublicKey(client);
      return key !== undefined && verify(key, message, signature);
    },
  };
}

function passes(check: () => void): boolean {
  return judged(() => {
    check();
    return { ok: true };
  }).ok;
}

function sameAs(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function invalidKey(sentence: string): CoterieError {
  return new CoterieError('invalid-input', sentence, {
    outcome: 'not-sent',
    hint: 'Take the service key as the operator published it.',
  });
}
