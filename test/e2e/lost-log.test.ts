/**
 * Shows that a real replica whose log is gone follows as an observer, across restarts, and contradicts nobody.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { KvLoad } from './kv-load.ts';
import { converge, counted, isMarkedLost, statusOf } from './watching.ts';

let cluster: ProcessCluster;
let load: KvLoad;

beforeEach(async () => {
  cluster = await ProcessCluster.start();
});

afterEach(async () => {
  await load?.close();
  await cluster?.destroy();
});

describe('a replica whose log was removed', () => {
  it('follows as an observer, and stays one when it is started again', async () => {
    load = await KvLoad.start({ genesis: await cluster.genesis() });
    await load.goesOn(50);
    await cluster.kill(3);
    await rm(join(cluster.homeOf(3), 'log'), { recursive: true });
    cluster.restart(3);
    await cluster.ready(3);
    await load.goesOn(100);
    await cluster.terminate(3);
    cluster.restart(3);
    await cluster.ready(3);
    await load.goesOn(50);
    await load.finish();
    expect(load.failures).toEqual([]);
    expect(load.judge().violations).toEqual([]);
    const statuses = await converge(cluster);
    expect(statuses.map(({ observer }) => observer)).toEqual([false, false, false, true]);
    expect(await isMarkedLost(cluster.homeOf(3))).toBe(true);
    for (const index of [0, 1, 2]) {
      const status = await statusOf(cluster, index);
      expect(status && counted(status, /^equivocation/)).toBe(0);
    }
  }, 120_000);
});
