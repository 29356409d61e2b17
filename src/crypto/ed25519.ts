/**
 * Ed25519 (RFC 8032) with keys imported once.
 *
 * Replicas must agree on which signatures are valid, whatever library they run on, or one crafted signature splits
 * them. Libraries differ exactly on points of small order and on non-canonical encodings, so these are refused here,
 * before the library is asked; on what is left, the cofactorless equations of all of them agree.
 * Source: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020).
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign as nodeSign, verify as nodeVerify } from 'node:crypto';

export type Signature = Uint8Array & { readonly signature: unique symbol };
/** A public key in its 32-byte encoding, as 64 hex characters. */
export type PublicKeyText = string & { readonly publicKeyText: unique symbol };

export const publicKeySizeBytes = 32;
export const signatureSizeBytes = 64;
export const seedSizeBytes = 32;

/** A public key that passed the checks above and is ready to verify. */
export interface PublicKey {
  readonly text: PublicKeyText;
  readonly bytes: Uint8Array;
  readonly key: KeyObject;
}

export interface SigningKey {
  readonly publicKey: PublicKey;
  readonly key: KeyObject;
}

const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/** y coordinates (sign bit cleared, little-endian hex) of the points of order 1, 2, 4 and 8. */
const smallOrderY: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]);

/** The group order, little-endian, most significant byte last. */
const order = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex');

/** Is this the canonical encoding of a y coordinate (y < 2^255 - 19) whose point is not of small order? */
function isAcceptablePoint(encoding: Uint8Array): boolean {
  const top = (encoding[31] as number) & 0x7f;
  if (top === 0x7f && (encoding[0] as number) >= 0xed) {
    let allOnes = true;
    for (let i = 1; i < 31; i++) if (encoding[i] !== 0xff) allOnes = false;
    if (allOnes) return false;
  }
  // Only an encoding that begins like one of the five can be one: a cheap filter for the common case.
  const first = encoding[0] as number;
  if (first !== 0 && first !== 1 && first !== 0xec && first !== 0x26 && first !== 0xc7) return true;
  const y = Buffer.from(encoding);
  y[31] = top;
  return !smallOrderY.has(y.toString('hex'));
}

/** Is s, 32 bytes little-endian, below the group order? */
function isReducedScalar(s: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) {
    const difference = (s[i] as number) - (order[i] as number);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

/** Imports a 32-byte public key; undefined when it is not a canonical encoding or of small order. */
export function importPublicKey(bytes: Uint8Array): PublicKey | undefined {
  if (bytes.length !== publicKeySizeBytes || !isAcceptablePoint(bytes)) return undefined;
  try {
    const copy = Uint8Array.from(bytes);
    const key = createPublicKey({ key: Buffer.concat([spkiPrefix, copy]), format: 'der', type: 'spki' });
    return { text: Buffer.from(copy).toString('hex') as PublicKeyText, bytes: copy, key };
  } catch {
    return undefined;
  }
}

/** Imports a public key from 64 hex characters. */
export function parsePublicKey(text: string): PublicKey | undefined {
  return /^[0-9a-f]{64}$/.test(text) ? importPublicKey(Buffer.from(text, 'hex')) : undefined;
}

/** The signing key of a 32-byte seed (RFC 8032 §5.1.5). Throws a RangeError when it has another length. */
export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  if (seed.length !== seedSizeBytes) throw new RangeError(`a seed has 32 bytes, not ${seed.length}`);
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const publicKey = importPublicKey(spki.subarray(spki.length - publicKeySizeBytes));
  if (publicKey === undefined) throw new RangeError('this seed makes a key of small order');
  return { publicKey, key };
}

/** Signs bytes; 64 bytes. */
export function sign(key: SigningKey, bytes: Uint8Array): Signature {
  return nodeSign(null, bytes, key.key) as unknown as Signature;
}

/** True when `signature` is a valid signature by `key` of `bytes`. */
export function verify(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== signatureSizeBytes) return false;
  if (!isAcceptablePoint(signature.subarray(0, 32)) || !isReducedScalar(signature.subarray(32))) return false;
  return nodeVerify(null, bytes, key.key, signature);
}
