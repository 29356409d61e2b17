/**
 * Shows that one replica of four that lies to everybody, as a real process, changes no result and stops nobody, and that
 * the others say what they saw of it; nor does it when it goes with them from epoch to epoch.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'coterie/client';
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { isThorough } from '../thorough.ts';
import { KvLoad } from './kv-load.ts';
import { SoakWatch, statusByHttp } from './soak-watch.ts';
import { converge, counted, serviceKeyOf, statusOf, until } from './watching.ts';

let cluster: ProcessCluster;
let load: KvLoad;

afterEach(async () => {
  await load?.close();
  await cluster?.destroy();
});

const liar = 3;
const honest = [0, 1, 2];

it('a lying replica is believed by nobody', async () => {
  cluster = await ProcessCluster.start();
  await cluster.kill(liar);
  cluster.restart(liar, { program: 'test/e2e/lying-replica.js' });
  await cluster.ready(liar);

  load = await KvLoad.start({ genesis: await cluster.genesis(), clients: 8, callersPerClient: 2 });
  await load.goesOn(1_000);
  // Nor when an honest replica is away for a while, so that the others need the liar.
  await cluster.kill(0);
  cluster.restart(0);
  await cluster.ready(0);
  await load.goesOn(500);
  // The others say what they see, r0 in its second life too.
  for (const index of honest) {
    await until(`r${index} accuses the liar`, async () => {
      const status = await statusOf(cluster, index);
      const isAccused = (name: RegExp) => status !== undefined && counted(status, name) > 0;
      return isAccused(/^equivocation r3$/) && isAccused(/^rejected r3 /) ? true : undefined;
    });
  }
  const observations = load.observations.flat();
  await load.finish();
  expect(load.failures).toEqual([]);
  const { violations, tooHard } = load.judge();
  expect(violations).toEqual([]);
  expect(tooHard).toBe(0);

  // Clients have noticed who it is.
  const noticed = observations.filter(({ wrongReplies, malformed }) => wrongReplies + malformed > 0);
  expect(new Set(noticed.map(({ replicaIndex }) => replicaIndex))).toEqual(new Set([liar]));
  expect(observations.some(({ wrongReplies }) => wrongReplies > 0)).toBe(true);

  // It still runs, and the others agree and accuse nobody else.
  expect(cluster.pidOf(liar)).not.toBe(0);
  expect((await statusOf(cluster, liar))?.commitIndex).toBe(999_999);
  for (const status of await converge(cluster, honest)) {
    expect(status.observer).toBe(false);
    expect(counted(status, /^(?:equivocation|rejected) r[012]/), JSON.stringify(status.counters)).toBe(0);
  }
}, 180_000);

it.runIf(isThorough)(
  'a lying replica goes with the others from epoch to epoch, and lies in each',
  async () => {
    cluster = await ProcessCluster.start({ epochs: { intervalMs: 3_000, successorWaitMs: 1_500 } });
    const followKey = await serviceKeyOf(cluster);
    await cluster.kill(liar);
    cluster.restart(liar, { program: 'test/e2e/lying-replica.js' });
    load = await KvLoad.start({ genesis: await cluster.genesis(), followKey, clients: 3, callersPerClient: 2 });
    await load.goesOn(100);

    // An honest replica sleeps meanwhile, and asks the liar, too, where the others are.
    const before = await epochOf(1);
    cluster.freeze(0);
    await sleep(2_000);
    cluster.thaw(0);
    let seen = await equivocationsSeen();
    // In each of these it spoils the sharing of the key in another way.
    for (let epoch = before + 1; epoch <= before + 3; epoch++) {
      for (const index of honest) {
        await until(`r${index} is in epoch ${epoch}`, async () => ((await epochOf(index)) >= epoch ? true : undefined));
      }
      await load.goesOn(20);
      const heard = seen;
      seen = await until('more lies', async () => {
        const now = await equivocationsSeen();
        return now > heard ? now : undefined;
      });
    }
    await load.finish();
    expect(load.failures).toEqual([]);
    expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });

    const client = await connect({ genesis: await cluster.genesis(), serviceKey: followKey, deadlineMs: 60_000 });
    const watch = new SoakWatch(cluster, followKey);
    const statuses = await watch.agreed(honest, client).finally(() => client.close());
    expect(watch.violations).toEqual([]);
    for (const status of statuses) {
      expect(status).toMatchObject({ serviceKey: followKey, diverged: false, observer: false });
      expect(counted(status, /^(?:equivocation|rejected) r[012]/), JSON.stringify(status.counters)).toBe(0);
    }
  },
  240_000,
);

async function epochOf(index: number): Promise<number> {
  return (await statusByHttp(cluster, index))?.epoch ?? -1;
}

/** Of the liar's blocks, by those who do not lie, in all epochs so far. */
async function equivocationsSeen(): Promise<number> {
  const statuses = await Promise.all(honest.map((index) => statusByHttp(cluster, index)));
  return statuses.reduce((sum, each) => sum + (each === undefined ? 0 : counted(each, /^equivocation r3$/)), 0);
}
