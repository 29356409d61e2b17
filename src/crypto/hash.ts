/**
 * Hash: SHA-256, and the one form in which digests live in memory.
 *
 * A `Digest` is a string of 64 lower-case hex characters: it is compared, sorted and used as a map key far more often
 * than it is written, and two equal digests are `===`.
 */
import { createHash, createHmac, hash } from 'node:crypto';

export type Digest = string & { readonly digest: unique symbol };

export const digestSizeBytes = 32;

/** SHA-256 of one run of bytes. */
export function sha256(bytes: Uint8Array): Digest {
  return hash('sha256', bytes, 'hex') as Digest;
}

/** The same as 32 bytes, for what hashes hashes. */
export function sha256Bytes(bytes: Uint8Array): Uint8Array {
  // A third cheaper than asking for a buffer, which is one of its own for each hash.
  const digest = Buffer.allocUnsafe(digestSizeBytes);
  digest.write(hash('sha256', bytes, 'binary'), 'binary');
  return digest;
}

/** SHA-256 of several runs of bytes, one after another. */
export function sha256Of(parts: readonly Uint8Array[]): Digest {
  const state = createHash('sha256');
  for (const part of parts) state.update(part);
  return state.digest('hex') as Digest;
}

/** HMAC-SHA-256, 32 bytes. */
export function hmacSha256(key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const state = createHmac('sha256', key);
  for (const part of parts) state.update(part);
  return state.digest();
}

/** The 32 bytes of a digest. */
export function digestBytes(digest: Digest): Uint8Array {
  return Buffer.from(digest, 'hex');
}

/** The digest that 32 bytes are. Throws a RangeError for any other length. */
export function digestFrom(bytes: Uint8Array): Digest {
  if (bytes.length !== digestSizeBytes) throw new RangeError(`a digest has 32 bytes, not ${bytes.length}`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex') as Digest;
}

/** The digest written as 64 lower-case hex characters, or undefined when the text is not one. */
export function parseDigest(text: string): Digest | undefined {
  return /^[0-9a-f]{64}$/.test(text) ? (text as Digest) : undefined;
}
