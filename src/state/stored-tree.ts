/**
 * Stored tree: the tree over a table, with what of it the engine holds, and what it is about to hold.
 *
 * In: writes; that what was frozen is in the engine now. Out: the version of now, and the nodes that the engine lacks. Versions
 * never change, so nodes are encoded when the engine takes them, and not while a commit waits.
 */
import type { Digest } from '../crypto/hash.ts';
import type { TreeSummary } from '../wire/checkpoint.ts';
import type { Change, StateView } from './engine.ts';
import type { NodeSource } from './node.ts';
import { nodeKey } from './state-path.ts';
import { StateTree } from './state-tree.ts';
import type { TreeTable } from './tables.ts';

export class StoredTree {
  readonly #table: TreeTable;
  #tree: StateTree;
  /** As of the last `freeze`. */
  #frozen: StateTree;
  /** Frozen, and not in the engine yet; oldest first. */
  #waiting: readonly StateTree[] = [];

  /** `root`: of what the engine holds; undefined when that is nothing. */
  constructor(options: { readonly engine: StateView; readonly table: TreeTable; readonly root: Digest | undefined }) {
    const { engine, table, root } = options;
    this.#table = table;
    const source: NodeSource = { node: (path) => engine.get(nodeKey(table, path)) };
    this.#tree = root === undefined ? StateTree.empty(source) : StateTree.at(source, root);
    this.#frozen = this.#tree;
  }

  get tree(): StateTree {
    return this.#tree;
  }

  /** Keys with their encoded values; undefined deletes. */
  update(writes: ReadonlyMap<string, Uint8Array | undefined>): TreeSummary {
    if (writes.size > 0) this.#tree = this.#tree.update(writes);
    const { root, entries, sizeBytes } = this.#tree;
    return { root, entries, sizeBytes };
  }

  /** The nodes that the engine needs to hold this version, given that it holds the one of the last freeze. */
  freeze(): Iterable<Change> {
    const [table, tree, older] = [this.#table, this.#tree, this.#frozen];
    this.#frozen = tree;
    this.#waiting = [...this.#waiting, tree];
    return {
      *[Symbol.iterator]() {
        for (const { path, encoded } of tree.changesSince(older)) {
          yield { key: nodeKey(table, path), value: encoded };
        }
      },
    };
  }

  /** The engine holds the oldest freeze that it did not. */
  stored(): void {
    const [held, ...waiting] = this.#waiting;
    if (held === undefined) throw new Error('invariant: a tree was stored that was not frozen');
    this.#waiting = waiting;
    this.#tree.unload(held);
  }
}
