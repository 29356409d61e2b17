/**
 * Cluster: a cluster directory as the commands see it, and the two ways to talk to its replicas: calls whose results
 * f + 1 replicas vouch for, and questions to single replicas about themselves.
 */
import { askStatus, connect, type Value } from '../client/client.ts';
import { firstMembership } from '../membership/genesis.ts';
import { emptySet, type QuorumRule, type ReplicaSet, withReplica } from '../membership/membership.ts';
import { readClusterDirectory } from '../storage/cluster-directory.ts';
import { HomeError } from '../storage/home-error.ts';
import { readIdentitySeed } from '../storage/identity.ts';
import { formatAddress, type Genesis } from '../wire/genesis.ts';

export interface ClusterReplica {
  readonly replicaId: string;
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
  const replicas = genesis.replicas.map(({ replicaId, peerAddress, clientAddress, httpAddress }) => ({
    replicaId,
    peerAddress: formatAddress(peerAddress),
    clientAddress: formatAddress(clientAddress),
    httpAddress: formatAddress(httpAddress),
    home: homes.find((home) => home.replicaId === replicaId)?.directory,
  }));
  const quorumSize = smallestQuorum(membership.value.rule);
  return { directory, name, service, serviceId, f, k, quorumSize, replicas, genesis, identityPath };
}

const restore = 'Put back the genesis.json of the cluster; it is not to be edited.';

/** How many replicas the smallest quorum has: quorums go by number. */
function smallestQuorum(rule: QuorumRule): number {
  let set: ReplicaSet = emptySet;
  let size = 0;
  while (!rule.isQuorum(set)) {
    set = withReplica(set, size);
    size += 1;
  }
  return size;
}

export type CallOperation = (operation: string, input: Value) => Promise<Value>;

/** Connects as the cluster's default client for as long as `use` takes, all within one deadline. */
export async function withClient<T>(
  cluster: Cluster,
  timeoutMs: number,
  use: (call: CallOperation) => Promise<T>,
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  const left = () => ({ deadlineMs: Math.max(1, endMs - performance.now()) });
  const identity = await readIdentitySeed(cluster.identityPath);
  const client = await connect({ genesis: cluster.genesis, identity, ...left() });
  try {
    return await use((operation, input) => client.call(operation, input, left()));
  } finally {
    await client.close();
  }
}

/** Asks all replicas at the same time; by replica index. What they say is their own word. */
export function askAllStatuses(cluster: Cluster, timeoutMs: number): Promise<PromiseSettledResult<Value>[]> {
  const { genesis } = cluster;
  return Promise.allSettled(
    genesis.replicas.map((_, replicaIndex) => askStatus({ genesis, replicaIndex, deadlineMs: timeoutMs })),
  );
}
