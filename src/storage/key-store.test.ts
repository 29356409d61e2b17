/**
 * Shows that a sealed share comes back for the same key, service and epoch only, that a bit changed anywhere is refused,
 * and that a crash or failure at any step leaves the old share or the new one.
 */
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '../crypto/hash.ts';
import { HomeError } from './home-error.ts';
import { KeyStore, type KeyStoreOptions, type SealedKeyShare } from './key-store.ts';
import { type Fault, FaultyFiles, PowerLoss, type Unsynced } from './testing/faulty-files.ts';

const share: SealedKeyShare = { keyShare: 0x1234_5678_9abcn, verificationKey: Buffer.alloc(96, 0xa1) };
const other: SealedKeyShare = { keyShare: 2n ** 254n + 5n, verificationKey: Buffer.alloc(96, 0xb2) };
const serviceId = 'ab'.repeat(32) as Digest;
const sealingKey = Buffer.alloc(32, 7);

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-keys-'));
  path = join(directory, 'share.sealed');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const storeOf = (changes: Partial<KeyStoreOptions> = {}): KeyStore =>
  new KeyStore({ path, sealingKey, serviceId, epoch: 0, ...changes });

async function codeOf(reading: Promise<unknown>): Promise<string> {
  try {
    await reading;
    return 'none';
  } catch (error) {
    if (!(error instanceof HomeError)) throw error;
    expect(error.hint).not.toBe('');
    for (const secret of ['123456789abc', sealingKey.toString('hex')]) {
      expect(`${error.message} ${error.hint}`).not.toContain(secret);
    }
    return error.code;
  }
}

describe('a key share', () => {
  it('comes back as it was sealed, replaces the one before, and is gone when erased', async () => {
    expect(await storeOf().read()).toBeUndefined();
    await storeOf().write(share);
    expect(await storeOf().read()).toEqual(share);
    await storeOf().write(other);
    expect(await storeOf().read()).toEqual(other);
    expect(await readdir(directory)).toEqual(['share.sealed']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await storeOf().erase();
    expect(await storeOf().read()).toBeUndefined();
    expect(await readdir(directory)).toEqual([]);
    await storeOf().erase();
  });

  it('is not to be read in the file, and is sealed differently each time', async () => {
    await storeOf().write(share);
    const first = await readFile(path, 'utf8');
    expect(first).not.toContain('123456789abc');
    await storeOf().write(share);
    const second = await readFile(path, 'utf8');
    expect(JSON.parse(second).nonce).not.toBe(JSON.parse(first).nonce);
    expect(JSON.parse(second).sealed).not.toBe(JSON.parse(first).sealed);
  });

  it('is refused under another sealing key, for another service, and in another epoch', async () => {
    await storeOf().write(share);
    expect(await codeOf(storeOf({ sealingKey: Buffer.alloc(32, 8) }).read())).toBe('key-mismatch');
    expect(await codeOf(storeOf({ serviceId: 'cd'.repeat(32) as Digest }).read())).toBe('key-mismatch');
    expect(await codeOf(storeOf({ epoch: 1 }).read())).toBe('key-mismatch');
    expect(() => storeOf({ sealingKey: Buffer.alloc(16) })).toThrow(RangeError);
  });

  it('is refused when any bit of the file is another', async () => {
    await storeOf().write(share);
    const bytes = await readFile(path);
    const text = bytes.toString('utf8');
    for (let bit = 0; bit < 8 * text.trimEnd().length; bit += 3) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      let isSame = false;
      try {
        // White space, and a digit of a field that another rule refuses, are all that may change.
        isSame = JSON.stringify(JSON.parse(changed.toString('utf8'))) === JSON.stringify(JSON.parse(text));
      } catch {}
      if (isSame) continue;
      await writeFile(path, changed);
      expect(['file-malformed', 'key-mismatch']).toContain(await codeOf(storeOf().read()));
    }
  });

  it('is refused when its names are changed to those of the reader', async () => {
    await storeOf({ epoch: 3, serviceId: 'cd'.repeat(32) as Digest }).write(share);
    const file: object = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...file, epoch: 0, serviceId }));
    expect(await codeOf(storeOf().read())).toBe('key-mismatch');
    await storeOf().write(share);
    const own: object = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...own, verificationKey: 'b2'.repeat(96) }));
    expect(await codeOf(storeOf().read())).toBe('key-mismatch');
    for (const changes of [{ version: 2 }, { more: 1 }, { epoch: -1 }, { nonce: 'ab' }, { sealed: 'AB'.repeat(48) }]) {
      await writeFile(path, JSON.stringify({ ...own, ...changes }));
      expect(await codeOf(storeOf().read())).toBe('file-malformed');
    }
  });

  it('is refused when others than its owner may read it', async () => {
    await storeOf().write(share);
    await chmod(path, 0o640);
    expect(await codeOf(storeOf().read())).toBe('key-permissions');
  });
});

describe('when the disk fails or power goes at any step', () => {
  const drop: Unsynced = { kind: 'drop' };
  const storeIn = (files: FaultyFiles): KeyStore => storeOf({ path: '/share.sealed', files });

  /** A disk with the old share on it, and a fault to come. */
  async function prepared(fault: Fault): Promise<FaultyFiles> {
    const files = new FaultyFiles();
    await storeIn(files).write(share);
    return files.restart(drop, fault);
  }

  async function stepsOf(act: (store: KeyStore) => Promise<void>): Promise<number> {
    const files = await prepared({ kind: 'none' });
    await act(storeIn(files));
    return files.steps;
  }

  it.each(['drop', 'keep'] as const)('the old share or the new one is there, whole (%s)', async (kind) => {
    const steps = await stepsOf((store) => store.write(other));
    expect(steps).toBeGreaterThan(4);
    const found: (bigint | undefined)[] = [];
    for (let step = 1; step <= steps; step++) {
      const files = await prepared({ kind: 'crash', step });
      await expect(storeIn(files).write(other)).rejects.toThrow(PowerLoss);
      const after = files.restart({ kind });
      found.push((await storeIn(after).read())?.keyShare);
      // And writing goes on from whatever was left.
      await storeIn(after).write(other);
      expect(await storeIn(after.restart(drop)).read()).toEqual(other);
    }
    for (const keyShare of found) expect([share.keyShare, other.keyShare]).toContain(keyShare);
    expect(found[0]).toBe(share.keyShare);
  });

  it('a failure is a typed error, and the share that was there still is', async () => {
    const steps = await stepsOf((store) => store.write(other));
    for (const code of ['EIO', 'ENOSPC'] as const) {
      for (let step = 1; step <= steps; step++) {
        const files = await prepared({ kind: 'fail', step, code });
        expect(await codeOf(storeIn(files).write(other))).toBe('file-unwritable');
        expect([share.keyShare, other.keyShare]).toContain((await storeIn(files).read())?.keyShare);
      }
    }
  });

  it('an erased share does not come back once erasing was done, and erasing may be done again', async () => {
    const steps = await stepsOf((store) => store.erase());
    for (let step = 1; step <= steps; step++) {
      const files = await prepared({ kind: 'crash', step });
      await expect(storeIn(files).erase()).rejects.toThrow(PowerLoss);
      const after = files.restart({ kind: 'keep' });
      await storeIn(after).erase();
      expect(await storeIn(after.restart(drop)).read()).toBeUndefined();
    }
  });
});
