/**
 * Root share: which part of a replica's processor time goes into state roots and the rest of the state while a cluster is loaded.
 *
 * One replica writes a profile of its main thread, a sample each millisecond; of it, only what was sampled under load counts.
 * What the collector of garbage took is nobody's in a profile, and is told apart.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fillState } from './fill.ts';
import { runLoad } from './load.ts';
import { benchPath, ProcessCluster } from './process-cluster.ts';

export interface RootShare {
  readonly callers: number;
  readonly entries: number;
  readonly seconds: number;
  readonly operationsPerSecond: number;
  /** Of the window: when the main thread did anything. */
  readonly busyFraction: number;
  /** Of its busy time. */
  readonly rootFraction: number;
  /** Roots, reads, writes and checkpoints together. */
  readonly stateFraction: number;
  readonly garbageFraction: number;
  readonly rootMicrosecondsPerOperation: number;
}

interface Frame {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly children?: readonly number[];
}

/** As V8 writes it; times in microseconds of the machine's monotonic clock. */
interface Profile {
  readonly nodes: readonly Frame[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const profiled = 0;
const valueSizeBytes = 100;

export async function measureRootShare({
  callers,
  entries,
  seconds,
  basePort,
}: {
  readonly callers: number;
  readonly entries: number;
  readonly seconds: number;
  readonly basePort: number | undefined;
}): Promise<RootShare> {
  const directory = await mkdtemp(join(tmpdir(), 'coterie-profile-'));
  const cluster = await ProcessCluster.start({ service: join(benchPath, 'fillable-kv.js'), basePort, started: false });
  try {
    const shell = `node=$1; shift; exec "$node" --cpu-prof --cpu-prof-dir='${directory}' "$@"`;
    for (let index = 0; index < cluster.size; index++) {
      cluster.restart(index, index === profiled ? { under: ['bash', '-c', shell, '-'] } : {});
    }
    for (let index = 0; index < cluster.size; index++) await cluster.ready(index);
    await fillState(cluster, { entries, valueSizeBytes });
    const load = { callers, identities: 'shared', valueSizeBytes, reply: 'quick', seconds } as const;
    let beginUs = 0;
    const { operations } = await runLoad(cluster.clusterDirectory, load, {
      onMeasuring: () => {
        beginUs = monotonicUs();
      },
    });
    await cluster.terminate(profiled);
    const [name = ''] = await readdir(directory);
    const profile = JSON.parse(await readFile(join(directory, name), 'utf8')) as Profile;
    const spent = spentUs(profile, { beginUs, endUs: beginUs + seconds * 1e6 });
    return {
      callers,
      entries,
      seconds,
      operationsPerSecond: operations / seconds,
      busyFraction: spent.busy / (seconds * 1e6),
      rootFraction: spent.root / spent.busy,
      stateFraction: spent.state / spent.busy,
      garbageFraction: spent.garbage / spent.busy,
      rootMicrosecondsPerOperation: spent.root / operations,
    };
  } finally {
    await cluster.destroy();
    await rm(directory, { recursive: true, force: true });
  }
}

function spentUs(
  { nodes, startTime, samples, timeDeltas }: Profile,
  window: { readonly beginUs: number; readonly endUs: number },
): { readonly busy: number; readonly root: number; readonly state: number; readonly garbage: number } {
  const inRoot = within(nodes, ({ functionName, url }) => functionName === 'summary' && url.includes('/src/state/'));
  const inState = within(nodes, ({ url }) => url.includes('/src/state/') || url.includes('/lmdb'));
  const idle = within(nodes, ({ functionName }) => functionName === '(idle)');
  const collecting = within(nodes, ({ functionName }) => functionName === '(garbage collector)');
  const spent = { busy: 0, root: 0, state: 0, garbage: 0 };
  let atUs = startTime;
  for (const [index, id] of samples.entries()) {
    atUs += timeDeltas[index] ?? 0;
    // A sample stands for the time up to the next one.
    const lasted = timeDeltas[index + 1] ?? 0;
    if (atUs < window.beginUs || atUs >= window.endUs || idle.has(id)) continue;
    spent.busy += lasted;
    if (inRoot.has(id)) spent.root += lasted;
    if (inState.has(id)) spent.state += lasted;
    if (collecting.has(id)) spent.garbage += lasted;
  }
  return spent;
}

/** Ids of all frames that are such a one, or were called by one. */
function within(nodes: readonly Frame[], isSuch: (frame: Frame['callFrame']) => boolean): ReadonlySet<number> {
  const byId = new Map(nodes.map((frame) => [frame.id, frame]));
  const found = new Set<number>();
  const left = nodes.filter(({ callFrame }) => isSuch(callFrame)).map(({ id }) => id);
  for (let id = left.pop(); id !== undefined; id = left.pop()) {
    if (found.has(id)) continue;
    found.add(id);
    left.push(...(byId.get(id)?.children ?? []));
  }
  return found;
}

function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

export function describeRootShare(share: RootShare): string {
  const percent = (fraction: number): string => `${(fraction * 100).toFixed(1)} %`;
  return (
    `state under load, ${share.callers} callers, ${share.entries} entries: ${share.operationsPerSecond.toFixed(0)} ops/s; ` +
    `of a main thread that is busy ${percent(share.busyFraction)} of the time, ${percent(share.rootFraction)} goes into roots ` +
    `(${share.rootMicrosecondsPerOperation.toFixed(1)} µs an operation), ${percent(share.stateFraction)} into the state as a whole, ` +
    `${percent(share.garbageFraction)} into garbage`
  );
}
