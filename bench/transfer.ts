/**
 * Transfer: how long a replica that has nothing but its keys takes to get a state from three others, what memory that takes,
 * and how long a plain copy of as many bytes takes on the same machine in the same minute.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Filling, fillState, forgetBeginning, replicaStatus } from './fill.ts';
import { linePlot, type Panel } from './line-plot.ts';
import { measurePlainCopy, type PlainCopy } from './plain-copy.ts';
import { benchPath, ProcessCluster } from './process-cluster.ts';
import { cpuSecondsOf, ownBytesOf, peakResidentBytesOf } from './process-usage.ts';

/** How far it was at one moment. */
export interface TransferSample {
  /** From the start of its process. */
  readonly seconds: number;
  readonly phase: string;
  /** Of the state, verified. */
  readonly megabytes: number;
  readonly residentMegabytes: number;
  /** Of these: all but the pages of the state's file that the system keeps mapped while nobody else wants the memory. */
  readonly ownMegabytes: number;
}

export interface TransferMeasurement extends Filling {
  readonly name: string;
  /** Of the service: keys and encoded values. */
  readonly stateSizeBytes: number;
  /** Of parts that were asked for, with all that goes with the entries. */
  readonly bytesReceived: number;
  /** From when it began to look for a checkpoint to when all of it was durable. */
  readonly fetchMs: number;
  /** Of these, until it had found one: it waits for what all replicas offer. */
  readonly lookMs: number;
  /** From the start of its process until it had executed all that the others had when it was started. */
  readonly backMs: number;
  readonly stateMegabytesPerSecond: number;
  /** Of the replica that fetches; and of one that serves, over its whole life. */
  readonly peakResidentMegabytes: number;
  readonly servingPeakResidentMegabytes: number;
  /** The most that any sample has of the replica that fetches. */
  readonly peakOwnMegabytes: number;
  /** Processor seconds while it fetched: of the replica that fetches, and of the three others together. */
  readonly fetchingCpuSeconds: number;
  readonly servingCpuSeconds: number;
  readonly plainCopy: PlainCopy;
  /** Time of the transfer as a multiple of that of the plain copy that is synced to disk. */
  readonly timesPlainCopy: number;
  readonly samples: readonly TransferSample[];
}

const fetching = 3;
const serving = [0, 1, 2];
const withinMs = 1_200_000;

export async function measureTransfer(
  name: string,
  filling: Filling,
  { basePort }: { readonly basePort?: number | undefined },
): Promise<TransferMeasurement> {
  const cluster = await ProcessCluster.start({
    service: join(benchPath, 'fillable-kv.js'),
    checkpointIntervalMs: 1_000,
    basePort,
    stderr: 'kept',
    replicaOptions: ['--retain-blocks', '0', '--log-level', 'info'],
  });
  try {
    await fillState(cluster, filling);
    await cluster.terminate(fetching);
    await forgetBeginning(cluster, serving);
    for (const part of ['log', 'state', join('keys', 'share.sealed')]) {
      await rm(join(cluster.homeOf(fetching), part), { recursive: true, force: true });
    }
    const target = (await replicaStatus(cluster, 0))?.commitIndex ?? 0;
    const saidBefore = (await cluster.saidBy(fetching)).length;
    const servingCpuBefore = cpuOf(cluster, serving);
    const beganAtMs = performance.now();
    cluster.restart(fetching);
    const samples = await watchFetching(cluster, target);
    const backMs = performance.now() - beganAtMs;
    const servingCpuSeconds = cpuOf(cluster, serving) - servingCpuBefore;
    const { tookMs: fetchMs, bytesReceived } = await fetchedBy(cluster, saidBefore);
    const { stateSizeBytes = 0 } = (await replicaStatus(cluster, fetching)) ?? {};
    const plainCopy = await measurePlainCopy(bytesReceived);
    return {
      name,
      ...filling,
      stateSizeBytes,
      bytesReceived,
      fetchMs,
      lookMs: lookMsOf(samples),
      backMs,
      stateMegabytesPerSecond: stateSizeBytes / 1_000 / fetchMs,
      peakResidentMegabytes: peakResidentBytesOf(cluster.pidOf(fetching)) / 1e6,
      servingPeakResidentMegabytes: Math.max(...serving.map((i) => peakResidentBytesOf(cluster.pidOf(i)))) / 1e6,
      peakOwnMegabytes: Math.max(...samples.map(({ ownMegabytes }) => ownMegabytes)),
      fetchingCpuSeconds: cpuSecondsOf(cluster.pidOf(fetching)),
      servingCpuSeconds,
      plainCopy,
      timesPlainCopy: fetchMs / plainCopy.toDiskMs,
      samples: everyNth(samples, 400),
    };
  } finally {
    await cluster.destroy();
  }
}

/** Resolves when the replica runs and has executed up to the commit. */
async function watchFetching(cluster: ProcessCluster, target: number): Promise<readonly TransferSample[]> {
  const samples: TransferSample[] = [];
  const beganAtMs = performance.now();
  for (const endMs = beganAtMs + withinMs; ; await sleep(50)) {
    const status = await replicaStatus(cluster, fetching);
    if (status !== undefined) {
      const { phase, sizeBytes } = status.transfer ?? { phase: status.phase, sizeBytes: status.stateSizeBytes };
      const seconds = (performance.now() - beganAtMs) / 1_000;
      const pid = cluster.pidOf(fetching);
      samples.push({
        seconds,
        phase,
        megabytes: sizeBytes / 1e6,
        residentMegabytes: status.residentBytes / 1e6,
        ownMegabytes: ownBytesOf(pid) / 1e6,
      });
      if (status.phase === 'running' && status.commitIndex >= target) return samples;
    }
    if (performance.now() > endMs || cluster.pidOf(fetching) === 0) {
      throw new Error(`the replica did not get its state: ${(await cluster.saidBy(fetching)).slice(-2_000)}`);
    }
  }
}

function lookMsOf(samples: readonly TransferSample[]): number {
  const looking = samples.filter(({ phase }) => phase === 'looking').map(({ seconds }) => seconds);
  return looking.length === 0 ? 0 : (Math.max(...looking) - Math.min(...looking)) * 1_000;
}

/** At most so many, the last one among them. */
function everyNth(samples: readonly TransferSample[], max: number): readonly TransferSample[] {
  const step = Math.ceil(samples.length / max);
  return samples.filter((_, index) => (samples.length - 1 - index) % step === 0);
}

/** What the replica said of its fetching: one line each time, of which there may be several. */
async function fetchedBy(
  cluster: ProcessCluster,
  saidBefore: number,
): Promise<{ readonly tookMs: number; readonly bytesReceived: number }> {
  const said = (await cluster.saidBy(fetching)).slice(saidBefore).split('\n');
  const lines = said.filter((line) => line.includes('"the state is fetched"'));
  const fetches = lines.map((line) => JSON.parse(line) as { readonly tookMs: number; readonly bytesReceived: number });
  if (fetches.length === 0) throw new Error('the replica came back without fetching its state');
  return {
    tookMs: fetches.reduce((sum, { tookMs }) => sum + tookMs, 0),
    bytesReceived: fetches.reduce((sum, fetch) => sum + fetch.bytesReceived, 0),
  };
}

function cpuOf(cluster: ProcessCluster, indexes: readonly number[]): number {
  return indexes.reduce((sum, index) => sum + cpuSecondsOf(cluster.pidOf(index)), 0);
}

export function describeTransfer(measured: TransferMeasurement): string {
  const { plainCopy } = measured;
  const copyPerSecond = (ms: number): string => (plainCopy.sizeBytes / 1_000 / ms).toFixed(0);
  return (
    `${measured.name}: ${measured.entries} entries of ${measured.valueSizeBytes} B, ${(measured.stateSizeBytes / 1e6).toFixed(0)} MB: ` +
    `fetched in ${(measured.fetchMs / 1_000).toFixed(2)} s (${measured.stateMegabytesPerSecond.toFixed(1)} MB/s; ${(measured.lookMs / 1_000).toFixed(2)} s of it looking), ` +
    `back after ${(measured.backMs / 1_000).toFixed(2)} s; peak ${measured.peakResidentMegabytes.toFixed(0)} MB resident, ${measured.peakOwnMegabytes.toFixed(0)} without mapped files; ` +
    `plain copy ${copyPerSecond(plainCopy.toMemoryMs)} MB/s, to disk ${copyPerSecond(plainCopy.toDiskMs)} MB/s: ` +
    `${measured.timesPlainCopy.toFixed(1)} times as long; CPU s ${measured.fetchingCpuSeconds.toFixed(1)} fetching, ` +
    `${measured.servingCpuSeconds.toFixed(1)} serving`
  );
}

export function plotTransfer(measured: TransferMeasurement): string {
  const line = (name: string, of: (sample: TransferSample) => number): Panel['lines'][number] => ({
    name,
    points: measured.samples.map((sample) => [sample.seconds, of(sample)] as const),
  });
  return linePlot({
    title: `An empty home gets a state of ${(measured.stateSizeBytes / 1e9).toFixed(2)} GB`,
    subtitle: `${measured.entries.toLocaleString('en')} values of ${measured.valueSizeBytes} B from three replicas on the same machine`,
    xLabel: 'seconds after its process was started',
    panels: [
      { yLabel: 'verified, MB', lines: [line('state', ({ megabytes }) => megabytes)] },
      {
        yLabel: 'memory of the process, MB',
        lines: [
          line('resident', ({ residentMegabytes }) => residentMegabytes),
          line('without mapped files', ({ ownMegabytes }) => ownMegabytes),
        ],
      },
    ],
  });
}
