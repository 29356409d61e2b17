/**
 * Turns: the keepers' part in the change of epochs: whose turn it is by the log is started clean, soon after that is agreed.
 *
 * A keeper knows the turn from the agreed state and does not ask its replica, which may be the adversary's. Where replicas never
 * renew their keys the log gives the turn to the same one for ever; then keepers go by their own clocks, one after another.
 */
import type { EpochStatus } from '../src/replica/machine-options.ts';
import type { Prng } from './prng.ts';
import { placeOf } from './simulated-membership.ts';
import type { World } from './world.ts';

/** From when it is a replica's turn until its keeper has stopped it. */
const waitMsMax = 40;

export interface TurnsOptions {
  readonly world: World;
  readonly prng: Prng;
  /** Is what runs there clean for that epoch? */
  readonly isClean: (place: number, epoch: number) => boolean;
  readonly makeClean: (place: number) => void;
  readonly renewsKeys: boolean;
}

export class Turns {
  readonly #options: TurnsOptions;
  /** What is under way: a place, and the epoch for which it is to be clean. */
  readonly #planned = new Set<string>();
  /** Replicas that were started clean. */
  count = 0;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** What a correct replica says of its epoch; `places` are those of the members. */
  observe({ state }: EpochStatus, places: readonly number[]): void {
    if (state.phase.kind !== 'preparing') return;
    const { isClean, renewsKeys } = this.#options;
    const next = state.membership.epoch + 1;
    const turn = renewsKeys ? state.phase.turn.map(placeOf) : [places[next % places.length] as number];
    for (const place of turn) {
      const plan = `${next} ${place}`;
      if (this.#planned.has(plan) || isClean(place, next)) continue;
      this.#planned.add(plan);
      this.#makeClean(place, next, plan);
    }
  }

  #makeClean(place: number, next: number, plan: string): void {
    const { world, prng, isClean, makeClean, renewsKeys } = this.#options;
    world.after(prng.timeMs(1, waitMsMax), '', () => {
      // Where keys are not renewed nobody says that it is clean, and once is enough.
      if (renewsKeys) this.#planned.delete(plan);
      if (isClean(place, next)) return;
      this.count += 1;
      makeClean(place);
    });
  }
}
