/**
 * Random worlds: random DAGs as the ordering holds them, with equivocators, with shares of coins and with liars among their authors.
 */
import { type Digest, sha256Of } from '../../crypto/hash.ts';
import { genesisReference, type Membership } from '../../membership/membership.ts';
import type { Duty, Reference } from '../../wire/block.ts';
import { dutyKinds, encodeCoinShare } from '../../wire/duty.ts';
import type { VerifiedBlock } from '../commit.ts';
import { coinRound } from '../slots.ts';
import type { TestDag } from './dag-language.ts';
import { below, type Random, randomDag, seeded, shuffled } from './random-dag.ts';
import { testShare } from './scripted-duties.ts';
import { testMembership } from './test-cluster.ts';

export interface World {
  readonly membership: Membership;
  readonly blocks: readonly VerifiedBlock[];
  /** The commit with which there is a coin. */
  readonly coinFrom: number;
}

/** `lasting`: with so many rounds that most of them fall below the horizon. */
export function randomWorld(seed: number, { lasting = false } = {}): World {
  const random = seeded(seed);
  const base = testMembership(random() < 0.7 ? { n: 4, f: 1 } : { n: 7, f: 2 });
  const period = 5 + below(random, 3);
  const parameters = lasting
    ? { period, ranks: 1 + below(random, 2), pruneDepth: 4 * period }
    : { period, ranks: 1, pruneDepth: 64 };
  const membership = { ...base, parameters };
  const { rule } = membership;
  const liars = new Set(shuffled(random, [...base.members.keys()]).slice(0, below(random, rule.f + 1)));
  const blocks = verifiedBlocks(
    membership,
    randomDag(random, rule, lasting ? 80 : rule.n === 4 ? 28 : 20),
    (author, period) => (liars.has(author) && random() < 0.5 ? testShare(99, period) : testShare(author, period)),
  );
  return { membership, blocks, coinFrom: 1 + below(random, 4) };
}

/** The blocks of a DAG as the ordering holds them, with the shares of the coins that are due in each. */
function verifiedBlocks(
  membership: Membership,
  dag: TestDag,
  shareOf: (author: number, period: number) => Uint8Array,
): readonly VerifiedBlock[] {
  const { parameters, epochGenesis } = membership;
  const referenceOf = (id: string): Reference => {
    const { round, author } = dag.get(id)!;
    if (round === 0) return genesisReference(epochGenesis, author);
    return { round, author, digest: sha256Of([Buffer.from(id)]) };
  };
  const dutiesOf = (author: number, round: number): readonly Duty[] => {
    const duties: Duty[] = [];
    for (let period = 1; coinRound(period, parameters) <= round; period++) {
      if (coinRound(period, parameters) + 3 <= round) continue;
      const payload = encodeCoinShare({ period, share: shareOf(author, period) });
      duties.push({ kind: dutyKinds.coinShare, payload });
    }
    return duties;
  };
  const empty = new Uint8Array(0);
  return dag.blocks
    .filter(({ round }) => round > 0)
    .map(({ id, round, author, parents }) => ({
      ...referenceOf(id),
      epoch: 0,
      timestamp: round,
      parents: parents.map(referenceOf),
      requests: [],
      duties: dutiesOf(author, round),
      signature: empty,
      bytes: empty,
      verified: true,
      decodedRequests: [],
    }));
}

/** The blocks in some order in which each comes after its parents. */
export function anyOrder(random: Random, blocks: readonly VerifiedBlock[]): readonly VerifiedBlock[] {
  const delays = new Map<Digest, number>();
  const slow = random() * 6;
  // Blocks are listed by round, so a block's parents have their times when it is looked at.
  for (const block of blocks) {
    const parents = block.parents.map(({ digest }) => delays.get(digest) ?? 0);
    delays.set(block.digest, Math.max(...parents, block.round + random() * slow) + 1e-6);
  }
  return [...blocks].sort((a, b) => delays.get(a.digest)! - delays.get(b.digest)!);
}
