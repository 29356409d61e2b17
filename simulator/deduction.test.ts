/**
 * Shows that the judge of what an adversary can work out finds all that follows and nothing else, on the real curve too: from key
 * generation and a chain of resharings by the production code, with everything of f replicas in each epoch, with one replica more, and
 * with keys that are never renewed.
 */
import { describe, expect, it } from 'vitest';
import type { PairingCurve } from '../src/crypto/curve.ts';
import { mclCurve } from '../src/crypto/curve-mcl.ts';
import { sourceOf } from '../src/keys/sharing-source.ts';
import { KeyCluster } from '../src/keys/testing/key-cluster.ts';
import { type Held, idsUpTo, ResharingCluster, secretsIn } from '../src/keys/testing/resharing-cluster.ts';
import type { Transcript } from '../src/keys/transcript.ts';
import type { Membership } from '../src/membership/membership.ts';
import type { Commit } from '../src/ordering/commit.ts';
import { type Deduced, deduce } from './deduction.ts';
import { forgeHead } from './forging.ts';
import { plainCurve } from './plain-curve.ts';
import { Prng } from './prng.ts';
import { type LoggedSharing, SharingLedger } from './sharing-ledger.ts';

interface Chain {
  readonly curve: PairingCurve;
  readonly f: number;
  readonly n: number;
  readonly membership: Membership;
  readonly sharings: readonly LoggedSharing[];
  /** By epoch. */
  readonly held: readonly Held[];
}

/** Key generation, and the key dealt on as often as there are later epochs. */
function chainOf({ n = 4, f = 1, epochs = 4, curve = plainCurve } = {}): Chain {
  const cluster = new KeyCluster({ size: { n, f, k: 0 }, curve, seed: 3 }).run();
  const { machines, membership } = cluster;
  const ledger = new SharingLedger(curve);
  let commits = 0;
  const log = (of: Membership, some: readonly Commit[]): void => {
    for (const commit of some) {
      commits += 1;
      ledger.committed(of, { ...commit, index: commits });
    }
  };
  log(membership, cluster.commits);
  const source = sourceOf(membership, machines[0]?.transcript as Transcript);
  ledger.settled(source.transcript);
  const held: Held[] = [{ source, shares: new Map(machines.map(({ keyShare }, i) => [`r${i}`, keyShare as bigint])) }];
  let present = membership;
  for (let epoch = 1; epoch < epochs; epoch++) {
    const from = held[epoch - 1] as Held;
    const change = new ResharingCluster({ from, to: { replicaIds: idsUpTo(n), f, k: 0 }, curve, seed: epoch }).run();
    ledger.fixed(change.target);
    log(present, change.commits.slice(0, change.commitsBefore));
    const members = present.members.map((member, i) => ({ ...member, ...change.target.replicas[i] }));
    present = { ...present, epoch, sharingEpoch: epoch, members };
    log(present, change.commits.slice(change.commitsBefore));
    ledger.settled(change.held.source.transcript);
    held.push(change.held);
  }
  return { curve, f, n, membership, sharings: ledger.sharings(), held };
}

/** An adversary that held these replicas in these epochs, and has all that they had then. */
function stolen(
  { curve, sharings, held, f }: Chain,
  taken: readonly { readonly epoch: number; readonly replica: number }[],
) {
  return {
    curve,
    sharings,
    secrets: taken.map(({ epoch, replica }) => secretsIn(epoch, `r${replica}`)),
    shares: taken.map(({ epoch, replica }) => {
      return { epoch, holder: replica, f, share: held[epoch]?.shares.get(`r${replica}`) as bigint };
    }),
  };
}

function namesOf({ shares }: Pick<Deduced, 'shares'>): readonly string[] {
  return shares.map(({ epoch, holder }) => `${epoch} ${holder}`).sort();
}

function forges({ curve, membership, held }: Chain, { shares }: Deduced): boolean {
  const serviceKey = Buffer.from(held[0]?.source.transcript.serviceKey ?? []).toString('hex');
  return forgeHead({ curve, serviceKey, serviceId: membership.serviceId, shares }) !== undefined;
}

const four = chainOf();

describe('whoever has everything of f replicas in each epoch', () => {
  it('works out no share more than it stole, whichever they are', () => {
    const { n, held } = four;
    for (let choice = 0; choice < n ** held.length; choice += 3) {
      const taken = held.map((_, epoch) => ({ epoch, replica: Math.floor(choice / n ** epoch) % n }));
      const knowledge = stolen(four, taken);
      const deduced = deduce(knowledge);
      expect(deduced.serviceSecret).toBeUndefined();
      expect(namesOf(deduced)).toEqual(namesOf(knowledge));
      // It does use what it has: each key opens every dealing to it, and each seed gives a polynomial where its replica dealt.
      expect(deduced.opened).toBeGreaterThanOrEqual(2 * held.length);
    }
  });

  it('nor of seven, f = 2, with two at a time', () => {
    const seven = chainOf({ n: 7, f: 2, epochs: 3 });
    const prng = new Prng(5);
    for (let run = 0; run < 12; run++) {
      const taken = seven.held.flatMap((_, epoch) =>
        prng
          .shuffle([0, 1, 2, 3, 4, 5, 6])
          .slice(0, 2)
          .map((replica) => ({ epoch, replica })),
      );
      const knowledge = stolen(seven, taken);
      const deduced = deduce(knowledge);
      expect(namesOf(deduced)).toEqual(namesOf(knowledge));
      expect(deduced.serviceSecret).toBeUndefined();
      expect(forges(seven, deduced)).toBe(false);
    }
  });

  it('has the whole polynomials of dealers that it held, and still no more', () => {
    const [, second] = four.sharings;
    const [dealer = 0] = second?.transcript?.dealers ?? [];
    const deduced = deduce(
      stolen(four, [
        { epoch: 0, replica: dealer },
        { epoch: 1, replica: (dealer + 1) % 4 },
      ]),
    );
    expect(deduced.polynomials).toBeGreaterThan(0);
    expect(namesOf(deduced)).toEqual([`0 ${dealer}`, `1 ${(dealer + 1) % 4}`]);
  });
});

describe.each([plainCurve, mclCurve])('on the curve $name', (curve) => {
  const chain = curve === plainCurve ? four : chainOf({ epochs: 3, curve });

  it('one after another gets nothing, keys that are renewed being of one epoch', () => {
    const deduced = deduce(
      stolen(
        chain,
        [0, 1, 2].map((epoch) => ({ epoch, replica: epoch })),
      ),
    );
    expect(deduced.shares).toHaveLength(3);
    expect(forges(chain, deduced)).toBe(false);
  });

  it('wins where keys are never renewed: the old ones open what is dealt to their replicas later', () => {
    const knowledge = stolen(chain, [
      { epoch: 0, replica: 0 },
      { epoch: 1, replica: 1 },
    ]);
    // As if r0 had kept its keys: the adversary has not been there again, and has no share of it of epoch 1.
    const deduced = deduce({ ...knowledge, secrets: [...knowledge.secrets, secretsIn(1, 'r0')] });
    expect(namesOf(deduced)).toContain('1 0');
    expect(forges(chain, deduced)).toBe(true);
    const right = chain.held[1]?.shares.get('r0');
    expect(deduced.shares.find(({ epoch, holder }) => epoch === 1 && holder === 0)?.share).toBe(right);
  });

  it('wins where nothing is dealt anew: any two shares of one sharing', () => {
    const deduced = deduce(
      stolen(chain, [
        { epoch: 0, replica: 0 },
        { epoch: 0, replica: 1 },
      ]),
    );
    expect(deduced.shares.filter(({ epoch }) => epoch === 0)).toHaveLength(4);
    expect(deduced.serviceSecret).toBeDefined();
    expect(forges(chain, deduced)).toBe(true);
  });
});

it('f + 1 keys of one epoch are enough alone, and the share of whoever was held before follows backwards', () => {
  const knowledge = stolen(four, [
    { epoch: 2, replica: 1 },
    { epoch: 2, replica: 3 },
  ]);
  const deduced = deduce({ ...knowledge, shares: [] });
  // Its two keys open every dealing of that epoch: so the dealers' shares of the epoch before are known, and with them all.
  const { dealers = [] } = four.sharings[2]?.transcript ?? {};
  for (const dealer of dealers) expect(namesOf(deduced)).toContain(`1 ${dealer}`);
  expect(deduced.serviceSecret).toBeDefined();
});
