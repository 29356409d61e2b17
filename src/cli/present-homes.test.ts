/** Whom `up` starts: the replicas of now whose homes are here, whatever the genesis says. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemFiles } from '../platform/files.ts';
import { createCluster } from '../replica/create-cluster.ts';
import { createJoiningReplica } from '../replica/create-joining-replica.ts';
import { writeEpochRecord } from '../storage/epoch-files.ts';
import { type GenesisReplica, serviceIdOf } from '../wire/genesis.ts';
import { openCluster } from './cluster.ts';
import { asOfHomes, homesToRun } from './present-homes.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-homes-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('are those of the newest epoch that a home is in', async () => {
  const path = join(directory, 'cluster');
  const homeOf = (replicaId: string): string => join(path, 'replicas', replicaId);
  const genesis = await createCluster({ directory: path, replicas: 4, service: 'kv', basePort: 9_100 });
  const shown = async () =>
    (await asOfHomes(await openCluster(path))).replicas.map(({ replicaId, home }) => [replicaId, home]);
  expect(await shown()).toEqual(['r0', 'r1', 'r2', 'r3'].map((id) => [id, homeOf(id)]));

  const join4 = { directory: homeOf('r4'), genesis, replicaId: 'r4', host: '127.0.0.1', basePort: 9_500 };
  const r4 = await createJoiningReplica(join4);
  const toRun = async () => (await homesToRun(await openCluster(path))).map(({ replicaId }) => replicaId);
  // Who is to join is to be run as well, once its home is whole; and not any more when it was removed.
  expect(await toRun()).toEqual(['r0', 'r1', 'r2', 'r3', 'r4']);
  renameSync(join(homeOf('r4'), 'joining.json'), join(homeOf('r4'), 'not-yet'));
  expect(await toRun()).toEqual(['r0', 'r1', 'r2', 'r3']);
  renameSync(join(homeOf('r4'), 'not-yet'), join(homeOf('r4'), 'joining.json'));
  const [r0, r1, r2, r3] = genesis.replicas as [GenesisReplica, GenesisReplica, GenesisReplica, GenesisReplica];
  const elsewhere = { ...r4, replicaId: 'far' };
  const turn = async (id: string, epoch: number, replicas: readonly GenesisReplica[]): Promise<void> => {
    const since = { epoch: 0, timestamp: genesis.created };
    const stated = replicas.map((replica) => ({ ...replica, keysSince: since, cleanSince: since }));
    const { name, service } = genesis;
    const serviceId = serviceIdOf(genesis);
    const body = { serviceId, epoch, f: 1, k: 0, name, service, replicas: stated };
    const statement = { ...body, epochGenesis: serviceId, sharingEpoch: epoch };
    await writeEpochRecord(systemFiles, homeOf(id), { statement, signature: undefined, closingProof: undefined });
  };
  await turn('r0', 1, [r0, r1, r2, r3, r4]);
  expect(await shown()).toEqual(['r0', 'r1', 'r2', 'r3', 'r4'].map((id) => [id, homeOf(id)]));
  const { quorumSize, replicas } = await asOfHomes(await openCluster(path));
  expect([quorumSize, replicas[4]]).toMatchObject([4, { httpAddress: '127.0.0.1:9700', recovery: 'awareness' }]);

  // r0 sleeps; r3 has gone, and r4 as well, in whose place there is one on another machine.
  await turn('r1', 2, [r0, r1, r2, elsewhere]);
  expect(await shown()).toEqual([...['r0', 'r1', 'r2'].map((id) => [id, homeOf(id)]), ['far', undefined]]);
  writeFileSync(join(homeOf('r1'), 'epoch.json'), 'damaged');
  expect(await shown()).toHaveLength(5);
  await turn('r4', 2, [r0, r1, r2, elsewhere]);
  expect(await toRun()).toEqual(['r0', 'r1', 'r2']);
});
