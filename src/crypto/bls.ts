/**
 * BLS: signatures in G1, keys in G2, as drand's `bls-unchained-g1-rfc9380` has them.
 *
 * A signature is the hash of the message to G1 times the secret. There is one for each key and message, and everybody
 * who holds the secret, or enough shares of it, makes the same one.
 * Source: Boneh, Lynn, Shacham, "Short signatures from the Weil pairing" (2001); draft-irtf-cfrg-bls-signature.
 */
import type { G1Point, G2Point, PairingCurve } from './curve.ts';

export function blsPublicKey(curve: PairingCurve, secret: bigint): G2Point {
  return curve.g2.multiply(curve.g2.generator, secret);
}

export function blsSign(curve: PairingCurve, secret: bigint, message: Uint8Array): G1Point {
  return curve.g1.multiply(curve.hashToG1(message), secret);
}

/** False for the zero key and the zero signature: they would go with every message. */
export function blsVerify(curve: PairingCurve, publicKey: G2Point, message: Uint8Array, signature: G1Point): boolean {
  return blsVerifyHashed(curve, publicKey, curve.hashToG1(message), signature);
}

/** The same for a message already hashed to G1, for who checks many signatures of one message. */
export function blsVerifyHashed(curve: PairingCurve, publicKey: G2Point, hashed: G1Point, signature: G1Point): boolean {
  if (curve.g2.isZero(publicKey) || curve.g1.isZero(signature)) return false;
  return curve.pairingsAreEqual(signature, curve.g2.generator, hashed, publicKey);
}
