/** The operator's signature under the next session keys of a replica, by way of two files. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { signingKeyFromSeed, verify } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { systemFiles } from '../platform/files.ts';
import { type SuccessorStatement, successorPreimage } from '../wire/successor.ts';
import {
  isSignedBy,
  readSigned,
  signRequest,
  successorRequestFile,
  successorSignedFile,
  writeRequest,
} from './successor-file.ts';

const identity = signingKeyFromSeed(new Uint8Array(32).fill(1));
const keys = {
  signingKey: signingKeyFromSeed(new Uint8Array(32).fill(2)).publicKey.text,
  linkKeyDigest: sha256(new Uint8Array(1)),
  encryptionKey: '11'.repeat(48),
};
const statement: SuccessorStatement = {
  serviceId: sha256(new Uint8Array(2)),
  replicaId: 'r2',
  epoch: 8,
  serial: 1_790_000_000_000,
  isClean: false,
  keys,
};

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-'));
});
afterEach(() => rm(directory, { recursive: true }));

describe('a successor that the operator signs', () => {
  it('is asked for once, signed as it is, and taken for the keys that it names', async () => {
    expect(await writeRequest(systemFiles, directory, statement)).toBe(true);
    expect(await writeRequest(systemFiles, directory, { ...statement, serial: 3 })).toBe(false);
    expect(await readSigned(systemFiles, directory, keys)).toBeUndefined();
    const signed = await signRequest(systemFiles, join(directory, successorRequestFile), identity);
    expect(signed.statement).toEqual(statement);
    await writeFile(join(directory, successorSignedFile), signed.text);
    const read = await readSigned(systemFiles, directory, keys);
    expect(read?.statement).toEqual(statement);
    expect(verify(identity.publicKey, successorPreimage(statement), read?.certificate ?? new Uint8Array())).toBe(true);
    const others = { ...keys, signingKey: identity.publicKey.text };
    expect(await readSigned(systemFiles, directory, others)).toBeUndefined();
  });

  it('is asked for again when other keys are to be signed, or somebody has put rubbish in its place', async () => {
    const path = join(directory, successorRequestFile);
    await writeRequest(systemFiles, directory, statement);
    const others = { ...statement, keys: { ...keys, signingKey: identity.publicKey.text } };
    expect(await writeRequest(systemFiles, directory, others)).toBe(true);
    expect((await signRequest(systemFiles, path, identity)).statement).toEqual(others);
    for (const rubbish of ['', '{}', '{"version":1,"statement":"00"}']) {
      await writeFile(path, rubbish);
      expect(await writeRequest(systemFiles, directory, others)).toBe(true);
      expect(await writeRequest(systemFiles, directory, others)).toBe(false);
    }
  });

  it('is told apart from what another key has signed', async () => {
    await writeRequest(systemFiles, directory, statement);
    const another = signingKeyFromSeed(new Uint8Array(32).fill(3));
    for (const [by, isRight] of [
      [identity, true],
      [another, false],
    ] as const) {
      const { text } = await signRequest(systemFiles, join(directory, successorRequestFile), by);
      await writeFile(join(directory, successorSignedFile), text);
      const read = await readSigned(systemFiles, directory, keys);
      if (read === undefined) throw new Error('it is not there');
      expect(isSignedBy(identity.publicKey, read)).toBe(isRight);
      expect(isSignedBy(undefined, read)).toBe(false);
    }
  });

  it('is waited for while the file is half written or rubbish', async () => {
    await writeRequest(systemFiles, directory, statement);
    const { text } = await signRequest(systemFiles, join(directory, successorRequestFile), identity);
    for (const half of ['', text.slice(0, 80), '[]', text.replace('"certificate"', '"Certificate"')]) {
      await writeFile(join(directory, successorSignedFile), half);
      expect(await readSigned(systemFiles, directory, keys)).toBeUndefined();
    }
  });

  it('is not signed when the request is none', async () => {
    const path = join(directory, successorRequestFile);
    await writeRequest(systemFiles, directory, statement);
    const text = await readFile(path, 'utf8');
    for (const wrong of ['{}', text.replace('"statement": "', '"statement": "00')]) {
      await writeFile(path, wrong);
      await expect(signRequest(systemFiles, path, identity)).rejects.toMatchObject({ code: 'file-malformed' });
    }
  });
});
