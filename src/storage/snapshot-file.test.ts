/**
 * Snapshot files: what is written is read again as it was, and a file that is changed in any way, or put together from parts, is refused.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { readExecution } from '../execution/restored-execution.ts';
import { StateDamage } from '../state/engine.ts';
import { openLog } from '../state/log-leaves.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { verifyTree } from '../state/verify-state.ts';
import { checkpointDigest, decodeCheckpoint } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import {
  decodeRecord,
  encodeRecord,
  readRecordHead,
  recordHeadSizeBytes,
  SnapshotError,
  type SnapshotRecord,
  snapshotBeginningSizeBytes,
} from './snapshot-file.ts';
import { readSnapshot, type Snapshot } from './snapshot-reader.ts';
import { type SnapshotSource, writeSnapshot } from './snapshot-writer.ts';
import { FaultyFiles } from './testing/faulty-files.ts';
import { headVerifier, signedHead, snapshotSource } from './testing/snapshots.ts';

const files = new FaultyFiles();
let verifyHead: (head: CertifiedHead) => boolean;

beforeAll(async () => {
  verifyHead = await headVerifier();
});

async function written(source: SnapshotSource): Promise<string> {
  const path = `/${sha256(source.encoded)}`;
  await writeSnapshot(path, source, { files });
  return path;
}

async function restored(path: string): Promise<{ readonly engine: MemoryEngine; readonly snapshot: Snapshot }> {
  const engine = new MemoryEngine();
  const snapshot = await readSnapshot(path, { files, verifyHead, take: (changes) => engine.write(changes) });
  return { engine, snapshot };
}

function contentsOf(engine: MemoryEngine): readonly string[] {
  return Array.from(engine.entries({}), ({ key, value }) => `${hexOf(key)} ${hexOf(value)}`);
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A file of these records, with a right end. */
function fileOf(records: readonly SnapshotRecord[], beginning: Uint8Array): Buffer {
  const bytes = Buffer.concat([beginning, ...records.map(encodeRecord)]);
  const digest = createHash('sha256').update(bytes).digest();
  return Buffer.concat([bytes, encodeRecord({ kind: 'end', digest })]);
}

/** All records but the last one. */
function recordsIn(file: Buffer): SnapshotRecord[] {
  const records: SnapshotRecord[] = [];
  for (let offset = snapshotBeginningSizeBytes; offset < file.length; ) {
    const { kind, sizeBytes } = readRecordHead(file.subarray(offset, offset + recordHeadSizeBytes));
    offset += recordHeadSizeBytes;
    records.push(decodeRecord(kind, file.subarray(offset, offset + sizeBytes)));
    offset += sizeBytes;
  }
  return records.slice(0, -1);
}

async function refusalOf(bytes: Uint8Array): Promise<string> {
  files.place('/changed', bytes);
  try {
    await readSnapshot('/changed', { files, verifyHead });
  } catch (error) {
    if (error instanceof SnapshotError) return error.message;
    throw error;
  }
  return 'none';
}

describe('a snapshot', () => {
  it('is read as it was written, entry by entry, into an engine that a replica goes on from', async () => {
    const plan = fc.record({
      values: fc.dictionary(fc.string({ maxLength: 8, unit: 'grapheme' }), fc.nat(3_000), { maxKeys: 400 }),
      requests: fc.nat(40),
      later: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(plan, async (each) => {
        const source = await snapshotSource(each);
        const { engine, snapshot } = await restored(await written(source));
        expect(contentsOf(engine)).toEqual(contentsOf(source.view));
        expect(snapshot.digest).toBe(checkpointDigest(source.encoded));
        expect(snapshot.leaves).toBe(snapshot.checkpoint.logSize);
        for (const table of ['service', 'system'] as const) {
          const verified = [...verifyTree(engine, table, snapshot.checkpoint[table])].at(-1);
          expect(verified).toBe(snapshot.checkpoint[table].entries);
        }
        expect(readExecution(engine, snapshot.checkpoint).checkpoint).toEqual(snapshot.checkpoint);
      }),
      { numRuns: 12 },
    );
  });

  it('holds a state of many parts, one at a time', async () => {
    const values = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`key ${i}`, 100_000]));
    const source = await snapshotSource({ values });
    const path = await written(source);
    const parts = recordsIn(files.contents(path)).filter(({ kind }) => kind === 'part');
    expect(parts.length).toBeGreaterThan(5);
    let sizeBytesMax = 0;
    const engine = new MemoryEngine();
    await readSnapshot(path, {
      files,
      verifyHead,
      take: async (changes) => {
        const sizes = changes.map(({ value }) => value?.length ?? 0);
        sizeBytesMax = Math.max(
          sizeBytesMax,
          sizes.reduce((sum, size) => sum + size, 0),
        );
        await engine.write(changes);
      },
    });
    expect(sizeBytesMax).toBeLessThan(2 * 1024 * 1024);
    expect(contentsOf(engine)).toEqual(contentsOf(source.view));
  });

  it('has the leaves of the log that are retained, or only those that the log cannot go on without', async () => {
    const plan = { values: { b: 1 }, requests: 5_000, retainedLeaves: 1_500 };
    const source = await snapshotSource(plan);
    const whole = await restored(await written(source));
    expect(whole.snapshot.leaves).toBeGreaterThanOrEqual(1_500);
    expect(whole.snapshot.leaves).toBeLessThan(1_500 + 1_024);
    expect(contentsOf(whole.engine)).toEqual(contentsOf(source.view));

    const cut = await restored(await written({ ...source, isLogCut: true }));
    expect(cut.snapshot.leaves).toBe(5_001 % 1_024);
    const log = openLog(cut.engine, cut.snapshot.checkpoint);
    expect([log.size, log.retainedFrom]).toEqual([5_001, 5_001 - (5_001 % 1_024)]);
    expect(log.root()).toBe(openLog(source.view, cut.snapshot.checkpoint).root());
  });

  it('of a log that ends with a whole chunk needs no leaves', async () => {
    const source = await snapshotSource({ values: { b: 1 }, requests: 2_047 });
    for (const [isLogCut, retainedFrom] of [
      [true, 2_048],
      [false, 0],
    ] as const) {
      const { engine, snapshot } = await restored(await written({ ...source, isLogCut }));
      expect(snapshot.leaves).toBe(2_048 - retainedFrom);
      const log = openLog(engine, snapshot.checkpoint);
      expect([log.size, log.retainedFrom]).toEqual([2_048, retainedFrom]);
    }
  });

  it('is not made of a damaged state, and then leaves nothing behind', async () => {
    const source = await snapshotSource({ values: { a: 10, b: 20 } });
    const [entry] = [...source.view.entries({})];
    if (entry === undefined) throw new Error('the engine is empty');
    await source.view.write([{ key: entry.key, value: Uint8Array.of(1) }]);
    await expect(writeSnapshot('/of damage', source, { files })).rejects.toThrow(StateDamage);
    expect((await files.list('/')).filter((name) => name.startsWith('of damage'))).toEqual([]);
  });

  it('does not get its name when whoever looks at it refuses it', async () => {
    files.place('/kept', Buffer.from('an older one'));
    const check = () => Promise.reject(new Error('refused'));
    const source = await snapshotSource({ values: {} });
    await expect(writeSnapshot('/kept', source, { files, check })).rejects.toThrow('refused');
    expect(files.contents('/kept').toString()).toBe('an older one');
    expect(await files.list('/')).not.toContain('kept.new');
  });

  it('is whole or not there, whichever write or sync fails', async () => {
    const source = await snapshotSource({ values: { a: 3 } });
    const counting = new FaultyFiles();
    await writeSnapshot('/file', source, { files: counting });
    for (let step = 1; step <= counting.steps; step++) {
      const crashing = new FaultyFiles({ kind: 'crash', step });
      crashing.place('/file', Buffer.from('an older one'));
      await expect(writeSnapshot('/file', source, { files: crashing })).rejects.toThrow();
      for (const unsynced of [{ kind: 'drop' }, { kind: 'keep' }] as const) {
        const after = crashing.restart(unsynced).contents('/file');
        const isOlder = after.toString() === 'an older one';
        expect(isOlder || (await refusalOf(after)) === 'none').toBe(true);
      }
    }
  });
});

describe('refused is', () => {
  it('a file in which any bit was flipped', async () => {
    const file = files.contents(await written(await snapshotSource({ values: { a: 3, b: 4 } })));
    expect(await refusalOf(file)).toBe('none');
    for (let i = 0; i < file.length; i++) {
      const flipped = Buffer.from(file);
      flipped[i]! ^= 1 << (i % 8);
      expect([i, await refusalOf(flipped)]).not.toEqual([i, 'none']);
    }
  }, 60_000);

  it('a file that was cut anywhere, or goes on', async () => {
    const file = files.contents(await written(await snapshotSource({ values: { a: 3 } })));
    for (let size = 0; size < file.length; size += 7) expect(await refusalOf(file.subarray(0, size))).not.toBe('none');
    expect(await refusalOf(file.subarray(0, -1))).toMatch(/cut short/);
    expect(await refusalOf(Buffer.concat([file, Buffer.of(0)]))).toMatch(/after its end/);
    expect(await refusalOf(Buffer.from('{"coterie":"reply"}'))).toMatch(/not a snapshot/);
  });

  it('a file put together from parts, although its end is right', async () => {
    const values = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`key ${i}`, 100_000]));
    const source = await snapshotSource({ values, later: 1 });
    const file = files.contents(await written(source));
    const records = recordsIn(file);
    const beginning = file.subarray(0, snapshotBeginningSizeBytes);
    const refusal = (change: (records: SnapshotRecord[]) => void): Promise<string> => {
      const changed = [...records];
      change(changed);
      return refusalOf(fileOf(changed, beginning));
    };
    expect(await refusal(() => undefined)).toBe('none');
    const find = (kind: SnapshotRecord['kind']): number => records.findIndex((record) => record.kind === kind);
    const part = find('part');

    expect(await refusal((all) => all.splice(part, 1))).toMatch(/not the one that the service signed/);
    expect(await refusal((all) => all.splice(part, 0, all[part]!))).toMatch(/not in their order/);
    expect(await refusal((all) => all.splice(part, 2, all[part + 1]!, all[part]!))).toMatch(/not in their order/);
    expect(await refusal((all) => all.reverse())).toMatch(/where it belongs/);
    expect(await refusal((all) => all.splice(find('leaves'), 1))).toMatch(/lacks the last leaves/);
    expect(await refusal((all) => all.push(all[part]!))).toMatch(/after its end|not the one/);
    expect(await refusal((all) => all.push(all[0]!))).toMatch(/none belongs/);
    const changedEntry = (index: number, value: Uint8Array) => (all: SnapshotRecord[]) => {
      const record = all[index];
      if (record?.kind !== 'part') throw new Error('not a part');
      const entries = record.entries.map((entry, i) => (i === 0 ? { ...entry, value } : entry));
      all[index] = { ...record, entries };
    };
    expect(await refusal(changedEntry(part, Uint8Array.of(1)))).toMatch(/service state .* not the one/);
    const system = records.findIndex((record) => record.kind === 'part' && record.table === 'system');
    expect(await refusal(changedEntry(system, Uint8Array.of(1)))).toMatch(/system state .* not the one/);
  });

  it('a head that the service did not sign, or that is of something else', async () => {
    const source = await snapshotSource({ values: { a: 3 } });
    const other = await snapshotSource({ values: { a: 4 } });
    const { head } = source.head;
    const refusal = async (head: CertifiedHead): Promise<string> => {
      const path = await written({ ...source, head });
      return refusalOf(files.contents(path));
    };
    expect(
      await refusal({ head: { ...head, timestamp: head.timestamp + 1 }, signature: source.head.signature }),
    ).toMatch(/did not sign/);
    expect(await refusal(other.head)).toMatch(/not of the checkpoint/);
    // Signed, as only more than f faulty replicas could have.
    for (const change of [
      { stateRoot: other.head.head.stateRoot },
      { logRoot: other.head.head.logRoot },
      { logSize: head.logSize + 1 },
      { commitIndex: head.commitIndex - 1 },
      { timestamp: head.timestamp + 1 },
    ]) {
      expect(await refusal(signedHead({ ...head, ...change }))).toMatch(/contradict each other/);
    }
    expect(await refusal(signedHead({ ...head, serviceId: sha256(Buffer.from('another')) }))).toMatch(
      /different services/,
    );
    expect(decodeCheckpoint(source.encoded).ok).toBe(true);
  });

  it('a genesis of another service', async () => {
    const source = await snapshotSource({ values: { a: 3 } });
    const path = await written({ ...source, genesis: { ...source.genesis, name: 'Another ledger' } });
    expect(await refusalOf(files.contents(path))).toMatch(/genesis/);
  });
});
