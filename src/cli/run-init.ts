/**
 * Run init: makes a cluster directory and says what is in it.
 */
import { join, resolve } from 'node:path';
import { clusterPaths } from '../storage/cluster-directory.ts';
import { openCluster } from './cluster.ts';
import { type CommandContext, clusterDirectory, defaultClusterDirectory } from './command.ts';
import { programName, shownPath } from './how-called.ts';
import type { InitOptions } from './init.ts';
import { makeCluster } from './make-cluster.ts';
import { formatTable } from './table.ts';

export async function runInit(
  option: string | undefined,
  options: InitOptions,
  context: CommandContext,
): Promise<void> {
  const { terminal, environment } = context;
  const directory = clusterDirectory(option, environment);
  const { headInterval: headIntervalMs, checkpointInterval: checkpointIntervalMs, ...rest } = options;
  await makeCluster({ directory, ...rest, headIntervalMs, checkpointIntervalMs });
  const cluster = await openCluster(directory);
  const { name, service, serviceId, f, k, quorumSize: quorum, replicas } = cluster;
  if (terminal.json) {
    const genesis = join(resolve(directory), clusterPaths.genesis);
    const shown = replicas.map(({ replicaId: replica, ...rest }) => ({ replica, ...rest }));
    terminal.document({
      directory: resolve(directory),
      name,
      service,
      serviceId,
      f,
      k,
      quorum,
      genesis,
      replicas: shown,
    });
    return;
  }
  const inRecovery = k === 0 ? '' : ` and ${k} more in recovery`;
  terminal.line(`Made ${name} in ${directory} · service ${service} · ${serviceId}`);
  terminal.line(`${replicas.length} replicas, of which ${f} may be hostile${inRecovery}; ${quorum} are a quorum.`);
  terminal.line();
  const titles = ['replica', 'clients', 'replicas', 'http', 'home'].map((title) => ({ title }));
  const rows = replicas.map(({ replicaId, clientAddress, peerAddress, httpAddress, home = '' }) => {
    return [replicaId, clientAddress, peerAddress, httpAddress, shownPath(home)];
  });
  for (const line of formatTable(titles, rows, (text) => terminal.style('dim', text))) terminal.line(line);
  terminal.line();
  const program = programName({ script: process.argv[1] ?? 'coterie', directory: process.cwd() });
  terminal.line(`Start it with: ${program} up${directory === defaultClusterDirectory ? '' : ` ${directory}`}`);
}
