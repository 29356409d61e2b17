/**
 * State engine: the ordered bytes under the state, its tree, and all else a checkpoint keeps: what any store of keys and
 * values can do, and no more.
 *
 * In: changes, all or nothing. Out: reading, now or as it was. Implemented by `storage/` on disk and by `memory-engine.ts`;
 * one suite of tests is for both. Keys are compared byte by byte. An engine always holds one checkpoint whole: what was
 * written since lies in memory above it (`state-store.ts`) until the next one replaces it.
 */
import { limits } from '../wire/limits.ts';

export interface Range {
  /** Inclusive; from the first key when it is not given. */
  readonly start?: Uint8Array | undefined;
  /** Exclusive; to the last key when it is not given. */
  readonly end?: Uint8Array | undefined;
  /** From the last key down. */
  readonly reverse?: boolean;
}

/**
 * Reading. What is returned stays as it is for as long as anybody keeps it, and must not be changed.
 * Throws `StateDamage` where the store holds something else than was written.
 */
export interface StateView {
  get(key: Uint8Array): Uint8Array | undefined;
  /** Not to be interleaved with anything but reads. */
  keys(range: Range): Iterable<Uint8Array>;
  entries(range: Range): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>;
}

/** `value` undefined deletes. */
export interface Change {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** The contents at one moment, whatever is written later. Holds space on disk until it is closed. */
export interface StateSnapshot extends StateView {
  close(): void;
}

/** Throws for what no engine takes. */
export function checkChange({ key, value }: Change): void {
  if (key.length === 0 || key.length > limits.engineKeySizeBytesMax) {
    throw new RangeError(`a key of ${key.length} bytes in the state engine`);
  }
  if (value !== undefined && value.length > limits.engineValueSizeBytesMax) {
    throw new RangeError(`a value of ${value.length} bytes in the state engine`);
  }
}

export interface StateEngine extends StateView {
  /**
   * Makes all changes or none, durable when the promise resolves. Later changes of one key win. One write at a time:
   * another waits for it. Reading sees all of it or none. Does not hold the event loop for longer than a few milliseconds.
   * Rejects with a `StorageError` when the world failed; nothing was changed then as far as anybody can tell.
   */
  write(changes: Iterable<Change>): Promise<void>;
  snapshot(): StateSnapshot;
  /** Bytes on disk or in memory, about. */
  readonly sizeBytes: number;
  close(): Promise<void>;
}

/** The store holds something else than was written. The replica stops using it, and repairs it. */
export class StateDamage extends Error {
  readonly code = 'state-damaged';
  readonly hint = 'The replica repairs its state from the others when it is started again.';
}
