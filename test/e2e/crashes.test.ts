/**
 * Shows that a cluster of real processes keeps its word while replicas die, freeze and come back, one or all at a time.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { isThorough } from '../thorough.ts';
import { KvLoad } from './kv-load.ts';
import { converge, isMarkedLost, statusOf, until } from './watching.ts';

let cluster: ProcessCluster;
let load: KvLoad;
let genesis: string;

beforeEach(async () => {
  cluster = await ProcessCluster.start();
  genesis = await cluster.genesis();
});

afterEach(async () => {
  await load?.close();
  await cluster?.destroy();
});

/** The load has ended: everything it was told holds, and the replicas are of one mind. */
async function expectKept(): Promise<void> {
  await load.finish();
  expect(load.failures).toEqual([]);
  const { violations, operations, tooHard } = load.judge();
  expect(violations).toEqual([]);
  expect(tooHard).toBe(0);
  expect(operations).toBeGreaterThan(200);
  const statuses = await converge(cluster);
  expect(new Set(statuses.map(({ stateRoot }) => stateRoot)).size).toBe(1);
  expect(statuses.filter(({ observer }) => observer)).toEqual([]);
  for (let index = 0; index < cluster.size; index++) expect(await isMarkedLost(cluster.homeOf(index))).toBe(false);
}

/** Waits until a replica has caught up with where the others were when it came back. */
async function caughtUp(index: number): Promise<void> {
  const others = await Promise.all([0, 1, 2, 3].filter((i) => i !== index).map((i) => statusOf(cluster, i)));
  const target = Math.max(...others.map((status) => status?.commitIndex ?? 0));
  await until(`r${index} catches up to ${target}`, async () => {
    const status = await statusOf(cluster, index);
    return status !== undefined && status.commitIndex >= target ? true : undefined;
  });
}

describe('replicas under load', () => {
  it('are killed with -9 and started again one after another, and in the thorough run twice around', async () => {
    load = await KvLoad.start({ genesis });
    await load.goesOn(50);
    for (const index of isThorough ? [0, 1, 2, 3, 0, 1, 2, 3] : [0, 1, 2, 3]) {
      await cluster.kill(index);
      await load.goesOn(60);
      cluster.restart(index);
      await cluster.ready(index);
      await caughtUp(index);
    }
    await expectKept();
  }, 180_000);

  it('are all killed at the same moment, then all told to stop, and go on each time', async () => {
    load = await KvLoad.start({ genesis });
    for (const end of ['kill', 'kill', 'terminate'] as const) {
      await load.goesOn(150);
      await Promise.all([0, 1, 2, 3].map((index) => cluster[end](index)));
      for (let index = 0; index < 4; index++) cluster.restart(index);
    }
    await load.goesOn(150);
    await expectKept();
  }, 180_000);

  it('freeze and go on as if nothing had been', async () => {
    load = await KvLoad.start({ genesis });
    await load.goesOn(100);
    cluster.freeze(2);
    await load.goesOn(1_000);
    cluster.thaw(2);
    await caughtUp(2);
    await load.goesOn(100);
    await expectKept();
  }, 180_000);
});
