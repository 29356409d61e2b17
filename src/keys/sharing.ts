/**
 * Sharing: what is dealt, by whom, to whom, and how many answers are enough. Key generation is one, each resharing another;
 * everything else in this folder asks here and does not care which it is.
 *
 * In: memberships and, for a resharing, the transcript before. Out: values. Owns no state.
 * Safety: a dealing that enough holders have confirmed was found right by f + 1 correct ones, who can open it
 * (docs/protocol/key-generation.md, K8; docs/protocol/epochs.md §3, R4).
 */
import type { G1Point, G2Point, PairingCurve } from '../crypto/curve.ts';
import type { Dealing } from '../crypto/dealing.ts';
import type { Digest } from '../crypto/hash.ts';
import { lagrangeAtZero } from '../crypto/threshold.ts';
import type { Membership, ReplicaSet } from '../membership/membership.ts';
import { holderKeysOf } from './holder-keys.ts';
import { dealingContext } from './key-duty.ts';

export interface Sharing {
  readonly name: 'key generation' | 'resharing';
  readonly curve: PairingCurve;
  readonly serviceId: Digest;
  /** In which the key shares will be used. */
  readonly epoch: number;
  /** Of the sharing whose key shares are dealt on; undefined when the key is made. */
  readonly sourceEpoch: number | undefined;
  readonly dealerCount: number;
  /** Dealings that make the key: f + 1, for the f of the dealers. */
  readonly dealingsNeeded: number;
  /** In the order of the holders. */
  readonly holderKeys: readonly G1Point[];
  /** Evaluations that determine a polynomial, and signature shares that make a signature: f + 1, for the f of the holders. */
  readonly threshold: number;
  /** What each dealer must commit to as its constant; undefined: to what it likes. */
  readonly constants: readonly G2Point[] | undefined;
  /** 96 bytes, when it is known before. */
  readonly serviceKey: Uint8Array | undefined;
  /** What a dealing is bound to. */
  contextOf(dealer: number): Uint8Array;
  /** Are these holders, who found a dealing right, enough to qualify it? */
  isConfirmedBy(holders: ReplicaSet): boolean;
  /** Are there always enough signature shares when these holders have their key shares? */
  isWideWith(holders: ReplicaSet): boolean;
}

/** The first sharing: all members deal to all. */
export function generationOf(curve: PairingCurve, membership: Membership): Sharing {
  const { serviceId, epoch, rule } = membership;
  return {
    name: 'key generation',
    curve,
    serviceId,
    epoch,
    sourceEpoch: undefined,
    dealerCount: rule.n,
    dealingsNeeded: rule.f + 1,
    holderKeys: holderKeysOf(curve, membership.members),
    threshold: rule.f + 1,
    constants: undefined,
    serviceKey: undefined,
    contextOf: (dealer) => dealingContext(membership, dealer),
    isConfirmedBy: (holders) => rule.isQuorum(holders),
    isWideWith: (holders) => rule.isQuorum(holders),
  };
}

/** What each of these dealings counts for in the sum that makes the key: their constants are summands, or shares of it. */
export function weightsOf({ curve, constants }: Sharing, dealers: readonly number[]): readonly bigint[] {
  return constants === undefined ? dealers.map(() => 1n) : lagrangeAtZero(dealers, curve.order);
}

/** Does the dealer share what it must: its key share in the sharing before? */
export function sharesRightSecret({ curve, constants }: Sharing, dealer: number, { commitments }: Dealing): boolean {
  if (constants === undefined) return true;
  const [due, given] = [constants[dealer], commitments[0]];
  return due !== undefined && given !== undefined && curve.g2.equals(due, given);
}
