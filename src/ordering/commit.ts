/**
 * Commit: one step of the agreed sequence: a leader and the blocks it orders (docs/protocol/ordering.md §5).
 */
import type { Digest } from '../crypto/hash.ts';
import type { Block, Reference } from '../wire/block.ts';
import { dutyKinds } from '../wire/duty.ts';
import type { Request } from '../wire/request.ts';

/** A block that passed `verifyBlock`: every rule of §2 that looks at the block and the membership alone. */
export interface VerifiedBlock extends Block {
  readonly verified: true;
  /** Its requests, decoded, their signatures checked; `decodedRequests[i]` is of `requests[i]`. */
  readonly decodedRequests: readonly Request[];
}

/** Does a block carry anything that others make rounds for? A coin is needed for what else is there, or not at all. */
export function isLoaded(block: VerifiedBlock): boolean {
  return block.requests.length > 0 || block.duties.some(({ kind }) => kind !== dutyKinds.coinShare);
}

export interface Commit {
  /** From 1 without gaps. */
  readonly index: number;
  readonly leader: Reference;
  /** In the order in which they are executed. */
  readonly blocks: readonly VerifiedBlock[];
  /** Agreed time, milliseconds since 1970, never falling. */
  readonly timestamp: number;
  /** H(digest of the previous commit, leader, blocks). */
  readonly digest: Digest;
}
