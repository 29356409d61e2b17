/**
 * Parents: which blocks a new block cites (docs/protocol/ordering.md §2).
 *
 * The author's own latest block first, then for every other author the latest accepted block below the new round, left
 * out when the author's own history has it already. So a slow replica's blocks are never lost, unless they are so old
 * that they would be pruned here before the others could fetch them: nobody could answer, and all would wait.
 */
import type { Reference } from '../wire/block.ts';
import type { BlockDag, Entry } from './block-dag.ts';

/** Parents for a block of `round` by the author of `own`, its latest block. */
export function chooseParents(options: {
  readonly dag: BlockDag;
  readonly n: number;
  readonly own: Reference;
  readonly round: number;
  /** Highest round of an accepted block by each author: where the search begins. */
  readonly latestRounds: readonly number[];
  readonly pruneDepth: number;
}): readonly Reference[] {
  const { dag, n, own, round, latestRounds, pruneDepth } = options;
  const lowestRound = Math.max(dag.lowestRound, round - citedDepth(pruneDepth));
  const parents: Reference[] = [own];
  for (let author = 0; author < n; author++) {
    if (author === own.author) continue;
    const latest = latestOf(dag, author, Math.min(round - 1, latestRounds[author] ?? 0), lowestRound);
    if (latest !== undefined && !latest.inOwnHistory) parents.push(referenceOf(latest));
  }
  return parents;
}

/** Marks all that the new own block has in its history, so that it is not cited again. Each block is marked once. */
export function markOwnHistory(dag: BlockDag, own: Entry): void {
  const open: Entry[] = [own];
  own.inOwnHistory = true;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const id of next.parents) {
      const parent = dag.get(id);
      if (parent === undefined || parent.inOwnHistory) continue;
      parent.inOwnHistory = true;
      open.push(parent);
    }
  }
}

/** Rounds that a cited block may lie below the new one: a quarter of the depth is left to hand it on. */
function citedDepth(pruneDepth: number): number {
  return pruneDepth - (pruneDepth >> 2);
}

function latestOf(dag: BlockDag, author: number, fromRound: number, lowestRound: number): Entry | undefined {
  for (let round = fromRound; round >= lowestRound; round--) {
    const entry = dag.firstOf(author, round);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function referenceOf(entry: Entry): Reference {
  return { round: entry.round, author: entry.author, digest: entry.id };
}
