/**
 * Block log: what a replica must remember to keep its promises: every block it accepted or made, in that order.
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
  /** Records from `from` (0: the first) in order, at most about `sizeBytesMax` bytes but at least one when there is one. */
  read(from: LogPosition, sizeBytesMax: number): Promise<readonly LogRecord[]>;
  /** Position after the last record: where the next one will be. */
  readonly end: LogPosition;
  close(): Promise<void>;
}
