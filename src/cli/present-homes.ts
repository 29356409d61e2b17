/**
 * Present homes: whose homes in a cluster directory are those of replicas now: who joined later is there, who was removed is not; and who is
 * to join.
 *
 * In: what the genesis says, the epoch in which each home is, and what those say of themselves that are in none yet. Out: the cluster as of
 * the newest epoch; whom to run. A home is its replica's own disk, so nobody is asked.
 */
import { join, resolve } from 'node:path';
import { membershipOf } from '../membership/epochs.ts';
import { systemFiles } from '../platform/files.ts';
import { clusterPaths } from '../storage/cluster-directory.ts';
import { type EpochRecord, epochPaths, readEpochRecord } from '../storage/epoch-files.ts';
import { homePaths } from '../storage/home.ts';
import { readText } from '../storage/whole-file.ts';
import { formatAddress, type GenesisReplica, parseReplica } from '../wire/genesis.ts';
import { type Cluster, type ClusterReplica, quorumSizeOf } from './cluster.ts';

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

export type LocalReplica = ClusterReplica & { readonly home: string };

/** Those replicas of the cluster whose homes are in this directory. */
export function localReplicas(cluster: Cluster): readonly LocalReplica[] {
  return cluster.replicas.filter((replica): replica is LocalReplica => replica.home !== undefined);
}

/** Members of now and who is to join, as far as their homes are here. */
export async function homesToRun(cluster: Cluster): Promise<readonly LocalReplica[]> {
  return [...localReplicas(await asOfHomes(cluster)), ...(await joiningReplicas(cluster.directory))];
}

/** Homes that were made for replicas that are to join, whole, and have been in no epoch yet. */
async function joiningReplicas(directory: string): Promise<readonly LocalReplica[]> {
  const parent = join(resolve(directory), clusterPaths.replicas);
  if ((await systemFiles.describe(parent)) === undefined) return [];
  const found: LocalReplica[] = [];
  for (const name of await systemFiles.list(parent)) {
    const home = join(parent, name);
    const path = join(home, homePaths.joining);
    if ((await systemFiles.describe(path)) === undefined) continue;
    if ((await systemFiles.describe(join(home, epochPaths.record))) !== undefined) continue;
    const replica = parseReplica(await readText(systemFiles, path).catch(() => ''));
    if (replica.ok && replica.value.replicaId === name) found.push(localReplica(replica.value, home));
  }
  return found;
}

function localReplica(replica: GenesisReplica, home: string): LocalReplica {
  const { replicaId, recovery, peerAddress, clientAddress, httpAddress } = replica;
  return {
    replicaId,
    recovery,
    peerAddress: formatAddress(peerAddress),
    clientAddress: formatAddress(clientAddress),
    httpAddress: formatAddress(httpAddress),
    home,
  };
}
