/**
 * State directory: where a home keeps its state, and how it is thrown away when nobody can read it.
 *
 * The state is a copy of what the other replicas have: a damaged file is removed, and its contents fetched again.
 * Safety: removed is only what is proven to be damaged. A power cut, a full disk or an operator that ends the process comes
 * to all replicas at once, and they must not all throw away what they hold.
 */
import { join } from 'node:path';
import type { FileSystem } from '../platform/files.ts';
import { StateDamage } from '../state/engine.ts';
import { LmdbEngine, stateFile } from './lmdb-engine.ts';
import { checkLmdbFile } from './lmdb-file.ts';
import { storageErrorOf } from './storage-error.ts';

export interface OpenState {
  readonly engine: LmdbEngine;
  /** Why the state that was there was removed; undefined when none was. */
  readonly wiped: string | undefined;
}

/**
 * Opens the state in `directory`, a new one when there is none or what was there had to be removed. `wipe` says why it is to
 * be removed whatever is found: whoever used it found it damaged.
 */
export async function openStateDirectory(
  files: FileSystem,
  parent: string,
  name: string,
  wipe?: string | undefined,
): Promise<OpenState> {
  const directory = join(parent, name);
  let wiped = wipe;
  try {
    if (wiped === undefined) {
      try {
        return { engine: await openIn(files, parent, directory), wiped };
      } catch (error) {
        if (!(error instanceof StateDamage)) throw error;
        wiped = error.message;
      }
    }
    await files.remove(directory);
    await files.fsyncDirectory(parent);
    return { engine: await openIn(files, parent, directory), wiped };
  } catch (error) {
    throw storageErrorOf(error, `opening ${directory}`);
  }
}

async function openIn(files: FileSystem, parent: string, directory: string): Promise<LmdbEngine> {
  if ((await files.describe(directory)) === undefined) await files.mkdir(directory);
  const path = join(directory, stateFile);
  if ((await files.describe(path)) !== undefined) await checkLmdbFile(files, path);
  const engine = await LmdbEngine.open(directory, files);
  // lmdb syncs what is in its file, and not the name of it.
  for (const each of [directory, parent]) await files.fsyncDirectory(each);
  return engine;
}
