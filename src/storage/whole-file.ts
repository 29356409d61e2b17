/**
 * Whole files: small files that are read at once and written once, durable when the write resolves.
 */
import type { z } from 'zod';
import { errorCode, type FileSystem } from '../platform/files.ts';
import { reasonOf } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { HomeError, homeErrorOf } from './home-error.ts';

/** Reads a text file of bounded size. */
export async function readText(files: FileSystem, path: string): Promise<string> {
  try {
    const file = await files.open(path, 'read');
    try {
      const size = await file.sizeBytes();
      if (size > limits.homeFileSizeBytesMax) {
        throw malformed(path, `it has ${size} bytes, more than ${limits.homeFileSizeBytesMax}`);
      }
      const bytes = Buffer.alloc(size);
      return bytes.subarray(0, await file.pread(bytes, 0)).toString('utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    throw homeErrorOf(error, path, 'reading');
  }
}

/** Reads a key file, and refuses one that others than its owner may use, as ssh does. */
export async function readSecretText(files: FileSystem, path: string): Promise<string> {
  const found = await files.describe(path).catch((error: unknown) => {
    throw homeErrorOf(error, path, 'reading');
  });
  if (found?.kind === 'file' && (found.permissions & 0o077) !== 0) {
    const mode = found.permissions.toString(8).padStart(4, '0');
    throw new HomeError(
      'key-permissions',
      `${path} has permissions ${mode}: others than its owner could read or change this key.`,
      `Run "chmod 600 ${path}". If others may have read it, make new keys.`,
    );
  }
  return readText(files, path);
}

/** Takes a JSON document apart. What is wrong is told without quoting it, since it may hold a key. */
export function parseJson<T>(path: string, text: string, form: z.ZodType<T>): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw malformed(path, 'it is not JSON');
  }
  const result = form.safeParse(json);
  if (!result.success) {
    const hasStrayField = result.error.issues[0]?.code === 'unrecognized_keys';
    throw malformed(path, hasStrayField ? 'it has a field too many' : reasonOf(result.error));
  }
  return result.data;
}

export function malformed(path: string, what: string): HomeError {
  return new HomeError(
    'file-malformed',
    `${path} is malformed: ${what}.`,
    'Put it back from a copy; it is not to be edited.',
  );
}

/** Writes a new file for its owner only; `already-exists` when there is one by that name. Its name is not synced. */
export async function writeNewText(files: FileSystem, path: string, text: string): Promise<void> {
  try {
    const file = await files.open(path, 'create');
    try {
      await file.pwrite(Buffer.from(text, 'utf8'), 0);
      await file.fdatasync();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === 'EEXIST') {
      throw new HomeError(
        'already-exists',
        `${path} exists already.`,
        'Choose another place, or remove it first.',
        error,
      );
    }
    throw homeErrorOf(error, path, 'writing');
  }
}
