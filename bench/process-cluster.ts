/**
 * Process cluster: the replicas of a fresh cluster, each a process of its own as `coterie replica` runs it, to be loaded,
 * killed, frozen and started again. For benchmarks and end-to-end tests.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askStatus, type Value } from 'coterie/client';
import { createCluster } from '../src/replica/create-cluster.ts';
import type { RecoveryMethod } from '../src/wire/genesis.ts';

/** What was built, whether this file runs from `dist/` or from its source. */
const distPath = join(import.meta.dirname.replace(/\/dist\/bench$/, '/bench'), '..', 'dist');
/** Compiled benchmarks, the services among them. */
export const benchPath = join(distPath, 'bench');
/** The program of this build. */
const cliPath = join(distPath, 'src', 'cli', 'main.js');

/** How a process ended. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How a replica is started, when not as usual. */
export interface Launch {
  /** Another program of this build in its place, by its path in `dist/`; it is given the same options. */
  readonly program?: string;
  /** Or another command of any build, such as `['/code/dist/src/cli/main.js', 'keeper', '--store', DIR]`. */
  readonly command?: readonly string[];
  /** What the command line is handed to, such as `['bash', '-c', 'ulimit -f 100; exec "$@"', '-']`. */
  readonly under?: readonly string[];
  /** Of the command, after all others. */
  readonly more?: readonly string[];
}

export interface ProcessClusterOptions {
  readonly replicas?: number;
  readonly f?: number;
  readonly k?: number;
  readonly ranks?: number;
  readonly service?: string;
  readonly checkpointIntervalMs?: number;
  /** When epochs end by themselves, and how long an ending one waits for new keys. */
  readonly epochs?: { readonly intervalMs: number; readonly successorWaitMs: number };
  readonly recovery?: readonly RecoveryMethod[];
  /** Of its ports (`createCluster`); by default one that is free. */
  readonly basePort?: number | undefined;
  /** Given to each replica, such as `['--retain-blocks', '0']`. */
  readonly replicaOptions?: readonly string[];
  /** False: make it and start nothing. */
  readonly started?: boolean;
  /** Where the replicas' stderr goes; by default nowhere; `kept`: into files, to be read with `saidBy`. */
  readonly stderr?: 'inherit' | 'ignore' | 'kept';
}

export class ProcessCluster {
  /** What `--cluster` takes. */
  readonly clusterDirectory: string;
  readonly #temporaryDirectory: string;
  readonly #stderr: 'inherit' | 'ignore' | 'kept';
  readonly #replicaOptions: readonly string[];
  readonly #children: (ChildProcess | undefined)[] = [];

  private constructor(
    temporaryDirectory: string,
    { stderr = 'ignore', replicaOptions = [] }: Pick<ProcessClusterOptions, 'stderr' | 'replicaOptions'>,
  ) {
    this.#temporaryDirectory = temporaryDirectory;
    this.#stderr = stderr;
    this.#replicaOptions = replicaOptions;
    this.clusterDirectory = join(temporaryDirectory, 'cluster');
  }

  /** Makes a cluster in a temporary directory and starts all its replicas. */
  static async start(options: ProcessClusterOptions = {}): Promise<ProcessCluster> {
    const {
      replicas = 4,
      f,
      k,
      ranks,
      service = 'kv',
      checkpointIntervalMs,
      epochs,
      recovery,
      basePort,
      started = true,
    } = options;
    const cluster = new ProcessCluster(await mkdtemp(join(tmpdir(), 'coterie-')), options);
    await createCluster({
      directory: cluster.clusterDirectory,
      replicas,
      ...(f === undefined ? {} : { f }),
      ...(k === undefined ? {} : { k }),
      service,
      basePort: basePort ?? (await freePort()),
      checkpointIntervalMs,
      epochIntervalMs: epochs?.intervalMs,
      successorWaitMs: epochs?.successorWaitMs,
      recovery,
      parameters: ranks === undefined ? {} : { ranks },
    });
    cluster.#children.push(...Array.from({ length: replicas }, () => undefined));
    if (!started) return cluster;
    for (let index = 0; index < replicas; index++) cluster.restart(index);
    try {
      for (let index = 0; index < replicas; index++) await cluster.ready(index);
    } catch (error) {
      await cluster.destroy();
      throw error;
    }
    return cluster;
  }

  /** Resolves with the status of a replica as soon as it answers; rejects when it does not in time. */
  async ready(replicaIndex: number, withinMs = 30_000): Promise<Value> {
    const genesis = await this.genesis();
    for (const endMs = performance.now() + withinMs; ; ) {
      try {
        return await askStatus({ genesis, replicaIndex, deadlineMs: 2_000 });
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  get size(): number {
    return this.#children.length;
  }

  /** The text of the genesis, as clients take it. */
  genesis(): Promise<string> {
    return readFile(join(this.clusterDirectory, 'genesis.json'), 'utf8');
  }

  /** Where a replica answers HTTP. */
  async urlOf(index: number): Promise<string> {
    const { replicas } = JSON.parse(await this.genesis()) as { replicas: readonly { readonly httpAddress: string }[] };
    return `http://${replicas[index]?.httpAddress}`;
  }

  homeOf(index: number): string {
    return join(this.clusterDirectory, 'replicas', `r${index}`);
  }

  /** Pid of a replica; 0 when it is down. */
  pidOf(index: number): number {
    const child = this.#children[index];
    return child !== undefined && isRunning(child) ? (child.pid ?? 0) : 0;
  }

  /** Starts a replica that is down. */
  restart(index: number, { program, command = [cliPath, 'replica'], under = [], more = [] }: Launch = {}): void {
    const script = program === undefined ? command : [join(distPath, program)];
    const options = ['--home', this.homeOf(index), '--log-level', 'error', ...this.#replicaOptions, ...more];
    const [file = process.execPath, ...rest] = [...under, process.execPath, ...script, ...options];
    const stderr = this.#stderr === 'kept' ? openSync(this.#stderrPathOf(index), 'a') : this.#stderr;
    this.#children[index] = spawn(file, rest, { stdio: ['ignore', 'ignore', stderr] });
    if (typeof stderr === 'number') closeSync(stderr);
  }

  /** What a replica has written to stderr, in all its lives, when that is kept. */
  saidBy(index: number): Promise<string> {
    return readFile(this.#stderrPathOf(index), 'utf8');
  }

  /** Resolves when a replica's process has ended. */
  ended(index: number): Promise<ProcessEnd> {
    const child = this.#children[index];
    if (child === undefined) return Promise.reject(new Error(`replica ${index} was never started`));
    if (!isRunning(child)) return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
    return new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  }

  /** kill -9. */
  kill(index: number): Promise<void> {
    return end(this.#children[index], 'SIGKILL');
  }

  /** Asks a replica to stop cleanly and waits until it has. */
  terminate(index: number): Promise<void> {
    return end(this.#children[index], 'SIGTERM');
  }

  freeze(index: number): void {
    this.#children[index]?.kill('SIGSTOP');
  }

  thaw(index: number): void {
    this.#children[index]?.kill('SIGCONT');
  }

  #stderrPathOf(index: number): string {
    return join(this.#temporaryDirectory, `r${index}.stderr`);
  }

  /** Kills all replicas and removes the directory. */
  async destroy(): Promise<void> {
    await Promise.all(this.#children.map((child) => end(child, 'SIGKILL')));
    await rm(this.#temporaryDirectory, { recursive: true, force: true });
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function end(child: ChildProcess | undefined, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  if (child === undefined || !isRunning(child)) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}

/** A port that is free now, as are, most likely, those right above it. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      // Below the range that the system takes ports for outgoing connections from.
      server.close(() => resolve(10_000 + (port % 20_000)));
    });
  });
}
