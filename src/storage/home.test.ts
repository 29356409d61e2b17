/**
 * Homes and cluster directories as people leave them: right ones open, and each wrong one is told by its code, with a
 * hint and without any part of a key.
 */
import { chmod, cp, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { createCluster } from '../replica/create-cluster.ts';
import { formatGenesis, parseGenesis, serviceIdOf } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { readClusterDirectory, readServiceKey, recordServiceKey } from './cluster-directory.ts';
import { encryptionKeyFor, loadCurve } from './encryption-key.ts';
import { type Home, openHome } from './home.ts';
import { HomeError, type HomeErrorCode } from './home-error.ts';
import type { DamagedLog } from './home-log.ts';
import { createIdentity, readIdentity } from './identity.ts';
import { FaultyFiles } from './testing/faulty-files.ts';

/** Each holds 32 bytes as hex. */
const secretFiles = ['keys/signing.seed', 'keys/encryption.key', 'keys/dealing.seed', 'keys/sealing.key'];

let root: string;
let pristine: string;
let other: string;
let cluster: string;
let home: string;
const open: Home[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'coterie-home-'));
  pristine = join(root, 'pristine');
  other = join(root, 'other');
  await createCluster({ directory: pristine, replicas: 4, service: 'kv' });
  await createCluster({ directory: other, replicas: 4, service: 'kv' });
});
beforeEach(async () => {
  cluster = join(root, 'cluster');
  home = join(cluster, 'replicas', 'r1');
  await cp(pristine, cluster, { recursive: true });
});
afterEach(async () => {
  for (const opened of open.splice(0)) await opened.close();
  await rm(cluster, { recursive: true, force: true });
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function opened(directory: string): Promise<Home> {
  const result = await openHome(directory);
  open.push(result);
  return result;
}

/** The error of something that must fail with this code; it has a hint, and none of the cluster's secrets. */
async function refusal(attempt: Promise<unknown>, code: HomeErrorCode): Promise<HomeError> {
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof HomeError)) throw new Error(`no HomeError but ${String(error)}`);
  expect(error.code).toBe(code);
  expect(error.hint).toMatch(/^[A-Z].*\.$/);
  const text = `${error.message} ${error.hint} ${String(error.cause)}`;
  for (const name of secretFiles) {
    const secret = (await readFile(join(pristine, 'replicas', 'r1', name), 'utf8')).trim();
    for (let at = 0; at + 8 <= secret.length; at += 8) expect(text).not.toContain(secret.slice(at, at + 8));
  }
  return error;
}

describe('a home', () => {
  it('gives a replica all it needs, and takes its log along', async () => {
    const { genesis, serviceId, replicaId, replicaIndex, service, signingKey, ...rest } = await opened(home);
    expect({ replicaId, replicaIndex, service }).toEqual({ replicaId: 'r1', replicaIndex: 1, service: 'kv' });
    expect(serviceId).toBe((await readClusterDirectory(cluster)).serviceId);
    expect(signingKey.publicKey.text).toBe(genesis.replicas[1]?.signingKey);
    expect(rest.linkKeyPem).toContain('PRIVATE KEY');
    expect(rest.linkCertificatePem).toContain('BEGIN CERTIFICATE');
    expect(encryptionKeyFor(await loadCurve(), rest.decryptionKey)).toBe(genesis.replicas[1]?.encryptionKey);
    expect(rest.dealingSeed).toHaveLength(32);
    expect(rest.sealingKey).toHaveLength(32);
    expect(rest.sealedSharePath).toBe(join(home, 'keys', 'share.sealed'));
    const log = await rest.openLog();
    await log.append([Buffer.from('one')]);
    await log.close();
    const again = await rest.openLog();
    expect((await again.read(0, 100)).map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(['one']);
    await again.close();
  });

  it('keeps its state, and removes it when it is told that it is damaged', async () => {
    const { openState } = await opened(home);
    const key = Buffer.from('key');
    const { engine, wiped } = await openState();
    expect(wiped).toBeUndefined();
    await engine.write([{ key, value: Buffer.from('value') }]);
    await engine.close();
    for (const path of ['state', 'state/state.lmdb', 'state/state.lmdb-lock']) {
      expect((await stat(join(home, path))).mode & 0o077).toBe(0);
    }
    const again = await openState();
    expect(Buffer.from(again.engine.get(key) ?? []).toString()).toBe('value');
    await again.engine.close();
    const anew = await openState({ wipe: 'An entry is gone.' });
    expect(anew.wiped).toBe('An entry is gone.');
    expect(anew.engine.get(key)).toBeUndefined();
    await anew.engine.close();
  });

  it('is for its owner only, and so is everything in it', async () => {
    for (const path of ['', 'keys', 'log']) expect((await stat(join(home, path))).mode & 0o777).toBe(0o700);
    for (const path of ['genesis.json', 'keys/link.key.pem', ...secretFiles]) {
      expect((await stat(join(home, path))).mode & 0o777).toBe(0o600);
    }
  });

  it('is open once only, until it is closed', async () => {
    const first = await openHome(home);
    const error = await refusal(openHome(home), 'home-locked');
    expect(error.message).toContain(`process ${process.pid}`);
    await first.close();
    await opened(home);
  });

  it('is not kept locked by an attempt to open that failed', async () => {
    const path = join(home, 'genesis.json');
    const text = await readFile(path);
    await writeFile(path, 'x');
    await refusal(openHome(home), 'file-malformed');
    await writeFile(path, text);
    await opened(home);
  });

  it('is refused when it is missing, a file, a cluster directory or something else', async () => {
    await refusal(openHome(join(root, 'nowhere')), 'home-missing');
    await refusal(openHome(join(home, 'genesis.json')), 'not-a-home');
    await refusal(openHome(root), 'not-a-home');
    const error = await refusal(openHome(cluster), 'cluster-directory-given');
    expect(error.hint).toContain(join(cluster, 'replicas'));
  });

  it.each(['genesis.json', 'keys/link.key.pem', 'keys/link.cert.pem', ...secretFiles])(
    'is refused without %s, when it is empty, garbage or too large',
    async (name) => {
      const path = join(home, name);
      for (const text of ['', '{"a":', 'null', '\u0000\u00ff']) {
        await writeFile(path, text);
        const error = await refusal(openHome(home), 'file-malformed');
        expect(error.message).toContain(path);
      }
      await writeFile(path, 'x'.repeat(limits.homeFileSizeBytesMax + 1));
      await refusal(openHome(home), 'file-malformed');
      await rm(path);
      const error = await refusal(openHome(home), 'file-missing');
      expect(error.message).toContain(path);
    },
  );

  it.each(['link.key.pem', 'link.cert.pem'])(
    'is opened, or refused with the reason, whichever character of %s is damaged',
    async (name) => {
      const path = join(home, 'keys', name);
      const text = await readFile(path, 'utf8');
      const codes = new Set<string>();
      for (let at = 0; at < text.length; at += 5) {
        await writeFile(path, `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`);
        try {
          await (await openHome(home)).close();
        } catch (error) {
          codes.add(error instanceof HomeError ? error.code : String(error));
        }
      }
      expect(codes).toContain('file-malformed');
      expect([...codes].filter((code) => code !== 'file-malformed' && code !== 'key-mismatch')).toEqual([]);
    },
  );

  it.each(['', '{', '[]', '{"version":2}', '{"version":1,"replicaId":"r1"}'])(
    'is refused when replica.json is %s',
    async (text) => {
      await writeFile(join(home, 'replica.json'), text);
      await refusal(openHome(home), 'file-malformed');
    },
  );

  it.each(['keys/link.key.pem', ...secretFiles])('is refused when others may use %s', async (name) => {
    for (const mode of [0o640, 0o604, 0o620, 0o602, 0o666]) {
      await chmod(join(home, name), mode);
      const error = await refusal(openHome(home), 'key-permissions');
      expect(error.hint).toContain('chmod 600');
    }
    await chmod(join(home, name), 0o400);
    await opened(home);
  });

  it('is refused with the genesis of another cluster, or a changed one', async () => {
    await cp(join(other, 'genesis.json'), join(home, 'genesis.json'));
    await refusal(openHome(home), 'genesis-mismatch');
    const text = await readFile(join(cluster, 'genesis.json'), 'utf8');
    await writeFile(join(home, 'genesis.json'), text.replace('"pruneDepth": 64', '"pruneDepth": 65'));
    await refusal(openHome(home), 'genesis-mismatch');
  });

  it('is refused with a genesis of another version, which is named', async () => {
    const path = join(home, 'genesis.json');
    const text = await readFile(path, 'utf8');
    for (const [version, hint] of [
      [1, /coterie init/],
      [3, /coterie init/],
      [5, /version of Coterie that made it/],
    ] as const) {
      await writeFile(path, text.replace('"version": 4', `"version": ${version}`));
      const error = await refusal(openHome(home), 'genesis-version');
      expect(error.message).toContain(`of version ${version}`);
      expect(error.hint).toMatch(hint);
    }
  });

  it('is refused with an encryption key that is no scalar', async () => {
    for (const text of ['00'.repeat(32), 'ff'.repeat(32)]) {
      await writeFile(join(home, 'keys', 'encryption.key'), text);
      await refusal(openHome(home), 'file-malformed');
    }
  });

  it.each([
    ['no point', 'ff'.repeat(48)],
    ['zero', `c0${'00'.repeat(47)}`],
    // x = 4 is on the curve.
    ['a point outside the group', `80${'00'.repeat(46)}04`],
  ])('is refused when the encryption key of any replica in the genesis is %s', async (_, encryptionKey) => {
    const path = join(home, 'genesis.json');
    const parsed = parseGenesis(await readFile(path, 'utf8'));
    if (!parsed.ok) throw new Error(parsed.reason);
    const replicas = parsed.value.replicas.map((replica, i) => (i === 3 ? { ...replica, encryptionKey } : replica));
    const genesis = { ...parsed.value, replicas };
    await writeFile(path, formatGenesis(genesis));
    const identity = { version: 1, replicaId: 'r1', serviceId: serviceIdOf(genesis), service: 'kv' };
    await writeFile(join(home, 'replica.json'), JSON.stringify(identity));
    const error = await refusal(openHome(home), 'file-malformed');
    expect(error.message).toContain('replicas[3].encryptionKey: must be a point');
  });

  it('is refused as a replica that the genesis does not have', async () => {
    const path = join(home, 'replica.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"r1"', '"r9"'));
    await refusal(openHome(home), 'genesis-mismatch');
  });

  it.each(['signing.seed', 'link.key.pem', 'link.cert.pem', 'encryption.key'])(
    'is refused with the %s of another replica',
    async (name) => {
      await cp(join(cluster, 'replicas', 'r2', 'keys', name), join(home, 'keys', name));
      await refusal(openHome(home), 'key-mismatch');
    },
  );

  it('runs the service its operator named in replica.json', async () => {
    const path = join(home, 'replica.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"kv"', '"/opt/ledger.js"'));
    expect((await opened(home)).service).toBe('/opt/ledger.js');
  });
});

describe('a lost log', () => {
  async function begin(): Promise<void> {
    const first = await openHome(home);
    expect(first.isLogLost).toBe(false);
    const log = await first.openLog();
    await log.append([Buffer.from('one')]);
    await log.close();
    await first.close();
  }

  it.each(['emptied', 'removed'])('is noticed when it was %s, and begun anew for an observer only', async (how) => {
    await begin();
    const files = join(home, 'log');
    await rename(files, `${files}.away`);
    if (how === 'emptied') await cp(join(pristine, 'replicas', 'r1', 'log'), files, { recursive: true });
    const observer = await openHome(home);
    expect(observer.isLogLost).toBe(true);
    await refusal(observer.openLog(), 'log-lost');
    const log = await observer.openLog({ asObserver: true });
    expect(log.end).toBe(0);
    await log.close();
    await observer.close();
    // The new log is no cure: what the lost one held is still not known.
    const again = await opened(home);
    expect(again.isLogLost).toBe(true);
    await refusal(again.openLog(), 'log-lost');
  });

  it('is reported as damaged when it is that of another replica', async () => {
    await begin();
    await rename(join(home, 'log'), join(cluster, 'replicas', 'r2', 'log.new'));
    const second = join(cluster, 'replicas', 'r2');
    await rm(join(second, 'log'), { recursive: true });
    await rename(join(second, 'log.new'), join(second, 'log'));
    await expect((await opened(second)).openLog()).rejects.toMatchObject({ code: 'log-corrupt' });
  });

  it('is one that was damaged: it is set aside as it is, once, and an observer begins anew', async () => {
    await begin();
    const segment = (directory: string): string => join(home, directory, '0000000000000000.log');
    const damage = async (): Promise<Buffer> => {
      const bytes = await readFile(segment('log'));
      bytes[40] = (bytes[40] as number) ^ 1;
      await writeFile(segment('log'), bytes);
      return bytes;
    };
    const told: DamagedLog[] = [];
    const setAside = (damaged: DamagedLog): void => void told.push(damaged);
    const bytes = await damage();
    const first = await openHome(home);
    await expect(first.openLog()).rejects.toMatchObject({ code: 'log-corrupt' });
    expect(first.isLogLost).toBe(false);
    const log = await first.openLog({ setAside });
    expect(first.isLogLost).toBe(true);
    expect(told).toMatchObject([{ error: { code: 'log-corrupt' }, keptAt: join(home, 'log-damaged-1') }]);
    expect(await readFile(segment('log-damaged-1'))).toEqual(bytes);
    expect(await log.append([Buffer.from('two')])).toHaveLength(1);
    await log.close();
    await first.close();
    // That of an observer holds no promise, and is removed.
    await damage();
    const second = await opened(home);
    const anew = await second.openLog({ asObserver: second.isLogLost, setAside });
    expect([anew.end, second.isLogLost]).toEqual([0, true]);
    expect(told[1]).toMatchObject({ keptAt: undefined });
    expect(await readFile(segment('log-damaged-1'))).toEqual(bytes);
    await anew.close();
  });
});

describe('the service key in a home', () => {
  const path = (): string => join(home, 'service-key');
  const text = Buffer.from(mclCurve.g2.encode(mclCurve.g2.generator)).toString('hex');
  const other = Buffer.from(mclCurve.g2.encode(mclCurve.g2.multiply(mclCurve.g2.generator, 2n))).toString('hex');

  it('is taken for none when it rots, whichever bit, and is written again', async () => {
    for (let at = 0; at < text.length; at += 17) {
      const rotten = Buffer.from(`${text}\n`);
      rotten[at] = (rotten[at] as number) ^ (1 << (at % 8));
      await writeFile(path(), rotten, { mode: 0o600 });
      const held = await openHome(home);
      expect(held.serviceKey, `bit ${at % 8} of byte ${at}`).toBeUndefined();
      await held.keepServiceKey(text);
      await held.close();
      expect(await readFile(path(), 'utf8')).toBe(`${text}\n`);
    }
  });

  it('is not replaced by another one', async () => {
    const held = await opened(home);
    await held.keepServiceKey(text);
    await refusal(held.keepServiceKey(other), 'service-key-mismatch');
    expect(await readFile(path(), 'utf8')).toBe(`${text}\n`);
  });
});

describe('a cluster directory', () => {
  it('lists its homes in the order of the genesis, as far as they are here', async () => {
    await rm(join(cluster, 'replicas', 'r2'), { recursive: true });
    const { genesis, homes, identityPath } = await readClusterDirectory(cluster);
    expect(genesis.replicas).toHaveLength(4);
    expect(homes.map(({ replicaId }) => replicaId)).toEqual(['r0', 'r1', 'r3']);
    expect(homes[1]?.directory).toBe(home);
    expect((await readIdentity(identityPath)).publicKey.bytes).toHaveLength(32);
  });

  it('is refused when it is missing, the home of one replica, or something else', async () => {
    await refusal(readClusterDirectory(join(root, 'nowhere')), 'home-missing');
    await refusal(readClusterDirectory(join(cluster, 'client')), 'not-a-cluster');
    const error = await refusal(readClusterDirectory(home), 'home-directory-given');
    expect(error.hint).toContain(cluster);
    await writeFile(join(cluster, 'genesis.json'), '{}');
    await refusal(readClusterDirectory(cluster), 'file-malformed');
  });
});

describe('the service key of a cluster directory', () => {
  const key = 'ab'.repeat(96);

  it('is not there at first, then recorded once, and never replaced', async () => {
    expect(await readServiceKey(cluster)).toBeUndefined();
    await recordServiceKey(cluster, key);
    expect(await readFile(join(cluster, 'service-key'), 'utf8')).toBe(`${key}\n`);
    await recordServiceKey(cluster, key);
    const error = await refusal(recordServiceKey(cluster, 'cd'.repeat(96)), 'service-key-mismatch');
    expect(error.message).toContain('abababababababab…');
    expect(error.message).toContain('cdcdcdcdcdcdcdcd…');
    expect(await readServiceKey(cluster)).toBe(key);
    expect((await readdir(cluster)).sort()).toEqual([
      'administrators',
      'client',
      'genesis.json',
      'replicas',
      'service-key',
    ]);
  });

  it.each(['', 'ab', 'AB'.repeat(96), `${key} ${key}`, `0x${key.slice(2)}`])('is refused as %j', async (text) => {
    await writeFile(join(cluster, 'service-key'), text);
    await refusal(readServiceKey(cluster), 'file-malformed');
    await refusal(recordServiceKey(cluster, key), 'file-malformed');
  });

  it('is there whole or not at all after a crash at any step, and can then be recorded', async () => {
    for (let step = 1; ; step++) {
      const files = new FaultyFiles({ kind: 'crash', step });
      await files.mkdir('/c').catch(() => {});
      const isDone = await recordServiceKey('/c', key, files).then(
        () => true,
        () => false,
      );
      for (const unsynced of [{ kind: 'drop' }, { kind: 'keep' }] as const) {
        const survivor = files.restart(unsynced);
        if ((await survivor.describe('/c')) === undefined) continue;
        expect([undefined, key]).toContain(await readServiceKey('/c', survivor));
        await recordServiceKey('/c', key, survivor);
        expect(await readServiceKey('/c', survivor)).toBe(key);
      }
      if (isDone) break;
    }
  });
});

describe('a client identity', () => {
  it('is read as it was made, and never replaced', async () => {
    const path = join(cluster, 'client', 'second.json');
    const made = await createIdentity(path, (sizeBytes) => Buffer.alloc(sizeBytes, 5));
    expect((await readIdentity(path)).publicKey.text).toBe(made.publicKey.text);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await refusal(
      createIdentity(path, (sizeBytes) => Buffer.alloc(sizeBytes, 6)),
      'already-exists',
    );
  });

  it('is refused when it is missing, malformed or open to others, and its seed is not told', async () => {
    const path = join(cluster, 'client', 'identity.json');
    const { seed } = JSON.parse(await readFile(path, 'utf8')) as { readonly seed: string };
    for (const text of [
      seed,
      `{"version":1,"seed":"${seed}`,
      `{"version":1,"seed":"${seed}00"}`,
      `{"version":1,"seed":"${seed}","${seed}":1}`,
    ]) {
      await writeFile(path, text);
      const { message, hint } = await refusal(readIdentity(path), 'file-malformed');
      expect(message + hint).not.toContain(seed.slice(0, 8));
    }
    await chmod(path, 0o644);
    await refusal(readIdentity(path), 'key-permissions');
    await rm(path);
    await refusal(readIdentity(path), 'file-missing');
  });
});
