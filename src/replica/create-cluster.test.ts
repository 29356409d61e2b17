import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { firstMembership } from '../membership/genesis.ts';
import { readClusterDirectory } from '../storage/cluster-directory.ts';
import { openHome } from '../storage/home.ts';
import { readSeedFile } from '../storage/seed-file.ts';
import { FaultyFiles } from '../storage/testing/faulty-files.ts';
import { formatAddress, parseGenesis } from '../wire/genesis.ts';
import { createCluster } from './create-cluster.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'coterie-cluster-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('a new cluster', () => {
  it('has a home that opens for each replica, all of one genesis', async () => {
    const directory = join(root, 'ledger');
    const genesis = await createCluster({ directory, replicas: 4, service: 'kv' });
    expect(genesis).toMatchObject({ name: 'ledger', service: 'kv', f: 1, k: 0 });
    expect(firstMembership(genesis).ok).toBe(true);
    const cluster = await readClusterDirectory(directory);
    expect(cluster.genesis).toEqual(genesis);
    expect(await readdir(root)).toEqual(['ledger']);
    const keys = new Set<string>();
    for (const { directory: path } of cluster.homes) {
      const home = await openHome(path);
      expect(home.genesis).toEqual(genesis);
      keys.add(home.signingKey.publicKey.text).add(home.linkKeyPem).add(`${home.decryptionKey}`);
      for (const secret of [home.dealingSeed, home.sealingKey]) {
        expect(secret).toHaveLength(32);
        keys.add(Buffer.from(secret).toString('hex'));
      }
      await home.close();
    }
    expect(keys.size).toBe(20);
  });

  it('listens on ports that follow one another', async () => {
    const directory = join(root, 'c');
    const { replicas } = await createCluster({ directory, replicas: 4, service: 'kv', host: '::1', basePort: 9000 });
    expect(replicas.map(({ peerAddress }) => formatAddress(peerAddress))).toEqual(
      [0, 1, 2, 3].map((i) => `[::1]:${9000 + i}`),
    );
    expect(replicas.map(({ clientAddress }) => clientAddress.port)).toEqual([9100, 9101, 9102, 9103]);
    expect(replicas.map(({ httpAddress }) => httpAddress.port)).toEqual([9200, 9201, 9202, 9203]);
  });

  it('may use the last port there is', async () => {
    const { replicas } = await createCluster({
      directory: join(root, 'c'),
      replicas: 4,
      service: 'kv',
      basePort: 65_332,
    });
    expect(replicas[3]?.httpAddress.port).toBe(65_535);
  });

  it('takes checkpoints as often as it is told, and every 10 s else', async () => {
    const often = { directory: join(root, 'often'), replicas: 4, service: 'kv', checkpointIntervalMs: 0 };
    expect((await createCluster(often)).checkpointIntervalMs).toBe(0);
    const usual = await createCluster({ directory: join(root, 'c'), replicas: 4, service: 'kv' });
    expect(usual.checkpointIntervalMs).toBe(10_000);
  });

  it('makes heads due as often as it is told, and every 10 ms else', async () => {
    const often = { directory: join(root, 'often'), replicas: 4, service: 'kv', headIntervalMs: 250 };
    expect((await createCluster(often)).headIntervalMs).toBe(250);
    expect((await createCluster({ directory: join(root, 'c'), replicas: 4, service: 'kv' })).headIntervalMs).toBe(10);
  });

  it('ends its epochs as it is told, and only when it is asked else', async () => {
    const timed = { directory: join(root, 'timed'), replicas: 4, service: 'kv' };
    const told = { ...timed, epochIntervalMs: 60_000, successorWaitMs: 500 };
    expect(await createCluster(told)).toMatchObject({ epochIntervalMs: 60_000, successorWaitMs: 500 });
    const usual = await createCluster({ ...timed, directory: join(root, 'c') });
    expect(usual).toMatchObject({ epochIntervalMs: 0, successorWaitMs: 30_000 });
  });

  it('has one administrator, and replicas that recover by awareness, unless it is told otherwise', async () => {
    const directory = join(root, 'c');
    const genesis = await createCluster({ directory, replicas: 4, service: 'kv' });
    const key = await readSeedFile(join(directory, 'administrators', 'admin-0.seed'));
    expect(genesis.administrators).toEqual({ approvals: 1, keys: [key.publicKey.text] });
    expect(genesis.replicas.map(({ recovery }) => recovery)).toEqual(Array(4).fill('awareness'));
    expect((await readdir(directory)).toSorted()).toEqual(['administrators', 'client', 'genesis.json', 'replicas']);
  });

  it.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [16, 9],
  ])(
    'of %s administrators needs %s, more than half, unless it is told otherwise',
    async (administrators, approvals) => {
      const at = { directory: join(root, 'c'), replicas: 4, service: 'kv', administrators };
      const genesis = await createCluster(at);
      expect(genesis.administrators.approvals).toBe(approvals);
      expect(new Set(genesis.administrators.keys).size).toBe(administrators);
      const told = await createCluster({ ...at, directory: join(root, 'd'), approvals: 1 });
      expect(told.administrators.approvals).toBe(1);
    },
  );

  it('may have no administrators: nobody changes who its replicas are', async () => {
    const directory = join(root, 'c');
    const genesis = await createCluster({ directory, replicas: 4, service: 'kv', administrators: 0 });
    expect(genesis.administrators).toEqual({ approvals: 0, keys: [] });
    expect(await readdir(directory)).not.toContain('administrators');
  });

  it.each([
    { recovery: 'hardware' as const, pathOf: (id: string) => join('keepers', id, 'identity.seed') },
    { recovery: 'offline' as const, pathOf: (id: string) => join('identities', `${id}.seed`) },
  ])(
    'by $recovery has identity keys that only their owners may read, and none in a home',
    async ({ recovery, pathOf }) => {
      const directory = join(root, 'c');
      const genesis = await createCluster({ directory, replicas: 4, service: 'kv', recovery, administrators: 2 });
      const secrets: string[] = [];
      for (const replica of genesis.replicas) {
        const path = join(directory, pathOf(replica.replicaId));
        expect(replica).toMatchObject({ recovery, identityKey: (await readSeedFile(path)).publicKey.text });
        for (const part of [path, dirname(path)]) expect((await stat(part)).mode & 0o077).toBe(0);
        secrets.push((await readFile(path, 'utf8')).trim());
      }
      for (const i of [0, 1]) {
        const path = join(directory, 'administrators', `admin-${i}.seed`);
        for (const part of [path, dirname(path)]) expect((await stat(part)).mode & 0o077).toBe(0);
        secrets.push((await readFile(path, 'utf8')).trim());
      }
      expect(new Set(secrets).size).toBe(6);
      const homes = await readdir(join(directory, 'replicas'), { recursive: true, withFileTypes: true });
      const files = homes.filter((entry) => entry.isFile());
      expect(files.length).toBeGreaterThan(4 * 6);
      for (const entry of files) {
        const text = await readFile(join(entry.parentPath, entry.name), 'latin1');
        for (const secret of secrets) expect(text).not.toContain(secret);
      }
    },
  );

  it('recovers in as many ways as are named, each replica in its own, the others as the last that is named', async () => {
    const directory = join(root, 'c');
    const recovery = ['hardware', 'offline', 'awareness'] as const;
    const { replicas } = await createCluster({ directory, replicas: 4, service: 'kv', recovery });
    expect(replicas.map((each) => each.recovery)).toEqual(['hardware', 'offline', 'awareness', 'awareness']);
    expect(replicas.map(({ identityKey }) => identityKey)).toEqual([
      (await readSeedFile(join(directory, 'keepers', 'r0', 'identity.seed'))).publicKey.text,
      (await readSeedFile(join(directory, 'identities', 'r1.seed'))).publicKey.text,
      undefined,
      undefined,
    ]);
    expect(await readdir(join(directory, 'keepers'))).toEqual(['r0']);
    expect(await readdir(join(directory, 'identities'))).toEqual(['r1.seed']);
  });

  it("reads a seed only from a file that is one, and its owner's alone", async () => {
    const directory = join(root, 'c');
    await createCluster({ directory, replicas: 4, service: 'kv' });
    const path = join(directory, 'administrators', 'admin-0.seed');
    await chmod(path, 0o640);
    await expect(readSeedFile(path)).rejects.toMatchObject({ code: 'key-permissions' });
    const secret = 'ab'.repeat(31);
    await writeFile(path, secret);
    await chmod(path, 0o600);
    const refusal = await readSeedFile(path).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'file-malformed' });
    expect(String(refusal)).not.toContain(secret.slice(0, 8));
  });

  it.each([
    { replicas: 4, k: undefined, f: 1 },
    { replicas: 6, k: 1, f: 1 },
    { replicas: 7, k: undefined, f: 2 },
    { replicas: 13, k: undefined, f: 4 },
    { replicas: 31, k: 2, f: 8 },
  ])('of $replicas replicas with k = $k tolerates $f faults unless told otherwise', async ({ replicas, k, f }) => {
    expect(await createCluster({ directory: join(root, 'c'), replicas, k, service: 'kv' })).toMatchObject({
      f,
      k: k ?? 0,
    });
  });

  it('takes its name from the directory, and from the one above when it is hidden', async () => {
    await mkdir(join(root, 'shop'));
    expect((await createCluster({ directory: join(root, 'shop', '.coterie'), replicas: 4, service: 'kv' })).name).toBe(
      'shop',
    );
    expect((await createCluster({ directory: join(root, 'x'), replicas: 4, service: 'kv', name: 'Shop 2' })).name).toBe(
      'Shop 2',
    );
  });

  it('may fill a directory that is empty, and replaces nothing', async () => {
    const directory = join(root, 'c');
    await mkdir(directory);
    await createCluster({ directory, replicas: 4, service: 'kv' });
    const before = await readClusterDirectory(directory);
    await expect(createCluster({ directory, replicas: 4, service: 'kv' })).rejects.toMatchObject({
      code: 'already-exists',
    });
    expect(await readClusterDirectory(directory)).toEqual(before);
    await writeFile(join(root, 'file'), '');
    await expect(createCluster({ directory: join(root, 'file'), replicas: 4, service: 'kv' })).rejects.toMatchObject({
      code: 'already-exists',
    });
    await expect(createCluster({ directory: join(root, 'no', 'c'), replicas: 4, service: 'kv' })).rejects.toMatchObject(
      { code: 'home-missing' },
    );
  });

  it.each([
    { replicas: 3 },
    { replicas: 0 },
    { replicas: 32 },
    { replicas: 4.5 },
    { replicas: 4, f: 2 },
    { replicas: 4, f: 0 },
    { replicas: 5, k: 1 },
    { replicas: 4, service: '' },
    { replicas: 4, name: 'a\nb' },
    { replicas: 4, host: 'a b' },
    { replicas: 4, basePort: 0 },
    { replicas: 4, basePort: 65_333 },
    { replicas: 4, headIntervalMs: 0 },
    { replicas: 4, headIntervalMs: 60_001 },
    { replicas: 4, checkpointIntervalMs: -1 },
    { replicas: 4, checkpointIntervalMs: 3_600_001 },
    { replicas: 4, epochIntervalMs: -1 },
    { replicas: 4, successorWaitMs: 99 },
    { replicas: 4, administrators: -1 },
    { replicas: 4, administrators: 17 },
    { replicas: 4, administrators: 2, approvals: 3 },
    { replicas: 4, administrators: 2, approvals: 0 },
    { replicas: 4, administrators: 0, approvals: 1 },
    { replicas: 4, recovery: [] },
    { replicas: 4, recovery: ['offline', 'offline', 'offline', 'offline', 'offline'] as const },
    { replicas: 4, parameters: { period: 4 } },
    { replicas: 31, parameters: { pruneDepth: 2_115 } },
    { replicas: 4, parameters: { pruneDepth: 8 } },
    { replicas: 4, parameters: { ranks: 5 } },
  ])('is refused as %j, and leaves nothing behind', async (odd) => {
    await expect(createCluster({ directory: join(root, 'c'), service: 'kv', ...odd })).rejects.toMatchObject({
      code: 'invalid-parameters',
    });
    expect(await readdir(root)).toEqual([]);
  });
});

describe('a crash or failure while a cluster is made', () => {
  const make = (files: FaultyFiles): Promise<unknown> =>
    createCluster({ directory: '/c', replicas: 4, service: 'kv', recovery: 'hardware', files });

  /** The genesis, eight files of each home and the identity key of its replica, an administrator, a client. */
  const fileCount = 1 + 4 * (8 + 1) + 1 + 1;

  /** The paths of all files below a directory. */
  async function filesOf(files: FaultyFiles, path: string): Promise<readonly string[]> {
    const found = await files.describe(path);
    if (found?.kind === 'file') return [path];
    const names = found === undefined ? [] : await files.list(path);
    return (await Promise.all(names.map((name) => filesOf(files, `${path}/${name}`)))).flat();
  }

  it('leaves the whole of it or none, at every step', async () => {
    let whole: readonly string[] = [];
    for (let step = 1; whole.length === 0; step++) {
      const files = new FaultyFiles({ kind: 'crash', step });
      const isMade = await make(files).then(
        () => true,
        () => false,
      );
      for (const unsynced of [{ kind: 'drop' }, { kind: 'keep' }] as const) {
        const survivor = files.restart(unsynced);
        const found = await filesOf(survivor, '/c');
        if (isMade) expect(found).toHaveLength(fileCount);
        if (found.length > 0) {
          expect(found).toHaveLength(fileCount);
          for (const path of found) expect(survivor.contents(path).length).toBeGreaterThan(0);
          expect(parseGenesis(survivor.contents('/c/genesis.json').toString()).ok).toBe(true);
        }
      }
      if (isMade) whole = await filesOf(files, '/c');
    }
  });

  it('is told as an error with a hint, and nothing is left', async () => {
    for (let step = 1; ; step += 7) {
      const files = new FaultyFiles({ kind: 'fail', step, code: 'ENOSPC' });
      const error = await make(files).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) break;
      expect(error).toMatchObject({ code: 'file-unwritable', hint: expect.stringContaining('disk is full') });
      const left = await files.list('/');
      // After the rename the cluster is whole; all that failed is to make its name durable.
      if (!left.includes('c')) expect(left).toEqual([]);
    }
  });
});
