/**
 * Checkpoint progress: from taken, through stored and certified, to stable: then others may fetch it, and what came
 * before it may go.
 *
 * In: checkpoints as they are taken, what is stored, certified heads. Out: the one that became stable, once. Pure. Only the
 * last few are of interest: a later one stands for all before.
 */
import type { Digest } from '../crypto/hash.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import type { KnownCheckpoint } from './engine-notes.ts';

/** Checkpoints kept until they are stored and certified; disks are slower than agreement only for a while. */
const followedMax = 8;

export interface StableCheckpoint extends KnownCheckpoint {
  /** The certified head that carries its digest. */
  readonly head: CertifiedHead;
}

interface Followed {
  readonly known: KnownCheckpoint;
  isStored: boolean;
  head: CertifiedHead | undefined;
}

export class CheckpointProgress {
  #followed: Followed[] = [];
  #stable: StableCheckpoint | undefined;
  #storedCommitIndex: number;

  /** `restored`: the one that this replica goes on from. It is in the engine. */
  constructor(restored?: KnownCheckpoint) {
    this.#storedCommitIndex = restored?.checkpoint.ordering.commitIndex ?? 0;
    if (restored !== undefined) this.#followed.push({ known: restored, isStored: true, head: undefined });
  }

  /** The last one that is stored here and certified. */
  get stable(): StableCheckpoint | undefined {
    return this.#stable;
  }

  /** Commit of the newest one that is in the engine; 0 before the first. */
  get storedCommitIndex(): number {
    return this.#storedCommitIndex;
  }

  taken(known: KnownCheckpoint): void {
    this.#followed = [...this.#followed, { known, isStored: false, head: undefined }].slice(-followedMax);
  }

  /** The engine holds this one now, and none before it any more. */
  stored(digest: Digest): StableCheckpoint | undefined {
    const followed = this.#of(digest);
    if (followed === undefined) return undefined;
    followed.isStored = true;
    this.#storedCommitIndex = followed.known.checkpoint.ordering.commitIndex;
    this.#followed = this.#followed.slice(this.#followed.indexOf(followed));
    return this.#settle(followed);
  }

  certified(head: CertifiedHead): StableCheckpoint | undefined {
    const followed = this.#of(head.head.checkpoint);
    if (followed === undefined || followed.head !== undefined) return undefined;
    followed.head = head;
    return this.#settle(followed);
  }

  #of(digest: Digest): Followed | undefined {
    return this.#followed.find(({ known }) => known.digest === digest);
  }

  #settle(followed: Followed | undefined): StableCheckpoint | undefined {
    if (followed?.head === undefined || !followed.isStored) return undefined;
    this.#followed = this.#followed.slice(this.#followed.indexOf(followed) + 1);
    this.#stable = { ...followed.known, head: followed.head };
    return this.#stable;
  }
}
