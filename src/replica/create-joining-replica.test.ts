/** The home of a replica that is to join: it opens when it can know the service that takes it in. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { openHome } from '../storage/home.ts';
import { createCluster } from './create-cluster.ts';
import { createJoiningReplica } from './create-joining-replica.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-joining-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function make(serviceKey: string | undefined): Promise<string> {
  const cluster = join(directory, 'cluster');
  const genesis = await createCluster({ directory: cluster, replicas: 4, service: 'kv', basePort: 9_100 });
  const home = join(directory, 'r4');
  const where = { host: '127.0.0.1', basePort: 9_500 };
  await createJoiningReplica({ directory: home, genesis, replicaId: 'r4', ...where, serviceKey });
  return home;
}

const { g2 } = mclCurve;
const someServiceKey = (): string => Buffer.from(g2.encode(g2.generator)).toString('hex');

it('holds the service key when it was made with it', async () => {
  const home = await openHome(await make(someServiceKey()));
  expect(home).toMatchObject({ replicaId: 'r4', replicaIndex: -1, epoch: 0, serviceKey: someServiceKey() });
  await home.close();
});

it('says what is missing when it has no service key, and opens when that was put there', async () => {
  const path = await make(undefined);
  await expect(openHome(path)).rejects.toMatchObject({
    code: 'service-key-missing',
    message: expect.stringContaining(join(path, 'service-key')),
  });
  writeFileSync(join(path, 'service-key'), `${someServiceKey()}\n`);
  const home = await openHome(path);
  expect(home.serviceKey).toBe(someServiceKey());
  await home.close();
});
