/**
 * State tree: the Merkle tree over the entries of a state, in versions that never change and share what is the same in them.
 *
 * In: writes. Out: the next version: its root, its proofs, and the nodes in which it differs from an older one. A radix tree over the hashes of
 * the keys, sixteen children a node, with buckets of up to sixteen entries at its ends; its shape follows from its contents alone
 * (docs/protocol/checkpoints.md §1, where it is argued for).
 * Nodes are loaded when they are needed and held against the hash that is expected, so a version either finds its own nodes or none.
 * Cost: one hash a bucket and inner node on the way from what is written to the root, each once for all writes of an update.
 */
import { type Digest, digestBytes, digestFrom, sha256Bytes } from '../crypto/hash.ts';
import type { StateProof } from '../wire/state-proof.ts';
import { StateDamage } from './engine.ts';
import {
  type Child,
  childCount,
  childOf,
  decodeNode,
  type Entry,
  emptyNode,
  encodeNode,
  fitsBucket,
  type Inner,
  innerOf,
  type Node,
  type NodeSource,
  nodeOf,
} from './node.ts';
import { stateKeyBytes } from './state-key.ts';
import { childPath, nibbleAt, type StatePath } from './state-path.ts';

/** Inner nodes above this depth stay in memory: at most 4,369 of them. */
const keptDepth = 4;

/** A node and where it stands. */
export interface PlacedNode {
  readonly path: StatePath;
  readonly node: Node;
}

/** A key whose hash is known, and what becomes of it. */
interface Write {
  readonly keyHash: Uint8Array;
  /** Undefined: it is deleted. */
  readonly entry: Entry | undefined;
}

export interface ProvenKey {
  readonly proof: StateProof;
  /** What the state has under the key; undefined when nothing. */
  readonly entry: Entry | undefined;
}

export class StateTree {
  readonly #source: NodeSource;
  readonly #top: Child;
  readonly root: Digest;

  private constructor(source: NodeSource, top: Child) {
    this.#source = source;
    this.#top = top;
    this.root = digestFrom(top.hash);
  }

  static empty(source: NodeSource = noSource): StateTree {
    return new StateTree(source, childOf(emptyNode));
  }

  /** The version with this root, whose nodes are in the source. Throws `StateDamage` when its first one is not. */
  static at(source: NodeSource, root: Digest): StateTree {
    const node = loaded(source, '', digestBytes(root));
    if (node === undefined) throw damageAt('');
    return new StateTree(source, { ...childOf(node), isStored: true });
  }

  get entries(): number {
    return this.#top.entryCount;
  }

  /** Of keys and values. */
  get sizeBytes(): number {
    return this.#top.sizeBytes;
  }

  /** The version after these writes: encoded values by key, undefined deletes. Throws `StateDamage` where nodes are gone. */
  update(writes: ReadonlyMap<string, Uint8Array | undefined>): StateTree {
    const sorted: Write[] = [];
    for (const [key, value] of writes) sorted.push(writeOf(key, value));
    sorted.sort((a, b) => Buffer.compare(a.keyHash, b.keyHash));
    const before = this.#nodeOf(this.#top, '');
    const after = sorted.length === 0 ? before : (this.#applied(before, '', sorted) ?? emptyNode);
    return after === before ? this : new StateTree(this.#source, childOf(after));
  }

  /** What the source needs to hold this version, given that it holds the older one; `encoded` undefined: it is gone. */
  *changesSince(older: StateTree): Generator<{ readonly path: StatePath; readonly encoded: Uint8Array | undefined }> {
    yield* this.#changes(older.#top, this.#top, '');
  }

  /**
   * Lets go of the nodes and values that this version shares with one that the source holds, but for the uppermost inner nodes.
   * They are loaded again when they are needed. Looks only at what was written since it did so the last time.
   */
  unload(held: StateTree): void {
    unload(this.#top, held.#top, 0);
  }

  /** The proof of what is under a key; undefined when nodes of this version are gone. */
  prove(key: string): ProvenKey | undefined {
    const keyHash = sha256Bytes(stateKeyBytes(key));
    const inner: StateProof['inner'][number][] = [];
    let path = '';
    let child: Child | undefined = this.#top;
    for (;;) {
      if (child === undefined) return { proof: { inner, bucket: undefined }, entry: undefined };
      const node: Node | undefined = child.node ?? loadedChild(this.#source, path, child);
      if (node === undefined) return undefined;
      if (node.kind === 'bucket') {
        const bucket = node.entries.map((entry) => ({ keyHash: entry.keyHash, valueHash: entry.valueHash }));
        return { proof: { inner, bucket }, entry: node.entries.find((entry) => isOf(entry, keyHash)) };
      }
      inner.push(provenInner(node));
      const nibble = nibbleAt(keyHash, path.length);
      path = childPath(path, nibble);
      child = node.children[nibble];
    }
  }

  /** The node under a path; undefined when it is gone, or there is none there. For whoever walks the tree. */
  node(path: StatePath): Node | undefined {
    let child: Child | undefined = this.#top;
    for (let depth = 0; ; depth++) {
      if (child === undefined) return undefined;
      const node: Node | undefined = child.node ?? loadedChild(this.#source, path.slice(0, depth), child);
      if (depth === path.length || node?.kind !== 'inner') return depth === path.length ? node : undefined;
      child = node.children[Number.parseInt(path[depth] as string, 16)];
    }
  }

  /** The nodes from a path down: each before its children, buckets ascending by key hash. Throws `StateDamage` where one is gone. */
  *nodesUnder(path: StatePath): Generator<PlacedNode> {
    const top = this.node(path);
    if (top === undefined) throw damageAt(path);
    const waiting = [{ path, child: childOf(top) }];
    for (;;) {
      const next = waiting.pop();
      if (next === undefined) return;
      const node = next.child.node ?? loadedChild(this.#source, next.path, next.child);
      if (node === undefined) throw damageAt(next.path);
      yield { path: next.path, node };
      if (node.kind === 'bucket') continue;
      for (let nibble = childCount - 1; nibble >= 0; nibble--) {
        const child = node.children[nibble];
        if (child !== undefined) waiting.push({ path: childPath(next.path, nibble), child });
      }
    }
  }

  /** Undefined when nothing is left. The very node when nothing changed. */
  #applied(node: Node | undefined, path: StatePath, writes: readonly Write[]): Node | undefined {
    if (node === undefined || node.kind === 'bucket') {
      const entries = merged(node?.entries ?? [], writes);
      if (node !== undefined && entries === node.entries) return node;
      return entries.length === 0 ? undefined : nodeOf(entries, path.length);
    }
    const children = this.#appliedToChildren(node, path, writes);
    if (children === undefined) return node;
    let entryCount = 0;
    let sizeBytes = 0;
    for (const child of children) {
      entryCount += child?.entryCount ?? 0;
      sizeBytes += child?.sizeBytes ?? 0;
    }
    if (entryCount === 0) return undefined;
    return fitsBucket(entryCount, sizeBytes) ? this.#collapsed(children, path) : innerOf(children);
  }

  /** Undefined when nothing changed. */
  #appliedToChildren(
    node: Inner,
    path: StatePath,
    writes: readonly Write[],
  ): readonly (Child | undefined)[] | undefined {
    let children: (Child | undefined)[] | undefined;
    for (let from = 0; from < writes.length; ) {
      const nibble = nibbleAt((writes[from] as Write).keyHash, path.length);
      let to = from + 1;
      while (to < writes.length && nibbleAt((writes[to] as Write).keyHash, path.length) === nibble) to += 1;
      const child = node.children[nibble];
      const below = childPath(path, nibble);
      const before = child === undefined ? undefined : this.#nodeOf(child, below);
      const after = this.#applied(before, below, writes.slice(from, to));
      if (after !== before) {
        children ??= [...node.children];
        children[nibble] = after === undefined ? undefined : childOf(after);
      }
      from = to;
    }
    return children;
  }

  /** The few entries that are left under an inner node, as a bucket. */
  #collapsed(children: readonly (Child | undefined)[], path: StatePath): Node {
    const entries: Entry[] = [];
    for (const [nibble, child] of children.entries()) {
      if (child !== undefined) this.#collect(child, childPath(path, nibble), entries);
    }
    return nodeOf(entries, path.length);
  }

  #collect(child: Child, path: StatePath, into: Entry[]): void {
    const node = this.#nodeOf(child, path);
    if (node.kind === 'bucket') {
      into.push(...node.entries);
      return;
    }
    for (const [nibble, below] of node.children.entries()) {
      if (below !== undefined) this.#collect(below, childPath(path, nibble), into);
    }
  }

  *#changes(
    before: Child | undefined,
    after: Child | undefined,
    path: StatePath,
  ): Generator<{ readonly path: StatePath; readonly encoded: Uint8Array | undefined }> {
    if (before === after || (before !== undefined && after !== undefined && isSame(before, after))) return;
    const old = before === undefined ? undefined : this.#nodeOf(before, path);
    const now = after === undefined ? undefined : this.#nodeOf(after, path);
    yield { path, encoded: now === undefined || now.entryCount === 0 ? undefined : encodeNode(now) };
    for (let nibble = 0; nibble < childCount; nibble++) {
      const oldChild = old?.kind === 'inner' ? old.children[nibble] : undefined;
      const newChild = now?.kind === 'inner' ? now.children[nibble] : undefined;
      if (oldChild !== newChild) yield* this.#changes(oldChild, newChild, childPath(path, nibble));
    }
  }

  /** Keeps it where the ways of many keys lead through. */
  #nodeOf(child: Child, path: StatePath): Node {
    const node = child.node ?? loadedChild(this.#source, path, child);
    if (node === undefined) throw damageAt(path);
    if (node.kind === 'inner' && path.length < keptDepth) child.node = node;
    return node;
  }
}

const noSource: NodeSource = { node: () => undefined };

/** The empty tree has no stored node. */
function loaded(source: NodeSource, path: StatePath, hash: Uint8Array): Node | undefined {
  if (Buffer.compare(hash, emptyNode.hash) === 0) return emptyNode;
  const bytes = source.node(path);
  return bytes === undefined ? undefined : decodeNode(bytes, hash);
}

/** None but one of which what is above says how much is under it: that is not hashed, and later nodes take their shape from it. */
function loadedChild(source: NodeSource, path: StatePath, child: Child): Node | undefined {
  const node = loaded(source, path, child.hash);
  const isAsSaid = node?.entryCount === child.entryCount && node.sizeBytes === child.sizeBytes;
  return isAsSaid ? node : undefined;
}

function damageAt(path: StatePath): StateDamage {
  return new StateDamage(`The state lacks the node ${path === '' ? 'at its root' : path} of its tree.`);
}

function writeOf(key: string, value: Uint8Array | undefined): Write {
  const bytes = stateKeyBytes(key);
  const keyHash = sha256Bytes(bytes);
  if (value === undefined) return { keyHash, entry: undefined };
  const entry = { keyHash, key: bytes, valueHash: sha256Bytes(value), valueSizeBytes: value.length, value };
  return { keyHash, entry };
}

/** The entries with the writes among them; the very list when nothing changed. */
function merged(entries: readonly Entry[], writes: readonly Write[]): readonly Entry[] {
  const result: Entry[] = [];
  let hasChanged = false;
  let next = 0;
  for (const write of writes) {
    for (; next < entries.length && Buffer.compare((entries[next] as Entry).keyHash, write.keyHash) < 0; next++) {
      result.push(entries[next] as Entry);
    }
    const before = entries[next];
    const isThere = before !== undefined && isOf(before, write.keyHash);
    if (isThere) next += 1;
    if (isThere && write.entry !== undefined && Buffer.compare(before.valueHash, write.entry.valueHash) === 0) {
      result.push(before);
      continue;
    }
    if (write.entry !== undefined) result.push(write.entry);
    if (isThere || write.entry !== undefined) hasChanged = true;
  }
  if (!hasChanged) return entries;
  for (; next < entries.length; next++) result.push(entries[next] as Entry);
  return result;
}

function isOf(entry: Entry, keyHash: Uint8Array): boolean {
  return Buffer.compare(entry.keyHash, keyHash) === 0;
}

function isSame(a: Child, b: Child): boolean {
  return Buffer.compare(a.hash, b.hash) === 0;
}

function provenInner(node: Inner): StateProof['inner'][number] {
  let bitmap = 0;
  const hashes: Uint8Array[] = [];
  for (const [nibble, child] of node.children.entries()) {
    if (child === undefined) continue;
    bitmap |= 1 << nibble;
    hashes.push(child.hash);
  }
  return { bitmap, hashes };
}

function unload(child: Child, held: Child | undefined, depth: number): void {
  const { node } = child;
  if (node === undefined || child.isStored) return;
  // The very child, not an equal one: one that was gone in between leaves the source again before it comes back.
  const isHeld = child === held;
  child.isStored = isHeld;
  if (isHeld && (node.kind === 'bucket' || depth >= keptDepth)) {
    child.node = undefined;
    return;
  }
  const heldNode = isHeld ? node : held?.node;
  if (node.kind === 'bucket') {
    if (heldNode?.kind === 'bucket') letGoOfValues(node.entries, heldNode.entries);
    return;
  }
  for (let nibble = 0; nibble < childCount; nibble++) {
    const below = node.children[nibble];
    if (below === undefined) continue;
    unload(below, heldNode?.kind === 'inner' ? heldNode.children[nibble] : undefined, depth + 1);
  }
}

/** A bucket of which some entry is written all the time would keep the others' values in memory. */
function letGoOfValues(entries: readonly Entry[], held: readonly Entry[]): void {
  for (const entry of entries) if (held.includes(entry)) entry.value = undefined;
}
