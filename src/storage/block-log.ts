/**
 * Block log: what a replica must remember to keep its promises: every block it accepted or made, in that order, from the
 * first that a checkpoint does not stand for.
 */

/** Where a record begins; opaque, ascending in append order. */
export type LogPosition = number;

export interface LogRecord {
  readonly position: LogPosition;
  /** An encoded block. */
  readonly bytes: Uint8Array;
}

export interface BlockLog {
  /**
   * Appends records in order and returns their positions, all durable (one fsync) when the promise resolves.
   * Rejects with a `StorageError` when they may not be; the log then refuses further appends.
   */
  append(records: readonly Uint8Array[]): Promise<readonly LogPosition[]>;
  /**
   * Records from `from` (0: the first there is) in order, without a gap, at most about `sizeBytesMax` bytes but at least one
   * when there is one.
   */
  read(from: LogPosition, sizeBytesMax: number): Promise<readonly LogRecord[]>;
  /**
   * Forgets records before `position`, which is not above `end`; some that stand shortly before it may stay. At `end` all
   * are forgotten, but for those of appends that are under way. Durable when the promise resolves, and done or not done
   * after a crash. `round`: no block above it stands before the position; the log remembers the highest there was. At `begin`
   * nothing is forgotten but that: blocks up to this round need not be here. Rejects with a `StorageError` as an append does.
   */
  dropBefore(position: LogPosition, round?: number): Promise<void>;
  /** No block above this round was ever dropped, or never there to be dropped; 0 when there was none such. */
  readonly droppedRound: number;
  /** Everything before it is forgotten, and nothing from there on. */
  readonly begin: LogPosition;
  /** Position after the last record: where the next one will be. */
  readonly end: LogPosition;
  close(): Promise<void>;
}
