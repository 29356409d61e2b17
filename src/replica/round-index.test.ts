/** Round index: whatever was dropped, what it answers leads to all blocks above the round, and it knows when it cannot. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RoundIndex } from './round-index.ts';

describe('a round index', () => {
  it('finds the first entry when nothing was dropped, and none below the first when something was', () => {
    const index = new RoundIndex();
    for (let round = 1; round <= 100; round++) index.note(round, 10 * round);
    expect(index.positionAfter(0)).toBe(0);
    index.dropBefore(0, 0);
    expect(index.positionAfter(0)).toBe(0);
    index.dropBefore(330, 40);
    expect([31, 32, 33, 64, 65].map((round) => index.positionAfter(round))).toEqual([
      undefined,
      undefined,
      330,
      330,
      650,
    ]);
  });

  it('knows of a log that is opened after a drop what its caller knows', () => {
    const index = new RoundIndex();
    index.dropBefore(5_000, 200);
    // Blocks of old rounds come late, and are logged late.
    for (const [i, round] of [198, 201, 202, 199, 240, 280].entries()) index.note(round, 5_000 + i);
    expect([0, 198, 199].map((round) => index.positionAfter(round))).toEqual([undefined, undefined, undefined]);
    expect([200, 239, 240, 280].map((round) => index.positionAfter(round))).toEqual([5_000, 5_000, 5_004, 5_005]);
  });

  it('begins anew where all was dropped', () => {
    const index = new RoundIndex();
    for (let round = 1; round <= 100; round++) index.note(round, round);
    index.dropBefore(101, 300);
    expect(index.positionAfter(299)).toBeUndefined();
    expect(index.positionAfter(300)).toBe(101);
    index.note(301, 101);
    expect(index.positionAfter(310)).toBe(101);
  });

  it('leads to every block above a round that there ever was, for any order and drops', () => {
    const step = fc.oneof(
      {
        weight: 20,
        arbitrary: fc.record({ kind: fc.constant('block' as const), ahead: fc.integer({ min: -20, max: 30 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), at: fc.nat(100), spare: fc.nat(10) }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 120 }), (steps) => {
        let index = new RoundIndex();
        const rounds: number[] = [];
        let [begin, droppedRound] = [0, 0];
        for (const action of steps) {
          if (action.kind === 'block') {
            rounds.push(Math.max(1, (rounds.at(-1) ?? 1) + action.ahead));
            index.note(rounds.at(-1) as number, rounds.length - 1);
          } else if (action.kind === 'drop') {
            begin = Math.max(begin, Math.floor((rounds.length * action.at) / 100));
            droppedRound = Math.max(droppedRound, ...rounds.slice(0, begin)) + action.spare;
            index.dropBefore(begin, droppedRound);
          } else {
            index = new RoundIndex();
            index.dropBefore(begin, droppedRound);
            for (let position = begin; position < rounds.length; position++)
              index.note(rounds[position] as number, position);
          }
          const highest = Math.max(0, ...rounds);
          for (let round = 0; round <= highest + 1; round += 7) {
            const position = index.positionAfter(round);
            if (position === undefined) {
              expect(begin).toBeGreaterThan(0);
              expect(round).toBeLessThan(droppedRound);
              continue;
            }
            const first = rounds.findIndex((each) => each > round);
            if (first !== -1) expect(position).toBeLessThanOrEqual(first);
            if (position < begin) expect(position).toBe(0);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('answers nothing below what the log never had, though the log begins where logs begin', () => {
    const index = new RoundIndex();
    index.lacks(300);
    index.note(301, 0);
    index.note(340, 50);
    expect([299, 300, 339, 340].map((round) => index.positionAfter(round))).toEqual([undefined, 0, 0, 50]);
    const whole = new RoundIndex();
    whole.lacks(0);
    expect(whole.positionAfter(0)).toBe(0);
  });
});
