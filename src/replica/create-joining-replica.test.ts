/** The home of a replica that is to join: it opens when it can know the service that takes it in. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { writeIdentity } from '../storage/cluster-directory.ts';
import { openHome } from '../storage/home.ts';
import { readSeedFile } from '../storage/seed-file.ts';
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

it.each(['hardware', 'offline'] as const)(
  'recovers by %s with an identity key that is not in the home',
  async (recovery) => {
    const cluster = join(directory, 'cluster');
    const genesis = await createCluster({ directory: cluster, replicas: 4, service: 'kv', basePort: 9_100 });
    const where = { directory: join(directory, 'r4'), host: '127.0.0.1', basePort: 9_500 };
    let path = '';
    const keepIdentity = async (identitySeed: Uint8Array): Promise<void> => {
      path = await writeIdentity(cluster, { replicaId: 'r4', recovery, identitySeed });
    };
    const joining = { ...where, genesis, replicaId: 'r4', recovery, keepIdentity, serviceKey: someServiceKey() };
    const replica = await createJoiningReplica(joining);
    expect(path).toBe(join(cluster, recovery === 'hardware' ? 'keepers/r4/identity.seed' : 'identities/r4.seed'));
    expect(replica).toMatchObject({ recovery, identityKey: (await readSeedFile(path)).publicKey.text });
    for (const part of [path, dirname(path)]) expect(statSync(part).mode & 0o077).toBe(0);
    const seed = readFileSync(path, 'utf8').trim();
    for (const name of readdirSync(where.directory, { recursive: true, encoding: 'utf8' })) {
      const file = join(where.directory, name);
      if (statSync(file).isFile()) expect(readFileSync(file, 'latin1')).not.toContain(seed);
    }
    // Where there is such a key already it is not replaced, and no home is left that nobody can vouch for.
    rmSync(where.directory, { recursive: true });
    await expect(createJoiningReplica(joining)).rejects.toMatchObject({ code: 'already-exists' });
    expect(existsSync(where.directory)).toBe(false);
  },
);
