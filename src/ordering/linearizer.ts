/**
 * Linearizer: what one committed leader adds to the agreed sequence: its blocks in order, their time, their digest.
 *
 * In: the leader, the DAG, the horizon and what earlier commits hold. Out: values; nothing is kept here.
 * Safety: a function of the leader's history and of earlier commits alone, so equal on all correct replicas, whatever
 * else each of them stores (docs/protocol/ordering.md §5).
 */
import { type Digest, digestBytes, sha256Of } from '../crypto/hash.ts';
import { type Reference, writeReference } from '../wire/block.ts';
import { domains } from '../wire/domain.ts';
import { Writer } from '../wire/writer.ts';
import type { DagBlock, DagView } from './dag.ts';

/** The horizon before the first commit: no commit holds a block of genesis. */
export const initialHorizon = 0;

/**
 * The horizon after a commit: `pruneDepth` rounds below the highest leader so far. It never falls, though the leader
 * after a fallback leader may stand up to two rounds below it.
 */
export function horizonAfter(commit: {
  readonly horizon: number;
  readonly leaderRound: number;
  readonly pruneDepth: number;
}): number {
  return Math.max(commit.horizon, commit.leaderRound - commit.pruneDepth);
}

/**
 * The blocks the leader orders: those of its history, itself included, above the horizon and in no earlier commit, by
 * (round, author, digest). Empty when an earlier commit holds the leader already.
 *
 * `isCommitted` must hold for every block of an earlier commit above the horizon; the walk does not go below one,
 * because that commit took its whole history. The view must hold the leader's history above the horizon.
 */
export function linearize(
  leader: DagBlock,
  view: Pick<DagView, 'get'>,
  horizon: number,
  isCommitted: (id: string) => boolean,
): readonly DagBlock[] {
  const ordered: DagBlock[] = [];
  const met = new Set([leader.id]);
  // A set is walked in the order of insertion, and what is inserted on the way is walked too.
  for (const id of met) {
    if (isCommitted(id)) continue;
    const block = view.get(id);
    if (block === undefined || block.round <= horizon) continue;
    ordered.push(block);
    for (const parent of block.parents) met.add(parent);
  }
  return ordered.sort(compareBlocks);
}

/** Digests of one length in hex, and so of their bytes, sort as text. */
function compareBlocks(a: DagBlock, b: DagBlock): number {
  return a.round - b.round || a.author - b.author || (a.id < b.id ? -1 : 1);
}

/**
 * The agreed time of a commit in milliseconds: the lower median of the timestamps of the leader's parents at the round
 * below it, of which a correct replica's lie on both sides, and never before the previous commit's.
 * `parentTimestamps` must not be empty: a valid block has a quorum of such parents.
 */
export function commitTimestamp(previous: number, parentTimestamps: readonly number[]): number {
  const sorted = [...parentTimestamps].sort((a, b) => a - b);
  return Math.max(previous, sorted[(sorted.length - 1) >> 1]!);
}

/** The digest of a commit, which covers all commits before it; `previous` of the first is the epoch's genesis digest. */
export function commitDigest(commit: {
  readonly previous: Digest;
  readonly leader: Reference;
  readonly blocks: readonly Reference[];
}): Digest {
  const writer = new Writer(64 + 42 * commit.blocks.length);
  writeReference(writer, commit.leader);
  writer.u32(commit.blocks.length);
  for (const block of commit.blocks) writeReference(writer, block);
  return sha256Of([domains.commit, digestBytes(commit.previous), writer.finish()]);
}
