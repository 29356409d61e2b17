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

  it('agrees with a list, for any appends, restarts and reads', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 6 }) },
      { weight: 1, arbitrary: fc.constant('restart' as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(3000), async (steps, sizeBytesMax) => {
        const place = await make();
        let log = await place.open();
        const model: { position: number; hex: string }[] = [];
        for (const action of steps) {
          if (action === 'restart') log = await place.reopen(log);
          else {
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
      { numRuns: 25 },
    );
  });
});
