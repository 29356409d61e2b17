/**
 * Scalar: numbers modulo the order of a group, their 32 bytes, and how they are derived from seeds and from hashes.
 *
 * In memory a scalar is a bigint from 0 to order - 1; as bytes it is big-endian and reduced, so that one scalar has one
 * encoding. Bigint arithmetic takes a time that depends on the numbers; whoever can measure single operations inside a
 * replica is inside its host and has the keys anyway.
 * Safety: nothing here prints a scalar.
 */
import { digestBytes, hmacSha256, sha256Of } from './hash.ts';

export const scalarSizeBytes = 32;

/** What of a curve the arithmetic needs. */
export interface Field {
  /** A prime. */
  readonly order: bigint;
}

/** The number of 0 to order - 1 that is congruent. */
export function modulo(number: bigint, order: bigint): bigint {
  const rest = number % order;
  return rest < 0n ? rest + order : rest;
}

/** The inverse modulo a prime, by the extended Euclidean algorithm. Throws a RangeError for zero. */
export function invert(number: bigint, order: bigint): bigint {
  let [rest, nextRest] = [order, modulo(number, order)];
  let [factor, nextFactor] = [0n, 1n];
  if (nextRest === 0n) throw new RangeError('zero has no inverse');
  while (nextRest !== 0n) {
    const quotient = rest / nextRest;
    [rest, nextRest] = [nextRest, rest - quotient * nextRest];
    [factor, nextFactor] = [nextFactor, factor - quotient * nextFactor];
  }
  return modulo(factor, order);
}

/** 32 bytes, big-endian. Throws a RangeError unless it fits. */
export function encodeScalar(scalar: bigint): Uint8Array {
  if (scalar < 0n || scalar >> 256n !== 0n) throw new RangeError('a scalar has 32 bytes');
  return Buffer.from(scalar.toString(16).padStart(2 * scalarSizeBytes, '0'), 'hex');
}

/** Undefined unless the bytes are the encoding of a reduced scalar. */
export function decodeScalar({ order }: Field, bytes: Uint8Array): bigint | undefined {
  if (bytes.length !== scalarSizeBytes) return undefined;
  const scalar = numberOf(bytes);
  return scalar < order ? scalar : undefined;
}

/**
 * A secret scalar of 1 to order - 1, each equally likely, from a seed: the same for the same seed and labels, and
 * independent of those of all others. Zero is never one: as a key it would be known to everybody.
 */
export function scalarFromSeed({ order }: Field, seed: Uint8Array, ...labels: readonly Uint8Array[]): bigint {
  return 1n + (wideFromSeed(seed, labels) % (order - 1n));
}

/** The same with zero among them, for what must be uniform over the whole field. */
export function coefficientFromSeed({ order }: Field, seed: Uint8Array, ...labels: readonly Uint8Array[]): bigint {
  return wideFromSeed(seed, labels) % order;
}

/** A public scalar of 0 to order - 1 from what is hashed: a challenge. */
export function scalarFromHash({ order }: Field, parts: readonly Uint8Array[]): bigint {
  const digest = digestBytes(sha256Of(parts.flatMap(withLength)));
  const halves = [0, 1].map((half) => digestBytes(sha256Of([digest, Uint8Array.of(half)])));
  return numberOf(Buffer.concat(halves)) % order;
}

/** A part preceded by its length, so that a list of parts is hashed as no other list is. */
export function withLength(part: Uint8Array): readonly Uint8Array[] {
  return [unsigned32(part.length), part];
}

/** Four bytes, big-endian. */
export function unsigned32(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** 512 bits: reduced modulo an order of 255, their distance from uniform is below 2^-256. */
function wideFromSeed(seed: Uint8Array, labels: readonly Uint8Array[]): bigint {
  const parts = labels.flatMap(withLength);
  const halves = [0, 1].map((half) => hmacSha256(seed, [Uint8Array.of(half), ...parts]));
  return numberOf(Buffer.concat(halves));
}

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`);
}
