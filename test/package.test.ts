/**
 * The package as its users get it: packed, installed into an empty project from the npm registry's side, and used there
 * as README.md says under "Your own service". The code and commands are read from README.md, so it cannot become untrue.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

interface Manifest {
  readonly version: string;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

let directory: string;
/** The project of a user; beside it lies the tarball. */
let project: string;
/** What the tarball held. */
let installed: string;

beforeAll(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'coterie-package-')));
  project = join(directory, 'project');
  installed = join(project, 'node_modules', 'coterie');
  await mkdir(project);
  // Without one of its own npm takes the nearest above, and installs there.
  await writeFile(join(project, 'package.json'), '{ "private": true }\n');
  // Without scripts: what is packed was built before the tests, and other tests are using it now.
  await succeed('npm', ['pack', '--ignore-scripts', '--pack-destination', directory], root);
  const install = ['install', tarball(), 'zod', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  await succeed('npm', install, project);
}, 180_000);
afterAll(() => rm(directory, { recursive: true, force: true }));

function tarball(): string {
  const found = readdirSync(directory).find((name) => name.endsWith('.tgz'));
  if (found === undefined) throw new Error('npm pack made no tarball');
  return join(directory, found);
}

/** What a user has in the environment: not what npm and the test runner put there for this process. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(?!config_)|npm_config_local_prefix$|INIT_CWD$|VITEST|COTERIE_|NODE_(OPTIONS|PATH|ENV)$)/i.test(name),
  ),
);

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(program: string, parameters: readonly string[], cwd: string, isGroup = false): ChildProcess {
  const stdio = ['ignore', 'pipe', 'pipe'] as const;
  return spawn(program, parameters, {
    cwd,
    env: { ...environment, NO_COLOR: '1' },
    stdio: [...stdio],
    detached: isGroup,
  });
}

/** Runs a program to its end. */
function run(program: string, parameters: readonly string[], cwd = project): Promise<Ended> {
  const child = start(program, parameters, cwd);
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, ...output }));
  });
}

/** Its stdout; rejects with all it said when it fails. */
async function succeed(program: string, parameters: readonly string[], cwd = project): Promise<string> {
  const { exitCode, stdout, stderr } = await run(program, parameters, cwd);
  if (exitCode === 0) return stdout;
  throw new Error(`${program} ${parameters.join(' ')}: exit code ${exitCode}\n${stdout}\n${stderr}`);
}

describe('the tarball', () => {
  /** Paths in the package, with `/`. */
  const shipped = (): readonly string[] =>
    readdirSync(installed, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(installed, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));

  it('holds the program and what explains it, and nothing that only tests use', () => {
    const files = shipped();
    expect(files).toEqual(
      expect.arrayContaining([
        'package.json',
        'README.md',
        'LICENSE',
        'SECURITY.md',
        'CHANGELOG.md',
        'docs/operations/writing-a-service.md',
        'services/kv/kv.ts',
        'dist/src/cli/main.js',
      ]),
    );
    expect(files.filter((path) => /\.test\.|\.testing\.|(^|\/)(test|testing|node_modules)\//.test(path))).toEqual([]);
    expect(files.filter((path) => /^(src|simulator|bench)\/|\.map$|tsbuildinfo$|\/\.|^\./.test(path))).toEqual([]);
    const sizeKb = (bytes: number): string => `${Math.round(bytes / 1000)} kB`;
    const unpacked = files.reduce((sum, path) => sum + statSync(join(installed, path)).size, 0);
    console.log(`tarball ${sizeKb(statSync(tarball()).size)}, ${files.length} files of ${sizeKb(unpacked)}`);
    expect(unpacked).toBeLessThan(3_600_000);
  });

  it('lacks no file and no package that its code or its types import', () => {
    const missing: string[] = [];
    const entries = Object.keys(manifest.exports).map((entry) => entry.replace('.', 'coterie'));
    for (const path of shipped().filter((name) => /^dist\/.*\.(js|d\.ts)$/.test(name))) {
      const code = readFileSync(join(installed, path), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
      for (const [, target = ''] of code.matchAll(/\b(?:from\s|import\s|import\()\s*['"]([^'"\n]+)['"]/g)) {
        const name = /^(?:@[^/]+\/)?[^/]+/.exec(target)?.[0] ?? '';
        const isThere = target.startsWith('.')
          ? existsSync(join(installed, dirname(path), target.replace(/\.ts$/, '.d.ts')))
          : target.startsWith('node:') || entries.includes(target) || name in manifest.dependencies;
        if (!isThere) missing.push(`${path}: ${target}`);
      }
    }
    expect(missing).toEqual([]);
  });
});

describe('the exports', () => {
  /** Imports specifiers in the project; gives the names that each exports, or the code of the refusal. */
  async function importAll(specifiers: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    const program = `
      const found = {};
      for (const specifier of ${JSON.stringify(specifiers)}) {
        const options = specifier.endsWith('.json') ? { with: { type: 'json' } } : {};
        found[specifier] = await import(specifier, options).then((all) => Object.keys(all).sort(), ({ code }) => code);
      }
      console.log(JSON.stringify(found));`;
    const stdout = await succeed(process.execPath, ['--no-warnings', '--input-type=module', '--eval', program]);
    return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  }

  it('can be imported, each of them', async () => {
    const specifiers = Object.keys(manifest.exports).map((entry) => entry.replace('.', 'coterie'));
    expect(specifiers.sort()).toEqual([
      'coterie/client',
      'coterie/package.json',
      'coterie/service',
      'coterie/services/kv',
      'coterie/verify',
    ]);
    expect(await importAll(specifiers)).toMatchObject({
      'coterie/service': ['TestCallError', 'defineService', 'query', 'testService', 'update'],
      'coterie/client': expect.arrayContaining(['CoterieError', 'askStatus', 'connect']),
      'coterie/services/kv': ['getCertified', 'kv', 'kvValueOf'],
      'coterie/verify': [
        'verifyCertifiedHead',
        'verifyCertifiedMembership',
        'verifyCertifiedReply',
        'verifyCertifiedState',
        'verifyConsistency',
        'verifyDocument',
      ],
      'coterie/package.json': ['default'],
    });
  });

  it('are all that can be imported', async () => {
    const inner = [
      'coterie',
      'coterie/services',
      'coterie/services/kv/kv.ts',
      'coterie/dist/src/client/client.js',
      'coterie/dist/src/execution/execution.js',
      'coterie/src/execution/service.ts',
    ];
    const refused = Object.fromEntries(inner.map((specifier) => [specifier, 'ERR_PACKAGE_PATH_NOT_EXPORTED']));
    expect(await importAll(inner)).toEqual(refused);
  });
});

describe('the types', () => {
  /** Errors in the package's own declarations are errors too. */
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck', 'false'];
  const nodeTypes = ['--typeRoots', join(root, 'node_modules', '@types'), '--types', 'node'];
  /** What the compiler says; nothing when all is well. */
  const check = async (...parameters: readonly string[]): Promise<string> => {
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const options = ['--noEmit', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2022'];
    return (await run(process.execPath, [compiler, ...options, ...strict, ...nodeTypes, ...parameters])).stdout;
  };

  it('of calls follow from the definition of the service', async () => {
    await writeFile(
      join(project, 'consumer.mts'),
      `import { type Client, connect, CoterieError, type Value } from 'coterie/client';
      import { defineService, type InputOf, type OutputOf, query, testService, update } from 'coterie/service';
      import { kv } from 'coterie/services/kv';
      import * as z from 'zod';

      type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
      const isSame = <A, B>(same: Same<A, B>): boolean => same;

      const tally = defineService({
        name: 'tally',
        version: '1',
        operations: {
          add: update({
            input: z.object({ name: z.string(), by: z.int().default(1) }),
            apply({ state, fail }, { name, by }) {
              isSame<typeof by, number>(true);
              const total = (state.get<number>(name) ?? 0) + by;
              if (total > 100) return fail('too-much', name);
              state.put(name, total);
              return { name, total };
            },
          }),
          clear: update({ input: z.object({}), apply() {} }),
          has: query({
            input: z.object({ name: z.string() }),
            apply({ state }, { name }) {
              // @ts-expect-error a query writes nothing
              state.put(name, 1);
              return state.has(name);
            },
          }),
        },
      });
      isSame<InputOf<typeof tally, 'add'>, { name: string; by?: number | undefined }>(true);
      isSame<OutputOf<typeof tally, 'add'>, { name: string; total: number }>(true);
      // @ts-expect-error the comparison can fail
      isSame<OutputOf<typeof tally, 'add'>, { name: string }>(true);

      export async function use(signal: AbortSignal): Promise<Value> {
        const client: Client = await connect({ genesis: '.coterie/genesis.json', signal });
        const calls = client.of(tally);
        const added = await calls.add({ name: 'a' });
        isSame<typeof added, { name: string; total: number }>(true);
        const cleared = await calls.clear({}, { deadlineMs: 1_000 });
        isSame<typeof cleared, null>(true);
        const found: boolean = await calls.has({ name: 'a' });
        // @ts-expect-error a number is no name
        await calls.add({ name: 1 });
        // @ts-expect-error the name is missing
        await calls.add({ by: 1 });
        // @ts-expect-error there is no such operation
        await calls.remove({ name: 'a' });
        const { entries, next } = await client.of(kv).list({ prefix: 'a' });
        const values: (string | Uint8Array)[] = entries.map(({ value }) => value);
        // @ts-expect-error a value is text or bytes
        await client.of(kv).put({ key: 'a', value: 1 });
        return [found, next, ...values];
      }

      export const total: number = testService(tally).call('add', { name: 'a', by: 2 }).total;
      export const isUnknown = (error: unknown): boolean => error instanceof CoterieError && error.outcome === 'unknown';
      `,
    );
    expect(await check('consumer.mts')).toBe('');
    // As "tsc --init" has it, in a project without @types/node.
    expect(await check('--skipLibCheck', 'true', '--types', '', 'consumer.mts')).toBe('');
  });

  it('of the inside cannot be named', async () => {
    await writeFile(join(project, 'deep.mts'), `export type { Block } from 'coterie/dist/src/wire/block.js';\n`);
    expect(await check('deep.mts')).toContain('TS2307');
  });

  it('hold for the example in JavaScript as well', async () => {
    const { files } = readOwnService();
    for (const [name, text] of files) await writeFile(join(project, name), text);
    expect(await check('--allowJs', '--checkJs', ...files.keys())).toBe('');
    const wrong = (files.get('visit.mjs') ?? '').replace("name: 'visits'", "nome: 'visits'");
    await writeFile(join(project, 'wrong.mjs'), wrong);
    expect(await check('--allowJs', '--checkJs', 'wrong.mjs')).toContain('nome');
  });
});

/** A line of the README that is typed into a terminal. */
interface Command {
  readonly words: readonly string[];
  /** What it says that the command prints. */
  readonly prints: string | undefined;
}

interface OwnService {
  /** Text of each file, by its name. */
  readonly files: ReadonlyMap<string, string>;
  readonly commands: readonly Command[];
}

/** Reads the section "Your own service": a block of JavaScript is the file that was named last before it. */
function readOwnService(): OwnService {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const section = /^## Your own service\n([\s\S]*?)(?=^## )/m.exec(text)?.[1];
  if (section === undefined) throw new Error('README.md has no section "Your own service"');
  const files = new Map<string, string>();
  const commands: Command[] = [];
  for (const block of section.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    const [, language = '', code = ''] = block;
    if (language === 'js') {
      const name = [...section.slice(0, block.index).matchAll(/`([\w-]+\.mjs)`/g)].at(-1)?.[1];
      if (name === undefined) throw new Error('README.md does not say what the file is called');
      files.set(name, code);
    } else commands.push(...code.trimEnd().split('\n').map(readCommand));
  }
  return { files, commands };
}

/** Splits a line as a shell does, as far as our examples need it. */
function readCommand(line: string): Command {
  const [command = '', remark = ''] = line.split(/\s+#\s+/);
  const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  return { words, prints: /^prints (.*)$/.exec(remark)?.[1] };
}

describe('the program', () => {
  it('runs with npx, in the project and in this repository', async () => {
    expect(await succeed('npx', ['coterie', '--version'])).toBe(`${manifest.version}\n`);
    expect(await succeed('npx', ['coterie', '--version'], root)).toBe(`${manifest.version}\n`);
  });

  it('has all it needs to simulate', async () => {
    const stdout = await succeed('npx', ['coterie', 'simulate', '--seed', '1', '--scenario', 'calm', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'agreed' });
  });
});

it('the example in README.md does what README.md says', { timeout: 180_000 }, async () => {
  const { files, commands } = readOwnService();
  expect([...files.keys()]).toEqual(['counter.mjs', 'visit.mjs']);
  expect(commands.map(({ words }) => words[2])).toEqual(['init', 'up', 'call']);
  for (const [name, text] of files) await writeFile(join(project, name), text);

  let up: Up | undefined;
  try {
    for (const { words, prints } of commands) {
      const [program = '', ...parameters] = words;
      if (parameters[1] === 'up') {
        up = new Up(start(program, parameters, project, true));
        await up.ready;
      } else if (parameters[1] === 'init') {
        // Its one addition: tests that run beside this one take ports as well.
        const stdout = await succeed(program, [...parameters, '--base-port', `${await freeBasePort()}`]);
        expect(stdout).toContain('4 replicas, of which 1 may be hostile');
        expect(stdout).toContain('Start it with: npx coterie up\n');
      } else {
        expect(prints).toBeDefined();
        expect(await succeed(program, parameters)).toBe(`${prints}\n`);
      }
    }
    const printed = /\/\/ prints (.*)$/m.exec(files.get('visit.mjs') ?? '')?.[1];
    expect(printed).toBeDefined();
    expect(await succeed(process.execPath, ['visit.mjs'])).toBe(`${printed}\n`);
    expect(await succeed('npx', ['coterie', 'call', 'read', '{"name":"visits"}'])).toBe(`${printed}\n`);

    const refused = await run('npx', ['coterie', 'call', 'add', '{"name":"visits","by":-9}', '--json']);
    expect(refused.exitCode).toBe(1);
    expect(refused.stdout).toContain('visits would fall to -5');

    expect(up?.members().length).toBeGreaterThan(4);
    await up?.interrupt();
    await expect.poll(() => up?.members(), { timeout: 30_000 }).toEqual([]);
    expect(up?.said).toContain('Stopped. The data is in ./.coterie');
  } finally {
    up?.kill();
  }
});

/** `coterie up` in a process group of its own, as a terminal starts it. */
class Up {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  /** Resolves when it says that it is ready; rejects when it ends before. */
  readonly ready: Promise<void>;
  said = '';

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#closed = new Promise((resolve) => child.once('close', resolve));
    this.ready = new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream?.setEncoding('utf8').on('data', (text: string) => {
          this.said += text;
          if (/^Ready: 4 of 4 replicas/m.test(this.said)) resolve();
        });
      }
      child.once('error', reject);
      child.once('close', () => reject(new Error(`"up" has ended; it said:\n${this.said}`)));
    });
  }

  /** Ctrl-C: the signal goes to all processes in front of the terminal. Resolves when nobody holds their output. */
  async interrupt(): Promise<void> {
    process.kill(-this.#groupId, 'SIGINT');
    await this.#closed;
  }

  /** Pids of all processes that it started and that still run. */
  members(): readonly number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        // pid (name) state parent group …; the name may hold anything.
        const [state, , group] = statOf(pid)
          .replace(/^.*\) /s, '')
          .split(' ');
        return Number(group) === this.#groupId && state !== 'Z';
      })
      .map(Number);
  }

  kill(): void {
    if (this.members().length > 0) process.kill(-this.#groupId, 'SIGKILL');
  }

  get #groupId(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('"up" was not started');
    return pid;
  }
}

function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    // It has ended in the meantime.
    return '';
  }
}

/** The first of a stretch of ports that are free now: a cluster uses this one and three more, and those 100 above. */
async function freeBasePort(): Promise<number> {
  for (;;) {
    // Below the range that the system takes ports for outgoing connections from.
    const first = 20_000 + 200 * Math.floor(Math.random() * 50);
    const ports = [0, 1, 2, 3, 100, 101, 102, 103].map((offset) => first + offset);
    if ((await Promise.all(ports.map(isFree))).every((free) => free)) return first;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
