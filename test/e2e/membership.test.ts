/**
 * Shows that administrators change who the replicas are while clients work: from four replicas to seven, to an f of two, through two
 * failures, and back to four. Nothing is lost, clients know the service by one key throughout, and who leaves keeps no key.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from 'coterie/client';
import { verifyCertifiedReply } from 'coterie/verify';
import { afterEach, expect, it } from 'vitest';
import { freePort, ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import type { EpochReport } from '../../src/wire/epoch-report.ts';
import { KvLoad } from './kv-load.ts';
import { serviceKeyOf, until } from './watching.ts';

const program = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const joiners = [4, 5, 6];

let cluster: ProcessCluster;
let load: KvLoad | undefined;

afterEach(async () => {
  await load?.close();
  await cluster?.destroy();
});

it('four replicas become seven, bear two failures, and are four again, with one service key and nothing lost', async () => {
  cluster = await ProcessCluster.start({
    epochs: { intervalMs: 0, successorWaitMs: 1_500 },
    stderr: 'kept',
  });
  const serviceKey = await serviceKeyOf(cluster);
  await writeFile(join(cluster.clusterDirectory, 'service-key'), `${serviceKey}\n`);
  const genesis = await cluster.genesis();
  const first = await connect({ genesis, serviceKey });
  const { document } = await first.callCertified('put', { key: 'first', value: 'of the first epoch' });
  await first.close();
  load = await KvLoad.start({ genesis, followKey: serviceKey, clients: 2, callersPerClient: 2, pauseMs: 40 });
  await load.goesOn(50);

  // Who is to join waits, and is there when its epoch begins.
  const basePort = await freePort();
  for (const index of joiners) {
    const home = cluster.homeOf(index);
    const port = String(basePort + index);
    await coterie('admin', 'make-replica', home, '--id', `r${index}`, '--base-port', port);
    await coterie('admin', 'add', join(home, 'joining.json'));
    cluster.restart(index);
  }
  await advance();
  expect(await membership()).toEqual({ epoch: 1, f: 1, ids: ['r0', 'r1', 'r2', 'r3', 'r4', 'r5', 'r6'] });
  for (const index of joiners) await hasKeyShare(index, 1);
  await load.goesOn(50);

  await coterie('admin', 'rule', '2');
  await advance();
  expect(await membership()).toMatchObject({ epoch: 2, f: 2 });
  for (const index of [0, ...joiners]) await hasKeyShare(index, 2);
  // Two of the seven: one from the beginning, one that joined.
  await Promise.all([cluster.kill(1), cluster.kill(5)]);
  await load.goesOn(50);
  for (const index of [1, 5]) cluster.restart(index);
  for (const index of [1, 5]) await hasKeyShare(index, 2);

  await coterie('admin', 'rule', '1');
  for (const index of joiners) await coterie('admin', 'remove', `r${index}`);
  await advance();
  expect(await membership()).toEqual({ epoch: 3, f: 1, ids: ['r0', 'r1', 'r2', 'r3'] });
  for (const index of joiners) {
    expect(await cluster.ended(index)).toEqual({ code: 0, signal: null });
    expect(await keysIn(cluster.homeOf(index))).toEqual([]);
    // And it says why, when somebody starts it all the same.
    cluster.restart(index);
    expect(await cluster.ended(index)).toEqual({ code: 4, signal: null });
    expect(await cluster.saidBy(index)).toContain(
      `Replica "r${index}" is not in the membership of epoch 3: it was removed`,
    );
  }
  await load.goesOn(50);

  await load.finish();
  expect(load.failures).toEqual([]);
  expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });
  for (const index of [0, 1, 2, 3]) {
    expect(await hasKeyShare(index, 3)).toMatchObject({ serviceKey, diverged: false });
  }
  expect(verifyCertifiedReply(document, serviceKey)).toMatchObject({ ok: true });
}, 300_000);

/** Runs a command as an administrator does; rejects with what it says when it fails. */
function coterie(...parameters: readonly string[]): Promise<string> {
  const env = { ...process.env, COTERIE_CLUSTER: cluster.clusterDirectory, NO_COLOR: '1' };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, ...parameters], { env }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`coterie ${parameters.join(' ')}: ${stdout}${stderr}`));
    });
  });
}

function advance(): Promise<string> {
  return coterie('epoch', 'advance', '--wait', '--timeout', '90');
}

/** As the first replica says. */
async function membership(): Promise<unknown> {
  return until('the first replica answers', async () => {
    const { epochState } = (await statusOf(0)) ?? {};
    if (epochState === undefined) return undefined;
    const { epoch, membership: body } = epochState as unknown as EpochReport;
    return { epoch, f: body.f, ids: body.replicas.map(({ replicaId }) => replicaId) };
  });
}

function hasKeyShare(index: number, epoch: number): Promise<ReplicaStatus> {
  return until(`r${index} has its key share of epoch ${epoch}`, async () => {
    const status = await statusOf(index);
    return status?.epoch === epoch && status.keyState === 'ready' ? status : undefined;
  });
}

/** From the address that is in its home: not all of them are in the genesis. */
async function statusOf(index: number): Promise<ReplicaStatus | undefined> {
  const path = joiners.includes(index) ? join(cluster.homeOf(index), 'joining.json') : undefined;
  const url =
    path === undefined ? await cluster.urlOf(index) : `http://${JSON.parse(await readFile(path, 'utf8')).httpAddress}`;
  try {
    const response = await fetch(`${url}/v1/status`, { signal: AbortSignal.timeout(2_000) });
    return response.ok ? ((await response.json()) as ReplicaStatus) : undefined;
  } catch {
    return undefined;
  }
}

/** Files in directories of keys, of any epoch. */
async function keysIn(home: string): Promise<readonly string[]> {
  const names = await readdir(home, { recursive: true });
  return names.filter((name) => /(?:^|\/)keys(?:\/|$)|\.(?:seed|pem|sealed)$/.test(name));
}
