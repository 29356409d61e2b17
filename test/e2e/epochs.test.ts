/**
 * Shows that a real cluster goes from epoch to epoch under load: clients lose nothing and notice nothing, whoever is killed in the middle
 * or sleeps through some follows, and nothing that was secret in an earlier epoch is left on any disk.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import { KvLoad } from './kv-load.ts';
import { serviceKeyOf, until } from './watching.ts';

let cluster: ProcessCluster;
let load: KvLoad | undefined;

afterEach(async () => {
  await load?.close();
  await cluster?.destroy();
});

const all = [0, 1, 2, 3];

it('epochs come and go: one service key, nothing lost, no old secret left', async () => {
  cluster = await ProcessCluster.start({ epochs: { intervalMs: 4_000, successorWaitMs: 1_000 } });
  const followKey = await serviceKeyOf(cluster);
  const secrets = await Promise.all(
    all.map((index) =>
      until(`r${index} has sealed its share`, () => secretsIn(cluster.homeOf(index)).catch(() => undefined)),
    ),
  );
  expect(secrets.map(({ length }) => length)).toEqual([6, 6, 6, 6]);
  load = await KvLoad.start({ genesis: await cluster.genesis(), followKey, clients: 2, callersPerClient: 2 });
  await load.goesOn(100);

  // One is killed while the epoch ends, and comes back when others are ahead.
  await until('the first epoch ends', async () => ((await epochOf(0))?.phase === 'steady' ? undefined : true));
  await cluster.kill(3);
  const left = await until('the third epoch is there', async () => {
    const epoch = (await epochOf(0))?.epoch ?? 0;
    return epoch >= 2 ? epoch : undefined;
  });
  await load.goesOn(100);
  cluster.restart(3);
  await until('the one that slept has followed', async () => ((await epochOf(3))?.epoch ?? 0) >= left || undefined);

  // And one that is killed at any other time.
  await cluster.kill(1);
  cluster.restart(1);
  const target = left + 2;
  for (const index of all) {
    await until(
      `r${index} is in epoch ${target}`,
      async () => ((await epochOf(index))?.epoch ?? 0) >= target || undefined,
    );
  }
  await load.goesOn(100);
  await load.finish();
  expect(load.failures).toEqual([]);
  expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });

  for (const index of all) {
    const status = await statusOf(index);
    expect(status?.serviceKey).toBe(followKey);
    expect(status?.keyState).toBe('ready');
    expect(status?.observer).toBe(false);
    await cluster.terminate(index);
    const files = await filesIn(cluster.homeOf(index));
    const names = files.map(({ name }) => name);
    expect(names.filter((name) => /^(?:keys|log|log-began)(?:\/|$)/.test(name))).toEqual([]);
    for (const secret of secrets[index] ?? []) {
      expect(files.filter(({ bytes }) => bytes.includes(secret)).map(({ name }) => name)).toEqual([]);
    }
  }
}, 240_000);

async function statusOf(index: number): Promise<ReplicaStatus | undefined> {
  try {
    const response = await fetch(`${await cluster.urlOf(index)}/v1/status`, { signal: AbortSignal.timeout(2_000) });
    return response.ok ? ((await response.json()) as ReplicaStatus) : undefined;
  } catch {
    return undefined;
  }
}

async function epochOf(index: number): Promise<{ readonly epoch: number; readonly phase: string } | undefined> {
  const { epochState } = (await statusOf(index)) ?? {};
  return epochState === undefined ? undefined : { epoch: Number(epochState.epoch), phase: String(epochState.phase) };
}

/** The text of each key file, as it must not be found later. */
async function secretsIn(home: string): Promise<readonly Buffer[]> {
  const names = ['signing.seed', 'link.key.pem', 'encryption.key', 'dealing.seed', 'sealing.key', 'share.sealed'];
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(home, 'keys', name), 'utf8');
      return Buffer.from(name === 'link.key.pem' ? text : text.trim());
    }),
  );
}

async function filesIn(home: string): Promise<readonly { readonly name: string; readonly bytes: Buffer }[]> {
  const entries = await readdir(home, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Promise.all(
    files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      return { name: path.slice(home.length + 1), bytes: await readFile(path) };
    }),
  );
}
