/**
 * Replica log: what a supervised replica wrote to its stderr, kept in `<home>/replica.log`, bounded in size: a full
 * file becomes `replica.log.1` and the one before it goes. The last lines are kept in memory to be shown when it fails.
 *
 * A log that cannot be written never stops a replica: its lines are dropped and counted.
 */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

export interface ReplicaLogOptions {
  readonly path: string;
  readonly sizeBytesMax: number;
  /** Lines kept for `lastLines`. */
  readonly linesKept: number;
}

export class ReplicaLog {
  readonly path: string;
  readonly #sizeBytesMax: number;
  readonly #linesKept: number;
  readonly #lines: string[] = [];
  #unfinished = '';
  #file: number | undefined;
  #sizeBytes = 0;
  #dropped = 0;

  constructor({ path, sizeBytesMax, linesKept }: ReplicaLogOptions) {
    this.path = path;
    this.#sizeBytesMax = sizeBytesMax;
    this.#linesKept = linesKept;
  }

  /** The last whole lines written, oldest first. */
  get lastLines(): readonly string[] {
    return this.#lines;
  }

  /** Chunks that could not be written. */
  get dropped(): number {
    return this.#dropped;
  }

  write(chunk: Uint8Array): void {
    this.#remember(Buffer.from(chunk).toString('utf8'));
    try {
      this.#rotateBefore(chunk.length);
      this.#file ??= this.#open();
      writeSync(this.#file, chunk);
      this.#sizeBytes += chunk.length;
    } catch {
      this.#dropped += 1;
      this.close();
    }
  }

  close(): void {
    if (this.#file === undefined) return;
    const file = this.#file;
    this.#file = undefined;
    closeSync(file);
  }

  #open(): number {
    const file = openSync(this.path, 'a', 0o600);
    this.#sizeBytes = fstatSync(file).size;
    return file;
  }

  #rotateBefore(more: number): void {
    this.#file ??= this.#open();
    if (this.#sizeBytes === 0 || this.#sizeBytes + more <= this.#sizeBytesMax) return;
    this.close();
    renameSync(this.path, `${this.path}.1`);
  }

  #remember(text: string): void {
    const lines = (this.#unfinished + text).split('\n');
    this.#unfinished = (lines.pop() ?? '').slice(-4096);
    this.#lines.push(...lines.filter((line) => line !== ''));
    if (this.#lines.length > this.#linesKept) this.#lines.splice(0, this.#lines.length - this.#linesKept);
  }
}
