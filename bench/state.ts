/**
 * State: what the state costs in one process, without a cluster: its root per update, a point read, a range, and verifying all of it
 * at a start.
 *
 * The same code as in a replica: the store over an engine, filled checkpoint by checkpoint. A table in the process's
 * memory, without a tree or a checkpoint, is measured beside it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StateEngine } from '../src/state/engine.ts';
import { MemoryEngine } from '../src/state/memory-engine.ts';
import { stateKeyBytes } from '../src/state/state-key.ts';
import { StateStore } from '../src/state/state-store.ts';
import { engineKey, engineRange } from '../src/state/tables.ts';
import { verifyTree } from '../src/state/verify-state.ts';
import { LmdbEngine } from '../src/storage/lmdb-engine.ts';
import { limits } from '../src/wire/limits.ts';

export interface RootCost {
  readonly engine: EngineName;
  readonly entries: number;
  /** Updates for which the root is made once. */
  readonly batch: number;
  /** The first write to a key since a checkpoint: its nodes are read from the engine. */
  readonly coldMicrosecondsPerUpdate: number;
  /** A later one: its nodes are in memory. */
  readonly hotMicrosecondsPerUpdate: number;
}

export interface ReadCost {
  readonly engine: EngineName | 'map';
  readonly entries: number;
  readonly pointReadMicroseconds: number;
  /** In order, a thousand entries from a random key on; of the map: all of it, in no order. */
  readonly scannedEntriesPerSecond: number;
}

export interface VerificationRate {
  readonly engine: EngineName;
  readonly entries: number;
  readonly ms: number;
  readonly entriesPerSecond: number;
  /** Of keys and values. */
  readonly megabytesPerSecond: number;
  readonly engineSizeBytes: number;
}

export type EngineName = 'lmdb' | 'memory';

export interface StateCosts {
  readonly valueSizeBytes: number;
  readonly roots: readonly RootCost[];
  readonly reads: readonly ReadCost[];
  readonly verifications: readonly VerificationRate[];
}

const valueSizeBytes = 60;
const batches = [1, 150, 2_000];
const scanLength = 1_000;

export async function measureStateCosts(sizes: readonly number[], report: (line: string) => void): Promise<StateCosts> {
  const roots: RootCost[] = [];
  const reads: ReadCost[] = [];
  const verifications: VerificationRate[] = [];
  for (const entries of sizes) {
    for (const name of ['lmdb', 'memory'] as const) {
      await withEngine(name, async (engine) => {
        const store = await filledStore(engine, entries);
        const verification = verificationRateOf(name, engine, store);
        verifications.push(verification);
        report(describeVerification(verification));
        const read = readCostOf(name, engine, entries);
        reads.push(read);
        report(describeRead(read));
        for (const batch of batches) {
          const cost = await rootCostOf({ name, engine, store, entries, batch });
          roots.push(cost);
          report(describeRoot(cost));
        }
      });
    }
    const read = mapCostOf(entries);
    reads.push(read);
    report(describeRead(read));
  }
  return { valueSizeBytes, roots, reads, verifications };
}

async function withEngine(name: EngineName, use: (engine: StateEngine) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'coterie-state-'));
  const engine = name === 'lmdb' ? await LmdbEngine.open(directory) : new MemoryEngine();
  try {
    await use(engine);
  } finally {
    await engine.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** As replicas fill it: so many entries a checkpoint, each one transaction. */
async function filledStore(engine: StateEngine, entries: number): Promise<StateStore> {
  const store = new StateStore({ engine, table: 'service' });
  for (let from = 0; from < entries; from += limits.checkpointEntriesMax) {
    const count = Math.min(limits.checkpointEntriesMax, entries - from);
    store.merge(new Map(Array.from({ length: count }, (_, i) => [keyOf(from + i), valueAt(from + i, 0)])));
    await checkpoint(engine, store);
  }
  return store;
}

async function checkpoint(engine: StateEngine, store: StateStore): Promise<void> {
  await engine.write(store.freeze());
  store.stored();
}

/** Each batch of random keys is written once after a checkpoint, and once more. */
async function rootCostOf(options: {
  readonly name: EngineName;
  readonly engine: StateEngine;
  readonly store: StateStore;
  readonly entries: number;
  readonly batch: number;
}): Promise<RootCost> {
  const { name, engine, store, entries, batch } = options;
  const turns = Math.max(8, Math.min(500, Math.floor(20_000 / batch)));
  let coldMs = 0;
  let hotMs = 0;
  for (let turn = 0; turn < turns; turn++) {
    const numbers = Array.from({ length: batch }, () => Math.floor(Math.random() * entries));
    coldMs += timeMs(() => update(store, numbers, 2 * turn + 1));
    hotMs += timeMs(() => update(store, numbers, 2 * turn + 2));
    await checkpoint(engine, store);
  }
  const perUpdate = (ms: number): number => (ms * 1_000) / (turns * batch);
  return {
    engine: name,
    entries,
    batch,
    coldMicrosecondsPerUpdate: perUpdate(coldMs),
    hotMicrosecondsPerUpdate: perUpdate(hotMs),
  };
}

function update(store: StateStore, numbers: readonly number[], version: number): void {
  store.merge(new Map(numbers.map((number) => [keyOf(number), valueAt(number, version)])));
  store.summary();
}

function readCostOf(name: EngineName, engine: StateEngine, entries: number): ReadCost {
  const reads = 100_000;
  const keyAt = (): Uint8Array => engineKey('service', stateKeyBytes(keyOf(Math.floor(Math.random() * entries))));
  const pointMs = timeMs(() => {
    for (let i = 0; i < reads; i++) if (engine.get(keyAt()) === undefined) throw new Error('invariant: it is there');
  });
  const { end } = engineRange('service');
  let scanned = 0;
  const scanMs = timeMs(() => {
    for (let i = 0; i < 100; i++) {
      let left = scanLength;
      for (const _ of engine.entries({ start: keyAt(), end })) {
        scanned += 1;
        left -= 1;
        if (left === 0) break;
      }
    }
  });
  return {
    engine: name,
    entries,
    pointReadMicroseconds: (pointMs * 1_000) / reads,
    scannedEntriesPerSecond: (scanned * 1_000) / scanMs,
  };
}

function mapCostOf(entries: number): ReadCost {
  const reads = 100_000;
  const map = new Map(Array.from({ length: entries }, (_, i) => [keyOf(i), valueAt(i, 0)]));
  const pointMs = timeMs(() => {
    for (let i = 0; i < reads; i++) {
      if (map.get(keyOf(Math.floor(Math.random() * entries))) === undefined) throw new Error('invariant: it is there');
    }
  });
  let sizeBytes = 0;
  const scanMs = timeMs(() => {
    for (const [key, value] of map) sizeBytes += key.length + value.length;
  });
  if (sizeBytes === 0) throw new Error('invariant: the map holds something');
  return {
    engine: 'map',
    entries,
    pointReadMicroseconds: (pointMs * 1_000) / reads,
    scannedEntriesPerSecond: (entries * 1_000) / scanMs,
  };
}

function verificationRateOf(name: EngineName, engine: StateEngine, store: StateStore): VerificationRate {
  const summary = store.summary();
  let verified = 0;
  const ms = timeMs(() => {
    for (const entries of verifyTree(engine, 'service', summary)) verified = entries;
  });
  if (verified !== summary.entries) throw new Error('invariant: all of it was verified');
  return {
    engine: name,
    entries: summary.entries,
    ms,
    entriesPerSecond: (summary.entries * 1_000) / ms,
    megabytesPerSecond: summary.sizeBytes / 1_000 / ms,
    engineSizeBytes: engine.sizeBytes,
  };
}

function timeMs(work: () => void): number {
  const beganAtMs = performance.now();
  work();
  return performance.now() - beganAtMs;
}

function keyOf(number: number): string {
  return `key/${number.toString().padStart(10, '0')}`;
}

function valueAt(number: number, version: number): Uint8Array {
  return Buffer.from(`${number}:${version}`.padEnd(valueSizeBytes, '.'));
}

function describeRoot({ engine, entries, batch, ...cost }: RootCost): string {
  const name = `state root, ${engine}, ${entries} entries, batches of ${batch}`;
  const cold = cost.coldMicrosecondsPerUpdate.toFixed(1);
  const hot = cost.hotMicrosecondsPerUpdate.toFixed(1);
  return `${name.padEnd(60)} ${cold.padStart(8)} µs an update cold, ${hot.padStart(8)} hot`;
}

function describeRead({ engine, entries, ...cost }: ReadCost): string {
  const scan = Math.round(cost.scannedEntriesPerSecond).toLocaleString('en');
  return `${`state reads, ${engine}, ${entries} entries`.padEnd(60)} ${cost.pointReadMicroseconds.toFixed(2).padStart(8)} µs a read, ${scan} entries/s scanned`;
}

function describeVerification({ engine, entries, ...rate }: VerificationRate): string {
  const perSecond = Math.round(rate.entriesPerSecond).toLocaleString('en');
  return `${`state verification, ${engine}, ${entries} entries`.padEnd(60)} ${rate.ms.toFixed(0).padStart(8)} ms: ${perSecond} entries/s, ${rate.megabytesPerSecond.toFixed(1)} MB/s`;
}
