/**
 * Cluster: a cluster directory as the commands see it, and questions to single replicas about themselves.
 */
import { askStatus, type Value } from '../client/client.ts';
import { firstMembership } from '../membership/genesis.ts';
import { emptySet, type QuorumRule, type ReplicaSet, withReplica } from '../membership/membership.ts';
import { readClusterDirectory } from '../storage/cluster-directory.ts';
import { HomeError } from '../storage/home-error.ts';
import { formatAddress, type Genesis, type RecoveryMethod } from '../wire/genesis.ts';

export interface ClusterReplica {
  readonly replicaId: string;
  readonly recovery: RecoveryMethod;
  readonly peerAddress: string;
  readonly clientAddress: string;
  readonly httpAddress: string;
  /** Its home, when it is in this directory: a replica may live on another machine. */
  readonly home: string | undefined;
}

export interface Cluster {
  /** As the user named it. */
  readonly directory: string;
  readonly name: string;
  readonly service: string;
  readonly serviceId: string;
  readonly f: number;
  readonly k: number;
  readonly quorumSize: number;
  /** By replica index. */
  readonly replicas: readonly ClusterReplica[];
  readonly genesis: Genesis;
  readonly identityPath: string;
}

/** Reads a cluster directory. Rejects with the typed errors of storage/. */
export async function openCluster(directory: string): Promise<Cluster> {
  const { genesis, serviceId, identityPath, homes } = await readClusterDirectory(directory);
  const membership = firstMembership(genesis);
  if (!membership.ok) {
    throw new HomeError(
      'file-malformed',
      `The genesis in ${directory} is no cluster's: ${membership.reason}.`,
      restore,
    );
  }
  const { name, service, f, k } = genesis;
  const replicas = genesis.replicas.map(({ replicaId, recovery, peerAddress, clientAddress, httpAddress }) => ({
    replicaId,
    recovery,
    peerAddress: formatAddress(peerAddress),
    clientAddress: formatAddress(clientAddress),
    httpAddress: formatAddress(httpAddress),
    home: homes.find((home) => home.replicaId === replicaId)?.directory,
  }));
  const quorumSize = quorumSizeOf(membership.value.rule);
  return { directory, name, service, serviceId, f, k, quorumSize, replicas, genesis, identityPath };
}

const restore = 'Put back the genesis.json of the cluster; it is not to be edited.';

/** How many replicas the smallest quorum has: quorums go by number. */
export function quorumSizeOf(rule: QuorumRule): number {
  let set: ReplicaSet = emptySet;
  let size = 0;
  while (!rule.isQuorum(set)) {
    set = withReplica(set, size);
    size += 1;
  }
  return size;
}

/** Asks all replicas at the same time; by replica index. What they say is their own word. */
export function askAllStatuses(cluster: Cluster, timeoutMs: number): Promise<PromiseSettledResult<Value>[]> {
  const { genesis } = cluster;
  return Promise.allSettled(
    genesis.replicas.map((_, replicaIndex) => askStatus({ genesis, replicaIndex, deadlineMs: timeoutMs })),
  );
}
