/**
 * Client identity: the file that holds the seed of a client's signing key.
 *
 * Who reads it can act as the client; it is refused when others than its owner could.
 */
import { dirname } from 'node:path';
import { z } from 'zod';
import { type SigningKey, seedSizeBytes, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import type { RandomBytes } from '../platform/random.ts';
import { homeErrorOf } from './home-error.ts';
import { parseJson, readSecretText, writeNewText } from './whole-file.ts';

const identityForm = z.strictObject({
  version: z.literal(1),
  seed: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex characters'),
});

/** Reads an identity file. */
export async function readIdentity(path: string, files: FileSystem = systemFiles): Promise<SigningKey> {
  return signingKeyFromSeed(await readIdentitySeed(path, files));
}

/** Reads the seed of an identity file, 32 bytes: what a client connects with. */
export async function readIdentitySeed(path: string, files: FileSystem = systemFiles): Promise<Uint8Array> {
  const { seed } = parseJson(path, await readSecretText(files, path), identityForm);
  return Buffer.from(seed, 'hex');
}

/** Makes a new identity file, durable when this resolves; refuses to replace one. */
export async function createIdentity(
  path: string,
  random: RandomBytes,
  files: FileSystem = systemFiles,
): Promise<SigningKey> {
  const seed = random(seedSizeBytes);
  const text = `${JSON.stringify({ version: 1, seed: Buffer.from(seed).toString('hex') }, null, 2)}\n`;
  await writeNewText(files, path, text);
  try {
    await files.fsyncDirectory(dirname(path));
  } catch (error) {
    throw homeErrorOf(error, path, 'writing');
  }
  return signingKeyFromSeed(seed);
}
