/**
 * Pending requests: what waits at this replica to be put into a block, each once, however often and by whomever it
 * comes. A request that some accepted block carries already rests until that block is committed or pruned.
 *
 * Owns: the queue, bounded in count and bytes. Out: the next batch. Deduplication proper is done at execution; here it
 * only saves bytes.
 */
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import type { Request } from '../wire/request.ts';
import type { VerifiedBlock } from './commit.ts';

export class PendingRequests {
  /** Not yet in any block we know, oldest first. */
  readonly #queue = new Map<Digest, Request>();
  /** Ours, in some block that is neither committed nor pruned. */
  readonly #resting = new Map<Digest, Request>();
  /** In how many accepted, uncommitted blocks a request is. */
  readonly #carried = new Map<Digest, number>();
  #sizeBytes = 0;

  /** How many wait for a block. */
  get size(): number {
    return this.#queue.size;
  }

  /** All that no commit holds, encoded: what waits for a block, and what rests in one. */
  get uncommitted(): readonly Uint8Array[] {
    return [...this.#resting.values(), ...this.#queue.values()].map(({ bytes }) => bytes);
  }

  get hasRoom(): boolean {
    return (
      this.#queue.size + this.#resting.size < limits.pendingRequestsMax &&
      this.#sizeBytes < limits.pendingRequestsSizeBytesMax
    );
  }

  /** Takes a verified request; without room it is dropped, and its client asks again. */
  add(request: Request): void {
    const { digest } = request;
    if (!this.hasRoom || this.#queue.has(digest) || this.#resting.has(digest)) return;
    this.#sizeBytes += request.bytes.length;
    if (this.#carried.has(digest)) this.#resting.set(digest, request);
    else this.#queue.set(digest, request);
  }

  /** An accepted block carries these requests. */
  carried(block: VerifiedBlock): void {
    for (const { digest } of block.decodedRequests) {
      this.#carried.set(digest, (this.#carried.get(digest) ?? 0) + 1);
      const own = this.#queue.get(digest);
      if (own === undefined) continue;
      this.#queue.delete(digest);
      this.#resting.set(digest, own);
    }
  }

  /** A block was committed: its requests are done. */
  committed(block: VerifiedBlock): void {
    for (const { digest } of block.decodedRequests) {
      this.#release(digest);
      const own = this.#resting.get(digest) ?? this.#queue.get(digest);
      if (own === undefined) continue;
      this.#sizeBytes -= own.bytes.length;
      this.#resting.delete(digest);
      this.#queue.delete(digest);
    }
  }

  /** A block was pruned uncommitted: what rested on it waits again. */
  pruned(block: VerifiedBlock): void {
    for (const { digest } of block.decodedRequests) {
      if (this.#release(digest) > 0) continue;
      const own = this.#resting.get(digest);
      if (own === undefined) continue;
      this.#resting.delete(digest);
      this.#queue.set(digest, own);
    }
  }

  /** The oldest requests that fit one block; they stay queued until the block that carries them is accepted. */
  batch(countMax: number = limits.blockRequestsMax): readonly Request[] {
    const batch: Request[] = [];
    let sizeBytes = 0;
    for (const request of this.#queue.values()) {
      const grown = sizeBytes + request.bytes.length + 4;
      if (batch.length > 0 && grown > limits.blockPayloadSizeBytesMax) break;
      if (batch.length >= countMax) break;
      batch.push(request);
      sizeBytes = grown;
    }
    return batch;
  }

  #release(digest: Digest): number {
    const count = (this.#carried.get(digest) ?? 0) - 1;
    if (count > 0) this.#carried.set(digest, count);
    else this.#carried.delete(digest);
    return Math.max(0, count);
  }
}
