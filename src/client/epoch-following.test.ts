/** When a client asks who the replicas are: on a sign, not too often, and once in a while without one. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Stated } from './certified-membership.ts';
import { readCluster } from './cluster.ts';
import { EpochFollowing } from './epoch-following.ts';
import { loadServiceKey } from './service-key.ts';
import { ScriptedCertifier } from './testing/scripted-certifier.ts';
import { ScriptedCluster } from './testing/scripted-cluster.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start() {
  const { genesis, serviceId } = await madeCluster();
  const certifier = new ScriptedCertifier(serviceId);
  const cluster = await readCluster(genesis);
  const world = { nowMs: 1_000, keysLoaded: 0, rounds: 0, text: JSON.stringify(certifier.membership(genesis)) };
  const taken: Stated[] = [];
  let ended: () => void = () => {};
  let isFirst = true;
  const following = new EpochFollowing({
    cluster,
    serviceKey: () => {
      world.keysLoaded += 1;
      return loadServiceKey(certifier.serviceKey);
    },
    at: ['host:1', 'nonsense'],
    use: {
      now: () => world.nowMs,
      onLater: (stated) => taken.push(stated),
      onEnded: () => {
        isFirst = true;
        ended();
      },
    },
    ask: async ({ host }) => {
      if (isFirst) world.rounds += 1;
      isFirst = false;
      if (host === 'host') throw new Error('nobody there');
      return world.text;
    },
  });
  ending.push(() => following.close());
  /** The question that `begin` sets off has ended. */
  const asked = (begin: () => void): Promise<void> =>
    new Promise((resolve) => {
      ended = resolve;
      begin();
    });
  return { genesis, certifier, world, taken, following, asked };
}

/** A genesis; its replicas are not needed. */
async function madeCluster(): Promise<ScriptedCluster> {
  const cluster = await ScriptedCluster.start();
  await cluster.stop();
  return cluster;
}

describe('following epochs', () => {
  it('asks on a sign, takes what is later, and loads the key for nothing else', async () => {
    const { genesis, certifier, world, taken, following, asked } = await start();
    following.saw(0);
    following.tick();
    expect(world.rounds).toBe(0);
    await asked(() => following.want());
    expect([world.rounds, world.keysLoaded, taken.length, following.isInVain]).toEqual([1, 0, 0, true]);
    world.text = JSON.stringify(certifier.membership(genesis, { epoch: 3 }));
    world.nowMs += 100;
    await asked(() => following.saw(2));
    expect([taken.length, taken[0]?.cluster.epoch, following.isInVain]).toEqual([1, 3, false]);
    expect(taken[0]?.document).toEqual(JSON.parse(world.text));
    following.saw(3);
    expect(world.rounds).toBe(2);
  });

  it('waits longer after each question in vain, up to five seconds, and asks when the wait is over', async () => {
    const { world, following, asked } = await start();
    const waitsMs: number[] = [];
    await asked(() => following.want());
    for (let i = 0; i < 8; i++) {
      const sinceMs = world.nowMs;
      following.want();
      world.nowMs = (following.nextAtMs ?? Number.NaN) - 1;
      following.tick();
      expect(world.rounds).toBe(i + 1);
      world.nowMs += 1;
      waitsMs.push(world.nowMs - sinceMs);
      await asked(() => following.tick());
      expect(following.nextAtMs).toBeUndefined();
    }
    expect(waitsMs).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  });

  it('asks once a minute without any sign, as long as somebody uses it', async () => {
    const { world, following, asked } = await start();
    for (let minute = 1; minute <= 3; minute++) {
      world.nowMs += 59_999;
      following.tick();
      expect(world.rounds).toBe(minute - 1);
      world.nowMs += 1;
      await asked(() => following.tick());
      expect(world.rounds).toBe(minute);
    }
  });

  it('takes nothing after it was closed', async () => {
    const { genesis, certifier, world, taken, following } = await start();
    world.text = JSON.stringify(certifier.membership(genesis, { epoch: 1 }));
    following.want();
    await following.close();
    following.want();
    expect([world.rounds, taken.length]).toEqual([1, 0]);
  });
});
