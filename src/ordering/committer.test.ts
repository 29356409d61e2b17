/** Shows that the committer decides every drawn case as the text of docs/protocol/ordering.md §4 does. */
import { describe, expect, it } from 'vitest';
import * as committer from './committer.ts';
import { drawDag } from './testing/dag-language.ts';
import { decisionCases, rulesOf, runCase } from './testing/decision-cases.ts';

describe('committer', () => {
  for (const each of decisionCases) {
    it(each.name, () => {
      const { decided } = each;
      expect(runCase(committer, each)).toEqual([decided, decided, decided, decided]);
    });
  }
});

describe('the leader of a period', () => {
  /** Periods that the committer asks about, of a DAG in which no coin is open. */
  const asked = (dag: string): readonly number[] => {
    const periods = new Set<number>();
    const leaderOf = (period: number): undefined => void periods.add(period);
    committer.decide(drawDag(4, dag), rulesOf({}), leaderOf, committer.initialPosition);
    return [...periods];
  };

  it('is not asked for while steady slots commit', () => {
    expect(asked('1-30 *')).toEqual([]);
  });

  it('is asked for when a slot is undecided, of periods on which votes are cast already', () => {
    const heldBack = decisionCases.find(({ name }) => name.includes('held back for ever'))!;
    expect(asked(heldBack.dag)).toEqual([1]);
    expect(drawDag(4, heldBack.dag).highestRound).toBeLessThan(16 + 3);
  });
});
