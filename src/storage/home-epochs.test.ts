/**
 * Shows that a home goes from epoch to epoch whatever moment it dies at: it opens again in one of the two epochs, with the keys that the
 * membership names; that an epoch.json which is gone, or is an old one, costs no key; that without the keys which the membership names it goes on
 * only where others can be vouched for; and that what stays of an earlier epoch is its log, until the state has come.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCluster } from '../replica/create-cluster.ts';
import { type RecoveryMethod, serviceIdOf } from '../wire/genesis.ts';
import { DiskLog } from './disk-log.ts';
import type { EpochRecord } from './epoch-files.ts';
import { type AnyHome, type Home, type KeylessHome, openAnyHome, openHome } from './home.ts';
import { HomeError } from './home-error.ts';
import { type EpochKeys, keyFileNames, type SecretKeys } from './key-files.ts';
import { FaultyFiles, PowerLoss } from './testing/faulty-files.ts';

let root: string;
let home: string;
let files: FaultyFiles;
let others = 0;
const open: (Home | KeylessHome)[] = [];

/** The disk is one of memory; the lock of a home is where it says that it is. */
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'coterie-home-epochs-'));
  home = join(root, 'cluster', 'replicas', 'r1');
  await mkdir(home, { recursive: true });
  await makeCluster('awareness');
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  await rm(root, { recursive: true, force: true });
});

async function makeCluster(recovery: RecoveryMethod): Promise<void> {
  files = new FaultyFiles();
  await mkdirAll(files, root);
  await createCluster({ directory: join(root, 'cluster'), replicas: 4, service: 'kv', recovery, files });
}

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

async function openedAny(disk: FaultyFiles): Promise<Home | KeylessHome> {
  const result = await openAnyHome(home, disk);
  open.push(result);
  return result;
}

function withoutKeys(next: Home | KeylessHome | undefined): KeylessHome {
  if (next?.kind !== 'without-keys') throw new Error('it has its keys');
  return next;
}

async function closeAll(): Promise<void> {
  for (const each of open.splice(0)) await each.close();
}

function withKeys(next: Home | KeylessHome | undefined): Home | undefined {
  if (next?.kind === 'without-keys') throw new Error('its keys are lost');
  return next;
}

/** Keys of another replica are as good as any that nobody has. */
async function keysOfAnother(): Promise<SecretKeys> {
  others += 1;
  const directory = join(root, `other-${others}`);
  const other = join(directory, 'replicas', 'r1');
  await mkdir(other, { recursive: true });
  await createCluster({ directory, replicas: 4, service: 'kv', files });
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
function recordWith({ genesis }: AnyHome, keys: EpochKeys, epoch = 1): EpochRecord {
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
        const now = again.epoch === 0 ? withKeys(await again.turnTo(record, undefined)) : again;
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
    const next = withKeys(await first.turnTo(record, undefined));
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

describe('a home without the keys that the membership names', () => {
  /** The membership names keys that this home never had. */
  async function foreign(of: AnyHome, epoch = 1): Promise<EpochRecord> {
    const keys = await of.keepNextKeys(await keysOfAnother());
    await files.remove(of.nextDirectory);
    return recordWith(of, keys, epoch);
  }

  it('stays where it is and says so, when nothing vouches for others', async () => {
    const first = await opened(files);
    const record = await foreign(first);
    await expect(first.turnTo(record, undefined)).rejects.toMatchObject({ code: 'key-mismatch' });
    await closeAll();
    expect((await opened(files)).epoch).toBe(0);
  });

  it('goes on without them, whatever moment it dies at, and keeps none of an earlier epoch', async () => {
    await makeCluster('hardware');
    const record = await foreign(await opened(files));
    await closeAll();
    for (let step = 1, isDead = true; isDead; step += 1) {
      const disk = files.restart({ kind: 'keep' }, { kind: 'crash', step });
      isDead = await (async () => (await openedAny(disk)).turnTo(record, undefined))().then(
        () => false,
        () => true,
      );
      await closeAll();
      const after = disk.restart({ kind: 'drop' });
      const again = await openedAny(after);
      const now = withoutKeys(again.epoch === 0 ? await again.turnTo(record, undefined) : again);
      expect({ step, epoch: now.epoch }).toEqual({ step, epoch: 1 });
      expect(await after.list(join(home, 'epochs'))).toEqual(['1']);
      expect([...(await after.list(join(home, 'epochs', '1')))].sort()).toEqual(['keys-lost', 'log-lost']);
      expect(await after.list(home)).not.toContain('keys');
      await closeAll();
    }
    await expect(opened(files.restart({ kind: 'keep' }))).resolves.toMatchObject({ epoch: 0 });
  });

  it('has its keys again when a later membership names those that it made meanwhile', async () => {
    await makeCluster('offline');
    const first = await opened(files);
    const without = withoutKeys(await first.turnTo(await foreign(first), undefined));
    const made = await without.keepNextKeys(await keysOfAnother());
    await closeAll();
    await expect(opened(files)).rejects.toMatchObject({ code: 'key-mismatch' });
    const again = withoutKeys(await openedAny(files));
    const next = withKeys(await again.turnTo(recordWith(again, made, 2), undefined));
    expect(next).toMatchObject({ epoch: 2, isLogLost: false, linkKeyDigest: made.linkKeyDigest });
    expect(await files.list(join(home, 'epochs'))).toEqual(['2']);
  });

  it('is that of an observer when the lost keys are put back', async () => {
    await makeCluster('hardware');
    const first = await opened(files);
    const record = await foreign(first);
    await first.turnTo(record, undefined);
    await closeAll();
    const keys = join(home, 'epochs', '1', 'keys');
    await files.mkdir(keys);
    const from = join(root, `other-${others}`, 'replicas', 'r1', 'keys');
    for (const name of await files.list(from))
      files.place(join(keys, name), Buffer.from(files.contents(join(from, name))));
    const back = await opened(files);
    expect(back).toMatchObject({ kind: 'with-keys', epoch: 1, isLogLost: true });
    await expect(back.openLog()).rejects.toMatchObject({ code: 'log-lost' });
  });

  it('loses no key that is there, and signs nothing twice, when its epoch.json is an old one', async () => {
    await makeCluster('hardware');
    const path = join(home, 'epoch.json');
    const first = await opened(files);
    const second = withKeys(
      await first.turnTo(recordWith(first, await first.keepNextKeys(await keysOfAnother())), undefined),
    );
    const old = Buffer.from(files.contents(path));
    const inTwo = recordWith(first, { ...(second as Home), seed: new Uint8Array(32) }, 2);
    const third = withKeys(await second?.turnTo(inTwo, undefined));
    const log = await third?.openLog();
    await log?.append([Buffer.from('a promise')]);
    await log?.close();
    await closeAll();
    files.place(path, old);
    const back = withoutKeys(await openedAny(files));
    expect(back.epoch).toBe(1);
    await expect(back.keepNextKeys(await keysOfAnother())).rejects.toMatchObject({ code: 'already-exists' });
    const again = withKeys(await back.turnTo(inTwo, undefined));
    expect(again).toMatchObject({ epoch: 2, isLogLost: false });
    const found = await again?.openLog();
    expect(await found?.read(0, 1_000)).toHaveLength(1);
    await found?.close();
  });

  it('is one whose key files are damaged, and nothing of it is removed', async () => {
    await makeCluster('hardware');
    const first = await opened(files);
    await first.turnTo(recordWith(first, await first.keepNextKeys(await keysOfAnother())), undefined);
    await closeAll();
    const keys = join(home, 'epochs', '1', 'keys');
    const before = await files.list(keys);
    const damaged = files.contents(join(keys, keyFileNames.signingSeed));
    const right = Buffer.from(damaged);
    damaged.fill(0);
    withoutKeys(await openedAny(files));
    await closeAll();
    expect(await files.list(keys)).toEqual(before);
    files.place(join(keys, keyFileNames.signingSeed), right);
    expect(await opened(files)).toMatchObject({ epoch: 1, isLogLost: false });
  });
});

describe('a home that goes on before the state of the epoch has come', () => {
  async function atFirst(disk: FaultyFiles): Promise<Home> {
    const first = await opened(disk);
    const log = await first.openLog();
    await log.append([Buffer.from('not in any checkpoint')]);
    await log.close();
    return first;
  }

  async function keptRecords(disk: FaultyFiles): Promise<number> {
    const logKey = Buffer.from(disk.contents(join(home, 'log.key')).toString().trim(), 'hex');
    const log = await DiskLog.open({ directory: join(home, 'log'), logKey, files: disk });
    const records = await log.read(0, 1_000);
    await log.close();
    return records.length;
  }

  it('keeps the log of the one before, and no key of it, whatever moment it dies at', async () => {
    const first = await atFirst(files);
    const record = recordWith(first, await first.keepNextKeys(await keysOfAnother()));
    await closeAll();
    for (let step = 1, isDead = true; isDead; step += 1) {
      const disk = files.restart({ kind: 'keep' }, { kind: 'crash', step });
      isDead = await (async () => (await opened(disk)).turnTo(record, undefined, { awaitsState: true }))().then(
        () => false,
        () => true,
      );
      await closeAll();
      const after = disk.restart({ kind: 'drop' });
      const again = await opened(after);
      if (again.epoch === 0) await again.turnTo(record, undefined, { awaitsState: true });
      await closeAll();
      expect((await opened(after)).epoch).toBe(1);
      expect(await after.list(home)).not.toContain('keys');
      expect(await keptRecords(after)).toBe(1);
      await closeAll();
    }
  });

  it('lets it go when the state is there, whatever moment it dies at', async () => {
    const first = await atFirst(files);
    await first.turnTo(recordWith(first, await first.keepNextKeys(await keysOfAnother())), undefined, {
      awaitsState: true,
    });
    await closeAll();
    for (let step = 1, isDead = true; isDead; step += 1) {
      const disk = files.restart({ kind: 'keep' }, { kind: 'crash', step });
      isDead = await (async () => (await opened(disk)).dropEarlierLogs())().then(
        () => false,
        () => true,
      );
      await closeAll();
      const after = disk.restart({ kind: 'drop' });
      await (await opened(after)).dropEarlierLogs();
      expect(await after.list(home)).not.toContain('log');
      expect(await after.list(home)).not.toContain('log.key');
      expect(await after.list(join(home, 'epochs', '1'))).not.toContain('state-awaited');
      await closeAll();
    }
  });

  it('keeps them through further epochs', async () => {
    const first = await atFirst(files);
    const second = withKeys(
      await first.turnTo(recordWith(first, await first.keepNextKeys(await keysOfAnother())), undefined, {
        awaitsState: true,
      }),
    );
    const inTwo = recordWith(first, { ...(second as Home), seed: new Uint8Array(32) }, 2);
    const third = withKeys(await second?.turnTo(inTwo, undefined, { awaitsState: true }));
    expect(await keptRecords(files)).toBe(1);
    expect(await files.list(join(home, 'epochs', '1'))).not.toContain('keys');
    await third?.dropEarlierLogs();
    expect(await files.list(home)).not.toContain('log');
    expect(await files.list(join(home, 'epochs'))).toEqual(['2']);
  });
});
