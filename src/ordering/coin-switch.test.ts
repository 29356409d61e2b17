/**
 * Shows that replicas agree across the commit with which the coin of the service key replaces the genesis coin: on
 * random DAGs with equivocators and wrong shares, whatever the order in which blocks come, however many slots are decided
 * at a time, and wherever a replica restarts. And that switching at any other place would split them.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Digest } from '../crypto/hash.ts';
import { frontierOfGenesis } from '../membership/restored.ts';
import { BlockDag } from './block-dag.ts';
import { Coins } from './coins.ts';
import type { VerifiedBlock } from './commit.ts';
import { CommitSequence } from './commit-sequence.ts';
import { below, type Random, seeded } from './testing/random-dag.ts';
import { anyOrder, randomWorld, type World } from './testing/random-world.ts';
import { ScriptedDuties, TestCoin } from './testing/scripted-duties.ts';

type Sequence = Pick<CommitSequence, 'decide'>;
type SequenceMaker = new (...options: ConstructorParameters<typeof CommitSequence>) => Sequence;

/** A replica that is given blocks and decides now and then; the digests of its commits. */
function replicaOf(Maker: SequenceMaker, { membership, coinFrom }: World) {
  const from = frontierOfGenesis(membership);
  const dag = new BlockDag(membership, from);
  const duties = new ScriptedDuties({ self: 0, coinFrom, coin: new TestCoin(membership, 0) });
  const coins = new Coins({ membership, duties, quorumRound: () => Number.POSITIVE_INFINITY });
  const sequence = new Maker({ membership, dag, duties, coins, from });
  const commits: Digest[] = [];
  return {
    commits,
    take(blocks: readonly VerifiedBlock[]): void {
      for (const block of blocks) {
        dag.insert(block);
        coins.accepted(block);
      }
      commits.push(...sequence.decide().map(({ digest }) => digest));
    },
  };
}

/** Gives all blocks to a replica in batches; with some luck it restarts on the way and takes back what it had. */
function play(Maker: SequenceMaker, world: World, random: Random): readonly Digest[] {
  const order = anyOrder(random, world.blocks);
  const batchMax = [1, 4, 30, 1_000][below(random, 4)]!;
  let replica = replicaOf(Maker, world);
  for (let done = 0; done < order.length; ) {
    const size = 1 + below(random, batchMax);
    replica.take(order.slice(done, done + size));
    done += size;
    if (random() > 0.1) continue;
    const before = replica.commits;
    replica = replicaOf(Maker, world);
    for (let back = 0; back < done; back += batchMax) replica.take(order.slice(back, Math.min(done, back + batchMax)));
    if (replica.commits.join() !== before.join()) return ['not what it was before the restart' as Digest];
  }
  return replica.commits;
}

/** Seeds on which some two of a few replicas commit different sequences. */
function splits(Maker: SequenceMaker, seeds: number): readonly number[] {
  const found: number[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    const world = randomWorld(seed);
    const random = seeded(seed + 5_000);
    const sequences = Array.from({ length: 4 }, () => play(Maker, world, random).join());
    const longest = sequences.reduce((a, b) => (a.length > b.length ? a : b));
    if (!sequences.every((each) => longest.startsWith(each))) found.push(seed);
  }
  return found;
}

const seeds = 120;
const here = fileURLToPath(new URL('.', import.meta.url));
let home = '';

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'coterie-coin-switch-'));
});

afterAll(async () => {
  await rm(home, { recursive: true, force: true });
});

/** The commit sequence with a mistake in it. */
async function mutant(from: string, to: string): Promise<SequenceMaker> {
  const text = await readFile(join(here, 'commit-sequence.ts'), 'utf8');
  if (!text.includes(from)) throw new Error(`commit-sequence.ts no longer says: ${from}`);
  const file = join(await mkdtemp(join(home, 'mutant-')), 'commit-sequence.ts');
  const changed = text.replace(from, to).replaceAll("from './", `from '${here}`);
  await writeFile(file, changed.replaceAll("from '../", `from '${join(here, '..')}/`));
  const loaded: { CommitSequence: SequenceMaker } = await import(/* @vite-ignore */ file);
  return loaded.CommitSequence;
}

describe('the commit that brings the coin', () => {
  it('is the same for all: they commit one sequence', () => {
    expect(splits(CommitSequence, seeds)).toEqual([]);
  });

  it('is often reached, and often a coin decides after it', () => {
    let reached = 0;
    let decided = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const world = randomWorld(seed);
      const commits = play(CommitSequence, world, seeded(seed));
      const never = play(CommitSequence, { ...world, coinFrom: 1_000 }, seeded(seed));
      if (commits.length > world.coinFrom) reached += 1;
      if (never.join() !== commits.join()) decided += 1;
    }
    expect(reached).toBeGreaterThan(seeds / 2);
    expect(decided).toBeGreaterThan(seeds / 20);
  });

  it('would split replicas if the coin changed after what is decided in one go', async () => {
    const Maker = await mutant('if (this.#duties.coin !== coin) return true;', '');
    expect(splits(Maker, seeds).length).toBeGreaterThan(1);
  });

  it('would split replicas if commits were handed over when all of them are decided', async () => {
    const from = `this.#duties.committed(commit);
      if (this.#duties.coin !== coin) return true;
    }`;
    const to = `}
    for (const commit of commits) this.#duties.committed(commit);`;
    const Maker = await mutant(from, to);
    expect(splits(Maker, seeds).length).toBeGreaterThan(1);
  });
});
