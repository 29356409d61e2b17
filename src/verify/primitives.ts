/**
 * Primitives: the cryptography that the checks of this folder are given, so that they run on any library alike.
 *
 * `noble-primitives.ts` binds the published entry to one that runs everywhere. None of these throws, whatever the bytes.
 */
export interface VerifyPrimitives {
  /** 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** Is this the canonical encoding (96 bytes) of a point that may be a service key: of the subgroup, and not zero? */
  isServiceKey(serviceKey: Uint8Array): boolean;
  /** Is `signature` (48 bytes) a BLS signature of `message` under the service key? */
  verifyServiceSignature(serviceKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** Is `signature` (64 bytes) an Ed25519 signature of `message` by `client` (32 bytes), as `crypto/ed25519.ts` judges? */
  verifyClientSignature(client: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}
