/**
 * Merkle tree: an append-only list of leaf hashes with the root and the proofs of every size it ever had; and the checks
 * of such proofs.
 *
 * In: leaf hashes, in order. Out: roots and paths, in O(log n). Owns the hashes of all complete subtrees, by level, 32 bytes
 * each in packed buffers: 64 bytes a leaf in all, and no object for a node. Nothing is ever changed or taken away.
 * Safety: a check refuses a path of any other length, order or content than the one that the RFC has; it never throws.
 * Source: RFC 9162 §2.1 (as RFC 6962 §2.1): MTH, PATH, PROOF, and §2.1.3.2 and §2.1.4.2 step by step.
 */
import { hash } from 'node:crypto';
import { type Digest, digestBytes, digestFrom, digestSizeBytes, parseDigest, sha256, sha256Of } from './hash.ts';

/** Hashes in one buffer of a level. */
const hashesPerChunk = 512;
const leafPrefix = Uint8Array.of(0);
const interiorPrefix = 1;
const emptyRoot = sha256(new Uint8Array());

/** The hash of a leaf: of 0x00 and the entry. */
export function leafHashOf(entry: Uint8Array): Digest {
  return sha256Of([leafPrefix, entry]);
}

export class MerkleTree {
  /** `levels[h]` holds the roots of the complete subtrees of 2^h leaves, from the left. */
  readonly #levels: HashColumn[] = [];

  /** Leaves. */
  get size(): number {
    return this.#levels[0]?.length ?? 0;
  }

  append(leafHash: Digest): void {
    let subtree = digestBytes(leafHash);
    for (let level = 0; ; level++) {
      const column = this.#columnOf(level);
      column.append(subtree);
      if (column.length % 2 === 1) return;
      subtree = interiorHash(column.at(column.length - 2), subtree);
    }
  }

  /** Root of the tree of the first `size` leaves. Throws a RangeError when there were never so many. */
  root(size: number = this.size): Digest {
    if (!this.#reaches(size)) throw new RangeError(`there is no tree of ${size} leaves among ${this.size}`);
    return size === 0 ? emptyRoot : digestFrom(this.#rootOf(0, size));
  }

  /** Proof that the leaf is in the tree of the first `size` leaves; undefined when it is not, or there is no such tree. */
  inclusionPath(leafIndex: number, size: number): readonly Digest[] | undefined {
    if (!this.#reaches(size) || !isCount(leafIndex) || leafIndex >= size) return undefined;
    const path: Digest[] = [];
    let [start, end] = [0, size];
    while (end - start > 1) {
      const middle = start + splitOf(end - start);
      if (leafIndex < middle) {
        path.push(digestFrom(this.#rootOf(middle, end)));
        end = middle;
      } else {
        path.push(digestFrom(this.#rootOf(start, middle)));
        start = middle;
      }
    }
    return path.reverse();
  }

  /**
   * Proof that the tree of `to` leaves begins with that of `from`; empty from nothing and from itself. Undefined when
   * there is no such pair.
   */
  consistencyPath(from: number, to: number): readonly Digest[] | undefined {
    if (!this.#reaches(to) || !isCount(from) || from > to) return undefined;
    if (from === 0 || from === to) return [];
    const path: Digest[] = [];
    let [start, end] = [0, to];
    while (from < end) {
      const middle = start + splitOf(end - start);
      if (from <= middle) {
        path.push(digestFrom(this.#rootOf(middle, end)));
        end = middle;
      } else {
        path.push(digestFrom(this.#rootOf(start, middle)));
        start = middle;
      }
    }
    // When nothing is to its left, this is the root of the old tree, which the verifier has.
    if (start > 0) path.push(digestFrom(this.#rootOf(start, end)));
    return path.reverse();
  }

  /** Hash of a subtree as the RFC cuts the tree: its first leaf is a multiple of the power of two that it fills or begins. */
  #rootOf(start: number, end: number): Uint8Array {
    const size = end - start;
    if (size === 1) return this.#columnOf(0).at(start);
    const split = splitOf(size);
    // Only the last of these subtrees is incomplete, so this goes down one side.
    if (split * 2 === size) return this.#columnOf(Math.log2(size)).at(start / size);
    return interiorHash(this.#rootOf(start, start + split), this.#rootOf(start + split, end));
  }

  #reaches(size: number): boolean {
    return isCount(size) && size <= this.size;
  }

  #columnOf(level: number): HashColumn {
    let column = this.#levels[level];
    if (column === undefined) {
      column = new HashColumn();
      this.#levels[level] = column;
    }
    return column;
  }
}

/** Is the leaf at this index, from 0, of the tree with this size and root? */
export function verifyInclusion(claim: {
  readonly leaf: Digest;
  readonly index: number;
  readonly size: number;
  readonly root: Digest;
  readonly path: readonly Digest[];
}): boolean {
  const { leaf, index, size, root, path } = claim;
  if (!isCount(index) || !isCount(size) || index >= size) return false;
  if (![leaf, root, ...path].every(isDigest)) return false;
  let fn = index;
  let sn = size - 1;
  let r = leaf;
  for (const p of path) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      r = joined(p, r);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      r = joined(r, p);
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
  readonly fromSize: number;
  readonly fromRoot: Digest;
  readonly toSize: number;
  readonly toRoot: Digest;
  readonly path: readonly Digest[];
}): boolean {
  const { fromSize, fromRoot, toSize, toRoot } = claim;
  if (!isCount(fromSize) || !isCount(toSize) || fromSize > toSize) return false;
  if (![fromRoot, toRoot, ...claim.path].every(isDigest)) return false;
  if (fromSize === toSize) return claim.path.length === 0 && fromRoot === toRoot;
  if (fromSize === 0) return claim.path.length === 0 && fromRoot === emptyRoot;
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
      fr = joined(c, fr);
      sr = joined(c, sr);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = joined(sr, c);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return fr === fromRoot && sr === toRoot && sn === 0;
}

/** Hashes in a row, in buffers that are never moved. */
class HashColumn {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(bytes: Uint8Array): void {
    const place = this.#length % hashesPerChunk;
    if (place === 0) this.#chunks.push(new Uint8Array(hashesPerChunk * digestSizeBytes));
    this.#chunks[this.#chunks.length - 1]?.set(bytes, place * digestSizeBytes);
    this.#length += 1;
  }

  /** A view: to be read at once. */
  at(index: number): Uint8Array {
    const chunk = this.#chunks[Math.floor(index / hashesPerChunk)];
    if (chunk === undefined || index >= this.#length) throw new Error(`invariant: no hash ${index} of ${this.#length}`);
    const offset = (index % hashesPerChunk) * digestSizeBytes;
    return chunk.subarray(offset, offset + digestSizeBytes);
  }
}

/** The largest power of two below a size of at least two. */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

const interior = new Uint8Array(1 + 2 * digestSizeBytes);
interior[0] = interiorPrefix;

function interiorHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  interior.set(left, 1);
  interior.set(right, 1 + digestSizeBytes);
  return hash('sha256', interior, 'buffer');
}

function joined(left: Digest, right: Digest): Digest {
  return digestFrom(interiorHash(digestBytes(left), digestBytes(right)));
}

// Sizes go beyond 32 bits, so no bitwise operators.
const isCount = (number: number): boolean => Number.isSafeInteger(number) && number >= 0;
const isOdd = (number: number): boolean => number % 2 === 1;
const half = (number: number): number => Math.floor(number / 2);
const isDigest = (text: unknown): boolean => typeof text === 'string' && parseDigest(text) !== undefined;

function isPowerOfTwo(number: number): boolean {
  let rest = number;
  while (rest > 1 && !isOdd(rest)) rest /= 2;
  return rest === 1;
}
