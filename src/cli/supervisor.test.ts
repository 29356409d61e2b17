/**
 * Shows that replica processes are kept running, that a start that cannot work is explained, and that all of them end.
 * The children are real processes that speak the supervision messages; only what they do is made up.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliError } from './cli-error.ts';
import { ReplicaLog } from './replica-log.ts';
import { type SupervisionEvent, Supervisor } from './supervisor.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-supervisor-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const status = '{ round: 1, commitIndex: 2, requestsPerSecond: 0, suspected: [] }';
const wellBehaved = `
  process.send({ kind: 'ready', status: ${status} });
  process.on('message', () => process.exit(0));
  process.on('disconnect', () => process.exit(0));
`;
const deaf = `process.send({ kind: 'ready', status: ${status} }); process.on('message', () => {}); setInterval(() => {}, 1000);`;
const broken = `console.error('first line'); console.error('last words'); process.exit(7);`;
const portTaken = `
  process.send({ kind: 'failed', failure: { code: 'port-in-use', message: 'port 1 is in use', hint: 'choose' } }, () => process.exit(4));
`;

function supervise(scripts: readonly string[], stopPatienceMs = 5_000) {
  const events: SupervisionEvent[] = [];
  const replicas = scripts.map((script, i) => {
    const home = join(directory, `r${i}`);
    writeFileSync(`${home}.cjs`, script);
    return { replicaId: `r${i}`, home, command: [process.execPath, `${home}.cjs`] as const };
  });
  for (const { home } of replicas) mkdirSync(home);
  const reports: number[] = [];
  const supervisor: Supervisor = new Supervisor({
    replicas,
    quorumSize: Math.ceil((2 * scripts.length + 1) / 3),
    readyTimeoutMs: 20_000,
    stopPatienceMs,
    onEvent: (event) => events.push(event),
    onStatus: () => reports.push(supervisor.states.filter(({ kind }) => kind === 'ready').length),
  });
  return { supervisor, events, reports };
}

const never = new AbortController().signal;

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

async function failureOf(start: Promise<void>): Promise<CliError> {
  const error: unknown = await start.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof CliError) return error;
  throw new Error(`no CliError: ${String(error)}`);
}

describe('a supervisor', () => {
  it('starts all, starts a killed one again, and stops all', async () => {
    const { supervisor, events, reports } = supervise([wellBehaved, wellBehaved, wellBehaved, wellBehaved]);
    await supervisor.start(never);
    expect(reports).toEqual([1, 2, 3, 4]);
    const before = supervisor.pids.map((pid) => pid as number);
    process.kill(before[1] as number, 'SIGKILL');
    await until(() => events.some(({ kind }) => kind === 'back'));
    expect(events.map(({ kind, replicaId }) => [kind, replicaId])).toEqual([
      ['died', 'r1'],
      ['back', 'r1'],
    ]);
    expect(events[0]?.sentence).toMatch(/^r1 died \(signal SIGKILL\); starting it again in 0\.3 s$/);
    expect(supervisor.pids[1]).not.toBe(before[1]);
    const pids = supervisor.pids.map((pid) => pid as number);
    expect(await supervisor.stop()).toEqual([]);
    expect(pids.some(isAlive)).toBe(false);
    expect(events).toHaveLength(2);
  });

  it('kills one that does not listen, and says which', async () => {
    const { supervisor } = supervise([wellBehaved, deaf, wellBehaved, wellBehaved], 300);
    await supervisor.start(never);
    const pids = supervisor.pids.map((pid) => pid as number);
    expect(await supervisor.stop()).toEqual(['r1']);
    expect(pids.some(isAlive)).toBe(false);
  });

  it('goes on when one cannot start but the others are a quorum', async () => {
    const { supervisor } = supervise([wellBehaved, wellBehaved, broken, wellBehaved]);
    await supervisor.start(never);
    expect(supervisor.states.filter(({ kind }) => kind === 'ready')).toHaveLength(3);
    expect(readFileSync(join(directory, 'r2', 'replica.log'), 'utf8')).toContain('last words');
    await supervisor.stop();
  });

  it('shows the last lines of the log when no quorum starts', async () => {
    const { supervisor } = supervise([wellBehaved, wellBehaved, broken, broken]);
    const error = await failureOf(supervisor.start(never));
    await supervisor.stop();
    expect(error.message).toBe('only 2 of 4 replicas started; exit code 7');
    expect(error.hint).toMatch(
      /replica\.log; the last lines:\nfirst line\nlast words$|last words\nfirst line\nlast words$/,
    );
    expect(error.exitCode).toBe(4);
  });

  it("gives up on a port that belongs to somebody else, with the replica's own words", async () => {
    const { supervisor } = supervise([wellBehaved, wellBehaved, wellBehaved, portTaken]);
    const error = await failureOf(supervisor.start(never));
    await supervisor.stop();
    expect(error).toMatchObject({
      message: 'r3 did not start: port 1 is in use',
      code: 'port-in-use',
      hint: expect.stringMatching(/^choose\n.*--base-port/),
      exitCode: 4,
    });
  });
});

describe('who comes and goes', () => {
  const removed = `
    process.send({ kind: 'failed', failure: { code: 'removed', message: 'it was removed' } }, () => process.exit(4));
  `;
  /** As a keeper: it says what its replica says, and goes on by itself. */
  const leavingUnderKeeper = `
    process.send({ kind: 'ready', status: ${status} });
    setTimeout(() => process.send({ kind: 'left' }), 300);
    process.on('message', () => process.exit(0));
  `;

  it.each([
    ['says so and goes on', leavingUnderKeeper],
    ['was removed before it started', removed],
  ])('one that %s is shown as one that has left, and not started again', async (_, script) => {
    const { supervisor, events } = supervise([wellBehaved, wellBehaved, wellBehaved, script]);
    await supervisor.start(never);
    await until(() => supervisor.states[3]?.kind === 'left' && supervisor.pids[3] === undefined);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(supervisor.states.map(({ kind }) => kind)).toEqual(['ready', 'ready', 'ready', 'left']);
    expect(supervisor.pids[3]).toBeUndefined();
    expect(events.map(({ kind, replicaId }) => [kind, replicaId])).toEqual([['left', 'r3']]);
    expect(events[0]?.sentence).toMatch(/^r3 is not in the membership any more: .* not started again$/);
    expect(await supervisor.stop()).toEqual([]);
  });

  it('one that is added later is kept running like the others', async () => {
    const { supervisor, events } = supervise([wellBehaved, wellBehaved, wellBehaved, wellBehaved]);
    await supervisor.start(never);
    const home = join(directory, 'r4');
    mkdirSync(home);
    writeFileSync(`${home}.cjs`, wellBehaved);
    supervisor.add({ replicaId: 'r4', home, command: [process.execPath, `${home}.cjs`] });
    await until(() => supervisor.states[4]?.kind === 'ready');
    expect(supervisor.ids).toEqual(['r0', 'r1', 'r2', 'r3', 'r4']);
    process.kill(supervisor.pids[4] as number, 'SIGKILL');
    await until(() => events.filter(({ kind }) => kind === 'back').length === 2);
    expect(events.map(({ kind }) => kind)).toEqual(['added', 'back', 'died', 'back']);
    const pid = supervisor.pids[4] as number;
    expect(await supervisor.stop()).toEqual([]);
    expect(isAlive(pid)).toBe(false);
  });
});

describe('a replica log', () => {
  it('is bounded, keeps one older file, and remembers the last lines', () => {
    const path = join(directory, 'replica.log');
    const log = new ReplicaLog({ path, sizeBytesMax: 100, linesKept: 2 });
    for (let i = 0; i < 50; i++) log.write(Buffer.from(`line ${i}\n`));
    log.write(Buffer.from('unfinished'));
    log.close();
    expect(statSync(path).size).toBeLessThanOrEqual(100);
    expect(statSync(`${path}.1`).size).toBeLessThanOrEqual(100);
    expect(existsSync(`${path}.2`)).toBe(false);
    expect(log.lastLines).toEqual(['line 48', 'line 49']);
    expect(readFileSync(path, 'utf8')).toMatch(/line 49\nunfinished$/);
  });

  it('appends to what is there', () => {
    const path = join(directory, 'replica.log');
    writeFileSync(path, 'before\n');
    const log = new ReplicaLog({ path, sizeBytesMax: 100, linesKept: 2 });
    log.write(Buffer.from('after\n'));
    log.close();
    expect(readFileSync(path, 'utf8')).toBe('before\nafter\n');
  });

  it('drops lines that cannot be written', () => {
    const log = new ReplicaLog({ path: join(directory, 'no', 'such', 'place'), sizeBytesMax: 100, linesKept: 2 });
    log.write(Buffer.from('lost\n'));
    expect(log.dropped).toBe(1);
    expect(log.lastLines).toEqual(['lost']);
  });
});
