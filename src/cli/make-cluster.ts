/**
 * Make cluster: a new cluster directory, on ports that are free when the user named none.
 */
import { createServer } from 'node:net';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { clientPortOffset, createCluster, defaultFirstPort, httpPortOffset } from '../replica/create-cluster.ts';
import type { RecoveryMethod } from '../wire/genesis.ts';
import { isServicePath, loadService } from './load-service.ts';

export interface ClusterRequest {
  readonly directory: string;
  readonly replicas: number;
  readonly f?: number | undefined;
  readonly k?: number | undefined;
  readonly service: string;
  readonly name?: string | undefined;
  readonly host: string;
  readonly basePort?: number | undefined;
  readonly headIntervalMs?: number | undefined;
  readonly checkpointIntervalMs?: number | undefined;
  readonly epochIntervalMs?: number | undefined;
  readonly successorWaitMs?: number | undefined;
  /** Of the replicas one after another; the last is that of all the others. */
  readonly recovery?: readonly RecoveryMethod[] | undefined;
  readonly administrators?: number | undefined;
  readonly approvals?: number | undefined;
}

/** Clusters on one machine are this far apart; a cluster uses less. */
const portStep = 300;
const portAttemptsMax = 50;

export async function makeCluster(request: ClusterRequest): Promise<void> {
  const service = await settleService(request);
  const basePort = request.basePort ?? (await freeBasePort(request.host, request.replicas));
  await createCluster({ ...request, service, basePort });
}

/** Sees that the service can be loaded; a path is kept relative to the cluster directory, so that both can move. */
async function settleService({ service, directory }: ClusterRequest): Promise<string> {
  const path = isServicePath(service) && !isAbsolute(service) ? resolve(service) : service;
  await loadService({
    specifier: path,
    clusterDirectory: dirname(resolve(directory)),
    workingDirectory: process.cwd(),
  });
  if (path === service) return service;
  const fromCluster = relative(resolve(directory), path);
  return fromCluster.startsWith('.') ? fromCluster : `./${fromCluster}`;
}

/** The first stretch of ports that nobody listens on; the usual one when there is none, for the error it will give. */
async function freeBasePort(host: string, replicas: number): Promise<number> {
  for (let attempt = 0; attempt < portAttemptsMax; attempt++) {
    const first = defaultFirstPort + attempt * portStep;
    const ports = Array.from({ length: replicas }, (_, i) => [
      first + i,
      first + clientPortOffset + i,
      first + httpPortOffset + i,
    ]).flat();
    const areFree = await Promise.all(ports.map((port) => isFree(host, port)));
    if (areFree.every((free) => free)) return first;
  }
  return defaultFirstPort;
}

/** False only when the port is in use: any other trouble is for the replica to tell. */
function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => done(error.code !== 'EADDRINUSE'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(true)));
  });
}
