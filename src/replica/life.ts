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
import { readStored, type StoredCheckpoint } from './engine-notes.ts';
import { EventLoop, type InputSource } from './event-loop.ts';
import { horizonIn } from './log-scan.ts';
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
  readonly #observer: boolean;
  readonly #epoch: number;
  readonly #failed: (error: unknown) => void;
  #isReplaying = true;
  /** What ended it before it had begun. */
  #failure: { readonly error: unknown } | undefined;

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
    this.#observer = options.machine.observer === true;
    this.#epoch = options.machine.membership.epoch;
    this.#failed = options.failed;
    const roundIndex = this.#roundIndex;
    this.#writer = new CheckpointWriter({
      engine,
      log,
      roundIndex,
      retainedSizeBytes: options.retainedSizeBytes,
      // Where it says that the log goes on, an observer's log may be in the middle: that was begun anew.
      restored: stored === undefined || this.#isInLog(stored) ? stored : { ...stored, logPosition: log.begin },
      stored: (digest) => this.#stored(digest),
      failed: (error) => this.#writeFailed(error),
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
    try {
      await life.#replay(stored, options.onReplay);
      if (life.#failure !== undefined) throw life.#failure.error;
    } catch (error) {
      // What comes now is not to meet a write of ours in the engine.
      await life.#writer.idle();
      throw error;
    }
    life.#isReplaying = false;
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

  /** An observer's log was begun anew, and so is that of each epoch: the position is one in another log. */
  #isInLog({ checkpoint }: StoredCheckpoint): boolean {
    return !this.#observer && checkpoint.epoch === this.#epoch;
  }

  async #replay(stored: StoredCheckpoint | undefined, onReplay: LifeOptions['onReplay']): Promise<void> {
    let blocks = 0;
    const log = this.#log;
    const horizon = horizonIn(this.#epoch, stored?.checkpoint);
    // An observer's log was begun anew: where the checkpoint says it goes on was in another one.
    if (this.#observer && log.droppedRound === 0) await log.dropBefore(log.begin, horizon);
    const begin = stored === undefined || !this.#isInLog(stored) ? log.begin : stored.logPosition;
    if (begin === 0) this.#roundIndex.lacks(log.droppedRound);
    else this.#roundIndex.dropBefore(begin, Math.max(horizon, log.droppedRound));
    for (let position = begin; this.#failure === undefined; ) {
      const records = await log.read(position, replaySizeBytes);
      if (records.length === 0) break;
      for (const record of records) {
        this.#roundIndex.note(roundOfEncodedBlock(record.bytes), record.position);
        for (const taken of this.machine.restore([record.bytes])) await this.#writer.write(taken);
      }
      blocks += records.length;
      onReplay?.({ blocks, commitIndex: this.machine.commitIndex });
      position = (records.at(-1)?.position ?? 0) + 1;
    }
  }

  #writeFailed(error: unknown): void {
    if (this.#isReplaying) this.#failure ??= { error };
    // Not before whoever begins this life has it.
    else setImmediate(() => this.#failed(error));
  }

  #stored(digest: Digest): void {
    if (this.#isReplaying) this.machine.checkpointStored(digest);
    else this.#loop.push({ kind: 'checkpoint-stored', digest });
  }
}
