import { describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { type Change, StateDamage } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { MemoryLog } from '../storage/memory-log.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import { type CheckpointToWrite, CheckpointWriter } from './checkpoint-writer.ts';
import { RoundIndex } from './round-index.ts';

const takenAt = (name: string, changes: Iterable<Change>): CheckpointToWrite => {
  const encoded = Buffer.from(name);
  const checkpoint = { ordering: { horizon: 0 } } as Checkpoint;
  return { checkpoint, encoded, digest: sha256(encoded), changes, ownBlock: undefined };
};
const key = (name: string): Uint8Array => Buffer.from(`\x01${name}`);

describe('a checkpoint writer', () => {
  it('writes nothing on top of a checkpoint that the engine does not hold', async () => {
    const engine = new MemoryEngine();
    const failures: unknown[] = [];
    const stored: string[] = [];
    const writer = new CheckpointWriter({
      engine,
      log: new MemoryLog(),
      roundIndex: new RoundIndex(),
      retainedSizeBytes: 0,
      restored: undefined,
      stored: (digest) => stored.push(digest),
      failed: (error) => failures.push(error),
    });
    const damage = new StateDamage('a node is gone');
    const damaged = {
      // biome-ignore lint/correctness/useYield: what is to be written cannot be read.
      *[Symbol.iterator](): Generator<Change> {
        throw damage;
      },
    };
    void writer.write(takenAt('first', damaged));
    void writer.write(takenAt('second', [{ key: key('second'), value: Buffer.from('2') }]));
    await writer.idle();
    expect(failures).toEqual([damage]);
    expect(stored).toEqual([]);
    expect(engine.get(key('second'))).toBeUndefined();
  });
});
