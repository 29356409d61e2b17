/**
 * Kept cluster: the replicas of a fresh cluster that recover by hardware, each started and made clean by a `coterie keeper` of its own.
 *
 * As root each replica runs as a user of its own, as an operator would have it; else all run as the user of the test. What keepers
 * and replicas log is kept, line by line. The keepers end with this process, however that ends.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../bench/process-cluster.ts';
import type { ReplicaUser } from '../../src/keeper/replica-user.ts';
import { giveTo, isRoot } from '../../src/keeper/testing/kept-replica.ts';

/** Where this file's source lies, whether it runs from there or from `dist/`. */
const sourcePath = import.meta.dirname.replace(/\/dist\/test\/e2e$/, '/test/e2e');
/** The program of this build. */
export const programPath = join(sourcePath, '..', '..', 'dist', 'src', 'cli', 'main.js');
/** Users that nothing else on this machine runs as; another test has others. */
const firstUid = 200_000 + (process.pid % 50_000) * 16;

export interface KeptClusterOptions {
  readonly replicas: number;
  readonly f: number;
  readonly k: number;
  readonly epochIntervalMs: number;
  readonly successorWaitMs: number;
  readonly checkpointIntervalMs?: number;
}

/** A line of the log of a keeper, or of the replica that it keeps. */
export interface KeptLine {
  readonly from: 'keeper' | 'replica';
  readonly msg: string;
  /** When it was written, ISO 8601. */
  readonly time: string;
  readonly [field: string]: unknown;
}

interface Keeping {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
}

export class KeptCluster {
  /** What `--cluster` takes. */
  readonly clusterDirectory: string;
  readonly size: number;
  readonly #temporaryDirectory: string;
  readonly #keeping: (Keeping | undefined)[] = [];
  readonly #lines: KeptLine[][];

  private constructor(temporaryDirectory: string, size: number) {
    this.#temporaryDirectory = temporaryDirectory;
    this.clusterDirectory = join(temporaryDirectory, 'cluster');
    this.size = size;
    this.#lines = Array.from({ length: size }, () => []);
  }

  /** Makes the cluster as an operator does, and gives each home to its user. Starts nothing. */
  static async create({ replicas, f, k, ...times }: KeptClusterOptions): Promise<KeptCluster> {
    const cluster = new KeptCluster(await mkdtemp(join(tmpdir(), 'coterie-kept-')), replicas);
    const options = {
      recovery: 'hardware',
      replicas,
      f,
      k,
      'base-port': await freePort(),
      'epoch-interval': times.epochIntervalMs,
      'successor-wait': times.successorWaitMs,
      'checkpoint-interval': times.checkpointIntervalMs ?? 2_000,
    };
    const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    await promisify(execFile)(process.execPath, [programPath, 'init', cluster.clusterDirectory, ...words]);
    if (!isRoot) return cluster;
    const { clusterDirectory } = cluster;
    const onTheWay = [cluster.#temporaryDirectory, clusterDirectory, join(clusterDirectory, 'replicas')];
    for (const path of onTheWay) await chmod(path, 0o711);
    for (let index = 0; index < replicas; index++) {
      const user = cluster.userOf(index);
      if (user !== undefined) await giveTo(cluster.homeOf(index), user);
    }
    return cluster;
  }

  /** Of the replica; undefined where all run as the user of the test. */
  userOf(index: number): ReplicaUser | undefined {
    return isRoot ? { uid: firstUid + index, gid: firstUid + index } : undefined;
  }

  homeOf(index: number): string {
    return join(this.clusterDirectory, 'replicas', `r${index}`);
  }

  /** Of the keeper. */
  storeOf(index: number): string {
    return join(this.clusterDirectory, 'keepers', `r${index}`);
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

  /** Starts a keeper, and it the replica. */
  keep(index: number): void {
    const user = this.userOf(index);
    const as = user === undefined ? [] : ['--user', `${user.uid}:${user.gid}`];
    const places = ['--store', this.storeOf(index), '--home', this.homeOf(index)];
    const started = spawn(process.execPath, [programPath, 'keeper', '--no-manifest', ...places, ...as], {
      cwd: '/',
      // By the channel it sees that this process has ended.
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let partial = '';
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const pieces = (partial + text).split('\n');
      partial = pieces.pop() ?? '';
      for (const piece of pieces) if (piece.startsWith('{')) this.#lines[index]?.push(JSON.parse(piece) as KeptLine);
    });
    const ended = new Promise<number | null>((resolve) => started.once('close', resolve));
    this.#keeping[index] = { process: started, ended };
  }

  /** What a keeper and its replicas have logged that says this, in its order. */
  lines(index: number, from: KeptLine['from'], message: string): readonly KeptLine[] {
    return (this.#lines[index] ?? []).filter((line) => line.from === from && line.msg === message);
  }

  /** Each start of the replica, as its keeper tells of it. */
  starts(index: number): readonly { readonly pid: number; readonly isClean: boolean }[] {
    const lines = this.lines(index, 'keeper', 'started the replica');
    return lines.map(({ pid, isClean }) => ({ pid: Number(pid), isClean: isClean === true }));
  }

  /** The replica's process that was started last. */
  pidOf(index: number): number {
    return this.starts(index).at(-1)?.pid ?? 0;
  }

  pidOfKeeper(index: number): number {
    return this.#keeping[index]?.process.pid ?? 0;
  }

  /** Asks a keeper to stop, and with it its replica; the exit code. */
  async stop(index: number): Promise<number | null> {
    const keeping = this.#keeping[index];
    keeping?.process.kill('SIGTERM');
    return keeping === undefined ? null : keeping.ended;
  }

  /** Ends all, and removes the directory. */
  async destroy(): Promise<void> {
    await Promise.all(this.#keeping.map((_, index) => this.stop(index)));
    await rm(this.#temporaryDirectory, { recursive: true, force: true });
  }
}
