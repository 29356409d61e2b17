/**
 * Shows that a cluster which has gone through an epoch is taken back to a snapshot of the epoch it is in, and goes on to the next epoch with
 * new session keys; and that a snapshot of an epoch whose key shares are erased is refused before anything is touched.
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import type { EpochReport } from '../../src/wire/epoch-report.ts';
import { isThorough } from '../thorough.ts';
import { serviceKeyOf, until } from './watching.ts';

const program = join(import.meta.dirname, '..', '..', 'dist', 'src', 'cli', 'main.js');
const all = [0, 1, 2, 3];

let cluster: ProcessCluster;
afterEach(() => cluster?.destroy());

it.runIf(isThorough)(
  'a cluster in a later epoch is restored, and changes its epoch again',
  async () => {
    cluster = await ProcessCluster.start({ epochs: { intervalMs: 0, successorWaitMs: 5_000 }, stderr: 'kept' });
    const serviceKey = await serviceKeyOf(cluster);
    await writeFile(join(cluster.clusterDirectory, 'service-key'), `${serviceKey}\n`);
    const client = await connect({ genesis: await cluster.genesis(), serviceKey, deadlineMs: 60_000 });
    try {
      const store = client.of(kv);
      const file = (name: string): string => join(cluster.clusterDirectory, '..', name);
      const out = (name: string): readonly string[] => ['--out', file(name), '--timeout', '30'];
      await store.put({ key: 'first', value: 'kept' });
      await coterie('snapshot', 'export', ...out('earlier'));
      await coterie('epoch', 'advance', '--wait', '--timeout', '90');
      await inEpoch(1);
      await store.put({ key: 'second', value: 'kept' });
      // A checkpoint of this epoch: the first that it can have is the one it began from.
      const { commitIndex } = await statusOf(0);
      await until('a checkpoint of this epoch', async () => {
        await store.put({ key: 'more', value: 'and more' });
        return (await statusOf(0)).stableCommitIndex > commitIndex || undefined;
      });
      await coterie('snapshot', 'export', ...out('present'));
      await store.put({ key: 'third', value: 'lost' });

      for (const index of all) await cluster.terminate(index);
      const restore = (name: string): Promise<string> => coterie('snapshot', 'restore', file(name), '--roll-back');
      await expect(restore('earlier')).rejects.toThrow(/earlier-epoch/);
      for (const epoch of [2, 3]) {
        expect(JSON.parse(await restore('present'))).toMatchObject({ epoch });
        for (const index of all) cluster.restart(index);
        await inEpoch(epoch);
        await store.put({ key: 'fourth', value: `of epoch ${epoch}` });
        if (epoch === 2) for (const index of all) await cluster.terminate(index);
      }

      await coterie('epoch', 'advance', '--wait', '--timeout', '90');
      await inEpoch(4);
      const keys = await Promise.all(['first', 'second', 'third', 'fourth'].map((key) => store.get({ key })));
      expect(keys).toEqual(['kept', 'kept', null, 'of epoch 3']);
      const { epochState, serviceKey: after } = await statusOf(0);
      expect(after).toBe(serviceKey);
      const { replicas } = (epochState as unknown as EpochReport).membership;
      expect(replicas.map(({ keysSince }) => keysSince.epoch)).toEqual([4, 4, 4, 4]);
    } finally {
      await client.close();
    }
  },
  240_000,
);

/** Runs a command on the cluster; rejects with what it says when it fails. */
function coterie(...parameters: readonly string[]): Promise<string> {
  const env = { ...process.env, COTERIE_CLUSTER: cluster.clusterDirectory, NO_COLOR: '1' };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, ...parameters, '--json'], { env }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`coterie ${parameters.join(' ')}: ${stdout}${stderr}`));
    });
  });
}

function inEpoch(epoch: number): Promise<unknown> {
  return until(`all take part in epoch ${epoch}`, async () => {
    const statuses = await Promise.all(all.map((index) => statusOf(index).catch(() => undefined)));
    const isThere = (status: ReplicaStatus | undefined): boolean =>
      status?.epoch === epoch && status.keyState === 'ready' && !status.observer;
    return statuses.every(isThere) || undefined;
  });
}

async function statusOf(index: number): Promise<ReplicaStatus> {
  const response = await fetch(`${await cluster.urlOf(index)}/v1/status`, { signal: AbortSignal.timeout(2_000) });
  return (await response.json()) as ReplicaStatus;
}
