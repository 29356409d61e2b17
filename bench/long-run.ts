/**
 * Long run: what disk and memory of each replica do while a cluster executes millions of operations on the same few keys.
 *
 * The disk is asked, not the replica: allocated bytes of the files of its log and of its state; memory as the system counts it.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { linePlot, type Panel } from './line-plot.ts';
import { ProcessCluster } from './process-cluster.ts';
import { residentBytesOf } from './process-usage.ts';

export interface LongRunSample {
  readonly seconds: number;
  readonly operations: number;
  /** By replica. */
  readonly blocksMegabytes: readonly number[];
  readonly stateMegabytes: readonly number[];
  readonly residentMegabytes: readonly number[];
}

export interface LongRun {
  readonly operations: number;
  readonly failures: number;
  readonly seconds: number;
  readonly operationsPerSecond: number;
  readonly callers: number;
  readonly keys: number;
  readonly valueSizeBytes: number;
  readonly checkpointIntervalMs: number;
  readonly replicaOptions: readonly string[];
  readonly samples: readonly LongRunSample[];
}

/** Callers on one session take turns within its window. */
const clientCount = 2;
const callers = 400;
const keys = 10_000;
const valueSizeBytes = 100;
const checkpointIntervalMs = 2_000;
const replicaOptions = ['--retain-blocks', '16', '--retain-leaves', '100000'];
const samplesWanted = 400;

export async function measureLongRun(
  { operations, basePort }: { readonly operations: number; readonly basePort: number | undefined },
  report: (line: string) => void,
): Promise<LongRun> {
  const cluster = await ProcessCluster.start({ basePort, checkpointIntervalMs, replicaOptions, stderr: 'inherit' });
  const clients: Client[] = [];
  try {
    const genesis = await cluster.genesis();
    for (let i = 0; i < clientCount; i++) clients.push(await connect({ genesis, deadlineMs: 60_000 }));
    const beganAtMs = performance.now();
    let begun = 0;
    let done = 0;
    let failures = 0;
    const call = async (caller: number): Promise<void> => {
      const store = clients[caller % clients.length]?.of(kv);
      while (begun < operations) {
        const number = begun++;
        try {
          await store?.put({ key: `key/${number % keys}`, value: `${number}`.padEnd(valueSizeBytes, '.') });
          done += 1;
        } catch {
          failures += 1;
        }
      }
    };
    const samples: LongRunSample[] = [];
    let isOver = false;
    const watch = async (): Promise<void> => {
      let nextReport = 0;
      while (!isOver) {
        const sample = await sampleOf(cluster, (performance.now() - beganAtMs) / 1_000, done);
        samples.push(sample);
        if (done >= nextReport) {
          report(describeSample(sample));
          nextReport = done + operations / 10;
        }
        await sleep(1_000);
      }
    };
    const watching = watch();
    await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
    const seconds = (performance.now() - beganAtMs) / 1_000;
    isOver = true;
    await watching;
    const last = await sampleOf(cluster, seconds, done);
    report(describeSample(last));
    const step = Math.ceil(samples.length / samplesWanted);
    return {
      operations: done,
      failures,
      seconds,
      operationsPerSecond: done / seconds,
      callers,
      keys,
      valueSizeBytes,
      checkpointIntervalMs,
      replicaOptions,
      samples: [...samples.filter((_, index) => index % step === 0), last],
    };
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await cluster.destroy();
  }
}

async function sampleOf(cluster: ProcessCluster, seconds: number, operations: number): Promise<LongRunSample> {
  const indexes = Array.from({ length: cluster.size }, (_, index) => index);
  const megabytesOf = (part: string): Promise<number[]> =>
    Promise.all(indexes.map(async (index) => (await allocatedBytesOf(join(cluster.homeOf(index), part))) / 1e6));
  return {
    seconds,
    operations,
    blocksMegabytes: await megabytesOf('log'),
    stateMegabytes: await megabytesOf('state'),
    residentMegabytes: indexes.map((index) => residentBytesOf(cluster.pidOf(index)) / 1e6),
  };
}

/** Of all files in a directory; one that goes meanwhile counts nothing. */
export async function allocatedBytesOf(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true }).catch(() => []);
  const blocks = await Promise.all(
    names.map((name) =>
      stat(join(directory, name)).then(
        (each) => each.blocks,
        () => 0,
      ),
    ),
  );
  return blocks.reduce((sum, each) => sum + each * 512, 0);
}

export function plotLongRun(run: LongRun): string {
  const lines = (of: (sample: LongRunSample) => readonly number[]): Panel['lines'] =>
    (run.samples[0] === undefined ? [] : of(run.samples[0])).map((_, index) => ({
      name: `r${index}`,
      points: run.samples.map((sample) => [sample.operations / 1e6, of(sample)[index] ?? 0] as const),
    }));
  const rates = run.samples.slice(1).map((sample, index) => {
    const { operations = 0, seconds = 0 } = run.samples[index] ?? {};
    return [
      sample.operations / 1e6,
      (sample.operations - operations) / Math.max(0.1, sample.seconds - seconds),
    ] as const;
  });
  return linePlot({
    title: `${(run.operations / 1e6).toFixed(2)} million operations on ${run.keys.toLocaleString('en')} keys`,
    subtitle: `4 replicas, ${run.replicaOptions.join(' ')}, a checkpoint each ${run.checkpointIntervalMs / 1_000} s; ${Math.round(run.seconds)} s`,
    xLabel: 'million operations',
    panels: [
      { yLabel: 'blocks on disk, MB', lines: lines((sample) => sample.blocksMegabytes) },
      { yLabel: 'state on disk, MB', lines: lines((sample) => sample.stateMegabytes) },
      { yLabel: 'resident memory, MB', lines: lines((sample) => sample.residentMegabytes) },
      { yLabel: 'operations/s', lines: [{ name: 'all callers', points: rates }] },
    ],
  });
}

function describeSample(sample: LongRunSample): string {
  const each = (values: readonly number[]): string => values.map((value) => value.toFixed(0)).join(' ');
  return (
    `long run, ${sample.operations} operations, ${sample.seconds.toFixed(0)} s: MB of blocks ${each(sample.blocksMegabytes)}, ` +
    `of state ${each(sample.stateMegabytes)}, resident ${each(sample.residentMegabytes)}`
  );
}
