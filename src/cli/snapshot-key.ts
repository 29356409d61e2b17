/**
 * Snapshot key: the service key that a snapshot is checked by: given on the command line, or kept where the homes are.
 */
import { loadServiceKey, type ServiceKey } from '../client/service-key.ts';
import { readServiceKey } from '../storage/cluster-directory.ts';
import { SnapshotError } from '../storage/snapshot-file.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { readServiceKeyOption } from './service-key-option.ts';

/** `directories`: of the cluster, and of homes. What they keep must be the key that was given. */
export async function snapshotKey(option: string | undefined, directories: readonly string[]): Promise<ServiceKey> {
  let key = option === undefined ? undefined : (await readServiceKeyOption(option)).text;
  for (const directory of directories) {
    const kept = await readServiceKey(directory);
    if (kept === undefined) continue;
    key ??= kept;
    if (kept === key) continue;
    throw new CliError(
      `${directory} keeps another service key than ${option === undefined ? directories[0] : 'the one given'}`,
      {
        code: 'service-key-mismatch',
        hint: 'A service keeps its key for ever: find out whose key each is before you trust either.',
        exitCode: exitCodes.environment,
      },
    );
  }
  if (key !== undefined) return loadServiceKey(key);
  throw new CliError('there is no service key to check the snapshot by', {
    code: 'no-service-key',
    hint: 'Give it with --service-key, as the service published it.',
  });
}

/** A snapshot that is refused is not proven, as `coterie verify` says it. */
export async function proven<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SnapshotError)) throw error;
    throw new CliError(`not proven: ${error.message}`, {
      code: 'not-proven',
      hint: error.hint,
      exitCode: exitCodes.negative,
      cause: error,
    });
  }
}
