/**
 * Operators: what people who run a real cluster do at the command line, and what they are shown there and by its metrics. Who has joined is
 * found by what its home says.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import type { EpochReport } from '../../src/wire/epoch-report.ts';
import { until } from './watching.ts';

const root = join(import.meta.dirname, '..', '..');
const program = join(root, 'dist', 'src', 'cli', 'main.js');
const rules = join(root, 'deploy', 'prometheus', 'coterie.rules.yaml');

export interface Printed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command as an operator or an administrator does. */
export function coterie(cluster: ProcessCluster, ...parameters: readonly string[]): Promise<Printed> {
  const env = { ...process.env, COTERIE_CLUSTER: cluster.clusterDirectory, NO_COLOR: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...parameters], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

export async function done(cluster: ProcessCluster, ...parameters: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await coterie(cluster, ...parameters);
  if (code !== 0) throw new Error(`coterie ${parameters.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

export async function urlOf(cluster: ProcessCluster, index: number): Promise<string> {
  const joining = join(cluster.homeOf(index), 'joining.json');
  if (!existsSync(joining)) return cluster.urlOf(index);
  return `http://${(JSON.parse(readFileSync(joining, 'utf8')) as { readonly httpAddress: string }).httpAddress}`;
}

export async function ask(cluster: ProcessCluster, index: number, path: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${await urlOf(cluster, index)}${path}`, { signal: AbortSignal.timeout(2_000) });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}

export async function statusOf(cluster: ProcessCluster, index: number): Promise<ReplicaStatus | undefined> {
  const text = await ask(cluster, index, '/v1/status');
  return text === undefined ? undefined : (JSON.parse(text) as ReplicaStatus);
}

/** Of the epoch, as one replica says. */
export async function reportOf(cluster: ProcessCluster, index: number): Promise<EpochReport | undefined> {
  return (await statusOf(cluster, index))?.epochState as EpochReport | undefined;
}

/** When a replica says so. */
export function said(
  cluster: ProcessCluster,
  index: number,
  what: string,
  isSo: (report: EpochReport) => boolean,
): Promise<EpochReport> {
  return until(`r${index} says: ${what}`, async () => {
    const report = await reportOf(cluster, index);
    return report !== undefined && isSo(report) ? report : undefined;
  });
}

export const hasNamed = (report: EpochReport, id: string, isClean = false): boolean =>
  report.successors.some((each) => each.replicaId === id && (each.isClean || !isClean));

/** The value of a metric, as a replica exports it. */
export async function measured(cluster: ProcessCluster, index: number, series: RegExp): Promise<number> {
  const text = await until(`r${index} is measured`, () => ask(cluster, index, '/metrics'));
  const line = text.split('\n').find((each) => series.test(each)) ?? '';
  return Number(line.split(' ').at(-1));
}

/** What the rules for alarms look at, by the name of the alarm. */
export function expressionOf(alert: string): string {
  const { groups } = parse(readFileSync(rules, 'utf8')) as {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
  };
  return groups.flatMap((group) => group.rules).find((rule) => rule.alert === alert)?.expr ?? '';
}
