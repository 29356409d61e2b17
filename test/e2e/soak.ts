/**
 * Soak: a cluster of real processes under everything at once that it must bear: load, epochs that end every few seconds, replicas that are killed,
 * sleep or are made clean in turn, and, where f leaves room for it, one that lies to everybody all the time.
 *
 * Out: what happened, in numbers, and what must not have: a history of the clients that no order explains, a call that failed, a correct replica
 * that is diverged, ended by itself or did not come back, another service key, states that differ, a cluster that stands still, memory or disk that
 * grow. With one seed the same troubles are drawn; when they strike is up to the machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'coterie/client';
import { allocatedBytesOf } from '../../bench/long-run.ts';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { residentBytesOf } from '../../bench/process-usage.ts';
import { Prng } from '../../simulator/prng.ts';
import { KvLoad } from './kv-load.ts';
import { SoakKeepers } from './soak-keepers.ts';
import { SoakTroubles, type Trouble } from './soak-troubles.ts';
import { awaited, SoakWatch, statusByHttp } from './soak-watch.ts';

export interface SoakOptions {
  readonly seed: number;
  readonly forMs: number;
  /** It lasts until there have been so many, too. */
  readonly epochsMin: number;
  readonly epochIntervalMs: number;
  readonly replicas: number;
  readonly f: number;
  readonly k: number;
  /** One of them lies. */
  readonly hasLiar: boolean;
  /** Each of them has a keeper of its own, which makes it clean in its turn; then nobody lies. */
  readonly hasKeepers?: boolean;
  readonly basePort?: number | undefined;
  readonly say: (line: string) => void;
}

export interface SoakReport {
  readonly violations: readonly string[];
  readonly seconds: number;
  readonly epochs: number;
  readonly calls: number;
  readonly proven: number;
  readonly operationsChecked: number;
  readonly troubles: Readonly<Record<Trouble, number>>;
  readonly liar: number | undefined;
  /** By replica: early in the run and at its end. */
  readonly memoryMegabytes: readonly Usage[];
  readonly diskMegabytes: readonly Usage[];
  /** What each replica wrote to stderr. */
  readonly said: readonly string[];
}

export interface Usage {
  readonly replicaId: string;
  readonly early: number;
  readonly late: number;
}

/** Without a call returned, or an epoch begun, for so long the cluster stands still. */
const stallMs = 90_000;
const keyWithinMs = 60_000;
/** A clean start, on a machine with other work. */
const keptSuccessorWaitMs = 20_000;
const lookIntervalMs = 1_000;
/** A run that is shorter says nothing about what grows. */
const growthSamplesMin = 240;

interface Sample {
  readonly index: number;
  readonly memory: number;
  readonly disk: number;
}

export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { seed, replicas, f, k, hasLiar, hasKeepers = false, say } = options;
  const prng = new Prng(seed);
  const liar = hasLiar && !hasKeepers ? prng.below(replicas) : undefined;
  const indexes = Array.from({ length: replicas }, (_, index) => index);
  const correct = indexes.filter((index) => index !== liar);
  const cluster = hasKeepers ? await startKept(options) : await startPlain(options, liar);
  let load: KvLoad | undefined;
  let troubles: SoakTroubles | undefined;
  try {
    const [first = 0] = correct;
    const isThere = await awaited(
      () => statusByHttp(cluster, first),
      (status) => status.serviceKey !== undefined,
      keyWithinMs,
    );
    const serviceKey = isThere?.serviceKey;
    if (serviceKey === undefined) throw new Error('the cluster has no service key');
    const genesis = await cluster.genesis();
    const watch = new SoakWatch(cluster, serviceKey);
    const beganAtMs = performance.now();
    load = await KvLoad.start({
      genesis,
      serviceKey,
      clients: 3,
      callersPerClient: 2,
      callsPerKeys: 2_000,
      pauseMs: 40,
      seed,
    });
    // With k = 0 a recovery takes the place of another fault.
    const others = liar !== undefined || (hasKeepers && k === 0) ? 1 : 0;
    troubles = new SoakTroubles({
      cluster,
      watch,
      prng: prng.fork(),
      serviceKey,
      correct,
      atOnce: f - others,
      recoveries: hasKeepers ? 'by-keepers' : k,
      say,
    });
    const samples = await watchUntilOver({ options, cluster, watch, load, troubles, correct, beganAtMs });
    // Else there were no lies to bear.
    if (liar !== undefined && cluster.pidOf(liar) === 0) watch.violations.push(`the liar, r${liar}, has ended`);
    await troubles.end();
    await load.finish();
    watch.violations.push(...load.failures);
    const { violations, operations, tooHard } = load.judge();
    watch.violations.push(...violations);
    if (tooHard > 0) watch.violations.push(`the history of ${tooHard} keys is too hard to search`);
    const client = await connect({ genesis, serviceKey, deadlineMs: 60_000 });
    await watch
      .agreed(correct, client)
      .catch((error: unknown) => watch.violations.push(error instanceof Error ? error.message : String(error)))
      .finally(() => client.close());
    const memoryMegabytes = usageOf(samples, correct, ({ memory }) => memory);
    const diskMegabytes = usageOf(samples, correct, ({ disk }) => disk);
    watch.violations.push(...growthIn('memory', memoryMegabytes, samples), ...growthIn('disk', diskMegabytes, samples));
    return {
      violations: watch.violations,
      seconds: (performance.now() - beganAtMs) / 1_000,
      epochs: watch.epoch,
      calls: load.returned,
      proven: load.proven,
      operationsChecked: operations,
      troubles: cluster instanceof SoakKeepers ? { ...troubles.counts, cleaned: cluster.cleanStarts } : troubles.counts,
      liar,
      memoryMegabytes,
      diskMegabytes,
      said: cluster instanceof ProcessCluster ? await Promise.all(indexes.map((index) => cluster.saidBy(index))) : [],
    };
  } finally {
    await load?.close();
    await cluster.destroy();
  }
}

async function startPlain(options: SoakOptions, liar: number | undefined): Promise<ProcessCluster> {
  const { replicas, f, k, epochIntervalMs, seed, basePort } = options;
  const cluster = await ProcessCluster.start({
    replicas,
    f,
    k,
    checkpointIntervalMs: 2_000,
    epochs: { intervalMs: epochIntervalMs, successorWaitMs: 1_500 },
    basePort,
    replicaOptions: ['--log-level', 'info'],
    stderr: 'kept',
    started: false,
  });
  const lying = { program: 'test/e2e/lying-replica.js', under: ['env', `LIE_SEED=${seed}`] };
  for (let index = 0; index < replicas; index++) cluster.restart(index, index === liar ? lying : {});
  return cluster;
}

function startKept({ replicas, f, k, epochIntervalMs }: SoakOptions): Promise<SoakKeepers> {
  return SoakKeepers.start({ replicas, f, k, epochIntervalMs, successorWaitMs: keptSuccessorWaitMs });
}

/** Looks at every correct replica again and again, until the time is over and there were epochs enough, or nothing goes on. */
async function watchUntilOver({
  options,
  cluster,
  watch,
  load,
  troubles,
  correct,
  beganAtMs,
}: {
  readonly options: SoakOptions;
  readonly cluster: ProcessCluster | SoakKeepers;
  readonly watch: SoakWatch;
  readonly load: KvLoad;
  readonly troubles: SoakTroubles;
  readonly correct: readonly number[];
  readonly beganAtMs: number;
}): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  let returned = { count: 0, atMs: performance.now() };
  let begun = { count: 0, atMs: performance.now() };
  for (;;) {
    const nowMs = performance.now();
    if (nowMs - beganAtMs >= options.forMs && watch.epoch >= options.epochsMin) return samples;
    if (load.returned > returned.count) returned = { count: load.returned, atMs: nowMs };
    if (watch.epoch > begun.count) begun = { count: watch.epoch, atMs: nowMs };
    for (const [what, { atMs }] of Object.entries({ 'no call returns': returned, 'no epoch begins': begun })) {
      if (nowMs - atMs < stallMs) continue;
      const statuses = await Promise.all(correct.map((index) => watch.ask(index)));
      watch.violations.push(
        `the cluster stands still, ${what}: ${statuses.map((each) => JSON.stringify(each)).join('\n')}`,
      );
      return samples;
    }
    for (const index of correct) {
      if (troubles.isInTrouble(index)) continue;
      // One that has a keeper is ended by that in its turn.
      if (cluster instanceof ProcessCluster && cluster.pidOf(index) === 0) {
        const end = await cluster.ended(index);
        watch.violations.push(`r${index} has ended by itself: ${JSON.stringify(end)}`);
        cluster.restart(index);
        continue;
      }
      await watch.ask(index);
      const memory = residentBytesOf(cluster.pidOf(index)) / 1e6;
      const disk = (await allocatedBytesOf(cluster.homeOf(index))) / 1e6;
      if (memory > 0) samples.push({ index, memory, disk });
    }
    await sleep(lookIntervalMs);
  }
}

/** Medians of the second quarter of the samples, and of the last. */
function usageOf(
  samples: readonly Sample[],
  indexes: readonly number[],
  of: (sample: Sample) => number,
): readonly Usage[] {
  return indexes.map((index) => {
    const own = samples.filter((each) => each.index === index).map(of);
    const quarter = Math.ceil(own.length / 4);
    return {
      replicaId: `r${index}`,
      early: median(own.slice(quarter, 2 * quarter)),
      late: median(own.slice(-quarter)),
    };
  });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

function growthIn(what: string, usages: readonly Usage[], samples: readonly Sample[]): readonly string[] {
  if (samples.length < growthSamplesMin * usages.length) return [];
  return usages
    .filter(({ early, late }) => late > 1.5 * early + 50)
    .map(({ replicaId, early, late }) => `${what} of ${replicaId} grows: ${early.toFixed(0)} to ${late.toFixed(0)} MB`);
}
