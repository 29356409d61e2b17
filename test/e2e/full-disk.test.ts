/**
 * Shows that a replica whose disk is full stops with a clear error while the others go on, and comes back when there is
 * space. Where the machine lets us, the disk is a small file system of its own; else the size of files is limited.
 */
import { execFileSync } from 'node:child_process';
import { cp, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { type Launch, ProcessCluster } from '../../bench/process-cluster.ts';
import { KvLoad } from './kv-load.ts';
import { converge, isMarkedLost } from './watching.ts';

/** A home's log on a disk that has little space, and later more. */
interface SmallDisk {
  /** How the replica is started while space is short. */
  readonly launch: Launch;
  /** What the replica says then. */
  readonly complaint: RegExp;
  enlarge(): void;
  remove(): void;
}

let cluster: ProcessCluster;
let load: KvLoad;
let disk: SmallDisk | undefined;

afterEach(async () => {
  await load?.close();
  for (let index = 0; index < cluster.size; index++) await cluster.kill(index);
  disk?.remove();
  await cluster?.destroy();
});

async function smallDiskFor(home: string): Promise<SmallDisk> {
  const log = join(home, 'log');
  const aside = join(home, 'log-aside');
  await rename(log, aside);
  try {
    execFileSync('mkdir', ['-m', '700', log]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=700', 'tmpfs', log], { stdio: 'ignore' });
  } catch {
    await cp(aside, log, { recursive: true });
    const launch = { under: ['bash', '-c', 'ulimit -f 4000; exec "$@"', '-'] };
    return { launch, complaint: /EFBIG/, enlarge: () => {}, remove: () => {} };
  }
  await cp(aside, log, { recursive: true });
  return {
    launch: {},
    complaint: /The disk is full/,
    enlarge: () => execFileSync('mount', ['-o', 'remount,size=512m', log]),
    remove: () => execFileSync('umount', [log]),
  };
}

it('a replica on a full disk stops and says so, the others go on, and with space it comes back', async () => {
  const small = 1;
  cluster = await ProcessCluster.start({ stderr: 'kept' });
  load = await KvLoad.start({ genesis: await cluster.genesis(), paddingSizeBytes: 20_000 });
  await load.goesOn(50);
  await cluster.terminate(small);
  disk = await smallDiskFor(cluster.homeOf(small));
  cluster.restart(small, disk.launch);
  await cluster.ready(small);

  // It runs on its small disk until that is full, then ends with the exit code for "this machine stands in the way".
  expect(await cluster.ended(small)).toEqual({ code: 4, signal: null });
  expect(await cluster.saidBy(small)).toMatch(disk.complaint);
  await load.goesOn(200);

  // Still full: it may not run as if nothing had been.
  cluster.restart(small, disk.launch);
  expect(await cluster.ended(small)).toEqual({ code: 4, signal: null });
  await load.goesOn(100);

  disk.enlarge();
  cluster.restart(small);
  await cluster.ready(small);
  await load.goesOn(100);
  await load.finish();
  expect(load.failures).toEqual([]);
  expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });
  const statuses = await converge(cluster);
  expect(statuses.filter(({ observer }) => observer)).toEqual([]);
  expect(await isMarkedLost(cluster.homeOf(small))).toBe(false);
}, 180_000);
