/**
 * Memory log: the block log without a disk, for tests and the simulator. What a disk would have lost in a crash, it loses.
 *
 * An append is durable once `sync` resolves; a crash before that keeps as many of the records waiting for it as asked.
 * So is a drop, which a crash before that has done when it keeps everything.
 */
import { limits } from '../wire/limits.ts';
import type { BlockLog, LogPosition, LogRecord } from './block-log.ts';
import { StorageError } from './storage-error.ts';

export interface MemoryLogOptions {
  /** Resolves when the disk has what was appended, rejects when it failed. At once when left out. */
  readonly sync?: () => Promise<void>;
  /** What an earlier log left, from this position on. */
  readonly records?: readonly LogRecord[];
  readonly begin?: LogPosition;
  readonly droppedRound?: number;
}

export class MemoryLog implements BlockLog {
  readonly #sync: () => Promise<void>;
  readonly #durable: LogRecord[];
  readonly #unsynced: LogRecord[] = [];
  #begin: LogPosition;
  #droppedRound: number;
  /** Where it will begin when all drops are done. */
  #dropping: LogPosition;
  #next: LogPosition;
  #end: LogPosition;
  #before: Promise<void> = Promise.resolve();
  #refusal: StorageError | undefined;
  #isCrashed = false;

  constructor({ sync = () => Promise.resolve(), records = [], begin = 0, droppedRound = 0 }: MemoryLogOptions = {}) {
    this.#droppedRound = droppedRound;
    this.#sync = sync;
    this.#durable = [...records];
    this.#begin = begin;
    this.#dropping = begin;
    this.#next = records.length === 0 ? begin : endOf(records);
    this.#end = this.#next;
  }

  get begin(): LogPosition {
    return this.#begin;
  }

  get end(): LogPosition {
    return this.#end;
  }

  append(records: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    for (const record of records) {
      if (record.length > limits.blockSizeBytesMax) throw new RangeError(`a record of ${record.length} bytes`);
    }
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    if (records.length === 0) return Promise.resolve([]);
    const appended = records.map((bytes) => {
      const position = this.#next;
      this.#next += bytes.length + 1;
      return { position, bytes: Uint8Array.from(bytes) };
    });
    this.#unsynced.push(...appended);
    return this.#afterThat(async () => {
      await this.#becomeDurable();
      this.#unsynced.splice(0, appended.length);
      this.#durable.push(...appended);
      this.#end = endOf(appended);
      return appended.map((record) => record.position);
    });
  }

  get droppedRound(): number {
    return this.#droppedRound;
  }

  dropBefore(position: LogPosition, round = 0): Promise<void> {
    if (position > this.#end) throw new RangeError(`position ${position} is beyond the end of the log`);
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    // Said too early for what is not dropped after a crash, and never too low.
    this.#droppedRound = Math.max(this.#droppedRound, round);
    if (position <= this.#begin) return Promise.resolve();
    this.#dropping = Math.max(this.#dropping, position);
    return this.#afterThat(async () => {
      await this.#becomeDurable();
      this.#durable.splice(0, this.#firstFrom(position));
      this.#begin = Math.max(this.#begin, position);
    });
  }

  async read(from: LogPosition, sizeBytesMax: number): Promise<readonly LogRecord[]> {
    if (this.#refusal?.code === 'log-closed') throw this.#refusal;
    const found: LogRecord[] = [];
    let left = sizeBytesMax;
    for (let i = this.#firstFrom(from); i < this.#durable.length; i++) {
      const record = this.#durable[i] as LogRecord;
      if (found.length > 0 && record.bytes.length > left) break;
      found.push(record);
      left -= record.bytes.length;
    }
    return found;
  }

  async close(): Promise<void> {
    const before = this.#before;
    this.#refusal ??= closed('The log is closed.');
    await before;
  }

  /**
   * What a restart finds after a crash at this moment. This log fails from now on. `keepUnsynced`: how many of the records
   * that wait for a sync reached the disk all the same, in order; true: all, false: none.
   */
  crash({ keepUnsynced }: { readonly keepUnsynced: boolean | number }): MemoryLog {
    this.#isCrashed = true;
    this.#refusal = closed('The log crashed.');
    const kept = keepUnsynced === true ? this.#unsynced.length : Number(keepUnsynced);
    const begin = keepUnsynced === true ? this.#dropping : this.#begin;
    const durable = this.#durable.slice(this.#firstFrom(begin));
    return new MemoryLog({
      sync: this.#sync,
      records: [...durable, ...this.#unsynced.slice(0, kept)],
      begin,
      droppedRound: this.#droppedRound,
    });
  }

  /** One thing at a time, in order; what failed keeps nothing from being tried. */
  #afterThat<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#before.then(act);
    this.#before = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  async #becomeDurable(): Promise<void> {
    if (this.#refusal?.code === 'log-failed') throw this.#refusal;
    try {
      await this.#sync();
    } catch (error) {
      this.#refusal ??= new StorageError(
        'log-failed',
        'The log takes no more appends, since one failed.',
        'Start the replica again.',
        error,
      );
      throw error;
    }
    if (this.#isCrashed) throw this.#refusal;
  }

  #firstFrom(position: LogPosition): number {
    let low = 0;
    let high = this.#durable.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#durable[middle] as LogRecord).position < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function endOf(records: readonly LogRecord[]): LogPosition {
  const last = records.at(-1) as LogRecord;
  return last.position + last.bytes.length + 1;
}

function closed(message: string): StorageError {
  return new StorageError('log-closed', message, 'Open the log again.');
}
