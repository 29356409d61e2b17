/**
 * Cluster directory: all replicas' homes on one machine, with what a client needs.
 *
 *   genesis.json · replicas/<replicaId>/ (homes) · client/identity.json
 */
import { join, resolve } from 'node:path';
import type { Digest } from '../crypto/hash.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { type Genesis, serviceIdOf } from '../wire/genesis.ts';
import { homePaths, readGenesis } from './home.ts';
import { HomeError, homeErrorOf } from './home-error.ts';

export const clusterPaths = {
  genesis: 'genesis.json',
  replicas: 'replicas',
  client: 'client',
  identity: join('client', 'identity.json'),
} as const;

export interface ClusterDirectory {
  /** Absolute. */
  readonly directory: string;
  readonly genesis: Genesis;
  readonly serviceId: Digest;
  readonly identityPath: string;
  /** In the order of the genesis, those that are here: a replica may live on another machine. */
  readonly homes: readonly { readonly replicaId: string; readonly directory: string }[];
}

/** Reads what a cluster directory holds. Rejects with a `HomeError`. */
export async function readClusterDirectory(path: string, files: FileSystem = systemFiles): Promise<ClusterDirectory> {
  const directory = resolve(path);
  try {
    const found = await files.describe(directory);
    if (found === undefined) {
      throw new HomeError(
        'home-missing',
        `${directory} does not exist.`,
        'Check the path, or make a cluster with "coterie init".',
      );
    }
    const names = found.kind === 'file' ? [] : await files.list(directory);
    if (names.includes(homePaths.replica)) {
      throw new HomeError(
        'home-directory-given',
        `${directory} is the home of one replica, not the directory of a cluster.`,
        `Give ${resolve(directory, '..', '..')}, or start this replica alone with "coterie replica".`,
      );
    }
    if (!names.includes(clusterPaths.genesis)) {
      throw new HomeError(
        'not-a-cluster',
        `${directory} is not the directory of a cluster: it has no ${clusterPaths.genesis}.`,
        'Check the path, or make a cluster with "coterie init".',
      );
    }
    const genesis = await readGenesis(files, join(directory, clusterPaths.genesis));
    const present = names.includes(clusterPaths.replicas)
      ? await files.list(join(directory, clusterPaths.replicas))
      : [];
    const homes = genesis.replicas
      .filter(({ replicaId }) => present.includes(replicaId))
      .map(({ replicaId }) => ({ replicaId, directory: join(directory, clusterPaths.replicas, replicaId) }));
    const identityPath = join(directory, clusterPaths.identity);
    return { directory, genesis, serviceId: serviceIdOf(genesis), identityPath, homes };
  } catch (error) {
    throw homeErrorOf(error, directory, 'reading');
  }
}
