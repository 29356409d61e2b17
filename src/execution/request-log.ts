/**
 * Request log: what was executed, in order, as a Merkle tree; and when its head is due to be signed.
 *
 * In: each executed request with its result; the end of each commit. Out: places in the log, due heads, proofs for any size
 * from the first that is retained; with each checkpoint, the changes that store it. Owns the tree. Everything but what is
 * retained is a function of the commits, so correct replicas have the same log and the same due heads
 * (docs/protocol/certification.md §§1-2, normative).
 *
 * A checkpoint is taken where a head is due, and that head is made after it: so the checkpoint says all there is to know
 * about the last due head, and a log restored from it has the same heads due as one that was never away.
 */
import { type Digest, digestSizeBytes, sha256 } from '../crypto/hash.ts';
import { leafHashOf, MerkleTree } from '../crypto/merkle.ts';
import { chunkLeaves } from '../crypto/merkle-store.ts';
import type { Change, StateView } from '../state/engine.ts';
import {
  beginningChange,
  chunkChanges,
  dropChunkChanges,
  type LogSummary,
  lastChunkOf,
  leafSource,
  openLog,
} from '../state/log-leaves.ts';
import type { OrderingFrontier } from '../wire/checkpoint.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { Writer } from '../wire/writer.ts';

/** What a commit adds to the head that is due after it. */
export interface CommitEnd {
  readonly commitIndex: number;
  /** Agreed time of the commit, milliseconds since 1970. */
  readonly timestamp: number;
  /** What its leader's block says the time is; undefined when that was ordered before. It may be a lie. */
  readonly leaderTimestamp: number | undefined;
  /** Somebody waits for a certified reply: so says a duty in the commit. */
  readonly isWished: boolean;
}

/** What a head says besides the log. */
export type HeadCover = Omit<Head, 'serviceId' | 'epoch' | 'commitIndex' | 'logSize' | 'logRoot' | 'timestamp'>;

/** A log as a checkpoint left it. */
export interface RestoredLog {
  readonly tree: MerkleTree;
  readonly lastDue: LastDue;
}

/** What a checkpoint says about the log and the commit it was taken at. */
type LoggedCheckpoint = LogSummary & { readonly ordering: Pick<OrderingFrontier, 'commitIndex' | 'timestamp'> };

type LastDue = Pick<Head, 'commitIndex' | 'timestamp' | 'logSize'>;

/** The log of a checkpoint, out of the engine that holds it. Throws `StateDamage` when it is not all there. */
export function restoredLog(view: StateView, checkpoint: LoggedCheckpoint): RestoredLog {
  const { commitIndex, timestamp } = checkpoint.ordering;
  return { tree: openLog(view, checkpoint), lastDue: { commitIndex, timestamp, logSize: checkpoint.logSize } };
}

export class RequestLog {
  readonly #serviceId: Digest;
  readonly #epoch: number;
  readonly #headIntervalMs: number;
  readonly #retainedLeaves: number;
  readonly #tree: MerkleTree;
  #lastDue: LastDue | undefined;
  /** Size at the last `changes`. */
  #savedSize: number;

  constructor(options: {
    readonly serviceId: Digest;
    readonly epoch: number;
    readonly headIntervalMs: number;
    /** Holds what `changes` gave once it is `stored`; the `restoredLog` is from there too. */
    readonly view: StateView;
    readonly from?: RestoredLog | undefined;
    /** Leaves of which there are proofs, at least. More than a chunk beyond that: the oldest are dropped. */
    readonly retainedLeaves?: number | undefined;
  }) {
    this.#serviceId = options.serviceId;
    this.#epoch = options.epoch;
    this.#headIntervalMs = options.headIntervalMs;
    this.#retainedLeaves = options.retainedLeaves ?? limits.logLeavesRetained;
    this.#tree = options.from?.tree ?? new MerkleTree({ source: leafSource(options.view) });
    this.#lastDue = options.from?.lastDue;
    this.#savedSize = this.#tree.size;
  }

  /** Leaves. */
  get size(): number {
    return this.#tree.size;
  }

  /** Has it grown since the last due head? */
  get hasUncertified(): boolean {
    return this.size > (this.#lastDue?.logSize ?? 0);
  }

  /** Adds an executed request; its place, from 0. */
  append(requestDigest: Digest, result: Uint8Array, commitIndex: number): number {
    this.#tree.append(leafHashOf(logEntryOf(requestDigest, sha256(result), commitIndex)));
    return this.size - 1;
  }

  /** Is a head due after the commit that ends so? */
  isDue(end: CommitEnd): boolean {
    return this.hasUncertified && this.#isTime(end);
  }

  /** The head that is due after this commit. */
  makeHead({ commitIndex, timestamp }: CommitEnd, cover: HeadCover): Head {
    const head = {
      serviceId: this.#serviceId,
      epoch: this.#epoch,
      commitIndex,
      logSize: this.size,
      logRoot: this.#tree.root(),
      ...cover,
      timestamp,
    };
    this.#lastDue = head;
    return head;
  }

  /** For a checkpoint: roots of the largest complete subtrees, from the left. */
  frontier(): readonly Digest[] {
    return this.#tree.frontier();
  }

  /** The first leaf, and the first size but 0, that there are proofs of. */
  get retainedFrom(): number {
    return this.#tree.retainedFrom;
  }

  /** For a checkpoint: what the engine needs for the log to go on from here, since the last time it was asked. */
  changes(): readonly Change[] {
    const changes: Change[] = [];
    const tree = this.#tree;
    const retainedBefore = tree.retainedFrom;
    tree.prune(this.size - this.#retainedLeaves);
    const first = tree.retainedFrom / chunkLeaves;
    if (tree.retainedFrom > retainedBefore) {
      changes.push(beginningChange(first, tree.frontier(tree.retainedFrom)));
      for (
        let number = retainedBefore / chunkLeaves;
        number < first && number <= lastChunkOf(this.#savedSize);
        number++
      ) {
        changes.push(...dropChunkChanges(number));
      }
    }
    const last = lastChunkOf(this.size);
    for (let number = Math.max(first, lastChunkOf(this.#savedSize)); number <= last; number++) {
      const leaves = tree.leaves(number);
      if (leaves !== undefined)
        changes.push(...chunkChanges(number, leaves, number < last ? tree.chunkRoot(number) : undefined));
    }
    this.#savedSize = this.size;
    return changes;
  }

  /** The engine holds the changes of when the log had this size: it is read from there now. */
  stored(size: number): void {
    this.#tree.stored(size);
  }

  /** Undefined when there is no such leaf in a log of that size, or not any more, or the log never had it. */
  inclusionPath(leafIndex: number, logSize: number): readonly Digest[] | undefined {
    return this.#tree.inclusionPath(leafIndex, logSize);
  }

  /** Undefined when the log never had one of the sizes, or has no proofs of it any more. */
  consistencyPath(from: number, to: number): readonly Digest[] | undefined {
    return this.#tree.consistencyPath(from, to);
  }

  /**
   * Agreed time is that of the round before the leader's. After a rest that round is old, and to wait for a newer one would
   * take further rounds; so the leader's own word will do: one that lies makes heads due more often, never less.
   * Agreed time stands still after clocks were ahead, for as long as they were; then commits are counted.
   */
  #isTime({ commitIndex, timestamp, leaderTimestamp = timestamp, isWished }: CommitEnd): boolean {
    const last = this.#lastDue;
    if (last === undefined) return true;
    const factor = isWished ? 1 : limits.headUnwishedIntervals;
    if (Math.max(timestamp, leaderTimestamp) >= last.timestamp + factor * this.#headIntervalMs) return true;
    return commitIndex >= last.commitIndex + factor * limits.headCommitsMax;
  }
}

/** What is hashed as a leaf: digest of the request, digest of its result, index of the commit that executed it (8 bytes). */
function logEntryOf(requestDigest: Digest, resultDigest: Digest, commitIndex: number): Uint8Array {
  return new Writer(2 * digestSizeBytes + 8).digest(requestDigest).digest(resultDigest).u64(commitIndex).finish();
}
