/**
 * Run service key: the key that the cluster directory keeps, else the one that more than f replicas report.
 *
 * What replicas report is not kept: that is for `up`, which runs where the replicas are.
 */
import { readServiceKey } from '../storage/cluster-directory.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { askAllStatuses, type Cluster, openCluster } from './cluster.ts';
import { type CommandContext, clusterDirectory } from './command.ts';
import type { ServiceKeyOptions } from './service-key.ts';
import { keyIn } from './status-view.ts';

export async function runServiceKey(
  option: string | undefined,
  { timeout }: ServiceKeyOptions,
  { terminal, environment }: CommandContext,
): Promise<void> {
  const cluster = await openCluster(clusterDirectory(option, environment));
  const kept = await readServiceKey(cluster.directory);
  const serviceKey = kept ?? (await askReplicas(cluster, timeout * 1000));
  if (terminal.json) terminal.document({ serviceKey, from: kept === undefined ? 'replicas' : 'file' });
  else terminal.line(serviceKey);
}

async function askReplicas(cluster: Cluster, timeoutMs: number): Promise<string> {
  const answers = await askAllStatuses(cluster, timeoutMs);
  const keys = answers.map((answer) => (answer.status === 'fulfilled' ? keyIn(answer.value) : null));
  const reported = new Set(keys.filter((key) => key !== null));
  if (reported.size > 1) {
    throw new CliError('the replicas report different service keys', {
      code: 'different-keys',
      hint: 'Some of them lie or are broken; "coterie status" shows which.',
      exitCode: exitCodes.negative,
    });
  }
  const [key] = reported;
  const count = keys.filter((each) => each !== null).length;
  if (key !== undefined && count > cluster.f) return key;
  const answered = answers.filter(({ status }) => status === 'fulfilled').length;
  throw new CliError(
    answered === 0
      ? 'no replica answered'
      : `${count} of ${answered} replicas that answered report a service key; ${cluster.f + 1} must`,
    {
      code: 'no-service-key',
      hint: 'The key is made when the cluster first runs: start it with "coterie up".',
      exitCode: exitCodes.unavailable,
    },
  );
}
