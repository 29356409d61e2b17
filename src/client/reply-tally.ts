/**
 * Reply tally: which replicas said what about one request, and when that is enough to believe it.
 *
 * In: replies of replicas known by their pinned links. Out: the reply that replicas, at least one of them correct,
 * report byte for byte alike. Bytes are compared, never decoded: that is done once, for the reply that is believed.
 * Safety: with at most f faulty replicas nothing is accepted that a correct replica did not report.
 */
import { containsReplica, emptySet, type QuorumRule, type ReplicaSet, withReplica } from '../membership/membership.ts';

/** What at least one replica claims. */
export interface Claim {
  readonly commitIndex: number;
  readonly result: Uint8Array;
  replicas: ReplicaSet;
}

/** A correct replica reports a result at most, and later that it is forgotten, and that the session is. */
const claimsPerReplicaMax = 3;

export class ReplyTally {
  readonly #rule: QuorumRule;
  readonly #claims: Claim[] = [];
  #replied: ReplicaSet = emptySet;

  constructor(rule: QuorumRule) {
    this.#rule = rule;
  }

  /** Who has said anything. */
  get replied(): ReplicaSet {
    return this.#replied;
  }

  get claims(): readonly Claim[] {
    return this.#claims;
  }

  /** Counts a reply; returns the claim it made acceptable, if any. */
  add(replicaIndex: number, commitIndex: number, result: Uint8Array): Claim | undefined {
    this.#replied = withReplica(this.#replied, replicaIndex);
    let made = 0;
    for (const claim of this.#claims) {
      if (claim.commitIndex === commitIndex && sameBytes(claim.result, result)) {
        claim.replicas = withReplica(claim.replicas, replicaIndex);
        return this.#rule.hasCorrect(claim.replicas) ? claim : undefined;
      }
      if (containsReplica(claim.replicas, replicaIndex)) made += 1;
    }
    if (made >= claimsPerReplicaMax) return undefined;
    const claim: Claim = { commitIndex, result, replicas: withReplica(emptySet, replicaIndex) };
    this.#claims.push(claim);
    return this.#rule.hasCorrect(claim.replicas) ? claim : undefined;
  }
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
