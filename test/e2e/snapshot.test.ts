/**
 * Shows that a snapshot of a running cluster verifies with the service key alone, and that homes which have nothing left but their keys
 * go on from it: with the same service key, the same log and the sessions of before.
 */
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { verifyCertifiedReply, verifyConsistency } from 'coterie/verify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { converge, serviceKeyOf, statusOf, until } from './watching.ts';

const program = join(import.meta.dirname, '..', '..', 'dist', 'src', 'cli', 'main.js');

let cluster: ProcessCluster;

beforeEach(async () => {
  cluster = await ProcessCluster.start({ stderr: 'kept' });
});

afterEach(() => cluster?.destroy());

interface Ended {
  readonly exitCode: number;
  // biome-ignore lint/suspicious/noExplicitAny: the JSON of a command, looked at field by field.
  readonly said: any;
}

/** `coterie snapshot …`, in a process of its own. */
function snapshot(...parameters: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, 'snapshot', ...parameters, '--json'], (error, stdout) => {
      resolve({ exitCode: error === null ? 0 : Number(error.code), said: JSON.parse(stdout) });
    });
  });
}

const indexes = (): readonly number[] => [...Array(cluster.size).keys()];
const fileOf = (name: string): string => join(cluster.clusterDirectory, '..', name);

async function put(key: string, value: string): Promise<void> {
  const client = await connect({ genesis: await cluster.genesis(), deadlineMs: 60_000 });
  try {
    await client.of(kv).put({ key, value });
  } finally {
    await client.close();
  }
}

async function certifiedGet(key: string): Promise<unknown> {
  const response = await fetch(`${await cluster.urlOf(1)}/v1/call`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ operation: 'get', input: { key }, deadlineMs: 30_000 }),
  });
  return response.json();
}

async function headOf(index: number): Promise<{ readonly head: { readonly logSize: number; readonly epoch: number } }> {
  return (await fetch(`${await cluster.urlOf(index)}/v1/head`)).json() as ReturnType<typeof headOf>;
}

async function startAll(): Promise<void> {
  for (const index of indexes()) cluster.restart(index);
  for (const index of indexes()) await cluster.ready(index);
}

async function exported(serviceKey: string): Promise<Ended['said']> {
  const file = fileOf('backup.snapshot');
  const { exitCode, said } = await snapshot(
    'export',
    '--cluster',
    cluster.clusterDirectory,
    '--out',
    file,
    '--timeout',
    '30',
  );
  expect([exitCode, said.error]).toEqual([0, undefined]);
  const verified = await snapshot('verify', file, '--service-key', serviceKey);
  expect(verified).toMatchObject({ exitCode: 0, said: { proven: true, snapshot: { checkpoint: said.checkpoint } } });
  return said;
}

describe('a snapshot of a running cluster', () => {
  it('restores homes that have nothing left but their keys, which go on with the same log', async () => {
    const serviceKey = await serviceKeyOf(cluster);
    await put('before', 'kept');
    await until('a certified checkpoint', async () =>
      (await statusOf(cluster, 0))?.stableCommitIndex ? true : undefined,
    );
    const backup = await exported(serviceKey);
    expect(backup.stateEntries).toBeGreaterThan(0);
    const other = `${serviceKey.startsWith('8') ? '9' : '8'}${serviceKey.slice(1)}`;
    expect((await snapshot('verify', fileOf('backup.snapshot'), '--service-key', other)).exitCode).not.toBe(0);
    await put('after', 'lost');

    // Nobody restores under a replica that runs, or loses anything unasked.
    const restore = (...more: readonly string[]): Promise<Ended> =>
      snapshot('restore', fileOf('backup.snapshot'), '--cluster', cluster.clusterDirectory, ...more);
    expect((await restore()).said.error.code).toBe('home-locked');
    for (const index of indexes()) await cluster.terminate(index);
    const refused = await restore('--service-key', serviceKey);
    expect(refused).toMatchObject({ exitCode: 1, said: { error: { code: 'state-newer' } } });

    for (const index of indexes()) {
      for (const name of ['log', 'log-began', 'state', 'service-key', join('keys', 'share.sealed')]) {
        await rm(join(cluster.homeOf(index), name), { recursive: true, force: true });
      }
    }
    const restored = await restore('--service-key', serviceKey);
    expect(restored).toMatchObject({ exitCode: 0, said: { epoch: 1, restored: ['r0', 'r1', 'r2', 'r3'] } });

    await startAll();
    expect(await serviceKeyOf(cluster)).toBe(serviceKey);
    await put('later', 'new');
    const statuses = await converge(cluster);
    for (const { epoch, observer, commitIndex } of statuses) {
      expect([epoch, observer]).toEqual([1, false]);
      expect(commitIndex).toBeGreaterThan(backup.commitIndex);
    }
    const outcomes = [];
    for (const key of ['before', 'after', 'later']) {
      const verdict = verifyCertifiedReply(await certifiedGet(key), serviceKey);
      outcomes.push(verdict.ok ? [verdict.reply.head.epoch, verdict.reply.operations[0]?.outcome] : verdict.reason);
    }
    expect(outcomes).toEqual([
      [1, { ok: true, value: 'kept' }],
      [1, { ok: true, value: null }],
      [1, { ok: true, value: 'new' }],
    ]);

    // The log goes on from what the service had signed of it.
    const { head } = await headOf(0);
    const query = `from=${backup.head.logSize}&to=${head.logSize}`;
    const proof = (await (await fetch(`${await cluster.urlOf(0)}/v1/proof?${query}`)).json()) as { path: unknown };
    expect(verifyConsistency(backup.head, head, proof.path)).toEqual({ ok: true });
  }, 180_000);

  it('takes a cluster back when it is told to, in a new epoch each time', async () => {
    const serviceKey = await serviceKeyOf(cluster);
    await put('before', 'kept');
    const backup = await exported(serviceKey);
    for (const epoch of [1, 2]) {
      await put('after', `lost in epoch ${epoch}`);
      for (const index of indexes()) await cluster.terminate(index);
      const { exitCode, said } = await snapshot(
        ...['restore', fileOf('backup.snapshot'), '--cluster', cluster.clusterDirectory, '--roll-back'],
      );
      expect([exitCode, said.error]).toEqual([0, undefined]);
      expect(said).toMatchObject({ epoch, snapshot: { checkpoint: backup.checkpoint } });
      await startAll();
      const statuses = await converge(cluster);
      expect(statuses.map((status) => [status.epoch, status.observer])).toEqual(indexes().map(() => [epoch, false]));
      const verdict = verifyCertifiedReply(await certifiedGet('after'), serviceKey);
      expect(verdict).toMatchObject({ ok: true, reply: { operations: [{ outcome: { ok: true, value: null } }] } });
    }
    // A replica that dies goes on in that epoch too.
    await cluster.kill(2);
    cluster.restart(2);
    await cluster.ready(2);
    expect((await converge(cluster)).map(({ epoch }) => epoch)).toEqual([2, 2, 2, 2]);
    // And one that lost its state gets it from the others, not from the log, which does not go back to the beginning.
    await cluster.kill(3);
    await rm(join(cluster.homeOf(3), 'state'), { recursive: true });
    cluster.restart(3);
    await cluster.ready(3);
    const caughtUp = await converge(cluster);
    expect(new Set(caughtUp.map(({ commitIndex }) => commitIndex)).size).toBe(1);
    expect(caughtUp.map(({ stateRoot }) => stateRoot)).toEqual(indexes().map(() => caughtUp[0]?.stateRoot));
  }, 180_000);

  it('is refused when a bit of it was flipped', async () => {
    const serviceKey = await serviceKeyOf(cluster);
    await put('before', 'kept');
    await exported(serviceKey);
    const bytes = await readFile(fileOf('backup.snapshot'));
    bytes[Math.floor(bytes.length / 2)]! ^= 4;
    await writeFile(fileOf('backup.snapshot'), bytes);
    const verdict = await snapshot('verify', fileOf('backup.snapshot'), '--service-key', serviceKey);
    expect(verdict).toMatchObject({ exitCode: 1, said: { error: { code: 'not-proven' } } });
  }, 60_000);
});
