/**
 * Up command: the command line that `up` starts each replica with: a replica, or a keeper that starts it.
 *
 * Here keepers and replicas are one user on one machine, so a keeper keeps nothing from its replica; it is there for the
 * recovery turns, and for replicas that name no next keys without one.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { clusterPaths } from '../storage/cluster-directory.ts';
import type { ClusterReplica } from './cluster.ts';
import { retentionArguments } from './retention.ts';
import type { UpOptions } from './up.ts';

/** Shorter than the patience of `up`: a keeper has to end its replica before it is ended itself. */
const keeperPatience = '8s';
const manifestFile = 'manifest.json';

/** The command line for a replica. Makes the directory that a keeper needs. */
export async function makeUpCommand(
  clusterDirectory: string,
  { replicaId, home, recovery }: Pick<ClusterReplica, 'replicaId' | 'recovery'> & { readonly home: string },
  options: UpOptions,
): Promise<readonly [string, ...string[]]> {
  const script = fileURLToPath(new URL('./main.js', import.meta.url));
  const common = ['--home', home, '--log-level', options.logLevel, ...retentionArguments(options)];
  if (options.keepers !== true && recovery !== 'hardware') return [process.execPath, script, 'replica', ...common];
  const store = join(resolve(clusterDirectory), clusterPaths.keepers, replicaId);
  await mkdir(store, { recursive: true, mode: 0o700 });
  const manifest = existsSync(join(store, manifestFile)) ? [] : ['--no-manifest'];
  const patience = ['--stop-patience', keeperPatience];
  return [process.execPath, script, 'keeper', '--store', store, ...common, ...manifest, ...patience];
}
