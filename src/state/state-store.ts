/**
 * State store: the entries of a service: values under text keys, ordered by key, changed by one transaction at a time.
 *
 * In: the writes of transactions that succeeded. Out: values; the tree over them when it is asked for; for a checkpoint, what
 * the engine lacks. What was written since the last checkpoint lies in a layer above the engine, and while a checkpoint is on its
 * way there, its layer is frozen below that one. A read goes through the layers, newest first, and then to the engine: so
 * nothing waits for a disk, and it does not matter when the engine changes from one checkpoint to the next.
 * Safety: what keeps the engine from being read is told to whoever ran the service's code, whatever that code made of it.
 */
import { type Digest, sha256Bytes } from '../crypto/hash.ts';
import type { TreeSummary } from '../wire/checkpoint.ts';
import { limits } from '../wire/limits.ts';
import type { StateProof } from '../wire/state-proof.ts';
import { type Change, type Range, StateDamage, type StateView } from './engine.ts';
import { bytesOfUnits, stateKeyBytes, stateKeyText } from './state-key.ts';
import type { StateTree } from './state-tree.ts';
import { StoredTree } from './stored-tree.ts';
import { engineKey, engineRange, type TreeTable } from './tables.ts';
import { WriteLayer, type Written } from './write-layer.ts';

/** Encoded values by key; `undefined` deletes. */
export type Writes = ReadonlyMap<string, Uint8Array | undefined>;

export interface ProvenState {
  readonly proof: StateProof;
  /** Encoded; undefined when the state has nothing under the key. */
  readonly value: Uint8Array | undefined;
}

export interface StoredEntry {
  readonly key: string;
  /** Encoded. */
  readonly value: Uint8Array;
}

/** No key of the state has as many bytes in the engine: a code point of four bytes takes six there. */
const boundSizeBytes = limits.stateKeySizeBytesMax * 1.5 + 1;

export class StateStore {
  readonly #view: StateView;
  readonly #table: TreeTable;
  readonly #tree: StoredTree;
  #top = new WriteLayer();
  /** On their way to the engine, newest first. */
  #frozen: readonly WriteLayer[] = [];
  /** Written since the tree was brought up to date. */
  #unhashed = new Map<string, Uint8Array | undefined>();
  #refused: RefusedRead | undefined;

  /** `root`: of what the engine holds; undefined when that is nothing. */
  constructor(options: { readonly engine: StateView; readonly table: TreeTable; readonly root?: Digest | undefined }) {
    this.#view = options.engine;
    this.#table = options.table;
    this.#tree = new StoredTree({ engine: options.engine, table: options.table, root: options.root });
  }

  /** As of the last `summary`. */
  get tree(): StateTree {
    return this.#tree.tree;
  }

  /** Keys written since the last freeze, those deleted included. The same wherever the same was written. */
  get changedEntries(): number {
    return this.#top.entries;
  }

  /** Of these keys and of their last values. */
  get changedSizeBytes(): number {
    return this.#top.sizeBytes;
  }

  has(key: string): boolean {
    return this.read(key) !== undefined;
  }

  /** The encoded value. Not to be changed. */
  read(key: string): Uint8Array | undefined {
    const written = this.#written(key);
    if (written !== undefined) return written ?? undefined;
    if (!key.isWellFormed()) return undefined;
    return this.#noting(() => this.#view.get(engineKey(this.#table, stateKeyBytes(key))));
  }

  /** From `start` on (up or down), excluding `start` itself unless `inclusive`. Nothing may be merged meanwhile. */
  *entriesFrom(start: string | undefined, inclusive: boolean, reverse: boolean): Generator<StoredEntry> {
    const sources = [this.#top, ...this.#frozen].map((layer) => layer.entriesFrom(start, inclusive, reverse));
    const walks = [...sources, this.#fromEngine(start, inclusive, reverse)].map((source) => new Walk(source));
    for (;;) {
      let first: Walk | undefined;
      for (const walk of walks) {
        if (walk.key === undefined) continue;
        if (first?.key === undefined || (reverse ? walk.key > first.key : walk.key < first.key)) first = walk;
      }
      if (first?.key === undefined) return;
      const { key, value } = first;
      // The newest source is the first: those after it say what was before.
      for (const walk of walks) if (walk.key === key) walk.next();
      if (value !== null) yield { key, value };
    }
  }

  /** Makes the writes of a transaction part of the state. */
  merge(writes: Writes): void {
    for (const [key, value] of writes) {
      this.#top.set(key, value ?? null);
      this.#unhashed.set(key, value);
    }
  }

  /** Brings the tree up to date, and sums it up. */
  summary(): TreeSummary {
    const writes = this.#unhashed;
    if (writes.size > 0) this.#unhashed = new Map();
    return this.#tree.update(writes);
  }

  /**
   * What the engine needs to hold the state of now, given that it holds that of the last freeze; until it does, reading goes
   * on from here. Encoded as it is iterated over.
   */
  freeze(): Iterable<Change> {
    this.summary();
    const layer = this.#top;
    const table = this.#table;
    const nodes = this.#tree.freeze();
    this.#frozen = [layer, ...this.#frozen];
    this.#top = new WriteLayer({ isOrdered: layer.isOrdered });
    return {
      *[Symbol.iterator]() {
        for (const [key, value] of layer.all()) {
          yield { key: engineKey(table, stateKeyBytes(key)), value: value ?? undefined };
        }
        yield* nodes;
      },
    };
  }

  /** The engine holds the oldest freeze that it did not. */
  stored(): void {
    this.#tree.stored();
    this.#frozen = this.#frozen.slice(0, -1);
  }

  /**
   * Throws what kept the engine from being read since the last time. To be called when code of a service has ended, with a
   * short stack: where it was the stack that ended, reading works now, and the failure was the service's.
   */
  checkReads(): void {
    const refused = this.#refused;
    if (refused === undefined) return;
    this.#refused = undefined;
    if (!isEndOfStack(refused.error)) throw refused.error;
    refused.again();
  }

  /** What a version of the tree has under a key; undefined when nodes or values of that version are gone. */
  prove(key: string, tree: StateTree): ProvenState | undefined {
    const proven = key.isWellFormed() ? tree.prove(key) : undefined;
    if (proven === undefined) return undefined;
    const { proof, entry } = proven;
    if (entry === undefined) return { proof, value: undefined };
    // What was written since the last checkpoint is with the tree, unless that has been stored meanwhile.
    for (const value of entry.value === undefined ? this.#heldValues(key) : [entry.value]) {
      if (Buffer.compare(sha256Bytes(value), entry.valueHash) === 0) return { proof, value };
    }
    return undefined;
  }

  /** All that is still known to have been under a key. */
  *#heldValues(key: string): Generator<Uint8Array> {
    for (const layer of [this.#top, ...this.#frozen]) {
      const value = layer.get(key);
      if (value) yield value;
    }
    const value = this.#view.get(engineKey(this.#table, stateKeyBytes(key)));
    if (value !== undefined) yield value;
  }

  #written(key: string): Written | undefined {
    const written = this.#top.get(key);
    if (written !== undefined) return written;
    for (const layer of this.#frozen) {
      const before = layer.get(key);
      if (before !== undefined) return before;
    }
    return undefined;
  }

  *#fromEngine(start: string | undefined, inclusive: boolean, reverse: boolean): Generator<StoredEntry> {
    const range = this.#rangeFrom(start, inclusive, reverse);
    let walked = 0;
    const again = (): void => {
      let left = walked;
      for (const { key } of this.#view.entries(range)) {
        textOf(key);
        if (left === 0) return;
        left -= 1;
      }
    };
    const entries = this.#noting(() => this.#view.entries(range)[Symbol.iterator](), again);
    for (;;) {
      const entry = this.#noting(() => {
        const next = entries.next();
        return next.done === true ? undefined : { key: textOf(next.value.key), value: next.value.value };
      }, again);
      if (entry === undefined) return;
      walked += 1;
      yield entry;
    }
  }

  #rangeFrom(start: string | undefined, inclusive: boolean, reverse: boolean): Range {
    const all = engineRange(this.#table);
    if (start === undefined) return { ...all, reverse };
    // The next key after one is the same with a zero behind it.
    const bound = engineKey(this.#table, boundBytes(inclusive === reverse ? `${start}\0` : start));
    return reverse ? { ...all, end: bound, reverse } : { ...all, start: bound };
  }

  #noting<T>(read: () => T, again: () => unknown = read): T {
    try {
      return read();
    } catch (error) {
      this.#refused ??= { error, again };
      throw error;
    }
  }
}

interface RefusedRead {
  readonly error: unknown;
  readonly again: () => unknown;
}

/** A walk through one of several sources, and where it stands. */
class Walk {
  readonly #source: Generator<{ readonly key: string; readonly value: Written }>;
  key: string | undefined;
  value: Written = null;

  constructor(source: Generator<{ readonly key: string; readonly value: Written }>) {
    this.#source = source;
    this.next();
  }

  next(): void {
    const next = this.#source.next();
    this.key = next.done === true ? undefined : next.value.key;
    this.value = next.done === true ? null : next.value.value;
  }
}

function textOf(key: Uint8Array): string {
  const text = stateKeyText(key.subarray(1));
  if (text === undefined) throw new StateDamage('The state holds a key that is not one.');
  return text;
}

/** Where a range begins or ends may be any text. Beyond the length of the longest key, the rest of it orders nothing. */
function boundBytes(text: string): Uint8Array {
  return bytesOfUnits(text.slice(0, boundSizeBytes)).subarray(0, boundSizeBytes);
}

/** An engine may say that it could not read, and why. */
function isEndOfStack(error: unknown): boolean {
  return error instanceof RangeError || (error instanceof Error && error.cause instanceof RangeError);
}
