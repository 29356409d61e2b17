/**
 * Shows that `coterie up` keeps running whom the membership has: who joins is started as soon as its home is there, with a keeper where it
 * needs one, and who was removed is let go, and said to have left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '../../bench/process-cluster.ts';
import { until } from './watching.ts';

const program = join(import.meta.dirname, '..', '..', 'dist', 'src', 'cli', 'main.js');

let parent: string;
let directory: string;
let up: ChildProcess | undefined;
let said = '';

interface Printed {
  readonly code: number | null;
  readonly output: string;
}

function coterie(...parameters: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<Printed> } {
  const env = { ...process.env, COTERIE_CLUSTER: directory, NO_COLOR: '1' };
  const child = spawn(process.execPath, [program, ...parameters], {
    cwd: parent,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8');
      if (child === up) said = output;
    });
  }
  const ended = new Promise<Printed>((resolve) => child.once('close', (code) => resolve({ code, output })));
  return { child, ended };
}

async function done(...parameters: readonly string[]): Promise<string> {
  const { code, output } = await coterie(...parameters).ended;
  if (code !== 0) throw new Error(`coterie ${parameters.join(' ')}: ${output}`);
  return output;
}

const says = (what: RegExp) =>
  until(`up says ${what.source}`, async () => (what.test(said) ? true : undefined), 90_000);

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'coterie-'));
  directory = join(parent, 'cluster');
  await done('init', directory, '--base-port', String(await freePort()), '--successor-wait', '5000');
  up = coterie('up', directory).child;
  await says(/Ready: 4 of 4 replicas/);
}, 120_000);

afterAll(async () => {
  if (up !== undefined && up.exitCode === null) {
    const ended = new Promise((resolve) => up?.once('exit', resolve));
    up.kill('SIGTERM');
    await ended;
  }
  await rm(parent, { recursive: true, force: true });
}, 60_000);

it('starts who joins when its home is there, and lets go of who was removed', async () => {
  const home = join(directory, 'replicas', 'r4');
  const place = ['--id', 'r4', '--base-port', String(await freePort()), '--recovery', 'hardware'];
  const made = await done('admin', 'make-replica', home, ...place);
  expect(made).toContain(
    `Its identity key is in ${join('cluster', 'keepers', 'r4', 'identity.seed')}: for its keeper.`,
  );
  await says(/^r4 has come into the directory, and is started$/m);
  await done('admin', 'add', join(home, 'joining.json'));
  await done('epoch', 'advance', '--wait', '--timeout', '90');
  await says(/^r4 is ready$/m);

  await done('admin', 'remove', 'r2');
  await done('epoch', 'advance', '--wait', '--timeout', '90');
  await says(/^r2 is not in the membership any more: .*not started again$/m);
  expect(said).not.toMatch(/^r2 (?:died|did not start)/m);

  const { replicas, epoch } = await until('four replicas answer', async () => {
    const { output } = await coterie('status', '--json').ended;
    const status = JSON.parse(output) as {
      readonly reachable: number;
      readonly replicas: readonly Row[];
      readonly epoch: unknown;
    };
    return status.reachable === 4 ? status : undefined;
  });
  expect(replicas.map(({ replica }) => replica)).toEqual(['r0', 'r1', 'r3', 'r4']);
  expect(epoch).toMatchObject({ epoch: 2, disputed: [] });
  // Its keeper has certified new keys for it in the change after it came.
  const shown = await done('epoch', 'show', '--json');
  const report = JSON.parse(shown) as { readonly membership: { readonly replicas: readonly Stated[] } };
  expect(report.membership.replicas.find(({ replicaId }) => replicaId === 'r4')).toMatchObject({
    recovery: 'hardware',
    keysSince: { epoch: 2 },
  });
  expect(await done('kv', 'put', 'greeting', 'hello')).toBeDefined();
}, 240_000);

interface Row {
  readonly replica: string;
}

interface Stated {
  readonly replicaId: string;
}
