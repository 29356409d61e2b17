/**
 * Verify state: looks at all that an engine holds of a checkpoint's tree, and holds it against the root.
 *
 * In: an engine, the root. Out: how far it is, now and then, so that the event loop is not held; throws `StateDamage` at the first
 * thing that is not as the root says: a node, a value, an entry that is missing, one too many. After it, what the engine holds is
 * exactly what the checkpoint says.
 */
import type { TreeSummary } from '../wire/checkpoint.ts';
import { StateDamage, type StateView } from './engine.ts';
import { childPath, nodeKey, type StatePath } from './state-path.ts';
import { StateTree } from './state-tree.ts';
import { subtreeEntries } from './subtree.ts';
import { engineRange, type TreeTable } from './tables.ts';

/** Entries looked at between two signs of progress. */
const progressEntries = 256;

/** Yields the number of entries verified so far. */
export function* verifyTree(view: StateView, table: TreeTable, summary: TreeSummary): Generator<number> {
  const tree = StateTree.at({ node: (path) => view.get(nodeKey(table, path)) }, summary.root);
  let entries = 0;
  for (const _ of subtreeEntries(view, table, tree, '')) {
    entries += 1;
    if (entries % progressEntries === 0) yield entries;
  }
  const { entries: said, sizeBytes } = summary;
  if (entries !== said || tree.entries !== said || tree.sizeBytes !== sizeBytes) {
    throw new StateDamage(`The state has ${entries} entries where its checkpoint says ${said}.`);
  }
  yield* countedIn(view, table, entries, 'entries');
  yield* countedIn(view, `${table}Nodes`, countNodes(tree, ''), 'nodes');
}

/** What was met by the tree is all there; so if there are as many, there is nothing else. */
function* countedIn(
  view: StateView,
  table: TreeTable | `${TreeTable}Nodes`,
  expected: number,
  what: string,
): Generator<number> {
  let count = 0;
  for (const _ of view.keys(engineRange(table))) {
    count += 1;
    if (count % (8 * progressEntries) === 0) yield count;
  }
  if (count !== expected) throw new StateDamage(`The state has ${count} ${what} where its tree has ${expected}.`);
}

/** The nodes from a path down. What a node says of those under it is not hashed, and later trees take their shape from it. */
function countNodes(tree: StateTree, path: StatePath): number {
  const node = tree.node(path);
  if (node === undefined) throw new StateDamage(`The state lacks the node ${path} of its tree.`);
  if (node.kind === 'bucket') return node.entryCount === 0 ? 0 : 1;
  let count = 1;
  for (const [nibble, child] of node.children.entries()) {
    if (child === undefined) continue;
    const below = childPath(path, nibble);
    count += countNodes(tree, below);
    const { entryCount, sizeBytes } = tree.node(below) ?? node;
    if (entryCount !== child.entryCount || sizeBytes !== child.sizeBytes) {
      throw new StateDamage(`The node ${path} of the state tree says wrong numbers of what is under it.`);
    }
  }
  return count;
}
