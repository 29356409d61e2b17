/**
 * Shows the program as a user meets it: the compiled `coterie` as a child process, without a running cluster.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wantsJson } from './program.ts';

const program = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-cli-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(parameters: readonly string[]): ChildProcess {
  const { COTERIE_CLUSTER: _cluster, COTERIE_DEBUG: _debug, ...environment } = process.env;
  return spawn(process.execPath, [program, ...parameters], { cwd: directory, env: { ...environment, NO_COLOR: '1' } });
}

function coterie(parameters: readonly string[], stdin = ''): Promise<Ended> {
  const child = start(parameters);
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => {
    output.stdout += chunk.toString('utf8');
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    output.stderr += chunk.toString('utf8');
  });
  child.stdin?.on('error', () => {});
  child.stdin?.end(stdin);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, ...output }));
  });
}

const commands = [
  'init',
  'up',
  'replica',
  'keeper',
  'manifest',
  'sign-successor',
  'demo mobile-adversary',
  'status',
  'epoch show',
  'epoch advance',
  'admin show',
  'admin add',
  'admin remove',
  'admin replace',
  'admin rule',
  'admin approve',
  'admin make-replica',
  'service-key',
  'kv put',
  'kv get',
  'kv delete',
  'kv list',
  'kv cas',
  'call',
  'verify',
  'snapshot export',
  'snapshot verify',
  'snapshot restore',
  'bench',
  'simulate',
  'debug decide',
];

describe('help', () => {
  it.each(commands)('of %s has an example and exit codes', async (command) => {
    const { exitCode, stdout, stderr } = await coterie([...command.split(' '), '--help']);
    expect(exitCode).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toContain(`Usage: coterie ${command}`);
    expect(stdout).toMatch(new RegExp(`Examples:\\n.*coterie ${command}`));
    expect(stdout).toContain('Exit codes:');
    expect(stdout).toMatch(/--json/);
  });

  it('of the program names every command', async () => {
    const { exitCode, stdout } = await coterie(['--help']);
    expect(exitCode).toBe(0);
    for (const command of commands) expect(stdout).toContain(command.split(' ')[0]);
  });

  it('is what a program without a command shows, as a mistake', async () => {
    const { exitCode, stderr } = await coterie([]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('Usage: coterie');
  });

  it('has a version', async () => {
    expect((await coterie(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('a mistake on the command line', () => {
  it.each([
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['status', '--colour'], "unknown option '--colour'"],
    [['kv', 'put', 'key'], "missing required argument 'value'"],
    [['kv', 'get', 'a', 'b'], 'too many arguments'],
    [['init', '--replicas', 'four'], 'whole number'],
    [['status', '--timeout', '-1'], 'number of seconds'],
    [['kv', 'cas', 'key', 'old'], 'the new value is missing'],
    [['kv', 'cas', 'key', 'old', 'new', '--absent'], 'there is no expected value'],
    [['call', 'get', '{key: 1}'], 'the input is not JSON'],
    [['call', 'get', '{"n": 1e999}'], 'cannot be sent'],
    [['simulate'], 'say which seeds to run'],
    [['simulate', '--seed', '1', '--scenario', 'sunny'], 'there is no scenario sunny'],
    [['replica'], "required option '--home <dir>' not specified"],
    [['debug', 'decide', 'no-such-file'], 'there is no such file'],
  ])('%j is explained, with exit code 2', async (parameters, sentence) => {
    const { exitCode, stdout, stderr } = await coterie(parameters);
    expect(stderr).toContain(sentence);
    expect(stderr).toMatch(/^error: /);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(stdout).toBe('');
    expect(exitCode).toBe(2);
  });

  it('is one JSON document with --json', async () => {
    const { exitCode, stdout, stderr } = await coterie(['call', 'get', '{', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'invalid-json', hint: expect.any(String) } });
    expect(stderr).toBe('');
    expect(exitCode).toBe(2);
    const unknown = await coterie(['status', '--json', '--colour']);
    expect(JSON.parse(unknown.stdout)).toMatchObject({ error: { code: 'usage' } });
  });

  it('sees --json where it is an option, and not where it is a value', () => {
    expect(wantsJson(['kv', 'get', 'x', '--json'])).toBe(true);
    expect(wantsJson(['kv', 'put', 'x', '--', '--json'])).toBe(false);
    expect(wantsJson(['bench', '--json', 'file.json'])).toBe(false);
    expect(wantsJson(['bench', '--json'])).toBe(true);
    expect(wantsJson(['bench', '--json', '--quick'])).toBe(true);
  });
});

describe('a directory that is not a cluster', () => {
  it.each([
    [['kv', 'get', 'key', '--cluster', 'nowhere']],
    [['status', '--cluster', 'nowhere']],
    [['up', 'nowhere']],
    [['service-key', 'nowhere']],
    [['replica', '--home', 'nowhere/r0']],
  ])('that is missing: %j', async (parameters) => {
    const { exitCode, stderr } = await coterie(parameters);
    expect(stderr).toContain('nowhere');
    expect(stderr).toContain('coterie init');
    expect(exitCode).toBe(4);
  });

  it.each([
    [['kv', 'get', 'key', '--cluster', 'wrong']],
    [['status', '--cluster', 'wrong']],
    [['up', 'wrong']],
    [['replica', '--home', 'wrong']],
  ])('that is something else: %j', async (parameters) => {
    mkdirSync(join(directory, 'wrong'), { recursive: true });
    writeFileSync(join(directory, 'wrong', 'other.txt'), 'something else');
    const { exitCode, stderr } = await coterie(parameters);
    expect(stderr).toContain('wrong');
    expect(exitCode).toBe(4);
  });

  it('that holds a broken genesis', async () => {
    const parts = await coterie(['init', 'torn', '--json', '--base-port', '17990']);
    expect(parts.exitCode).toBe(0);
    const { genesis } = JSON.parse(parts.stdout) as { genesis: string };
    writeFileSync(genesis, '{"half":');
    const { exitCode, stderr } = await coterie(['status', '--cluster', 'torn']);
    expect(stderr).toContain('genesis');
    expect(exitCode).toBe(4);
  });
});

describe('init', () => {
  it('makes a cluster once, and says what it made', async () => {
    const made = await coterie(['init', 'seven', '--replicas', '7', '--base-port', '17800', '--json']);
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    const document = JSON.parse(made.stdout) as { replicas: { clientAddress: string; httpAddress: string }[] };
    expect(document).toMatchObject({ service: 'kv', f: 2, k: 0, quorum: 5 });
    expect(document.replicas).toHaveLength(7);
    expect(new Set(document.replicas.map(({ clientAddress }) => clientAddress)).size).toBe(7);
    expect(document.replicas[6]?.httpAddress).toBe('127.0.0.1:18006');
    const again = await coterie(['init', 'seven']);
    expect(again.exitCode).toBe(4);
    expect(again.stderr).toContain('seven');
  });

  it('makes keys for keepers and administrators, and says where they lie', async () => {
    const options = ['--epoch-interval', '1m', '--successor-wait', '500', '--recovery', 'hardware'];
    const people = ['--administrators', '3', '--approvals', '2', '--base-port', '18700'];
    const made = await coterie(['init', 'safe', ...options, ...people]);
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    expect(made.stdout).toMatch(/Identity keys for the keepers are in .*keepers\./);
    expect(made.stdout).toMatch(/2 of 3 may change the membership, are in .*administrators\./);
    const genesis = JSON.parse(readFileSync(join(directory, 'safe', 'genesis.json'), 'utf8')) as object;
    expect(genesis).toMatchObject({ epochIntervalMs: 60_000, successorWaitMs: 500, administrators: { approvals: 2 } });
    const odd = await coterie(['init', 'odd', '--recovery', 'hardware,prayer']);
    expect(odd).toMatchObject({ exitCode: 2 });
    expect(odd.stderr).toContain('one of hardware, offline, awareness');
  });

  it('lets replicas of one cluster recover in different ways', async () => {
    const made = await coterie(['init', 'mixed', '--recovery', 'hardware, offline,awareness', '--base-port', '18900']);
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    const rows = made.stdout.split('\n').filter((line) => /^r\d /.test(line));
    const ways = rows.map((row) => /hardware|offline|awareness/.exec(row)?.[0]);
    expect(ways).toEqual(['hardware', 'offline', 'awareness', 'awareness']);
    expect(made.stdout).toMatch(
      /Identity keys for the keepers are in .*keepers\.\nThose for operators are in .*identities:/,
    );
  });

  it('refuses numbers that no quorum fits', async () => {
    const { exitCode, stderr } = await coterie(['init', 'three', '--replicas', '3']);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/3f/);
  });

  it('refuses a service that is not there', async () => {
    const { exitCode, stderr } = await coterie(['init', 'own', '--service', './missing.js']);
    expect(exitCode).toBe(4);
    expect(stderr).toContain('missing.js');
  });
});

describe('service-key', () => {
  it('prints the key that the directory keeps, and says when there is none', async () => {
    await coterie(['init', 'keyed', '--base-port', '18300']);
    const none = await coterie(['service-key', 'keyed', '--timeout', '1']);
    expect(none).toMatchObject({ exitCode: 3, stdout: '' });
    expect(none.stderr).toMatch(/no replica answered[\s\S]*coterie up/);
    const key = 'ab'.repeat(96);
    writeFileSync(join(directory, 'keyed', 'service-key'), `${key}\n`);
    expect(await coterie(['service-key', 'keyed'])).toMatchObject({ exitCode: 0, stdout: `${key}\n`, stderr: '' });
    const document = await coterie(['service-key', 'keyed', '--json']);
    expect(JSON.parse(document.stdout)).toEqual({ serviceKey: key, from: 'file' });
    writeFileSync(join(directory, 'keyed', 'service-key'), 'half');
    expect(await coterie(['service-key', 'keyed'])).toMatchObject({
      exitCode: 4,
      stderr: expect.stringMatching(/service-key is malformed/),
    });
  });
});

describe('a port that is in use', () => {
  let server: Server;
  // Below the ports that the system gives to outgoing connections, which would get in the other replicas' way.
  const port = 20_000 + (process.pid % 1000) * 10;
  beforeAll(async () => {
    server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  });
  afterAll(() => {
    server.close();
  });

  it('stops up, which says which port and what to do', async () => {
    await coterie(['init', 'busy', '--base-port', String(port)]);
    const { exitCode, stderr } = await coterie(['up', 'busy']);
    expect(stderr).toContain(String(port));
    expect(stderr).toMatch(/r0 did not start: .*another process listens there/);
    expect(stderr).toContain('--base-port');
    expect(exitCode).toBe(4);
  });
});

describe('a reader that goes away', () => {
  it('ends the program quietly', async () => {
    const child = start(['--help']);
    child.stdout?.destroy();
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8');
    });
    const exitCode = await new Promise((resolve) => child.on('close', resolve));
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  });
});

describe('debug decide', () => {
  /** Three rounds in which everybody cites everybody. */
  const blocks = [1, 2, 3].flatMap((round) =>
    ['a', 'b', 'c', 'd'].map((name, author) => {
      const others = ['a', 'b', 'c', 'd'].map((other, i) => (round === 1 ? `g${i}` : `${other}${round - 1}`));
      const own = others[author] as string;
      return { id: `${name}${round}`, author, round, parents: [own, ...others.filter((other) => other !== own)] };
    }),
  );
  const dag = { n: 4, f: 1, k: 0, period: 8, ranks: 1, coins: {}, blocks };

  it('prints the decided prefix as JSON and as a table', async () => {
    const json = await coterie(['debug', 'decide', '-', '--json'], JSON.stringify(dag));
    expect(json).toMatchObject({ exitCode: 0, stderr: '' });
    expect(JSON.parse(json.stdout)).toEqual({
      decided: [{ kind: 'steady', round: 1, rank: 0, status: 'commit', block: 'b1' }],
      commits: ['b1'],
    });
    writeFileSync(join(directory, 'dag.json'), JSON.stringify(dag));
    const table = await coterie(['debug', 'decide', 'dag.json']);
    expect(table.stdout).toBe('steady         1  commit  b1\n1 slots decided, 1 committed\n');
  });

  it('shows a slot that nobody supports as skipped', async () => {
    const without = blocks
      .filter(({ id }) => id !== 'b1')
      .map((block) => ({ ...block, parents: block.parents.filter((id) => id !== 'b1') }));
    const { stdout } = await coterie(['debug', 'decide', '-', '--json'], JSON.stringify({ ...dag, blocks: without }));
    expect(JSON.parse(stdout)).toMatchObject({ decided: [{ status: 'skip', block: null }], commits: [] });
  });

  it.each([
    ['{', /not JSON/],
    [JSON.stringify({ ...dag, n: 3 }), /3f/],
    [JSON.stringify({ ...dag, blocks: [{ id: 'x', author: 0, round: 1, parents: ['y'] }] }), /no such block/],
  ])('refuses what is not a DAG: %.20s', async (text, sentence) => {
    const { exitCode, stdout, stderr } = await coterie(['debug', 'decide', '-'], text);
    expect(stderr).toMatch(sentence);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  });
});

describe('simulate', () => {
  it('replays a seed, the same each time', async () => {
    const [first, second] = await Promise.all(
      [1, 2].map(() => coterie(['simulate', '--seed', '7', '--scenario', 'calm', '--json'])),
    );
    expect(first?.exitCode).toBe(0);
    const document = JSON.parse(first?.stdout ?? '') as { verdict: string };
    expect(document.verdict).toBe('agreed');
    expect(second?.stdout).toBe(first?.stdout);
  });
});
