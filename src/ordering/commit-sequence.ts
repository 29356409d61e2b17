/**
 * Commit sequence: turns decisions into commits: index, blocks, agreed time, digest, and the pruning horizon
 * (docs/protocol/ordering.md §4 "Output", §5).
 *
 * Owns: the position in the sequence of slots and what the last commit left behind. Everything in a commit is a function
 * of the agreed sequence and of the histories of its leaders, never of what happens to be stored here.
 */
import type { Digest } from '../crypto/hash.ts';
import { genesisCoin, type Membership } from '../membership/membership.ts';
import type { Reference } from '../wire/block.ts';
import type { BlockDag } from './block-dag.ts';
import type { Commit, VerifiedBlock } from './commit.ts';
import { type CommitterRules, decide, initialPosition, type Position } from './committer.ts';
import { commitDigest, commitTimestamp, horizonAfter, initialHorizon, linearize } from './linearizer.ts';
import { lowestRoundFrom } from './slots.ts';

export class CommitSequence {
  readonly #membership: Membership;
  readonly #dag: BlockDag;
  readonly #rules: CommitterRules;
  /** Leaders of the periods whose coin is open and still of use. */
  readonly #coins = new Map<number, number>();
  #nextCoin = 1;
  #position: Position = initialPosition;
  #horizon = initialHorizon;
  #index = 0;
  #timestamp: number;
  #digest: Digest;

  constructor(options: { readonly membership: Membership; readonly dag: BlockDag }) {
    const { membership } = options;
    this.#membership = membership;
    this.#dag = options.dag;
    this.#rules = { rule: membership.rule, ...membership.parameters };
    this.#timestamp = membership.genesisTimestamp;
    this.#digest = membership.epochGenesis;
  }

  /** Index of the last commit; 0 before the first. */
  get commitIndex(): number {
    return this.#index;
  }

  /** Rounds up to this one are never ordered again. */
  get horizon(): number {
    return this.#horizon;
  }

  /** All slots of the rounds below this one are decided. */
  get undecidedRound(): number {
    return lowestRoundFrom(this.#position.next);
  }

  /** Decides as far as the DAG allows; the commits that come of it, in order. */
  decide(): readonly Commit[] {
    this.#openCoins();
    const { decisions, position } = decide(this.#dag, this.#rules, this.#coins, this.#position);
    this.#position = position;
    const commits: Commit[] = [];
    for (const { block } of decisions) if (block !== null) commits.push(this.#commit(block));
    return commits;
  }

  /** A coin opens when a quorum of blocks of round c + 3 exists, which is when a replica may enter round c + 4 (§7). */
  #openCoins(): void {
    const { parameters, epochGenesis, rule } = this.#membership;
    const { period } = parameters;
    while (this.#dag.highestQuorumRound >= this.#nextCoin * period + 3) {
      this.#coins.set(this.#nextCoin, genesisCoin(epochGenesis, this.#nextCoin, rule.n));
      this.#nextCoin += 1;
    }
    for (const w of this.#coins.keys()) if (w * period < this.undecidedRound) this.#coins.delete(w);
  }

  #commit(leaderId: string): Commit {
    const entry = this.#dag.get(leaderId);
    if (entry?.block === undefined) throw new Error(`invariant: the leader ${leaderId} was committed and is not here`);
    const leader = referenceOf(entry.block);
    const blocks = linearize(entry, this.#dag, this.#horizon, (id) => this.#dag.get(id)?.committed ?? true).map(
      ({ id }) => this.#order(id),
    );
    this.#index += 1;
    this.#timestamp = commitTimestamp(this.#timestamp, this.#parentTimestamps(entry.block));
    this.#digest = commitDigest({ previous: this.#digest, leader, blocks: blocks.map(referenceOf) });
    const { pruneDepth } = this.#membership.parameters;
    this.#horizon = horizonAfter({ horizon: this.#horizon, leaderRound: leader.round, pruneDepth });
    return { index: this.#index, leader, blocks, timestamp: this.#timestamp, digest: this.#digest };
  }

  #order(id: string): VerifiedBlock {
    const entry = this.#dag.get(id);
    if (entry?.block === undefined) throw new Error(`invariant: the block ${id} was ordered and is not here`);
    entry.committed = true;
    return entry.block;
  }

  /** Timestamps of the leader's parents at the round before its own. */
  #parentTimestamps(leader: VerifiedBlock): readonly number[] {
    return leader.parents
      .filter((parent) => parent.round === leader.round - 1)
      .map((parent) => this.#timestampOf(parent));
  }

  /** Genesis blocks are as old as the service, and pruned with the first commit while slots of round 1 are open. */
  #timestampOf(reference: Reference): number {
    if (reference.round === 0) return this.#membership.genesisTimestamp;
    const block = this.#dag.get(reference.digest)?.block;
    if (block === undefined) throw new Error("invariant: a committed leader's parent is not here");
    return block.timestamp;
  }
}

function referenceOf({ round, author, digest }: Reference): Reference {
  return { round, author, digest };
}
