/**
 * Bench: measures a fresh cluster of four replica processes under closed-loop load, everything on this machine.
 *
 * Out: for each measurement operations/s, latency, CPU and memory by process; for faults a time line of throughput. All
 * of a run is one after another on one cluster per fault, so that numbers of one run compare.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { measureCheckpointPause, type PauseMeasurement } from './checkpoint-pause.ts';
import { type EpochCosts, measureEpochCosts } from './epochs.ts';
import { describeHeadCost, type HeadCost, measureHeadCosts } from './head-cost.ts';
import { type KeyGenerationTime, measureKeyGeneration } from './key-generation.ts';
import { type LoadOptions, runLoad } from './load.ts';
import { type LongRun, measureLongRun, plotLongRun } from './long-run.ts';
import { describeMachine, type Machine } from './machine.ts';
import { ProcessCluster } from './process-cluster.ts';
import { cpuSecondsOf, machineCpuSeconds, residentBytesOf } from './process-usage.ts';
import { describeRootShare, measureRootShare, type RootShare } from './root-share.ts';
import { measureStateCosts, type StateCosts } from './state.ts';
import { describeTransfer, measureTransfer, plotTransfer, type TransferMeasurement } from './transfer.ts';

export interface BenchOptions {
  readonly quick?: boolean;
  /** Length of each measurement. */
  readonly seconds?: number;
  readonly callers?: readonly number[];
  readonly valueSizes?: readonly number[];
  /** Only measurements whose name contains one of these. */
  readonly only?: readonly string[];
  /** Ranks of steady leaders, protocol parameter L. */
  readonly ranks?: number;
  /** Where the ports of its clusters begin; by default at one that is free. */
  readonly basePort?: number;
  /** Operations of the long run, which runs only when it is named. */
  readonly operations?: number;
  /** A directory for the plots of those measurements that have one. */
  readonly plots?: string;
}

/** One measurement of throughput and latency. */
export interface Measurement {
  readonly name: string;
  readonly callers: number;
  readonly identities: 'shared' | 'separate';
  readonly valueSizeBytes: number;
  readonly reply: 'quick' | 'certified';
  readonly seconds: number;
  readonly operations: number;
  readonly failures: number;
  readonly operationsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU seconds for a thousand operations, by process; the load generator is one of them. */
  readonly cpuSecondsPerThousand: Readonly<Record<string, number>>;
  readonly residentMegabytes: Readonly<Record<string, number>>;
  /** Processors that others kept busy meanwhile. Much: the rest is worth little. */
  readonly processorsOfOthers: number;
}

/** What a fault in the middle does to throughput. */
export interface FaultMeasurement {
  readonly name: string;
  readonly callers: number;
  readonly fault: 'dead' | 'stopped';
  /** Operations/s before the fault, and from one second after it on. */
  readonly beforePerSecond: number;
  readonly afterPerSecond: number;
  /** 1 - after / before; negative when it went faster. */
  readonly cost: number;
  readonly failures: number;
  /** Operations completed in each quarter of a second; the fault is at `faultAtQuarter`. */
  readonly quarters: readonly number[];
  readonly faultAtQuarter: number;
}

export interface BenchResults {
  readonly at: string;
  readonly machine: Machine;
  readonly measurements: readonly Measurement[];
  readonly faults: readonly FaultMeasurement[];
  readonly headCosts: readonly HeadCost[];
  readonly keyGenerations: readonly KeyGenerationTime[];
  readonly stateCosts?: StateCosts;
  readonly rootShare?: RootShare;
  readonly transfers: readonly TransferMeasurement[];
  readonly checkpointPause?: PauseMeasurement;
  readonly longRun?: LongRun;
  readonly epochs: EpochCosts;
}

/** Runs all measurements; `report` is told each result as a line for people. */
export async function runBench(options: BenchOptions, report: (line: string) => void): Promise<BenchResults> {
  const seconds = options.seconds ?? (options.quick ? 2 : 8);
  const machine = await describeMachine();
  report(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGigabytes} GiB; ${machine.runtime}`);
  report(`commit ${machine.commit}; 4 replicas and the load on this machine, fsync on, ${seconds} s each`);
  const wanted = (name: string): boolean =>
    options.only === undefined || options.only.some((word) => name.includes(word));
  const measurements: Measurement[] = [];
  const loads = loadsOf(options).filter(({ name }) => wanted(name));
  if (loads.length > 0) {
    const cluster = await startWarmCluster(options);
    try {
      report(
        `${'measurement'.padEnd(40)}${'ops/s'.padStart(9)}${'p50 ms'.padStart(9)}${'p99 ms'.padStart(9)}  CPU s/1000 ops, MB, processors of others`,
      );
      for (const { name, load } of loads) {
        const measured = await measure(cluster, name, { ...load, seconds });
        measurements.push(measured);
        report(lineOf(measured));
      }
    } finally {
      await cluster.destroy();
    }
  }
  const faults: FaultMeasurement[] = [];
  for (const fault of options.quick ? (['dead'] as const) : (['dead', 'stopped'] as const)) {
    const name = `one replica ${fault}`;
    if (!wanted(name)) continue;
    const measured = await measureFault(name, fault, seconds, options);
    faults.push(measured);
    const percent = (measured.cost * 100).toFixed(0);
    report(
      `${name}, 64 callers: ${measured.beforePerSecond.toFixed(0)} ops/s before, ` +
        `${measured.afterPerSecond.toFixed(0)} from 1 s after it: costs ${percent} % (${measured.failures} failed)`,
    );
    report(`  per quarter second: ${measured.quarters.join(' ')} (fault at ${measured.faultAtQuarter})`);
  }
  const headCosts = wanted('head cost') ? measureHeadCosts() : [];
  for (const cost of headCosts) report(describeHeadCost(cost));
  const keyGenerations: KeyGenerationTime[] = [];
  for (const replicas of options.quick ? [4] : [4, 7, 13]) {
    if (!wanted(`key generation ${replicas}`)) continue;
    const time = await measureKeyGeneration(replicas);
    keyGenerations.push(time);
    report(
      `key generation, n = ${replicas}, f = ${time.f}: every replica has the key ${time.ms.toFixed(0)} ms after all were up`,
    );
  }
  const state = await measureState(options, wanted, report);
  const epochs = await measureEpochCosts(options, wanted, report);
  return { at: machine.at, machine, measurements, faults, headCosts, keyGenerations, ...state, epochs };
}

/** What the state costs, alone and in a cluster. */
async function measureState(
  options: BenchOptions,
  wanted: (name: string) => boolean,
  report: (line: string) => void,
): Promise<Pick<BenchResults, 'stateCosts' | 'rootShare' | 'transfers' | 'checkpointPause' | 'longRun'>> {
  const { quick, basePort, operations = 2_000_000 } = options;
  const isNamed = (name: string): boolean => options.only !== undefined && wanted(name);
  const stateCosts = wanted('state')
    ? await measureStateCosts(quick ? [10_000] : [10_000, 1_000_000], report)
    : undefined;
  const shared = {
    callers: 64,
    ...(quick ? { entries: 5_000, seconds: 2 } : { entries: 200_000, seconds: 10 }),
    basePort,
  };
  const rootShare = wanted('state under load') ? await measureRootShare(shared) : undefined;
  if (rootShare !== undefined) report(describeRootShare(rootShare));
  const transfers: TransferMeasurement[] = [];
  for (const filling of quick ? quickFillings : fillings) {
    const name = `transfer of ${filling.entries} x ${filling.valueSizeBytes} B`;
    if (!wanted(name)) continue;
    transfers.push(await measureTransfer(name, filling, { basePort }));
  }
  if (isNamed(emptyHome)) {
    const measured = await measureTransfer(emptyHome, twoGigabytes, { basePort });
    transfers.push(measured);
    await plot(options, 'empty-home', plotTransfer(measured));
  }
  for (const measured of transfers) report(describeTransfer(measured));
  const pause = quick ? { keys: 5_000, seconds: 2, turns: 1 } : { keys: 200_000, seconds: 10, turns: 4 };
  const checkpointPause = wanted('checkpoint pause')
    ? await measureCheckpointPause({ ...pause, basePort }, report)
    : undefined;
  const longRun = isNamed('long run') ? await measureLongRun({ operations, basePort }, report) : undefined;
  if (longRun !== undefined) await plot(options, 'long-run', plotLongRun(longRun));
  return {
    ...(stateCosts === undefined ? {} : { stateCosts }),
    ...(rootShare === undefined ? {} : { rootShare }),
    transfers,
    ...(checkpointPause === undefined ? {} : { checkpointPause }),
    ...(longRun === undefined ? {} : { longRun }),
  };
}

async function plot({ plots }: BenchOptions, name: string, svg: string): Promise<void> {
  if (plots === undefined) return;
  await mkdir(plots, { recursive: true });
  await writeFile(join(plots, `${name}.svg`), svg);
}

/** Runs only when it is named: it writes more than 10 GB. */
const emptyHome = 'empty home';
const twoGigabytes = { entries: 500_000, valueSizeBytes: 4_096 };
const quickFillings = [{ entries: 5_000, valueSizeBytes: 1_024 }];
const fillings = [
  { entries: 200_000, valueSizeBytes: 100 },
  { entries: 100_000, valueSizeBytes: 4_096 },
];

function loadsOf(
  options: BenchOptions,
): readonly { readonly name: string; readonly load: Omit<LoadOptions, 'seconds'> }[] {
  const callersList = options.callers ?? (options.quick ? [1, 200] : [1, 8, 64, 200]);
  const sizes = options.valueSizes ?? (options.quick ? [16] : [16, 1024]);
  return sizes.flatMap((valueSizeBytes) =>
    callersList.flatMap((callers) =>
      (callers === 1 ? (['shared'] as const) : (['shared', 'separate'] as const)).flatMap((identities) =>
        // Side by side, so that they compare; separate identities are bound by their signatures either way.
        (identities === 'shared' ? (['quick', 'certified'] as const) : (['quick'] as const)).map((reply) => ({
          name: `${callers} callers ${identities} ${valueSizeBytes} B ${reply}`,
          load: { callers, identities, valueSizeBytes, reply },
        })),
      ),
    ),
  );
}

async function measure(cluster: ProcessCluster, name: string, load: LoadOptions): Promise<Measurement> {
  const processes = processesOf(cluster);
  let cpuBefore: Record<string, number> = {};
  let machineBefore = 0;
  const result = await runLoad(cluster.clusterDirectory, load, {
    onMeasuring: () => {
      cpuBefore = mapValues(processes, cpuSecondsOf);
      machineBefore = machineCpuSeconds();
    },
  });
  const cpuAfter = mapValues(processes, cpuSecondsOf);
  const machineSeconds = machineCpuSeconds() - machineBefore;
  const usedBy = (process: string): number => (cpuAfter[process] ?? 0) - (cpuBefore[process] ?? 0);
  const own = Object.keys(processes).reduce((sum, process) => sum + usedBy(process), 0);
  const thousands = Math.max(1, result.operations) / 1_000;
  return {
    name,
    ...load,
    operations: result.operations,
    failures: result.failures,
    operationsPerSecond: result.operations / load.seconds,
    p50Ms: result.percentileMs(50),
    p99Ms: result.percentileMs(99),
    cpuSecondsPerThousand: Object.fromEntries(Object.keys(processes).map((each) => [each, usedBy(each) / thousands])),
    residentMegabytes: mapValues(processes, (pid) => residentBytesOf(pid) / 2 ** 20),
    processorsOfOthers: Math.max(0, machineSeconds - own) / load.seconds,
  };
}

async function measureFault(
  name: string,
  fault: 'dead' | 'stopped',
  seconds: number,
  options: BenchOptions,
): Promise<FaultMeasurement> {
  const callers = 64;
  const beforeSeconds = Math.max(2, Math.ceil(seconds / 2));
  const afterSeconds = Math.max(4, seconds);
  const cluster = await startWarmCluster(options);
  try {
    const load: LoadOptions = {
      callers,
      identities: 'shared',
      valueSizeBytes: 16,
      reply: 'quick',
      seconds: beforeSeconds + afterSeconds,
    };
    const result = await runLoad(cluster.clusterDirectory, load, {
      onMeasuring: () => {
        setTimeout(() => strike(cluster, fault), beforeSeconds * 1_000);
      },
    });
    const faultAtQuarter = beforeSeconds * 4;
    const before = mean(result.quarters.slice(0, faultAtQuarter)) * 4;
    const after = mean(result.quarters.slice(faultAtQuarter + 4)) * 4;
    return {
      name,
      callers,
      fault,
      beforePerSecond: before,
      afterPerSecond: after,
      cost: 1 - after / before,
      failures: result.failures,
      quarters: result.quarters,
      faultAtQuarter,
    };
  } finally {
    await cluster.destroy();
  }
}

/**
 * A cluster whose processes have compiled what they run often: a runtime takes tens of thousands of operations to get
 * there, which a server that runs for months does not notice and a benchmark of seconds measures.
 */
async function startWarmCluster({ ranks, quick, basePort }: BenchOptions): Promise<ProcessCluster> {
  const cluster = await ProcessCluster.start({
    basePort,
    stderr: 'inherit',
    ...(ranks === undefined ? {} : { ranks }),
  });
  const seconds = quick ? 1 : 5;
  for (const identities of quick ? (['shared'] as const) : (['separate', 'shared'] as const)) {
    for (const reply of quick ? (['quick'] as const) : (['quick', 'certified'] as const)) {
      const load = { callers: 100, identities, valueSizeBytes: 16, reply, seconds };
      await runLoad(cluster.clusterDirectory, load, { onMeasuring: () => undefined });
    }
  }
  return cluster;
}

function strike(cluster: ProcessCluster, fault: 'dead' | 'stopped'): void {
  if (fault === 'stopped') cluster.freeze(1);
  else void cluster.kill(1);
}

/** Pids by name; the load generator is this very process. */
function processesOf(cluster: ProcessCluster): Record<string, number> {
  const replicas = Array.from({ length: cluster.size }, (_, index) => [`r${index}`, cluster.pidOf(index)] as const);
  return Object.fromEntries([...replicas, ['load', process.pid]]);
}

function lineOf(measured: Measurement): string {
  const cpu = Object.entries(measured.cpuSecondsPerThousand).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  const resident = Object.entries(measured.residentMegabytes).map(([name, value]) => `${name} ${value.toFixed(0)}`);
  const failed = measured.failures === 0 ? '' : `  ${measured.failures} FAILED`;
  return (
    measured.name.padEnd(40) +
    measured.operationsPerSecond.toFixed(0).padStart(9) +
    measured.p50Ms.toFixed(2).padStart(9) +
    measured.p99Ms.toFixed(2).padStart(9) +
    `  ${cpu.join(' ')} | MB ${resident.join(' ')} | others ${measured.processorsOfOthers.toFixed(2)}${failed}`
  );
}

function mapValues<T>(record: Readonly<Record<string, number>>, each: (value: number) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, each(value)]));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
