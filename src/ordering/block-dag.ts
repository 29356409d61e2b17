/**
 * Block DAG: the accepted blocks above the pruning horizon, with what is asked of them all the time: who has a block at
 * a round, and which is the highest round with a quorum.
 *
 * Owns: entries by digest and by round. A block enters when its parents are here or below the horizon, never earlier.
 * Restored from a frontier it begins above the horizon, where the blocks of round 0 would stand else.
 */
import type { Digest } from '../crypto/hash.ts';
import {
  emptySet,
  genesisReference,
  type Membership,
  type QuorumRule,
  type ReplicaSet,
  withReplica,
} from '../membership/membership.ts';
import type { Reference } from '../wire/block.ts';
import type { OrderingFrontier } from '../wire/checkpoint.ts';
import type { VerifiedBlock } from './commit.ts';
import type { DagBlock, DagView } from './dag.ts';
import { initialHorizon } from './linearizer.ts';

/** One accepted block. Genesis blocks have no `block`. */
export interface Entry extends DagBlock {
  readonly id: Digest;
  readonly parents: readonly Digest[];
  readonly block: VerifiedBlock | undefined;
  /** Ordered by a commit already. */
  committed: boolean;
  /** In the history of our own last block, so that citing it again would say nothing. */
  inOwnHistory: boolean;
}

interface Round {
  readonly entries: Entry[];
  authors: ReplicaSet;
}

const noEntries: readonly Entry[] = [];

export class BlockDag implements DagView {
  readonly #rule: QuorumRule;
  readonly #entries = new Map<string, Entry>();
  readonly #rounds = new Map<number, Round>();
  /** Ordered before we began, and not here yet. */
  readonly #orderedBefore: Set<Digest>;
  #lowestRound = 0;
  #highestRound: number;
  #highestQuorumRound: number;

  constructor(membership: Membership, from: Pick<OrderingFrontier, 'horizon' | 'committed'>) {
    this.#rule = membership.rule;
    this.#orderedBefore = new Set(from.committed);
    this.#highestRound = from.horizon;
    // Nobody asks for a quorum below the horizon; above it a round has one only after the round before.
    this.#highestQuorumRound = from.horizon;
    if (from.horizon > initialHorizon) {
      this.#lowestRound = from.horizon + 1;
      return;
    }
    for (let author = 0; author < membership.members.length; author++) {
      const { digest } = genesisReference(membership.epochGenesis, author);
      this.#insert({
        id: digest,
        round: 0,
        author,
        parents: [],
        block: undefined,
        committed: true,
        inOwnHistory: false,
      });
    }
  }

  get highestRound(): number {
    return this.#highestRound;
  }

  /** The highest round at which accepted blocks form a quorum; the horizon it began with while there is none. */
  get highestQuorumRound(): number {
    return this.#highestQuorumRound;
  }

  /** The lowest round that is still held. */
  get lowestRound(): number {
    return this.#lowestRound;
  }

  /** How many blocks are held. */
  get size(): number {
    return this.#entries.size;
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  /** The block that a reference names rightly: with its own round and author. */
  find(reference: Reference): Entry | undefined {
    const entry = this.#entries.get(reference.digest);
    return entry?.round === reference.round && entry.author === reference.author ? entry : undefined;
  }

  at(round: number): readonly Entry[] {
    return this.#rounds.get(round)?.entries ?? noEntries;
  }

  authorsAt(round: number): ReplicaSet {
    return this.#rounds.get(round)?.authors ?? emptySet;
  }

  /** The first accepted block of an author at a round: the one a correct replica cites. */
  firstOf(author: number, round: number): Entry | undefined {
    return this.at(round).find((entry) => entry.author === author);
  }

  insert(block: VerifiedBlock): Entry {
    const entry: Entry = {
      id: block.digest,
      round: block.round,
      author: block.author,
      // What a reference names wrongly, below the horizon where nobody checks, is no parent on any replica.
      parents: block.parents.filter((parent) => this.find(parent) !== undefined).map((parent) => parent.digest),
      block,
      committed: this.#orderedBefore.delete(block.digest),
      inOwnHistory: false,
    };
    this.#insert(entry);
    return entry;
  }

  /** Digests of the blocks above this horizon that are ordered already, here or not, ascending. */
  committedAbove(horizon: number): readonly Digest[] {
    const committed = [...this.#orderedBefore];
    for (const { id, round, committed: isCommitted } of this.#entries.values()) {
      if (isCommitted && round > horizon) committed.push(id);
    }
    return committed.sort();
  }

  /** Forgets the rounds below `round` and returns what they held. */
  prune(round: number): readonly Entry[] {
    const pruned: Entry[] = [];
    for (; this.#lowestRound < round; this.#lowestRound++) {
      for (const entry of this.at(this.#lowestRound)) {
        this.#entries.delete(entry.id);
        pruned.push(entry);
      }
      this.#rounds.delete(this.#lowestRound);
    }
    return pruned;
  }

  #insert(entry: Entry): void {
    let round = this.#rounds.get(entry.round);
    if (round === undefined) {
      round = { entries: [], authors: emptySet };
      this.#rounds.set(entry.round, round);
    }
    round.entries.push(entry);
    round.authors = withReplica(round.authors, entry.author);
    this.#entries.set(entry.id, entry);
    if (entry.round > this.#highestRound) this.#highestRound = entry.round;
    if (entry.round > this.#highestQuorumRound && this.#rule.isQuorum(round.authors)) {
      this.#highestQuorumRound = entry.round;
    }
  }
}
