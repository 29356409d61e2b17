/**
 * Present homes: whose homes in a cluster directory are those of replicas now: who joined later is there, who was removed is not.
 *
 * In: what the genesis says, and the epoch in which each home is. Out: the cluster as of the newest of these. A home is its replica's own
 * disk, so nobody is asked.
 */
import { join, resolve } from 'node:path';
import { membershipOf } from '../membership/epochs.ts';
import { systemFiles } from '../platform/files.ts';
import { clusterPaths } from '../storage/cluster-directory.ts';
import { type EpochRecord, readEpochRecord } from '../storage/epoch-files.ts';
import { formatAddress } from '../wire/genesis.ts';
import { type Cluster, quorumSizeOf } from './cluster.ts';

export async function asOfHomes(cluster: Cluster): Promise<Cluster> {
  const parent = join(resolve(cluster.directory), clusterPaths.replicas);
  if ((await systemFiles.describe(parent)) === undefined) return cluster;
  const names = await systemFiles.list(parent);
  let newest: EpochRecord | undefined;
  for (const name of names) {
    // What is wrong with a home its replica says itself, and the others can do without it.
    const record = await readEpochRecord(systemFiles, join(parent, name)).catch(() => undefined);
    if ((record?.statement.epoch ?? 0) > (newest?.statement.epoch ?? 0)) newest = record;
  }
  if (newest === undefined) return cluster;
  const { statement } = newest;
  const membership = membershipOf(cluster.genesis, statement, statement);
  if (!membership.ok) return cluster;
  return {
    ...cluster,
    f: statement.f,
    k: statement.k,
    quorumSize: quorumSizeOf(membership.value.rule),
    replicas: statement.replicas.map(({ replicaId, recovery, peerAddress, clientAddress, httpAddress }) => ({
      replicaId,
      recovery,
      peerAddress: formatAddress(peerAddress),
      clientAddress: formatAddress(clientAddress),
      httpAddress: formatAddress(httpAddress),
      home: names.includes(replicaId) ? join(parent, replicaId) : undefined,
    })),
  };
}
