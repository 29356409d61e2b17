/**
 * Home service: the service that the replica of a home runs.
 *
 * The home is opened and closed for it: so it is checked whole before a module that it names is loaded, and whatever is
 * wrong with it is said in the words of storage/.
 */
import { dirname, join } from 'node:path';
import type { AnyService } from '../execution/service-definition.ts';
import { homePaths, openAnyHome } from '../storage/home.ts';
import { CliError } from './cli-error.ts';
import { loadService } from './load-service.ts';

export async function serviceOfHome(path: string): Promise<AnyService> {
  const home = await openAnyHome(path);
  const { service: specifier, directory } = home;
  await home.close();
  // <cluster>/replicas/<replicaId>; on a server that has the home alone, the service lies beside it.
  const clusterDirectory = dirname(dirname(directory));
  try {
    return await loadService({ specifier, clusterDirectory, workingDirectory: process.cwd() });
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'service-missing') throw error;
    const { code, message, hint, exitCode } = error;
    const named = `${message}, which ${join(directory, homePaths.replica)} names`;
    throw new CliError(named, { code, exitCode, ...(hint === undefined ? {} : { hint }), cause: error });
  }
}
