/**
 * The disk log when the disk fails or the power goes, at every write and every fsync in turn: what was acknowledged is
 * found again, in order, and nothing is made up.
 */
import { describe, expect, it } from 'vitest';
import { DiskLog } from './disk-log.ts';
import { StorageError } from './storage-error.ts';
import { type Fault, FaultyFiles, PowerLoss, type Unsynced } from './testing/faulty-files.ts';

const directory = '/log';
const open = (files: FaultyFiles): Promise<DiskLog> =>
  DiskLog.open({
    directory,
    files,
    logKey: Buffer.alloc(32, 9),
    segmentSizeBytesMax: 2048,
    batchSizeBytesMax: 1200,
    growthSizeBytes: 1024,
  });

async function emptyDisk(fault: Fault): Promise<FaultyFiles> {
  const files = new FaultyFiles();
  await files.mkdir(directory);
  await files.fsyncDirectory('/');
  return files.restart({ kind: 'keep' }, fault);
}

/** Appends of one and several records, small, empty, of several sectors, and one too large for a batch. */
const workload: readonly (readonly Uint8Array[])[] = [
  [record(1, 40)],
  [record(2, 10), record(3, 0), record(4, 300)],
  [record(5, 1100)],
  [record(6, 700), record(7, 700)],
  [record(8, 64)],
  [record(9, 56), record(10, 1)],
  [record(11, 900)],
];

function record(seed: number, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => ((seed * 31 + i * 7) % 255) + 1);
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const everything = workload.flat().map(hexOf);

/** Runs the workload as far as it goes; returns how many records were acknowledged. */
async function run(files: FaultyFiles): Promise<{ readonly acknowledged: number; readonly error: unknown }> {
  let acknowledged = 0;
  try {
    const log = await open(files);
    for (const records of workload) {
      await log.append(records);
      acknowledged += records.length;
    }
    await log.close();
    return { acknowledged, error: undefined };
  } catch (error) {
    return { acknowledged, error };
  }
}

async function contents(log: DiskLog): Promise<readonly string[]> {
  return (await log.read(0, Number.MAX_SAFE_INTEGER)).map(({ bytes }) => hexOf(bytes));
}

/** Opens the log after a crash, checks what it holds, and that it can be used and opened again. */
async function checkSurvivor(files: FaultyFiles, acknowledged: number): Promise<void> {
  const log = await open(files);
  const found = await contents(log);
  expect(found.length).toBeGreaterThanOrEqual(acknowledged);
  expect(found).toEqual(everything.slice(0, found.length));
  await log.append([record(99, 20)]);
  await log.close();
  const again = await open(files);
  expect(await contents(again)).toEqual([...found, hexOf(record(99, 20))]);
  expect(again.cutSizeBytes).toBe(0);
  await again.close();
}

/** Every step of the workload, until one is reached that it does not have. */
async function* crashes(): AsyncGenerator<{ readonly files: FaultyFiles; readonly acknowledged: number }> {
  for (let step = 1; ; step++) {
    const files = await emptyDisk({ kind: 'crash', step });
    const { acknowledged, error } = await run(files);
    if (error === undefined) {
      expect(step).toBeGreaterThan(2 * workload.length);
      return;
    }
    expect(error instanceof StorageError && error.cause).toBeInstanceOf(PowerLoss);
    yield { files, acknowledged };
  }
}

const kept: readonly { readonly name: string; readonly unsynced: Unsynced }[] = [
  { name: 'dropped', unsynced: { kind: 'drop' } },
  { name: 'kept', unsynced: { kind: 'keep' } },
  { name: 'kept in odd sectors only', unsynced: { kind: 'sectors', isKept: (sector) => sector % 2 === 1 } },
  { name: 'kept in even sectors only', unsynced: { kind: 'sectors', isKept: (sector) => sector % 2 === 0 } },
];

describe('a crash at the Nth write or fsync', () => {
  it.each(kept)('loses nothing acknowledged, with unsynced writes $name', async ({ unsynced }) => {
    for await (const { files, acknowledged } of crashes()) {
      await checkSurvivor(files.restart(unsynced), acknowledged);
    }
  });

  it('loses nothing acknowledged, with the last write torn at any byte', async () => {
    for await (const { files, acknowledged } of crashes()) {
      for (let keptSizeBytes = 0; keptSizeBytes < files.unsyncedSizeBytes; keptSizeBytes++) {
        const torn = files.restart({ kind: 'cut', keptSizeBytes });
        const log = await open(torn);
        const found = await contents(log);
        expect(found.length).toBeGreaterThanOrEqual(acknowledged);
        expect(found).toEqual(everything.slice(0, found.length));
        if (keptSizeBytes % 50 === 0) await checkSurvivor(torn, acknowledged);
      }
    }
  });

  it('loses nothing when it crashes again while it is being repaired, at each step of that', async () => {
    for await (const { files, acknowledged } of crashes()) {
      for (const keptSizeBytes of [1, 64, 65, files.unsyncedSizeBytes >> 1]) {
        for (let step = 1; ; step++) {
          const second = files.restart({ kind: 'cut', keptSizeBytes }, { kind: 'crash', step });
          const opened = await open(second).catch((error: unknown) => error);
          if (opened instanceof DiskLog) break;
          for (const { unsynced } of kept) await checkSurvivor(second.restart(unsynced), acknowledged);
        }
      }
    }
  });
});

describe('a failure of the Nth write or fsync', () => {
  it.each([
    { code: 'EIO', expected: 'disk-failed' },
    { code: 'ENOSPC', expected: 'disk-full' },
  ] as const)('is reported as $expected ($code), stops the log, and loses nothing acknowledged', async (fault) => {
    for (let step = 1; ; step++) {
      const files = await emptyDisk({ kind: 'fail', step, code: fault.code });
      const { acknowledged, error } = await run(files);
      if (error === undefined) break;
      expect(error).toBeInstanceOf(StorageError);
      expect(error).toMatchObject({ code: fault.expected });
      expect((error as StorageError).hint).not.toBe('');
      for (const { unsynced } of kept) await checkSurvivor(files.restart(unsynced), acknowledged);
    }
  });

  it('makes the log refuse everything after it: no fsync is tried twice', async () => {
    // Steps 1 and 2 make the first segment; then each append takes a write and an fsync.
    const files = await emptyDisk({ kind: 'fail', step: 6, code: 'EIO' });
    const log = await open(files);
    await log.append([record(1, 40)]);
    const [failed, queued] = await Promise.allSettled([log.append([record(2, 40)]), log.append([record(3, 40)])]);
    expect(failed).toMatchObject({ status: 'rejected', reason: { code: 'disk-failed' } });
    expect(queued).toMatchObject({ status: 'rejected', reason: { code: 'log-failed' } });
    const { steps } = files;
    await expect(log.append([record(4, 40)])).rejects.toMatchObject({ code: 'log-failed' });
    expect(await contents(log)).toEqual([hexOf(record(1, 40))]);
    await log.close();
    expect(files.steps).toBe(steps);
  });
});
