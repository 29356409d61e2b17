/**
 * Turns: the keepers' part in the change of epochs: whose turn it is by the log is started clean, soon after that is agreed.
 *
 * A keeper knows the turn from the agreed state and does not ask its replica, which may be the adversary's. Where replicas never
 * renew their keys the log gives the turn to the same one for ever; then keepers go by their own clocks, one after another.
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

  /** Places of the members, those first who are to be made clean first. */
  order({ epoch, members }: Membership): readonly number[] {
    const places = members.map(({ replicaId }) => placeOf(replicaId));
    const first = (epoch + 1) % places.length;
    if (!this.#options.renewsKeys) return [...places.slice(first), ...places.slice(0, first)];
    const since = new Map(members.map(({ replicaId, cleanSince }) => [placeOf(replicaId), cleanSince.epoch]));
    return places.toSorted((a, b) => (since.get(a) ?? 0) - (since.get(b) ?? 0));
  }

  /** What a correct replica in this epoch says of it. */
  observe({ state }: EpochStatus, membership: Membership): void {
    if (state.phase.kind !== 'preparing') return;
    const { isClean, renewsKeys } = this.#options;
    const next = state.membership.epoch + 1;
    const turn = renewsKeys ? state.phase.turn.map(placeOf) : this.order(membership).slice(0, 1);
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
      if (renewsKeys) world.after(restMs, '', () => this.#planned.delete(plan));
      if (isClean(place, next)) return;
      this.count += 1;
      makeClean(place);
    });
  }
}
