/**
 * Merkle proofs: checks that a leaf is in a log, and that a log goes on from an earlier one.
 *
 * In: claims and a path from anybody. Out: whether it proves the claim; never a throw. Step by step as the RFC has it, with
 * nothing but standard JavaScript and a SHA-256 that is given, because the verifier in a browser shares this file.
 * Safety: a path of any other length, order or content is refused; for one claim there is one path.
 * Source: RFC 9162 §2.1.1 (hashes), §2.1.3.2 (inclusion), §2.1.4.2 (consistency).
 */
import type { Digest } from './hash.ts';

export type Sha256 = (bytes: Uint8Array) => Digest;

export const leafPrefix = 0;
export const interiorPrefix = 1;

const digestSizeBytes = 32;
const digestPattern = /^[0-9a-f]{64}$/;

/** The hash of a leaf: of 0x00 and the entry. */
export function leafHashOf(sha256: Sha256, entry: Uint8Array): Digest {
  const bytes = new Uint8Array(1 + entry.length);
  bytes[0] = leafPrefix;
  bytes.set(entry, 1);
  return sha256(bytes);
}

/** Is the leaf at this index, from 0, of the tree with this size and root? */
export function verifyInclusion(claim: {
  readonly sha256: Sha256;
  readonly leafHash: Digest;
  readonly leafIndex: number;
  readonly size: number;
  readonly root: Digest;
  readonly path: readonly Digest[];
}): boolean {
  const { sha256, leafHash, leafIndex, size, root, path } = claim;
  if (!isCount(leafIndex) || !isCount(size) || leafIndex >= size) return false;
  if (![leafHash, root, ...path].every(isDigest)) return false;
  let fn = leafIndex;
  let sn = size - 1;
  let r = leafHash;
  for (const p of path) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      r = interiorHash(sha256, p, r);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      r = interiorHash(sha256, r, p);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && r === root;
}

/**
 * Does the tree of `toSize` leaves begin with all leaves of the tree of `fromSize`? The RFC has it for different trees that
 * are not empty. Besides, every tree goes on from the empty one and from itself; the path is empty then.
 */
export function verifyConsistency(claim: {
  readonly sha256: Sha256;
  readonly fromSize: number;
  readonly fromRoot: Digest;
  readonly toSize: number;
  readonly toRoot: Digest;
  readonly path: readonly Digest[];
}): boolean {
  const { sha256, fromSize, fromRoot, toSize, toRoot } = claim;
  if (!isCount(fromSize) || !isCount(toSize) || fromSize > toSize) return false;
  if (![fromRoot, toRoot, ...claim.path].every(isDigest)) return false;
  if (fromSize === toSize) return claim.path.length === 0 && fromRoot === toRoot;
  if (fromSize === 0) return claim.path.length === 0 && fromRoot === sha256(new Uint8Array());
  if (claim.path.length === 0) return false;
  const path = isPowerOfTwo(fromSize) ? [fromRoot, ...claim.path] : claim.path;
  let fn = fromSize - 1;
  let sn = toSize - 1;
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  let fr = path[0] as Digest;
  let sr = fr;
  for (const c of path.slice(1)) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      fr = interiorHash(sha256, c, fr);
      sr = interiorHash(sha256, c, sr);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = interiorHash(sha256, sr, c);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return fr === fromRoot && sr === toRoot && sn === 0;
}

function interiorHash(sha256: Sha256, left: Digest, right: Digest): Digest {
  const bytes = new Uint8Array(1 + 2 * digestSizeBytes);
  bytes[0] = interiorPrefix;
  setDigest(bytes, 1, left);
  setDigest(bytes, 1 + digestSizeBytes, right);
  return sha256(bytes);
}

function setDigest(bytes: Uint8Array, offset: number, digest: Digest): void {
  for (let i = 0; i < digestSizeBytes; i++) bytes[offset + i] = Number.parseInt(digest.slice(2 * i, 2 * i + 2), 16);
}

// Sizes go beyond 32 bits, so no bitwise operators.
const isCount = (number: number): boolean => Number.isSafeInteger(number) && number >= 0;
const isOdd = (number: number): boolean => number % 2 === 1;
const half = (number: number): number => Math.floor(number / 2);
const isDigest = (digest: unknown): boolean => typeof digest === 'string' && digestPattern.test(digest);

function isPowerOfTwo(number: number): boolean {
  let rest = number;
  while (rest > 1 && !isOdd(rest)) rest /= 2;
  return rest === 1;
}
