/**
 * The directory lock, against real second processes: one that runs, one that was stopped, one that was killed.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type DirectoryLock, lockDirectory } from './directory-lock.ts';

let build: string;
let directory: string;
const children: ChildProcess[] = [];

/** The module as JavaScript, so that a second process can run it whatever version of Node this is. */
beforeAll(async () => {
  build = await mkdtemp(join(tmpdir(), 'coterie-lock-build-'));
  const root = join(import.meta.dirname, '..', '..');
  execFileSync(process.execPath, [
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    ...['--ignoreConfig', '--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')],
    ...['--target', 'es2024', '--module', 'nodenext', '--skipLibCheck', '--outDir', build],
    join(import.meta.dirname, 'directory-lock.ts'),
  ]);
  await writeFile(join(build, 'package.json'), '{"type":"module"}');
  await writeFile(
    join(build, 'hold.js'),
    `import { lockDirectory } from './directory-lock.js';
     const outcome = await lockDirectory(process.argv[2]);
     console.log(JSON.stringify({ kind: outcome.kind, pid: outcome.pid }));
     if (outcome.kind === 'held') setInterval(() => {}, 1000);`,
  );
});
afterAll(() => rm(build, { recursive: true, force: true }));

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

async function freshDirectory(name = 'home'): Promise<string> {
  directory = await mkdtemp(join(tmpdir(), 'coterie-lock-'));
  const home = join(directory, name);
  await mkdir(home, { recursive: true });
  return home;
}

/** Starts a process that takes the lock and keeps it; resolves to what it said. */
async function startHolder(home: string): Promise<{ readonly child: ChildProcess; readonly said: unknown }> {
  const child = spawn(process.execPath, [join(build, 'hold.js'), home], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [said] = (await once(child.stdout!, 'data')) as [Buffer];
  return { child, said: JSON.parse(said.toString()) };
}

async function hold(home: string): Promise<DirectoryLock> {
  const outcome = await lockDirectory(home);
  if (outcome.kind === 'taken') throw new Error(`taken by ${outcome.pid}`);
  return outcome.lock;
}

describe('a directory lock', () => {
  it('is held by one at a time, in one process too, and given back', async () => {
    const home = await freshDirectory();
    const lock = await hold(home);
    expect(await lockDirectory(home)).toEqual({ kind: 'taken', pid: process.pid });
    await lock.release();
    expect(await readdir(home)).toEqual([]);
    await (await hold(home)).release();
  });

  it('turns away a second process, and names the first', async () => {
    const home = await freshDirectory();
    const lock = await hold(home);
    expect((await startHolder(home)).said).toEqual({ kind: 'taken', pid: process.pid });
    await lock.release();
    const { child, said } = await startHolder(home);
    expect(said).toEqual({ kind: 'held' });
    expect(await lockDirectory(home)).toEqual({ kind: 'taken', pid: child.pid });
  });

  it('is free at once when its holder is killed with -9, and what that left behind is swept away', async () => {
    const home = await freshDirectory();
    for (let time = 0; time < 3; time++) {
      const { child, said } = await startHolder(home);
      expect(said).toEqual({ kind: 'held' });
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const lock = await hold(home);
    expect(await readdir(home)).toHaveLength(1);
    await lock.release();
  });

  it('stays with a holder that is stopped', async () => {
    const home = await freshDirectory();
    const { child } = await startHolder(home);
    child.kill('SIGSTOP');
    expect(await lockDirectory(home)).toEqual({ kind: 'taken', pid: child.pid });
  });

  it('has never two holders, however many ask at the same moment', async () => {
    const home = await freshDirectory();
    for (let time = 0; time < 20; time++) {
      const outcomes = await Promise.all(Array.from({ length: 8 }, () => lockDirectory(home)));
      const held = outcomes.filter((outcome) => outcome.kind === 'held');
      expect(held.length).toBeLessThanOrEqual(1);
      for (const { lock } of held) await lock.release();
    }
    await (await hold(home)).release();
  });

  it('works in a directory whose path is longer than the name of a socket', async () => {
    const home = await freshDirectory(join('a'.repeat(100), 'b'.repeat(100)));
    const lock = await hold(home);
    expect((await startHolder(home)).said).toEqual({ kind: 'taken', pid: process.pid });
    await lock.release();
    expect(await readdir(home)).toEqual([]);
  });

  it('is refused with the error of the system where no socket can be made', async () => {
    const home = await freshDirectory();
    await expect(lockDirectory(join(home, 'missing'))).rejects.toMatchObject({ code: expect.any(String) });
  });
});
