/**
 * Code tree: the code of a replica as it lies on the disk, as a manifest.
 *
 * In: the directory of the code, and what else belongs to it. Out: every file in `dist`, `node_modules` and `package.json`
 * with its SHA-256. Links are listed by their target; one that leads out of the code is refused, since what is behind it
 * is on no list.
 */
import { createHash } from 'node:crypto';
import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { errorCode, type FileSystem, systemFiles } from '../platform/files.ts';
import { limits } from '../wire/limits.ts';
import { KeeperError } from './keeper-error.ts';
import { type Manifest, manifestVersion, type Runtime } from './manifest.ts';

/** What code is made of, below its directory. */
const parts = ['package.json', 'dist', 'node_modules', 'services'] as const;
const chunkSizeBytes = 1024 * 1024;

export interface CodeTreeOptions {
  /** The directory of the package, or of the installation that holds it in its `node_modules`. */
  readonly root: string;
  /** Further files and directories that the replica loads: the module of its service. */
  readonly also?: readonly string[];
  /** The program that runs the code; left out: not looked at. */
  readonly runtimePath?: string | undefined;
  /** Nothing of it may belong to this user, nor be writable by everybody. */
  readonly notWritableBy?: number | undefined;
  readonly files?: FileSystem;
}

/** Lists the code. Rejects with `manifest-impossible`, `code-writable`, or the error of the runtime. */
export async function readCodeTree(options: CodeTreeOptions): Promise<Manifest> {
  const root = resolve(options.root);
  const walk = new Walk(options);
  const tops = new Map<string, string>();
  // Each may be a link itself: one installation may serve several.
  for (const part of parts) {
    const real = await whereIs(join(root, part));
    if (real !== undefined) tops.set(part, real);
  }
  for (const path of ['package.json', ...(options.also ?? [])]) {
    const absolute = resolve(root, path);
    const real = await whereIs(absolute);
    if (real === undefined) throw impossible(`there is no ${absolute}`);
    if (path !== 'package.json') tops.set(absolute, real);
  }
  await walk.all(tops);
  const runtime = options.runtimePath === undefined ? null : await walk.runtime(options.runtimePath);
  return { version: manifestVersion, runtime, files: walk.found };
}

/** Where a path leads; undefined when there is nothing. */
async function whereIs(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

class Walk {
  readonly found: Record<string, string> = Object.create(null) as Record<string, string>;
  readonly #files: FileSystem;
  readonly #notWritableBy: number | undefined;
  readonly #buffer = Buffer.alloc(chunkSizeBytes);
  #tops: readonly string[] = [];
  #count = 0;

  constructor({ files = systemFiles, notWritableBy }: CodeTreeOptions) {
    this.#files = files;
    this.#notWritableBy = notWritableBy;
  }

  /** Names of the parts, and where they lie. */
  async all(tops: ReadonlyMap<string, string>): Promise<void> {
    this.#tops = [...tops.values()];
    for (const [name, path] of tops) {
      // Who may rename or replace a part may change it.
      await this.#checkOwner(dirname(path));
      await this.#visit(name, path);
    }
  }

  async runtime(path: string): Promise<Runtime> {
    const real = await realpath(path);
    await this.#checkOwner(real);
    return { version: process.version, digest: await this.#digest(real) };
  }

  async #visit(name: string, path: string): Promise<void> {
    const found = await lstat(path);
    if (found.isSymbolicLink()) {
      const target = await readlink(path);
      await this.#checkLink(name, path);
      this.#add(name, `-> ${target}`);
      return;
    }
    await this.#checkOwner(path);
    if (found.isFile()) {
      this.#add(name, await this.#digest(path));
      return;
    }
    if (!found.isDirectory()) throw impossible(`${name} is neither a file nor a directory`);
    for (const entry of [...(await this.#files.list(path))].sort()) {
      await this.#visit(`${name}/${entry}`, join(path, entry));
    }
  }

  #add(name: string, what: string): void {
    this.#count += 1;
    if (this.#count > limits.manifestFilesMax) throw impossible(`there are more than ${limits.manifestFilesMax} files`);
    this.found[name] = what;
  }

  async #checkLink(name: string, path: string): Promise<void> {
    const real = await whereIs(path);
    // One that leads nowhere leads to no code.
    if (real === undefined) return;
    const isInside = this.#tops.some((top) => real === top || real.startsWith(`${top}${sep}`));
    if (!isInside) throw impossible(`${name} is a link that leads out of the code, to ${real}`);
  }

  async #checkOwner(path: string): Promise<void> {
    if (this.#notWritableBy !== undefined) await checkNotWritableBy(path, this.#notWritableBy);
  }

  async #digest(path: string): Promise<string> {
    const hash = createHash('sha256');
    const file = await this.#files.open(path, 'read');
    try {
      for (let position = 0; ; ) {
        const size = await file.pread(this.#buffer, position);
        if (size === 0) break;
        hash.update(this.#buffer.subarray(0, size));
        position += size;
      }
    } finally {
      await file.close();
    }
    return hash.digest('hex');
  }
}

/** Rejects with `code-writable` when a path is that user's, or everybody's to write. */
export async function checkNotWritableBy(path: string, userId: number): Promise<void> {
  const { uid, mode } = await stat(path);
  // In a sticky directory, as /tmp is, everybody may add and only the owner may replace.
  const isOpen = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
  if (uid !== userId && !isOpen) return;
  throw new KeeperError(
    'code-writable',
    `The user of the replica could change its code: ${path} ${isOpen ? 'is writable by everybody' : 'belongs to it'}.`,
    'Install the code, and its manifest, as another user, such as root, so that a replica that was taken over cannot change what is started next.',
  );
}

function impossible(what: string): KeeperError {
  return new KeeperError(
    'manifest-impossible',
    `This code cannot be listed: ${what}.`,
    'Install it as a whole below one directory, for example with "npm install".',
  );
}
