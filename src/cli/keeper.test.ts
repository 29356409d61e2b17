/**
 * `coterie keeper` and `coterie manifest` as an operator uses them: a copy of the program, a real replica, another user and only
 * the capabilities of the units when this is root.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { giveTo, isRoot, listeningSockets } from '../keeper/testing/kept-replica.ts';
import { createCluster } from '../replica/create-cluster.ts';
import { isFromReplica } from './supervision-message.ts';

const repository = fileURLToPath(new URL('../../', import.meta.url));
/** A user that nothing else on this machine runs as. */
const user = { uid: 61_231, gid: 61_231 };
/** The three of deploy/: so what the units and manifests give is enough. */
const capabilities = ['--bounding-set', '-all,+setuid,+setgid,+kill', '--inh-caps', '-all', '--no-new-privs'];
const hasSetpriv = isRoot && runs('setpriv', [...capabilities, 'true']);

let directory: string;
let program: string;
let cluster: string;
let manifest: string;

function runs(name: string, parameters: readonly string[]): boolean {
  try {
    execFileSync(name, parameters, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-keeper-cli-'));
  // Code of its own, which other builds do not change meanwhile; the libraries are where they are.
  const code = join(directory, 'code');
  cpSync(join(repository, 'dist'), join(code, 'dist'), {
    recursive: true,
    filter: (path) => !/\/(test|simulator|bench|testing)$|\.(test|map|d)\./.test(path),
  });
  cpSync(join(repository, 'package.json'), join(code, 'package.json'));
  symlinkSync(join(repository, 'node_modules'), join(code, 'node_modules'));
  program = join(code, 'dist', 'src', 'cli', 'main.js');
  cluster = join(directory, 'c');
  await createCluster({
    directory: cluster,
    replicas: 4,
    service: 'kv',
    name: 'kept',
    recovery: 'hardware',
    basePort: 31_700,
    epochIntervalMs: 86_400_000,
  });
  for (const path of [directory, cluster, join(cluster, 'replicas')]) await chmod(path, 0o711);
  if (isRoot) await giveTo(join(cluster, 'replicas', 'r0'), user);
  manifest = join(cluster, 'keepers', 'r0', 'manifest.json');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let child: ChildProcess | undefined;
afterEach(async () => {
  if (child === undefined || child.exitCode !== null) return;
  const ended = new Promise((resolve) => child?.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
});

interface Running {
  readonly lines: string[];
  readonly ended: Promise<number | null>;
  until(isIt: (line: string) => boolean, count?: number): Promise<string>;
}

function keeper(more: readonly string[] = [], channel: 'ipc' | 'ignore' = 'ignore'): Running {
  const store = join(cluster, 'keepers', 'r0');
  const as = isRoot ? ['--user', `${user.uid}:${user.gid}`] : [];
  const words = [process.execPath, program, 'keeper', '--store', store];
  const whole = [...words, '--home', join(cluster, 'replicas', 'r0'), ...as, ...more];
  const [name = '', ...parameters] = hasSetpriv ? ['setpriv', ...capabilities, ...whole] : whole;
  const started = spawn(name, parameters, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe', channel] });
  child = started;
  const lines: string[] = [];
  let wake = (): void => {};
  let partial = '';
  started.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const pieces = (partial + text).split('\n');
    partial = pieces.pop() ?? '';
    lines.push(...pieces);
    wake();
  });
  let hasEnded = false;
  const ended = new Promise<number | null>((resolve) => {
    started.once('close', (code) => {
      hasEnded = true;
      wake();
      resolve(code);
    });
  });
  const until = async (isIt: (line: string) => boolean, count = 1): Promise<string> => {
    for (;;) {
      const found = lines.filter(isIt)[count - 1];
      if (found !== undefined) return found;
      if (hasEnded) throw new Error(`the keeper ended:\n${lines.join('\n')}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { lines, ended, until };
}

function makeManifest(): string {
  const written = execFileSync(process.execPath, [program, 'manifest', '--out', manifest], {
    encoding: 'utf8',
    cwd: '/',
  });
  return /^SHA-256 ([0-9a-f]{64})$/m.exec(written)?.[1] ?? '';
}
const startedPid = (line: string): number => Number((JSON.parse(line) as { readonly pid: number }).pid);
const isStart = (line: string): boolean => line.includes('"msg":"started the replica"');
const isReady = (line: string): boolean =>
  line.includes('"msg":"replica started"') && line.includes('"from":"replica"');

test('a keeper without a manifest starts nothing', async () => {
  const { ended, lines } = keeper();
  expect(await ended).toBe(4);
  expect(lines.join('\n')).toContain('There is no manifest');
  expect(lines.some(isStart)).toBe(false);
});

test('a replica runs under its keeper, as another user, and is started again when it is killed', async () => {
  expect(makeManifest()).toMatch(/^[0-9a-f]{64}$/);
  const kept = keeper(['--at-most', '7d']);
  const first = startedPid(await kept.until(isStart));
  await kept.until(isReady);
  expect(kept.lines.some((line) => line.includes('same user as its keeper'))).toBe(!isRoot);
  if (isRoot) expect(readFileSync(`/proc/${first}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\\s+${user.uid}\\s`, 'm'));
  if (process.platform === 'linux') {
    expect(await listeningSockets(child?.pid ?? 0)).toEqual([]);
    // So that this shows something: the replica does listen.
    expect((await listeningSockets(first)).length).toBeGreaterThan(2);
  }
  process.kill(first, 'SIGKILL');
  const second = startedPid(await kept.until(isStart, 2));
  await kept.until(isReady, 2);
  expect(second).not.toBe(first);
  child?.kill('SIGTERM');
  expect(await kept.ended).toBe(0);
  expect(runs('kill', ['-0', String(second)])).toBe(false);
});

test('started by `up` it passes on what the replica has for `up`, and stops when it is asked to', async () => {
  const heard: unknown[] = [];
  const kept = keeper(['--log-level', 'error'], 'ipc');
  await new Promise<void>((resolve) => {
    child?.on('message', (message) => {
      heard.push(message);
      if (isFromReplica(message) && message.kind === 'ready') resolve();
    });
  });
  expect(heard.every(isFromReplica)).toBe(true);
  child?.send({ kind: 'stop' });
  expect(await kept.ended).toBe(0);
});

test('changed code is not started, and the file is named', async () => {
  const changed = join(directory, 'code', 'dist', 'src', 'cli', 'replica.js');
  writeFileSync(changed, `${readFileSync(changed, 'utf8')}\n`);
  const { ended, lines } = keeper();
  expect(await ended).toBe(4);
  expect(lines.join('\n')).toContain('dist/src/cli/replica.js is changed');
  expect(lines.some(isStart)).toBe(false);
});

test('a time after which clean starts would end the cluster is refused', async () => {
  makeManifest();
  const { ended, lines } = keeper(['--at-most', '5d']);
  expect(await ended).toBe(4);
  expect(lines.join('\n')).toContain('would end this cluster');
});

test('a manifest must be signed where a key for that is given', async () => {
  const { ended, lines } = keeper(['--manifest-key', 'ab'.repeat(32)]);
  expect(await ended).toBe(4);
  expect(lines.join('\n')).toContain('is not signed by abab');
});
