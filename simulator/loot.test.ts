/**
 * Shows what a thief finds on a simulated disk and what not: what of an old epoch was erased is gone, whenever the replica dies on its
 * way into the next one; what was made for the next one is there as soon as it is durable.
 */
import { describe, expect, it } from 'vitest';
import { sha256 } from '../src/crypto/hash.ts';
import { Loot } from './loot.ts';
import { plainCurve } from './plain-curve.ts';
import { Prng } from './prng.ts';
import { firstSecrets, freshSecrets, publicKeysOf } from './session-secrets.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { simulatedMembership } from './simulated-membership.ts';
import { World } from './world.ts';

const first = simulatedMembership({ n: 4, f: 1, k: 0 }, { period: 8, ranks: 1, pruneDepth: 50 }, 1);
const renewed = freshSecrets(2, 'epoch 1 try 1');
const successor = { statement: undefined, certificate: new Uint8Array(), possession: new Uint8Array() } as never;

/** The next epoch; r2 has the keys it made, if they were taken. */
function nextEpoch({ isTaken }: { readonly isTaken: boolean }): typeof first {
  const { linkKeyDigest } = publicKeysOf(plainCurve, renewed);
  const keys = { signingKey: renewed.signing.publicKey, linkKeyDigest };
  const members = first.members.map((member, index) => (index === 2 && isTaken ? { ...member, ...keys } : member));
  return { ...first, epoch: 1, sharingEpoch: 1, epochGenesis: sha256(Buffer.from('next')), members };
}

function diskOf(): { readonly disk: SimulatedDisk; readonly world: World } {
  const world = new World();
  const conditions = { syncMsMin: 1, syncMsMax: 1 };
  const disk = new SimulatedDisk({ world, prng: new Prng(1), conditions, membership: first, secrets: firstSecrets(2) });
  return { disk, world };
}

async function done(world: World, work: Promise<void>): Promise<void> {
  await world.run(world.nowMs + 10, () => false);
  await work;
}

describe('a home that goes into the next epoch', () => {
  it('has the new keys beside the old ones until these are erased, and then no old key or share', async () => {
    const { disk, world } = diskOf();
    const { home } = disk;
    home.present.sealedShare = 11n;
    await done(world, home.keepSecrets({ epoch: 1, secrets: renewed, successor }));
    await done(world, home.beginEpoch(nextEpoch({ isTaken: true }), 22n));
    const early = new Loot();
    early.take(2, disk);
    expect(early.outdated(nextEpoch({ isTaken: true }))).toHaveLength(1);
    expect(early.shares).toEqual([{ epoch: 1, holder: 2, f: 1, share: 22n }]);
    // The power goes between the record of the epoch and the erasing: the next start finds that there is something left.
    disk.crash();
    expect(home.hasOldEpochs).toBe(true);
    await done(world, home.eraseOldEpochs());
    expect(home.hasOldEpochs).toBe(false);
    const late = new Loot();
    late.take(2, disk);
    expect(late.outdated(nextEpoch({ isTaken: true }))).toEqual([]);
    expect(late.impersonable(nextEpoch({ isTaken: true }))).toEqual([{ place: 2, secrets: renewed }]);
    expect(late.impersonable(first)).toEqual([]);
  });

  it('carries its keys over when the ones it made were not taken, and has no others', async () => {
    const { disk, world } = diskOf();
    await done(world, disk.home.keepSecrets({ epoch: 1, secrets: renewed, successor }));
    await done(world, disk.home.beginEpoch(nextEpoch({ isTaken: false }), undefined));
    await done(world, disk.home.eraseOldEpochs());
    expect(disk.home.present.secrets).toEqual(firstSecrets(2));
    expect(disk.home.made).toEqual([]);
  });
});

describe('a thief who was there in the epoch before', () => {
  it('is nobody in the next one, and has been in this one', () => {
    const { disk } = diskOf();
    const loot = new Loot();
    disk.home.present.sealedShare = 11n;
    loot.take(2, disk, { root: sha256(Buffer.from('state')), commitIndex: 7 });
    expect([...loot.places]).toEqual([2]);
    expect(loot.states).toBe(1);
    expect(loot.impersonable(first).map(({ place }) => place)).toEqual([2]);
    expect(loot.impersonable(nextEpoch({ isTaken: true }))).toEqual([]);
    expect(loot.outdated(nextEpoch({ isTaken: true })).map(({ place }) => place)).toEqual([2]);
    // Without new keys it goes on being that replica.
    expect(loot.impersonable(nextEpoch({ isTaken: false })).map(({ place }) => place)).toEqual([2]);
  });
});
