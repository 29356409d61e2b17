/**
 * Committer: decides each slot of the sequence: commit, skip, void, or not yet.
 *
 * In: the DAG, read only, a way to ask for the leader of a period, and the position to go on from. Out: the longest decided
 * run of slots from there, and the position after it. Owns no state: calling it again changes nothing.
 * Safety: two correct replicas never decide one slot differently (docs/protocol/ordering.md, S5), because every count
 * is of authors, every vote a function of the voting block alone, and every anchor the same in every view.
 * Source: Mysticeti (2024) §4; the fallback slot is ours, see docs/protocol/ordering.md §6.
 */
import { emptySet, type QuorumRule, type ReplicaSet, withReplica } from '../membership/membership.ts';
import type { DagBlock, DagView } from './dag.ts';
import {
  anchorAfter,
  decisionRound,
  firstSlot,
  indirectRound,
  periodOf,
  type Schedule,
  type Slot,
  slotAfter,
  steadyAuthor,
  voteRound,
} from './slots.ts';

export interface CommitterRules extends Schedule {
  readonly rule: QuorumRule;
}

/** Where to go on: everything before `next` is decided. */
export interface Position {
  readonly next: Slot;
  /** Whether a steady slot between the previous fallback slot and `next` was committed. */
  readonly periodHasCommit: boolean;
}

export const initialPosition: Position = { next: firstSlot, periodHasCommit: false };

export interface Decision {
  readonly kind: 'steady' | 'fallback';
  readonly round: number;
  /** 0 for a fallback slot. */
  readonly rank: number;
  readonly status: 'commit' | 'skip' | 'void';
  /** Id of the committed leader; null unless the status is `commit`. */
  readonly block: string | null;
}

/** The leader of a period; undefined while its coin is not open. Asked only when a decision needs it (§7). */
export type LeaderOf = (period: number) => number | undefined;

/**
 * Decides from a position on.
 * The view must hold every block of its blocks' histories from the lowest round of `from.next` and the slots after it.
 */
export function decide(
  view: DagView,
  rules: CommitterRules,
  leaderOf: LeaderOf,
  from: Position,
): { readonly decisions: readonly Decision[]; readonly position: Position } {
  const outcomes = new Outcomes(view, rules, leaderOf);
  const decisions: Decision[] = [];
  let { next, periodHasCommit } = from;
  for (;;) {
    // A void slot is passed without a look at its coin, which may not be open yet.
    const isVoid = next.kind === 'fallback' && periodHasCommit;
    const outcome: Outcome = isVoid ? { status: 'void' } : outcomes.of(next);
    if (outcome.status === 'undecided') break;
    const block = outcome.status === 'commit' ? outcome.leader : null;
    const decision: Decision = { ...next, status: outcome.status, block };
    decisions.push(decision);
    ({ next, periodHasCommit } = positionAfter({ next, periodHasCommit }, decision, rules));
  }
  return { decisions, position: { next, periodHasCommit } };
}

/** Where to go on after the decision of the slot that stands next at a position. */
export function positionAfter(position: Position, { status }: Decision, schedule: Schedule): Position {
  const { next, periodHasCommit } = position;
  return {
    next: slotAfter(next, schedule),
    periodHasCommit: next.kind === 'steady' && (periodHasCommit || status === 'commit'),
  };
}

type Outcome =
  | { readonly status: 'commit'; readonly leader: string }
  | { readonly status: 'skip' | 'void' | 'undecided' };

const skip: Outcome = { status: 'skip' };
const undecided: Outcome = { status: 'undecided' };

/** What the blocks at a slot's vote round say about it. */
interface Votes {
  /** The leader each voting block votes for, by the voting block's id. */
  readonly byBlock: ReadonlyMap<string, { readonly author: number; readonly leader: string }>;
  /** The leaders whose voters form a quorum; no other can have a certificate. By S2 there is at most one. */
  readonly certifiable: readonly string[];
  readonly blamers: ReplicaSet;
}

/** The outcomes of slots in one view, each worked out at most once. Void is not its concern: a void slot has one too. */
class Outcomes {
  readonly #view: DagView;
  readonly #rules: CommitterRules;
  readonly #leaderOf: LeaderOf;
  readonly #known = new Map<number, Outcome>();
  readonly #votesKnown = new Map<number, Votes>();

  constructor(view: DagView, rules: CommitterRules, leaderOf: LeaderOf) {
    this.#view = view;
    this.#rules = rules;
    this.#leaderOf = leaderOf;
  }

  of(slot: Slot): Outcome {
    const known = this.#known.get(this.#key(slot));
    if (known !== undefined) return known;
    const direct = this.#direct(slot);
    if (direct.status !== 'undecided') return direct;
    // The usual end of a call: the DAG is too low for any anchor of the next slot.
    if (this.#view.highestRound < indirectRound(slot)) return undecided;
    this.#workOutFrom(slot);
    return this.#known.get(this.#key(slot)) ?? undecided;
  }

  /**
   * Works out `slot` and all slots after it, highest first, so that every anchor is known when it is asked for: no
   * recursion, however long a stall has lasted. Slots not worked out have no votes yet and are undecided.
   */
  #workOutFrom(slot: Slot): void {
    const slots: Slot[] = [];
    for (let next = slot; next.kind === 'fallback' || voteRound(next) <= this.#view.highestRound; ) {
      slots.push(next);
      next = slotAfter(next, this.#rules);
    }
    for (const each of slots.reverse()) {
      const direct = this.#direct(each);
      this.#known.set(this.#key(each), direct.status === 'undecided' ? this.#indirect(each) : direct);
    }
  }

  /** By a quorum of blames at the vote round, or a quorum of certificates at the decision round (S3: never both). */
  #direct(slot: Slot): Outcome {
    const votes = this.#votes(slot);
    if (votes === undefined) return undecided;
    // Blames are of the slot, never of one twin: a block that nobody cites must not make a slot skip.
    if (this.#rules.rule.isQuorum(votes.blamers)) return skip;
    for (const leader of votes.certifiable) {
      let certifiers = emptySet;
      for (const block of this.#view.at(decisionRound(slot))) {
        if (this.#isCertificate(block, leader, votes)) certifiers = withReplica(certifiers, block.author);
      }
      if (this.#rules.rule.isQuorum(certifiers)) return { status: 'commit', leader };
    }
    return undecided;
  }

  /** By the first slot after it that may be its anchor and is not skipped. */
  #indirect(slot: Slot): Outcome {
    let anchor = anchorAfter(slot, slot, this.#rules);
    for (;;) {
      const outcome = this.#known.get(this.#key(anchor)) ?? undecided;
      if (outcome.status === 'commit') return this.#throughAnchor(slot, outcome.leader);
      // Never past an undecided anchor: it may yet be committed.
      if (outcome.status === 'undecided') return undecided;
      anchor = anchorAfter(anchor, slot, this.#rules);
    }
  }

  /** Commit when the anchor has a certificate in its history, else skip. */
  #throughAnchor(slot: Slot, anchor: string): Outcome {
    const votes = this.#votes(slot);
    // A slot whose leader no open coin names yet waits for it, whatever stands above.
    if (votes === undefined) return undecided;
    if (votes.certifiable.length === 0) return skip;
    const round = decisionRound(slot);
    const met = new Set([anchor]);
    // A set is walked in the order of insertion, and what is inserted on the way is walked too.
    for (const id of met) {
      const block = this.#view.get(id);
      if (block === undefined || block.round < round) continue;
      if (block.round > round) {
        for (const parent of block.parents) met.add(parent);
        continue;
      }
      const leader = votes.certifiable.find((each) => this.#isCertificate(block, each, votes));
      if (leader !== undefined) return { status: 'commit', leader };
    }
    return skip;
  }

  /** Whether the authors of the block's parents at the vote round that vote for the leader form a quorum. */
  #isCertificate(block: DagBlock, leader: string, votes: Votes): boolean {
    let voters = emptySet;
    for (const parent of block.parents) {
      const vote = votes.byBlock.get(parent);
      if (vote?.leader === leader) voters = withReplica(voters, vote.author);
    }
    return this.#rules.rule.isQuorum(voters);
  }

  /** Undefined when the slot has no known leader yet, or no block can have voted. */
  #votes(slot: Slot): Votes | undefined {
    // In this order: a coin that could decide nothing yet is not asked for.
    if (this.#view.highestRound < voteRound(slot)) return undefined;
    const leaderAuthor = this.#leaderAuthor(slot);
    if (leaderAuthor === undefined) return undefined;
    const key = this.#key(slot);
    const votes = this.#votesKnown.get(key) ?? this.#countVotes(slot, leaderAuthor);
    this.#votesKnown.set(key, votes);
    return votes;
  }

  #countVotes(slot: Slot, leaderAuthor: number): Votes {
    const leaders = new Set<string>();
    for (const block of this.#view.at(slot.round)) if (block.author === leaderAuthor) leaders.add(block.id);
    const support = new Support(this.#view, slot.round, leaders);
    const byBlock = new Map<string, { readonly author: number; readonly leader: string }>();
    const voters = new Map<string, ReplicaSet>();
    let blamers = emptySet;
    for (const { id, author } of this.#view.at(voteRound(slot))) {
      const leader = support.of(id);
      if (leader === undefined) {
        blamers = withReplica(blamers, author);
      } else {
        byBlock.set(id, { author, leader });
        voters.set(leader, withReplica(voters.get(leader) ?? emptySet, author));
      }
    }
    // Sorted, so that not even a broken fault bound makes the result depend on the order in which blocks came.
    const certifiable = [...voters.keys()].filter((each) => this.#rules.rule.isQuorum(voters.get(each)!)).sort();
    return { byBlock, certifiable, blamers };
  }

  #leaderAuthor(slot: Slot): number | undefined {
    if (slot.kind === 'steady') return steadyAuthor(slot, this.#rules.rule.n);
    return this.#leaderOf(periodOf(slot, this.#rules));
  }

  /** A number for each slot, to be found by. */
  #key(slot: Slot): number {
    return slot.round * (this.#rules.ranks + 1) + (slot.kind === 'fallback' ? this.#rules.ranks : slot.rank);
  }
}

/** Which of the blocks that may lead a slot other blocks support: the first one met depth-first along their parents. */
class Support {
  readonly #view: DagView;
  readonly #round: number;
  readonly #leaders: ReadonlySet<string>;
  readonly #known = new Map<string, string | undefined>();

  constructor(view: DagView, round: number, leaders: ReadonlySet<string>) {
    this.#view = view;
    this.#round = round;
    this.#leaders = leaders;
  }

  of(id: string): string | undefined {
    if (this.#leaders.size === 0) return undefined;
    if (this.#known.has(id)) return this.#known.get(id);
    const supported = this.#firstAmong(this.#view.get(id));
    this.#known.set(id, supported);
    return supported;
  }

  #firstAmong(block: DagBlock | undefined): string | undefined {
    if (block === undefined || block.round <= this.#round) return undefined;
    for (const parent of block.parents) {
      if (this.#leaders.has(parent)) return parent;
      // Right above the slot's round there is nothing to descend into.
      const supported = block.round === this.#round + 1 ? undefined : this.of(parent);
      if (supported !== undefined) return supported;
    }
    return undefined;
  }
}
