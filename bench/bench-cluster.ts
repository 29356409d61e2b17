/**
 * Bench cluster: four replica processes with a fresh directory, as `coterie replica` runs them, to be loaded and struck.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCluster } from '../src/replica/create-cluster.ts';

const replicaCount = 4;
/** The program of this build. */
const cliPath = join(import.meta.dirname, '..', 'src', 'cli', 'main.js');

export class BenchCluster {
  readonly clusterDirectory: string;
  readonly #children: ChildProcess[] = [];
  readonly #temporaryDirectory: string;

  private constructor(temporaryDirectory: string) {
    this.#temporaryDirectory = temporaryDirectory;
    this.clusterDirectory = join(temporaryDirectory, 'cluster');
  }

  static async start(ranks = 1): Promise<BenchCluster> {
    const cluster = new BenchCluster(await mkdtemp(join(tmpdir(), 'coterie-bench-')));
    const directory = cluster.clusterDirectory;
    await createCluster({
      directory,
      replicas: replicaCount,
      service: 'kv',
      basePort: await freePort(),
      parameters: { ranks },
    });
    for (let index = 0; index < replicaCount; index++) cluster.#start(index);
    return cluster;
  }

  /** Pids by name; the load generator is this very process. */
  processes(): Record<string, number> {
    const replicas = this.#children.map((child, index) => [`r${index}`, child.pid ?? 0] as const);
    return Object.fromEntries([...replicas, ['load', process.pid]]);
  }

  /** Kills or freezes one replica. */
  strike(index: number, fault: 'dead' | 'stopped'): void {
    this.#children[index]?.kill(fault === 'dead' ? 'SIGKILL' : 'SIGSTOP');
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(
        (child) =>
          new Promise<void>((resolve) => {
            if (child.exitCode !== null || child.signalCode !== null) return resolve();
            child.once('exit', () => resolve());
            child.kill('SIGKILL');
          }),
      ),
    );
    await rm(this.#temporaryDirectory, { recursive: true, force: true });
  }

  #start(index: number): void {
    const home = join(this.clusterDirectory, 'replicas', `r${index}`);
    const command = [cliPath, 'replica', '--home', home, '--log-level', 'error'];
    this.#children.push(spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'inherit'] }));
  }
}

/** A port with room above it for the cluster's; free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port > 65_000 ? port - 1_000 : port));
    });
  });
}
