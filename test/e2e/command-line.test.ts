/**
 * Shows the command line on a real cluster as a user goes through it: `up` in an empty directory, the commands it
 * suggests, a replica killed, mistakes, Ctrl-C, and everything again with the data still there.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askStatus } from 'coterie/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from './watching.ts';

const program = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

let directory: string;
let up: Running;

interface Running {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>;
}

/** Starts a command in a process group of its own, so that it can be sent what a terminal sends on Ctrl-C. */
function start(...parameters: string[]): Running {
  const { COTERIE_CLUSTER: _cluster, COTERIE_DEBUG: _debug, ...environment } = process.env;
  const env = { ...environment, NO_COLOR: '1' };
  const child = spawn(process.execPath, [program, ...parameters], { cwd: directory, env, detached: true });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      output[name] += chunk.toString('utf8');
    });
  }
  child.stdin.end();
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, ...output })),
  );
  return { child, ended, stdout: () => output.stdout, stderr: () => output.stderr };
}

const coterie = (...parameters: string[]) => start(...parameters).ended;

/** Ctrl-C in the terminal of the command: to it and all its children. */
function interrupt({ child }: Running): void {
  process.kill(-(child.pid as number), 'SIGINT');
}

function startedUp(running: Running): Promise<true> {
  return until('up is ready', async () => {
    if (running.child.exitCode !== null) throw new Error(`up ended: ${running.stdout()}${running.stderr()}`);
    return /Ready: 4 of 4 replicas/.test(running.stdout()) ? true : undefined;
  });
}

/** Pids of the replicas, as they say themselves. */
async function pidsOfReplicas(): Promise<readonly number[]> {
  const genesis = await readFile(join(directory, '.coterie', 'genesis.json'), 'utf8');
  const ask = async (replicaIndex: number) => {
    const status = await until(`r${replicaIndex} answers`, () =>
      askStatus({ genesis, replicaIndex, deadlineMs: 2_000 }).catch(() => undefined),
    );
    return (status as unknown as { readonly pid: number }).pid;
  };
  return Promise.all([0, 1, 2, 3].map(ask));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function allGone(pids: readonly number[]): Promise<true> {
  return until('the processes are gone', async () => (pids.some(isAlive) ? undefined : true));
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-'));
  up = start('up');
  await startedUp(up);
});

afterAll(async () => {
  if (up.child.exitCode === null) up.child.kill('SIGTERM');
  await up.ended;
  await rm(directory, { recursive: true, force: true });
});

it('up makes a cluster, shows its replicas and says what to try', () => {
  const shown = up.stdout();
  expect(shown).toMatch(/Made a new cluster of 4 replicas/);
  expect(shown).toMatch(/service kv · [0-9a-f]{64}$/m);
  for (const replica of ['r0', 'r1', 'r2', 'r3']) {
    expect(shown).toMatch(new RegExp(`^${replica} +ready +127\\.0\\.0\\.1:\\d+ +127\\.0\\.0\\.1:\\d+`, 'm'));
  }
  for (const command of ['kv put greeting hello', 'kv get greeting', 'status']) {
    expect(shown).toMatch(new RegExp(`^ +.*${command}$`, 'm'));
  }
});

it('up shows the service key, keeps it, and finds the same one again', async () => {
  const [, shown] = /^ {2}([0-9a-f]{192})$/m.exec(up.stdout()) ?? [];
  expect(shown).toBeDefined();
  expect(await readFile(join(directory, '.coterie', 'service-key'), 'utf8')).toBe(`${shown}\n`);
  expect(await coterie('service-key')).toMatchObject({ code: 0, stdout: `${shown}\n` });
  // Without the file it is what the replicas say.
  await rm(join(directory, '.coterie', 'service-key'));
  const asked = await coterie('service-key', '--json');
  expect(JSON.parse(asked.stdout)).toEqual({ serviceKey: shown, from: 'replicas' });
  const { stdout } = await coterie('status', '--json');
  expect(JSON.parse(stdout)).toMatchObject({
    replicas: [0, 1, 2, 3].map(() => ({ serviceKey: shown, keyState: 'ready', diverged: false })),
  });
});

it('kv, call and status do what they say', async () => {
  const done = { code: 0, stderr: '' };
  expect(await coterie('kv', 'put', 'greeting', 'hello')).toMatchObject({ ...done, stdout: '' });
  expect(await coterie('kv', 'get', 'greeting')).toMatchObject({ ...done, stdout: 'hello\n' });
  expect(await coterie('kv', 'cas', 'greeting', 'hello', 'bye')).toMatchObject(done);
  expect(await coterie('kv', 'list', 'gre')).toMatchObject({ ...done, stdout: 'greeting\tbye\n' });
  expect(await coterie('call', 'get', '{"key": "greeting"}')).toMatchObject({ ...done, stdout: '"bye"\n' });
  const status = await coterie('status', '--json');
  expect(status).toMatchObject(done);
  expect(JSON.parse(status.stdout)).toMatchObject({
    service: 'kv',
    reachable: 4,
    hasQuorum: true,
    agreed: true,
    replicas: [0, 1, 2, 3].map((replicaIndex) => ({ replica: `r${replicaIndex}`, replicaIndex, reachable: true })),
  });
});

it('when the answer is no, the exit code is 1 and it is said why', async () => {
  expect(await coterie('kv', 'get', 'nothing')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/no key "nothing"/),
  });
  expect(await coterie('kv', 'delete', 'nothing')).toMatchObject({ code: 1 });
  expect(await coterie('kv', 'cas', 'greeting', 'hello', 'x')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/not set: it is/),
  });
  expect(await coterie('call', 'fly', 'null')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/unknown-operation/),
  });
  expect(await coterie('call', 'put', '{"key": 7}')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/invalid-input/),
  });
  const missing = await coterie('kv', 'get', 'nothing', '--json');
  expect(missing.code).toBe(1);
  expect(JSON.parse(missing.stdout)).toMatchObject({ error: { code: 'key-missing' } });
});

it('input that is not understood is a matter of usage, and nothing is sent', async () => {
  expect(await coterie('call', 'put', '{"key": ')).toMatchObject({ code: 2 });
  expect(await coterie('kv', 'put', 'onlykey')).toMatchObject({ code: 2 });
  expect(await coterie('status', '--cluster', '/nonexistent')).toMatchObject({
    code: 4,
    stderr: expect.stringMatching(/does not exist/),
  });
  expect(await coterie('kv', 'get', 'x', '--cluster', '.coterie/replicas/r0')).toMatchObject({ code: 4 });
});

it('a replica that is killed is started again, and the cluster serves meanwhile', async () => {
  const before = await pidsOfReplicas();
  process.kill(before[2] as number, 'SIGKILL');
  expect(await coterie('kv', 'put', 'meanwhile', 'served')).toMatchObject({ code: 0 });
  await until('up says that it is back', async () => (/^r2 is back$/m.test(up.stderr()) ? true : undefined));
  expect(up.stderr()).toMatch(/^r2 died \(signal SIGKILL\); starting it again in/m);
  const after = await pidsOfReplicas();
  expect(after.map((pid, index) => pid === before[index])).toEqual([true, true, false, true]);
});

it('what is in use cannot be used twice', async () => {
  const [pid] = await pidsOfReplicas();
  expect(await coterie('up')).toMatchObject({
    code: 4,
    stderr: expect.stringMatching(/r\d did not start: .* is in use by process \d+/),
  });
  const replica = await coterie('replica', '--home', '.coterie/replicas/r0', '--log-level', 'silent');
  expect(replica.code).toBe(4);
  expect(replica.stderr).toMatch(`is in use by process ${pid}`);

  const port = /r0 +ready +127\.0\.0\.1:\d+ +127\.0\.0\.1:(\d+)/.exec(up.stdout())?.[1] as string;
  expect(await coterie('init', 'other', '--base-port', port)).toMatchObject({ code: 0 });
  const other = await coterie('up', 'other');
  expect(other).toMatchObject({ code: 4, stderr: expect.stringMatching(/another process listens there/) });
  expect(other.stderr).toMatch(/--base-port/);

  // None of this disturbed those who were there first.
  expect((await pidsOfReplicas())[0]).toBe(pid);
  expect(await coterie('kv', 'get', 'meanwhile')).toMatchObject({ code: 0, stdout: 'served\n' });
});

it('Ctrl-C stops everything, and then nobody answers', async () => {
  const pids = await pidsOfReplicas();
  interrupt(up);
  const { code, stdout } = await up.ended;
  expect(code).toBe(0);
  expect(stdout).toMatch(/Stopped\. The data is in/);
  expect(pids.filter(isAlive)).toEqual([]);
  const [get, status] = await Promise.all([
    coterie('kv', 'get', 'greeting', '--timeout', '2'),
    coterie('status', '--timeout', '1'),
  ]);
  expect(get).toMatchObject({ code: 3, stdout: '' });
  expect(get.stderr).toMatch(/replicas are connected/);
  expect(status).toMatchObject({ code: 3, stdout: expect.stringMatching(/0 of 4 replicas reachable/) });
});

it('started again, it goes on with its data; and when up itself is killed, no replica is left', async () => {
  up = start('up');
  await startedUp(up);
  expect(up.stdout()).not.toMatch(/Made a new cluster|Making the service key/);
  expect(await readFile(join(directory, '.coterie', 'service-key'), 'utf8')).toMatch(/^[0-9a-f]{192}\n$/);
  expect(await coterie('kv', 'get', 'greeting')).toMatchObject({ code: 0, stdout: 'bye\n' });
  const pids = await pidsOfReplicas();
  up.child.kill('SIGKILL');
  await allGone(pids);

  up = start('up', '--json');
  const document = await until('up prints its document', async () =>
    up.stdout().endsWith('\n') ? up.stdout() : undefined,
  );
  expect(JSON.parse(document)).toMatchObject({
    service: 'kv',
    replicas: [{ replica: 'r0', state: 'ready' }, {}, {}, {}],
  });
  expect(await coterie('kv', 'get', 'meanwhile')).toMatchObject({ code: 0, stdout: 'served\n' });
  up.child.kill('SIGTERM');
  expect(await up.ended).toMatchObject({ code: 0 });
});
