/**
 * Damage to the file of a state: bits flipped all over it, a cut, another version, a full disk. Nothing is ever read that
 * was not written, no damage ends the process, and a file that lmdb cannot be trusted with is removed when it is opened;
 * one that is whole never is.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../simulator/prng.ts';
import { systemFiles } from '../platform/files.ts';
import { StateDamage } from '../state/engine.ts';
import { LmdbEngine, stateFile } from './lmdb-engine.ts';
import { checkLmdbFile } from './lmdb-file.ts';
import { openStateDirectory } from './state-directory.ts';
import type { Flip, FlipModel, FlipTask } from './testing/state-flips.ts';

const repository = join(import.meta.dirname, '..', '..');
const pageSizeBytes = 4096;

let root: string;
let pristine: string;

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'coterie-state-damage-')));
  pristine = join(root, 'pristine');
  await mkdir(join(pristine, 'state'), { recursive: true });
  await writeFile(join(pristine, 'model.json'), JSON.stringify(await fill(join(pristine, 'state'))));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Several writes, so that there are old pages and free ones; values of a few bytes to several pages. */
async function fill(directory: string): Promise<FlipModel> {
  const model: Record<string, string[]> = {};
  const engine = await LmdbEngine.open(directory);
  for (let write = 0; write < 5; write++) {
    const changes = Array.from({ length: 300 }, (_, i) => {
      const key = Buffer.from(`key ${(i * 7 + write * 100) % 600} `.repeat(1 + (i % 3)));
      const value = Buffer.from(`value ${write} ${i} `.repeat(i % 50 === 0 ? 900 : 1 + (i % 9)));
      return { key, value: write > 1 && i % 5 === 0 ? undefined : value };
    });
    for (const { key, value } of changes) {
      const name = key.toString('base64');
      model[name] ??= [];
      model[name].push(value?.toString('base64') ?? '');
    }
    await engine.write(changes);
  }
  await engine.close();
  return model;
}

/** A home with a copy of the state file, changed. */
async function homeWith(change: (bytes: Buffer) => Buffer): Promise<string> {
  const home = await mkdtemp(join(root, 'home-'));
  await mkdir(join(home, 'state'));
  const bytes = await readFile(join(pristine, 'state', stateFile));
  await writeFile(join(home, 'state', stateFile), change(bytes));
  return home;
}

describe('a state file with a flipped bit', () => {
  test('never gives what was not written, and never ends the process: it is removed, or reading tells', async () => {
    const program = join(root, 'state-flips.mjs');
    await symlink(join(repository, 'node_modules'), join(root, 'node_modules'));
    const entryPoints = [join(import.meta.dirname, 'testing', 'state-flips.ts')];
    await build({ entryPoints, bundle: true, platform: 'node', format: 'esm', packages: 'external', outfile: program });
    const { length } = await readFile(join(pristine, 'state', stateFile));
    const random = new Prng(1);
    const flips: Flip[] = [];
    for (let page = 0; page < length; page += pageSizeBytes) {
      flips.push({ position: page + random.below(page < 2 * pageSizeBytes ? 176 : 24), bit: random.below(8) });
      flips.push({ position: page + random.below(pageSizeBytes), bit: random.below(8) });
    }
    const task: FlipTask = { pristine, directory: join(root, 'flipped'), flips };
    const { stdout } = await promisify(execFile)(process.execPath, [program, JSON.stringify(task)]);
    const outcomes = stdout.trimEnd().split('\n');
    expect(outcomes.length).toBe(flips.length);
    // Bits in no use, bits of values, bits of what leads to them.
    expect(new Set(outcomes)).toEqual(new Set(['whole', 'damage', 'wiped']));
  });

  test('is told by the record that has it; the others are read as before', async () => {
    const home = await homeWith((bytes) => {
      const at = bytes.lastIndexOf('value 4 17 ');
      bytes[at] = bytes[at]! ^ 4;
      return bytes;
    });
    const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state');
    expect(wiped).toBeUndefined();
    const damaged: number[] = [];
    for (let i = 1; i < 300; i += 2) {
      const key = Buffer.from(`key ${(i * 7 + 400) % 600} `.repeat(1 + (i % 3)));
      try {
        const found = engine.get(key);
        if (i % 5 !== 0) expect(Buffer.from(found!).toString().startsWith(`value 4 ${i} `)).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(StateDamage);
        damaged.push(i);
      }
    }
    expect(damaged).toEqual([17]);
    expect(() => [...engine.entries({})]).toThrow(StateDamage);
    expect(() => [...engine.keys({})]).toThrow(StateDamage);
    await engine.close();
  });
});

describe('the state of a home', () => {
  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['cut in the middle', (bytes) => bytes.subarray(0, bytes.length / 2)],
    ['cut in its first page', (bytes) => bytes.subarray(0, 100)],
    ['all zeros', (bytes) => Buffer.alloc(bytes.length)],
    ['something else', (bytes) => Buffer.alloc(bytes.length, 'no state ')],
  ])('is removed when its file is %s, and begins anew', async (_what, change) => {
    const home = await homeWith(change);
    const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state');
    expect(wiped).toMatch(/damaged/);
    expect([...engine.keys({})]).toEqual([]);
    await engine.write([{ key: Buffer.from('a'), value: Buffer.from('1') }]);
    await engine.close();
    const again = await openStateDirectory(systemFiles, home, 'state');
    expect(again.wiped).toBeUndefined();
    expect(Buffer.from(again.engine.get(Buffer.from('a'))!).toString()).toBe('1');
    await again.engine.close();
  });

  test('begins anew when its file is empty, as one is that was never written', async () => {
    const home = await homeWith(() => Buffer.alloc(0));
    const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state');
    expect(wiped).toBeUndefined();
    expect([...engine.keys({})]).toEqual([]);
    await engine.close();
  });

  test('is kept, and not opened, when another version of lmdb wrote it', async () => {
    const home = await homeWith((bytes) => {
      for (const page of [0, pageSizeBytes]) bytes.writeUInt32LE(3, page + 28);
      return bytes;
    });
    await expect(openStateDirectory(systemFiles, home, 'state')).rejects.toMatchObject({ code: 'state-version' });
    expect((await readFile(join(home, 'state', stateFile))).length).toBeGreaterThan(100_000);
  });

  test('is removed when whoever used it says so', async () => {
    const home = await homeWith((bytes) => bytes);
    const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state', 'An entry is missing.');
    expect(wiped).toBe('An entry is missing.');
    expect([...engine.keys({})]).toEqual([]);
    await engine.close();
  });

  test('is whole after whatever was written, also while snapshots hold old pages', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = new Prng(seed);
      const directory = await mkdtemp(join(root, 'whole-'));
      const engine = await LmdbEngine.open(directory);
      const [keys, sizeBytesMax, padding] = [
        [50, 3000],
        [30, 500, 20_000],
        [0, 40, 1500],
      ].map((choices) => choices[random.below(choices.length)]!) as [number, number, number];
      const snapshots = [];
      for (let write = 0; write < 12; write++) {
        const changes = Array.from({ length: random.between(1, sizeBytesMax > 1000 ? 100 : 1000) }, () => ({
          key: Buffer.from(`${random.below(keys)} `.padEnd(padding, 'x')),
          value: random.below(3) === 0 ? undefined : Buffer.alloc(random.below(sizeBytesMax), write),
        }));
        await engine.write(changes);
        if (random.below(3) === 0) snapshots.push(engine.snapshot());
        if (random.below(4) === 0) snapshots.shift()?.close();
        await checkLmdbFile(systemFiles, join(directory, stateFile));
      }
      await engine.close();
    }
  });

  test('takes all of a write or nothing when the disk is full, and goes on from there once it has room', async (context) => {
    const home = await mkdtemp(join(root, 'full-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', home], { stdio: 'ignore' });
    } catch {
      context.skip('needs to mount a small disk');
    }
    const opened: LmdbEngine[] = [];
    const open = async (): Promise<LmdbEngine> => {
      const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state');
      expect(wiped).toBeUndefined();
      opened.push(engine);
      return engine;
    };
    try {
      const engine = await open();
      const changes = (value: number) =>
        Array.from({ length: 3_000 }, (_, i) => ({ key: Buffer.from(`key ${i}`), value: Buffer.alloc(100, value) }));
      await engine.write(changes(1));
      const more = Array.from({ length: 30 }, (_, i) => ({
        key: Buffer.from(`more ${i}`),
        value: Buffer.alloc(100_000),
      }));
      await expect(engine.write([...changes(2), ...more])).rejects.toMatchObject({ code: 'disk-full' });
      const areOfFirst = (state: LmdbEngine): boolean =>
        [...state.entries({})].every(({ value }) => value.length === 100 && value.every((byte) => byte === 1));
      expect(areOfFirst(engine)).toBe(true);
      await expect(engine.write([])).rejects.toMatchObject({ code: 'disk-full' });
      await engine.close();

      execFileSync('mount', ['-o', 'remount,size=64m', home]);
      const again = await open();
      expect(areOfFirst(again)).toBe(true);
      await again.write([...changes(2), ...more]);
      expect([...again.keys({})].length).toBe(3_030);
    } finally {
      for (const each of opened) await each.close();
      execFileSync('umount', [home]);
    }
  });
});
