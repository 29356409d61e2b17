/**
 * Seed file: the private half of an Ed25519 key, 32 bytes as hex: of a replica's identity, of an administrator.
 *
 * Who reads it can sign as its owner; it is refused when others than its owner could. No error holds any part of it.
 */
import { type SigningKey, seedSizeBytes, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { malformed, readSecretText, writeNewText } from './whole-file.ts';

/** The key of a seed file. Rejects with a `HomeError`. */
export async function readSeedFile(path: string, files: FileSystem = systemFiles): Promise<SigningKey> {
  const text = (await readSecretText(files, path)).trimEnd();
  if (!/^[0-9a-f]{64}$/.test(text)) throw malformed(path, 'it must be 64 lower-case hex characters');
  return signingKeyFromSeed(Buffer.from(text, 'hex'));
}

/** Makes one for its owner only, durable but for its name; refuses to replace one. */
export async function writeSeedFile(path: string, seed: Uint8Array, files: FileSystem = systemFiles): Promise<void> {
  if (seed.length !== seedSizeBytes) throw new RangeError(`a seed has ${seedSizeBytes} bytes, not ${seed.length}`);
  await writeNewText(files, path, `${Buffer.from(seed).toString('hex')}\n`);
}
