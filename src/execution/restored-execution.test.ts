/** Restored execution: a replica that goes on from a checkpoint and one that executed everything are equal from then on. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { installGuard } from '../platform/determinism.ts';
import { type Change, StateDamage, type StateEngine } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { stateKeyBytes } from '../state/state-key.ts';
import { engineKey, engineRange } from '../state/tables.ts';
import { plainTree } from '../state/testing/plain-tree.ts';
import { LmdbEngine } from '../storage/lmdb-engine.ts';
import { decodeOutcomes } from '../wire/outcome.ts';
import type { Request } from '../wire/request.ts';
import type { Applied } from './execution.ts';
import { testCommit } from './test-harness.ts';
import { changesByKey, contentsOf, histories, type PlannedCommit, TestReplica } from './testing/histories.ts';
import { requestOf } from './testing/requests.ts';

const directory = mkdtempSync(join(tmpdir(), 'coterie-restored-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** What replicas must agree on; the changes as they are when they are made. */
function agreed({ commitIndex, replies, head, checkpoint }: Applied): unknown {
  const taken = checkpoint && { encoded: checkpoint.encoded, changes: changesByKey(checkpoint.changes) };
  return { commitIndex, replies, head, taken };
}

/** Executes the history, and restores replicas on the way; what each of them says must be what the first one said. */
async function runTwins(plan: readonly PlannedCommit[], copy: (engine: StateEngine) => Promise<StateEngine>) {
  const first = new TestReplica(await copy(new MemoryEngine()));
  const said: unknown[] = [];
  let twin: TestReplica | undefined;
  let restored = 0;
  for (const { commit, stored, isRestored } of plan) {
    for (let i = 0; i < stored; i++) {
      await first.store();
      await twin?.store();
    }
    if (isRestored && first.checkpoint !== undefined) {
      // By turns from one that executed everything, and from one that was restored itself.
      const source = twin?.checkpoint === undefined ? first : twin;
      const from = source.checkpoint;
      twin = new TestReplica(await copy(source.engine), { from });
      restored += 1;
      const next = from?.ordering.commitIndex ?? 0;
      for (const { commit: again } of plan.slice(next, commit.index - 1)) {
        expect(agreed(twin.step(again))).toEqual(said[again.index - 1]);
      }
    }
    const applied = agreed(first.step(commit));
    said.push(applied);
    if (twin !== undefined) expect(agreed(twin.step(commit))).toEqual(applied);
  }
  for (const replica of [first, twin]) {
    while (replica !== undefined && replica.waiting.length > 0) await replica.store();
  }
  if (twin !== undefined) {
    expect(twin.checkpoint).toEqual(first.checkpoint);
    expect(contentsOf(twin.engine)).toEqual(contentsOf(first.engine));
    expect(twin.execution.lastDueHead).toEqual(first.execution.lastDueHead);
  }
  return { first, restored };
}

/** The engine holds what its checkpoint says, and nothing else. */
function checkWhole({ engine, checkpoint }: TestReplica): void {
  if (checkpoint === undefined) return;
  for (const table of ['service', 'system'] as const) {
    const entries = new Map<string, Uint8Array>();
    for (const { key, value } of engine.entries(engineRange(table))) {
      // Read another way than the store does.
      entries.set(Buffer.from(key.subarray(1)).toString('latin1'), value);
    }
    const isAscii = [...entries.keys()].every((key) => /^[\0-\x7f]*$/.test(key));
    expect(entries.size).toBe(checkpoint[table].entries);
    if (isAscii) expect(plainTree(entries).root).toBe(checkpoint[table].root);
    const nodes = [...engine.keys(engineRange(`${table}Nodes`))].length;
    if (isAscii) expect(nodes).toBe(entries.size === 0 ? 0 : plainTree(entries).nodes.size);
  }
}

describe('replicas restored from random checkpoints of random histories', () => {
  it('say what the one says that never stopped, over engines in memory', async () => {
    let restored = 0;
    await fc.assert(
      fc.asyncProperty(histories, async (plan) => {
        const run = await runTwins(plan, async (engine) => new MemoryEngine({ after: engine as MemoryEngine }));
        checkWhole(run.first);
        restored += run.restored;
      }),
      { numRuns: 60 },
    );
    expect(restored).toBeGreaterThan(30);
  }, 60_000);

  it('and over engines on disk', async () => {
    let engines = 0;
    const open: LmdbEngine[] = [];
    await fc.assert(
      fc.asyncProperty(histories, async (plan) => {
        const { first } = await runTwins(plan, async (engine) => {
          engines += 1;
          const path = mkdtempSync(join(directory, `${engines}-`));
          const next = await LmdbEngine.open(path);
          open.push(next);
          await next.write(engine.entries({}));
          return next;
        });
        checkWhole(first);
        await Promise.all(open.splice(0).map((engine) => engine.close()));
      }),
      { numRuns: 6 },
    );
  }, 60_000);
});

const put = (number: number, key: string, size = 9): Request =>
  requestOf({ number, acknowledged: number - 1, operations: [['put', { key, size }]] });

/** Eight commits of a few calls each, with a checkpoint stored at the last. */
async function storedReplica(engine: StateEngine): Promise<TestReplica> {
  const replica = new TestReplica(engine);
  for (let index = 1; index <= 8; index++) {
    replica.step(testCommit(index, 100 * index, [put(index, `key ${index % 5}`)]));
    await replica.store();
  }
  return replica;
}

describe('an engine whose records are whole, and wrong', () => {
  const bytesOf = (key: string): Uint8Array => engineKey('system', stateKeyBytes(key));

  it.each<[string, (keys: readonly Uint8Array[]) => readonly Change[]]>([
    ['an entry less', (keys) => [{ key: keys[0] as Uint8Array, value: undefined }]],
    ['an entry more', () => [{ key: bytesOf('more'), value: new Uint8Array(1) }]],
    [
      'a key that is no text',
      (keys) => [
        { key: keys[0] as Uint8Array, value: undefined },
        { key: engineKey('system', Uint8Array.of(0xff)), value: new Uint8Array(1) },
      ],
    ],
    ['a session cut short', (keys) => [{ key: keys.at(-1) as Uint8Array, value: new Uint8Array(3) }]],
  ])('is not gone on from: %s', async (_, damage) => {
    const { engine, checkpoint } = await storedReplica(new MemoryEngine());
    const keys = [...engine.keys(engineRange('system'))];
    expect(Buffer.from(keys.at(-1) as Uint8Array).toString()).toMatch(/session/);
    await engine.write(damage(keys));
    expect(() => new TestReplica(engine, { from: checkpoint })).toThrow(StateDamage);
  });

  it('stops an operation that meets it, and is no outcome', async () => {
    const { engine, checkpoint } = await storedReplica(new MemoryEngine());
    const key = engineKey('service', stateKeyBytes('key 2'));
    const failing: StateEngine = new Proxy(engine, {
      get(target, name) {
        if (name === 'get') {
          return (asked: Uint8Array) => {
            if (Buffer.compare(asked, key) === 0) throw new StateDamage('not what was written');
            return target.get(asked);
          };
        }
        const value = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const replica = new TestReplica(failing, { from: checkpoint });
    expect(replica.step(testCommit(9, 900, [put(9, 'key 1')])).replies).toHaveLength(1);
    expect(() => replica.step(testCommit(10, 1_000, [put(10, 'key 2')]))).toThrow(StateDamage);
  });
});

describe('the guard', () => {
  it('does not take what a store on a disk does when it is read for something that the operation did', async () => {
    const guard = installGuard();
    const engine = await LmdbEngine.open(mkdtempSync(join(directory, 'guarded-')));
    const { checkpoint } = await storedReplica(engine);
    const replica = new TestReplica(engine, { from: checkpoint, guard });
    const list = ['list', { from: '', to: 'z', reverse: false }] as const;
    const operations = [['put', { key: 'key 1', size: 1 }] as const, list];
    const { replies } = replica.step(testCommit(9, 900, [requestOf({ number: 9, acknowledged: 8, operations })]));
    const outcomes = decodeOutcomes(replies[0]?.result ?? new Uint8Array());
    expect(outcomes.ok && outcomes.value.map((outcome) => outcome.ok)).toEqual([true, true]);
    await engine.close();
  });
});
