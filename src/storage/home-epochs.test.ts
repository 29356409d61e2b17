/**
 * Shows that a home goes from epoch to epoch whatever moment it dies at: it opens again in one of the two epochs, with the keys that the
 * membership names; and that an epoch.json which is gone, or is an old one, costs no key.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCluster } from '../replica/create-cluster.ts';
import { serviceIdOf } from '../wire/genesis.ts';
import type { EpochRecord } from './epoch-files.ts';
import { type Home, openHome } from './home.ts';
import { HomeError } from './home-error.ts';
import { type EpochKeys, keyFileNames, type SecretKeys } from './key-files.ts';
import { FaultyFiles, PowerLoss } from './testing/faulty-files.ts';

let root: string;
let home: string;
let files: FaultyFiles;
const open: Home[] = [];

/** The disk is one of memory; the lock of a home is where it says that it is. */
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'coterie-home-epochs-'));
  home = join(root, 'cluster', 'replicas', 'r1');
  await mkdir(home, { recursive: true });
  files = new FaultyFiles();
  await mkdirAll(files, root);
  await createCluster({ directory: join(root, 'cluster'), replicas: 4, service: 'kv', files });
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  await rm(root, { recursive: true, force: true });
});

async function mkdirAll(disk: FaultyFiles, path: string): Promise<void> {
  if (path === dirname(path)) return;
  await mkdirAll(disk, dirname(path));
  await disk.mkdir(path);
}

async function opened(disk: FaultyFiles): Promise<Home> {
  const result = await openHome(home, disk);
  open.push(result);
  return result;
}

async function closeAll(): Promise<void> {
  for (const each of open.splice(0)) await each.close();
}

/** Keys of another replica are as good as any that nobody has. */
async function keysOfAnother(): Promise<SecretKeys> {
  const other = join(root, 'other', 'replicas', 'r1');
  await mkdir(other, { recursive: true });
  await createCluster({ directory: join(root, 'other'), replicas: 4, service: 'kv', files });
  const { linkKeyPem, linkCertificatePem, decryptionKey, dealingSeed, sealingKey, close } = await openHome(
    other,
    files,
  );
  await close();
  const seed = Buffer.from(
    files
      .contents(join(other, 'keys', keyFileNames.signingSeed))
      .toString()
      .trim(),
    'hex',
  );
  return { seed, linkKeyPem, linkCertificatePem, decryptionKey, dealingSeed, sealingKey };
}

/** The membership of an epoch in which r1 has these keys. */
function recordWith({ genesis }: Home, keys: EpochKeys, epoch = 1): EpochRecord {
  const since = { epoch: 0, timestamp: genesis.created };
  const serviceId = serviceIdOf(genesis);
  const { signingKey, linkKeyDigest, encryptionKey } = keys;
  const ours = { signingKey: signingKey.publicKey.text, linkKeyDigest, encryptionKey };
  const replicas = genesis.replicas.map((each) => ({
    ...each,
    ...(each.replicaId === 'r1' ? ours : {}),
    keysSince: since,
    cleanSince: since,
  }));
  const { name, service, f, k } = genesis;
  const statement = { serviceId, epoch, f, k, name, service, replicas, epochGenesis: serviceId, sharingEpoch: epoch };
  return { statement, signature: undefined, closingProof: Buffer.from('proof') };
}

describe('a home that goes to the next epoch', () => {
  it('dies at any step, and is in one of the two epochs with its keys', async () => {
    const first = await opened(files);
    const record = recordWith(first, await first.keepNextKeys(await keysOfAnother()));
    const named = record.statement.replicas[1]?.signingKey;
    await closeAll();
    let died = 0;
    for (let step = 1; ; step += 1) {
      const disk = files.restart({ kind: 'keep' }, { kind: 'crash', step });
      const error = await (async () => (await opened(disk)).turnTo(record, undefined))().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      await closeAll();
      if (error === undefined) break;
      if (!(error instanceof PowerLoss) && !(error instanceof Error && error.message.includes('power loss')))
        throw error;
      died += 1;
      for (const kind of ['keep', 'drop'] as const) {
        const after = disk.restart({ kind });
        const again = await opened(after);
        const now = again.epoch === 0 ? await again.turnTo(record, undefined) : again;
        expect({ step, kind, epoch: now?.epoch, key: now?.signingKey.publicKey.text }).toEqual({
          step,
          kind,
          epoch: 1,
          key: named,
        });
        expect(await after.list(join(home, 'epochs'))).toEqual(['1']);
        expect(await after.list(home)).not.toContain('keys');
        await closeAll();
      }
    }
    expect(died).toBeGreaterThan(20);
  });

  it('keeps its present keys when those that it made next are damaged', async () => {
    const first = await opened(files);
    const present = first.signingKey.publicKey.text;
    await first.keepNextKeys(await keysOfAnother());
    files.contents(join(home, 'epochs', '1', 'keys', keyFileNames.signingSeed)).fill(0);
    expect(await first.readNextKeys()).toBeUndefined();
    const { signingKey, linkKeyDigest, encryptionKey } = first;
    const record = recordWith(first, { ...first, seed: new Uint8Array(32), signingKey, linkKeyDigest, encryptionKey });
    const next = await first.turnTo(record, undefined);
    expect(next?.signingKey.publicKey.text).toBe(present);
  });

  it('keeps no key of any epoch when the next one does without it, also when it dies meanwhile', async () => {
    const first = await opened(files);
    const record = recordWith(first, await first.keepNextKeys(await keysOfAnother()));
    await closeAll();
    const replicas = record.statement.replicas.filter(({ replicaId }) => replicaId !== 'r1');
    const without = { ...record, statement: { ...record.statement, replicas } };
    for (let step = 1, isDead = true; isDead; step += 1) {
      const disk = files.restart({ kind: 'keep' }, { kind: 'crash', step });
      isDead = await (async () => (await opened(disk)).turnTo(without, undefined))().then(
        (next) => next !== undefined,
        () => true,
      );
      await closeAll();
      const after = disk.restart({ kind: 'keep' });
      const again = await openHome(home, after).catch((error: unknown) => error);
      if (again instanceof HomeError) expect(again.code).toBe('removed');
      else {
        expect(await (again as Home).turnTo(without, undefined)).toBeUndefined();
        await (again as Home).close();
      }
      expect(await after.list(join(home, 'epochs'))).toEqual([]);
      expect(await after.list(home)).not.toContain('keys');
    }
  });

  it('erases nothing when its epoch.json is gone, or is one of another epoch', async () => {
    const first = await opened(files);
    const record = recordWith(first, await first.keepNextKeys(await keysOfAnother()), 2);
    await first.turnTo(record, undefined);
    await closeAll();
    const path = join(home, 'epoch.json');
    const right = Buffer.from(files.contents(path));
    await files.remove(path);
    await expect(opened(files)).rejects.toMatchObject({ code: 'file-missing' });
    const later = right.toString().replace('"epoch": 2', '"epoch": 3');
    files.place(path, Buffer.from(later));
    await expect(opened(files)).rejects.toMatchObject({ code: 'file-malformed' });
    files.place(path, right);
    const again = await opened(files);
    expect(again.epoch).toBe(2);
    expect(again.signingKey.publicKey.text).toBe(record.statement.replicas[1]?.signingKey);
  });
});
