/**
 * Run sign successor: shows whose keys they are and for when, and signs them.
 *
 * The replica looks for the signed file each second, as long as the epoch waits for its keys.
 */
import { dirname, join, resolve } from 'node:path';
import { systemFiles } from '../platform/files.ts';
import { signRequest, successorSignedFile } from '../replica/successor-file.ts';
import { homeErrorOf } from '../storage/home-error.ts';
import { readSeedFile } from '../storage/seed-file.ts';
import { writeNewText } from '../storage/whole-file.ts';
import type { CommandContext } from './command.ts';
import type { SignSuccessorOptions } from './sign-successor.ts';

export async function runSignSuccessor(
  request: string,
  { identity, out }: SignSuccessorOptions,
  { terminal }: CommandContext,
): Promise<void> {
  const { statement, text } = await signRequest(systemFiles, resolve(request), await readSeedFile(identity));
  const path = resolve(out ?? join(dirname(request), successorSignedFile));
  try {
    await systemFiles.remove(`${path}.new`);
    await writeNewText(systemFiles, `${path}.new`, text);
    await systemFiles.rename(`${path}.new`, path);
  } catch (error) {
    throw homeErrorOf(error, path, 'writing');
  }
  const { replicaId, epoch, keys } = statement;
  if (terminal.json) terminal.document({ replicaId, epoch, signingKey: keys.signingKey, signed: path });
  else {
    terminal.line(`Signed the keys of ${replicaId} for epoch ${epoch}: ${keys.signingKey}`);
    terminal.line(`Put ${path} beside the request, in the home of the replica, if it is not there.`);
  }
}
