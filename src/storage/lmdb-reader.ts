/**
 * Lmdb reader: reads the state of a home while its replica runs, in another process, and changes nothing.
 *
 * Out: snapshots, each of them what the engine holds at one moment: a whole checkpoint. Pages that a snapshot may read are not used
 * again before it is closed, so a long one lets the replica's file grow.
 */
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import type { StateSnapshot } from '../state/engine.ts';
import { stateFile } from './lmdb-engine.ts';
import { lmdbFailureOf } from './lmdb-failure.ts';
import { LmdbView } from './lmdb-view.ts';

type Database = RootDatabase<Uint8Array, Uint8Array>;

export class LmdbReader {
  readonly #path: string;
  readonly #database: Database;

  /** Undefined when there is no state in the directory. Rejects with `StateDamage` or a `StorageError`. */
  static async open(directory: string, files: FileSystem = systemFiles): Promise<LmdbReader | undefined> {
    const path = join(directory, stateFile);
    if ((await files.describe(path)) === undefined) return undefined;
    try {
      const options = {
        path,
        noSubdir: true,
        readOnly: true,
        keyEncoding: 'binary',
        encoding: 'binary',
        maxDbs: 1,
        permissionsMode: 0o600,
      } as const;
      return new LmdbReader(path, open<Uint8Array, Uint8Array>(options));
    } catch (error) {
      throw lmdbFailureOf(error, `opening ${path}`);
    }
  }

  private constructor(path: string, database: Database) {
    this.#path = path;
    this.#database = database;
  }

  snapshot(): StateSnapshot {
    // What was read before may be remembered as of then.
    this.#database.resetReadTxn();
    return new ReaderSnapshot(this.#database, this.#path);
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}

class ReaderSnapshot extends LmdbView implements StateSnapshot {
  readonly #transaction: { done(): void };

  constructor(database: Database, path: string) {
    const transaction = database.useReadTransaction();
    super(database, path, transaction);
    this.#transaction = transaction;
  }

  override close(): void {
    if (this.isClosed) return;
    super.close();
    this.#transaction.done();
  }
}
