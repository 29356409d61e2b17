/**
 * Lmdb engine: the state engine on disk, one lmdb file. What was written is durable, each write whole or not at all.
 *
 * Each record is a checksum and the value; the checksum is over the value and its key, and verified whenever the record
 * is read. Damage that leaves every record whole (an entry that cannot be found any more) is for the state's tree to tell.
 * The file is open twice, to write and to read: lmdb-js reads through its open transaction while it writes, whatever
 * else it is asked for. A write is one transaction that lasts for many turns of the event loop, a slice in each.
 * Freed pages are used again, and the file never shrinks: it is as large as it was when it held most. Pages that a
 * snapshot may still read are not used again before it is closed.
 */
import { constants } from 'node:os';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { monotonicMs } from '../platform/clock.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { type Change, checkChange, type Range, type StateEngine, type StateSnapshot } from '../state/engine.ts';
import { limits } from '../wire/limits.ts';
import { lmdbFailureOf } from './lmdb-failure.ts';
import { LmdbView } from './lmdb-view.ts';
import { recordOf } from './state-record.ts';
import { StorageError } from './storage-error.ts';

/** The file within the directory of the state; lmdb keeps another beside it for its locks. */
export const stateFile = 'state.lmdb';

type Database = RootDatabase<Uint8Array, Uint8Array>;

/** What a write waits for between two slices. */
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

export class LmdbEngine implements StateEngine {
  readonly #path: string;
  readonly #files: FileSystem;
  readonly #writer: Database;
  readonly #reader: Database;
  readonly #view: LmdbView;
  readonly #snapshots = new Set<LmdbSnapshot>();
  #before: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;
  #sizeBytes = 0;

  /** In a directory that is there. Rejects with `StateDamage` for what is no such file, else with a `StorageError`. */
  static async open(directory: string, files: FileSystem = systemFiles): Promise<LmdbEngine> {
    const path = join(directory, stateFile);
    const databases: Database[] = [];
    try {
      for (const _ of ['to write', 'to read']) databases.push(openDatabase(path));
    } catch (error) {
      await databases[0]?.close();
      throw lmdbFailureOf(error, `opening ${path}`);
    }
    const [writer, reader] = databases as [Database, Database];
    const engine = new LmdbEngine(path, files, writer, reader);
    await engine.#measure();
    return engine;
  }

  private constructor(path: string, files: FileSystem, writer: Database, reader: Database) {
    this.#path = path;
    this.#files = files;
    this.#writer = writer;
    this.#reader = reader;
    this.#view = new LmdbView(reader, path);
  }

  /** Of the file, as it was after the last write. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#view.get(key);
  }

  keys(range: Range): Iterable<Uint8Array> {
    return this.#view.keys(range);
  }

  entries(range: Range): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    return this.#view.entries(range);
  }

  write(changes: Iterable<Change>): Promise<void> {
    const done = this.#before.then(() => this.#write(changes));
    this.#before = done.catch(() => {});
    return done;
  }

  snapshot(): StateSnapshot {
    if (this.#closing !== undefined) throw closed(this.#path);
    const snapshot = new LmdbSnapshot(this.#reader, this.#path, (ended) => this.#snapshots.delete(ended));
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  /** Ends the write under way, refuses those that wait for it, and closes all snapshots. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #write(changes: Iterable<Change>): Promise<void> {
    if (this.#closing !== undefined) throw closed(this.#path);
    if (this.#failure !== undefined) throw this.#failure;
    let refusal: { readonly reason: unknown } | undefined;
    try {
      // A child of the transaction that lmdb-js begins: the only kind that what is thrown here undoes.
      await this.#writer.childTransaction(async () => {
        try {
          await this.#put(changes);
        } catch (error) {
          refusal = { reason: error };
          throw error;
        }
      });
    } catch (error) {
      if (refusal !== undefined) throw lmdbFailureOf(refusal.reason, `writing ${this.#path}`);
      // The disk may have any part of it, and whether it has what it says later nobody knows.
      this.#failure = lmdbFailureOf(await this.#causeOf(error), `writing ${this.#path}`);
      throw this.#failure;
    } finally {
      // What was read in this turn may hold the contents of before.
      if (this.#closing === undefined) this.#reader.resetReadTxn();
    }
    await this.#measure();
  }

  async #put(changes: Iterable<Change>): Promise<void> {
    let endMs = monotonicMs() + limits.engineWriteSliceMs;
    for (const change of changes) {
      checkChange(change);
      if (change.value === undefined) void this.#writer.remove(change.key);
      else void this.#writer.put(change.key, recordOf(change.key, change.value));
      if (monotonicMs() < endMs) continue;
      await nextTurn();
      endMs = monotonicMs() + limits.engineWriteSliceMs;
    }
  }

  /** lmdb-js says that a commit failed in one error, and why in another that comes after it. */
  async #causeOf(failure: unknown): Promise<unknown> {
    const awaited = failure instanceof Error && 'commitError' in failure ? failure.commitError : failure;
    const cause = await Promise.resolve(awaited).catch((reason: unknown) => reason);
    // A disk that has room for a part of a page takes that part, which lmdb calls a fault of the disk.
    const isShort = cause instanceof Error && 'code' in cause && cause.code === constants.errno.EIO;
    if (!isShort || (await this.#files.freeSizeBytes(this.#path)) > limits.engineDiskFullSizeBytes) return cause;
    return Object.assign(new Error('no space left', { cause }), { code: constants.errno.ENOSPC });
  }

  async #measure(): Promise<void> {
    const found = await this.#files.describe(this.#path);
    this.#sizeBytes = found?.sizeBytes ?? 0;
  }

  async #close(): Promise<void> {
    this.#view.close();
    await this.#before;
    for (const snapshot of this.#snapshots) snapshot.close();
    await this.#reader.close();
    await this.#writer.close();
  }
}

class LmdbSnapshot extends LmdbView implements StateSnapshot {
  readonly #transaction: { done(): void };
  readonly #onClose: (snapshot: LmdbSnapshot) => void;

  constructor(database: Database, path: string, onClose: (snapshot: LmdbSnapshot) => void) {
    const transaction = database.useReadTransaction();
    super(database, path, transaction);
    this.#transaction = transaction;
    this.#onClose = onClose;
  }

  override close(): void {
    if (this.isClosed) return;
    super.close();
    this.#transaction.done();
    this.#onClose(this);
  }
}

function openDatabase(path: string): Database {
  const options = {
    path,
    noSubdir: true,
    keyEncoding: 'binary',
    encoding: 'binary',
    maxDbs: 1,
    mapSize: limits.engineMapSizeBytes,
    // A commit is durable before it is said to be done, and no two overlap.
    overlappingSync: false,
    eventTurnBatching: false,
    // For its owner only; not in the types of lmdb-js.
    permissionsMode: 0o600,
  } as const;
  return open<Uint8Array, Uint8Array>(options);
}

function closed(path: string): StorageError {
  return new StorageError('state-closed', `${path} is closed.`, 'Start the replica again to use it.');
}
