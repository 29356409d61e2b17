/**
 * Run status: asks all replicas at the same time, each with the same deadline, so that dead ones cost one timeout.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { exitCodes, toCliError } from './cli-error.ts';
import { askAllStatuses, type Cluster, openCluster } from './cluster.ts';
import { type CommandContext, clusterDirectory } from './command.ts';
import type { StatusOptions } from './status.ts';
import { agree, type ClusterStatus, formatStatus, type ReplicaAnswer, statusRow } from './status-view.ts';

const watchIntervalMs = 1_000;

export async function runStatus(options: StatusOptions, context: CommandContext): Promise<void> {
  const { terminal, environment } = context;
  const cluster = await openCluster(clusterDirectory(options.cluster, environment));
  for (;;) {
    const status = await askAll(cluster, options.timeout * 1000);
    if (!status.hasQuorum) context.setExitCode(exitCodes.unavailable);
    else context.setExitCode(status.agreed ? exitCodes.ok : exitCodes.negative);
    if (terminal.json) terminal.document(status);
    else {
      // Watching, the screen is cleared and the table drawn at its top.
      if (options.watch === true && terminal.isInteractive) terminal.raw('\x1b[2J\x1b[H');
      for (const line of formatStatus(status, terminal)) terminal.line(line);
    }
    if (options.watch !== true) return;
    await sleep(watchIntervalMs);
  }
}

async function askAll(cluster: Cluster, timeoutMs: number): Promise<ClusterStatus> {
  const answers = await askAllStatuses(cluster, timeoutMs);
  const rows = cluster.replicas.map(({ replicaId, clientAddress }, replicaIndex): ReplicaAnswer => {
    const settled = answers[replicaIndex]!;
    const answer =
      settled.status === 'fulfilled'
        ? { ok: true as const, status: settled.value }
        : { ok: false as const, reason: reasonOf(settled.reason, replicaIndex, clientAddress) };
    return { replicaIndex, replicaId, clientAddress, answer };
  });
  const replicas = rows.map(statusRow);
  const reachable = replicas.filter((row) => row.reachable).length;
  return {
    cluster: cluster.directory,
    name: cluster.name,
    service: cluster.service,
    serviceId: cluster.serviceId,
    replicas,
    reachable,
    quorum: cluster.quorumSize,
    hasQuorum: reachable >= cluster.quorumSize,
    agreed: agree(replicas),
  };
}

/** Why a replica did not answer, without its name and address, which stand beside it. */
function reasonOf(error: unknown, replicaIndex: number, address: string): string {
  return toCliError(error)
    .message.replace(`replica ${replicaIndex} at ${address}`, '')
    .replace(`: dialling ${address}`, '')
    .replace(/^:? +/, '');
}
