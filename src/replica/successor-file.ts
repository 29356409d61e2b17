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
import { type PublicKey, type PublicKeyText, type SigningKey, sign, verify } from '../crypto/ed25519.ts';
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

/** False: one for these keys is there already. One for other keys is of no use any more, and replaced. */
export async function writeRequest(
  files: FileSystem,
  directory: string,
  statement: SuccessorStatement,
): Promise<boolean> {
  const path = join(directory, successorRequestFile);
  const isThere = (await files.describe(path)) !== undefined;
  if (isThere && (await requestedKey(files, path)) === statement.keys.signingKey) return false;
  const document = { version: 1, statement: Buffer.from(encodeSuccessorStatement(statement)).toString('hex') };
  // There whole or not at all: a program may be waiting to take it away.
  await files.remove(`${path}.new`);
  await writeNewText(files, `${path}.new`, `${JSON.stringify(document, null, 2)}\n`);
  await files.rename(`${path}.new`, path);
  return true;
}

/** The signing key that a request names; undefined when it is none. */
async function requestedKey(files: FileSystem, path: string): Promise<PublicKeyText | undefined> {
  try {
    const { statement } = parseJson(path, await readText(files, path), requestForm);
    const decoded = decodeSuccessorStatement(Buffer.from(statement, 'hex'));
    return decoded.ok ? decoded.value.keys.signingKey : undefined;
  } catch (error) {
    if (error instanceof HomeError) return undefined;
    throw error;
  }
}

/** Undefined while there is none for these keys. By whom it is signed is not looked at. */
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

/** Has this identity key signed it? */
export function isSignedBy(
  identityKey: PublicKey | undefined,
  { statement, certificate }: { readonly statement: SuccessorStatement; readonly certificate: Uint8Array },
): boolean {
  return identityKey !== undefined && verify(identityKey, successorPreimage(statement), certificate);
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
