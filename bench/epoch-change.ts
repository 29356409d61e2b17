/**
 * Epoch change: how long a cluster of processes takes from one epoch to the next, and a time line of what its callers see of that, and
 * of a replica that is killed, made clean, and without keys until the next epoch. Everything on this machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { doHomeWork } from '../src/keeper/home-work.ts';
import { largestF } from '../src/membership/genesis.ts';
import { endEpoch, hasCommitOf, statusWhere } from './epoch-watch.ts';
import { ProcessCluster } from './process-cluster.ts';
import { machineCpuSeconds } from './process-usage.ts';
import { meanPerSecond, type TimeLine, TimeLineLoad } from './time-line.ts';

/** One change of a cluster with a few callers. */
export interface EpochChangeTime {
  readonly replicas: number;
  readonly f: number;
  readonly callers: number;
  /** From the request that ends the epoch until it is committed; from then on the epoch ends. */
  readonly askedMs: number;
  /** From the request until a replica was seen to pass on the service key, all new session keys being known. */
  readonly resharingAtMs: number;
  /** From the request until a replica was seen with a commit of the next epoch. */
  readonly firstCommitMs: number;
  /** The longest time in which no caller of any had a result. */
  readonly longestGapMs: number;
}

const fewCallers = 8;
const pauseMs = 1_500;

/** Several changes of one cluster, one after another. */
export async function measureEpochChanges(
  replicas: number,
  { changes, basePort }: { readonly changes: number; readonly basePort?: number | undefined },
): Promise<readonly EpochChangeTime[]> {
  const cluster = await ProcessCluster.start({ replicas, basePort, stderr: 'inherit' });
  try {
    const load = await TimeLineLoad.start(cluster, fewCallers);
    const times: EpochChangeTime[] = [];
    try {
      for (let change = 0; change < changes; change++) {
        await sleep(pauseMs);
        load.begin();
        const time = await changeOnce(cluster, load);
        await sleep(pauseMs);
        times.push({
          replicas,
          f: largestF(replicas, 0),
          callers: fewCallers,
          ...time,
          longestGapMs: load.longestGapMs,
        });
      }
    } finally {
      await load.close();
    }
    return times;
  } finally {
    await cluster.destroy();
  }
}

async function changeOnce(
  cluster: ProcessCluster,
  load: TimeLineLoad,
): Promise<Pick<EpochChangeTime, 'askedMs' | 'resharingAtMs' | 'firstCommitMs'>> {
  const beganAtMs = performance.now();
  const ended = await endEpoch(cluster, load.client);
  const askedMs = performance.now() - beganAtMs;
  const isResharing = (phase: unknown): boolean => phase === 'resharing';
  await statusWhere(cluster, 0, ({ epoch, epochState }) => epoch > ended || isResharing(epochState?.phase));
  const resharingAtMs = performance.now() - beganAtMs;
  await statusWhere(cluster, 0, hasCommitOf(ended + 1));
  return { askedMs, resharingAtMs, firstCommitMs: performance.now() - beganAtMs };
}

export interface EpochTimeLine {
  readonly timeLine: TimeLine;
  /** Operations/s in each piece between two moments, in order; the first one before the first moment. */
  readonly perSecond: readonly number[];
  /** Processors that were busy over the whole time, with everything on this machine. */
  readonly busyProcessors: number;
}

/** The one that is killed and made clean. */
const recovering = 3;

/** Two changes of epochs; between them a replica is killed and made clean, which the second one gives keys again. */
export async function measureEpochTimeLine({
  callers,
  pieceSeconds,
  basePort,
}: {
  readonly callers: number;
  readonly pieceSeconds: number;
  readonly basePort?: number | undefined;
}): Promise<EpochTimeLine> {
  const cluster = await ProcessCluster.start({ basePort, stderr: 'inherit' });
  try {
    const load = await TimeLineLoad.start(cluster, callers);
    try {
      await sleep(pieceSeconds * 2_000);
      load.begin();
      const beganAtMs = performance.now();
      const cpuBefore = machineCpuSeconds();
      await sleep(pieceSeconds * 1_000);
      await endEpochMarked(cluster, load);
      await sleep(pieceSeconds * 1_000);
      load.mark('r3 is killed and made clean');
      await cluster.kill(recovering);
      await doHomeWork({ home: cluster.homeOf(recovering), look: false, putBack: null, serviceKey: null, clean: true });
      await sleep(1_000);
      load.mark('r3 is started');
      cluster.restart(recovering);
      await statusWhere(cluster, recovering, ({ phase }) => phase === 'running');
      load.mark('r3 follows, and signs nothing');
      await sleep(pieceSeconds * 1_000);
      await endEpochMarked(cluster, load);
      await statusWhere(cluster, recovering, ({ observer, keyState }) => !observer && keyState === 'ready');
      load.mark('r3 has its keys and its share');
      await sleep(pieceSeconds * 1_000);
      const busyProcessors = (machineCpuSeconds() - cpuBefore) / ((performance.now() - beganAtMs) / 1_000);
      const timeLine = await load.finish();
      const borders = [0, ...timeLine.moments.map(({ seconds }) => seconds), Number.POSITIVE_INFINITY];
      const perSecond = borders.slice(1).map((to, index) => meanPerSecond(timeLine, borders[index] ?? 0, to));
      return { timeLine, perSecond, busyProcessors };
    } finally {
      await load.close();
    }
  } finally {
    await cluster.destroy();
  }
}

async function endEpochMarked(cluster: ProcessCluster, load: TimeLineLoad): Promise<void> {
  load.mark('the epoch is to end');
  const ended = await endEpoch(cluster, load.client);
  await statusWhere(cluster, 0, hasCommitOf(ended + 1));
  load.mark(`first commit of epoch ${ended + 1}`);
}

export function describeEpochChange(time: EpochChangeTime): string {
  return (
    `epoch change of ${time.replicas}, f = ${time.f}, ${time.callers} callers: first commit of the next epoch ${time.firstCommitMs.toFixed(0)} ms ` +
    `after it was asked for (committed after ${time.askedMs.toFixed(0)}, resharing from ${time.resharingAtMs.toFixed(0)}); ` +
    `no result for ${time.longestGapMs.toFixed(0)} ms at most`
  );
}

export function describeEpochTimeLine({ timeLine, perSecond, busyProcessors }: EpochTimeLine): string {
  const moments = timeLine.moments.map(({ seconds, name }, index) => {
    return `${seconds.toFixed(2)} s: ${name}, then ${(perSecond[index + 1] ?? 0).toFixed(0)} ops/s`;
  });
  return (
    `epoch change time line, ${timeLine.callers} callers: ${(perSecond[0] ?? 0).toFixed(0)} ops/s; ${moments.join('; ')}; ` +
    `${timeLine.operations} operations, ${timeLine.failures} failed; no result for ${timeLine.longestGapMs.toFixed(0)} ms at most ` +
    `(at ${timeLine.longestGapAtSeconds.toFixed(1)} s), longest call ${timeLine.longestMs.toFixed(0)} ms; ${busyProcessors.toFixed(2)} processors busy`
  );
}
