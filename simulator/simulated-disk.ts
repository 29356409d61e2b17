/**
 * Simulated disk: a home and the memory engine with the time a sync takes, bits that flip, and crashes that keep any part of
 * what of the log was not yet synced, and nothing of a write to the engine that was under way.
 */
import type { Membership } from '../src/membership/membership.ts';
import { beginsFrom } from '../src/membership/restored.ts';
import { isTransferring, readStored, type StoredCheckpoint } from '../src/replica/engine-notes.ts';
import { StateDamage, type StateView } from '../src/state/engine.ts';
import { checkLeaves, openLog } from '../src/state/log-leaves.ts';
import { verifyTree } from '../src/state/verify-state.ts';
import type { MemoryLog } from '../src/storage/memory-log.ts';
import type { Checkpoint } from '../src/wire/checkpoint.ts';
import { forgedState } from './forged-state.ts';
import type { Prng } from './prng.ts';
import { RottingEngine } from './rotting-engine.ts';
import type { SessionSecrets } from './session-secrets.ts';
import { SimulatedHome } from './simulated-home.ts';
import type { World } from './world.ts';

export interface DiskConditions {
  readonly syncMsMin: number;
  readonly syncMsMax: number;
}

export class SimulatedDisk {
  readonly home: SimulatedHome;
  readonly #prng: Prng;
  readonly #sync: () => Promise<void>;
  #syncs = 0;
  #engine: RottingEngine;
  /** It was made clean: what the state is may be anybody's doing, until the service vouches for it. */
  #isProofNeeded = false;

  constructor(options: {
    readonly world: World;
    readonly prng: Prng;
    readonly conditions: DiskConditions;
    readonly membership: Membership;
    readonly secrets: SessionSecrets;
  }) {
    const { world, prng, membership, secrets } = options;
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
    this.home = new SimulatedHome({ sync: this.#sync, prng, membership, secrets });
    this.#engine = new RottingEngine({ sync: this.#sync });
  }

  /** Of the epoch that the home is in. */
  get log(): MemoryLog {
    return this.home.present.log;
  }

  get engine(): RottingEngine {
    return this.#engine;
  }

  /** Nothing is being written. */
  get isIdle(): boolean {
    return this.#syncs === 0;
  }

  /** Why a life is not to begin from the state here; undefined when it is, all of it verified; as in `replica/lives.ts`. */
  lack(isSigned: (stored: StoredCheckpoint) => boolean): string | undefined {
    const { engine } = this;
    const { begin, droppedRound } = this.log;
    const { epoch } = this.home.membership;
    try {
      const stored = readStored(engine);
      // Later epochs go on from a checkpoint: replayed from nothing, their blocks would make another state.
      const hasAllBlocks = begin === 0 && droppedRound === 0 && epoch === 0;
      if (stored === undefined) return isTransferring(engine) || !hasAllBlocks ? 'it was not whole' : undefined;
      // That of another epoch is of another DAG.
      const horizon = stored.checkpoint.epoch === epoch ? stored.checkpoint.ordering.horizon : 0;
      // An older copy of the state was put back: what came between is not to be had from the log.
      if (stored.checkpoint.epoch !== epoch && !beginsFrom(this.home.membership, stored.digest))
        return 'it is of an earlier epoch';
      if (this.#isProofNeeded && !isSigned(stored)) return 'the service has not signed it';
      if (droppedRound > horizon) return 'it is older than the log';
      verifyState(engine, stored.checkpoint);
      this.#isProofNeeded = false;
      return undefined;
    } catch (error) {
      if (error instanceof StateDamage) return error.message;
      throw error;
    }
  }

  /** The power goes: what was synced stays, of the rest what the disk happened to have written. */
  crash(): void {
    this.home.crash();
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

  /** What the process could have written is gone, but for the state: that is yet to be held against what the service has signed. */
  makeClean(): void {
    this.home.makeClean();
    this.#isProofNeeded = true;
  }

  /** All of the state came from the others, who showed that the service has signed it. */
  fetched(): void {
    this.#isProofNeeded = false;
  }

  /** Whoever has the disk in his hands makes another state of the one here. */
  forgeState(): boolean {
    const changes = forgedState(this.#engine, this.#prng);
    if (changes === undefined) return false;
    this.#engine = this.#engine.overwritten(changes, this.#sync);
    return true;
  }

  /** The disk is replaced by an empty one; the keys of this epoch come from a copy. */
  lose(): void {
    this.home.lose();
    this.loseState();
    this.home.serviceKey = undefined;
  }
}

/** Throws `StateDamage` when the engine holds anything but this checkpoint. */
export function verifyState(engine: StateView, checkpoint: Checkpoint): void {
  for (const table of ['system', 'service'] as const) for (const _ of verifyTree(engine, table, checkpoint[table]));
  for (const { damaged } of checkLeaves(engine, openLog(engine, checkpoint))) {
    if (damaged !== undefined) throw new StateDamage(`Chunk ${damaged} of the leaves of the log is damaged.`);
  }
}
