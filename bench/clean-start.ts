/**
 * Clean start: how long a replica with a large state is away that is made clean as its keeper does it: killed, its home cleaned, and
 * started on the state that is there, which is a cache to be verified. And how long until the next epoch gives it keys.
 */
import { join } from 'node:path';
import { connect } from 'coterie/client';
import { doHomeWork } from '../src/keeper/home-work.ts';
import { endEpoch, statusWhere } from './epoch-watch.ts';
import { type Filling, fillState, replicaStatus } from './fill.ts';
import { serviceKeyOf } from './load.ts';
import { benchPath, ProcessCluster } from './process-cluster.ts';
import { cpuSecondsOf, ownBytesOf } from './process-usage.ts';

export interface CleanStart extends Filling {
  /** Of the service: keys and encoded values. */
  readonly stateSizeBytes: number;
  readonly engineSizeBytes: number;
  /** To clean the home while no process runs. */
  readonly cleaningMs: number;
  /** From the start of its process until it answers: it has verified all of its state by then. */
  readonly answersMs: number;
  /** From there until it has executed all that the others have. */
  readonly catchingUpMs: number;
  /** From the request for the next epoch until it has keys, and its share, in it. */
  readonly keysMs: number;
  /** Did it fetch state from the others, or was its own good? */
  readonly isFetched: boolean;
  /** Of the process, until it had caught up. */
  readonly cpuSeconds: number;
  readonly ownMegabytes: number;
}

const cleaned = 3;

export async function measureCleanStart(
  filling: Filling,
  { basePort }: { readonly basePort?: number | undefined },
): Promise<CleanStart> {
  const cluster = await ProcessCluster.start({
    service: join(benchPath, 'fillable-kv.js'),
    checkpointIntervalMs: 1_000,
    basePort,
    stderr: 'kept',
    replicaOptions: ['--retain-blocks', '0', '--log-level', 'info'],
  });
  try {
    await fillState(cluster, filling);
    await cluster.kill(cleaned);
    const killedAtMs = performance.now();
    await doHomeWork({ home: cluster.homeOf(cleaned), look: false, putBack: null, serviceKey: null, clean: true });
    const startedAtMs = performance.now();
    const target = (await replicaStatus(cluster, 0))?.commitIndex ?? 0;
    const saidBefore = (await cluster.saidBy(cleaned)).length;
    cluster.restart(cleaned);
    await statusWhere(cluster, cleaned, () => true);
    const answeredAtMs = performance.now();
    const status = await statusWhere(
      cluster,
      cleaned,
      (each) => each.phase === 'running' && each.commitIndex >= target,
    );
    const caughtUpAtMs = performance.now();
    const said = (await cluster.saidBy(cleaned)).slice(saidBefore);
    const pid = cluster.pidOf(cleaned);
    const cpuSeconds = cpuSecondsOf(pid);
    const ownMegabytes = ownBytesOf(pid) / 1e6;
    const keysMs = await timeToKeys(cluster);
    return {
      ...filling,
      stateSizeBytes: status.stateSizeBytes,
      engineSizeBytes: status.engineSizeBytes,
      cleaningMs: startedAtMs - killedAtMs,
      answersMs: answeredAtMs - startedAtMs,
      catchingUpMs: caughtUpAtMs - answeredAtMs,
      keysMs,
      isFetched: said.includes('"the state is fetched"'),
      cpuSeconds,
      ownMegabytes,
    };
  } finally {
    await cluster.destroy();
  }
}

async function timeToKeys(cluster: ProcessCluster): Promise<number> {
  const genesis = await cluster.genesis();
  const client = await connect({ genesis, followKey: await serviceKeyOf(genesis), deadlineMs: 60_000 });
  try {
    const askedAtMs = performance.now();
    const ended = await endEpoch(cluster, client);
    await statusWhere(cluster, cleaned, (each) => each.epoch > ended && !each.observer && each.keyState === 'ready');
    return performance.now() - askedAtMs;
  } finally {
    await client.close();
  }
}

export function describeCleanStart(measured: CleanStart): string {
  const seconds = (ms: number): string => (ms / 1_000).toFixed(2);
  return (
    `clean start, ${measured.entries} entries of ${measured.valueSizeBytes} B, ${(measured.stateSizeBytes / 1e6).toFixed(0)} MB ` +
    `(${(measured.engineSizeBytes / 1e6).toFixed(0)} on disk): cleaned in ${seconds(measured.cleaningMs)} s, answers ${seconds(measured.answersMs)} s after its start, ` +
    `has caught up ${seconds(measured.catchingUpMs)} s later${measured.isFetched ? ', STATE FETCHED' : ''}; keys ${seconds(measured.keysMs)} s after the next epoch was asked for; ` +
    `CPU s ${measured.cpuSeconds.toFixed(1)}, ${measured.ownMegabytes.toFixed(0)} MB of its own`
  );
}
