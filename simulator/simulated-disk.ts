/**
 * Simulated disk: the memory log and the memory engine with the time a sync takes, bits that flip, and crashes that keep any part of
 * what of the log was not yet synced, and nothing of a write to the engine that was under way.
 */
import { isTransferring, readStored } from '../src/replica/engine-notes.ts';
import { StateDamage, type StateView } from '../src/state/engine.ts';
import { checkLeaves, openLog } from '../src/state/log-leaves.ts';
import { verifyTree } from '../src/state/verify-state.ts';
import { MemoryLog } from '../src/storage/memory-log.ts';
import type { Checkpoint } from '../src/wire/checkpoint.ts';
import type { Prng } from './prng.ts';
import { RottingEngine } from './rotting-engine.ts';
import type { World } from './world.ts';

export interface DiskConditions {
  readonly syncMsMin: number;
  readonly syncMsMax: number;
}

/** More records than wait for one sync, as a rule: a crash may keep none, some or all of them. */
const unsyncedRecords = 12;

export class SimulatedDisk {
  readonly #prng: Prng;
  readonly #sync: () => Promise<void>;
  #syncs = 0;
  #log: MemoryLog;
  #engine: RottingEngine;
  /** The key share that a replica has sealed here. */
  sealedShare: bigint | undefined;
  /** As its home keeps it, 192 hex characters. */
  serviceKey: string | undefined;

  constructor(options: { readonly world: World; readonly prng: Prng; readonly conditions: DiskConditions }) {
    const { world, prng } = options;
    const { syncMsMin, syncMsMax } = options.conditions;
    this.#prng = prng;
    this.#sync = () =>
      new Promise((resolve) => {
        this.#syncs += 1;
        world.after(prng.timeMs(syncMsMin, syncMsMax), '', () => {
          this.#syncs -= 1;
          resolve();
        });
      });
    this.#log = new MemoryLog({ sync: this.#sync });
    this.#engine = new RottingEngine({ sync: this.#sync });
  }

  get log(): MemoryLog {
    return this.#log;
  }

  get engine(): RottingEngine {
    return this.#engine;
  }

  /** Nothing is being written. */
  get isIdle(): boolean {
    return this.#syncs === 0;
  }

  /** Why a life is not to begin from the state here; undefined when it is, all of it verified; as in `replica/lives.ts`. */
  lack(): string | undefined {
    const { engine } = this;
    const { begin, droppedRound } = this.#log;
    try {
      const stored = readStored(engine);
      if (stored === undefined) {
        return isTransferring(engine) || begin > 0 || droppedRound > 0 ? 'it was not whole' : undefined;
      }
      // An older copy of the state was put back: what came between is not to be had from the log.
      if (droppedRound > stored.checkpoint.ordering.horizon) return 'it is older than the log';
      verifyState(engine, stored.checkpoint);
      return undefined;
    } catch (error) {
      if (error instanceof StateDamage) return error.message;
      throw error;
    }
  }

  /** The power goes: what was synced stays, of the rest what the disk happened to have written. */
  crash(): void {
    const keepUnsynced = this.#prng.pick([false, true, this.#prng.below(unsyncedRecords)]);
    this.#log = this.#log.crash({ keepUnsynced });
    this.#engine = new RottingEngine({ sync: this.#sync, after: this.#engine });
  }

  /** Bits flip in some records of the state. */
  rotState(): void {
    this.#engine.rot(this.#prng, this.#prng.between(1, 6));
  }

  /** The state is gone, and nothing else. */
  loseState(): void {
    this.#engine = new RottingEngine({ sync: this.#sync });
  }

  /** The disk is replaced by an empty one. */
  lose(): void {
    this.#log = new MemoryLog({ sync: this.#sync });
    this.loseState();
    this.sealedShare = undefined;
    this.serviceKey = undefined;
  }
}

/** Throws `StateDamage` when the engine holds anything but this checkpoint. */
export function verifyState(engine: StateView, checkpoint: Checkpoint): void {
  for (const table of ['system', 'service'] as const) for (const _ of verifyTree(engine, table, checkpoint[table]));
  for (const { damaged } of checkLeaves(engine, openLog(engine, checkpoint))) {
    if (damaged !== undefined) throw new StateDamage(`Chunk ${damaged} of the leaves of the log is damaged.`);
  }
}
