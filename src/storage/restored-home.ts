/**
 * Restored home: the note that a home goes on from a snapshot, in a DAG of its own, and the log that begins anew with it.
 *
 *   restored.json   { version, checkpointDigest, epoch }
 *
 * Safety: the log of the DAG before goes before the note comes, and a new one is begun only when all is in place. In between the
 * home has no log, and a replica without its log only observes (docs/protocol/ordering.md §3.3): so it never signs with
 * the log of one DAG in another one, whenever the power goes.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type Digest, parseDigest } from '../crypto/hash.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { homePaths } from './home.ts';
import { homeErrorOf } from './home-error.ts';
import { malformed, parseJson, readText, writeNewText } from './whole-file.ts';

export interface Restored {
  /** Of the checkpoint that the epoch begins with. */
  readonly checkpointDigest: Digest;
  /** The epoch in which the home goes on from it. */
  readonly epoch: number;
}

const form = z.strictObject({
  version: z.literal(1),
  checkpointDigest: z.string(),
  epoch: z.int().min(1).max(0xffff_ffff),
});

/** What the home in a directory was restored to last; undefined when it never was. Rejects with a `HomeError`. */
export async function readRestored(home: string, files: FileSystem = systemFiles): Promise<Restored | undefined> {
  const path = join(home, homePaths.restored);
  try {
    if ((await files.describe(path)) === undefined) return undefined;
    const { checkpointDigest, epoch } = parseJson(path, await readText(files, path), form);
    const digest = parseDigest(checkpointDigest);
    if (digest === undefined) throw malformed(path, 'checkpointDigest must be 64 lower-case hex characters');
    return { checkpointDigest: digest, epoch };
  } catch (error) {
    throw homeErrorOf(error, path, 'reading');
  }
}

/** Replaces the note, durably. */
export async function writeRestored(home: string, restored: Restored, files: FileSystem = systemFiles): Promise<void> {
  const path = join(home, homePaths.restored);
  const building = `${path}.new`;
  try {
    // What an earlier attempt that was cut short has left.
    await files.remove(building);
    await writeNewText(files, building, `${JSON.stringify({ version: 1, ...restored }, null, 2)}\n`);
    await files.rename(building, path);
    await files.fsyncDirectory(home);
  } catch (error) {
    throw homeErrorOf(error, path, 'writing');
  }
}

/** Was the log of the home's epoch ever opened since it was made, or begun anew? The directory is that of the epoch (`epoch-files.ts`). */
export async function hasBegunLog(directory: string, files: FileSystem = systemFiles): Promise<boolean> {
  try {
    return (await files.describe(join(directory, homePaths.logBegan))) !== undefined;
  } catch (error) {
    throw homeErrorOf(error, directory, 'reading');
  }
}

/** Removes the log, and what was noted of it. Until another is begun the home counts as one that has lost it. */
export async function removeLog(directory: string, files: FileSystem = systemFiles): Promise<void> {
  try {
    // The log first: without it the home has lost it, whatever else is noted.
    for (const path of [homePaths.log, homePaths.logBegan, homePaths.logLost]) {
      await files.remove(join(directory, path));
      await files.fsyncDirectory(directory);
    }
  } catch (error) {
    throw homeErrorOf(error, directory, 'writing');
  }
}

/** The home has an empty log, and has lost none. */
export async function beginLog(directory: string, files: FileSystem = systemFiles): Promise<void> {
  try {
    await files.mkdir(join(directory, homePaths.log));
    await files.fsyncDirectory(directory);
  } catch (error) {
    throw homeErrorOf(error, directory, 'writing');
  }
}
