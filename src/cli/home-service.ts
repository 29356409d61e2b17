/**
 * Home service: the service that the replica of a home runs.
 *
 * The home is opened and closed for it: so it is checked whole before a module that it names is loaded, and whatever is
 * wrong with it is said in the words of storage/.
 */
import { dirname } from 'node:path';
import type { AnyService } from '../execution/service-definition.ts';
import { openHome } from '../storage/home.ts';
import { loadService } from './load-service.ts';

export async function serviceOfHome(path: string): Promise<AnyService> {
  const home = await openHome(path);
  const { service: specifier, directory } = home;
  await home.close();
  // <cluster>/replicas/<replicaId>; on a server that has the home alone, the service lies beside it.
  const clusterDirectory = dirname(dirname(directory));
  return loadService({ specifier, clusterDirectory, workingDirectory: process.cwd() });
}
