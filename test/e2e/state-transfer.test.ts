/**
 * Shows that real replicas that miss what the others have dropped, or have an old state, none, or nothing but their keys, get it from
 * the others while clients write; that a transfer which is killed goes on where it was; and that a cluster that
 * was stopped as a whole goes on from its checkpoints.
 *
 * One cluster for all of it, whose replicas keep as few blocks as they may. Each test leaves it as it found it, but for r1.
 */
import { cp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { type ReplyVerdict, verifyCertifiedHead, verifyCertifiedReply, verifyConsistency } from 'coterie/verify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import type { TransferProgress } from '../../src/recovery/effects.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import { isThorough } from '../thorough.ts';
import { KvLoad } from './kv-load.ts';
import {
  askProven,
  caughtUp,
  converge,
  counted,
  isMarkedLost,
  type Line,
  restarted,
  serviceKeyOf,
  statusOf,
  until,
} from './watching.ts';

const valueSizeBytes = 64 * 1024;
const valuesMin = 240;

let cluster: ProcessCluster;
let serviceKey: string;
let load: KvLoad;
let values = 0;

beforeAll(async () => {
  cluster = await ProcessCluster.start({
    stderr: 'kept',
    checkpointIntervalMs: 200,
    replicaOptions: ['--retain-blocks', '0', '--log-level', 'info'],
  });
  serviceKey = await serviceKeyOf(cluster);
  await fill(valuesMin);
  load = await KvLoad.start({ genesis: await cluster.genesis(), pauseMs: 60, deadlineMs: 90_000 });
}, 120_000);

afterAll(async () => {
  await load?.close();
  await cluster?.destroy();
});

/** Grows the state by so many values, none of which is written again. */
async function fill(count: number): Promise<void> {
  const client = await connect({ genesis: await cluster.genesis(), deadlineMs: 60_000 });
  const writeNext = (): Promise<unknown> => {
    values += 1;
    return client.of(kv).put({ key: `bulk/${values}`, value: bulkValue(values) });
  };
  await Promise.all(Array.from({ length: count }, writeNext));
  await client.close();
}

/** The position that a replica's log begins at; what is before it is dropped. */
async function logBegins(index: number): Promise<number> {
  const names = await readdir(join(cluster.homeOf(index), 'log'));
  return Math.min(...names.filter((name) => name.endsWith('.log')).map((name) => Number.parseInt(name, 10)));
}

/** Bytes of parts of the state that it was sent, over all fetching in these lines. */
function bytesReceived(lines: readonly Line[]): number {
  const done = lines.filter(({ msg }) => msg === 'the state is fetched');
  expect(done).not.toEqual([]);
  return done.reduce((sum, line) => sum + Number(line.bytesReceived), 0);
}

/** Resolves when a replica runs, has its state from the others, and knows all that they knew when this was called. */
async function fetched(index: number): Promise<ReplicaStatus> {
  const status = await caughtUp(cluster, index);
  expect(counted(status, /^state-fetch$/)).toBeGreaterThan(0);
  return status;
}

/** Resolves when a replica makes blocks again and has its share of the service key. */
async function takesPart(index: number): Promise<void> {
  const { round: before } = await cluster.ready(index).then(() => until('a status', () => statusOf(cluster, index)));
  await until(`r${index} proposes and signs`, async () => {
    const status = await statusOf(cluster, index);
    return status !== undefined && status.round > before && !status.observer && status.hasKeyShare ? true : undefined;
  });
}

const provenBy = (index: number, key: string): Promise<unknown> =>
  until(`r${index} proves ${key}`, () => askProven(cluster, { index, key, serviceKey }));

const bulkValue = (number: number): string =>
  String(number)
    .padStart(8, '0')
    .repeat(valueSizeBytes / 8);

/** A certified head as a replica gives it. */
async function headOf(index: number): Promise<{ readonly head: { readonly logSize: number } }> {
  const verdict = await (await fetch(`${await cluster.urlOf(index)}/v1/head`)).json();
  expect(verifyCertifiedHead(verdict, serviceKey)).toMatchObject({ ok: true });
  return verdict as { readonly head: { readonly logSize: number } };
}

async function certifiedGet(index: number, key: string): Promise<ReplyVerdict> {
  const response = await fetch(`${await cluster.urlOf(index)}/v1/call`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ operation: 'get', input: { key }, deadlineMs: 30_000 }),
  });
  return verifyCertifiedReply(await response.json(), serviceKey);
}

/** Watches a replica that begins to fetch until it has so much of the state, or all. */
async function underWay(index: number, share: number): Promise<void> {
  for (const endMs = performance.now() + 50_000; ; await sleep(5)) {
    if (performance.now() > endMs) throw new Error(`in vain: r${index} fetches its state`);
    const status = await statusOf(cluster, index);
    const { sizeBytes, sizeBytesTotal } = status?.transfer ?? { sizeBytes: 0, sizeBytesTotal: 0 };
    if (status?.phase === 'running' || (sizeBytesTotal > 0 && sizeBytes > share * sizeBytesTotal)) return;
  }
}

describe('replicas that keep few blocks, under load', () => {
  it('bring one that was away for too long back by state transfer, and it proposes and signs again', async () => {
    await cluster.terminate(3);
    const before = await Promise.all([0, 1, 2].map(logBegins));
    await fill(40);
    await until('the others drop blocks that r3 has not seen', async () => {
      await load.goesOn(20);
      const after = await Promise.all([0, 1, 2].map(logBegins));
      return after.every((position, i) => position > before[i]! + 2 * 1024 * 1024) ? true : undefined;
    });
    const lines = await restarted(cluster, 3);
    await fetched(3);
    await takesPart(3);
    const said = await lines();
    const began = said.find(({ msg }) => msg === 'fetching the state from the others');
    expect(began).toMatchObject({ reason: 'the others have dropped the blocks that it needs' });
    // It remembers through all its lives which block it made last.
    const rounds = said.filter(({ msg }) => msg === 'the replica runs').map(({ round }) => Number(round));
    expect(rounds).toEqual(rounds.toSorted((a, b) => a - b));
    expect(await provenBy(3, `bulk/${values}`)).toBe(bulkValue(values));
  }, 120_000);

  it('bring back one whose state was removed', async () => {
    await cluster.terminate(2);
    await rm(join(cluster.homeOf(2), 'state'), { recursive: true });
    const lines = await restarted(cluster, 2);
    await fetched(2);
    await takesPart(2);
    expect(bytesReceived(await lines())).toBeGreaterThan(values * valueSizeBytes);
    expect(await provenBy(2, 'bulk/1')).toBe(bulkValue(1));
  }, 120_000);

  it.runIf(isThorough)(
    'bring back one whose state was put back to an older copy, after which its own log has dropped blocks',
    async () => {
      const state = join(cluster.homeOf(2), 'state');
      const copy = `${state}-copy`;
      await cluster.terminate(2);
      await cp(state, copy, { recursive: true });
      cluster.restart(2);
      const before = await logBegins(2);
      await until('r2 drops blocks that came after the copy', async () => {
        await fill(20);
        return (await logBegins(2)) > before + 2 * 1024 * 1024 ? true : undefined;
      });
      await cluster.terminate(2);
      await rm(state, { recursive: true });
      await rename(copy, state);
      const lines = await restarted(cluster, 2);
      await fetched(2);
      await takesPart(2);
      const began = (await lines()).find(({ msg }) => msg === 'fetching the state from the others');
      expect(began).toMatchObject({ reason: expect.stringContaining('older than the log') });
      expect(await provenBy(2, `bulk/${values}`)).toBe(bulkValue(values));
    },
    120_000,
  );

  it('let one that was killed in the middle of a transfer go on where it was', async () => {
    const sources = [0, 1, 2];
    let before: TransferProgress | undefined;
    for (let attempt = 0; before === undefined; attempt++) {
      if (attempt === 6) throw new Error('the transfer was never caught in the middle');
      await cluster.terminate(3);
      await rm(join(cluster.homeOf(3), 'state'), { recursive: true });
      // One source, so that it takes longer; and no commits, so that it is one checkpoint.
      for (const index of [0, 1]) cluster.freeze(index);
      cluster.restart(3);
      await underWay(3, 0.25);
      cluster.freeze(2);
      // What has come is verified and written; no more comes.
      await sleep(1_000);
      const status = await statusOf(cluster, 3);
      expect(status?.phase === 'fetching-state' || status?.phase === 'running').toBe(true);
      if (status?.transfer?.phase === 'fetching') before = status.transfer;
      if (before === undefined) for (const index of sources) cluster.thaw(index);
    }
    await cluster.kill(3);
    cluster.thaw(2);
    const lines = await restarted(cluster, 3);
    const said = await until('r3 has the rest', async () => {
      const seen = await lines();
      return seen.some(({ msg }) => msg === 'the state is fetched') ? seen : undefined;
    });
    const reason = 'it was being fetched when the replica ended';
    expect(said.find(({ msg }) => msg === 'fetching the state from the others')).toMatchObject({ reason });
    expect(bytesReceived(said)).toBeLessThan(before.sizeBytesTotal - before.sizeBytes / 2);
    for (const index of [0, 1]) cluster.thaw(index);
    await fetched(3);
    await takesPart(3);
    expect(await provenBy(3, 'bulk/2')).toBe(bulkValue(2));
  }, 120_000);

  it('have one that kept nothing but its keys as an observer, which has the same state and proves it', async () => {
    await cluster.kill(1);
    for (const name of ['log', 'state', join('keys', 'share.sealed')]) {
      await rm(join(cluster.homeOf(1), name), { recursive: true });
    }
    await restarted(cluster, 1);
    expect(await fetched(1)).toMatchObject({ observer: true });
    expect(await isMarkedLost(cluster.homeOf(1))).toBe(true);
    expect(await provenBy(1, 'bulk/3')).toBe(bulkValue(3));
    const statuses = await converge(cluster);
    expect(new Set(statuses.map(({ stateRoot }) => stateRoot)).size).toBe(1);
    expect(statuses.map(({ observer }) => observer)).toEqual([false, true, false, false]);
  }, 120_000);

  it('go on from their checkpoints when all of them were stopped, and answer with proofs', async () => {
    const headBefore = await headOf(0);
    await Promise.all([cluster.terminate(0), cluster.terminate(1), cluster.kill(2), cluster.terminate(3)]);
    const lines = await Promise.all([0, 1, 2, 3].map((index) => restarted(cluster, index)));
    for (const index of [0, 1, 2, 3]) await cluster.ready(index);
    await load.goesOn(50);
    const reply = await certifiedGet(0, 'bulk/4');
    expect(reply).toMatchObject({ ok: true, reply: { operations: [{ outcome: { value: bulkValue(4) } }] } });
    for (const index of [0, 1, 2, 3]) {
      expect((await lines[index]!()).map(({ msg }) => msg)).toContain('the state is that of its checkpoint');
      expect(await provenBy(index, 'bulk/4')).toBe(bulkValue(4));
    }
    const headAfter = await headOf(1);
    const sizes = `from=${headBefore.head.logSize}&to=${headAfter.head.logSize}`;
    const { path } = (await (await fetch(`${await cluster.urlOf(1)}/v1/proof?${sizes}`)).json()) as { path: unknown };
    expect(verifyConsistency(headBefore.head, headAfter.head, path)).toEqual({ ok: true });
    expect(await isMarkedLost(cluster.homeOf(1))).toBe(true);

    await load.finish();
    expect(load.failures).toEqual([]);
    expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });
    const statuses = await converge(cluster);
    for (const status of statuses) {
      expect(counted(status, /^equivocation|^diverged/)).toBe(0);
      expect(status.blockLogSizeBytes).toBeLessThan(8 * 1024 * 1024);
    }
  }, 120_000);
});
