/**
 * Random DAGs: valid by docs/protocol/ordering.md §2 and as nasty as a seed makes them: silent and slow authors, leaders
 * held back, parents in any order, links to older blocks, and up to f authors that equivocate.
 */
import type { QuorumRule } from '../../membership/membership.ts';
import type { DagBlock } from '../dag.ts';
import { authorLetter, TestDag } from './dag-language.ts';

/** A number from 0 up to 1; the same seed gives the same numbers. */
export type Random = () => number;

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

export function below(random: Random, bound: number): number {
  return Math.floor(random() * bound);
}

export function shuffled<Item>(random: Random, items: readonly Item[]): Item[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

export function randomDag(random: Random, rule: QuorumRule, rounds: number): TestDag {
  const authors = Array.from({ length: rule.n }, (_, author) => author);
  const equivocators = new Set(shuffled(random, authors).slice(0, below(random, rule.f + 1)));
  const quorum = Math.ceil((rule.n + rule.f + 1) / 2);
  // How the network behaves; a few moods make more different DAGs than one average.
  const presence = 0.5 + random() * 0.5;
  const crowding = random();
  // Periods without a steady commit are rare unless nearly every steady leader is held back.
  const heldBack = random() < 0.4 ? 0 : Math.min(1, random() * 1.6);
  const restless = random() * 0.3;
  let silent: readonly number[] = [];
  const dag = new TestDag(rule.n);
  for (let round = 1; round <= rounds; round++) {
    const sources = [...new Set(dag.at(round - 1).map(({ author }) => author))];
    if (random() < restless) silent = shuffled(random, authors).slice(0, below(random, rule.n - quorum + 1));
    const awake = shuffled(random, authors).filter((author) => !silent.includes(author));
    const present = awake.filter((_, index) => index < quorum || random() < presence);
    const blocks: DagBlock[] = [];
    for (const author of present) {
      const copies = equivocators.has(author) && random() < 0.6 ? 2 + below(random, 2) : 1;
      for (let copy = 0; copy < copies; copy++) {
        const leader = random() < heldBack ? (round - 1) % rule.n : undefined;
        const cited = chooseSources(random, sources, author, quorum, crowding, leader);
        const parents = [
          latestOf(random, dag, author, round),
          ...cited.map((other) => blockOf(random, dag, other, round - 1)),
        ];
        if (round > 1 && random() < 0.2) {
          const missing = authors.filter((other) => other !== author && !cited.includes(other));
          const late = missing[below(random, missing.length)];
          if (late !== undefined) parents.push(latestOf(random, dag, late, round - 1));
        }
        blocks.push({ id: `${authorLetter(author)}${round}${"'".repeat(copy)}`, round, author, parents });
      }
    }
    for (const block of shuffled(random, blocks)) dag.add(block);
  }
  return dag;
}

/** Authors other than itself to cite at the round before, such that with itself, if it is there, they form a quorum. */
function chooseSources(
  random: Random,
  sources: readonly number[],
  author: number,
  quorum: number,
  crowding: number,
  heldBack: number | undefined,
): readonly number[] {
  const others = shuffled(
    random,
    sources.filter((other) => other !== author),
  );
  if (heldBack !== undefined) others.sort((a, b) => Number(a === heldBack) - Number(b === heldBack));
  const least = quorum - (sources.includes(author) ? 1 : 0);
  return others.filter((other, index) => index < least || (other !== heldBack && random() < crowding));
}

function blockOf(random: Random, dag: TestDag, author: number, round: number): string {
  const twins = dag.at(round).filter((block) => block.author === author);
  return twins[below(random, twins.length)]!.id;
}

/** A latest block of the author below a round; one of the twins when there are some. */
function latestOf(random: Random, dag: TestDag, author: number, below: number): string {
  let round = below - 1;
  while (!dag.at(round).some((block) => block.author === author)) round -= 1;
  return blockOf(random, dag, author, round);
}
