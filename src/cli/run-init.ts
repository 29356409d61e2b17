/**
 * Run init: makes a cluster directory and says what is in it.
 */
import { join, resolve } from 'node:path';
import { clusterPaths } from '../storage/cluster-directory.ts';
import type { Administrators, RecoveryMethod } from '../wire/genesis.ts';
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
  const { headInterval: headIntervalMs, checkpointInterval: checkpointIntervalMs, ...others } = options;
  const { epochInterval: epochIntervalMs, successorWait: successorWaitMs, ...rest } = others;
  const intervals = { headIntervalMs, checkpointIntervalMs, epochIntervalMs, successorWaitMs };
  await makeCluster({ directory, ...rest, ...intervals });
  const cluster = await openCluster(directory);
  const { name, service, serviceId, f, k, quorumSize: quorum, replicas } = cluster;
  const { administrators } = cluster.genesis;
  const recovery = [...new Set(replicas.map((each) => each.recovery))];
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
      epochIntervalMs: cluster.genesis.epochIntervalMs,
      recovery: recovery.length === 1 ? recovery[0] : recovery,
      administrators: { approvals: administrators.approvals, keys: [...administrators.keys] },
      replicas: shown,
    });
    return;
  }
  const inRecovery = k === 0 ? '' : ` and ${k} more in recovery`;
  terminal.line(`Made ${name} in ${directory} · service ${service} · ${serviceId}`);
  terminal.line(`${replicas.length} replicas, of which ${f} may be hostile${inRecovery}; ${quorum} are a quorum.`);
  terminal.line();
  const isMixed = recovery.length > 1;
  const titles = ['replica', 'clients', 'replicas', 'http', ...(isMixed ? ['recovers by'] : []), 'home'];
  const rows = replicas.map(({ replicaId, clientAddress, peerAddress, httpAddress, recovery: method, home = '' }) => {
    return [replicaId, clientAddress, peerAddress, httpAddress, ...(isMixed ? [method] : []), shownPath(home)];
  });
  const columns = titles.map((title) => ({ title }));
  for (const line of formatTable(columns, rows, (text) => terminal.style('dim', text))) terminal.line(line);
  terminal.line();
  for (const line of keysToTakeAway(directory, recovery, administrators)) terminal.line(line);
  const program = programName({ script: process.argv[1] ?? 'coterie', directory: process.cwd() });
  terminal.line(`Start it with: ${program} up${directory === defaultClusterDirectory ? '' : ` ${directory}`}`);
}

/** What lies in the directory that only keepers, operators and administrators are to have, and where. */
function keysToTakeAway(
  directory: string,
  recovery: readonly RecoveryMethod[],
  { approvals, keys }: Administrators,
): string[] {
  const lines: string[] = [];
  const at = (path: string): string => shownPath(join(directory, path));
  if (recovery.includes('hardware')) lines.push(`Identity keys for the keepers are in ${at(clusterPaths.keepers)}.`);
  if (recovery.includes('offline')) {
    const what = recovery.includes('hardware') ? 'Those for operators' : 'Identity keys';
    lines.push(`${what} are in ${at(clusterPaths.identities)}: take them away, to where no network is.`);
  }
  if (keys.length > 0) {
    const rule = `${approvals} of ${keys.length} may change the membership`;
    lines.push(`Keys of administrators, of which ${rule}, are in ${at(clusterPaths.administrators)}.`);
  }
  return lines.length === 0 ? [] : [...lines, ''];
}
