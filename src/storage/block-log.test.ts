/**
 * One suite for every block log: what is appended is read back, in order, from any position, in bounded parts, and again
 * after a restart.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../wire/limits.ts';
import type { BlockLog, LogRecord } from './block-log.ts';
import { DiskLog } from './disk-log.ts';
import { MemoryLog } from './memory-log.ts';

interface Place {
  open(): Promise<BlockLog>;
  reopen(log: BlockLog): Promise<BlockLog>;
}

const leftovers: string[] = [];
afterEach(async () => {
  for (const directory of leftovers.splice(0)) await rm(directory, { recursive: true, force: true });
});

const places: readonly { readonly name: string; readonly make: () => Promise<Place> }[] = [
  {
    name: 'memory',
    make: async () => ({
      open: async () => new MemoryLog(),
      reopen: async (log) => (log as MemoryLog).crash({ keepUnsynced: false }),
    }),
  },
  {
    name: 'disk',
    make: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'coterie-log-'));
      leftovers.push(directory);
      const open = () =>
        DiskLog.open({ directory, logKey: Buffer.alloc(32, 7), segmentSizeBytesMax: 4096, batchSizeBytesMax: 1500 });
      return {
        open,
        reopen: async (log) => {
          await log.close();
          return open();
        },
      };
    },
  },
];

const bytes = (...values: readonly number[]): Uint8Array => Uint8Array.from(values);
const texts = (records: readonly LogRecord[]): readonly string[] =>
  records.map((record) => Buffer.from(record.bytes).toString('hex'));

async function readAll(log: BlockLog): Promise<readonly LogRecord[]> {
  return log.read(0, Number.MAX_SAFE_INTEGER);
}

describe.each(places)('a block log on $name', ({ make }) => {
  it('begins empty, at position 0', async () => {
    const log = await (await make()).open();
    expect(log.end).toBe(0);
    expect(await readAll(log)).toEqual([]);
    expect(await log.append([])).toEqual([]);
    expect(log.end).toBe(0);
    await log.close();
  });

  it('gives ascending positions, and the end is where the next record will be', async () => {
    const log = await (await make()).open();
    const first = await log.append([bytes(1), bytes(2, 2), bytes()]);
    const end = log.end;
    const second = await log.append([bytes(3)]);
    expect(first[0]).toBe(0);
    expect(second).toEqual([end]);
    const positions = [...first, ...second, log.end];
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b));
    expect((await readAll(log)).map((record) => record.position)).toEqual(positions.slice(0, -1));
    await log.close();
  });

  it('reads from a position on, at most about the size asked for but at least one record', async () => {
    const log = await (await make()).open();
    const positions = await log.append([bytes(1, 1, 1), bytes(2, 2, 2), bytes(3, 3, 3), bytes(4, 4, 4)]);
    expect(texts(await log.read(positions[1]!, 6))).toEqual(['020202', '030303']);
    expect(texts(await log.read(positions[1]!, 1))).toEqual(['020202']);
    expect(texts(await log.read(positions[1]!, 0))).toEqual(['020202']);
    expect(texts(await log.read(positions[3]!, 100))).toEqual(['040404']);
    expect(await log.read(log.end, 100)).toEqual([]);
    await log.close();
  });

  it('keeps the order of appends that are made at the same time', async () => {
    const log = await (await make()).open();
    const appends = Array.from({ length: 50 }, (_, i) => log.append([bytes(i), bytes(i, i)]));
    const positions = (await Promise.all(appends)).flat();
    const records = await readAll(log);
    expect(records.map((record) => record.position)).toEqual(positions);
    expect(records.map((record) => record.bytes[0])).toEqual(appends.flatMap((_, i) => [i, i]));
    await log.close();
  });

  it('reads while it appends, and sees only what is durable', async () => {
    const log = await (await make()).open();
    let appended = 0;
    const writing = (async () => {
      for (; appended < 60; appended++) await log.append([Buffer.alloc(200, appended)]);
    })();
    let seen = 0;
    while (seen < 60) {
      const durable = appended;
      const records = await readAll(log);
      expect(records.length).toBeGreaterThanOrEqual(durable);
      records.forEach((record, i) => {
        expect(record.bytes[0]).toBe(i);
      });
      seen = records.length;
      await new Promise(setImmediate); // an empty log answers without waiting for anything
    }
    await writing;
    await log.close();
  });

  it('refuses a record larger than a block, which is a mistake of the caller', async () => {
    const log = await (await make()).open();
    expect(() => log.append([Buffer.alloc(limits.blockSizeBytesMax + 1)])).toThrow(RangeError);
    await log.close();
  });

  it('refuses everything once closed', async () => {
    const log = await (await make()).open();
    await log.close();
    await expect(log.append([bytes(1)])).rejects.toMatchObject({ code: 'log-closed' });
    await expect(log.read(0, 1)).rejects.toMatchObject({ code: 'log-closed' });
    await log.close();
  });

  it('forgets no more than what is before a position, and goes on', async () => {
    const place = await make();
    const log = await place.open();
    const positions = (
      await Promise.all(Array.from({ length: 40 }, (_, i) => log.append([Buffer.alloc(500, i)])))
    ).flat();
    expect(log.begin).toBe(0);
    await log.dropBefore(positions[20]!);
    expect(log.begin).toBeGreaterThan(positions[8]!);
    expect(log.begin).toBeLessThanOrEqual(positions[20]!);
    const left = await readAll(log);
    expect(left[0]?.position).toBe(log.begin);
    expect(left.map(({ position }) => position)).toEqual(positions.filter((position) => position >= log.begin));
    await log.dropBefore(positions[3]!);
    expect(await readAll(log)).toEqual(left);
    const again = await place.reopen(log);
    expect(await readAll(again)).toEqual(left);
    expect(again.begin).toBe(log.begin);
    expect(await again.append([bytes(1)])).toEqual([again.begin + (log.end - log.begin)]);
    await again.close();
  });

  it('forgets all of it at its end, and goes on from there', async () => {
    const place = await make();
    const log = await place.open();
    await log.dropBefore(0);
    await log.append([bytes(1), bytes(2)]);
    await log.append([bytes(3)]);
    const { end } = log;
    await log.dropBefore(end);
    expect(log.begin).toBe(end);
    expect(log.end).toBe(end);
    expect(await readAll(log)).toEqual([]);
    const again = await place.reopen(log);
    expect(await readAll(again)).toEqual([]);
    const [position] = await again.append([bytes(4)]);
    expect(position).toBeGreaterThanOrEqual(end);
    await again.append([bytes(5)]);
    const last = await place.reopen(again);
    expect(texts(await readAll(last))).toEqual(['04', '05']);
    await last.close();
  });

  it('loses no append that is made while it forgets', async () => {
    const log = await (await make()).open();
    await log.append([bytes(1)]);
    const appends = [log.append([bytes(2)])];
    const drop = log.dropBefore(log.end);
    appends.push(log.append([bytes(3)]));
    await drop;
    appends.push(log.append([bytes(4)]));
    await Promise.all(appends);
    expect(texts(await readAll(log)).join()).toMatch(/02,03,04$/);
    await log.close();
  });

  it('reads no gap while it forgets', async () => {
    const log = await (await make()).open();
    const positions = (
      await Promise.all(Array.from({ length: 60 }, (_, i) => log.append([Buffer.alloc(500, i)])))
    ).flat();
    const reads: Promise<readonly LogRecord[]>[] = [];
    for (const position of positions) {
      reads.push(readAll(log), log.read(position, 2_000));
      const drop = log.dropBefore(position);
      reads.push(readAll(log));
      await drop;
    }
    for (const records of await Promise.all(reads)) {
      const first = positions.indexOf(records[0]?.position as number);
      expect(records.map(({ position }) => position)).toEqual(positions.slice(first, first + records.length));
    }
    await log.close();
  });

  it('refuses to forget what is not there yet, and anything once closed', async () => {
    const log = await (await make()).open();
    expect(() => log.dropBefore(1)).toThrow(RangeError);
    await log.close();
    await expect(log.dropBefore(0)).rejects.toMatchObject({ code: 'log-closed' });
  });

  it('agrees with a list, for any appends, restarts, drops and reads', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 6 }) },
      { weight: 1, arbitrary: fc.constant('restart' as const) },
      { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(3000), async (steps, sizeBytesMax) => {
        const place = await make();
        let log = await place.open();
        let model: { position: number; hex: string }[] = [];
        for (const action of steps) {
          if (action === 'restart') log = await place.reopen(log);
          else if (typeof action === 'number') {
            const { begin } = log;
            const position = model[Math.floor(action * (model.length + 1))]?.position ?? log.end;
            await log.dropBefore(position);
            expect(log.begin).toBeGreaterThanOrEqual(begin);
            expect(log.begin).toBeLessThanOrEqual(position);
            model = model.filter((record) => record.position >= log.begin);
          } else {
            const positions = await log.append(action);
            action.forEach((record, i) => {
              model.push({ position: positions[i]!, hex: Buffer.from(record).toString('hex') });
            });
          }
        }
        const all = await readAll(log);
        expect(all.map(({ position }) => position)).toEqual(model.map(({ position }) => position));
        expect(texts(all)).toEqual(model.map(({ hex }) => hex));
        for (const [i, { position }] of model.entries()) {
          const part = await log.read(position, sizeBytesMax);
          expect(part.length).toBeGreaterThan(0);
          expect(texts(part)).toEqual(model.slice(i, i + part.length).map(({ hex }) => hex));
          const size = part.reduce((sum, record) => sum + record.bytes.length, 0);
          expect(part.length === 1 || size <= sizeBytesMax).toBe(true);
        }
        await log.close();
      }),
      { numRuns: 50 },
    );
  });
});

describe('a block log in memory', () => {
  it('has forgotten all or nothing after a crash while it forgets, as a disk would', async () => {
    const synced: (() => void)[] = [];
    const log = new MemoryLog({ sync: () => new Promise((resolve) => void synced.push(resolve)) });
    const settle = async <T>(done: Promise<T>): Promise<T> => {
      await new Promise(setImmediate);
      synced.pop()?.();
      return done;
    };
    const positions = await settle(log.append([bytes(1), bytes(2), bytes(3)]));
    const never = log.dropBefore(positions[2]!);
    const kept = log.crash({ keepUnsynced: true });
    expect([kept.begin, texts(await readAll(kept))]).toEqual([positions[2], ['03']]);
    const lost = log.crash({ keepUnsynced: false });
    expect([lost.begin, texts(await readAll(lost))]).toEqual([0, ['01', '02', '03']]);
    await expect(settle(never)).rejects.toMatchObject({ code: 'log-closed' });
  });
});
