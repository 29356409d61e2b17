/**
 * The disk log when its files are not what was written: every damage is reported or has changed nothing; never is a
 * record made up, altered, moved or silently missing from the middle.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { DiskLog } from './disk-log.ts';
import { StorageError } from './storage-error.ts';
import { FaultyFiles } from './testing/faulty-files.ts';

const directory = '/log';
const keyOf = (seed: number): Uint8Array => Buffer.alloc(32, seed);
const open = (files: FaultyFiles, logKey = keyOf(1)): Promise<DiskLog> =>
  DiskLog.open({ directory, files, logKey, segmentSizeBytesMax: 640, growthSizeBytes: 128 });

type Segments = readonly { readonly name: string; readonly bytes: Uint8Array }[];

const records = [5, 60, 1, 200, 130, 90, 64, 33].map((sizeBytes, seed) =>
  Uint8Array.from({ length: sizeBytes }, (_, i) => ((seed * 41 + i) % 255) + 1),
);
const expected = records.map((record) => Buffer.from(record).toString('hex'));

async function diskOf(segments: Segments): Promise<FaultyFiles> {
  const files = new FaultyFiles();
  await files.mkdir(directory);
  for (const { name, bytes } of segments) files.place(`${directory}/${name}`, bytes);
  return files;
}

/** The files of a log of all records, one append each. */
async function writeLog(options: { readonly close: boolean; readonly key?: Uint8Array }): Promise<Segments> {
  const files = await diskOf([]);
  const log = await open(files, options.key);
  for (const record of records) await log.append([record]);
  if (options.close) await log.close();
  const names = [...(await files.list(directory))].sort();
  return names.map((name) => ({ name, bytes: Uint8Array.from(files.contents(`${directory}/${name}`)) }));
}

/** What opening and reading makes of the files: the records, or the code of the error. Anything else fails the test. */
async function attempt(segments: Segments, key?: Uint8Array): Promise<readonly string[] | string> {
  try {
    const log = await open(await diskOf(segments), key);
    const found = await log.read(0, Number.MAX_SAFE_INTEGER);
    return found.map(({ bytes }) => Buffer.from(bytes).toString('hex'));
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  }
}

const replace = (segments: Segments, index: number, bytes: Uint8Array): Segments =>
  segments.map((segment, i) => (i === index ? { ...segment, bytes } : segment));

let closed: Segments;
let crashed: Segments;
beforeAll(async () => {
  closed = await writeLog({ close: true });
  crashed = await writeLog({ close: false });
  expect(closed.length).toBeGreaterThanOrEqual(3);
});

describe('damage', () => {
  it('is not seen where there is none', async () => {
    expect(await attempt(closed)).toEqual(expected);
    expect(await attempt(crashed)).toEqual(expected);
  });

  it.each(['closed', 'crashed'] as const)(
    'of any single bit of a log that was %s is reported or changes nothing',
    async (end) => {
      const segments = end === 'closed' ? closed : crashed;
      let reported = 0;
      for (const [index, { bytes }] of segments.entries()) {
        for (let bit = 0; bit < bytes.length * 8; bit++) {
          const flipped = Uint8Array.from(bytes);
          flipped[bit >> 3]! ^= 1 << (bit & 7);
          const outcome = await attempt(replace(segments, index, flipped));
          if (outcome === 'log-corrupt') reported += 1;
          else expect(outcome).toEqual(expected);
        }
      }
      expect(reported).toBeGreaterThan(records.reduce((sum, record) => sum + record.length * 8, 0));
    },
  );

  it.each(['closed', 'crashed'] as const)(
    'that blanks a sector of a log that was %s is reported before the last batch',
    async (end) => {
      const segments = end === 'closed' ? closed : crashed;
      for (const [index, { bytes }] of segments.entries()) {
        for (let at = 0; at < bytes.length; at += 512) {
          const blanked = Uint8Array.from(bytes).fill(0, at, at + 512);
          const outcome = await attempt(replace(segments, index, blanked));
          const isTail = end === 'crashed' && index === segments.length - 1;
          // Only a last batch that nothing follows can pass for an interrupted write.
          if (isTail && outcome !== 'log-corrupt') expect(outcome).toEqual(expected.slice(0, outcome.length));
          else if (outcome !== 'log-corrupt') expect(outcome).toEqual(expected);
        }
      }
    },
  );

  it('is reported when a segment is missing, except the last, whose absence shows in nothing', async () => {
    for (let missing = 0; missing < closed.length - 1; missing++) {
      expect(await attempt(closed.filter((_, i) => i !== missing))).toBe('log-corrupt');
    }
  });

  it('is reported when a segment is cut short, except at the very end', async () => {
    for (const [index, { bytes }] of closed.slice(0, -1).entries()) {
      const outcome = await attempt(replace(closed, index, bytes.subarray(0, bytes.length >> 1)));
      expect(outcome).toBe('log-corrupt');
    }
  });

  it('is reported when segments change places or one stands for another', async () => {
    for (let i = 0; i < closed.length; i++) {
      for (let j = 0; j < closed.length; j++) {
        if (i !== j) expect(await attempt(replace(closed, i, closed[j]!.bytes))).toBe('log-corrupt');
      }
    }
  });

  it('is reported when a batch is dropped, doubled or moved within its segment', async () => {
    const { bytes } = closed[0]!;
    const first = bytes.subarray(0, 128);
    const rest = bytes.subarray(128);
    for (const changed of [rest, Buffer.concat([first, first, rest]), Buffer.concat([Buffer.alloc(64), first, rest])]) {
      expect(await attempt(replace(closed, 0, changed))).toBe('log-corrupt');
    }
  });

  it('is reported when the log is that of another home', async () => {
    expect(await attempt(await writeLog({ close: true, key: keyOf(2) }))).toBe('log-corrupt');
    const foreign = await writeLog({ close: true, key: keyOf(2) });
    expect(await attempt(replace(closed, closed.length - 1, foreign.at(-1)!.bytes))).toBe('log-corrupt');
  });

  it('after the log was opened is reported by the read that meets it', async () => {
    const files = await diskOf(closed);
    const log = await open(files);
    files.contents(`${directory}/${closed[0]!.name}`)[70]! ^= 1;
    await expect(log.read(0, 1)).rejects.toMatchObject({ code: 'log-corrupt' });
  });

  it('says where it is and what to do', async () => {
    const flipped = Uint8Array.from(closed[0]!.bytes);
    flipped[70]! ^= 1;
    const error = await open(await diskOf(replace(closed, 0, flipped))).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'log-corrupt',
      message: expect.stringContaining(`${directory}/${closed[0]!.name}: the batch at 0: its records are damaged`),
      hint: expect.stringContaining('exact copy'),
    });
  });
});

describe('fuzzed segments', () => {
  const prefixOrError = (outcome: readonly string[] | string): void => {
    if (typeof outcome !== 'string') expect(outcome).toEqual(expected.slice(0, outcome.length));
  };

  it('of random bytes are never taken for records', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (bytes) => {
        const outcome = await attempt([{ name: '0000000000000000.log', bytes }]);
        expect(outcome === 'log-corrupt' || outcome.length === 0).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('full of things that begin like headers take no longer than others', async () => {
    const bytes = Buffer.alloc(512 * 1024);
    for (let at = 0; at < bytes.length; at += 64) bytes.set(crashed[0]!.bytes.subarray(128, 192), at);
    expect(await attempt([{ name: '0000000000000000.log', bytes }])).toBe('log-corrupt');
    // The second batch's header is genuine at its own place, so that place is left blank too.
    bytes.fill(0, 0, 192);
    expect(await attempt([{ name: '0000000000000000.log', bytes }])).toEqual([]);
  });

  it('made of real ones by splicing give a part of what was written, or an error', async () => {
    const edit = fc.record({
      segment: fc.nat(100),
      at: fc.nat(2000),
      remove: fc.nat(300),
      insert: fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.record({ from: fc.nat(2000), length: fc.nat(400) })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), fc.boolean(), async (edits, wasClosed) => {
        let segments = wasClosed ? closed : crashed;
        for (const { segment, at, remove, insert } of edits) {
          const index = segment % segments.length;
          const { bytes } = segments[index]!;
          const place = at % (bytes.length + 1);
          const inserted =
            insert instanceof Uint8Array ? insert : bytes.subarray(insert.from, insert.from + insert.length);
          segments = replace(
            segments,
            index,
            Buffer.concat([bytes.subarray(0, place), inserted, bytes.subarray(place + remove)]),
          );
        }
        prefixOrError(await attempt(segments));
      }),
      { numRuns: 1000 },
    );
  });

  it('with names of any kind are ignored or reported', async () => {
    for (const name of ['x', '1.log', '0000000000000000.log.tmp', '99999999999999999.log']) {
      expect(await attempt([...closed, { name, bytes: Buffer.from('anything') }])).toEqual(expected);
    }
    expect(await attempt([...closed, { name: '9999999999999999.log', bytes: Buffer.alloc(0) }])).toEqual(expected);
    expect(await attempt([...closed, { name: '0000000000900000.log', bytes: Buffer.alloc(0) }])).toBe('log-corrupt');
  });
});
