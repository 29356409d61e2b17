/** Shows what `coterie snapshot` says and ends with, over real homes in which no replica runs. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCluster } from '../replica/create-cluster.ts';
import { checkpointNotes, headNote } from '../replica/engine-notes.ts';
import { recordServiceKey } from '../storage/cluster-directory.ts';
import { openHome } from '../storage/home.ts';
import { readRestored } from '../storage/restored-home.ts';
import { snapshotServiceKey, snapshotSource } from '../storage/testing/snapshots.ts';
import type { Genesis } from '../wire/genesis.ts';
import { runProgram } from './program.ts';
import { Terminal } from './terminal.ts';

let directory: string;
let genesis: Genesis;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-cli-snapshot-'));
  genesis = await createCluster({ directory: cluster(), replicas: 4, service: 'kv', basePort: 7_200 });
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const cluster = (): string => join(directory, 'cluster');
const homeOf = (index: number): string => join(cluster(), 'replicas', `r${index}`);
const file = (): string => join(directory, 'backup');

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function snapshot(...parameters: readonly string[]): Promise<Ended> {
  const said = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    write(text: string | Uint8Array) {
      said[name] += String(text);
      return true;
    },
  });
  const json = parameters.includes('--json');
  const terminal = new Terminal({ json, stdout: sink('stdout'), stderr: sink('stderr'), environment: {} });
  const exitCode = await runProgram(['snapshot', ...parameters], terminal, { COTERIE_CLUSTER: cluster() });
  return { exitCode, ...said };
}

/** As a replica leaves its home when it stops after a checkpoint. */
async function hold(index: number, requests: number): Promise<void> {
  const source = await snapshotSource({ genesis, values: { a: 1, b: 20_000 }, requests });
  const home = await openHome(homeOf(index));
  const { engine } = await home.openState();
  const notes = checkpointNotes({ encoded: source.encoded, logPosition: 0, ownBlock: undefined });
  await engine.write([...Array.from(source.view.entries({})), ...notes, headNote(source.head)]);
  await engine.close();
  await home.close();
}

describe('coterie snapshot', () => {
  test('exports the newest checkpoint of any home, verifies it and restores it into all of them', async () => {
    await recordServiceKey(cluster(), snapshotServiceKey);
    await hold(0, 1);
    await hold(2, 600);
    const out = await snapshot('export', '--out', file());
    expect([out.exitCode, out.stderr]).toEqual([0, '']);
    for (const words of [`from ${homeOf(2)}`, 'commit 4,', '2 entries', 'the last 601 of them']) {
      expect(out.stdout).toContain(words);
    }
    const verified = await snapshot('verify', file(), '--service-key', snapshotServiceKey);
    expect([verified.exitCode, verified.stderr]).toEqual([0, '']);
    expect(verified.stdout).toMatch(/^Proven: the service certified this snapshot\./);
    expect(verified.stdout).toContain('This is not:');
    const asJson = await snapshot('verify', file(), '--service-key', join(cluster(), 'service-key'), '--json');
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      proven: true,
      kind: 'snapshot',
      snapshot: {
        commitIndex: 4,
        stateEntries: 2,
        logSize: 601,
        provableRequests: 601,
        serviceKey: snapshotServiceKey,
      },
    });

    const restored = await snapshot('restore', file());
    expect(restored.exitCode).toBe(0);
    expect(restored.stderr).toBe('r0 is restored\nr1 is restored\nr2 is restored\nr3 is restored\n');
    expect(restored.stdout).toContain('goes on from there in epoch 1');
    for (const index of [0, 1, 2, 3]) {
      expect((await readRestored(homeOf(index)))?.epoch).toBe(1);
      expect(await readFile(join(homeOf(index), 'service-key'), 'utf8')).toBe(`${snapshotServiceKey}\n`);
    }
    expect((await snapshot('export', '--replica', 'r1', '--out', file())).exitCode).toBe(0);
  });

  test('exports from one home, and smaller without what proves old requests', async () => {
    await hold(1, 2_000);
    const key = ['--service-key', snapshotServiceKey, '--json'];
    const whole = await snapshot('export', '--home', homeOf(1), '--out', file(), ...key);
    const cut = await snapshot('export', '--home', homeOf(1), '--out', file(), '--without-old-leaves', ...key);
    const [all, some] = [whole, cut].map(({ stdout }) => JSON.parse(stdout));
    expect([all.provableRequests, some.provableRequests]).toEqual([2_001, 2_001 - 1_024]);
    expect(all.sizeBytes - some.sizeBytes).toBeGreaterThan(32 * 1_024);
  });

  test('says what stands in the way', async () => {
    const key = ['--service-key', snapshotServiceKey];
    const quick = ['--timeout', '0.01', '--out', file()];
    expect(await snapshot('export', ...quick)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/no service key/),
    });
    const early = await snapshot('export', ...quick, ...key);
    expect(early).toMatchObject({ exitCode: 3, stderr: expect.stringMatching(/nothing to export/) });
    const unknown = await snapshot('export', '--replica', 'r9', ...quick, ...key);
    expect(unknown).toMatchObject({ exitCode: 4, stderr: expect.stringMatching(/It has r0, r1, r2, r3/) });
    expect((await snapshot('export', '--home', homeOf(0), '--replica', 'r0', ...quick)).exitCode).toBe(2);

    await hold(0, 1);
    expect((await snapshot('export', '--out', file(), ...key)).exitCode).toBe(0);
    await hold(0, 900);
    const newer = await snapshot('restore', file(), ...key);
    expect(newer).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/would lose[\s\S]*--roll-back/) });
    expect(await readRestored(homeOf(1))).toBeUndefined();
    const home = await openHome(homeOf(3));
    const locked = await snapshot('restore', file(), '--roll-back', ...key);
    expect(locked).toMatchObject({ exitCode: 4, stderr: expect.stringMatching(/in use by process/) });
    await home.close();
    const rolledBack = await snapshot('restore', file(), '--roll-back', '--epoch', '3', ...key);
    expect(rolledBack).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/in epoch 3,[\s\S]*is lost/) });
    const again = ['restore', file(), '--home', homeOf(0), ...key];
    expect((await snapshot(...again, '--epoch', '2')).exitCode).toBe(2);
    expect((await snapshot(...again)).stdout).toMatch(/in epoch 3,[\s\S]*--epoch 3/);
  });

  test('proves nothing of a damaged file, of another key, and of no snapshot', async () => {
    await hold(0, 1);
    await snapshot('export', '--out', file(), '--service-key', snapshotServiceKey);
    const check = () => snapshot('verify', file(), '--service-key', snapshotServiceKey, '--json');
    const bytes = await readFile(file());
    bytes[bytes.length - 50]! ^= 1;
    await writeFile(file(), bytes);
    const damaged = await check();
    expect([damaged.exitCode, JSON.parse(damaged.stdout).error.code]).toEqual([1, 'not-proven']);
    expect((await snapshot('restore', file(), '--service-key', snapshotServiceKey)).exitCode).toBe(1);
    expect(await readRestored(homeOf(1))).toBeUndefined();
    await writeFile(file(), 'no snapshot');
    expect(JSON.parse((await check()).stdout).error.message).toMatch(/not a snapshot/);
    await rm(file());
    expect((await check()).exitCode).toBe(4);
    const noKey = await snapshot('verify', file(), '--service-key', 'f'.repeat(192));
    expect(noKey.exitCode).toBe(2);
  });
});
