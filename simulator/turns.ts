/**
 * Turns: the keepers' part in the change of epochs: whose turn it is by the log is started clean, soon after that is agreed.
 *
 * A keeper knows the turn from the agreed state and does not ask its replica, which may be the adversary's.
 */
import type { Membership } from '../src/membership/membership.ts';
import type { EpochStatus } from '../src/replica/machine-options.ts';
import type { Prng } from './prng.ts';
import { placeOf } from './simulated-membership.ts';
import type { World } from './world.ts';

/** From when it is a replica's turn until its keeper has stopped it. */
const waitMsMax = 40;
/** A keeper lets a replica that was made clean find its way before it does so again. */
const restMs = 400;

/** Changes of epoch after which everybody has had a turn. */
export function roundsOfTurns({ n, k }: { readonly n: number; readonly k: number }): number {
  return Math.ceil(n / Math.max(1, k));
}

export interface TurnsOptions {
  readonly world: World;
  readonly prng: Prng;
  readonly hasKeeper: (place: number) => boolean;
  /** Is what runs there clean for that epoch? */
  readonly isClean: (place: number, epoch: number) => boolean;
  /** To be clean in this epoch. */
  readonly makeClean: (place: number, epoch: number) => void;
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

  /** Places of the members, those first who are to be made clean first (docs/protocol/epochs.md §6). */
  order({ epoch, members, rule }: Membership): readonly number[] {
    const places = members.map(({ replicaId }) => placeOf(replicaId));
    const first = (epoch * Math.max(1, rule.k)) % places.length;
    return [...places.slice(first), ...places.slice(0, first)];
  }

  /** What a correct replica in this epoch says of it. */
  observe({ state }: EpochStatus): void {
    if (state.phase.kind !== 'preparing') return;
    const { isClean, hasKeeper } = this.#options;
    const next = state.membership.epoch + 1;
    for (const place of state.phase.turn.map(placeOf)) {
      const plan = `${next} ${place}`;
      if (!hasKeeper(place) || this.#planned.has(plan) || isClean(place, next)) continue;
      this.#planned.add(plan);
      this.#makeClean(place, next, plan);
    }
  }

  #makeClean(place: number, next: number, plan: string): void {
    const { world, prng, isClean, makeClean } = this.#options;
    world.after(prng.timeMs(1, waitMsMax), '', () => {
      world.after(restMs, '', () => this.#planned.delete(plan));
      if (isClean(place, next)) return;
      this.count += 1;
      makeClean(place, next);
    });
  }
}
