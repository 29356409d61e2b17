/**
 * Shows that a replica whose machine is lost can be replaced in a cluster of keepers with n = 3f + 1 and k = 0: though a change of epochs
 * makes one of those that are left clean, it does not do so while each of them is needed, and does as soon as the new one is there.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { freePort } from '../../bench/process-cluster.ts';
import type { EpochReport } from '../../src/wire/epoch-report.ts';
import { isThorough } from '../thorough.ts';
import { until } from './watching.ts';

const program = join(import.meta.dirname, '..', '..', 'dist', 'src', 'cli', 'main.js');

let parent = '';
let up: ChildProcess | undefined;
afterEach(async () => {
  if (up !== undefined && up.exitCode === null) {
    const ended = new Promise((resolve) => up?.once('exit', resolve));
    up.kill('SIGTERM');
    await ended;
  }
  if (parent !== '') await rm(parent, { recursive: true, force: true });
}, 60_000);

it.runIf(isThorough)(
  'a replica whose machine is lost is replaced, and turns go on after that',
  async () => {
    parent = await mkdtemp(join(tmpdir(), 'coterie-'));
    const directory = join(parent, 'cluster');
    const env = { ...process.env, COTERIE_CLUSTER: directory, NO_COLOR: '1' };
    const coterie = (...parameters: readonly string[]): Promise<string> =>
      new Promise((resolve, reject) => {
        execFile(process.execPath, [program, ...parameters], { env }, (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error(`coterie ${parameters.join(' ')}: ${stdout}${stderr}`));
        });
      });
    const wait = ['--successor-wait', '7000', '--recovery', 'hardware'];
    await coterie('init', directory, '--base-port', String(await freePort()), ...wait);
    let said = '';
    up = spawn(process.execPath, [program, 'up', directory], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    up.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
    });
    await until('up is ready', async () => (/Ready: 4 of 4/.test(said) ? true : undefined), 90_000);

    // Its disk is gone, and then its machine.
    await rename(join(directory, 'replicas', 'r3'), join(parent, 'lost'));
    const pid = Number((await readFile(join(directory, 'keepers', 'r3', 'keeper.pid'), 'utf8')).split(' ')[0]);
    process.kill(pid, 'SIGKILL');
    const home = join(directory, 'replicas', 'r4');
    const place = ['--id', 'r4', '--base-port', String(await freePort()), '--recovery', 'hardware'];
    await coterie('admin', 'make-replica', home, ...place);
    await coterie('admin', 'replace', 'r3', join(home, 'joining.json'));

    // Two changes, as three must stay of four; then one more, in which it is the turn of r2, that can be spared.
    for (let change = 0; change < 3; change++) await coterie('epoch', 'advance', '--wait', '--timeout', '100');
    const { epoch, membership } = JSON.parse(await coterie('epoch', 'show', '--json')) as EpochReport;
    expect(epoch).toBe(3);
    expect(membership.replicas.map(({ replicaId }) => replicaId)).toEqual(['r0', 'r1', 'r2', 'r4']);
    expect(membership.replicas.map(({ keysSince }) => keysSince.epoch)).toEqual([3, 3, 3, 3]);
    expect(membership.replicas.map(({ cleanSince }) => cleanSince.epoch)).toEqual([0, 0, 3, 1]);
    expect(await readFile(join(directory, 'replicas', 'r0', 'replica.log'), 'utf8')).toContain(
      'it is not made clean in this turn',
    );
    await coterie('kv', 'put', 'greeting', 'hello');
  },
  300_000,
);
