/**
 * Merkle tree: an append-only list of leaf hashes with the root and the proofs of every size it ever had.
 *
 * In: leaf hashes, in order. Out: roots and paths, in O(log n). Owns the hashes of all complete subtrees, by level, 32 bytes
 * each in packed buffers: 64 bytes a leaf in all, and no object for a node. Nothing is ever changed or taken away.
 * Source: RFC 9162 §2.1 (as RFC 6962 §2.1): MTH, PATH and PROOF.
 */
import { hash } from 'node:crypto';
import { type Digest, digestBytes, digestFrom, digestSizeBytes, sha256 } from './hash.ts';
import { interiorPrefix } from './merkle-proof.ts';

/** Hashes in one buffer of a level. */
const hashesPerChunk = 512;

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
    return size === 0 ? sha256(new Uint8Array()) : digestFrom(this.#rootOf(0, size));
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

const isCount = (number: number): boolean => Number.isSafeInteger(number) && number >= 0;
