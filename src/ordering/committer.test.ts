/** Shows that the committer decides every drawn case as the text of docs/protocol/ordering.md §4 does. */
import { describe, expect, it } from 'vitest';
import * as committer from './committer.ts';
import { decisionCases, runCase } from './testing/decision-cases.ts';

describe('committer', () => {
  for (const each of decisionCases) {
    it(each.name, () => {
      const { decided } = each;
      expect(runCase(committer, each)).toEqual([decided, decided, decided, decided]);
    });
  }
});
