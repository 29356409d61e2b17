/**
 * Life: a machine from the checkpoint in the engine and the log after it, and the loop that drives it, until it has to go
 * back to what others have certified or the replica stops.
 *
 * In: inputs, as the event loop takes them. Out: effects to the world, checkpoints into the engine, stable ones to who
 * serves them. A replica has one life at a time; between two it fetches state (`state-fetch.ts`).
 */
import type { Digest } from '../crypto/hash.ts';
import type { StateEngine } from '../state/engine.ts';
import type { BlockLog } from '../storage/block-log.ts';
import { roundOfEncodedBlock } from '../wire/block.ts';
import type { Ports } from './carry-out.ts';
import { CatchUp } from './catch-up.ts';
import type { StableCheckpoint } from './checkpoint-progress.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';
import { readStored } from './engine-notes.ts';
import { EventLoop, type InputSource } from './event-loop.ts';
import { ReplicaMachine } from './machine.ts';
import type { MachineOptions } from './machine-options.ts';
import { RoundIndex } from './round-index.ts';

/** Bytes of the log replayed at a time. */
const replaySizeBytes = 8 * 1024 * 1024;

export interface LifeOptions {
  readonly machine: Omit<MachineOptions, 'engine' | 'from' | 'retainedLeaves'>;
  readonly engine: StateEngine;
  readonly log: BlockLog;
  readonly retainedSizeBytes: number;
  readonly retainedLeaves: number;
  readonly ports: Pick<Ports, 'send' | 'broadcast' | 'refuse' | 'reply' | 'certified' | 'seal'>;
  /** Tells a replica that is far behind which checkpoint to fetch. */
  readonly offer: (to: number) => void;
  readonly stable: (checkpoint: StableCheckpoint) => void;
  readonly observe: (effects: ReplicaEffects) => void;
  readonly pressure: (source: InputSource, isHigh: boolean) => void;
  /** The log could not be read for another replica. */
  readonly catchUpFailed: (error: unknown) => void;
  /** It ended by itself: the world failed, or there is a bug, or the state is damaged. Called once at most. */
  readonly failed: (error: unknown) => void;
  /** Told now and then while the log is replayed. */
  readonly onReplay: ((progress: { readonly blocks: number; readonly commitIndex: number }) => void) | undefined;
}

export class Life {
  readonly machine: ReplicaMachine;
  readonly #log: BlockLog;
  readonly #roundIndex = new RoundIndex();
  readonly #writer: CheckpointWriter;
  readonly #loop: EventLoop;
  #isReplaying = true;

  private constructor(options: LifeOptions) {
    const { engine, log, ports } = options;
    const stored = readStored(engine);
    this.machine = new ReplicaMachine({
      ...options.machine,
      engine,
      from: stored,
      retainedLeaves: options.retainedLeaves,
    });
    this.#log = log;
    const roundIndex = this.#roundIndex;
    this.#writer = new CheckpointWriter({
      engine,
      log,
      roundIndex,
      retainedSizeBytes: options.retainedSizeBytes,
      restored: stored,
      stored: (digest) => this.#stored(digest),
      failed: options.failed,
    });
    const catchUp = new CatchUp({
      log,
      roundIndex,
      send: ports.send,
      offer: options.offer,
      failed: options.catchUpFailed,
    });
    this.#loop = new EventLoop({
      machine: this.machine,
      ports: {
        ...ports,
        log,
        roundIndex,
        serve: (to, afterRound) => void catchUp.serve(to, afterRound),
        checkpoint: (taken) => this.#writer.write(taken),
        stable: (checkpoint) => {
          this.#writer.stable(checkpoint);
          options.stable(checkpoint);
        },
      },
      observe: options.observe,
      onFatal: options.failed,
      onPressure: options.pressure,
    });
  }

  /** Rejects with `StateDamage` when the engine does not hold what it should, with a `StorageError` when the log does not. */
  static async begin(options: LifeOptions): Promise<Life> {
    const life = new Life(options);
    const stored = readStored(options.engine);
    // A log that was lost and begun anew is shorter than the checkpoint remembers.
    const position = Math.min(stored?.logPosition ?? 0, options.log.end);
    if (stored !== undefined) life.#roundIndex.dropBefore(position, stored.checkpoint.ordering.horizon);
    await life.#replay(position, options.onReplay);
    return life;
  }

  push(input: ReplicaInput): void {
    this.#loop.push(input);
  }

  /** Lets what is under way finish and makes everything accepted durable; `isSudden`: says nothing more at all. */
  async end({ isSudden }: { readonly isSudden: boolean }): Promise<void> {
    await (isSudden ? this.#loop.abandon() : this.#loop.stop());
    await this.#writer.idle();
  }

  async #replay(from: number, onReplay: LifeOptions['onReplay']): Promise<void> {
    let blocks = 0;
    for (let position = from; ; ) {
      const records = await this.#log.read(position, replaySizeBytes);
      if (records.length === 0) break;
      for (const record of records) {
        this.#roundIndex.note(roundOfEncodedBlock(record.bytes), record.position);
        for (const taken of this.machine.restore([record.bytes])) await this.#writer.write(taken);
      }
      blocks += records.length;
      onReplay?.({ blocks, commitIndex: this.machine.commitIndex });
      position = (records.at(-1)?.position ?? 0) + 1;
    }
    this.#isReplaying = false;
  }

  #stored(digest: Digest): void {
    if (this.#isReplaying) this.machine.checkpointStored(digest);
    else this.#loop.push({ kind: 'checkpoint-stored', digest });
  }
}
