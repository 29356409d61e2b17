/**
 * Reply batch: the replies that wait to be sent, each answer to a request once, and bounded together.
 *
 * A request of a hundred bytes may have a result of a megabyte, and one commit may order thousands of them, or the same
 * one thousands of times. So beyond `limits.repliesSizeBytesMax` the oldest reply is dropped, and its client asks again:
 * results are remembered for longer than that anyhow, or forgotten by all alike (docs/protocol/sessions.md §3).
 */
import { limits } from '../wire/limits.ts';
import type { Reply } from './execution.ts';

export class ReplyBatch {
  /** By request and commit, in the order in which they came. */
  readonly #replies = new Map<string, Reply>();
  #sizeBytes = 0;

  get all(): readonly Reply[] {
    return [...this.#replies.values()];
  }

  add(reply: Reply): void {
    const key = `${reply.requestDigest}/${reply.commitIndex}`;
    if (this.#replies.has(key)) return;
    this.#replies.set(key, reply);
    this.#sizeBytes += costOf(reply);
    for (const [oldest, dropped] of this.#replies) {
      if (this.#sizeBytes <= limits.repliesSizeBytesMax) return;
      this.#replies.delete(oldest);
      this.#sizeBytes -= costOf(dropped);
    }
  }
}

function costOf(reply: Reply): number {
  return reply.result.length + limits.sessionResultOverheadSizeBytes;
}
