/**
 * Damaged file: which file is to blame when the client refuses what a command took from files. The client is given a key
 * and a head; it does not know where they were kept.
 *
 * Looked for only after the refusal, so that a command whose files are whole does not verify a head twice.
 */
import { CoterieError } from '../client/client.ts';
import { loadServiceKey, type ServiceKey } from '../client/service-key.ts';
import { CliError, exitCodes } from './cli-error.ts';
import type { HeadFile } from './head-file.ts';
import type { GivenServiceKey } from './service-key-option.ts';

/** The error to show instead: one that names the file when one is to blame, else the same. */
export async function blameFile(
  error: unknown,
  serviceKey: GivenServiceKey | undefined,
  headFile: HeadFile | undefined,
): Promise<unknown> {
  if (!(error instanceof CoterieError) || error.code !== 'invalid-input' || serviceKey === undefined) return error;
  const key = await loadServiceKey(serviceKey.text).catch(() => undefined);
  if (key === undefined) return serviceKey.path === undefined ? error : noServiceKeyIn(serviceKey.path, error);
  if (headFile === undefined || (await isHeadOf(key, headFile))) return error;
  return noHeadIn(headFile.path, serviceKey.path, error);
}

/** Of a file that is not there, too: there is nothing wrong with that. */
async function isHeadOf(key: ServiceKey, headFile: HeadFile): Promise<boolean> {
  const kept = await headFile.load();
  return kept === undefined || key.readHead(kept) !== undefined;
}

function noServiceKeyIn(path: string, cause: CoterieError): CliError {
  return new CliError(`${path} holds no service key: its characters are not those of a point that can be one`, {
    code: 'file-malformed',
    hint: 'Put it back from a copy, or take the service key as the operator published it.',
    exitCode: exitCodes.environment,
    cause,
  });
}

function noHeadIn(path: string, keyPath: string | undefined, cause: CoterieError): CliError {
  const key = keyPath === undefined ? 'the service key that was given' : `the service key in ${keyPath}`;
  return new CliError(`${path} holds no head that is signed under ${key}: it is damaged, or of another service`, {
    code: 'file-malformed',
    hint: 'Put it back from a copy. Without it the next command cannot notice that history was rewritten.',
    exitCode: exitCodes.environment,
    cause,
  });
}
