/**
 * Slots: the places in the DAG where a leader may stand, the rounds of their waves and their one order.
 *
 * All arithmetic of waves and of the sequence is here; the committer asks. Nothing here looks at a block.
 * Safety: the order and the anchors are a function of the numbers alone, the same on every replica
 * (docs/protocol/ordering.md §4, S5).
 */

/** The numbers that fix the sequence; every replica of an epoch has the same. */
export interface Schedule {
  /** Rounds between fallback slots, P. At least `periodMin`. */
  readonly period: number;
  /** Steady slots in a round, L. From 1 to n. */
  readonly ranks: number;
}

/** A place in the sequence. `rank` of a fallback slot is 0. */
export interface Slot {
  readonly kind: 'steady' | 'fallback';
  readonly round: number;
  readonly rank: number;
}

/** A fallback slot stands in the sequence after the steady slots of this many rounds before its own. */
const fallbackLead = 3;

/** Below this the first fallback slot would stand before round 1. A genesis asks for 5, the length of a fallback wave. */
export const periodMin = fallbackLead + 1;

export const firstSlot: Slot = { kind: 'steady', round: 1, rank: 0 };

/** Who leads a steady slot. */
export function steadyAuthor(slot: Slot, n: number): number {
  return (slot.round + slot.rank) % n;
}

/** The period w of a fallback slot, whose coin names its leader; from 1. */
export function periodOf(slot: Slot, schedule: Schedule): number {
  return slot.round / schedule.period;
}

/** V: blocks of this round vote for the slot's leader or blame the slot. */
export function voteRound(slot: Slot): number {
  return slot.kind === 'steady' ? slot.round + 1 : slot.round + 3;
}

/** D: blocks of this round may be certificates. */
export function decisionRound(slot: Slot): number {
  return voteRound(slot) + 1;
}

/** The lowest round an anchor of the slot may have: from here on every block has a quorum of round D in its history. */
export function anchorRound(slot: Slot): number {
  return decisionRound(slot) + 1;
}

/** The lowest round that may decide the slot through an anchor: where the lowest steady anchor finds its certificates. */
export function indirectRound(slot: Slot): number {
  return decisionRound({ kind: 'steady', round: anchorRound(slot), rank: 0 });
}

/** The next slot of the sequence. */
export function slotAfter(slot: Slot, schedule: Schedule): Slot {
  if (slot.kind === 'fallback') return { kind: 'steady', round: slot.round - fallbackLead + 1, rank: 0 };
  if (slot.rank + 1 < schedule.ranks) return { kind: 'steady', round: slot.round, rank: slot.rank + 1 };
  const fallbackRound = slot.round + fallbackLead;
  if (fallbackRound % schedule.period === 0) return { kind: 'fallback', round: fallbackRound, rank: 0 };
  return { kind: 'steady', round: slot.round + 1, rank: 0 };
}

/**
 * The slot after `slot` that may be an anchor of `of`, not looking at decisions: called with `slot = of` it gives the
 * first candidate, called with a candidate the next one. Fallback slots take only fallback anchors.
 */
export function anchorAfter(slot: Slot, of: Slot, schedule: Schedule): Slot {
  let candidate = slot;
  do {
    candidate =
      of.kind === 'fallback'
        ? { ...candidate, round: candidate.round + schedule.period }
        : slotAfter(candidate, schedule);
  } while (candidate.round < anchorRound(of));
  return candidate;
}

/**
 * The lowest round of `next` and all slots after it in the sequence. Rounds do not rise along the sequence: the two
 * steady rounds below a fallback slot stand after it, so pruning must ask here and not look at `next.round`.
 */
export function lowestRoundFrom(next: Slot): number {
  return next.kind === 'steady' ? next.round : next.round - fallbackLead + 1;
}

/** The period of the first fallback slot that is `next` or stands after it in the sequence: earlier coins decide nothing more. */
export function periodFrom(next: Slot, schedule: Schedule): number {
  if (next.kind === 'fallback') return periodOf(next, schedule);
  return Math.ceil((next.round + fallbackLead) / schedule.period);
}

/** The lowest round whose blocks may carry shares of the coin of a period: those of the round below can no longer change. */
export function coinRound(period: number, schedule: Schedule): number {
  return decisionRound({ kind: 'fallback', round: period * schedule.period, rank: 0 });
}
