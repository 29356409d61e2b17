/**
 * Provable states: the tree as it was at the last few due heads, so that a key can be proven against the certified one.
 *
 * In: the tree at each due head; which head is certified. Out: the tree of a head. Versions share all that did not change.
 * Kept are the newest certified one and those after it, which may be certified next.
 */
import type { StateTree } from '../state/state-tree.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';

interface Version {
  readonly commitIndex: number;
  readonly tree: StateTree;
}

export class ProvableStates {
  /** Oldest first. */
  #versions: readonly Version[] = [];

  add(commitIndex: number, tree: StateTree): void {
    this.#versions = [...this.#versions, { commitIndex, tree }].slice(-limits.provableHeadsMax);
  }

  /** The head of this commit is certified: those before it are of no use. */
  certified(commitIndex: number): void {
    const newest = this.#versions.findLastIndex((version) => version.commitIndex <= commitIndex);
    if (newest > 0) this.#versions = this.#versions.slice(newest);
  }

  /** Undefined when it is not kept, or the head is not ours. */
  of(head: Head): StateTree | undefined {
    const found = this.#versions.find(({ commitIndex }) => commitIndex === head.commitIndex);
    return found?.tree.root === head.stateRoot ? found.tree : undefined;
  }
}
