/**
 * Full tree: a Merkle tree that keeps every hash and forgets nothing, as an obvious twin for the one that does.
 *
 * Source: RFC 9162 §2.1.
 */
import { type Digest, digestBytes, sha256, sha256Of } from '../hash.ts';

export class FullTree {
  /** `levels[h]` holds the roots of the complete subtrees of 2^h leaves, from the left. */
  readonly #levels: Digest[][] = [];

  get size(): number {
    return this.#levels[0]?.length ?? 0;
  }

  append(leafHash: Digest): void {
    let subtree = leafHash;
    for (let level = 0; ; level++) {
      this.#levels[level] ??= [];
      const column = this.#levels[level] as Digest[];
      column.push(subtree);
      if (column.length % 2 === 1) return;
      subtree = join(column[column.length - 2] as Digest, subtree);
    }
  }

  root(size: number = this.size): Digest {
    return size === 0 ? sha256(new Uint8Array()) : this.#rootOf(0, size);
  }

  /** Proof that the leaf is in the tree of the first `size` leaves; undefined when it is not, or there is no such tree. */
  inclusionPath(leafIndex: number, size: number): readonly Digest[] | undefined {
    if (!this.#reaches(size) || !isCount(leafIndex) || leafIndex >= size) return undefined;
    const path: Digest[] = [];
    let [start, end] = [0, size];
    while (end - start > 1) {
      const middle = start + splitOf(end - start);
      if (leafIndex < middle) {
        path.push(this.#rootOf(middle, end));
        end = middle;
      } else {
        path.push(this.#rootOf(start, middle));
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
        path.push(this.#rootOf(middle, end));
        end = middle;
      } else {
        path.push(this.#rootOf(start, middle));
        start = middle;
      }
    }
    // When nothing is to its left, this is the root of the old tree, which the verifier has.
    if (start > 0) path.push(this.#rootOf(start, end));
    return path.reverse();
  }

  #rootOf(start: number, end: number): Digest {
    const size = end - start;
    if (size === 1) return this.#levels[0]?.[start] as Digest;
    const split = splitOf(size);
    if (split * 2 === size) return this.#levels[Math.log2(size)]?.[start / size] as Digest;
    return join(this.#rootOf(start, start + split), this.#rootOf(start + split, end));
  }

  #reaches(size: number): boolean {
    return isCount(size) && size <= this.size;
  }
}

/** The largest power of two below a size of at least two. */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

function join(left: Digest, right: Digest): Digest {
  return sha256Of([Uint8Array.of(1), digestBytes(left), digestBytes(right)]);
}

const isCount = (number: number): boolean => Number.isSafeInteger(number) && number >= 0;
