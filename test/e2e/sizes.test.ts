/**
 * Shows that clusters of other sizes go on with as many replicas down as they are made for, and take them back.
 */
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { isThorough } from '../thorough.ts';
import { KvLoad } from './kv-load.ts';
import { converge } from './watching.ts';

let cluster: ProcessCluster;
let load: KvLoad;

afterEach(async () => {
  await load?.close();
  await cluster?.destroy();
});

const sizes = [
  { replicas: 6, f: 1, k: 1 },
  { replicas: 7, f: 2, k: 0 },
];

it.each(isThorough ? sizes : sizes.slice(0, 1))(
  '$replicas replicas with f = $f and k = $k go on with two down',
  async (size) => {
    cluster = await ProcessCluster.start(size);
    load = await KvLoad.start({ genesis: await cluster.genesis(), clients: 2 });
    await load.goesOn(30);
    await Promise.all([cluster.kill(1), cluster.kill(4)]);
    await load.goesOn(150);
    cluster.restart(1);
    cluster.restart(4);
    await Promise.all([cluster.ready(1), cluster.ready(4)]);
    await load.goesOn(30);
    await load.finish();
    expect(load.failures).toEqual([]);
    expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });
    const statuses = await converge(cluster);
    expect(statuses).toHaveLength(size.replicas);
    expect(statuses.filter(({ observer }) => observer)).toEqual([]);
  },
  120_000,
);
