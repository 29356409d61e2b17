/**
 * Tree transfer: makes the entries and nodes of one tree in an engine those that a root says, out of what lies there and parts
 * that others give.
 *
 * In: the engine, parts. Out: parts that are wanted, changes. From the root down: a node or bucket that is here and right, value
 * by value, is kept; another one is wanted. What is known is the hash of each part before it is asked for, so nobody is trusted.
 * Nodes are written after all that is under them, with counts of our own: those that others say are not under the hash.
 * Safety: no change is made but to what a verified hash demands, so whenever it ends the tree is the one of the root (S3).
 * Cost: reading is bounded by what a step may take; memory by the depth of the tree and by what is asked for at once.
 */
import { digestBytes, sha256Bytes } from '../crypto/hash.ts';
import {
  areEqual,
  type Bucket,
  bucketOf,
  type Child,
  childCount,
  childOf,
  decodeAnyNode,
  decodeNode,
  type Entry,
  emptyNode,
  encodeNode,
  type Inner,
  innerOf,
  type Node,
} from '../state/node.ts';
import { childPath, isUnder, nodeKey, type StatePath } from '../state/state-path.ts';
import { buildSubtree } from '../state/subtree.ts';
import { engineKey, type TreeTable } from '../state/tables.ts';
import type { TreeSummary } from '../wire/checkpoint.ts';
import { limits } from '../wire/limits.ts';
import type { StatePart } from '../wire/state-message.ts';
import type { ReadAllowance } from './read-allowance.ts';
import { hexOf, type Staged } from './staged.ts';
import type { FinishedSubtree, VerifiedSubtrees } from './verified-subtrees.ts';

export interface WantedPart {
  readonly path: StatePath;
  readonly hash: Uint8Array;
  /** An inner node lies here that is not the right one: likely most of what is under it is right. */
  readonly nodeOnly: boolean;
  /** About: as whoever gave the node above says. */
  readonly sizeBytes: number;
}

/** A subtree that is to be there. */
interface Target {
  readonly path: StatePath;
  readonly hash: Uint8Array;
  readonly sizeBytes: number;
  readonly above: OpenNode | undefined;
  readonly nibble: number;
}

/** An inner node that is right, not all of whose children are there. */
interface OpenNode {
  readonly target: Target;
  readonly children: (Child | undefined)[];
  left: number;
  nodeCount: number;
  /** As it lies in the engine. */
  readonly stored: Uint8Array | undefined;
  /** As the replica says that gave the node. */
  readonly said: Inner | undefined;
  readonly from: number | undefined;
}

type Work =
  | { readonly kind: 'look'; readonly target: Target }
  /** Nothing under this path is wanted but these keys and nodes. */
  | { readonly kind: 'clear'; readonly path: StatePath; readonly kept: Kept };

interface Kept {
  /** Keys and paths, as in the engine, hex. */
  readonly keys: ReadonlySet<string>;
}

const keepNothing: Kept = { keys: new Set() };

/** Wanted parts after which looking for more of them stops. */
const wantedMax = 256;

export interface TreeTransferOptions {
  readonly staged: Staged;
  readonly table: TreeTable;
  readonly summary: TreeSummary;
  /** Subtrees that were made right before, in this process. */
  readonly verified: VerifiedSubtrees;
  /** Somebody gave a node with counts that turned out to be wrong. */
  readonly misled: (from: number) => void;
}

export class TreeTransfer {
  readonly #options: TreeTransferOptions;
  /** The last first. */
  readonly #work: Work[] = [];
  readonly #wanted: (Target & { readonly nodeOnly: boolean })[] = [];
  /** Given out by `next`, by path. */
  readonly #asked = new Map<StatePath, Target>();
  #finished: FinishedSubtree | undefined;
  #entries = 0;
  #sizeBytes = 0;

  constructor(options: TreeTransferOptions) {
    this.#options = options;
    const { root, entries, sizeBytes } = options.summary;
    const top = { hash: digestBytes(root), sizeBytes: partSizeBytes(entries, sizeBytes) };
    const target = { ...top, path: '', above: undefined, nibble: 0 };
    this.#work.push({ kind: 'look', target });
  }

  /** What the tree covers, when all of it is there. */
  get finished(): FinishedSubtree | undefined {
    return this.#work.length === 0 ? this.#finished : undefined;
  }

  /** Verified so far. */
  get entries(): number {
    return this.#entries;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** There is something here to look at. */
  get hasWork(): boolean {
    return this.#work.length > 0 && this.#wanted.length < wantedMax;
  }

  /** Looks at what is here, as far as the allowance goes. */
  look(allowance: ReadAllowance): void {
    while (this.hasWork && !allowance.isSpent) {
      const work = this.#work.pop() as Work;
      if (work.kind === 'look') this.#look(work.target, allowance);
      else this.#clear(work.path, work.kept, allowance);
    }
  }

  /** The next part to ask for, each once. */
  next(): WantedPart | undefined {
    const target = this.#wanted.pop();
    if (target !== undefined) this.#asked.set(target.path, target);
    return target;
  }

  /** A part that was given out by `next`. False when it is not the right one. */
  take(path: StatePath, part: StatePart, from: number): boolean {
    const target = this.#asked.get(path);
    if (target === undefined) throw new Error('invariant: a part was taken that was not asked for');
    const isTaken = part.kind === 'node' ? this.#takeNode(target, part.encoded, from) : this.#takeEntries(target, part);
    if (isTaken) this.#asked.delete(path);
    return isTaken;
  }

  #look(target: Target, allowance: ReadAllowance): void {
    const { table, verified } = this.#options;
    const known = verified.get(table, target.path, target.hash);
    if (known !== undefined) {
      this.#count(known.entryCount, known.sizeBytes);
      this.#finish(target, known);
      return;
    }
    verified.forget(table, target.path, { below: false });
    if (areEqual(target.hash, emptyNode.hash)) {
      this.#work.push({ kind: 'clear', path: target.path, kept: keepNothing });
      this.#finish(target, { hash: target.hash, entryCount: 0, sizeBytes: 0, nodeCount: 0 });
      return;
    }
    const stored = this.#read(nodeKey(table, target.path), allowance);
    const node = stored === undefined ? undefined : decodeNode(stored, target.hash);
    if (node?.kind === 'inner') this.#open(target, node, { stored, from: undefined });
    else if (node === undefined || !this.#keepBucket(target, node, stored, allowance)) {
      const there = stored === undefined ? undefined : decodeAnyNode(stored);
      this.#wanted.push({ ...target, nodeOnly: node === undefined && there?.kind === 'inner' });
    }
  }

  /** A bucket with the right hash: are its entries what it says? */
  #keepBucket(target: Target, bucket: Bucket, stored: Uint8Array | undefined, allowance: ReadAllowance): boolean {
    const { table } = this.#options;
    const entries: Entry[] = [];
    for (const { keyHash, key, valueHash } of bucket.entries) {
      const value = this.#read(engineKey(table, key), allowance);
      if (value === undefined || !areEqual(sha256Bytes(key), keyHash)) return false;
      if (!areEqual(sha256Bytes(value), valueHash)) return false;
      entries.push({ keyHash, key, valueHash, valueSizeBytes: value.length });
    }
    const sizeBytes = entries.reduce((sum, { key, valueSizeBytes }) => sum + key.length + valueSizeBytes, 0);
    const node = bucketOf(entries, sizeBytes);
    this.#store(target.path, node, stored);
    this.#count(node.entryCount, node.sizeBytes);
    this.#finish(target, { hash: node.hash, entryCount: node.entryCount, sizeBytes, nodeCount: 1 });
    return true;
  }

  #takeNode(target: Target, encoded: Uint8Array, from: number): boolean {
    const node = decodeNode(encoded, target.hash);
    if (node?.kind !== 'inner') return false;
    const { path } = target;
    const { staged, table, verified } = this.#options;
    const stored = staged.get(nodeKey(table, path));
    const there = stored === undefined ? undefined : decodeAnyNode(stored);
    // Before what is under it is looked at, and so before it is written: entries that stay are written again.
    if (there?.kind === 'bucket') {
      verified.forget(table, path, { below: true });
      this.#removeEntries(path, there, keepNothing);
    }
    if (there?.kind === 'inner') {
      for (let nibble = 0; nibble < childCount; nibble++) {
        if (there.children[nibble] === undefined || node.children[nibble] !== undefined) continue;
        this.#work.push({ kind: 'clear', path: childPath(path, nibble), kept: keepNothing });
      }
    }
    this.#open(target, node, { stored, from });
    return true;
  }

  #takeEntries(target: Target, part: StatePart): boolean {
    if (part.kind !== 'entries') return false;
    const { staged, table, verified } = this.#options;
    const built = buildSubtree(target.path, part.entries);
    if (built === undefined || !areEqual(built.hash, target.hash)) return false;
    const keys = new Set<string>();
    const change = (key: Uint8Array, value: Uint8Array): void => {
      keys.add(hexOf(key));
      staged.change(key, value);
    };
    verified.forget(table, target.path, { below: true });
    const there = staged.get(nodeKey(table, target.path));
    for (const { key, value } of part.entries) change(engineKey(table, key), value);
    for (const { path, encoded } of built.nodes) change(nodeKey(table, path), encoded);
    if (there !== undefined) this.#clearNode(target.path, decodeAnyNode(there), { keys });
    const { hash, entryCount, sizeBytes, nodes } = built;
    this.#count(entryCount, sizeBytes);
    this.#finish(target, { hash, entryCount, sizeBytes, nodeCount: nodes.length });
    return true;
  }

  #open(target: Target, node: Inner, { stored, from }: Pick<OpenNode, 'stored' | 'from'>): void {
    const children: (Child | undefined)[] = new Array(childCount).fill(undefined);
    const left = node.children.reduce((count, child) => count + (child === undefined ? 0 : 1), 0);
    const said = from === undefined ? undefined : node;
    const open: OpenNode = { target, children, left, nodeCount: 1, stored, said, from };
    for (const [nibble, child] of node.children.entries()) {
      if (child === undefined) continue;
      const path = childPath(target.path, nibble);
      const sizeBytes = partSizeBytes(child.entryCount, child.sizeBytes);
      this.#work.push({ kind: 'look', target: { path, hash: child.hash, sizeBytes, above: open, nibble } });
    }
  }

  /** All that is under a path is right; then perhaps all that is under the node above. */
  #finish(target: Target, finished: FinishedSubtree): void {
    this.#options.verified.add(this.#options.table, target.path, finished);
    const { above } = target;
    if (above === undefined) {
      this.#finished = finished;
      return;
    }
    const { hash, entryCount, sizeBytes } = finished;
    above.children[target.nibble] = { hash, entryCount, sizeBytes, node: undefined, isStored: true };
    above.nodeCount += finished.nodeCount;
    above.left -= 1;
    if (above.left === 0) this.#finishNode(above);
  }

  #finishNode({ target, children, nodeCount, stored, said, from }: OpenNode): void {
    const node = innerOf(children);
    if (!areEqual(node.hash, target.hash)) throw new Error('invariant: a node was made of other children than its own');
    this.#store(target.path, node, stored);
    const isAsSaid = said?.children.every((child, nibble) => isSameSize(child, children[nibble])) ?? true;
    if (from !== undefined && !isAsSaid) this.#options.misled(from);
    this.#finish(target, { ...childOf(node), nodeCount });
  }

  #store(path: StatePath, node: Node, stored: Uint8Array | undefined): void {
    const value = encodeNode(node);
    if (stored !== undefined && areEqual(stored, value)) return;
    this.#options.staged.change(nodeKey(this.#options.table, path), value);
  }

  /** Follows what the nodes here say, as long as they say something: the sweep at the end finds the rest. */
  #clear(path: StatePath, kept: Kept, allowance: ReadAllowance): void {
    const { table, verified } = this.#options;
    if (kept === keepNothing) verified.forget(table, path, { below: true });
    const key = nodeKey(table, path);
    const stored = this.#read(key, allowance);
    if (stored === undefined) return;
    if (!kept.keys.has(hexOf(key))) this.#options.staged.change(key, undefined);
    this.#clearNode(path, decodeAnyNode(stored), kept);
  }

  #clearNode(path: StatePath, node: Node | undefined, kept: Kept): void {
    if (node?.kind === 'bucket') this.#removeEntries(path, node, kept);
    if (node?.kind !== 'inner') return;
    for (const [nibble, child] of node.children.entries()) {
      if (child !== undefined) this.#work.push({ kind: 'clear', path: childPath(path, nibble), kept });
    }
  }

  /** Nobody vouches for a bucket that is not of the root: only what belongs under its path is removed. */
  #removeEntries(path: StatePath, bucket: Bucket, kept: Kept): void {
    for (const entry of bucket.entries) {
      const key = engineKey(this.#options.table, entry.key);
      if (kept.keys.has(hexOf(key)) || !isUnder(sha256Bytes(entry.key), path)) continue;
      this.#options.staged.change(key, undefined);
    }
  }

  #read(key: Uint8Array, allowance: ReadAllowance): Uint8Array | undefined {
    const value = this.#options.staged.get(key);
    allowance.take(value?.length ?? 0);
    return value;
  }

  #count(entries: number, sizeBytes: number): void {
    this.#entries += entries;
    this.#sizeBytes += sizeBytes;
  }
}

function isSameSize(a: Child | undefined, b: Child | undefined): boolean {
  return a?.entryCount === b?.entryCount && a?.sizeBytes === b?.sizeBytes;
}

/** What a part with all of it takes, about. */
function partSizeBytes(entryCount: number, sizeBytes: number): number {
  return sizeBytes + entryCount * limits.statePartEntryOverheadSizeBytes;
}
