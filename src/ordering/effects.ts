/**
 * What goes into the ordering and what comes out. Both are plain data: the ordering never waits, reads a clock or draws
 * a random number; effects are carried out by `replica/` in the order of the fields.
 */
import type { Digest } from '../crypto/hash.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import type { Request } from '../wire/request.ts';
import type { Commit } from './commit.ts';

export type OrderingInput =
  /** A decoded message from the replica at the other end of an authenticated link. */
  | { readonly kind: 'peer-message'; readonly from: number; readonly message: PeerMessage }
  /** A request that came to this replica, its signature checked. */
  | { readonly kind: 'request'; readonly request: Request }
  /** Our link to this replica is up: what we sent before may be lost. */
  | { readonly kind: 'connected'; readonly peer: number };

export type Evidence =
  /** Two different blocks of one author and round, both validly signed: proof to anyone. */
  | {
      readonly kind: 'equivocation';
      readonly author: number;
      readonly round: number;
      readonly first: Uint8Array;
      readonly second: Uint8Array;
    }
  /** Something refused: which rule it broke, who sent it, and whose block it was when that is known. */
  | {
      readonly kind: 'rejection';
      readonly rule: string;
      readonly from: number;
      readonly author: number | undefined;
      readonly digest: Digest | undefined;
    };

export interface OrderingEffects {
  /** Encoded blocks, in this order, to be durable before anything below is carried out. */
  readonly persist: readonly Uint8Array[];
  readonly send: readonly { readonly to: number | 'all'; readonly message: PeerMessage }[];
  readonly commits: readonly Commit[];
  readonly evidence: readonly Evidence[];
  /** Step again at this time at the latest, with or without input; undefined when nothing is waited for. */
  readonly wakeAtMs: number | undefined;
}
