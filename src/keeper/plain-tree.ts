/**
 * Plain tree: makes of what lies somewhere in a home a tree of plain files and directories, or nothing.
 *
 * In: a path, and the home for what has to be moved out of the way. Out: links, sockets, pipes, and all that no home has, are gone.
 * Safety: a process that was taken over may have nested directories deeper than a path can be long, closed them to itself, or made
 * more files than can be looked at: what would stop its keeper for good is removed instead, in steps that are progress each.
 */
import type { Stats } from 'node:fs';
import { chmod, lstat, opendir, readdir, rename, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, type FileSystem } from '../platform/files.ts';

/** Of directories within a home: `epochs/3/keys` is the deepest that there is. */
const depthMax = 3;
/** A home has no directory with as many. */
const entriesMax = 1_000;

/** Keeps what is made of plain files and directories, for their owner only. False: it was removed as a whole. `depth`: 1 at the top of the home. */
export async function keepPlain(path: string, home: string, files: FileSystem, depth = 1): Promise<boolean> {
  let found: Stats;
  try {
    found = await lstat(path);
  } catch (error) {
    // A name that is no text comes back as another one; nobody reads what is under it.
    if (errorCode(error) === 'ENOENT') return true;
    throw error;
  }
  if (found.isFile()) {
    await chmod(path, 0o600);
    return true;
  }
  const names = found.isDirectory() && depth <= depthMax ? await fewNames(path) : undefined;
  if (names === undefined) {
    await removeTree(path, home, files);
    return false;
  }
  for (const name of names) await keepPlain(join(path, name), home, files, depth + 1);
  return true;
}

/** Removes whatever is there, however deep, and whoever it is closed to. */
export async function removeTree(path: string, home: string, files: FileSystem): Promise<void> {
  try {
    await files.remove(path);
  } catch {
    await removeFlat(path, home);
  }
}

/** Undefined when there are more than any home has. */
async function fewNames(path: string): Promise<readonly string[] | undefined> {
  await chmod(path, 0o700);
  const names: string[] = [];
  for await (const { name } of await opendir(path)) {
    if (names.length === entriesMax) return undefined;
    names.push(name);
  }
  return names.sort();
}

/** Each directory is first moved to the top of the home, so that no path is ever long; what is left there goes at the next clean start. */
async function removeFlat(path: string, home: string): Promise<void> {
  const directories = [path];
  let moved = 0;
  for (let next = directories.pop(); next !== undefined; next = directories.pop()) {
    if (!(await lstat(next)).isDirectory()) {
      await unlink(next);
      continue;
    }
    await chmod(next, 0o700);
    // Names need not be text.
    for (const name of await readdir(next, { encoding: 'buffer' })) {
      const inner = Buffer.concat([Buffer.from(`${next}/`), name]);
      if (!(await lstat(inner)).isDirectory()) {
        await unlink(inner);
        continue;
      }
      // To move a directory is to write in it, too.
      await chmod(inner, 0o700);
      const aside = await freeName(home, () => `removed-${++moved}`);
      await rename(inner, aside);
      directories.push(aside);
    }
    await rmdir(next);
  }
}

async function freeName(home: string, next: () => string): Promise<string> {
  for (;;) {
    const path = join(home, next());
    try {
      await lstat(path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return path;
      throw error;
    }
  }
}
