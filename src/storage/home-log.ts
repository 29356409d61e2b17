/**
 * Home log: the block log of a home, and what becomes of a home whose log is gone or damaged.
 *
 * Safety: a replica signs one block of a round, and its log is where it knows from which it signed. Without all of it, it may
 * follow and never sign (docs/protocol/ordering.md §3.3); the mark `log-lost` says so for the rest of the epoch, whatever log is
 * begun anew. A damaged log is moved aside as it is and never changed, so that this can be undone (docs/decisions/0027).
 */
import { join } from 'node:path';
import type { FileSystem } from '../platform/files.ts';
import { limits } from '../wire/limits.ts';
import { DiskLog, hasSegments } from './disk-log.ts';
import { HomeError, homeErrorOf } from './home-error.ts';
import { StorageError } from './storage-error.ts';
import { writeNewText } from './whole-file.ts';

/** Where these are in a home. */
export const logPaths = {
  log: 'log',
  logBegan: 'log-began',
  logLost: 'log-lost',
  /** And a number. */
  logDamaged: 'log-damaged-',
} as const;

export interface DamagedLog {
  /** Says where and how. */
  readonly error: StorageError;
  /** Where it is kept; undefined when it was removed, because it was that of an observer and held no promise. */
  readonly keptAt: string | undefined;
}

export interface HomeLogOptions {
  /** A lost log is begun anew, for who then only observes; otherwise `log-lost`. */
  readonly asObserver?: boolean;
  /** A damaged log is set aside, told of here, and begun anew, for who then only observes; otherwise `log-corrupt`. */
  readonly setAside?: (damaged: DamagedLog) => void;
  /** Bytes of the log that are kept though checkpoints stand for them. */
  readonly retainedSizeBytes?: number;
}

export interface OpenHomeLog {
  readonly log: DiskLog;
  readonly isLogLost: boolean;
}

/** Has this replica had a log that is not there now? */
export async function findLogLost(files: FileSystem, home: string): Promise<boolean> {
  try {
    const names = await files.list(home);
    if (names.includes(logPaths.logLost)) return true;
    if (!names.includes(logPaths.log)) return true;
    return names.includes(logPaths.logBegan) && !(await hasSegments(files, join(home, logPaths.log)));
  } catch (error) {
    throw homeErrorOf(error, home, 'reading');
  }
}

/** Opens the log of a home. Rejects with a `HomeError` or a `StorageError`. */
export async function openHomeLog(
  home: {
    readonly files: FileSystem;
    readonly directory: string;
    readonly logKey: Uint8Array;
    readonly isLogLost: boolean;
  },
  options: HomeLogOptions,
): Promise<OpenHomeLog> {
  const { files, directory: parent, logKey, isLogLost } = home;
  const { asObserver = false, setAside, retainedSizeBytes = limits.logRetainedSizeBytes } = options;
  const directory = join(parent, logPaths.log);
  if (isLogLost) {
    if (!asObserver) {
      throw new HomeError(
        'log-lost',
        `The log in ${directory} is gone, and this replica may have signed blocks that were in it.`,
        'Put back an exact copy of it. Without it this replica may only observe: it could contradict itself.',
      );
    }
    // The mark first: a log begun anew must never pass for the one that was lost.
    await leaveMark(files, parent, logPaths.logLost);
    if ((await files.describe(directory)) === undefined) await files.mkdir(directory);
  }
  let log: DiskLog;
  try {
    log = await DiskLog.open({ directory, logKey, files, segmentSizeBytesMax: segmentSizeOf(retainedSizeBytes) });
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'log-corrupt') || setAside === undefined) throw error;
    setAside({ error, keptAt: await putAway(files, parent, isLogLost) });
    return openHomeLog({ ...home, isLogLost: true }, { asObserver: true, retainedSizeBytes });
  }
  try {
    // Only now, and before the first append: a crash in between leaves a log and no mark, which is set next time.
    await leaveMark(files, parent, logPaths.logBegan);
  } catch (error) {
    await log.close();
    throw error;
  }
  return { log, isLogLost };
}

/** After a crash right behind it there is no log, which is a lost one. */
async function putAway(files: FileSystem, home: string, isLogLost: boolean): Promise<string | undefined> {
  const directory = join(home, logPaths.log);
  try {
    if (isLogLost) {
      await files.remove(directory);
      return undefined;
    }
    const names = await files.list(home);
    let number = 1;
    while (names.includes(`${logPaths.logDamaged}${number}`)) number += 1;
    const keptAt = join(home, `${logPaths.logDamaged}${number}`);
    await files.rename(directory, keptAt);
    await files.fsyncDirectory(home);
    return keptAt;
  } catch (error) {
    throw homeErrorOf(error, directory, 'writing');
  }
}

/** The log is dropped by segments: small ones where little of it is to stay. */
function segmentSizeOf(retainedSizeBytes: number): number {
  const { logSegmentSizeBytesMin, logSegmentSizeBytesMax } = limits;
  return Math.min(logSegmentSizeBytesMax, Math.max(logSegmentSizeBytesMin, Math.floor(retainedSizeBytes / 4)));
}

/** Makes an empty file, durably, unless it is there. */
export async function leaveMark(files: FileSystem, home: string, name: string): Promise<void> {
  const mark = join(home, name);
  try {
    if ((await files.describe(mark)) === undefined) await writeNewText(files, mark, '');
    await files.fsyncDirectory(home);
  } catch (error) {
    throw homeErrorOf(error, mark, 'writing');
  }
}
