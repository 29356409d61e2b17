/**
 * Due heads: the last heads that our own execution came to, to hold those of others against.
 *
 * In: our due heads, in order. Out: what a head that somebody else names is to us. Owns the last few, certified or not;
 * what is older is covered by what is newer.
 */
import { type Digest, sha256 } from '../crypto/hash.ts';
import { encodeHead, type Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { statementMessage } from './statement.ts';

export interface DueHead {
  readonly head: Head;
  readonly encoded: Uint8Array;
  readonly digest: Digest;
  /** What is signed. */
  readonly message: Uint8Array;
  /** Our share, once we have signed. */
  share: Uint8Array | undefined;
  /** When shares enough for a signature were first seen. */
  enoughAtMs: number | undefined;
}

/** A head that somebody names: ours, another than ours, one of a commit not executed here yet, or too old to say. */
export type Judgement = 'ours' | 'another' | 'ahead' | 'unknown';

export class DueHeads {
  readonly #byCommit = new Map<number, DueHead>();
  /** Ascending. */
  readonly #all: DueHead[] = [];
  /** Above this, and up to the newest, we know of each commit whether a head was due and which. */
  #knownAbove = 0;

  get newest(): DueHead | undefined {
    return this.#all[this.#all.length - 1];
  }

  add(head: Head): DueHead {
    const { newest } = this;
    if (newest !== undefined && head.commitIndex <= newest.head.commitIndex) {
      throw new Error(`invariant: head of commit ${head.commitIndex} is due after ${newest.head.commitIndex}`);
    }
    const encoded = encodeHead(head);
    const digest = sha256(encoded);
    const message = statementMessage('head', digest);
    const due = { head, encoded, digest, message, share: undefined, enoughAtMs: undefined };
    // Before the first one there may have been others, in an earlier life.
    if (newest === undefined) this.#knownAbove = head.commitIndex - 1;
    this.#byCommit.set(head.commitIndex, due);
    this.#all.push(due);
    if (this.#all.length > limits.dueHeadsMax) {
      const oldest = this.#all.shift() as DueHead;
      this.#byCommit.delete(oldest.head.commitIndex);
      this.#knownAbove = oldest.head.commitIndex;
    }
    return due;
  }

  at(commitIndex: number): DueHead | undefined {
    return this.#byCommit.get(commitIndex);
  }

  /** Ours of that commit, or the next one. */
  atOrAfter(commitIndex: number): DueHead | undefined {
    return this.at(commitIndex) ?? this.#all.find(({ head }) => head.commitIndex > commitIndex);
  }

  /** Those above a commit, newest first. */
  *newestAbove(commitIndex: number): Generator<DueHead> {
    for (let i = this.#all.length - 1; i >= 0; i--) {
      const due = this.#all[i] as DueHead;
      if (due.head.commitIndex <= commitIndex) return;
      yield due;
    }
  }

  judge(commitIndex: number, digest: Digest): Judgement {
    if (this.newest === undefined || commitIndex > this.newest.head.commitIndex) return 'ahead';
    if (commitIndex <= this.#knownAbove) return 'unknown';
    return this.#byCommit.get(commitIndex)?.digest === digest ? 'ours' : 'another';
  }
}
