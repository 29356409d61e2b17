/**
 * Evidence files: proofs of equivocation, kept in a home for the people who have to act on them.
 *
 *   evidence/r3-2-17.json    { version, replicaId, epoch, round, first, second }: both blocks as base64, signatures included
 *
 * Each proves to anyone who has the membership of the epoch that this replica signed two blocks for one round. A few are enough, so the
 * directory is bounded; they are no secret, and nothing depends on them.
 */
import { join } from 'node:path';
import { errorCode, type FileSystem, systemFiles } from '../platform/files.ts';
import { limits } from '../wire/limits.ts';
import { writeNewText } from './whole-file.ts';

export interface EquivocationProof {
  /** Who signed both. */
  readonly replicaId: string;
  /** Rounds begin anew in each epoch. */
  readonly epoch: number;
  readonly round: number;
  /** Encoded blocks. */
  readonly first: Uint8Array;
  readonly second: Uint8Array;
}

export class EvidenceFiles {
  readonly #directory: string;
  readonly #files: FileSystem;
  #writing: Promise<void> = Promise.resolve();

  constructor(home: string, files: FileSystem = systemFiles) {
    this.#directory = join(home, 'evidence');
    this.#files = files;
  }

  /** Writes a proof unless there are enough; one after another. Rejects with a `HomeError` when the disk refuses. */
  keep(proof: EquivocationProof): Promise<void> {
    const written = this.#writing.then(() => this.#write(proof));
    this.#writing = written.catch(() => {});
    return written;
  }

  async #write({ replicaId, epoch, round, first, second }: EquivocationProof): Promise<void> {
    if ((await this.#files.describe(this.#directory)) === undefined) await this.#files.mkdir(this.#directory);
    const name = `${replicaId}-${epoch}-${round}.json`;
    const kept = await this.#files.list(this.#directory);
    if (kept.length >= limits.evidenceFilesMax || kept.includes(name)) return;
    const [a, b] = [first, second].map((bytes) => Buffer.from(bytes).toString('base64'));
    const text = JSON.stringify({ version: 1, replicaId, epoch, round, first: a, second: b }, null, 2);
    try {
      await writeNewText(this.#files, join(this.#directory, name), `${text}\n`);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
  }
}
