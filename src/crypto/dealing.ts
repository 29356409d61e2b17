/**
 * Dealing: what a dealer publishes to share a secret among holders, and its bytes.
 *
 * The encoding has a fixed layout whose size follows from the threshold and the number of holders; nothing of other size
 * is looked at. One dealing has one encoding: points and scalars are canonical, all else is of fixed length.
 */
import type { G1Point, G2Point, PairingCurve } from './curve.ts';
import {
  type DiscreteLogProof,
  decodeDiscreteLogProof,
  discreteLogProofSizeBytes,
  encodeDiscreteLogProof,
} from './discrete-log-proof.ts';
import { type Digest, sha256 } from './hash.ts';
import { scalarSizeBytes } from './scalar.ts';

export interface Dealing {
  /** To the coefficients, constant first; as many as the threshold. */
  readonly commitments: readonly G2Point[];
  /** R = r * generator: with each holder's encryption key it makes one key for that holder's ciphertext. */
  readonly ephemeral: G1Point;
  /** One for each holder, 32 bytes: its evaluation, masked. */
  readonly ciphertexts: readonly Uint8Array[];
  /** That the dealer knows r, bound to the context and to all of the above. */
  readonly proof: DiscreteLogProof;
}

export interface DealingShape {
  readonly threshold: number;
  readonly holders: number;
}

export function dealingSizeBytes(curve: PairingCurve, { threshold, holders }: DealingShape): number {
  const points = threshold * curve.g2.sizeBytes + curve.g1.sizeBytes;
  return points + holders * scalarSizeBytes + discreteLogProofSizeBytes;
}

/** Commitments, ephemeral, ciphertexts, proof. */
export function encodeDealing(curve: PairingCurve, dealing: Dealing): Uint8Array {
  return Buffer.concat([encodeUnproven(curve, dealing), encodeDiscreteLogProof(dealing.proof)]);
}

/** All that the proof is about. */
export function encodeUnproven(curve: PairingCurve, dealing: Omit<Dealing, 'proof'>): Uint8Array {
  const commitments = dealing.commitments.map((commitment) => curve.g2.encode(commitment));
  return Buffer.concat([...commitments, curve.g1.encode(dealing.ephemeral), ...dealing.ciphertexts]);
}

/** Undefined unless the bytes are the encoding of a dealing of this shape. It says nothing about whether it is sound. */
export function decodeDealing(curve: PairingCurve, bytes: Uint8Array, shape: DealingShape): Dealing | undefined {
  if (bytes.length !== dealingSizeBytes(curve, shape)) return undefined;
  let offset = 0;
  const take = (sizeBytes: number): Uint8Array => {
    offset += sizeBytes;
    return bytes.slice(offset - sizeBytes, offset);
  };
  const commitments: G2Point[] = [];
  for (let i = 0; i < shape.threshold; i++) {
    const commitment = curve.g2.decode(take(curve.g2.sizeBytes));
    if (commitment === undefined) return undefined;
    commitments.push(commitment);
  }
  const ephemeral = curve.g1.decode(take(curve.g1.sizeBytes));
  const ciphertexts = Array.from({ length: shape.holders }, () => take(scalarSizeBytes));
  const proof = decodeDiscreteLogProof(curve, take(discreteLogProofSizeBytes));
  return ephemeral === undefined || proof === undefined ? undefined : { commitments, ephemeral, ciphertexts, proof };
}

/** What names a dealing: the digest of its encoding. */
export function dealingDigest(curve: PairingCurve, dealing: Dealing): Digest {
  return sha256(encodeDealing(curve, dealing));
}
