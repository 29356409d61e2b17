/** Shows what `debug decide` makes of DAG files: the exact form of the answer, and a clear error for each wrong one. */
import { describe, expect, it } from 'vitest';
import { drawDag } from '../ordering/testing/dag-language.ts';
import { decisionCases, describeDecisions, rulesOf } from '../ordering/testing/decision-cases.ts';
import { DagFileError, decideDagFile, describeDecidedDag } from './debug-decide.ts';

interface FileBlock {
  readonly id: string;
  readonly author: number;
  readonly round: number;
  readonly parents: readonly string[];
}

const settings = { n: 4, f: 1, k: 0, period: 8, ranks: 1, coins: {} };

/** The blocks of a drawn DAG as they stand in a file, genesis left out; G is the author g, whose ids are genesis's here. */
function fileBlocks(n: number, text: string): readonly FileBlock[] {
  const rename = (id: string): string => (/^[a-z]0$/.test(id) ? `g${id.charCodeAt(0) - 97}` : id.replace('g', 'G'));
  return drawDag(n, text)
    .blocks.filter(({ round }) => round > 0)
    .map(({ id, author, round, parents }) => ({ id: rename(id), author, round, parents: parents.map(rename) }));
}

const file = (changes: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({ ...settings, blocks: fileBlocks(4, '1-3 *'), ...changes });

describe('debug decide', () => {
  it('answers in the form its users parse', () => {
    const blocks = fileBlocks(4, '1 *\n2-4 abd\n5-8 *');
    expect(JSON.parse(JSON.stringify(decideDagFile(file({ blocks }))))).toEqual({
      decided: [
        { kind: 'steady', round: 1, rank: 0, status: 'commit', block: 'b1' },
        { kind: 'steady', round: 2, rank: 0, status: 'skip', block: null },
        { kind: 'steady', round: 3, rank: 0, status: 'commit', block: 'd3' },
        { kind: 'steady', round: 4, rank: 0, status: 'commit', block: 'a4' },
        { kind: 'steady', round: 5, rank: 0, status: 'commit', block: 'b5' },
        { kind: 'fallback', round: 8, rank: 0, status: 'void', block: null },
        { kind: 'steady', round: 6, rank: 0, status: 'commit', block: 'c6' },
      ],
      commits: ['b1', 'd3', 'a4', 'b5', 'c6'],
    });
  });

  it('decides every drawn case as the committer does, whatever the order of the blocks in the file', () => {
    for (const each of decisionCases) {
      const { rule, period, ranks } = rulesOf(each);
      const coins = Object.fromEntries(Object.entries(each.coins ?? {}).map(([w, a]) => [w, a.charCodeAt(0) - 97]));
      const blocks = [...fileBlocks(rule.n, each.dag)].reverse();
      const text = JSON.stringify({ n: rule.n, f: rule.f, k: rule.k, period, ranks, coins, blocks });
      expect(describeDecisions(decideDagFile(text).decided).replaceAll('G', 'g'), each.name).toBe(each.decided);
    }
  });

  it('takes blocks that are not valid, as long as they form a DAG', () => {
    const loose = { id: 'x', author: 2, round: 7, parents: ['b1', 'g3', 'a1'] };
    const blocks = [loose, ...fileBlocks(4, '1-3 *'), { id: 'y', author: 0, round: 9, parents: [] }];
    expect(decideDagFile(file({ blocks })).commits).toEqual(['b1']);
  });

  it('takes an empty DAG', () => {
    expect(decideDagFile(file({ blocks: [] }))).toEqual({ decided: [], commits: [] });
  });

  it('writes a line for each decision', () => {
    expect(describeDecidedDag(decideDagFile(file({ ranks: 2, blocks: fileBlocks(4, '1 *\n2 abd(-c) c\n3 *') })))).toBe(
      ['steady         1  commit  b1', 'steady       1.1  skip', '2 slots decided, 1 committed'].join('\n'),
    );
  });

  const block = (changes: Partial<FileBlock>): FileBlock => ({ id: 'x', author: 0, round: 1, parents: [], ...changes });
  const refusals: readonly (readonly [why: string, text: string, message: RegExp])[] = [
    ['not JSON', '{ "n": 4,', /^not JSON: /],
    ['not an object', '[]', /^the file: .*object/],
    ['a setting is missing', JSON.stringify({ ...settings, n: undefined, blocks: [] }), /^n: /],
    ['a setting is no number', file({ f: '1' }), /^f: .*number/],
    ['too few replicas', file({ n: 4, f: 1, k: 1 }), /n is 4, but f = 1 and k = 1 need at least 3f \+ 2k \+ 1 = 6/],
    ['no fault', file({ f: 0 }), /f must be at least 1/],
    ['too many replicas', file({ n: 1000 }), /at most 31 replicas/],
    ['a period shorter than its slot', file({ period: 3 }), /^period: /],
    ['no rank', file({ ranks: 0 }), /^ranks: /],
    ['more ranks than replicas', file({ ranks: 5 }), /^ranks: 5 is more than the 4 replicas/],
    ['a coin of no period', file({ coins: { zero: 1 } }), /^coins/],
    ['a coin of period 0', file({ coins: { 0: 1 } }), /^coins/],
    ['a coin outside the replicas', file({ coins: { 1: 4 } }), /^coins\.1: replica 4 is not one of 0 to 3/],
    [
      'an unknown parent',
      file({ blocks: [block({ parents: ['g0', 'y'] })] }),
      /block "x", parent "y": there is no such/,
    ],
    [
      'a parent of the same round',
      file({ blocks: [block({}), block({ id: 'y', parents: ['x'] })] }),
      /round 1 is not below 1/,
    ],
    ['a block that cites itself', file({ blocks: [block({ parents: ['x'] })] }), /round 1 is not below 1/],
    ['an id twice', file({ blocks: [block({}), block({})] }), /block "x": two blocks have this id/],
    ['the id of a genesis block', file({ blocks: [block({ id: 'g3' })] }), /block "g3": two blocks/],
    ['an author outside the replicas', file({ blocks: [block({ author: 4 })] }), /author 4 is not one of 0 to 3/],
    ['round 0', file({ blocks: [block({ round: 0 })] }), /^blocks\[0\]\.round: /],
    ['a broken round', file({ blocks: [block({ round: 1.5 })] }), /^blocks\[0\]\.round: /],
    ['a round out of all bounds', file({ blocks: [block({ round: 1e12 })] }), /^blocks\[0\]\.round: /],
    ['parents that are no list', file({ blocks: [{ ...block({}), parents: 'g0' }] }), /^blocks\[0\]\.parents: /],
    ['an empty id', file({ blocks: [block({ id: '' })] }), /^blocks\[0\]\.id: /],
  ];
  for (const [why, text, message] of refusals) {
    it(`refuses: ${why}`, () => {
      const decideIt = (): unknown => decideDagFile(text);
      expect(decideIt).toThrow(DagFileError);
      expect(decideIt).toThrow(message);
      expect(decideIt).toThrow(
        expect.objectContaining({ code: 'dag-file', hint: expect.stringContaining('"blocks"') }),
      );
    });
  }
});
