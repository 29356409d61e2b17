/**
 * Merkle tree: an append-only list of leaf hashes that forgets its oldest, with the root and the proofs of every size since
 * then; and the checks of such proofs.
 *
 * In: leaf hashes, in order. Out: roots and paths, in O(log n). Leaves are kept in chunks of 1,024. Owns the roots of the
 * complete subtrees of whole chunks, 64 bytes a chunk; the leaves of chunks that nobody else holds yet; and the subtrees of
 * the few chunks last used. The leaves of all others are read from a source, and held against the root of their chunk.
 *
 * Proofs from `retainedFrom` on, a multiple of 1,024, need nothing older than the **frontier** there: the roots of the
 * complete subtrees that make up the tree of the first `retainedFrom` leaves, one for each bit of that number. For what a path
 * takes from the left is the left half of a pair whose other half reaches to a leaf or size that is retained. Either that left
 * half ends after `retainedFrom`: then it was completed here, out of the frontier and retained leaves. Or it ends at or before
 * it: then `retainedFrom` lies in the other half, so its bit for this height is set, and the left half is that subtree of the
 * frontier. What a path takes from the right holds retained leaves only.
 * Safety: a check refuses a path of any other length, order or content than the one that the RFC has; it never throws.
 * Source: RFC 9162 §2.1 (as RFC 6962 §2.1): MTH, PATH, PROOF, and §2.1.3.2 and §2.1.4.2 step by step.
 */
import { type Digest, digestBytes, digestFrom, digestSizeBytes, parseDigest, sha256, sha256Of } from './hash.ts';
import { chunkHeight, chunkLeaves, HashColumn, interiorHash, joined, LeafChunk } from './merkle-store.ts';

/** Chunks whose subtrees are kept, of 64 KiB each: the last ones are asked for all the time. */
const chunksKept = 32;
const leafPrefix = Uint8Array.of(0);
const emptyRoot = sha256(new Uint8Array());

/** The hash of a leaf: of 0x00 and the entry. */
export function leafHashOf(entry: Uint8Array): Digest {
  return sha256Of([leafPrefix, entry]);
}

/** Who holds the leaves that the tree does not. */
export interface LeafSource {
  /** The leaf hashes of a complete chunk, one after another; undefined when they are gone. */
  chunk(number: number): Uint8Array | undefined;
  /** What the tree is to throw when they are gone, or others than it is of. */
  damage(number: number): Error;
}

/** Where a tree goes on that was begun elsewhere. */
export interface TreeBeginning {
  /** A multiple of 1,024. */
  readonly retainedFrom: number;
  /** Of the first `retainedFrom` leaves. */
  readonly frontier: readonly Digest[];
  /** Of the complete chunks after these. */
  readonly chunkRoots: Iterable<Digest>;
  /** Leaf hashes of the chunk that is not complete, one after another. */
  readonly lastLeaves: Uint8Array;
}

export class MerkleTree {
  /** `levels[h]` holds the roots of the complete subtrees of 2^h chunks, from the frontier on. */
  readonly #levels: HashColumn[] = [];
  readonly #source: LeafSource | undefined;
  /** Leaves of complete chunks that the source does not hold yet. */
  readonly #unstored = new Map<number, Uint8Array>();
  /** The chunks last used, the latest last. */
  readonly #kept = new Map<number, LeafChunk>();
  /** The chunk that is not complete. */
  #last = new LeafChunk();
  #retainedFrom = 0;
  #size = 0;

  /** Without a source it never forgets leaves, unless they are pruned. Throws a RangeError for no beginning of a tree. */
  constructor({ from, source }: { readonly from?: TreeBeginning | undefined; readonly source?: LeafSource } = {}) {
    this.#source = source;
    if (from !== undefined) this.#begin(from);
  }

  /** Leaves. */
  get size(): number {
    return this.#size;
  }

  /** The first leaf, and the first size, that there are proofs of. */
  get retainedFrom(): number {
    return this.#retainedFrom;
  }

  append(leafHash: Digest): void {
    this.#append(digestBytes(leafHash));
    if (!this.#last.isComplete) return;
    const number = this.#size / chunkLeaves - 1;
    this.#unstored.set(number, this.#last.leaves.slice());
    this.#keep(number, this.#last);
    this.#appendChunk(this.#last.root);
    this.#last = new LeafChunk();
  }

  /** Root of the tree of the first `size` leaves. Throws a RangeError when there were never so many, or not any more. */
  root(size: number = this.size): Digest {
    if (size === 0) return emptyRoot;
    this.#checkReach(size);
    return digestFrom(this.#rootOf(0, size));
  }

  /** Roots of the largest complete subtrees that make up the tree of the first `size` leaves, from the left. As `root`. */
  frontier(size: number = this.size): readonly Digest[] {
    this.#checkReach(size);
    const roots: Digest[] = [];
    for (let start = 0; start < size; ) {
      const end = start + powerOfTwoWithin(size - start);
      roots.push(digestFrom(this.#rootOf(start, end)));
      start = end;
    }
    return roots;
  }

  /**
   * Proof that the leaf is in the tree of the first `size` leaves; undefined when it is not, or not any more, or there is no
   * such tree.
   */
  inclusionPath(leafIndex: number, size: number): readonly Digest[] | undefined {
    if (!this.#reaches(size) || !isCount(leafIndex) || leafIndex >= size) return undefined;
    if (leafIndex < this.#retainedFrom) return undefined;
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
   * there is no such pair, or not any more.
   */
  consistencyPath(from: number, to: number): readonly Digest[] | undefined {
    if (!this.#reaches(to) || !isCount(from) || from > to) return undefined;
    if (from === 0 || from === to) return [];
    if (from < this.#retainedFrom) return undefined;
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

  /** The leaf hashes of a retained chunk, as many as there are; undefined when there are none. Not to be changed. */
  leaves(chunk: number): Uint8Array | undefined {
    if (!isCount(chunk) || chunk * chunkLeaves < this.#retainedFrom || chunk * chunkLeaves >= this.#size)
      return undefined;
    if (chunk === Math.floor(this.#size / chunkLeaves)) return this.#last.leaves.slice();
    return this.#unstored.get(chunk) ?? this.#chunk(chunk).leaves;
  }

  /** Root of a retained chunk that is complete. */
  chunkRoot(chunk: number): Digest {
    return digestFrom(this.#level(0).at(chunk));
  }

  /** What a retained chunk that is complete is joined with, up to the root in the frontier of all leaves that it is under. */
  chunkPath(chunk: number): readonly Digest[] {
    const path: Digest[] = [];
    let index = chunk;
    for (const column of this.#levels) {
      const sibling = isOdd(index) ? index - 1 : index + 1;
      if (sibling >= column.end) break;
      path.push(digestFrom(column.at(sibling)));
      index = half(index);
    }
    return path;
  }

  /** The source holds the complete ones among the first `size` leaves from now on. */
  stored(size: number): void {
    if (this.#source === undefined) throw new Error('invariant: leaves are stored where no tree reads them');
    for (const number of this.#unstored.keys()) {
      if ((number + 1) * chunkLeaves <= size) this.#unstored.delete(number);
    }
  }

  /** Forgets the chunks that end at or before this leaf. */
  prune(before: number): void {
    const chunks = Math.floor(Math.min(before, this.#size) / chunkLeaves);
    if (chunks * chunkLeaves <= this.#retainedFrom) return;
    this.#retainedFrom = chunks * chunkLeaves;
    let index = chunks;
    for (const column of this.#levels) {
      column.dropBefore(isOdd(index) ? index - 1 : index);
      index = half(index);
    }
    for (const held of [this.#unstored, this.#kept]) {
      for (const number of held.keys()) if (number < chunks) held.delete(number);
    }
  }

  #begin({ retainedFrom, frontier, chunkRoots, lastLeaves }: TreeBeginning): void {
    if (!isCount(retainedFrom) || retainedFrom % chunkLeaves !== 0) throw new RangeError('no chunk begins there');
    if (lastLeaves.length % digestSizeBytes !== 0) throw new RangeError('the last leaves are not whole');
    if (lastLeaves.length >= chunkLeaves * digestSizeBytes) throw new RangeError('the last leaves are a whole chunk');
    this.#retainedFrom = retainedFrom;
    this.#size = retainedFrom;
    let left = frontier.length;
    for (let index = retainedFrom / chunkLeaves; index > 0; index = half(index)) {
      const column = new HashColumn(isOdd(index) ? index - 1 : index);
      this.#levels.push(column);
      if (!isOdd(index)) continue;
      left -= 1;
      const root = frontier[left];
      if (root === undefined) throw new RangeError('the frontier is too short');
      column.append(digestBytes(root));
    }
    if (left !== 0) throw new RangeError('the frontier is too long');
    for (const root of chunkRoots) {
      this.#size += chunkLeaves;
      this.#appendChunk(digestBytes(root));
    }
    for (let at = 0; at < lastLeaves.length; at += digestSizeBytes) {
      this.#append(lastLeaves.subarray(at, at + digestSizeBytes));
    }
  }

  #append(leaf: Uint8Array): void {
    this.#last.append(leaf);
    this.#size += 1;
  }

  #appendChunk(root: Uint8Array): void {
    let subtree = root;
    for (let level = 0; ; level++) {
      const column = this.#level(level);
      column.append(subtree);
      if (isOdd(column.end)) return;
      subtree = interiorHash(column.at(column.end - 2), subtree);
    }
  }

  /** Hash of a subtree as the RFC cuts the tree: its first leaf is a multiple of the power of two that it fills or begins. */
  #rootOf(start: number, end: number): Uint8Array {
    const size = end - start;
    if (isPowerOfTwo(size)) {
      const level = Math.log2(size);
      if (level >= chunkHeight) return this.#level(level - chunkHeight).at(start / size);
      return this.#chunk(Math.floor(start / chunkLeaves)).at(level, (start % chunkLeaves) / size);
    }
    // Only the last of these subtrees is incomplete, so this goes down one side.
    const split = splitOf(size);
    return interiorHash(this.#rootOf(start, start + split), this.#rootOf(start + split, end));
  }

  #chunk(number: number): LeafChunk {
    if (number === Math.floor(this.#size / chunkLeaves)) return this.#last;
    const chunk = this.#kept.get(number) ?? this.#load(number);
    this.#keep(number, chunk);
    return chunk;
  }

  #load(number: number): LeafChunk {
    const leaves = this.#unstored.get(number) ?? this.#source?.chunk(number);
    const chunk = leaves?.length === chunkLeaves * digestSizeBytes ? LeafChunk.of(leaves) : undefined;
    if (chunk !== undefined && Buffer.compare(chunk.root, this.#level(0).at(number)) === 0) return chunk;
    throw this.#source?.damage(number) ?? new Error(`invariant: the leaves of chunk ${number} are gone`);
  }

  #keep(number: number, chunk: LeafChunk): void {
    this.#kept.delete(number);
    this.#kept.set(number, chunk);
    if (this.#kept.size <= chunksKept) return;
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest);
      return;
    }
  }

  #checkReach(size: number): void {
    if (!this.#reaches(size)) throw new RangeError(`there is no tree of ${size} leaves among ${this.size}`);
    if (size < this.#retainedFrom) throw new RangeError(`the tree of ${size} leaves is forgotten`);
  }

  #reaches(size: number): boolean {
    return isCount(size) && size <= this.size;
  }

  #level(level: number): HashColumn {
    let column = this.#levels[level];
    if (column === undefined) {
      column = new HashColumn(0);
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

/** The largest power of two below a size of at least two. */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/** The largest power of two that is not above a size of at least one. */
function powerOfTwoWithin(size: number): number {
  return isPowerOfTwo(size) ? size : splitOf(size);
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
