/**
 * Files: the only door to the disk, and exactly the operations that storage needs. Tests put a file system in its
 * place that fails or crashes at the Nth write or fsync.
 *
 * Writing and syncing block this process, by intent (docs/decisions/0015): nothing may leave before they end, so there is
 * nothing to do meanwhile, and two hops to a thread and back cost more than a fast disk does.
 * Errors: those of the runtime, with their `code` (ENOENT, ENOSPC …); storage turns them into its own.
 */
import { constants, fdatasyncSync, type Stats, writeSync } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises';

export interface OpenFile {
  /** Fills `into` from `position`; returns the bytes read, fewer only at the end of the file. */
  pread(into: Uint8Array, position: number): Promise<number>;
  /** Writes all of `bytes` at `position`, or rejects with an unknown part of them written. */
  pwrite(bytes: Uint8Array, position: number): Promise<void>;
  /** What was written, and the size, survive a crash once this resolves. After a rejection nothing is known: never retry. */
  fdatasync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  sizeBytes(): Promise<number>;
  close(): Promise<void>;
}

/** `create` refuses with EEXIST when there is something by that name. */
export type OpenMode = 'read' | 'read-write' | 'create';

export interface PathDescription {
  readonly kind: 'file' | 'directory' | 'other';
  /** Permission bits, as in chmod. */
  readonly permissions: number;
  readonly sizeBytes: number;
}

export interface FileSystem {
  open(path: string, mode: OpenMode): Promise<OpenFile>;
  /** Names in a directory, in no particular order. */
  list(directory: string): Promise<readonly string[]>;
  /** Undefined when there is nothing by that name. Follows no symbolic link at the end of the path. */
  describe(path: string): Promise<PathDescription | undefined>;
  /** Creates one directory that only its owner may enter; EEXIST when there is something by that name. */
  mkdir(path: string): Promise<void>;
  /** Replaces a file at `to`; refuses to replace a directory that holds something. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, or a directory with all it holds. Nothing there: nothing done. */
  remove(path: string): Promise<void>;
  /** Names created, renamed or removed in the directory survive a crash once this resolves. */
  fsyncDirectory(path: string): Promise<void>;
  /** What may still be written to the disk that a path is on, in bytes. */
  freeSizeBytes(path: string): Promise<number>;
}

const ownerOnlyFile = 0o600;
const ownerOnlyDirectory = 0o700;

const flags: Readonly<Record<OpenMode, number>> = {
  read: constants.O_RDONLY,
  'read-write': constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
};

/** The disk of this machine. Files and directories it creates are for their owner only. */
export const systemFiles: FileSystem = {
  async open(path, mode) {
    return new SystemFile(await open(path, flags[mode], ownerOnlyFile));
  },

  list: (directory) => readdir(directory),

  async describe(path) {
    let found: Stats;
    try {
      found = await lstat(path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other';
    return { kind, permissions: found.mode & 0o777, sizeBytes: found.size };
  },

  async mkdir(path) {
    await mkdir(path, { mode: ownerOnlyDirectory });
  },

  rename: (from, to) => rename(from, to),

  remove: (path) => rm(path, { recursive: true, force: true }),

  async fsyncDirectory(path) {
    const handle = await open(path, constants.O_RDONLY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },

  async freeSizeBytes(path) {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
};

class SystemFile implements OpenFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async pread(into: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  async pwrite(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      done += writeSync(this.#handle.fd, bytes, done, bytes.length - done, position + done);
    }
  }

  async fdatasync(): Promise<void> {
    fdatasyncSync(this.#handle.fd);
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#handle.truncate(sizeBytes);
  }

  async sizeBytes(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** The runtime's code of an error (ENOENT …), or undefined when it has none. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
