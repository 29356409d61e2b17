/**
 * Service key file: the public key of the service as a home keeps it: 192 hex characters, written down once it is known.
 *
 * Trust: public, and what a replica that has lost everything else checks the others' word by.
 */
import type { PairingCurve } from '../crypto/curve.ts';
import type { FileSystem } from '../platform/files.ts';
import { HomeError } from './home-error.ts';
import { readText, writeNewText } from './whole-file.ts';

/** What is no point of the group is no service key, but damage: the key is public, and whoever needs it asks the others. */
export async function readServiceKey(
  files: FileSystem,
  path: string,
  curve: PairingCurve,
): Promise<string | undefined> {
  if ((await files.describe(path)) === undefined) return undefined;
  const text = (await readText(files, path)).trim();
  const isKey = /^[0-9a-f]{192}$/.test(text) && curve.g2.decode(Buffer.from(text, 'hex')) !== undefined;
  return isKey ? text : undefined;
}

/** Writes it down, unless it is there already. Rejects with `service-key-mismatch` when another one is. */
export async function keepServiceKey(
  files: FileSystem,
  path: string,
  serviceKey: string,
  curve: PairingCurve,
): Promise<void> {
  const kept = await readServiceKey(files, path, curve);
  if (kept === serviceKey) return;
  if (kept !== undefined) {
    throw new HomeError(
      'service-key-mismatch',
      `${path} holds another service key than this replica has worked out.`,
      'Find out which is right, from another replica or a client. Remove the file if it is the wrong one.',
    );
  }
  const unfinished = `${path}.new`;
  await files.remove(unfinished);
  await writeNewText(files, unfinished, `${serviceKey}\n`);
  await files.rename(unfinished, path);
}
