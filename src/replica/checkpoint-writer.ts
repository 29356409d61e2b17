/**
 * Checkpoint writer: puts the checkpoints that a machine takes into the engine, and lets go of what they stand for.
 *
 * In: checkpoints as they are taken and as they become stable. Out: durable engines, a shorter log. One write at a time;
 * who takes another meanwhile waits for it, so that what waits in memory stays bounded however slow the disk is.
 * Safety: the blocks behind a checkpoint are in the log before the checkpoint is in the engine (`carry-out.ts`), and leave
 * the log only when a later one is in the engine and certified.
 */
import type { Digest } from '../crypto/hash.ts';
import type { TakenCheckpoint } from '../execution/checkpoints.ts';
import type { Change, StateEngine } from '../state/engine.ts';
import type { BlockLog, LogPosition } from '../storage/block-log.ts';
import type { StableCheckpoint } from './checkpoint-progress.ts';
import { checkpointNotes, headNote, type StoredCheckpoint } from './engine-notes.ts';
import type { RoundIndex } from './round-index.ts';

export interface CheckpointToWrite extends TakenCheckpoint {
  /** Our last own block, when it is below the checkpoint's horizon. */
  readonly ownBlock: Uint8Array | undefined;
}

export class CheckpointWriter {
  readonly #engine: StateEngine;
  readonly #log: BlockLog;
  readonly #roundIndex: RoundIndex;
  readonly #retainedSizeBytes: number;
  readonly #stored: (digest: Digest) => void;
  readonly #failed: (error: unknown) => void;
  /** Where the log goes on after each checkpoint that may still become stable, oldest first. */
  #positions: { readonly digest: Digest; readonly position: LogPosition; readonly horizon: number }[] = [];
  /** The last write or removal; each begins when the one before has ended. Never rejects. */
  #last: Promise<void> = Promise.resolve();
  /** The engine lacks what the next write takes for granted: nothing is written or dropped any more. */
  #hasFailed = false;

  constructor(options: {
    readonly engine: StateEngine;
    readonly log: BlockLog;
    readonly roundIndex: RoundIndex;
    /** Bytes of the log that are kept for replicas which are a little behind. */
    readonly retainedSizeBytes: number;
    /** What the engine holds to begin with. */
    readonly restored: StoredCheckpoint | undefined;
    readonly stored: (digest: Digest) => void;
    /** A write failed: nothing may be built on the engine any more. */
    readonly failed: (error: unknown) => void;
  }) {
    this.#engine = options.engine;
    this.#log = options.log;
    this.#roundIndex = options.roundIndex;
    this.#retainedSizeBytes = options.retainedSizeBytes;
    const { restored } = options;
    if (restored !== undefined) {
      const { digest, logPosition, checkpoint } = restored;
      this.#positions.push({ digest, position: logPosition, horizon: checkpoint.ordering.horizon });
    }
    this.#stored = options.stored;
    this.#failed = options.failed;
  }

  /** Resolves when the write before this one has ended, and this one is under way. Never rejects. */
  async write(taken: CheckpointToWrite): Promise<void> {
    const { encoded, digest, changes, ownBlock, checkpoint } = taken;
    const { horizon } = checkpoint.ordering;
    const logPosition = this.#roundIndex.positionAfter(horizon) ?? this.#log.begin;
    this.#positions.push({ digest, position: logPosition, horizon });
    const before = this.#last;
    this.#then(async () => {
      await this.#engine.write(inTurn(changes, checkpointNotes({ encoded, logPosition, ownBlock })));
      this.#stored(digest);
    });
    await before;
  }

  /** Notes the head, and drops what is older than the stable checkpoint before this one. */
  stable({ digest, head }: StableCheckpoint): void {
    this.#then(async () => {
      const index = this.#positions.findIndex((each) => each.digest === digest);
      // A later one is in the engine already, and will have a head of its own.
      if (index === this.#positions.length - 1) await this.#engine.write([headNote(head)]);
      const previous = this.#positions[index - 1];
      if (previous === undefined) return;
      this.#positions = this.#positions.slice(index);
      const position = Math.min(previous.position, this.#log.end - this.#retainedSizeBytes);
      if (position <= this.#log.begin) return;
      await this.#log.dropBefore(position, previous.horizon);
      this.#roundIndex.dropBefore(position, previous.horizon);
    });
  }

  /** Resolves when all that was begun has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }

  #then(work: () => Promise<void>): void {
    const turn = async (): Promise<void> => {
      if (!this.#hasFailed) await work();
    };
    this.#last = this.#last.then(turn).catch((error: unknown) => {
      this.#hasFailed = true;
      this.#failed(error);
    });
  }
}

/** Changes are encoded as the engine takes them, a slice at a time. */
function* inTurn(...parts: readonly Iterable<Change>[]): Generator<Change> {
  for (const part of parts) yield* part;
}
