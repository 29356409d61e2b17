/**
 * Membership file: the certified membership of the last epoch that a command has seen, so that the next one begins there and
 * not with a genesis of long ago.
 *
 * In: memberships, each of a later epoch. Out: a file that holds a whole one. It is a convenience only: without it a command
 * asks the replicas again, and with a false one it is told by the service key.
 */
import { dirname } from 'node:path';
import type { CertifiedMembershipDocument } from '../client/client.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { readText, writeNewText } from '../storage/whole-file.ts';
import { toCliError } from './cli-error.ts';

/** Beside the identity of the client. */
export const membershipName = 'membership.json';

export class MembershipFile {
  readonly #path: string;
  readonly #files: FileSystem;
  readonly #onTrouble: (sentence: string) => void;
  #saving: Promise<void> = Promise.resolve();

  /** `onTrouble` is told when it could not be read or kept. */
  constructor(path: string, onTrouble: (sentence: string) => void, files: FileSystem = systemFiles) {
    this.#path = path;
    this.#files = files;
    this.#onTrouble = onTrouble;
  }

  /** Undefined when there is none. Never rejects. */
  async load(): Promise<string | undefined> {
    try {
      if ((await this.#files.describe(this.#path)) === undefined) return undefined;
      const text = await readText(this.#files, this.#path);
      JSON.parse(text);
      return text;
    } catch {
      this.#onTrouble(`${this.#path} holds no membership; the replicas are asked instead`);
      return undefined;
    }
  }

  /** Begins to save it, after those before. */
  save(document: CertifiedMembershipDocument): void {
    this.#saving = this.#saving.then(() => this.#write(document));
  }

  /** Resolves when everything given is saved. */
  async ended(): Promise<void> {
    await this.#saving;
  }

  async #write(document: CertifiedMembershipDocument): Promise<void> {
    const building = `${this.#path}.${process.pid}.new`;
    try {
      await this.#files.remove(building);
      await writeNewText(this.#files, building, `${JSON.stringify(document, undefined, 2)}\n`);
      await this.#files.rename(building, this.#path);
      await this.#files.fsyncDirectory(dirname(this.#path));
    } catch (error) {
      this.#onTrouble(`the membership could not be kept: ${toCliError(error).message}`);
    }
  }
}
