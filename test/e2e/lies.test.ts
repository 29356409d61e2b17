/**
 * Shows that one replica of four that lies to everybody, as a real process, changes no result and stops nobody, and that
 * the others say what they saw of it.
 */
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { KvLoad } from './kv-load.ts';
import { converge, counted, statusOf, until } from './watching.ts';

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
