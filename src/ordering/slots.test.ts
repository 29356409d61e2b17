/** Shows the numbers of docs/protocol/ordering.md §4: waves, anchors and the order of slots. */
import { describe, expect, it } from 'vitest';
import {
  anchorAfter,
  anchorRound,
  coinRound,
  decisionRound,
  firstSlot,
  indirectRound,
  lowestRoundFrom,
  periodFrom,
  periodMin,
  periodOf,
  type Schedule,
  type Slot,
  slotAfter,
  steadyAuthor,
  voteRound,
} from './slots.ts';

const schedule: Schedule = { period: 8, ranks: 1 };
const steady = (round: number, rank = 0): Slot => ({ kind: 'steady', round, rank });
const fallback = (round: number): Slot => ({ kind: 'fallback', round, rank: 0 });
const write = ({ kind, round, rank }: Slot): string =>
  kind === 'fallback' ? `fallback ${round}` : rank === 0 ? `${round}` : `${round}.${rank}`;

function sequence(of: Schedule, count: number): string {
  const slots: string[] = [];
  for (let slot = firstSlot; slots.length < count; slot = slotAfter(slot, of)) slots.push(write(slot));
  return slots.join(' ');
}

describe('sequence', () => {
  it('puts the fallback slot after the steady slots three rounds below it', () => {
    expect(sequence(schedule, 17)).toBe('1 2 3 4 5 fallback 8 6 7 8 9 10 11 12 13 fallback 16 14 15');
  });

  it('takes the slots of a round by rank, the fallback slot after all of them', () => {
    expect(sequence({ period: 5, ranks: 2 }, 9)).toBe('1 1.1 2 2.1 fallback 5 3 3.1 4 4.1');
  });

  it('holds every steady slot once and a fallback slot each period, for every schedule', () => {
    for (let period = periodMin; period <= 9; period++) {
      for (const ranks of [1, 2, 4]) {
        const slots = new Set(sequence({ period, ranks }, 200).split(' '));
        for (let slot = firstSlot, met = 0; met < 200; met++, slot = slotAfter(slot, { period, ranks })) {
          if (slot.kind === 'fallback') expect(slot.round % period).toBe(0);
          else if (slot.rank > 0) expect(slots).toContain(write(steady(slot.round, slot.rank - 1)));
        }
      }
    }
  });

  it('names leaders in turn', () => {
    expect([1, 2, 3, 4, 5].map((round) => steadyAuthor(steady(round), 4))).toEqual([1, 2, 3, 0, 1]);
    expect(steadyAuthor(steady(3, 2), 4)).toBe(1);
    expect(periodOf(fallback(24), schedule)).toBe(3);
  });

  it('knows that two rounds below a fallback slot are still to come after it', () => {
    expect(lowestRoundFrom(steady(5))).toBe(5);
    expect(lowestRoundFrom(fallback(8))).toBe(6);
    expect(lowestRoundFrom(steady(6))).toBe(6);
  });
});

describe('waves', () => {
  it('vote one round and decide two rounds above a steady slot, three and four above a fallback slot', () => {
    expect([voteRound(steady(7)), decisionRound(steady(7)), anchorRound(steady(7))]).toEqual([8, 9, 10]);
    expect([voteRound(fallback(8)), decisionRound(fallback(8)), anchorRound(fallback(8))]).toEqual([11, 12, 13]);
  });

  it('say from which round on an anchor may decide', () => {
    expect(indirectRound(steady(1))).toBe(6);
    expect(indirectRound(fallback(8))).toBe(15);
  });
});

describe('anchors', () => {
  const anchors = (of: Slot, count: number, by: Schedule = schedule): string => {
    const found: string[] = [];
    for (let slot = of; found.length < count; ) {
      slot = anchorAfter(slot, of, by);
      found.push(write(slot));
    }
    return found.join(', ');
  };

  it('of a steady slot begin three rounds above it', () => {
    expect(anchors(steady(1), 4)).toBe('4, 5, fallback 8, 6');
    expect(anchors(steady(2, 1), 3, { period: 8, ranks: 2 })).toBe('5, 5.1, fallback 8');
  });

  it('of the last three steady rounds before a fallback slot begin with it', () => {
    for (const round of [3, 4, 5]) expect(anchors(steady(round), 1)).toBe('fallback 8');
    expect(anchors(steady(5), 3)).toBe('fallback 8, 8, 9');
    expect(anchors(steady(6), 3)).toBe('9, 10, 11');
  });

  it('of a fallback slot are fallback slots only', () => {
    expect(anchors(fallback(8), 3)).toBe('fallback 16, fallback 24, fallback 32');
    expect(anchors(fallback(5), 2, { period: 5, ranks: 1 })).toBe('fallback 10, fallback 15');
    expect(anchors(fallback(4), 2, { period: 4, ranks: 1 })).toBe('fallback 12, fallback 16');
  });
});

describe('coins', () => {
  it('are those of the fallback slots from a position on', () => {
    for (const of of [schedule, { period: 5, ranks: 2 }, { period: 4, ranks: 1 }]) {
      const slots: Slot[] = [firstSlot];
      while (slots.length < 60) slots.push(slotAfter(slots.at(-1)!, of));
      for (const [at, slot] of slots.slice(0, 40).entries()) {
        const next = slots.slice(at).find(({ kind }) => kind === 'fallback')!;
        expect(periodFrom(slot, of), write(slot)).toBe(periodOf(next, of));
      }
    }
  });

  it('have their shares from the decision round of their slot on', () => {
    expect(coinRound(1, schedule)).toBe(12);
    expect(coinRound(3, { period: 5, ranks: 1 })).toBe(19);
  });
});
