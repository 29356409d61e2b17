/**
 * Merkle store: where a Merkle tree keeps its hashes: packed, without an object for a node.
 *
 * Owns bytes only. What it hands out are views, to be read at once.
 */
import { hash } from 'node:crypto';
import { type Digest, digestBytes, digestFrom, digestSizeBytes } from './hash.ts';

/** Subtrees of this many levels are kept, stored and sent as one. */
export const chunkHeight = 10;
/** Leaves in a chunk. */
export const chunkLeaves = 2 ** chunkHeight;

/** Hashes in one buffer of a column: all of them go at once. */
const hashesPerBuffer = 64;
const interiorPrefix = 1;

/** Up to 1,024 leaves and the roots of all complete subtrees of them. */
export class LeafChunk {
  readonly #bytes = new Uint8Array((2 * chunkLeaves - 1) * digestSizeBytes);
  #length = 0;

  /** `leaves`: their hashes, one after another. */
  static of(leaves: Uint8Array): LeafChunk {
    const chunk = new LeafChunk();
    for (let at = 0; at < leaves.length; at += digestSizeBytes) chunk.append(leaves.subarray(at, at + digestSizeBytes));
    return chunk;
  }

  get isComplete(): boolean {
    return this.#length === chunkLeaves;
  }

  /** Hashes of the leaves, one after another. */
  get leaves(): Uint8Array {
    return this.#bytes.subarray(0, this.#length * digestSizeBytes);
  }

  /** Of a complete chunk. */
  get root(): Uint8Array {
    return this.at(chunkHeight, 0);
  }

  append(leaf: Uint8Array): void {
    if (this.isComplete) throw new Error('invariant: a chunk takes no more leaves');
    let index = this.#length;
    this.#length += 1;
    this.#bytes.set(leaf, offsetOf(0, index));
    for (let level = 1; index % 2 === 1; level++) {
      const subtree = interiorHash(this.#view(level - 1, index - 1), this.#view(level - 1, index));
      index >>= 1;
      this.#bytes.set(subtree, offsetOf(level, index));
    }
  }

  /** Root of the complete subtree of 2^level leaves that has this index among those, from the left. */
  at(level: number, index: number): Uint8Array {
    if ((index + 1) * 2 ** level > this.#length) throw new Error(`invariant: no subtree ${index} at level ${level}`);
    return this.#view(level, index);
  }

  #view(level: number, index: number): Uint8Array {
    const offset = offsetOf(level, index);
    return this.#bytes.subarray(offset, offset + digestSizeBytes);
  }
}

/** Hashes in a row, of which the first are forgotten, in buffers that are never moved. */
export class HashColumn {
  readonly #buffers = new Map<number, Uint8Array>();
  #begin: number;
  #end: number;

  /** `begin`: index of the first that will be appended. */
  constructor(begin: number) {
    this.#begin = begin;
    this.#end = begin;
  }

  /** Index of the next. */
  get end(): number {
    return this.#end;
  }

  append(bytes: Uint8Array): void {
    const number = Math.floor(this.#end / hashesPerBuffer);
    let buffer = this.#buffers.get(number);
    if (buffer === undefined) {
      buffer = new Uint8Array(hashesPerBuffer * digestSizeBytes);
      this.#buffers.set(number, buffer);
    }
    buffer.set(bytes, (this.#end % hashesPerBuffer) * digestSizeBytes);
    this.#end += 1;
  }

  at(index: number): Uint8Array {
    const buffer = this.#buffers.get(Math.floor(index / hashesPerBuffer));
    if (buffer === undefined || index < this.#begin || index >= this.#end) {
      throw new Error(`invariant: no hash ${index} from ${this.#begin} to ${this.#end}`);
    }
    const offset = (index % hashesPerBuffer) * digestSizeBytes;
    return buffer.subarray(offset, offset + digestSizeBytes);
  }

  dropBefore(index: number): void {
    if (index <= this.#begin) return;
    this.#begin = index;
    const first = Math.floor(index / hashesPerBuffer);
    for (const number of this.#buffers.keys()) {
      if (number >= first) return;
      this.#buffers.delete(number);
    }
  }
}

const interior = new Uint8Array(1 + 2 * digestSizeBytes);
interior[0] = interiorPrefix;

/** The hash of an interior node: of 0x01 and those of its halves. */
export function interiorHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  interior.set(left, 1);
  interior.set(right, 1 + digestSizeBytes);
  return hash('sha256', interior, 'buffer');
}

export function joined(left: Digest, right: Digest): Digest {
  return digestFrom(interiorHash(digestBytes(left), digestBytes(right)));
}

/** Where the subtree stands: level after level, the leaves first. */
function offsetOf(level: number, index: number): number {
  return (2 * chunkLeaves - 2 * (chunkLeaves >> level) + index) * digestSizeBytes;
}
