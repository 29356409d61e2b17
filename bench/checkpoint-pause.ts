/**
 * Checkpoint pause: how long the callers of a cluster see no commit, with a checkpoint a second and with as few as there can be.
 *
 * Two clusters take turns, a few seconds each, so that whatever else the machine does meets both. The longest time in which
 * no caller had a result bounds the longest between two commits from above: it has the way to the callers in it, and the
 * callers' own process.
 */
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { fillState, replicaStatus } from './fill.ts';
import { filledKey } from './fillable-kv.ts';
import { benchPath, ProcessCluster } from './process-cluster.ts';

export interface PauseWindow {
  readonly checkpoints: 'each second' | 'rare';
  readonly seconds: number;
  readonly operations: number;
  readonly failures: number;
  /** Different checkpoints that the first replica was seen to have stored. */
  readonly checkpointsTaken: number;
  /** The longest times between two results of any callers, longest first. */
  readonly longestGapsMs: readonly number[];
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The longest that the callers' own process was held. */
  readonly ownStallMs: number;
}

export interface PauseMeasurement {
  readonly callers: number;
  readonly keys: number;
  readonly valueSizeBytes: number;
  readonly windows: readonly PauseWindow[];
}

const callers = 64;
/** So that more than one replica is asked. */
const clientCount = 4;
const valueSizeBytes = 100;
/** Entries that are written to, spread over all: fewer than make a checkpoint due before its time. */
const writtenKeys = 20_000;
const warmUpMs = 3_000;
const intervals = { 'each second': 1_000, rare: 3_600_000 } as const;

interface Side {
  readonly checkpoints: PauseWindow['checkpoints'];
  readonly cluster: ProcessCluster;
  readonly clients: readonly Client[];
}

export async function measureCheckpointPause(
  {
    keys,
    seconds,
    turns,
    basePort,
  }: {
    readonly keys: number;
    readonly seconds: number;
    readonly turns: number;
    readonly basePort?: number | undefined;
  },
  report: (line: string) => void,
): Promise<PauseMeasurement> {
  const sides: Side[] = [];
  const windows: PauseWindow[] = [];
  try {
    for (const checkpoints of ['each second', 'rare'] as const) {
      // The ports of one cluster lie within 300.
      const port = basePort === undefined ? undefined : basePort + 300 * sides.length;
      sides.push(await startSide(checkpoints, keys, port));
    }
    for (const side of sides) await runWindow(side, keys, warmUpMs);
    for (let turn = 0; turn < turns; turn++) {
      for (const side of sides) {
        const window = await runWindow(side, keys, seconds * 1_000);
        windows.push(window);
        report(describeWindow(window));
      }
    }
    return { callers, keys, valueSizeBytes, windows };
  } finally {
    for (const { clients, cluster } of sides) {
      await Promise.all(clients.map((client) => client.close()));
      await cluster.destroy();
    }
  }
}

async function startSide(
  checkpoints: PauseWindow['checkpoints'],
  keys: number,
  basePort: number | undefined,
): Promise<Side> {
  const cluster = await ProcessCluster.start({
    service: join(benchPath, 'fillable-kv.js'),
    checkpointIntervalMs: intervals[checkpoints],
    basePort,
    stderr: 'inherit',
  });
  try {
    await fillState(cluster, { entries: keys, valueSizeBytes }, { awaitsCheckpoint: checkpoints === 'each second' });
    const genesis = await cluster.genesis();
    const clients: Client[] = [];
    for (let i = 0; i < clientCount; i++) clients.push(await connect({ genesis, deadlineMs: 30_000 }));
    return { checkpoints, cluster, clients };
  } catch (error) {
    await cluster.destroy();
    throw error;
  }
}

async function runWindow(side: Side, keys: number, lengthMs: number): Promise<PauseWindow> {
  const { checkpoints, cluster, clients } = side;
  const value = 'v'.repeat(valueSizeBytes);
  const written = Math.min(keys, writtenKeys);
  const latencies: number[] = [];
  const gaps: number[] = [];
  let failures = 0;
  const own = monitorEventLoopDelay({ resolution: 1 });
  const watching = new AbortController();
  const stored = storedCheckpoints(cluster, watching.signal);
  own.enable();
  const beganAtMs = performance.now();
  const endMs = beganAtMs + lengthMs;
  let lastMs: number | undefined;
  const call = async (caller: number): Promise<void> => {
    const store = clients[caller % clients.length]?.of(kv);
    for (;;) {
      const askedAtMs = performance.now();
      if (askedAtMs >= endMs) return;
      const key = filledKey(Math.floor(Math.random() * written) * Math.floor(keys / written));
      try {
        await store?.put({ key, value });
        const nowMs = performance.now();
        latencies.push(nowMs - askedAtMs);
        // Before the first result all callers only begin; after the end fewer and fewer ask.
        if (lastMs !== undefined && nowMs < endMs) gaps.push(nowMs - lastMs);
        lastMs = nowMs;
      } catch {
        failures += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  own.disable();
  watching.abort();
  const sorted = Float64Array.from(latencies).sort();
  const percentile = (percent: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
  return {
    checkpoints,
    seconds: lengthMs / 1_000,
    operations: latencies.length,
    failures,
    checkpointsTaken: await stored,
    longestGapsMs: gaps.sort((a, b) => b - a).slice(0, 5),
    p50Ms: percentile(50),
    p99Ms: percentile(99),
    maxMs: sorted.at(-1) ?? Number.NaN,
    ownStallMs: own.max / 1e6,
  };
}

/** How many the first replica stored until the signal, as its status shows them; it is asked four times a second. */
async function storedCheckpoints(cluster: ProcessCluster, signal: AbortSignal): Promise<number> {
  const seen = new Set<number>();
  while (!signal.aborted) {
    const status = await replicaStatus(cluster, 0);
    if (status !== undefined) seen.add(status.checkpointCommitIndex);
    await sleep(250, undefined, { signal }).catch(() => undefined);
  }
  return seen.size - 1;
}

function describeWindow(window: PauseWindow): string {
  const name = `checkpoint pause, checkpoints ${window.checkpoints} (${window.checkpointsTaken} in ${window.seconds} s)`;
  const [longest = Number.NaN, second = Number.NaN] = window.longestGapsMs;
  const failed = window.failures === 0 ? '' : `  ${window.failures} FAILED`;
  return (
    `${name.padEnd(60)} no commit seen for ${longest.toFixed(1)} ms at most, then ${second.toFixed(1)}; ` +
    `calls p50 ${window.p50Ms.toFixed(1)}, p99 ${window.p99Ms.toFixed(1)}, max ${window.maxMs.toFixed(1)} ms; ` +
    `${(window.operations / window.seconds).toFixed(0)} ops/s; own process held ${window.ownStallMs.toFixed(1)} ms${failed}`
  );
}
