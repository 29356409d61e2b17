/**
 * The disk log when it drops its first segments: a crash or a failure at every step of that leaves a log that opens and
 * lacks nothing but what was to be dropped; and segments that were not dropped on purpose are missed.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { DiskLog } from './disk-log.ts';
import { StorageError } from './storage-error.ts';
import { type Fault, FaultyFiles, PowerLoss, type Unsynced } from './testing/faulty-files.ts';

const directory = '/log';
const notePath = `${directory}/beginning`;
const open = (files: FaultyFiles, seed = 3): Promise<DiskLog> =>
  DiskLog.open({
    directory,
    files,
    logKey: Buffer.alloc(32, seed),
    segmentSizeBytesMax: 640,
    growthSizeBytes: 128,
  });

const record = (seed: number): Uint8Array =>
  Uint8Array.from({ length: 100 + seed }, (_, i) => ((seed * 31 + i) % 255) + 1);
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const everything = Array.from({ length: 24 }, (_, i) => hexOf(record(i)));

async function emptyDisk(fault: Fault = { kind: 'none' }): Promise<FaultyFiles> {
  const files = new FaultyFiles();
  await files.mkdir(directory);
  await files.fsyncDirectory('/');
  return files.restart({ kind: 'keep' }, fault);
}

interface Progress {
  /** Records acknowledged. */
  acknowledged: number;
  /** Records that the log was asked to keep: from this one on. */
  keptFrom: number;
  /** The last drop was acknowledged, and all of it was to go. */
  isEmptied: boolean;
}

/** Appends records; drops some, then more, then all of them, and goes on. */
async function run(files: FaultyFiles): Promise<Progress & { readonly error: unknown }> {
  const progress: Progress = { acknowledged: 0, keptFrom: 0, isEmptied: false };
  const positions: number[] = [];
  try {
    const log = await open(files);
    const append = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        positions.push(...(await log.append([record(progress.acknowledged)])));
        progress.acknowledged += 1;
      }
    };
    const drop = async (keptFrom: number): Promise<void> => {
      progress.keptFrom = keptFrom;
      await log.dropBefore(positions[keptFrom] ?? log.end);
      progress.isEmptied = keptFrom === positions.length;
    };
    await append(8);
    await drop(5);
    await append(6);
    await drop(12);
    await append(2);
    await drop(16);
    await append(8);
    await log.close();
    return { ...progress, error: undefined };
  } catch (error) {
    return { ...progress, error };
  }
}

async function contents(log: DiskLog): Promise<readonly string[]> {
  return (await log.read(0, Number.MAX_SAFE_INTEGER)).map(({ bytes }) => hexOf(bytes));
}

/** Opens the log after a crash, checks what it holds, and that it goes on, drops and opens again. */
async function checkSurvivor(files: FaultyFiles, { acknowledged, keptFrom, isEmptied }: Progress): Promise<void> {
  const log = await open(files);
  const found = await contents(log);
  const first = found.length === 0 ? acknowledged : everything.indexOf(found[0] as string);
  expect(first).toBeLessThanOrEqual(keptFrom);
  if (isEmptied) expect(first).toBe(16);
  expect(first + found.length).toBeGreaterThanOrEqual(acknowledged);
  expect(found).toEqual(everything.slice(first, first + found.length));
  await log.append([record(99)]);
  const disk = files.restart({ kind: 'drop' });
  const again = await open(disk);
  expect(await contents(again)).toEqual([...found, hexOf(record(99))]);
  expect(again.begin).toBe(log.begin);
  await again.dropBefore(again.end);
  await again.append([record(98)]);
  await again.close();
  expect(await contents(await open(disk.restart({ kind: 'drop' })))).toEqual([hexOf(record(98))]);
}

const kept: readonly { readonly name: string; readonly unsynced: Unsynced }[] = [
  { name: 'dropped', unsynced: { kind: 'drop' } },
  { name: 'kept', unsynced: { kind: 'keep' } },
  { name: 'kept in odd sectors only', unsynced: { kind: 'sectors', isKept: (sector) => sector % 2 === 1 } },
];

describe('dropping', () => {
  it('keeps the disk small, and nothing but the note remembers what was dropped', async () => {
    const files = await emptyDisk();
    expect(await run(files)).toMatchObject({ acknowledged: 24, error: undefined });
    const names = await files.list(directory);
    expect(names.filter((name) => name.endsWith('.log')).length).toBeLessThanOrEqual(3);
    expect(names.filter((name) => !name.endsWith('.log'))).toEqual(['beginning']);
    expect(await contents(await open(files.restart({ kind: 'drop' })))).toEqual(everything.slice(16));
  });

  it.each(kept)('loses only that in a crash at the Nth step, with unsynced writes $name', async ({ unsynced }) => {
    for (let step = 1; ; step++) {
      const files = await emptyDisk({ kind: 'crash', step });
      const { error, ...progress } = await run(files);
      if (error === undefined) {
        expect(step).toBeGreaterThan(70);
        break;
      }
      expect(error instanceof StorageError && error.cause).toBeInstanceOf(PowerLoss);
      await checkSurvivor(files.restart(unsynced), progress);
    }
  });

  it('loses only that when it crashes again while it opens, at each step of that', async () => {
    for (let step = 1; ; step++) {
      const files = await emptyDisk({ kind: 'crash', step });
      const { error, ...progress } = await run(files);
      if (error === undefined) break;
      for (let second = 1; ; second++) {
        const opening = files.restart({ kind: 'keep' }, { kind: 'crash', step: second });
        if ((await open(opening).catch((reason: unknown) => reason)) instanceof DiskLog) break;
        for (const { unsynced } of kept) await checkSurvivor(opening.restart(unsynced), progress);
      }
    }
  });

  it.each(['EIO', 'ENOSPC'] as const)(
    'stops the log when the Nth step fails (%s), and loses only that',
    async (code) => {
      for (let step = 1; ; step++) {
        const files = await emptyDisk({ kind: 'fail', step, code });
        const { error, ...progress } = await run(files);
        if (error === undefined) break;
        expect(error).toMatchObject({ code: code === 'EIO' ? 'disk-failed' : 'disk-full' });
        for (const { unsynced } of kept) await checkSurvivor(files.restart(unsynced), progress);
      }
    },
  );

  it('takes no more appends and drops after one that failed', async () => {
    const files = await emptyDisk();
    const log = await open(files);
    for (let i = 0; i < 10; i++) await log.append([record(i)]);
    const failing = files.restart({ kind: 'keep' }, { kind: 'fail', step: 2, code: 'EIO' });
    const again = await open(failing);
    await expect(again.dropBefore(log.end)).rejects.toMatchObject({ code: 'disk-failed' });
    await expect(again.append([record(10)])).rejects.toMatchObject({ code: 'log-failed' });
    await expect(again.dropBefore(again.end)).rejects.toMatchObject({ code: 'log-failed' });
    expect(await contents(again)).toEqual(everything.slice(0, 10));
    await again.close();
  });
});

describe('damage', () => {
  type Names = ReadonlyMap<string, Uint8Array>;
  let dropped: Names;
  let before: Names;
  let expected: readonly string[];

  const namesOf = async (files: FaultyFiles): Promise<Names> => {
    const names = await files.list(directory);
    return new Map(names.map((name) => [name, Uint8Array.from(files.contents(`${directory}/${name}`))]));
  };
  const diskOf = async (names: Names): Promise<FaultyFiles> => {
    const files = await emptyDisk();
    for (const [name, bytes] of names) files.place(`${directory}/${name}`, bytes);
    return files;
  };
  const attempt = async (change: (names: Map<string, Uint8Array>) => void): Promise<readonly string[] | string> => {
    const names = new Map(dropped);
    change(names);
    try {
      return await contents(await open(await diskOf(names)));
    } catch (error) {
      if (error instanceof StorageError) return error.code;
      throw error;
    }
  };

  beforeAll(async () => {
    const files = await emptyDisk();
    const log = await open(files);
    const positions: number[] = [];
    for (let i = 0; i < 20; i++) positions.push(...(await log.append([record(i)])));
    await log.dropBefore(positions[7]!);
    before = await namesOf(files);
    await log.dropBefore(positions[13]!);
    await log.close();
    dropped = await namesOf(files);
    expected = await contents(await open(await diskOf(dropped)));
    expect(expected.length).toBeGreaterThanOrEqual(7);
    expect(expected.length).toBeLessThan(12);
  });

  it('of any single bit of the note is reported', async () => {
    const { length } = dropped.get('beginning')!;
    for (let bit = 0; bit < length * 8; bit++) {
      const outcome = await attempt((names) => {
        const flipped = Uint8Array.from(names.get('beginning')!);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        names.set('beginning', flipped);
      });
      expect(outcome).toBe('log-corrupt');
    }
  });

  it('is reported when the note is gone, cut short, too long, of another home or of an earlier drop', async () => {
    const note = dropped.get('beginning')!;
    const files = await emptyDisk();
    const foreign = await open(files, 4);
    for (let i = 0; i < 20; i++) await foreign.append([record(i)]);
    await foreign.dropBefore(foreign.end);
    for (const wrong of [
      undefined,
      new Uint8Array(),
      note.subarray(1),
      note.subarray(0, -1),
      Buffer.concat([note, note]),
      files.contents(notePath),
      before.get('beginning')!,
    ]) {
      const outcome = await attempt((names) => {
        if (wrong === undefined) names.delete('beginning');
        else names.set('beginning', wrong);
      });
      expect(outcome).toBe('log-corrupt');
    }
  });

  it('is reported when any segment is missing that was not dropped, but the last, whose absence shows in nothing', async () => {
    const segments = [...dropped.keys()].filter((name) => name.endsWith('.log')).sort();
    for (const segment of segments.slice(0, -1)) {
      expect(await attempt((names) => names.delete(segment))).toBe('log-corrupt');
    }
  });

  it('is none where a dropped segment has come back, which goes again', async () => {
    const names = new Map([...before, ...dropped]);
    expect(names.size).toBeGreaterThan(dropped.size);
    const files = await diskOf(names);
    expect(await contents(await open(files))).toEqual(expected);
    expect([...(await files.list(directory))].sort()).toEqual([...dropped.keys()].sort());
  });

  it('is none where a new note was left half written', async () => {
    expect(await attempt((names) => names.set('beginning.new', Uint8Array.of(1, 2, 3)))).toEqual(expected);
    const files = await diskOf(new Map(dropped).set('beginning.new', Uint8Array.of(1)));
    const log = await open(files);
    await log.dropBefore(log.end);
    expect(await contents(log)).toEqual([]);
    expect(await files.list(directory)).not.toContain('beginning.new');
  });

  it('is not told by the log when all segments are gone: it begins anew, and the home knows that there was one', async () => {
    const outcome = await attempt((names) => {
      for (const name of names.keys()) if (name !== 'beginning') names.delete(name);
    });
    expect(outcome).toEqual([]);
  });

  it('remembers what it need not hold, though it drops nothing and is empty', async () => {
    for (const records of [[], [record(0)]]) {
      const files = await emptyDisk();
      const log = await open(files);
      await log.append(records);
      await log.dropBefore(log.begin, 300);
      await log.dropBefore(log.begin, 200);
      await log.close();
      const again = await open(files.restart({ kind: 'drop' }, { kind: 'none' }));
      expect(again.droppedRound).toBe(300);
      expect(again.begin).toBe(0);
      await again.append([record(1)]);
      expect((await again.read(0, 10_000)).map(({ bytes }) => hexOf(bytes))).toEqual(
        [...records, record(1)].map(hexOf),
      );
      await again.close();
    }
  });
});
