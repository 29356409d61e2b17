/**
 * Subtree: a part of the state that travels by itself: all entries under a path, verified against the hash that the tree has there.
 *
 * In: a checkpoint in an engine; or what somebody says is a part of one. Out: entries; the nodes over them. By their hash the
 * entries under a path are all of them and no others, so who knows the hash need trust nobody (docs/protocol/checkpoints.md T2, T3).
 */
import { sha256Bytes } from '../crypto/hash.ts';
import { StateDamage, type StateView } from './engine.ts';
import { areEqual, type Entry, encodeNode, type Node, nodeOf } from './node.ts';
import { stateKeyText } from './state-key.ts';
import { childPath, isUnder, type StatePath } from './state-path.ts';
import type { StateTree } from './state-tree.ts';
import { engineKey, type TreeTable } from './tables.ts';

export interface PlainEntry {
  /** As in the tree: without the byte of the table. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface BuiltSubtree {
  readonly hash: Uint8Array;
  readonly entryCount: number;
  readonly sizeBytes: number;
  /** As they are stored, from the top down. */
  readonly nodes: readonly { readonly path: StatePath; readonly encoded: Uint8Array }[];
}

/**
 * All entries under a path, ascending by key hash, with their values. `view` holds the checkpoint that `tree` is of. Throws
 * `StateDamage` when nodes or values are not those of the tree.
 */
export function* subtreeEntries(
  view: StateView,
  table: TreeTable,
  tree: StateTree,
  path: StatePath,
): Generator<PlainEntry> {
  for (const { node } of tree.nodesUnder(path)) {
    if (node.kind !== 'bucket') continue;
    for (const entry of node.entries) yield verifiedEntry(view, table, entry);
  }
}

/** With its value. Of an entry of a node, only hashes are covered by the hash of the node. Throws `StateDamage`. */
export function verifiedEntry(view: StateView, table: TreeTable, entry: Entry): PlainEntry {
  const { keyHash, key, valueHash, valueSizeBytes } = entry;
  const value = areEqual(sha256Bytes(key), keyHash) ? view.get(engineKey(table, key)) : undefined;
  const isRight = value?.length === valueSizeBytes && areEqual(sha256Bytes(value), valueHash);
  if (!isRight) throw damageOf(key);
  return { key, value };
}

/** The subtree of these entries under a path; undefined when they cannot be the entries there, in their order. */
export function buildSubtree(path: StatePath, entries: readonly PlainEntry[]): BuiltSubtree | undefined {
  const hashed: Entry[] = [];
  for (const { key, value } of entries) {
    const keyHash = sha256Bytes(key);
    const last = hashed.at(-1);
    const isNext = last === undefined || Buffer.compare(last.keyHash, keyHash) < 0;
    if (!isNext || !isUnder(keyHash, path) || stateKeyText(key) === undefined) return undefined;
    hashed.push({ keyHash, key, valueHash: sha256Bytes(value), valueSizeBytes: value.length });
  }
  const top = nodeOf(hashed, path.length);
  const nodes: { readonly path: StatePath; readonly encoded: Uint8Array }[] = [];
  addNodes(top, path, nodes);
  return { hash: top.hash, entryCount: top.entryCount, sizeBytes: top.sizeBytes, nodes };
}

function addNodes(node: Node, path: StatePath, into: { path: StatePath; encoded: Uint8Array }[]): void {
  if (node.entryCount > 0) into.push({ path, encoded: encodeNode(node) });
  if (node.kind === 'bucket') return;
  for (const [nibble, child] of node.children.entries()) {
    if (child?.node !== undefined) addNodes(child.node, childPath(path, nibble), into);
  }
}

function damageOf(key: Uint8Array): StateDamage {
  return new StateDamage(`The state has not the value of "${stateKeyText(key) ?? '?'}" that its tree says.`);
}
