/**
 * Request log: what was executed, in order, as a Merkle tree; and when its head is due to be signed.
 *
 * In: each executed request with its result; the end of each commit. Out: places in the log, due heads, proofs for any size
 * it ever had. Owns the tree. Everything is a function of the commits, so correct replicas have the same log and the same
 * due heads (docs/protocol/certification.md §§1-2, normative).
 */
import { type Digest, digestSizeBytes, sha256 } from '../crypto/hash.ts';
import { leafHashOf, MerkleTree } from '../crypto/merkle.ts';
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
  readonly stateDigest: Digest;
}

export class RequestLog {
  readonly #serviceId: Digest;
  readonly #epoch: number;
  readonly #headIntervalMs: number;
  readonly #tree = new MerkleTree();
  #lastDue: Head | undefined;

  constructor(options: { readonly serviceId: Digest; readonly epoch: number; readonly headIntervalMs: number }) {
    this.#serviceId = options.serviceId;
    this.#epoch = options.epoch;
    this.#headIntervalMs = options.headIntervalMs;
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

  /** Ends a commit; the head, when one is due. */
  close(end: CommitEnd): Head | undefined {
    if (!this.hasUncertified || !this.#isTime(end)) return undefined;
    const { commitIndex, timestamp, stateDigest } = end;
    this.#lastDue = {
      serviceId: this.#serviceId,
      epoch: this.#epoch,
      commitIndex,
      logSize: this.size,
      logRoot: this.#tree.root(),
      stateDigest,
      timestamp,
    };
    return this.#lastDue;
  }

  /** Undefined when there is no such leaf in a log of that size, or the log never had it. */
  inclusionPath(leafIndex: number, logSize: number): readonly Digest[] | undefined {
    return this.#tree.inclusionPath(leafIndex, logSize);
  }

  /** Undefined when the log never had one of the sizes. */
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
