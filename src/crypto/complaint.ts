/**
 * Complaint: a holder shows to anyone that a dealer gave it a wrong evaluation.
 *
 * It publishes the shared key of its ciphertext, with a proof that it is that key (the same secret takes the generator to
 * its encryption key and the dealing's R to the shared key). With it anyone opens the ciphertext and looks.
 * Safety: a complaint against a correct dealing is never justified, whoever makes it: there is one shared key only, and
 * with it the ciphertext opens to the right evaluation. A justified one convicts the dealer. A complaint gives away what
 * its own ciphertext holds and nothing else, because the dealer has proven to know r: what e * R is to it, it could
 * compute from the holder's public key alone.
 * Source: Chaum, Pedersen (1992), as used by Neji, Blibech, Ben Rajeb, "Distributed key generation protocol with a new
 * complaint management strategy" (2016).
 */
import type { G1Point, PairingCurve } from './curve.ts';
import { type Dealing, dealingDigest } from './dealing.ts';
import {
  type DiscreteLogProof,
  type DiscreteLogStatement,
  decodeDiscreteLogProof,
  discreteLogProofSizeBytes,
  encodeDiscreteLogProof,
  isDiscreteLogProof,
  proveDiscreteLog,
} from './discrete-log-proof.ts';
import { digestBytes, sha256, sha256Of } from './hash.ts';
import { unsigned32 } from './scalar.ts';
import { type EvaluationToOpen, encryptionKeyOf, openEvaluation, openWithSharedKey } from './verifiable-sharing.ts';

export interface Complaint {
  /** e * R, for the holder's decryption key e. */
  readonly sharedKey: G1Point;
  readonly proof: DiscreteLogProof;
}

const complaintLabel = new TextEncoder().encode('coterie/v1/sharing-complaint\n');

/** The complaint about an evaluation that does not open. Throws a RangeError when it does: this would give it away. */
export function complain(about: EvaluationToOpen): Complaint {
  if (openEvaluation(about) !== undefined) throw new RangeError('the evaluation is right');
  return discloseSharedKey(about);
}

/** The shared key with its proof, whether there is reason to give it away or not. */
export function discloseSharedKey({ curve, context, dealing, holder, decryptionKey }: EvaluationToOpen): Complaint {
  const sharedKey = curve.g1.multiply(dealing.ephemeral, decryptionKey);
  const holderKey = encryptionKeyOf(curve, decryptionKey);
  const statement = sharedKeyStatement({ curve, context, dealing, holder, holderKey, sharedKey });
  return { sharedKey, proof: proveDiscreteLog(statement, decryptionKey) };
}

export interface ComplaintToJudge {
  readonly curve: PairingCurve;
  readonly context: Uint8Array;
  /** Well-formed. */
  readonly dealing: Dealing;
  /** Who complains, from 0, and its encryption key. */
  readonly holder: number;
  readonly holderKey: G1Point;
  readonly complaint: Complaint;
}

/** Is the shared key proven, and does the ciphertext open with it to what the commitments do not say? */
export function isJustifiedComplaint({ complaint, ...about }: ComplaintToJudge): boolean {
  const { curve, dealing, holder, holderKey } = about;
  const { sharedKey, proof } = complaint;
  if (dealing.ciphertexts[holder] === undefined) return false;
  if ([holderKey, sharedKey, dealing.ephemeral].some((point) => curve.g1.isZero(point))) return false;
  if (!isDiscreteLogProof(sharedKeyStatement({ ...about, sharedKey }), proof)) return false;
  return openWithSharedKey({ ...about, sharedKey }) === undefined;
}

export function complaintSizeBytes(curve: PairingCurve): number {
  return curve.g1.sizeBytes + discreteLogProofSizeBytes;
}

/** Shared key, proof. */
export function encodeComplaint(curve: PairingCurve, { sharedKey, proof }: Complaint): Uint8Array {
  return Buffer.concat([curve.g1.encode(sharedKey), encodeDiscreteLogProof(proof)]);
}

/** Undefined unless the bytes are the encoding of a complaint. It says nothing about whether it is justified. */
export function decodeComplaint(curve: PairingCurve, bytes: Uint8Array): Complaint | undefined {
  if (bytes.length !== complaintSizeBytes(curve)) return undefined;
  const sharedKey = curve.g1.decode(bytes.slice(0, curve.g1.sizeBytes));
  const proof = decodeDiscreteLogProof(curve, bytes.subarray(curve.g1.sizeBytes));
  return sharedKey === undefined || proof === undefined ? undefined : { sharedKey, proof };
}

interface SharedKeyClaim {
  readonly curve: PairingCurve;
  readonly context: Uint8Array;
  readonly dealing: Dealing;
  readonly holder: number;
  readonly holderKey: G1Point;
  readonly sharedKey: G1Point;
}

function sharedKeyStatement({
  curve,
  context,
  dealing,
  holder,
  holderKey,
  sharedKey,
}: SharedKeyClaim): DiscreteLogStatement<G1Point> {
  const named = [digestBytes(sha256(context)), digestBytes(dealingDigest(curve, dealing)), unsigned32(holder)];
  return {
    group: curve.g1,
    field: curve,
    label: complaintLabel,
    statement: sha256Of(named),
    pairs: [
      { base: curve.g1.generator, point: holderKey },
      { base: dealing.ephemeral, point: sharedKey },
    ],
  };
}
