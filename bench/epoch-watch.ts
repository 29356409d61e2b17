/**
 * Epoch watch: asks replicas over HTTP where their epoch stands, waits for what they say, and ends the epoch as
 * `coterie epoch advance` does, whose request this is.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'coterie/client';
import { sign } from '../src/crypto/ed25519.ts';
import { parseDigest } from '../src/crypto/hash.ts';
import type { ReplicaStatus } from '../src/replica/replica-status.ts';
import { readSeedFile } from '../src/storage/seed-file.ts';
import { type AdminProposal, adminPreimage, encodeAdminProposal } from '../src/wire/admin-action.ts';
import { readEpochReport } from '../src/wire/epoch-report.ts';
import type { ProcessCluster } from './process-cluster.ts';

const pollMs = 20;
const patienceMs = 180_000;

/** The present epoch begins to end when this resolves: it is committed that it does. Says which one. */
export async function endEpoch(cluster: ProcessCluster, client: Client): Promise<number> {
  const report = readEpochReport(await client.call('coterie.epoch', null));
  const serviceId = parseDigest(client.cluster.serviceId);
  if (report === undefined || serviceId === undefined)
    throw new Error('the cluster does not say where its epoch stands');
  const key = await readSeedFile(join(cluster.clusterDirectory, 'administrators', 'admin-0.seed'));
  const proposal: AdminProposal = { serviceId, epoch: report.epoch, action: { kind: 'advance' } };
  const signature = sign(key, adminPreimage(proposal));
  await client.call('coterie.admin', { proposal: encodeAdminProposal(proposal), administrator: 0, signature });
  return report.epoch;
}

/** Resolves with the first status of a replica that is as wanted; rejects when there is none in time. */
export async function statusWhere(
  cluster: ProcessCluster,
  index: number,
  isWanted: (status: ReplicaStatus) => boolean,
): Promise<ReplicaStatus> {
  const url = `${await cluster.urlOf(index)}/v1/status`;
  for (const endMs = performance.now() + patienceMs; ; await sleep(pollMs)) {
    const status = await ask(url);
    if (status !== undefined && isWanted(status)) return status;
    if (performance.now() > endMs) throw new Error(`replica ${index} does not come to it: ${JSON.stringify(status)}`);
  }
}

/** Has it executed a commit of this epoch? */
export function hasCommitOf(epoch: number): (status: ReplicaStatus) => boolean {
  return (status) => {
    const began = Number(Object(status.epochState?.began).commitIndex ?? Number.NaN);
    return status.epoch === epoch && status.commitIndex > began;
  };
}

async function ask(url: string): Promise<ReplicaStatus | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    return response.ok ? ((await response.json()) as ReplicaStatus) : undefined;
  } catch {
    return undefined;
  }
}
