/**
 * Shows with real keepers, each of which starts and cleans a replica of its own, that every replica is made clean in its turn while clients go on
 * with the same service key: one at a time, with new keys, a key share and a say in the next epoch. Whoever kills the replica, stops its
 * keeper or leaves something behind changes nothing of that. As root the replicas have users of their own; else all share one.
 */
import { execFile, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, it } from 'vitest';
import { processesOf } from '../../src/keeper/replica-user.ts';
import { isRoot } from '../../src/keeper/testing/kept-replica.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import { boundsOf, type WindowKind, windowKinds, windowsOf } from '../../src/wire/recovery-window.ts';
import { isThorough } from '../thorough.ts';
import { KeptCluster, type KeptLine, programPath } from './kept-cluster.ts';
import { KvLoad } from './kv-load.ts';
import { until } from './watching.ts';

const turnMs = 90_000;
let kept: KeptCluster;
let load: KvLoad | undefined;
let watch: Watch | undefined;

afterEach(async () => {
  await load?.close();
  await watch?.end();
  await kept?.destroy();
});

it('each replica is made clean in its turn, and again when its turn comes again', async () => {
  await begin({ replicas: 4, f: 1, k: 0, epochIntervalMs: 3_000 });
  // Each of them, and the first one for a second time.
  const epochs = [0, 1, 2, 3, 4];
  for (const epoch of epochs) {
    await allIn(epoch + 1);
    await expectClean(epoch % kept.size, epoch);
    await load?.goesOn(20);
  }
  // While another is away these go on, so they have a say: all of them have been made clean, and each of them is needed.
  const away = await freezeNext();
  await load?.goesOn(60);
  process.kill(away, 'SIGCONT');
  await finish();

  // Nobody was started but in its turn, each time as another process, and no turn began before the one before it was over.
  for (const index of [0, 1, 2, 3]) {
    const turns = kept.lines(index, 'keeper', turnHasCome).length;
    const starts = kept.starts(index);
    const [first, ...others] = starts.map(({ isClean }) => isClean);
    expect([first, ...new Set(others)]).toEqual([false, true]);
    // The last turn may have only just come.
    expect(others.length).toBeLessThanOrEqual(turns);
    expect(new Set(starts.map(({ pid }) => pid)).size).toBe(starts.length);
  }
  const steps = [0, 1, 2, 3].flatMap((index) => [
    ...kept.lines(index, 'keeper', turnHasCome),
    ...kept.lines(index, 'keeper', certified).filter(({ isClean }) => isClean === true),
  ]);
  const inOrder = steps.sort((a, b) => (a.time < b.time ? -1 : 1)).map(({ epoch }) => epoch);
  const wanted = epochs.flatMap((epoch) => [epoch, epoch + 1]);
  expect(inOrder.slice(0, wanted.length)).toEqual(wanted);

  // Everybody's turn came once before anybody's came again; and an epoch is as long as it took.
  expect(watch?.mostObservers).toBe(1);
  expect(watch?.notFresh).toEqual([]);
  expect(watch?.beyondBounds()).toEqual([]);
}, 300_000);

it('a turn ends well whatever happens in it, and nothing of a thief outlives it', async () => {
  await begin({ replicas: 4, f: 1, k: 0, epochIntervalMs: 0 });

  // A thief has been in the first one.
  const thief = isRoot ? await Thief.rob(0) : undefined;
  await advance();
  await allIn(1);
  await expectClean(0, 0);
  await thief?.expectGone();

  // The second is killed as soon as it was started clean.
  await advance();
  await until('a clean start', async () => kept.starts(1).find(({ isClean }) => isClean), turnMs);
  process.kill(kept.pidOf(1), 'SIGKILL');
  await allIn(2);
  await expectClean(1, 1);
  expect(kept.starts(1).map(({ isClean }) => isClean)).toEqual([false, true, true]);

  // The keeper of the third is stopped in its turn, and started again.
  await advance();
  await until('a turn', async () => kept.lines(2, 'keeper', turnHasCome)[0], turnMs);
  expect(await kept.stop(2)).toBe(0);
  kept.keep(2);
  await allIn(3);
  await expectClean(2, 2);
  expect(kept.starts(2).at(-1)?.isClean).toBe(true);

  // The fourth is killed when its clean keys are certified: they are named all the same, and it is not made clean for a second time.
  await advance();
  await until('clean keys', async () => certifiedClean(3), turnMs);
  process.kill(kept.pidOf(3), 'SIGKILL');
  await allIn(4);
  await expectClean(3, 3);
  expect(kept.starts(3).map(({ isClean }) => isClean)).toEqual([false, true, false]);

  await load?.goesOn(20);
  await finish();
  expect(watch?.mostObservers).toBe(1);
  expect(watch?.notFresh).toEqual([]);
}, 300_000);

it.runIf(isThorough)(
  'with n = 3f + 2k + 1 the cluster goes on while one is made clean and another is down',
  async () => {
    await begin({ replicas: 6, f: 1, k: 1, epochIntervalMs: 0 });
    await advance();
    const clean = await until('a clean start', async () => kept.starts(0).find(({ isClean }) => isClean), turnMs);
    process.kill(clean.pid, 'SIGSTOP');
    const keeper = kept.pidOfKeeper(3);
    process.kill(keeper, 'SIGSTOP');
    process.kill(kept.pidOf(3), 'SIGKILL');
    await load?.goesOn(100);
    expect(certifiedClean(0)).toBeUndefined();
    process.kill(keeper, 'SIGCONT');
    process.kill(clean.pid, 'SIGCONT');
    await allIn(1);
    await expectClean(0, 0);
    await load?.goesOn(20);
    await finish();
  },
  300_000,
);

const pinnedFirst =
  'pinned the service key at first sight: compare it with that of another replica, or give it with --service-key';
const turnHasCome = 'the recovery turn of the replica has come';
const certified = 'certified the next session keys of the replica';

async function begin(options: {
  readonly replicas: number;
  readonly f: number;
  readonly k: number;
  readonly epochIntervalMs: number;
}): Promise<void> {
  kept = await KeptCluster.create({ ...options, successorWaitMs: 60_000 });
  for (let index = 0; index < kept.size; index++) kept.keep(index);
  const serviceKey = await until('there is a service key', async () => (await statusOf(0))?.serviceKey);
  await writeFile(join(kept.clusterDirectory, 'service-key'), `${serviceKey}\n`);
  watch = new Watch(kept, serviceKey);
  const genesis = await kept.genesis();
  load = await KvLoad.start({ genesis, followKey: serviceKey, clients: 2, callersPerClient: 2 });
  await load.goesOn(20);
}

/** What the clients did is explained, and nothing that they saw of the replicas was wrong. */
async function finish(): Promise<void> {
  await load?.finish();
  expect(load?.failures).toEqual([]);
  expect(load?.judge()).toMatchObject({ violations: [], tooHard: 0 });
  await watch?.end();
  expect(watch?.problems).toEqual([]);
}

/** Until every replica takes part in an epoch, this one or a later one, with its key share. */
async function allIn(epoch: number): Promise<void> {
  const isThere = (status: ReplicaStatus | undefined): boolean =>
    status !== undefined && status.epoch >= epoch && status.keyState === 'ready' && status.hasKeyShare;
  await until(
    `all take part in epoch ${epoch}`,
    async () => {
      const statuses = await Promise.all([...Array(kept.size).keys()].map(statusOf));
      return statuses.every(isThere) || undefined;
    },
    turnMs,
  );
}

/** Freezes the replica whose turn is next, so that no other's comes meanwhile; its pid. */
async function freezeNext(): Promise<number> {
  const epochOf = (index: number): Promise<number> =>
    until(`r${index} says its epoch`, async () => (await statusOf(index))?.epoch);
  for (;;) {
    const epoch = await epochOf(0);
    const pid = kept.pidOf(epoch % kept.size);
    process.kill(pid, 'SIGSTOP');
    if ((await epochOf((epoch + 1) % kept.size)) === epoch) return pid;
    process.kill(pid, 'SIGCONT');
  }
}

function certifiedClean(index: number): KeptLine | undefined {
  return kept.lines(index, 'keeper', certified).find(({ isClean }) => isClean === true);
}

/** It was made clean in its turn at the end of an epoch, and the next one knows that. */
async function expectClean(index: number, epoch: number): Promise<void> {
  const cleanPids = kept.starts(index).flatMap(({ pid, isClean }) => (isClean ? [pid] : []));
  const started = kept.lines(index, 'replica', 'replica started');
  const asObserver = started.findLast((line) => line.epoch === epoch && cleanPids.includes(Number(line.pid)));
  expect(asObserver).toMatchObject({ observer: true });
  const named = kept
    .lines(index, 'keeper', certified)
    .find((line) => line.epoch === epoch + 1 && line.isClean === true);
  expect(named).toBeDefined();
  const status = await statusOf(index);
  expect(status?.pid).toBe(kept.pidOf(index));
  const own = status?.epochState?.membership.replicas[index];
  expect(own).toMatchObject({ keysSince: { epoch: status?.epoch }, cleanSince: { epoch: epoch + 1 } });
  const parameters = (await readFile(`/proc/${kept.pidOf(index)}/cmdline`, 'utf8')).split('\0');
  expect(parameters.includes('--clean')).toBe(kept.starts(index).at(-1)?.isClean);
}

async function advance(): Promise<void> {
  const env = { ...process.env, COTERIE_CLUSTER: kept.clusterDirectory, NO_COLOR: '1' };
  await promisify(execFile)(process.execPath, [programPath, 'epoch', 'advance', '--timeout', '60'], { env });
}

async function statusOf(index: number): Promise<ReplicaStatus | undefined> {
  try {
    const response = await fetch(`${await kept.urlOf(index)}/v1/status`, { signal: AbortSignal.timeout(2_000) });
    return response.ok ? ((await response.json()) as ReplicaStatus) : undefined;
  } catch {
    return undefined;
  }
}

/** Looks at the replicas all the time. */
class Watch {
  /** What must never be, as sentences. */
  readonly problems: string[] = [];
  /** Replicas that were not as fresh as the turns so far made them. */
  readonly notFresh: string[] = [];
  mostObservers = 0;
  readonly #cluster: KeptCluster;
  readonly #serviceKey: string;
  readonly #oldestMs = new Map<WindowKind, number>();
  /** When each epoch began. */
  readonly #began = new Map<number, number>();
  #last: ReplicaStatus | undefined;
  #isEnding = false;
  readonly #run: Promise<void>;

  constructor(cluster: KeptCluster, serviceKey: string) {
    this.#cluster = cluster;
    this.#serviceKey = serviceKey;
    this.#run = this.#look();
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#run;
  }

  /** Windows that were longer than docs/protocol/epochs.md §7 allows, with the longest epoch there was as the interval. */
  beyondBounds(): readonly string[] {
    const moments = [...this.#began.values()].sort((a, b) => a - b);
    const lengthsMs = moments.slice(1).map((moment, i) => moment - (moments[i] ?? 0));
    const report = this.#last?.epochState;
    const bounds = report && boundsOf({ ...report, epochIntervalMs: Math.max(...lengthsMs) });
    if (bounds === undefined) return ['nothing was seen'];
    return windowKinds.filter((kind) => (this.#oldestMs.get(kind) ?? 0) > bounds[kind]);
  }

  async #look(): Promise<void> {
    while (!this.#isEnding) {
      const statuses = await Promise.all([...Array(this.#cluster.size).keys()].map(statusOf));
      const present = statuses.filter((status) => status !== undefined);
      for (const status of present) this.#note(status);
      for (const epoch of new Set(present.map((status) => status.epoch))) {
        const observers = present.filter((status) => status.epoch === epoch && status.observer);
        this.mostObservers = Math.max(this.mostObservers, observers.length);
      }
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  }

  #note(status: ReplicaStatus): void {
    const { replicaId, epoch, serviceKey, epochState, diverged, timestamp } = status;
    if (serviceKey !== undefined && serviceKey !== this.#serviceKey) this.problems.push(`${replicaId}: another key`);
    if (diverged) this.problems.push(`${replicaId} has another state`);
    // Between two epochs it may know of none.
    if (epochState === undefined || epochState.epoch !== epoch) return;
    this.#last = status;
    const { began, membership } = epochState;
    this.#began.set(epoch, began.timestamp);
    for (const { agesMs } of windowsOf(epochState, timestamp)) {
      for (const kind of windowKinds) this.#oldestMs.set(kind, Math.max(this.#oldestMs.get(kind) ?? 0, agesMs[kind]));
    }
    for (const [place, { cleanSince }] of membership.replicas.entries()) {
      const lastTurn = epoch - ((epoch - 1 - place + this.#cluster.size) % this.#cluster.size);
      const since = Math.max(0, lastTurn);
      if (cleanSince.epoch !== since) this.notFresh.push(`place ${place} in epoch ${epoch}: ${cleanSince.epoch}`);
    }
  }
}

/** What an attacker leaves that had the process of a replica: it runs as its user, and writes what that user may. */
class Thief {
  readonly #index: number;
  readonly #pid: number;
  readonly #genesis: string;

  private constructor(index: number, pid: number, genesis: string) {
    this.#index = index;
    this.#pid = pid;
    this.#genesis = genesis;
  }

  static async rob(index: number): Promise<Thief> {
    // A thief comes later than the key, which the keeper pins at first sight.
    await until('the keeper has pinned the service key', async () => kept.lines(index, 'keeper', pinnedFirst)[0]);
    const home = kept.homeOf(index);
    const genesis = await readFile(join(home, 'genesis.json'), 'utf8');
    const store = kept.storeOf(index);
    const script = `
      const { readFileSync, readdirSync, rmSync, writeFileSync } = require('node:fs');
      const [home, store] = process.argv.slice(1);
      const attempt = (work) => { try { work(); return 'done'; } catch (error) { return error.code; } };
      process.on('SIGTERM', () => {});
      console.log(JSON.stringify({
        read: attempt(() => readFileSync(store + '/identity.seed')),
        list: attempt(() => readdirSync(store)),
        signal: attempt(() => process.kill(${kept.pidOfKeeper(index)}, 'SIGTERM')),
        drop: attempt(() => writeFileSync(home + '/planted.mjs', 'evil')),
        genesis: attempt(() => writeFileSync(home + '/genesis.json', '{"name":"of another service"}')),
        state: attempt(() => rmSync(home + '/state', { recursive: true })),
        serviceKey: attempt(() => writeFileSync(home + '/service-key', '00'.repeat(96))),
      }));
      setInterval(() => {}, 1000);`;
    const user = kept.userOf(index);
    const child = spawn(process.execPath, ['-e', script, home, store], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
      ...user,
    });
    const said = await new Promise<string>((resolve) => child.stdout.once('data', (data) => resolve(String(data))));
    expect(JSON.parse(said)).toEqual({
      read: 'EACCES',
      list: 'EACCES',
      signal: 'EPERM',
      drop: 'done',
      genesis: 'done',
      state: 'done',
      serviceKey: 'done',
    });
    return new Thief(index, child.pid ?? 0, genesis);
  }

  async expectGone(): Promise<void> {
    const home = kept.homeOf(this.#index);
    expect(await processesOf(kept.userOf(this.#index)?.uid ?? -1)).toEqual([kept.pidOf(this.#index)]);
    expect(kept.pidOf(this.#index)).not.toBe(this.#pid);
    await expect(readFile(join(home, 'planted.mjs'))).rejects.toThrow('ENOENT');
    expect(await readFile(join(home, 'genesis.json'), 'utf8')).toBe(this.#genesis);
    const serviceKey = await readFile(join(kept.clusterDirectory, 'service-key'), 'utf8');
    expect((await readFile(join(home, 'service-key'), 'utf8')).trimEnd()).toBe(serviceKey.trimEnd());
    const putBack = kept.lines(
      this.#index,
      'keeper',
      'files of the home were not what they must be, and were put back',
    );
    expect(putBack[0]?.putBack).toEqual(['genesis.json', 'service-key']);
  }
}
