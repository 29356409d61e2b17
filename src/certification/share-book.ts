/**
 * Share book: the shares of heads that others sent, as they came, until a certified head covers them.
 *
 * Owns one page for each replica, bounded: a replica that sends shares of anything fills its own page only. When a page is
 * full the share of the oldest commit goes, because a later head covers an earlier one. The first share of a replica for a
 * commit counts.
 */
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';

export interface KeptShare {
  readonly holder: number;
  readonly commitIndex: number;
  /** Of the head that it is for. */
  readonly digest: Digest;
  readonly share: Uint8Array;
}

export class ShareBook {
  readonly #pages: readonly Map<number, KeptShare>[];

  constructor(replicas: number) {
    this.#pages = Array.from({ length: replicas }, () => new Map());
  }

  add(kept: KeptShare): void {
    const page = this.#pageOf(kept.holder);
    if (page.has(kept.commitIndex)) return;
    // A copy: what came is cut from a larger buffer.
    page.set(kept.commitIndex, { ...kept, share: Uint8Array.from(kept.share) });
    if (page.size > limits.headSharesPerReplicaMax) page.delete(Math.min(...page.keys()));
  }

  /** All shares of a commit, by whomever and of whatever head. */
  at(commitIndex: number): readonly KeptShare[] {
    return this.#pages.flatMap((page) => page.get(commitIndex) ?? []);
  }

  /** How many hold a share of this head. */
  countOf(commitIndex: number, digest: Digest): number {
    let count = 0;
    for (const page of this.#pages) if (page.get(commitIndex)?.digest === digest) count += 1;
    return count;
  }

  /** The commits above the first and up to the second of which there are shares. */
  commitsIn(above: number, upTo: number): readonly number[] {
    const found = new Set<number>();
    for (const page of this.#pages) {
      for (const commitIndex of page.keys()) if (commitIndex > above && commitIndex <= upTo) found.add(commitIndex);
    }
    return [...found];
  }

  /** Removes the shares of commits up to this one. */
  takeUpTo(commitIndex: number): readonly KeptShare[] {
    const taken: KeptShare[] = [];
    for (const page of this.#pages) {
      for (const kept of page.values()) {
        if (kept.commitIndex > commitIndex) continue;
        page.delete(kept.commitIndex);
        taken.push(kept);
      }
    }
    return taken;
  }

  /** Removes all shares of a replica. */
  clear(holder: number): void {
    this.#pageOf(holder).clear();
  }

  #pageOf(holder: number): Map<number, KeptShare> {
    const page = this.#pages[holder];
    if (page === undefined) throw new Error(`invariant: a share came from ${holder}, which is no replica`);
    return page;
  }
}
