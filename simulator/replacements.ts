/**
 * Replacements: administrators hear of a replica whose keys are in dispute, or no more its own, and put another one in its place.
 *
 * In: places of such replicas, as often as they are seen. Out: one decision an epoch, until the replica is gone.
 */
import type { Administration } from './administration.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

/** Until people have seen an alarm and done something about it. */
const noticeMsMax = 100;

export class Replacements {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #spares: number[];
  readonly #administration: Administration;
  readonly #standing: () => { readonly places: readonly number[]; readonly epoch: number };
  readonly #by = new Map<number, number>();
  readonly #decided = new Set<string>();

  constructor(options: {
    readonly world: World;
    readonly prng: Prng;
    /** Places of replicas that may be put in place of others. */
    readonly spares: readonly number[];
    readonly administration: Administration;
    readonly standing: () => { readonly places: readonly number[]; readonly epoch: number };
  }) {
    this.#world = options.world;
    this.#prng = options.prng;
    this.#spares = [...options.spares];
    this.#administration = options.administration;
    this.#standing = options.standing;
  }

  /** Who is replaced, and by whom. */
  get by(): ReadonlyMap<number, number> {
    return this.#by;
  }

  have(place: number): void {
    const { epoch, places } = this.#standing();
    const plan = `${epoch} ${place}`;
    const by = this.#by.get(place) ?? this.#spares.shift();
    if (by === undefined || this.#decided.has(plan)) return;
    if (!this.#by.has(place)) this.#world.note(`administrators replace r${place} by r${by}`);
    this.#by.set(place, by);
    this.#decided.add(plan);
    if (!places.includes(place)) return;
    this.#world.after(this.#prng.timeMs(1, noticeMsMax), '', () =>
      this.#administration.decide({ kind: 'replace', place, by }),
    );
  }
}
