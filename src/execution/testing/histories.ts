/**
 * Histories for tests: commits of random calls to a small service that does all there is to do with a state, and replicas that
 * execute them over an engine, take checkpoints, and are restored from them.
 */
import fc from 'fast-check';
import * as z from 'zod';
import { sha256 } from '../../crypto/hash.ts';
import type { Commit } from '../../ordering/commit.ts';
import type { Change, StateEngine } from '../../state/engine.ts';
import type { Checkpoint } from '../../wire/checkpoint.ts';
import { limits } from '../../wire/limits.ts';
import type { CheckpointParts, TakenCheckpoint } from '../checkpoints.ts';
import { type Applied, Execution } from '../execution.ts';
import type { OperationGuard } from '../operation.ts';
import { readExecution } from '../restored-execution.ts';
import { defineService, query, update } from '../service-definition.ts';
import { testCommit } from '../test-harness.ts';
import { requestOf } from './requests.ts';

const ends = z.object({ from: z.string(), to: z.string(), reverse: z.boolean() });

export const shelf = defineService({
  name: 'shelf',
  version: '1',
  operations: {
    put: update({
      input: z.object({ key: z.string(), size: z.int() }),
      apply({ state, commitIndex }, { key, size }) {
        const before = state.get<Uint8Array>(key);
        state.put(key, new Uint8Array(size).fill(commitIndex));
        return before?.[0] ?? null;
      },
    }),
    delete: update({ input: z.string(), apply: ({ state }, key) => state.delete(key) }),
    sweep: update({
      input: ends,
      apply({ state }, range) {
        const keys = [...state.range({ ...range, limit: 3 })].map(({ key }) => key);
        for (const key of keys) state.delete(key);
        return keys;
      },
    }),
    list: query({
      input: ends,
      apply: ({ state }, range) => [...state.range<Uint8Array>(range)].map(({ key, value }) => [key, value.length]),
    }),
  },
});

export interface PlannedCommit {
  readonly commit: Commit;
  /** Of the checkpoints that wait for the engine, so many are stored before this commit. */
  readonly stored: number;
  /** Restore a replica before this commit, from what the engine holds. */
  readonly isRestored: boolean;
}

/** Enough for several levels of the tree, few enough that keys are met again. */
const key = fc.oneof(
  { weight: 8, arbitrary: fc.nat(300).map((n) => `key ${n}`) },
  { weight: 1, arbitrary: fc.constantFrom('', '\u{1f600}', '\uffff', 'k'.repeat(1_024)) },
);
const range = fc.record({ from: key, to: key, reverse: fc.boolean() });
const call: fc.Arbitrary<readonly [string, unknown]> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .record({ key, size: fc.oneof({ weight: 19, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.nat(200_000) }) })
      .map((input) => ['put', input] as const),
  },
  { weight: 2, arbitrary: key.map((input) => ['delete', input] as const) },
  { weight: 1, arbitrary: range.map((input) => ['sweep', input] as const) },
  { weight: 1, arbitrary: range.map((input) => ['list', input] as const) },
);
const request = fc
  .record({
    client: fc.nat(2),
    nonce: fc.nat(1),
    number: fc.integer({ min: 1, max: 30 }),
    unacknowledged: fc.nat(6),
    operations: fc.array(call, { minLength: 1, maxLength: 20 }),
  })
  .map(({ unacknowledged, ...sketch }) =>
    requestOf({ ...sketch, acknowledged: Math.max(0, sketch.number - 1 - unacknowledged) }),
  );

export const histories: fc.Arbitrary<readonly PlannedCommit[]> = fc
  .array(
    fc.record({
      requests: fc.array(request, { maxLength: 4, size: 'max' }),
      elapsedMs: fc.nat(12),
      stored: fc.constantFrom(0, 0, 0, 1, 1, 9),
      isRestored: fc.nat(4).map((n) => n === 0),
    }),
    { minLength: 10, maxLength: 40, size: 'max' },
  )
  .map((plan) => {
    let timestamp = 1_000;
    return plan.map(({ requests, elapsedMs, ...rest }, i) => {
      timestamp += elapsedMs;
      return { commit: testCommit(i + 1, timestamp, requests), ...rest };
    });
  });

export class TestReplica {
  readonly engine: StateEngine;
  readonly execution: Execution;
  /** Taken, and not written. */
  waiting: TakenCheckpoint[] = [];
  /** Written. */
  checkpoint: Checkpoint | undefined;
  #commit: Commit | undefined;

  constructor(engine: StateEngine, { from, guard }: { from?: Checkpoint | undefined; guard?: OperationGuard } = {}) {
    this.engine = engine;
    this.checkpoint = from;
    this.execution = new Execution({
      service: shelf,
      serviceId: sha256(Buffer.from('shelf')),
      epoch: 2,
      headIntervalMs: 3 / limits.headUnwishedIntervals,
      checkpointIntervalMs: 8,
      engine,
      from: from === undefined ? undefined : readExecution(engine, from),
      parts: () => this.#parts(),
      ...(guard === undefined ? {} : { guard }),
    });
  }

  step(commit: Commit): Applied {
    this.#commit = commit;
    const applied = this.execution.step(commit);
    if (applied.checkpoint !== undefined) this.waiting.push(applied.checkpoint);
    return applied;
  }

  /** Writes the oldest checkpoint that waits, if any. */
  async store(): Promise<void> {
    const [taken, ...rest] = this.waiting;
    if (taken === undefined) return;
    this.waiting = rest;
    await this.engine.write(taken.changes);
    this.execution.checkpointStored(taken.digest);
    this.checkpoint = taken.checkpoint;
  }

  #parts(): CheckpointParts | undefined {
    const commit = this.#commit;
    if (commit === undefined || commit.index < 4) return undefined;
    const { index: commitIndex, digest: commitDigest, timestamp } = commit;
    const next = { kind: 'steady', round: commitIndex + 1, rank: 0 } as const;
    const ordering = { commitIndex, commitDigest, timestamp, horizon: 0, next, periodHasCommit: true, committed: [] };
    // Some that stay, and some that change.
    const system = new Map([...'abc'].map((name) => [`duty/${name}`, Buffer.from(name)]));
    system.set(`duty/${commitIndex % 3}`, Buffer.from(`${commitIndex >> 3}`));
    return { ordering, membershipDigest: sha256(Buffer.from('members')), system };
  }
}

/** Changes by key, to compare. */
export function changesByKey(changes: Iterable<Change>): ReadonlyMap<string, string | undefined> {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  return new Map([...changes].map(({ key: name, value }) => [hex(name), value && hex(value)]));
}

export function contentsOf(engine: StateEngine): ReadonlyMap<string, string | undefined> {
  return changesByKey(engine.entries({}));
}
