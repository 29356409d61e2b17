/**
 * Cluster directory: all replicas' homes on one machine, with what a client needs.
 *
 *   genesis.json · replicas/<replicaId>/ (homes) · client/identity.json · service-key
 *   keepers/<replicaId>/identity.seed     where a replica recovers by hardware: for its keeper, who alone may read it
 *   identities/<replicaId>.seed           where it recovers offline: for its operator, to be taken away from here
 *   administrators/admin-<i>.seed         for the administrators, to be taken away from here
 *
 * Safety: a service key that is there is never replaced by another: who trusts the file trusts the first key it had.
 */
import { join, resolve } from 'node:path';
import type { Digest } from '../crypto/hash.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { serviceKeySizeBytes } from '../wire/duty.ts';
import { type Genesis, type RecoveryMethod, serviceIdOf } from '../wire/genesis.ts';
import { homePaths, readGenesis } from './home.ts';
import { HomeError, homeErrorOf } from './home-error.ts';
import { writeSeedFile } from './seed-file.ts';
import { malformed, readText, writeNewText } from './whole-file.ts';

export const clusterPaths = {
  genesis: 'genesis.json',
  replicas: 'replicas',
  client: 'client',
  identity: join('client', 'identity.json'),
  keepers: 'keepers',
  identities: 'identities',
  administrators: 'administrators',
  serviceKey: 'service-key',
} as const;

/** Of the identity key in a keeper's directory. */
const identitySeedFile = 'identity.seed';

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

export interface IdentityKey {
  readonly replicaId: string;
  readonly recovery: RecoveryMethod;
  readonly identitySeed: Uint8Array;
}

/**
 * Puts an identity key where the one is who uses it: with the keeper of its replica, or for its operator to take away. Durable when it
 * resolves, with its path; refuses to replace one.
 */
export async function writeIdentity(
  directory: string,
  { replicaId, recovery, identitySeed }: IdentityKey,
  files: FileSystem = systemFiles,
): Promise<string> {
  const isKept = recovery === 'hardware';
  const folders = isKept ? [clusterPaths.keepers, replicaId] : [clusterPaths.identities];
  const made = [directory];
  try {
    for (const folder of folders) {
      const path = join(made.at(-1) ?? directory, folder);
      if ((await files.describe(path)) === undefined) await files.mkdir(path);
      made.push(path);
    }
    const path = join(made.at(-1) ?? directory, isKept ? identitySeedFile : `${replicaId}.seed`);
    await writeSeedFile(path, identitySeed, files);
    for (const each of made.reverse()) await files.fsyncDirectory(each);
    return path;
  } catch (error) {
    throw homeErrorOf(error, join(directory, ...folders), 'writing');
  }
}

const serviceKeyPattern = new RegExp(`^[0-9a-f]{${2 * serviceKeySizeBytes}}$`);

/** The service key that a cluster directory holds for people and clients, 192 hex characters; undefined when none yet. */
export async function readServiceKey(directory: string, files: FileSystem = systemFiles): Promise<string | undefined> {
  const path = join(directory, clusterPaths.serviceKey);
  try {
    if ((await files.describe(path)) === undefined) return undefined;
    const text = (await readText(files, path)).trimEnd();
    if (!serviceKeyPattern.test(text)) throw malformed(path, 'it must be 192 lower-case hex characters');
    return text;
  } catch (error) {
    throw homeErrorOf(error, path, 'reading');
  }
}

/** Records the service key, whole or not at all; `service-key-mismatch` when there is another one. */
export async function recordServiceKey(
  directory: string,
  serviceKey: string,
  files: FileSystem = systemFiles,
): Promise<void> {
  const path = join(directory, clusterPaths.serviceKey);
  const before = await readServiceKey(directory, files);
  if (before === serviceKey) return;
  if (before !== undefined) {
    throw new HomeError(
      'service-key-mismatch',
      `${path} holds the service key ${shortKey(before)}, but the replicas report ${shortKey(serviceKey)}.`,
      'Nothing was replaced. A service keeps its key for ever: find out whose key each is before you trust either.',
    );
  }
  const building = `${path}.new`;
  try {
    // What an earlier attempt that was cut short has left.
    if ((await files.describe(building)) !== undefined) await files.remove(building);
    await writeNewText(files, building, `${serviceKey}\n`);
    await files.rename(building, path);
    await files.fsyncDirectory(directory);
  } catch (error) {
    throw homeErrorOf(error, path, 'writing');
  }
}

/** The beginning of a service key, enough to tell two apart. */
function shortKey(serviceKey: string): string {
  return `${serviceKey.slice(0, 16)}…`;
}
