/**
 * Head file: keeps the last certified head of a client in a file, and writes what proves that history was rewritten.
 *
 * In: heads, each later than the one before. Out: a file that holds a whole head at any time. Of several commands at once
 * the one with the latest head wins.
 */
import { dirname, join } from 'node:path';
import type { CertifiedHeadDocument, HeadStore, InconsistentHeads } from '../client/client.ts';
import { errorCode, type FileSystem, systemFiles } from '../platform/files.ts';
import { readText, writeNewText } from '../storage/whole-file.ts';
import { CliError, exitCodes, toCliError } from './cli-error.ts';

export class HeadFile implements HeadStore {
  readonly path: string;
  readonly #files: FileSystem;
  readonly #onTrouble: (sentence: string) => void;

  /** `onTrouble` is told when a head could not be kept. */
  constructor(path: string, onTrouble: (sentence: string) => void, files: FileSystem = systemFiles) {
    this.path = path;
    this.#files = files;
    this.#onTrouble = onTrouble;
  }

  /** What the file holds; the client checks it. Rejects with a `CliError` when it holds no JSON. */
  async load(): Promise<CertifiedHeadDocument | undefined> {
    if ((await this.#files.describe(this.path)) === undefined) return undefined;
    const text = await readText(this.#files, this.path);
    try {
      return JSON.parse(text) as CertifiedHeadDocument;
    } catch (cause) {
      throw new CliError(`${this.path} holds no certified head`, {
        code: 'file-malformed',
        hint: 'Put it back from a copy. Without it the next command cannot notice that history was rewritten.',
        exitCode: exitCodes.environment,
        cause,
      });
    }
  }

  async save(head: CertifiedHeadDocument): Promise<void> {
    const building = `${this.path}.${process.pid}.new`;
    try {
      const before = await this.load();
      if (before !== undefined && before.head.logSize >= head.head.logSize) return;
      await this.#files.remove(building);
      await writeNewText(this.#files, building, `${JSON.stringify(head, undefined, 2)}\n`);
      await this.#files.rename(building, this.path);
      await this.#files.fsyncDirectory(dirname(this.path));
    } catch (error) {
      this.#onTrouble(`the last head could not be kept: ${toCliError(error).message}`);
    }
  }
}

/** Writes both heads to a file of their own in the directory, unless it is there; resolves with its path. */
export async function writeEvidence(
  directory: string,
  { first, second }: InconsistentHeads,
  files: FileSystem = systemFiles,
): Promise<string> {
  const path = join(directory, `inconsistent-heads-${first.head.logSize}-${second.head.logSize}.json`);
  const document = { coterie: 'inconsistent heads', version: 1, first, second };
  try {
    await writeNewText(files, path, `${JSON.stringify(document, undefined, 2)}\n`);
  } catch (error) {
    if (errorCode(error) !== 'already-exists') throw error;
  }
  return path;
}
