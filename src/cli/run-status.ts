/**
 * Run status: asks all replicas at the same time, each with the same deadline, so that dead ones cost one timeout.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../platform/clock.ts';
import { formatAddress } from '../wire/genesis.ts';
import { exitCodes, toCliError } from './cli-error.ts';
import { type Cluster, openCluster, quorumSizeOf } from './cluster.ts';
import { type CommandContext, clusterDirectory } from './command.ts';
import { PresentReplicas } from './present-replicas.ts';
import type { StatusOptions } from './status.ts';
import { agreedEpoch } from './status-epoch.ts';
import { agree, type ClusterStatus, formatStatus, type ReplicaAnswer, statusRow } from './status-view.ts';

const watchIntervalMs = 1_000;

export async function runStatus(options: StatusOptions, context: CommandContext): Promise<void> {
  const { terminal, environment } = context;
  const cluster = await openCluster(clusterDirectory(options.cluster, environment));
  const present = await PresentReplicas.open(cluster, terminal);
  for (;;) {
    const status = await askAll(cluster, present, options.timeout * 1000);
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

async function askAll(cluster: Cluster, present: PresentReplicas, timeoutMs: number): Promise<ClusterStatus> {
  const answers = await present.askAll(timeoutMs);
  const { replicas: asked, rule } = present.replicas;
  const quorum = quorumSizeOf(rule);
  const rows = asked.map(({ replicaId, host, port }, replicaIndex): ReplicaAnswer => {
    const clientAddress = formatAddress({ host, port });
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
    quorum,
    hasQuorum: reachable >= quorum,
    agreed: agree(replicas),
    epoch: agreedEpoch(
      answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : null)),
      rule.f,
      now(),
    ),
  };
}

/** Why a replica did not answer, without its name and address, which stand beside it. */
function reasonOf(error: unknown, replicaIndex: number, address: string): string {
  return toCliError(error)
    .message.replace(`replica ${replicaIndex} at ${address}`, '')
    .replace(`: dialling ${address}`, '')
    .replace(/^:? +/, '');
}
