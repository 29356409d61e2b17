/**
 * Log transfer: the leaf hashes of the request log, by chunks from the last one back, as far as they are to be retained.
 *
 * In: the engine, chunks that others give, and that nobody has one. Out: chunks that are wanted, changes. Chunks that are here are kept when
 * they lead to the frontier that the next chunk, fetched and verified, has before it (`state/log-leaves.ts`).
 * The last chunk, when it is not complete, is needed; all others are best effort: with fewer leaves fewer proofs can be given.
 * Safety: a chunk is written only when it follows from the checkpoint.
 */
import { type Digest, digestFrom, digestSizeBytes, sha256Of } from '../crypto/hash.ts';
import { chunkLeaves, joined, LeafChunk } from '../crypto/merkle-store.ts';
import { StateDamage, type StateView } from '../state/engine.ts';
import {
  beginningChange,
  chunkChanges,
  type LogSummary,
  lastChunkOf,
  leafSource,
  type ProvenChunk,
  readBeginning,
  verifyLeafChunk,
} from '../state/log-leaves.ts';
import type { ReadAllowance } from './read-allowance.ts';
import type { Staged } from './staged.ts';

/** Chunks asked for below the last one that is known not to be here. */
const aheadMax = 32;
const chunkSizeBytes = chunkLeaves * digestSizeBytes;

export class LogTransfer {
  readonly #staged: Staged;
  readonly #log: LogSummary;
  /** Chunks before this one are not retained. */
  #floor: number;
  /** From here on all chunks are there and right, down from the end. */
  #first: number;
  /** Before the chunk `first`. */
  #frontier: readonly Digest[] | undefined;
  /** Fetched ahead of `first`: the frontiers before them. */
  readonly #fetched = new Map<number, readonly Digest[]>();
  /** The next to be asked for, downwards. */
  #next: number;
  readonly #own: OwnChunks;
  #isEnded = false;
  #count = 0;

  constructor(options: { readonly staged: Staged; readonly log: LogSummary; readonly leavesRetained: number }) {
    const { staged, log, leavesRetained } = options;
    this.#staged = staged;
    this.#log = log;
    const last = lastChunkOf(log.logSize);
    this.#floor = Math.max(0, Math.floor((log.logSize - leavesRetained) / chunkLeaves));
    const isWhole = log.logSize % chunkLeaves === 0;
    this.#first = isWhole ? last : last + 1;
    this.#frontier = isWhole ? log.logFrontier : undefined;
    this.#next = this.#first - 1;
    this.#own = new OwnChunks(staged.view, last);
  }

  /** Chunks fetched. */
  get count(): number {
    return this.#count;
  }

  /** There are own chunks to be read yet. */
  get hasWork(): boolean {
    return !this.#own.isRead;
  }

  get isDone(): boolean {
    return this.#isEnded;
  }

  /** The first chunk that is retained, when it is done. */
  get firstChunk(): number {
    return this.#first;
  }

  look(allowance: ReadAllowance): void {
    while (!this.#own.isRead && !allowance.isSpent) this.#own.read(allowance);
    this.#settle();
  }

  /** The next chunk to ask for, each once. */
  next(): number | undefined {
    if (this.#isEnded || !this.#own.isRead || this.#next < this.#lowest()) return undefined;
    this.#next -= 1;
    return this.#next + 1;
  }

  /** A chunk that was given out by `next`. False when it is not the right one. */
  take(chunk: ProvenChunk): boolean {
    const frontier = verifyLeafChunk(this.#log, chunk);
    if (frontier === undefined) return false;
    if (chunk.number >= this.#first || this.#isEnded) return true;
    this.#fetched.set(chunk.number, frontier);
    this.#count += 1;
    for (const { key, value } of chunkChanges(chunk.number, chunk.leaves)) this.#staged.change(key, value);
    this.#settle();
    return true;
  }

  /** Nobody who has the checkpoint has this chunk. False when it cannot be done without. */
  giveUp(chunk: number): boolean {
    if (chunk === lastChunkOf(this.#log.logSize)) return false;
    this.#floor = Math.max(this.#floor, chunk + 1);
    this.#settle();
    return true;
  }

  /** Goes down as far as chunks are there. */
  #settle(): void {
    if (this.#isEnded || !this.#own.isRead) return;
    for (;;) {
      if (this.#frontier !== undefined) {
        // Perhaps more than is to be retained: what is too old goes with the next checkpoint.
        const own = this.#own.beginningOf(this.#first, this.#frontier);
        if (own !== undefined) this.#end(own.chunk, own.frontier);
        else if (this.#first <= this.#floor) this.#end(this.#first, this.#frontier);
        if (this.#isEnded) return;
      }
      const frontier = this.#fetched.get(this.#first - 1);
      if (frontier === undefined) return;
      this.#first -= 1;
      this.#fetched.delete(this.#first);
      this.#frontier = frontier;
    }
  }

  #end(chunk: number, frontier: readonly Digest[]): void {
    this.#isEnded = true;
    this.#first = chunk;
    this.#fetched.clear();
    const { key, value } = beginningChange(chunk, frontier);
    this.#staged.change(key, value);
  }

  /** Own chunks are not asked for before it is known that they are wrong. */
  #lowest(): number {
    return Math.max(this.#floor, Math.min(this.#own.end, this.#first - 1), this.#first - aheadMax, 0);
  }
}

/** The complete chunks that lie here, in a row, and where each one leads. Whether they are right is not known. */
class OwnChunks {
  readonly #view: StateView;
  readonly #last: number;
  /** Digests of the frontiers before each chunk, from the beginning on, and after the last one. */
  readonly #marks: Digest[] = [];
  #beginning = 0;
  #beginningFrontier: readonly Digest[] = [];
  #frontier: Digest[] = [];
  #isRead = false;

  /** `last`: later chunks are of no interest. */
  constructor(view: StateView, last: number) {
    this.#view = view;
    this.#last = last;
    try {
      const { retainedFrom, frontier } = readBeginning(view);
      this.#beginning = retainedFrom / chunkLeaves;
      this.#beginningFrontier = frontier;
      // A root for each bit of the number, or it is none.
      this.#isRead = this.#beginning > last || frontier.length !== onesOf(this.#beginning);
    } catch (error) {
      if (!(error instanceof StateDamage)) throw error;
      this.#isRead = true;
    }
    this.#frontier = [...this.#beginningFrontier];
    if (!this.#isRead) this.#mark();
  }

  get isRead(): boolean {
    return this.#isRead;
  }

  /** After the last one; 0 when there are none. */
  get end(): number {
    return this.#marks.length === 0 ? 0 : this.#beginning + this.#marks.length - 1;
  }

  /** Reads one more. */
  read(allowance: ReadAllowance): void {
    const number = this.end;
    allowance.take(chunkSizeBytes);
    let root = number < this.#last ? this.#root(number) : undefined;
    if (root === undefined) {
      this.#isRead = true;
      return;
    }
    for (let index = number; index % 2 === 1; index = (index - 1) / 2)
      root = joined(this.#frontier.pop() as Digest, root);
    this.#frontier.push(root);
    this.#mark();
  }

  /** Where the row begins that leads to this frontier before this chunk; undefined when it does not, or there is none. */
  beginningOf(
    chunk: number,
    frontier: readonly Digest[],
  ): { readonly chunk: number; readonly frontier: readonly Digest[] } | undefined {
    const mark = this.#marks[chunk - this.#beginning];
    if (mark === undefined || chunk === this.#beginning || mark !== markOf(frontier)) return undefined;
    return { chunk: this.#beginning, frontier: this.#beginningFrontier };
  }

  #mark(): void {
    this.#marks.push(markOf(this.#frontier));
  }

  /** Of the leaves of a complete chunk, beside which it lies too. */
  #root(number: number): Digest | undefined {
    try {
      const leaves = leafSource(this.#view).chunk(number);
      if (leaves?.length !== chunkSizeBytes) return undefined;
      const root = digestFrom(LeafChunk.of(leaves).root);
      const isStored = chunkChanges(number, leaves, root).every(({ key, value }) => {
        const stored = this.#view.get(key);
        return stored !== undefined && value !== undefined && Buffer.compare(stored, value) === 0;
      });
      return isStored ? root : undefined;
    } catch (error) {
      if (error instanceof StateDamage) return undefined;
      throw error;
    }
  }
}

function markOf(frontier: readonly Digest[]): Digest {
  return sha256Of(frontier.map((digest) => Buffer.from(digest, 'hex')));
}

function onesOf(number: number): number {
  return [...number.toString(2)].filter((digit) => digit === '1').length;
}
