/**
 * Successor file: how an operator signs the next session keys of a replica with a key that is kept away from the network.
 *
 *   successor-request.json   { version, statement }: what is to be signed, hex; written by the replica
 *   successor-signed.json    { version, statement, certificate }: the same with the signature; put there by the operator
 *
 * Both lie in `epochs/<next>/` of the home. Who puts a wrong one there keeps the replica from new keys, and no more: what is not signed by
 * the identity key is refused by all.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type SigningKey, sign } from '../crypto/ed25519.ts';
import type { FileSystem } from '../platform/files.ts';
import { HomeError } from '../storage/home-error.ts';
import { malformed, parseJson, readText, writeNewText } from '../storage/whole-file.ts';
import {
  decodeSuccessorStatement,
  encodeSuccessorStatement,
  type SessionKeys,
  type SuccessorStatement,
  successorPreimage,
} from '../wire/successor.ts';

export const successorRequestFile = 'successor-request.json';
export const successorSignedFile = 'successor-signed.json';

const hex = z.string().regex(/^(?:[0-9a-f]{2})+$/);
const requestForm = z.strictObject({ version: z.literal(1), statement: hex });
const signedForm = z.strictObject({ version: z.literal(1), statement: hex, certificate: hex.length(128) });

/** False: it is there already. */
export async function writeRequest(
  files: FileSystem,
  directory: string,
  statement: SuccessorStatement,
): Promise<boolean> {
  const path = join(directory, successorRequestFile);
  if ((await files.describe(path)) !== undefined) return false;
  const document = { version: 1, statement: Buffer.from(encodeSuccessorStatement(statement)).toString('hex') };
  await writeNewText(files, path, `${JSON.stringify(document, null, 2)}\n`);
  return true;
}

/** Undefined while there is none for these keys. */
export async function readSigned(
  files: FileSystem,
  directory: string,
  keys: SessionKeys,
): Promise<{ readonly statement: SuccessorStatement; readonly certificate: Uint8Array } | undefined> {
  const path = join(directory, successorSignedFile);
  if ((await files.describe(path)) === undefined) return undefined;
  let file: z.infer<typeof signedForm>;
  try {
    file = parseJson(path, await readText(files, path), signedForm);
  } catch (error) {
    // Half written, or rubbish: it may be better the next time.
    if (error instanceof HomeError) return undefined;
    throw error;
  }
  const statement = decodeSuccessorStatement(Buffer.from(file.statement, 'hex'));
  if (!statement.ok || statement.value.keys.signingKey !== keys.signingKey) return undefined;
  return { statement: statement.value, certificate: Buffer.from(file.certificate, 'hex') };
}

/** What the operator's tool does: the text of the signed file. Rejects with a `HomeError`. */
export async function signRequest(
  files: FileSystem,
  path: string,
  identityKey: SigningKey,
): Promise<{ readonly statement: SuccessorStatement; readonly text: string }> {
  const request = parseJson(path, await readText(files, path), requestForm);
  const statement = decodeSuccessorStatement(Buffer.from(request.statement, 'hex'));
  if (!statement.ok) throw malformed(path, `statement: ${statement.reason}`);
  const certificate = Buffer.from(sign(identityKey, successorPreimage(statement.value))).toString('hex');
  const text = `${JSON.stringify({ version: 1, statement: request.statement, certificate }, null, 2)}\n`;
  return { statement: statement.value, text };
}
