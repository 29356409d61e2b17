/**
 * Memory engine: a state engine without a disk, for tests, the simulator, and whoever tries a service. What a crash would
 * have lost on a disk, it loses.
 *
 * A B+ tree whose nodes are shared by its snapshots and copied when they are written, so that a snapshot costs nothing
 * but what is written while it is there. A write is there whole once `sync` resolves, and at once when there is none.
 */
import sortedBtree from 'sorted-btree';
import {
  type Change,
  checkChange,
  type Range,
  type StateEngine,
  type StateSnapshot,
  type StateView,
} from './engine.ts';

type Tree = sortedBtree.default<Uint8Array, Uint8Array>;

export interface MemoryEngineOptions {
  /** Resolves when the disk has a write, rejects when it failed. */
  readonly sync?: () => Promise<void>;
  /** Begins with what this one holds, as if the process had died and started again: a write under way is lost. */
  readonly after?: MemoryEngine;
}

/** What an entry takes beside its bytes, about. */
const entryOverheadSizeBytes = 96;

export class MemoryEngine implements StateEngine {
  readonly #sync: (() => Promise<void>) | undefined;
  readonly #tree: Tree;
  readonly #view: TreeView;
  #sizeBytes = 0;
  #before: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor({ sync, after }: MemoryEngineOptions = {}) {
    this.#sync = sync;
    this.#tree = after === undefined ? new sortedBtree.default(undefined, byBytes) : after.#tree.clone();
    if (after !== undefined) this.#sizeBytes = after.#sizeBytes;
    this.#view = new TreeView(this.#tree);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#checkOpen();
    return this.#view.get(key);
  }

  keys(range: Range): Iterable<Uint8Array> {
    this.#checkOpen();
    return this.#view.keys(range);
  }

  entries(range: Range): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    this.#checkOpen();
    return this.#view.entries(range);
  }

  write(changes: Iterable<Change>): Promise<void> {
    const sync = this.#sync;
    const taken = new Promise<readonly Change[]>((resolve) => {
      this.#checkOpen();
      const copies = Array.from(changes, copyOf);
      if (sync === undefined) this.#apply(copies);
      resolve(copies);
    });
    if (sync === undefined) return taken.then(() => {});
    const done = Promise.all([taken, this.#before])
      .then(() => sync())
      .then(() => taken)
      .then((copies) => {
        this.#checkOpen();
        this.#apply(copies);
      });
    this.#before = done.catch(() => {});
    return done;
  }

  snapshot(): StateSnapshot {
    this.#checkOpen();
    return new TreeView(this.#tree.clone());
  }

  /** A write under way is lost. */
  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #apply(changes: readonly Change[]): void {
    for (const { key, value } of changes) {
      const before = this.#tree.get(key);
      if (before !== undefined) this.#sizeBytes -= sizeOf(key, before);
      if (value !== undefined) {
        this.#tree.set(key, value);
        this.#sizeBytes += sizeOf(key, value);
      } else if (before !== undefined) this.#tree.delete(key);
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new Error('the state engine is closed');
  }
}

class TreeView implements StateView, StateSnapshot {
  #tree: Tree | undefined;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#open().get(key);
  }

  *keys(range: Range): Generator<Uint8Array> {
    for (const [key] of this.#pairs(range)) yield key;
  }

  *entries(range: Range): Generator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    for (const [key, value] of this.#pairs(range)) yield { key, value };
  }

  close(): void {
    this.#tree = undefined;
  }

  *#pairs({ start, end, reverse = false }: Range): Generator<[Uint8Array, Uint8Array]> {
    const tree = this.#open();
    if (reverse) {
      for (const pair of tree.entriesReversed(end, undefined, end !== undefined)) {
        if (start !== undefined && byBytes(pair[0], start) < 0) return;
        yield pair;
      }
    } else {
      for (const pair of tree.entries(start)) {
        if (end !== undefined && byBytes(pair[0], end) >= 0) return;
        yield pair;
      }
    }
  }

  #open(): Tree {
    if (this.#tree === undefined) throw new Error('the snapshot is closed');
    return this.#tree;
  }
}

function byBytes(a: Uint8Array, b: Uint8Array): number {
  const sizeBytes = Math.min(a.length, b.length);
  for (let i = 0; i < sizeBytes; i++) {
    const difference = a[i]! - b[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Whoever gave the bytes may use them for something else. */
function copyOf({ key, value }: Change): Change {
  checkChange({ key, value });
  return { key: new Uint8Array(key), value: value && new Uint8Array(value) };
}

function sizeOf(key: Uint8Array, value: Uint8Array): number {
  return key.length + value.length + entryOverheadSizeBytes;
}
