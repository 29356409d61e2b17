/** Request log: one that is restored from a checkpoint and one that was never away are the same, and both stay small. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Digest, sha256 } from '../crypto/hash.ts';
import { verifyConsistency } from '../crypto/merkle.ts';
import { chunkLeaves } from '../crypto/merkle-store.ts';
import { type Change, StateDamage } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { engineRange } from '../state/tables.ts';
import type { Head } from '../wire/head.ts';
import { type CommitEnd, RequestLog, restoredLog } from './request-log.ts';

const digestOf = (text: string): Digest => sha256(Buffer.from(text));
const own = { serviceId: digestOf('service'), epoch: 0, headIntervalMs: 5 };
const cover = { stateRoot: digestOf('state'), checkpoint: digestOf('checkpoint') };
const result = new Uint8Array(3);
const noHeads: readonly Head[] = [];
const noChanges: readonly Change[] = [];

const checkpointOf = (log: RequestLog, { commitIndex, timestamp }: CommitEnd) => ({
  logSize: log.size,
  logFrontier: log.frontier(),
  ordering: { commitIndex, timestamp },
});

/** Executes a commit of so many requests; its head when one is due, before which `atDue` is called. */
function commit(log: RequestLog, end: CommitEnd, requests: number, atDue: () => void = () => {}): Head | undefined {
  for (let i = 0; i < requests; i++) log.append(digestOf(`${end.commitIndex} ${i}`), result, end.commitIndex);
  if (!log.isDue(end)) return undefined;
  atDue();
  return log.makeHead(end, cover);
}

const digestOfAll = (changes: readonly Change[] = []): Digest =>
  sha256(Buffer.concat(changes.flatMap(({ key, value }) => [key, value ?? Buffer.from('deleted')])));

const storedSize = (engine: MemoryEngine): number =>
  [...engine.entries(engineRange('log'))].reduce((sum, { key, value }) => sum + key.length + value.length, 0);

describe('a log restored from any checkpoint', () => {
  it('has the same heads due, proves the same, and makes the same changes from then on', async () => {
    const plan = fc.array(
      fc.record({
        requests: fc.constantFrom(0, 1, 3, 200, 700),
        passesMs: fc.constantFrom(0, 1, 4, 60),
        isWished: fc.boolean(),
        isCheckpoint: fc.boolean(),
        isRestart: fc.constantFrom(true, false, false),
      }),
      { minLength: 5, maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(plan, fc.constantFrom(0, 1_500, 1_000_000), async (steps, retainedLeaves) => {
        const engine = new MemoryEngine();
        let other = new MemoryEngine();
        const always = new RequestLog({ ...own, view: engine, retainedLeaves });
        let log = new RequestLog({ ...own, view: other, retainedLeaves });
        let timestamp = 1_000;
        let heads = noHeads;
        for (const [i, { requests, passesMs, isWished, isCheckpoint, isRestart }] of steps.entries()) {
          timestamp += passesMs;
          const end = { commitIndex: i + 1, timestamp, leaderTimestamp: undefined, isWished };
          const changes = [always, log].map(() => noChanges);
          let isTaken = false;
          const expected = commit(always, end, requests, () => {
            if (isCheckpoint) changes[0] = always.changes();
          });
          const head = commit(log, end, requests, () => {
            isTaken = isCheckpoint;
            if (isCheckpoint) changes[1] = log.changes();
          });
          expect(head).toEqual(expected);
          if (head !== undefined) heads = [...heads, head];
          if (!isTaken) continue;
          expect(digestOfAll(changes[1])).toBe(digestOfAll(changes[0]));
          await engine.write(changes[0] ?? []);
          await other.write(changes[1] ?? []);
          always.stored(always.size);
          if (isRestart) {
            other = new MemoryEngine({ after: other });
            log = new RequestLog({
              ...own,
              view: other,
              retainedLeaves,
              from: restoredLog(other, checkpointOf(log, end)),
            });
          } else log.stored(log.size);
        }
        expect(log.retainedFrom).toBe(always.retainedFrom);
        for (let index = 0; index < log.size; index += 311) {
          expect(log.inclusionPath(index, log.size)).toEqual(always.inclusionPath(index, log.size));
        }
        const newest = heads.at(-1);
        for (const { logSize, logRoot } of heads) {
          const path = log.consistencyPath(logSize, newest?.logSize ?? 0);
          expect(path).toEqual(always.consistencyPath(logSize, newest?.logSize ?? 0));
          if (path === undefined || newest === undefined) continue;
          const claim = { fromSize: logSize, fromRoot: logRoot, toSize: newest.logSize, toRoot: newest.logRoot, path };
          expect(verifyConsistency(claim)).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('is not made of what is not all there', async () => {
    const engine = new MemoryEngine();
    const log = new RequestLog({ ...own, view: engine });
    const end = { commitIndex: 1, timestamp: 1_000, leaderTimestamp: undefined, isWished: false };
    commit(log, end, 3_000);
    const checkpoint = checkpointOf(log, end);
    expect(() => restoredLog(engine, checkpoint)).toThrow(StateDamage);
    await engine.write(log.changes());
    expect(() => restoredLog(engine, checkpoint)).not.toThrow();
    expect(() => restoredLog(engine, { ...checkpoint, logSize: 3_001 })).toThrow(StateDamage);
  });
});

describe('what is retained', () => {
  const retainedLeaves = 3_000;

  it('is at least so much after each checkpoint, little more, and all of it can be proven', async () => {
    const engine = new MemoryEngine();
    const log = new RequestLog({ ...own, view: engine, retainedLeaves });
    for (let commitIndex = 1; commitIndex <= 60; commitIndex++) {
      const end = { commitIndex, timestamp: 1_000 * commitIndex, leaderTimestamp: undefined, isWished: false };
      const before = log.retainedFrom;
      const head = commit(log, end, 437) as Head;
      expect(log.retainedFrom).toBe(before);
      const { size } = log;
      await engine.write(log.changes());
      log.stored(size);
      expect(size - log.retainedFrom).toBeGreaterThanOrEqual(Math.min(size, retainedLeaves));
      expect(size - log.retainedFrom).toBeLessThan(retainedLeaves + chunkLeaves);
      expect(storedSize(engine)).toBeLessThan(40 * (retainedLeaves + 2 * chunkLeaves));
      expect(log.inclusionPath(log.retainedFrom, head.logSize)).toBeDefined();
      expect(log.inclusionPath(log.retainedFrom - 1, head.logSize)).toBeUndefined();
    }
    expect(log.size).toBe(60 * 437);
  });

  it('is proven out of memory until it is said to be stored, however many checkpoints are under way', async () => {
    const engine = new MemoryEngine();
    const log = new RequestLog({ ...own, view: engine, retainedLeaves });
    const twin = new RequestLog({ ...own, view: new MemoryEngine(), retainedLeaves: 1_000_000 });
    const written: { readonly size: number; readonly changes: ReturnType<RequestLog['changes']> }[] = [];
    for (let commitIndex = 1; commitIndex <= 12; commitIndex++) {
      const end = { commitIndex, timestamp: 1_000 * commitIndex, leaderTimestamp: undefined, isWished: false };
      for (const each of [log, twin]) commit(each, end, 700);
      written.push({ changes: log.changes(), size: log.size });
      if (commitIndex % 3 === 0) {
        for (const { size, changes } of written.splice(0, 2)) {
          await engine.write(changes);
          log.stored(size);
        }
      }
      for (let index = log.retainedFrom; index < log.size; index += 97) {
        expect(log.inclusionPath(index, log.size)).toEqual(twin.inclusionPath(index, log.size));
      }
    }
  });
});
