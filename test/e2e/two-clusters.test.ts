/**
 * Shows that two clusters on one machine are two: what belongs to one is refused by the other, and nothing mixes.
 */
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { homePaths } from '../../src/storage/home.ts';
import { formatGenesis, serviceIdOf } from '../../src/wire/genesis.ts';
import { readAll } from './kv-load.ts';
import { ClientByHand, genesisOf } from './strangers.ts';
import { converge, counted, statusOf, until } from './watching.ts';

const clusters: ProcessCluster[] = [];
const clients: Client[] = [];
let first: ProcessCluster;
let second: ProcessCluster;

beforeAll(async () => {
  for (let i = 0; i < 2; i++) clusters.push(await ProcessCluster.start({ stderr: 'kept' }));
  [first, second] = clusters as [ProcessCluster, ProcessCluster];
  for (const cluster of clusters) clients.push(await connect({ genesis: await cluster.genesis(), deadlineMs: 30_000 }));
});

afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await Promise.all(clusters.map((cluster) => cluster.destroy()));
});

it('data of one is not in the other', async () => {
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
  await Promise.all(
    clients.map((client, i) => Promise.all(keys.map((key) => client.of(kv).put({ key, value: `${i} ${key}` })))),
  );
  for (const [i, client] of clients.entries()) {
    expect([...(await readAll(client, 'k'))].sort()).toEqual(keys.map((key) => [key, `${i} ${key}`]).sort());
  }
});

it('a client with the genesis of one believes nobody of the other', async () => {
  const ours = genesisOf(await first.genesis());
  const theirs = genesisOf(await second.genesis());
  // Our keys at their addresses.
  const misled = {
    ...ours,
    replicas: ours.replicas.map((replica, i) => {
      const { peerAddress, clientAddress } = theirs.replicas[i] as (typeof theirs.replicas)[number];
      return { ...replica, peerAddress, clientAddress };
    }),
  };
  await expect(connect({ genesis: misled, deadlineMs: 2_000 })).rejects.toMatchObject({
    code: 'unavailable',
    outcome: 'not-sent',
    message: expect.stringMatching(/pinned key/),
  });
  // Our keys, our addresses, and a genesis that differs a little: another service.
  const changed = { ...ours, created: ours.created + 1 };
  await expect(connect({ genesis: changed, deadlineMs: 2_000 })).rejects.toMatchObject({
    code: 'unavailable',
    outcome: 'not-sent',
    message: expect.stringMatching(/another service/),
  });
});

it('a request signed for one is refused by the other', async () => {
  const client = await ClientByHand.dial(genesisOf(await second.genesis()), 0);
  const birth = await client.attach();
  const put = { name: 'put', input: { key: 'smuggled', value: 'x' } };
  const request = client.request(birth, put, {}, serviceIdOf(genesisOf(await first.genesis())));
  client.send({ kind: 'request', request: request.bytes });
  expect(await client.next('refused')).toMatchObject({ code: 'bad-signature', requestDigest: request.digest });
  client.close();
  expect(await clients[1]?.of(kv).get({ key: 'smuggled' })).toBe(null);
});

it('a replica with the genesis of the other does not start', async () => {
  const home = second.homeOf(3);
  await second.terminate(3);
  const own = await readFile(join(home, homePaths.genesis));
  await copyFile(join(first.homeOf(3), homePaths.genesis), join(home, homePaths.genesis));
  second.restart(3);
  expect(await second.ended(3)).toEqual({ code: 4, signal: null });
  expect(await second.saidBy(3)).toMatch(/is not the genesis this replica was made for/);
  await writeFile(join(home, homePaths.genesis), own);
  second.restart(3);
  await second.ready(3);
  await converge(second);
});

it('a replica of another cluster, with the same keys and addresses, is turned away by the others', async () => {
  const impostor = 3;
  const home = first.homeOf(impostor);
  await first.kill(impostor);
  const genesis = genesisOf(await first.genesis());
  const changed = { ...genesis, created: genesis.created + 1 };
  await writeFile(join(home, homePaths.genesis), formatGenesis(changed));
  const identity: unknown = JSON.parse(await readFile(join(home, homePaths.replica), 'utf8'));
  const moved = { ...(identity as object), serviceId: serviceIdOf(changed) };
  await writeFile(join(home, homePaths.replica), JSON.stringify(moved));
  for (const path of [homePaths.log, homePaths.logBegan]) await rm(join(home, path), { recursive: true });
  await mkdir(join(home, homePaths.log), { mode: 0o700 });
  first.restart(impostor);

  for (const index of [0, 1, 2]) {
    await until(`r${index} turns it away`, async () => {
      const status = await statusOf(first, index);
      return status !== undefined && counted(status, /^peer-link hello-refused r3$/) > 0 ? true : undefined;
    });
  }
  await clients[0]?.of(kv).put({ key: 'still', value: 'here' });
  const statuses = await converge(first, [0, 1, 2]);
  for (const status of statuses) expect(counted(status, /^(?:equivocation|rejected) /)).toBe(0);
  expect(first.pidOf(impostor)).not.toBe(0);
});
