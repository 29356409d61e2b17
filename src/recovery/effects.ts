/**
 * What goes into a state transfer and what comes out. Both are plain data: it never waits, reads a clock or draws a random
 * number. Effects are carried out in the order of the fields.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Change, StateDamage } from '../state/engine.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import type { PeerMessage } from '../wire/peer-message.ts';

export type TransferInput =
  /** A decoded message from the replica at the other end of an authenticated link. Others than ours are passed over. */
  | { readonly kind: 'peer-message'; readonly from: number; readonly message: PeerMessage }
  /** Our link to this replica is up: what we asked before may be lost. */
  | { readonly kind: 'connected'; readonly peer: number }
  /** The oldest `changes` that were not durable are now. */
  | { readonly kind: 'written' };

/** Something refused: which rule it broke and who sent it. The ordering's evidence has the same form. */
export interface TransferEvidence {
  readonly kind: 'rejection';
  readonly rule: string;
  readonly from: number;
  readonly author: undefined;
  /** Of the checkpoint it was about. */
  readonly digest: Digest | undefined;
}

/** A checkpoint that the service vouches for. */
export interface Offer {
  readonly checkpoint: Checkpoint;
  readonly encoded: Uint8Array;
  readonly digest: Digest;
  /** Carries the digest. */
  readonly head: CertifiedHead;
}

/** For people. */
export interface TransferProgress {
  /** Looks for a checkpoint; fetches its parts; removes what is not of it; the engine holds it. */
  readonly phase: 'looking' | 'fetching' | 'sweeping' | 'done';
  /** Of the checkpoint's commit; 0 while there is none. */
  readonly commitIndex: number;
  /** Verified so far, fetched or found here; of both trees. */
  readonly entries: number;
  readonly entriesTotal: number;
  readonly sizeBytes: number;
  readonly sizeBytesTotal: number;
  /** Replicas that have the checkpoint. */
  readonly peers: number;
  /** Replicas that lied and are not asked any more. */
  readonly droppedPeers: readonly number[];
  /** Of parts that were asked for. */
  readonly bytesReceived: number;
  readonly logChunks: number;
}

export interface TransferEffects {
  /** One write to the engine; after each comes a `written`. What is fetched goes on meanwhile, up to a bound. */
  readonly changes: readonly Change[];
  readonly send: readonly { readonly to: number; readonly message: PeerMessage }[];
  readonly evidence: readonly TransferEvidence[];
  readonly progress: TransferProgress;
  /** The engine holds this checkpoint, all of it durable, and nothing else but notes. */
  readonly done: Offer | undefined;
  /** The engine cannot even be listed, or forgets: begin again with an empty one. */
  readonly damage: StateDamage | undefined;
  /** There is more to do at once: step again when these are carried out. */
  readonly isUnfinished: boolean;
  /** Step again at this time at the latest, with or without input; undefined when nothing is waited for. */
  readonly wakeAtMs: number | undefined;
}
