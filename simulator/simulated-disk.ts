/**
 * Simulated disk: the memory log and the memory engine with the time a sync takes, and crashes that keep any part of what of the log
 * was not yet synced, and nothing of a write to the engine that was under way.
 */
import { MemoryEngine } from '../src/state/memory-engine.ts';
import { MemoryLog } from '../src/storage/memory-log.ts';
import type { Prng } from './prng.ts';
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
  #log: MemoryLog;
  #engine: MemoryEngine;
  /** The key share that a replica has sealed here. */
  sealedShare: bigint | undefined;

  constructor(options: { readonly world: World; readonly prng: Prng; readonly conditions: DiskConditions }) {
    const { world, prng } = options;
    const { syncMsMin, syncMsMax } = options.conditions;
    this.#prng = prng;
    this.#sync = () =>
      new Promise((resolve) => {
        world.after(prng.timeMs(syncMsMin, syncMsMax), '', resolve);
      });
    this.#log = new MemoryLog({ sync: this.#sync });
    this.#engine = new MemoryEngine({ sync: this.#sync });
  }

  get log(): MemoryLog {
    return this.#log;
  }

  get engine(): MemoryEngine {
    return this.#engine;
  }

  /** The power goes: what was synced stays, of the rest what the disk happened to have written. */
  crash(): void {
    const keepUnsynced = this.#prng.pick([false, true, this.#prng.below(unsyncedRecords)]);
    this.#log = this.#log.crash({ keepUnsynced });
    this.#engine = new MemoryEngine({ sync: this.#sync, after: this.#engine });
  }

  /** The state is gone, and nothing else. */
  loseState(): void {
    this.#engine = new MemoryEngine({ sync: this.#sync });
  }

  /** The disk is replaced by an empty one. */
  lose(): void {
    this.#log = new MemoryLog({ sync: this.#sync });
    this.loseState();
    this.sealedShare = undefined;
  }
}
