/**
 * Lmdb view: reading from an lmdb file, as it is now or in one read transaction.
 *
 * A range is read in runs, each of them at once: between two of them nothing of lmdb's is held open, so that a walk may be
 * left at any point. What comes is checked to be in order and within the range, since a damaged file can say anything,
 * for ever.
 * Out: bytes of their own, with no memory of lmdb's in them.
 */
import type { RootDatabase, Transaction } from 'lmdb';
import { type Range, StateDamage, type StateView } from '../state/engine.ts';
import { limits } from '../wire/limits.ts';
import { lmdbFailureOf } from './lmdb-failure.ts';
import { valueIn } from './state-record.ts';
import { StorageError } from './storage-error.ts';

/** Entries in the first run, by which each next one is longer, and in the longest. */
const firstRunEntries = 8;
const runGrowth = 4;
const runEntriesMax = 256;
/** Bytes after which a run ends however short it is. */
const runSizeBytesMax = 256 * 1024;

interface Record {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export class LmdbView implements StateView {
  readonly #database: RootDatabase<Uint8Array, Uint8Array>;
  readonly #path: string;
  readonly #options: { readonly transaction?: Transaction };
  #isClosed = false;

  constructor(database: RootDatabase<Uint8Array, Uint8Array>, path: string, transaction?: Transaction) {
    this.#database = database;
    this.#path = path;
    this.#options = transaction === undefined ? {} : { transaction };
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#checkOpen();
    if (key.length === 0 || key.length > limits.engineKeySizeBytesMax) return undefined;
    const record = this.#read(() => this.#database.get(key, this.#options));
    return record === undefined ? undefined : this.#verified(key, record);
  }

  /** Verified like entries: a key alone says nothing of whether it was ever written. */
  *keys(range: Range): Generator<Uint8Array> {
    for (const { key } of this.entries(range)) yield key;
  }

  *entries(range: Range): Generator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    for (const { key, value } of this.#records(range)) yield { key, value: this.#verified(key, value) };
  }

  close(): void {
    this.#isClosed = true;
  }

  *#records(range: Range): Generator<Record> {
    for (const bound of [range.start, range.end]) {
      if (bound !== undefined && bound.length > limits.engineKeySizeBytesMax) throw new RangeError('a bound too long');
    }
    let left: Range | undefined = range;
    for (
      let entriesMax = firstRunEntries;
      left !== undefined;
      entriesMax = Math.min(entriesMax * runGrowth, runEntriesMax)
    ) {
      this.#checkOpen();
      const from: Range = left;
      const run = this.#read(() => this.#run(from, entriesMax));
      yield* run.records;
      left = run.left;
    }
  }

  /** What comes first in a range, and the range after it. */
  #run(range: Range, entriesMax: number): { readonly records: readonly Record[]; readonly left: Range | undefined } {
    const { start, end, reverse = false } = range;
    const records: Record[] = [];
    if (end?.length === 0) return { records, left: undefined };
    const lowest = start === undefined || start.length === 0 ? Buffer.of(0) : start;
    let sizeBytes = 0;
    let before: Uint8Array | undefined;
    const found = this.#database.getRange({
      ...this.#options,
      ...(reverse
        ? { reverse, ...(end && { start: end, exclusiveStart: true }), end: lowest, inclusiveEnd: true }
        : { start: lowest, ...(end && { end }) }),
    });
    for (const record of found) {
      const { key, value } = record;
      const [lower, upper] = reverse ? [key, before ?? end] : [before, key];
      const isInOrder = lower === undefined || upper === undefined || Buffer.compare(lower, upper) < 0;
      const isWithin = Buffer.compare(key, lowest) >= 0 && (end === undefined || Buffer.compare(key, end) < 0);
      if (!isInOrder || !isWithin) throw new StateDamage(`${this.#path} holds keys out of their order.`);
      records.push(record);
      before = key;
      sizeBytes += key.length + value.length;
      if (records.length < entriesMax && sizeBytes < runSizeBytesMax) continue;
      // The first key after another one is the same with a zero behind it.
      const left = reverse ? { ...range, end: key } : { ...range, start: Buffer.concat([key, Buffer.of(0)]) };
      return { records, left };
    }
    return { records, left: undefined };
  }

  #verified(key: Uint8Array, record: Uint8Array): Uint8Array {
    const value = valueIn(key, record);
    if (value === undefined) throw new StateDamage(`${this.#path} holds something else than was written under a key.`);
    return value;
  }

  #read<T>(what: () => T): T {
    try {
      return what();
    } catch (error) {
      const failure = lmdbFailureOf(error, `reading ${this.#path}`);
      if (failure instanceof StateDamage || failure instanceof StorageError) throw failure;
      // lmdb-js stumbled over a size that cannot be.
      throw new StateDamage(`${this.#path} cannot be read.`, { cause: error });
    }
  }

  #checkOpen(): void {
    if (!this.#isClosed) return;
    throw new StorageError('state-closed', `${this.#path} is closed.`, 'Start the replica again to use it.');
  }
}
