/**
 * Commit sequence: turns decisions into commits: index, blocks, agreed time, digest, and the pruning horizon
 * (docs/protocol/ordering.md §4 "Output", §5).
 *
 * Owns: the position in the sequence of slots and what the last commit left behind. Everything in a commit is a function
 * of the agreed sequence and of the histories of its leaders, never of what happens to be stored here.
 * Safety: each commit is handed to the duties before the slot after it is decided for good. After the commit with which they
 * close the DAG there is none. The commit that gives them
 * a coin ends one decision rule and begins another (§7), and must do so at the same slot on every replica, however many
 * slots each of them decides at a time.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Membership } from '../membership/membership.ts';
import type { Reference } from '../wire/block.ts';
import type { OrderingFrontier } from '../wire/checkpoint.ts';
import type { BlockDag } from './block-dag.ts';
import type { Coins } from './coins.ts';
import type { Commit, VerifiedBlock } from './commit.ts';
import { type CommitterRules, decide, type Position, positionAfter } from './committer.ts';
import type { DutySource } from './duty-source.ts';
import { commitDigest, commitTimestamp, horizonAfter, linearize } from './linearizer.ts';
import { lowestRoundFrom, periodFrom } from './slots.ts';

export class CommitSequence {
  readonly #membership: Membership;
  readonly #dag: BlockDag;
  readonly #rules: CommitterRules;
  readonly #duties: DutySource;
  readonly #coins: Coins;
  #position: Position;
  #horizon: number;
  #index: number;
  #timestamp: number;
  #digest: Digest;

  constructor(options: {
    readonly membership: Membership;
    readonly dag: BlockDag;
    /** Are given each commit, and say from which one on their coin counts. */
    readonly duties: DutySource;
    readonly coins: Coins;
    /** Where it goes on. */
    readonly from: OrderingFrontier;
  }) {
    const { membership, from } = options;
    this.#membership = membership;
    this.#dag = options.dag;
    this.#duties = options.duties;
    this.#coins = options.coins;
    this.#rules = { rule: membership.rule, ...membership.parameters };
    this.#position = { next: from.next, periodHasCommit: from.periodHasCommit };
    this.#horizon = from.horizon;
    this.#index = from.commitIndex;
    this.#timestamp = from.timestamp;
    this.#digest = from.commitDigest;
    this.#coins.advance(periodFrom(from.next, this.#rules));
  }

  /** Index of the last commit; 0 before the first. */
  get commitIndex(): number {
    return this.#index;
  }

  /** Rounds up to this one are never ordered again. */
  get horizon(): number {
    return this.#horizon;
  }

  /**
   * Where another replica can go on as we do. Agreed when it is asked for while the duties take a commit: later the position
   * may have passed slots that were skipped.
   */
  get frontier(): OrderingFrontier {
    return {
      commitIndex: this.#index,
      commitDigest: this.#digest,
      timestamp: this.#timestamp,
      horizon: this.#horizon,
      next: this.#position.next,
      periodHasCommit: this.#position.periodHasCommit,
      committed: this.#dag.committedAbove(this.#horizon),
    };
  }

  /** All slots of the rounds below this one are decided. */
  get undecidedRound(): number {
    return lowestRoundFrom(this.#position.next);
  }

  /** Decides as far as the DAG allows; the commits that come of it, in order. */
  decide(): readonly Commit[] {
    const commits: Commit[] = [];
    while (this.#decideWithOneCoin(commits));
    this.#coins.advance(periodFrom(this.#position.next, this.#rules));
    return commits;
  }

  /**
   * Decides while the coin stays the same; true when it did not: what was decided beyond that commit is no decision, and
   * every slot after it must be decided anew.
   */
  #decideWithOneCoin(commits: Commit[]): boolean {
    const { coin } = this.#duties;
    const leaderOf = (period: number): number | undefined => this.#coins.leaderOf(period);
    const { decisions } = decide(this.#dag, this.#rules, leaderOf, this.#position);
    for (const decision of decisions) {
      if (this.#duties.isClosed) return false;
      this.#position = positionAfter(this.#position, decision, this.#rules);
      if (decision.block === null) continue;
      const commit = this.#commit(decision.block);
      commits.push(commit);
      this.#duties.committed(commit);
      if (this.#duties.coin !== coin) return true;
    }
    return false;
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
