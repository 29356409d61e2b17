/**
 * Fill: brings the state of a running cluster to a size, and waits until all replicas have a checkpoint of it.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { askStatus, type Client, connect } from 'coterie/client';
import type { ReplicaStatus } from '../src/replica/replica-status.ts';
import { service as fillableKv } from './fillable-kv.ts';
import type { ProcessCluster } from './process-cluster.ts';

export interface Filling {
  readonly entries: number;
  readonly valueSizeBytes: number;
}

/** Bytes of values that one operation writes, and operations under way. */
const operationSizeBytes = 512 * 1024;
const operationsOpen = 6;

/** The service is to be `fillable-kv`. Where checkpoints are rare, nobody should wait for one. */
export async function fillState(
  cluster: ProcessCluster,
  { entries, valueSizeBytes }: Filling,
  { awaitsCheckpoint = true }: { readonly awaitsCheckpoint?: boolean } = {},
): Promise<void> {
  const client = await connect({ genesis: await cluster.genesis(), deadlineMs: 120_000 });
  const store = client.of(fillableKv);
  const step = Math.max(1, Math.min(5_000, Math.floor(operationSizeBytes / (valueSizeBytes + 64))));
  let next = 0;
  const fill = async (): Promise<void> => {
    while (next < entries) {
      const from = next;
      const count = Math.min(step, entries - from);
      next += count;
      await store.fill({ from, count, size: valueSizeBytes });
    }
  };
  try {
    await Promise.all(Array.from({ length: operationsOpen }, fill));
    if (awaitsCheckpoint) await checkpointed(cluster, client);
  } finally {
    await client.close();
  }
}

/** Resolves when all that was executed so far is in a stable checkpoint of each replica; writes a little, since that takes commits. */
async function checkpointed(cluster: ProcessCluster, client: Client): Promise<void> {
  const indexes = Array.from({ length: cluster.size }, (_, index) => index);
  const before = await Promise.all(indexes.map((index) => replicaStatus(cluster, index)));
  const target = Math.max(...before.map((status) => status?.commitIndex ?? 0));
  for (let turn = 0; ; turn++) {
    await client.call('put', { key: 'nudge', value: String(turn) });
    const statuses = await Promise.all(indexes.map((index) => replicaStatus(cluster, index)));
    if (statuses.every((status) => status !== undefined && status.stableCommitIndex >= target)) return;
    await sleep(200);
  }
}

/**
 * Resolves when none of these replicas has the blocks of the beginning any more, so that who has nothing must fetch the state.
 * They must retain no more blocks than they have to.
 */
export async function forgetBeginning(cluster: ProcessCluster, indexes: readonly number[]): Promise<void> {
  const client = await connect({ genesis: await cluster.genesis(), deadlineMs: 120_000 });
  try {
    for (let turn = 0; ; turn++) {
      const begins = await Promise.all(indexes.map((index) => logBegins(cluster.homeOf(index))));
      if (begins.every((position) => position > 0)) return;
      await client.call('put', { key: 'nudge', value: String(turn % 10).repeat(64 * 1024) });
      await sleep(20);
    }
  } finally {
    await client.close();
  }
}

/** The position that a replica's log begins at, which its first file is named after. */
async function logBegins(home: string): Promise<number> {
  const names = await readdir(join(home, 'log'));
  return Math.min(...names.filter((name) => name.endsWith('.log')).map((name) => Number.parseInt(name, 10)));
}

/** Undefined when it does not answer. */
export async function replicaStatus(cluster: ProcessCluster, replicaIndex: number): Promise<ReplicaStatus | undefined> {
  try {
    const status = await askStatus({ genesis: await cluster.genesis(), replicaIndex, deadlineMs: 2_000 });
    return status as unknown as ReplicaStatus;
  } catch {
    return undefined;
  }
}
