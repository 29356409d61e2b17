/** A life begins with what the engine and the log hold, or not at all. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Change, StateDamage } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { MemoryLog } from '../storage/memory-log.ts';
import { readStored } from './engine-notes.ts';
import { Life, type LifeOptions } from './life.ts';
import { machineOptions, pastBlocks, silentPorts } from './testing/past.ts';

let blocks: readonly Uint8Array[];
beforeAll(() => {
  blocks = pastBlocks();
});

async function logOf(records: readonly Uint8Array[]): Promise<MemoryLog> {
  const log = new MemoryLog();
  await log.append(records);
  return log;
}

function begin(options: Pick<LifeOptions, 'engine' | 'log'> & Partial<LifeOptions>): Promise<Life> {
  return Life.begin({
    machine: machineOptions(),
    retainedSizeBytes: 0,
    retainedLeaves: 1_024,
    ports: silentPorts,
    offer: () => {},
    stable: () => {},
    observe: () => {},
    pressure: () => {},
    catchUpFailed: () => {},
    failed: () => {},
    onReplay: undefined,
    ...options,
  });
}

/** Holds a checkpoint that was taken while the blocks were replayed. */
async function engineWithCheckpoint(): Promise<MemoryEngine> {
  const engine = new MemoryEngine();
  const life = await begin({ engine, log: await logOf(blocks) });
  await life.end({ isSudden: true });
  expect(readStored(engine)?.logPosition).toBeGreaterThan(0);
  return engine;
}

describe('a life', () => {
  it('does not begin when a checkpoint that is taken meanwhile cannot be written', async () => {
    const damage = new StateDamage('a node is gone');
    class FailingEngine extends MemoryEngine {
      writes = 0;
      override write(changes: Iterable<Change>): Promise<void> {
        this.writes += 1;
        return this.writes === 1 ? Promise.reject(damage) : super.write(changes);
      }
    }
    const engine = new FailingEngine();
    const failures: unknown[] = [];
    const life = begin({ engine, log: await logOf(blocks), failed: (error) => failures.push(error) });
    await expect(life).rejects.toBe(damage);
    expect(engine.writes).toBe(1);
    expect(failures).toEqual([]);
  });

  it('takes all that is in a log that was begun anew, wherever the checkpoint says that the old one goes on', async () => {
    const engine = await engineWithCheckpoint();
    const { logPosition = 0, checkpoint } = readStored(engine) ?? {};
    const horizon = checkpoint?.ordering.horizon ?? 0;
    const log = await logOf(blocks.slice(-Math.floor(blocks.length / 2)));
    expect(log.end).toBeGreaterThan(logPosition / 2);
    let replayed = 0;
    const onReplay = (progress: { readonly blocks: number }): void => {
      replayed = progress.blocks;
    };
    const life = await begin({ engine, log, machine: machineOptions({ observer: true }), onReplay });
    await life.end({ isSudden: true });
    expect(replayed).toBe(Math.floor(blocks.length / 2));
    // It never had the blocks that the checkpoint stands for.
    expect(log.droppedRound).toBe(horizon);
  });
});
