/**
 * Subtree fold: from subtrees that come one after another, ascending by path, to the tree over all of them.
 *
 * In: what was built from the entries under each path. Out: the inner nodes above, each as soon as all below it is there; in the
 * end the root. Owns the nodes on the way down to the last subtree only, so a state of any size is folded in little memory.
 * Safety: entries and bytes are counted from what was given, and the shape follows from the paths alone: who has
 * the root of the checkpoint has the proof that these were all the entries, and no others.
 */
import { digestFrom } from '../crypto/hash.ts';
import { type Child, childCount, encodeNode, innerOf } from '../state/node.ts';
import { childPath, type StatePath } from '../state/state-path.ts';
import type { BuiltSubtree } from '../state/subtree.ts';
import type { TreeSummary } from '../wire/checkpoint.ts';

export interface FoldedNode {
  readonly path: StatePath;
  /** As it is stored. */
  readonly encoded: Uint8Array;
}

interface OpenNode {
  readonly path: StatePath;
  readonly children: (Child | undefined)[];
}

export class SubtreeFold {
  /** From the root down to the parent of the last subtree. */
  readonly #open: OpenNode[] = [];
  #last: StatePath | undefined;
  #top: Child | undefined;

  /** The next subtree; the inner nodes that are whole now. Undefined when its path does not come after the last one. */
  add(path: StatePath, { hash, entryCount, sizeBytes }: BuiltSubtree): readonly FoldedNode[] | undefined {
    const last = this.#last;
    if (last !== undefined && (path <= last || path.startsWith(last))) return undefined;
    this.#last = path;
    const whole: FoldedNode[] = [];
    for (let open = this.#open.at(-1); open !== undefined && !path.startsWith(open.path); open = this.#open.at(-1)) {
      whole.push(this.#close());
    }
    for (let depth = this.#open.length; depth < path.length; depth++) {
      this.#open.push({ path: path.slice(0, depth), children: new Array(childCount).fill(undefined) });
    }
    this.#place(path, { hash, entryCount, sizeBytes, node: undefined, isStored: true });
    return whole;
  }

  /** No more subtrees: the inner nodes that are left, and what all of them make; undefined when there was none. */
  end(): { readonly nodes: readonly FoldedNode[]; readonly summary: TreeSummary } | undefined {
    const nodes: FoldedNode[] = [];
    while (this.#open.length > 0) nodes.push(this.#close());
    if (this.#top === undefined) return undefined;
    const { hash, entryCount: entries, sizeBytes } = this.#top;
    return { nodes, summary: { root: digestFrom(hash), entries, sizeBytes } };
  }

  #close(): FoldedNode {
    const { path, children } = this.#open.pop() as OpenNode;
    const node = innerOf(children);
    const { hash, entryCount, sizeBytes } = node;
    this.#place(path, { hash, entryCount, sizeBytes, node: undefined, isStored: true });
    return { path, encoded: encodeNode(node) };
  }

  #place(path: StatePath, child: Child): void {
    const parent = this.#open.at(-1);
    if (parent === undefined) this.#top = child;
    else parent.children[this.#nibbleOf(parent, path)] = child;
  }

  #nibbleOf(parent: OpenNode, path: StatePath): number {
    const nibble = Number.parseInt(path.at(-1) as string, 16);
    if (childPath(parent.path, nibble) !== path) throw new Error('invariant: a subtree is not placed under its parent');
    return nibble;
  }
}
