/**
 * Shows on real processes that the service key comes into being by itself, whatever happens to replicas meanwhile, that it
 * stays the same for ever, and that a replica without its sealed share has it again from its log.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { verifyCertifiedReply } from 'coterie/verify';
import { afterEach, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { serviceKeyOf, statusOf, until } from './watching.ts';

let cluster: ProcessCluster;

afterEach(() => cluster?.destroy());

async function certifiedPut(index: number, value: string): Promise<unknown> {
  const response = await fetch(`${await cluster.urlOf(index)}/v1/call`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ operation: 'put', input: { key: 'a', value }, deadlineMs: 30_000 }),
  });
  return response.json();
}

const hasShare = (index: number): Promise<true> =>
  until(`r${index} has its key share`, async () => ((await statusOf(cluster, index))?.hasKeyShare ? true : undefined));

describe('key generation', () => {
  it('resumes when all replicas are killed in the middle of it, again and again', async () => {
    cluster = await ProcessCluster.start({ started: false, stderr: 'inherit' });
    // Killed ever later, so that every phase is hit on some machine.
    for (let delayMs = 150; delayMs < 1_200; delayMs = Math.round(delayMs * 1.35)) {
      for (let index = 0; index < cluster.size; index++) cluster.restart(index);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      for (let index = 0; index < cluster.size; index++) await cluster.kill(index);
    }
    for (let index = 0; index < cluster.size; index++) cluster.restart(index);
    const serviceKey = await serviceKeyOf(cluster);
    for (let index = 0; index < cluster.size; index++) await hasShare(index);
    expect(verifyCertifiedReply(await certifiedPut(0, 'first'), serviceKey).ok).toBe(true);
  }, 120_000);

  it('needs a quorum only, and lets the last one in later', async () => {
    cluster = await ProcessCluster.start({ started: false, stderr: 'inherit' });
    for (const index of [0, 1, 2]) cluster.restart(index);
    const serviceKey = await serviceKeyOf(cluster, [0, 1, 2]);
    expect(verifyCertifiedReply(await certifiedPut(1, 'without r3'), serviceKey).ok).toBe(true);
    cluster.restart(3);
    expect(await serviceKeyOf(cluster)).toBe(serviceKey);
    await hasShare(3);
    // It is needed now, and able.
    await cluster.kill(0);
    expect(verifyCertifiedReply(await certifiedPut(3, 'with r3'), serviceKey).ok).toBe(true);
  }, 120_000);

  it('leaves a key that survives everything, and shares that are sealed', async () => {
    cluster = await ProcessCluster.start({ stderr: 'inherit' });
    const serviceKey = await serviceKeyOf(cluster);
    for (let index = 0; index < cluster.size; index++) await hasShare(index);
    const sealedPath = join(cluster.homeOf(2), 'keys', 'share.sealed');
    await until('the share is sealed', () =>
      readFile(sealedPath).then(
        () => true,
        () => undefined,
      ),
    );
    for (let index = 0; index < cluster.size; index++) await cluster.kill(index);
    await rm(sealedPath);
    for (let index = 0; index < cluster.size; index++) cluster.restart(index);
    expect(await serviceKeyOf(cluster)).toBe(serviceKey);
    await hasShare(2);
    await cluster.kill(0);
    expect(verifyCertifiedReply(await certifiedPut(2, 'again'), serviceKey).ok).toBe(true);
    await until('the share is sealed again', () =>
      readFile(sealedPath).then(
        () => true,
        () => undefined,
      ),
    );
  }, 120_000);
});
