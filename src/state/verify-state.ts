/**
 * Verify state: looks at all that an engine holds of a checkpoint's tree, and holds it against the root.
 *
 * In: an engine, the root. Out: how far it is, often, so that the event loop need not be held; throws `StateDamage` at the first
 * thing that is not as the root says: a node, a value, an entry that is missing, one too many. After it, what the engine holds is
 * exactly what the checkpoint says.
 */
import type { TreeSummary } from '../wire/checkpoint.ts';
import { StateDamage, type StateView } from './engine.ts';
import { nodeKey } from './state-path.ts';
import { StateTree } from './state-tree.ts';
import { verifiedEntry } from './subtree.ts';
import { engineRange, type Table, type TreeTable } from './tables.ts';

/** Keys that are only counted between two signs of progress. */
const keysPerProgress = 1_024;

/** Yields the number of entries verified so far, again and again. */
export function* verifyTree(view: StateView, table: TreeTable, summary: TreeSummary): Generator<number> {
  const tree = StateTree.at({ node: (path) => view.get(nodeKey(table, path)) }, summary.root);
  let entries = 0;
  let nodes = 0;
  for (const { node } of tree.nodesUnder('')) {
    if (node.entryCount > 0) nodes += 1;
    if (node.kind === 'bucket') {
      for (const entry of node.entries) verifiedEntry(view, table, entry);
      entries += node.entries.length;
    }
    yield entries;
  }
  if (entries !== summary.entries || tree.sizeBytes !== summary.sizeBytes) {
    throw new StateDamage(`The state has ${entries} entries where its checkpoint says ${summary.entries}.`);
  }
  for (const _ of counted(view, table, { keys: entries })) yield entries;
  for (const _ of counted(view, `${table}Nodes`, { keys: nodes })) yield entries;
}

/** All that the tree leads to is there; so if there are as many, there is nothing else. */
function* counted(view: StateView, table: Table, expected: { readonly keys: number }): Generator<void> {
  let keys = 0;
  for (const _ of view.keys(engineRange(table))) {
    keys += 1;
    if (keys % keysPerProgress === 0) yield;
  }
  if (keys !== expected.keys) {
    throw new StateDamage(`The state has ${keys} keys in ${table} where its tree has ${expected.keys}.`);
  }
}
