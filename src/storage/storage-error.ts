/**
 * Storage errors: the disk failed, or what is on it is not what was written. Each says what happened and what to do.
 */
import { errorCode } from '../platform/files.ts';

export type StorageErrorCode =
  /** What is stored is not what was written, and not merely the end of an interrupted write. */
  | 'log-corrupt'
  /** No room for the next append. */
  | 'disk-full'
  /** A write, read or fsync failed. */
  | 'disk-failed'
  /** An earlier append failed, so nothing more is appended. */
  | 'log-failed'
  /** The log was closed. */
  | 'log-closed'
  /** The state was closed. */
  | 'state-closed'
  /** The state was written by another version of its store. */
  | 'state-version';

export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code: StorageErrorCode;
  /** What to do about it. */
  readonly hint: string;

  constructor(code: StorageErrorCode, message: string, hint: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** What the runtime threw while doing `what`, as a StorageError; a StorageError stays itself. */
export function storageErrorOf(error: unknown, what: string): StorageError {
  if (error instanceof StorageError) return error;
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StorageError(
      'disk-full',
      `The disk is full: ${what} failed (${code}).`,
      'Free space on the disk, then start the replica again; nothing it acknowledged is lost.',
      error,
    );
  }
  return new StorageError(
    'disk-failed',
    `The disk failed: ${what} failed (${code ?? String(error)}).`,
    'Check the disk (dmesg, smartctl) and the permissions of the directory, then start the replica again.',
    error,
  );
}
