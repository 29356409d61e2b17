/**
 * Shows that a replica which computes something else notices, says so everywhere, signs nothing of it, goes back to what is
 * certified as often as it has to, and keeps nobody else from anything.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { verifyCertifiedReply } from 'coterie/verify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { counted, serviceKeyOf, statusOf, until } from './watching.ts';

let cluster: ProcessCluster;

beforeEach(async () => {
  cluster = await ProcessCluster.start({ started: false, stderr: 'kept' });
});

afterEach(() => cluster?.destroy());

async function call(index: number, operation: string, input: unknown): Promise<Response> {
  return fetch(`${await cluster.urlOf(index)}/v1/call`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ operation, input, deadlineMs: 30_000 }),
  });
}

describe('a replica that runs something else', () => {
  it('notices that it has diverged, says so, signs nothing of it, and goes back to what is certified', async () => {
    const flawed = join(import.meta.dirname, '..', '..', 'dist', 'test', 'e2e', 'flawed-kv.js');
    const identityPath = join(cluster.homeOf(3), 'replica.json');
    const identity = JSON.parse(await readFile(identityPath, 'utf8')) as Record<string, unknown>;
    await writeFile(identityPath, JSON.stringify({ ...identity, service: flawed }), { mode: 0o600 });
    for (let index = 0; index < cluster.size; index++) cluster.restart(index);
    const serviceKey = await serviceKeyOf(cluster);

    await call(0, 'put', { key: 'a', value: 'one' });
    const read = verifyCertifiedReply(await (await call(0, 'get', { key: 'a' })).json(), serviceKey);
    expect(read).toMatchObject({ ok: true, reply: { operations: [{ outcome: { ok: true, value: 'one' } }] } });

    const status = await until('r3 notices', async () => {
      await call(1, 'get', { key: 'a' });
      const seen = await statusOf(cluster, 3);
      return seen?.diverged ? seen : undefined;
    });
    expect(status.hasKeyShare).toBe(false);
    const url = await cluster.urlOf(3);
    // It goes back, runs, and is wrong again as soon as somebody reads.
    const whenRead = (what: string, ask: () => Promise<boolean>): Promise<true> =>
      until(what, async () => {
        await call(1, 'get', { key: 'a' });
        return (await ask()) ? true : undefined;
      });
    await whenRead('r3 is not healthy', async () => (await fetch(`${url}/healthz`)).status === 503);
    await whenRead('the metrics say so', async () => {
      return /coterie_diverged\{replica="r3"\} 1/.test(await (await fetch(`${url}/metrics`)).text());
    });
    await whenRead('r3 goes back and diverges again', async () => {
      const seen = await statusOf(cluster, 3);
      return seen !== undefined && counted(seen, /^state-fetch$/) >= 2;
    });
    expect(await cluster.saidBy(3)).toMatch(/diverged/);
    // Asked for a proof it refuses, or proves what is right; the others go on, without it.
    const answer = await call(3, 'get', { key: 'a' });
    if (answer.status === 200) {
      const verdict = verifyCertifiedReply(await answer.json(), serviceKey);
      expect(verdict).toMatchObject({ ok: true, reply: { operations: [{ outcome: { value: 'one' } }] } });
    } else expect(answer.status).toBe(503);
    for (const index of [0, 1, 2]) {
      const verdict = verifyCertifiedReply(await (await call(index, 'get', { key: 'a' })).json(), serviceKey);
      expect(verdict).toMatchObject({ ok: true, reply: { operations: [{ outcome: { value: 'one' } }] } });
      expect((await statusOf(cluster, index))?.diverged).toBe(false);
    }
  }, 120_000);
});
