/**
 * Decision cases: for each rule of docs/protocol/ordering.md §4, and for each way to get it wrong in §6, a drawn DAG and
 * what must be decided in it. Run on the committer, on the second implementation, and on mutants of the committer.
 *
 * With four replicas the steady leaders are b1 c2 d3 a4 b5 c6 d7 a8 b9 …; f = 1 and a quorum is 3.
 */
import { quorumRule } from '../../membership/membership.ts';
import type { CommitterRules, Decision, LeaderOf, Position } from '../committer.ts';
import type { DagView } from '../dag.ts';
import { drawDag, type TestDag } from './dag-language.ts';

/** What a case is run on: the committer, or something that claims to be one. */
export interface Decider {
  readonly initialPosition: Position;
  decide(
    view: DagView,
    rules: CommitterRules,
    leaderOf: LeaderOf,
    from: Position,
  ): { readonly decisions: readonly Decision[]; readonly position: Position };
}

export interface DecisionCase {
  readonly name: string;
  /** 4 replicas, f = 1, k = 0, a fallback slot every 8 rounds and one steady slot a round unless said here. */
  readonly rules?: {
    readonly n?: number;
    readonly f?: number;
    readonly k?: number;
    readonly period?: number;
    readonly ranks?: number;
  };
  /** Leaders of the periods whose coin is open, by letter. */
  readonly coins?: Readonly<Record<number, string>>;
  readonly dag: string;
  /** As `describeDecisions` writes them. */
  readonly decided: string;
}

/** `b1, skip 2, skip 3.1, fallback 8 d8, fallback 16 skip, fallback 24 void`. */
export function describeDecisions(decisions: readonly Decision[]): string {
  return decisions
    .map(({ kind, round, rank, status, block }) => {
      if (kind === 'fallback') return `fallback ${round} ${block ?? status}`;
      return block ?? `${status} ${round}${rank === 0 ? '' : `.${rank}`}`;
    })
    .join(', ');
}

export function rulesOf({ rules = {} }: Pick<DecisionCase, 'rules'>): CommitterRules {
  const { n = 4, f = 1, k = 0, period = 8, ranks = 1 } = rules;
  return { rule: quorumRule({ n, f, k }), period, ranks };
}

/**
 * What the decider makes of a case, in one call and round by round with the position handed on, each with the blocks
 * added in one order and in the opposite one. All four must be the text that the case gives.
 */
export function runCase(decider: Decider, each: DecisionCase): readonly string[] {
  const rules = rulesOf(each);
  const dag = drawDag(rules.rule.n, each.dag);
  const coins = new Map(Object.entries(each.coins ?? {}).map(([w, letter]) => [Number(w), letter.charCodeAt(0) - 97]));
  const leaderOf = (period: number): number | undefined => coins.get(period);
  return [dag, dag.reversed()].flatMap((view) => [
    describeDecisions(decider.decide(view, rules, leaderOf, decider.initialPosition).decisions),
    describeDecisions(decideRoundByRound(decider, view, rules, leaderOf)),
  ]);
}

/** Decides again after each round of the DAG, going on from where the call before ended. */
export function decideRoundByRound(
  decider: Decider,
  dag: TestDag,
  rules: CommitterRules,
  leaderOf: LeaderOf,
): readonly Decision[] {
  const decisions: Decision[] = [];
  let position = decider.initialPosition;
  for (let round = 1; round <= dag.highestRound; round++) {
    const more = decider.decide(dag.upTo(round), rules, leaderOf, position);
    decisions.push(...more.decisions);
    position = more.position;
  }
  return decisions;
}

/** Rounds of four replicas in which only the leader of the round before cites its own block, so that its slot skips. */
function leadersUncited(first: number, last: number): string {
  const lines: string[] = [];
  for (let round = first; round <= last; round++) {
    const leader = 'abcd'[(round - 1) % 4]!;
    lines.push(`${round} ${'abcd'.replace(leader, '')}(-${leader}) ${leader}`);
  }
  return lines.join('\n');
}

/** Rounds in which the leader of the round before is cited by f + 1 only, itself included: its slot stays undecided. */
function leadersCitedByTwo(first: number, last: number): string {
  const lines: string[] = [];
  for (let round = first; round <= last; round++) {
    const leader = 'abcd'[(round - 1) % 4]!;
    const friend = 'abcd'[(round + 2) % 4]!;
    lines.push(`${round} ${leader}${friend} ${'abcd'.replace(leader, '').replace(friend, '')}(-${leader})`);
  }
  return lines.join('\n');
}

const skipped = (first: number, last: number): string =>
  Array.from({ length: last - first + 1 }, (_, i) => `skip ${first + i}`).join(', ');

/** Slots 1 to 5 skip, so that the fallback slot of round 8 is next and not void. */
const firstPeriodWithoutCommit = `1 *\n${leadersUncited(2, 6)}\n7-8 *`;

/** b1 has two certificates at round 3, a3 and c3: one too few. c2 has two votes. */
const oneCertificateShort = `
  1 *
  2 abc d(d a c)
  3 a(a b c) b(b a d) c(c a b) d(d a b)`;

export const decisionCases: readonly DecisionCase[] = [
  // ── direct ──
  { name: 'three certificates commit a leader', dag: '1-2 *\n 3 abc', decided: 'b1' },
  { name: 'a full DAG commits every leader two rounds below its top', dag: '1-5 *', decided: 'b1, c2, d3' },
  { name: 'votes alone commit nothing', dag: '1-2 *', decided: '' },
  { name: 'two certificates are one too few', dag: '1-2 *\n 3 ac', decided: '' },
  {
    name: 'two votes make no certificate, however many blocks cite them',
    dag: `1 *
          2 ab cd(-b)
          3 *`,
    decided: '',
  },
  { name: 'three blames skip a slot before its decision round', dag: '1 acd\n 2 acd', decided: 'skip 1' },
  { name: 'a leader block that only its author cites is skipped', dag: '1 *\n 2 acd(-b) b', decided: 'skip 1' },
  { name: 'two blames are one too few', dag: '1 *\n 2 ac(-b) bd', decided: '' },
  {
    name: 'seven replicas, two faulty: five certificates commit',
    rules: { n: 7, f: 2 },
    dag: '1-2 *\n3 abcde',
    decided: 'b1',
  },
  { name: 'seven replicas, two faulty: four do not', rules: { n: 7, f: 2 }, dag: '1-2 *\n3 abcd', decided: '' },
  {
    name: 'six replicas, one faulty, one in recovery: four certificates commit',
    rules: { n: 6, k: 1 },
    dag: '1-2 *\n3 abcd',
    decided: 'b1',
  },
  {
    name: 'six replicas, one faulty, one in recovery: three do not',
    rules: { n: 6, k: 1 },
    dag: '1-2 *\n3 abc',
    decided: '',
  },

  // ── authors, not blocks ──
  { name: 'blames of twins are one blame', dag: "1 *\n 2 ad(-b) d'(d c a) b", decided: '' },
  { name: 'certificates of twins are one certificate', dag: "1-2 *\n 3 a d d'", decided: '' },
  {
    name: 'votes of twins are one vote in a certificate',
    dag: `1 *
          2 a c d d'
          3 ac(a d d') d(d a d')`,
    decided: '',
  },

  // ── twins of a leader ──
  { name: 'a twin that nobody cites does not make its slot skip', dag: "1 * b'\n 2-3 *", decided: 'b1' },
  {
    name: 'votes split between twins decide nothing',
    dag: `1 * b'
          2 a(a b c) b(b a c) c(c b' d) d(d b' a)
          3 *`,
    decided: '',
  },
  {
    name: 'the twin with a quorum of votes is the one committed',
    dag: `1 * b'
          2 a(a b' c) b c(c b' a) d(d b' a)
          3 *`,
    decided: "b1'",
  },
  {
    name: 'of two twins in its history a block supports the one met first along its parents',
    coins: { 1: 'd' },
    dag: `1 *
          ${leadersUncited(2, 6)}
          7 *
          8 * d'(d a b)
          9 a b(b a c d') c(-d) d
          10-12 *`,
    decided: `${skipped(1, 5)}, fallback 8 d8, c6, d7, a8, b9, c10`,
  },

  // ── indirect ──
  {
    name: 'an anchor with a certificate in its history commits, and none stands as low as the certificates',
    dag: `${oneCertificateShort}
          4-7 *`,
    decided: 'b1, skip 2, d3, a4, b5, fallback 8 void',
  },
  {
    name: 'a link from the anchor to the leader without a certificate skips',
    dag: `1 *
          2 ab cd(-b)
          3-7 *`,
    decided: 'skip 1, c2, d3, a4, b5, fallback 8 void',
  },
  {
    name: 'an undecided anchor is not passed, whatever is committed above it',
    dag: `${oneCertificateShort}
          4 *
          5 abc d(d b c)
          6 a(a b c) b(b a c) c(c b d) d(d b c)
          7 *`,
    decided: '',
  },
  {
    name: 'a skipped anchor is passed',
    dag: `${oneCertificateShort}
          4 *
          5 bcd(-a) a
          6-7 *`,
    decided: 'b1, skip 2, d3, skip 4, b5, fallback 8 void',
  },
  {
    name: 'the first anchor counts, though the next one has a certificate in its history',
    dag: `1 *
          2 abc d(d a c)
          3 ab(-c) c(c a d) d
          4 a(-d) bcd
          5-7 *`,
    decided: 'skip 1, skip 2, d3, a4, b5, fallback 8 void',
  },

  // ── the sequence ──
  {
    name: 'a fallback slot stands after the steady slots three rounds below it',
    dag: '1-10 *',
    decided: 'b1, c2, d3, a4, b5, fallback 8 void, c6, d7, a8',
  },
  {
    name: 'two ranks: slots of a round by rank, and the fallback slot after the last of them',
    rules: { ranks: 2 },
    dag: '1-8 *',
    decided: 'b1, c1, c2, d2, d3, a3, a4, b4, b5, c5, fallback 8 void, c6, d6',
  },
  {
    name: 'two ranks: each skips by itself',
    rules: { ranks: 2 },
    dag: '1 *\n2 abd(-c) c\n3 *',
    decided: 'b1, skip 1.1',
  },
  {
    name: 'a committed fallback slot decides the slots at which a known leader was held back for ever',
    coins: { 1: 'b' },
    dag: `1 *\n${leadersCitedByTwo(2, 12)}`,
    decided: `${skipped(1, 5)}, fallback 8 b8`,
  },

  // ── fallback slots ──
  {
    name: 'a fallback slot commits with votes three and certificates four rounds above it',
    coins: { 1: 'd' },
    dag: `${firstPeriodWithoutCommit}\n9-12 *`,
    decided: `${skipped(1, 5)}, fallback 8 d8, c6, d7, a8, b9, c10`,
  },
  {
    name: 'no fallback slot commits a round earlier',
    coins: { 1: 'd' },
    dag: `${firstPeriodWithoutCommit}\n9-11 *`,
    decided: skipped(1, 5),
  },
  {
    name: 'a fallback slot skips with blames three rounds above it',
    coins: { 1: 'd' },
    dag: `${firstPeriodWithoutCommit}
          9-11 abc(-d) d`,
    decided: `${skipped(1, 5)}, fallback 8 skip, c6, d7, a8, b9`,
  },
  {
    name: 'a block that supports the leader below the vote round is no vote, and one that does not is no blame',
    coins: { 1: 'd' },
    dag: `${firstPeriodWithoutCommit}
          9-10 abc(-d) d
          11 a(a b d) b(b a d) c(c a b)
          12 a(a b c d10) b(b a c d10) c(c a b d10)`,
    decided: skipped(1, 5),
  },
  {
    name: 'a fallback slot takes no steady anchor',
    coins: { 1: 'd' },
    dag: `${firstPeriodWithoutCommit}
          9-10 abc(-d) d
          11 a(a b d) b(b a d) c(c a b) d
          12 a(a b d) b(b a d) c(c a b) d(d a c)
          13-15 *`,
    decided: skipped(1, 5),
  },
  {
    name: 'a fallback anchor with a certificate in its history commits a fallback slot, and serves though void itself',
    coins: { 1: 'd', 2: 'a' },
    dag: `${firstPeriodWithoutCommit}
          9-10 abc(-d) d
          11 a(a b d) b(b a d) c(c a b) d
          12 a(a b d) b(b a d) c(c a b) d(d a c)
          13-20 *`,
    decided: `${skipped(1, 5)}, fallback 8 d8, c6, d7, a8, b9, skip 10, d11, a12, b13, fallback 16 void, c14, d15, a16, b17, c18`,
  },
  {
    name: 'a fallback anchor without a certificate in its history skips a fallback slot',
    coins: { 1: 'd', 2: 'a' },
    dag: `${firstPeriodWithoutCommit}
          9-10 abc(-d) d
          11 a(a b d) bc(-d) d
          12-20 *`,
    decided: `${skipped(1, 5)}, fallback 8 skip, c6, d7, a8, b9, c10, d11, a12, b13, fallback 16 void, c14, d15, a16, b17, c18`,
  },
  {
    name: 'a fallback anchor may stand right above the decision round',
    rules: { period: 5 },
    coins: { 1: 'd', 2: 'c', 3: 'a' },
    dag: `1 *
          ${leadersUncited(2, 3)}
          4-5 *
          6-7 abc(-d) d
          8 a(a b d) b(b a d) c(c a b) d
          9 a(a b d) b(b a c) c(c a b) d(d a c)
          10 abd c(c b d)
          11-19 *`,
    decided: `${skipped(1, 2)}, fallback 5 skip, d3, a4, b5, c6, skip 7, fallback 10 void, a8, b9, c10, d11, a12, fallback 15 void, b13, c14, d15, a16, b17, fallback 20 void`,
  },
  {
    name: 'a fallback slot whose coin is not open is undecided',
    dag: `${firstPeriodWithoutCommit}\n9-12 *`,
    decided: skipped(1, 5),
  },
  {
    name: 'a fallback slot whose coin is not open is undecided below a committed one too',
    coins: { 2: 'a' },
    dag: `${firstPeriodWithoutCommit}\n9-20 *`,
    decided: skipped(1, 5),
  },

  // ── void ──
  {
    name: 'a commit in its period makes a fallback slot void, and its coin is not waited for',
    dag: '1-8 *',
    decided: 'b1, c2, d3, a4, b5, fallback 8 void, c6',
  },
  {
    name: 'a void fallback slot still serves as an anchor',
    coins: { 1: 'd' },
    dag: `1-5 *
          6 abc d(d a c)
          7 a(a b c) b(b a d) c(c b d) d(d a b)
          8 abc d(d b c)
          9-12 *`,
    decided: 'b1, c2, d3, a4, skip 5, fallback 8 void, skip 6, d7, a8, b9, c10',
  },
  {
    name: 'a void fallback slot whose coin is not open keeps the slots below it undecided',
    dag: `1-5 *
          6 abc d(d a c)
          7 a(a b c) b(b a d) c(c b d) d(d a b)
          8 abc d(d b c)
          9-12 *`,
    decided: 'b1, c2, d3, a4',
  },
  {
    name: 'void is judged by decided slots only: a fallback slot waits for an undecided slot before it',
    coins: { 1: 'b' },
    dag: `1 *
          ${leadersUncited(2, 3)}
          ${leadersCitedByTwo(4, 4)}
          ${leadersUncited(5, 6)}
          ${leadersCitedByTwo(7, 7)}
          8 *
          9-11 acd(-b) b`,
    decided: skipped(1, 2),
  },
  {
    name: 'a commit before the previous fallback slot makes none void',
    coins: { 1: 'd', 2: 'a' },
    dag: `1-6 *\n${leadersUncited(7, 14)}\n15-20 *`,
    decided: `b1, c2, d3, a4, b5, fallback 8 void, ${skipped(6, 13)}, fallback 16 a16, c14, d15, a16, b17, c18`,
  },
  {
    name: 'a commit of the fallback slot itself makes the next one not void',
    coins: { 1: 'd', 2: 'a' },
    dag: `1 *\n${leadersUncited(2, 14)}\n15-20 *`,
    decided: `${skipped(1, 5)}, fallback 8 d8, ${skipped(6, 13)}, fallback 16 a16, c14, d15, a16, b17, c18`,
  },
  {
    name: 'skips after the last commit are not decided again',
    dag: `1 *
          2-4 abd
          5-8 *`,
    decided: 'b1, skip 2, d3, a4, b5, fallback 8 void, c6',
  },
];
