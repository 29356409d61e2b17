/**
 * Repetition: what is said again because it may be lost, and what is asked for because it is missing
 * (docs/decisions/0013-what-is-said-again.md).
 *
 * Owns: how long nothing has moved, and whom to ask next. In: where the replica stands. Out: messages to send.
 * None of this decides anything: all of it could be said at any time, or to everybody, and only cost more.
 */
import type { Reference } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { Acceptance } from './acceptance.ts';
import type { BlockDag } from './block-dag.ts';
import type { VerifiedBlock } from './commit.ts';
import type { OrderingEffects } from './effects.ts';

/** First wait before asking others to say again what may be lost; doubled up to the longest while nothing moves. */
const stallMsMin = 200;
const stallMsMax = 5_000;
/** Wait for the answer to one catch-up before the next one is sent to another replica. */
const catchUpMs = 40;

export type Send = OrderingEffects['send'][number];

/** Where the replica stands at the end of a step. */
interface Standing {
  readonly nowMs: number;
  readonly hasWork: boolean;
  /** Its last own block, as far as it has made one. */
  readonly ownBlock: VerifiedBlock | undefined;
  /** Some accepted block that no commit holds carries work. */
  readonly hasLoadedBlocks: boolean;
  /** What gives the others a reason to make the round it waits for. */
  readonly reasons: () => readonly Send[];
}

export class Repetition {
  readonly #n: number;
  readonly #self: number;
  readonly #dag: BlockDag;
  readonly #acceptance: Acceptance;
  #isWaiting = false;
  #stalledSinceMs = 0;
  #stallMs = stallMsMin;
  #turn = 0;
  #catchUpAtMs = 0;
  #askFromGap = true;
  /** Bytes of blocks that fetches of this step were answered with, by who asked. */
  readonly #answeredSizeBytes = new Map<number, number>();

  constructor(options: {
    readonly n: number;
    readonly self: number;
    readonly dag: BlockDag;
    readonly acceptance: Acceptance;
  }) {
    this.#n = options.n;
    this.#self = options.self;
    this.#dag = options.dag;
    this.#acceptance = options.acceptance;
  }

  /** Something moved: nothing needs to be said again for a while. */
  progressed(nowMs: number): void {
    this.#stalledSinceMs = nowMs;
    this.#stallMs = stallMsMin;
  }

  /** A link came up: what was asked in vain may be answered now. */
  connected(): void {
    this.#acceptance.askAgain();
    // The time of the stall stays: a peer that comes and goes must not put it off.
    this.#stallMs = stallMsMin;
  }

  /** The blocks that a fetch asks for, as far as they are here and the asker's bytes of this step are not used up. */
  answer(from: number, references: readonly Reference[]): readonly Send[] {
    const answer: Send[] = [];
    let sizeBytes = this.#answeredSizeBytes.get(from) ?? 0;
    for (const { digest } of references) {
      const block = this.#dag.get(digest)?.block;
      if (block === undefined) continue;
      if (sizeBytes + block.bytes.length > limits.fetchReplySizeBytesMax) break;
      sizeBytes += block.bytes.length;
      answer.push(saying(from, block));
    }
    this.#answeredSizeBytes.set(from, sizeBytes);
    return answer;
  }

  /** What to say at the end of a step. */
  due(standing: Standing): readonly Send[] {
    const { nowMs, hasWork, ownBlock, hasLoadedBlocks, reasons } = standing;
    this.#answeredSizeBytes.clear();
    const due: Send[] = this.#acceptance
      .fetches(nowMs)
      .map(({ to, references }) => ({ to, message: { kind: 'fetch', references } }));
    if (this.#isFarBehind() && nowMs >= this.#catchUpAtMs) {
      this.#catchUpAtMs = nowMs + catchUpMs;
      due.push(this.#askForRounds());
    }
    const wasWaiting = this.#isWaiting;
    // A block that everyone has pruned answers no fetch; only whole rounds out of a log bring it.
    this.#isWaiting = this.#acceptance.lowestMissingRound !== undefined || hasWork;
    if (!this.#isWaiting || !wasWaiting) this.progressed(nowMs);
    if (nowMs < this.#stalledSinceMs + this.#stallMs) return due;
    this.#stalledSinceMs = nowMs;
    this.#stallMs = Math.min(stallMsMax, this.#stallMs * 2);
    if (ownBlock !== undefined) due.push(saying('all', ownBlock));
    if (hasLoadedBlocks) due.push(...this.#newestOfOthers(ownBlock?.round ?? 0));
    due.push(...reasons(), this.#askForRounds());
    return due;
  }

  /** When there is something to say next, or to wait for no longer; undefined when there is not. */
  wakeAtMs(lingerEndsAtMs: number, nowMs: number): number | undefined {
    const times: number[] = [];
    if (this.#isWaiting) {
      times.push(this.#stalledSinceMs + this.#stallMs);
      if (lingerEndsAtMs > nowMs) times.push(lingerEndsAtMs);
    }
    if (this.#acceptance.nextFetchAtMs !== undefined) times.push(this.#acceptance.nextFetchAtMs);
    if (this.#isFarBehind()) times.push(this.#catchUpAtMs);
    return times.length === 0 ? undefined : Math.max(nowMs, Math.min(...times));
  }

  /**
   * The newest blocks of others: no block of ours cites them yet, and their author may have given them to us alone. What
   * they carry is work for everybody.
   */
  #newestOfOthers(ownRound: number): readonly Send[] {
    const { highestQuorumRound } = this.#dag;
    const newest: Send[] = [];
    for (const round of [highestQuorumRound, highestQuorumRound + 1]) {
      if (round < ownRound) continue;
      for (const { author, block } of this.#dag.at(round)) {
        if (block !== undefined && author !== this.#self) newest.push(saying('all', block));
      }
    }
    return newest;
  }

  #isFarBehind(): boolean {
    return this.#acceptance.provenRound > this.#dag.highestQuorumRound + limits.catchUpRoundsMin;
  }

  /**
   * Asks the next replica in turn for whole rounds: from where ours begin to have gaps, and every other time from where
   * they end. An answer has a limit, and a gap may be a made-up parent that nobody can fill.
   */
  #askForRounds(): Send {
    this.#turn = (this.#turn + 1) % this.#n;
    if (this.#turn === this.#self) this.#turn = (this.#turn + 1) % this.#n;
    const end = this.#dag.highestQuorumRound;
    const from = this.#askFromGap ? Math.min(this.#acceptance.lowestMissingRound ?? end, end) : end;
    this.#askFromGap = !this.#askFromGap;
    // Nobody needs to have kept what is below our horizon, so asking for it would look as if we were lost.
    const afterRound = Math.max(this.#acceptance.horizon, from - 1);
    return { to: this.#turn, message: { kind: 'catch-up', afterRound } };
  }
}

/** Says a block as it was made. */
export function saying(to: Send['to'], { bytes }: VerifiedBlock): Send {
  return { to, message: { kind: 'block', block: bytes } };
}
