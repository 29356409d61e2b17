/**
 * A process that is killed while it writes state: the next one finds each write whole or not at all, and all that were
 * said to be done.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Prng } from '../../simulator/prng.ts';
import { systemFiles } from '../platform/files.ts';
import { openStateDirectory } from './state-directory.ts';

let root: string;
let program: string;

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'coterie-state-crash-')));
  program = join(root, 'state-writer.mjs');
  await symlink(join(import.meta.dirname, '..', '..', 'node_modules'), join(root, 'node_modules'));
  const entryPoints = [join(import.meta.dirname, 'testing', 'state-writer.ts')];
  await build({ entryPoints, bundle: true, platform: 'node', format: 'esm', packages: 'external', outfile: program });
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Starts the writer, kills it some time after its third write; the number of the last write it said was done. */
async function writeUntilKilled(home: string, first: number, delayMs: number): Promise<number> {
  const child = spawn(process.execPath, [program, home, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    const before = said.split('\n').length;
    said += part;
    if (before <= 3 && said.split('\n').length > 3) setTimeout(() => child.kill('SIGKILL'), delayMs);
  });
  const [, signal] = await once(child, 'close');
  expect(signal).toBe('SIGKILL');
  return Number(said.trimEnd().split('\n').at(-1));
}

test('a process killed while it writes loses nothing that was done, and leaves nothing half done', async () => {
  const home = await mkdtemp(join(root, 'home-'));
  const random = new Prng(7);
  let next = 0;
  for (let kill = 0; kill < 8; kill++) {
    const done = await writeUntilKilled(home, next, random.below(40));
    const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state');
    expect(wiped).toBeUndefined();
    const entries = [...engine.entries({})];
    const numbers = new Set(entries.map(({ value }) => Number.parseInt(Buffer.from(value).toString('latin1'), 10)));
    expect(numbers.size).toBe(1);
    const [number = -1] = numbers;
    expect(number === done || number === done + 1).toBe(true);
    expect(entries.length).toBe(900);
    next = number + 1;
    await engine.close();
  }
});
