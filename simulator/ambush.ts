/**
 * Ambush: replicas die, or are cut off, in the middle of just what this is about: around a checkpoint, at the change of an epoch, or
 * while one fetches state.
 */
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

/** How likely each such moment is to be the last. */
export interface Ambushes {
  /** All correct replicas die, each before one of the next things it does, when one takes a checkpoint. */
  readonly checkpoint: number;
  /** A replica dies, or all do, where it is asked for its next keys or goes into the next epoch. */
  readonly change: number;
  /** A replica that begins to fetch state dies, or is cut off for a while. */
  readonly fetch: number;
}

/** One moment at which a replica dies: before the so-many-th effect or write after the so-many-th occasion, counted over all correct replicas. */
export interface ChosenDeath {
  readonly after: keyof Ambushes;
  readonly occasion: number;
  readonly moment: number;
}

export interface AmbushPorts {
  /** Dies before the `count`-th effect or write from now; told when it did. */
  readonly crashAfterEffects: (replica: number, count: number, died: () => void) => void;
  readonly start: (replica: number) => void;
  readonly cutOff: (replica: number) => void;
  readonly mend: (replica: number) => void;
}

const momentsMax = { checkpoint: 12, change: 12, fetch: 60 } as const;
const downMsMax = 300;
const cutOffMsMax = 1_500;

export class Ambush {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #ambushes: Ambushes;
  readonly #ports: AmbushPorts;
  readonly #correct: ReadonlySet<number>;
  readonly #death: ChosenDeath | undefined;
  #occasions = 0;
  #isOver = false;

  constructor(options: {
    readonly world: World;
    readonly prng: Prng;
    readonly ambushes: Ambushes;
    readonly death: ChosenDeath | undefined;
    readonly correct: ReadonlySet<number>;
    readonly ports: AmbushPorts;
  }) {
    this.#world = options.world;
    this.#prng = options.prng;
    this.#ambushes = options.ambushes;
    this.#death = options.death;
    this.#correct = options.correct;
    this.#ports = options.ports;
  }

  /** From now on nobody dies of it. */
  end(): void {
    this.#isOver = true;
  }

  /** A correct replica is about to write a checkpoint, or to drop what one stands for. */
  atCheckpoint(replica: number): void {
    this.#chosen('checkpoint', replica);
    if (this.#isOver || !this.#prng.chance(this.#ambushes.checkpoint)) return;
    for (const each of this.#correct) this.#kill(each, this.#prng.between(1, momentsMax.checkpoint));
  }

  /** It is about to make its next keys, or to leave its epoch. */
  atChange(replica: number): void {
    this.#chosen('change', replica);
    if (this.#isOver || !this.#prng.chance(this.#ambushes.change)) return;
    const dying = this.#prng.chance(0.3) ? [...this.#correct] : [replica];
    for (const each of dying) this.#kill(each, this.#prng.between(1, momentsMax.change));
  }

  atFetch(replica: number): void {
    this.#chosen('fetch', replica);
    if (this.#isOver || !this.#prng.chance(this.#ambushes.fetch)) return;
    if (this.#prng.chance(0.6)) {
      this.#kill(replica, this.#prng.between(1, momentsMax.fetch));
      return;
    }
    this.#world.after(this.#prng.timeMs(1, 20), `r${replica} cut off`, () => {
      if (this.#isOver) return;
      this.#ports.cutOff(replica);
      this.#world.after(this.#prng.timeMs(1, cutOffMsMax), `r${replica} back`, () => this.#ports.mend(replica));
    });
  }

  #chosen(what: keyof Ambushes, replica: number): void {
    if (this.#death?.after !== what) return;
    this.#occasions += 1;
    if (this.#isOver || this.#occasions !== this.#death.occasion) return;
    this.#kill(replica, this.#death.moment);
  }

  #kill(replica: number, count: number): void {
    this.#ports.crashAfterEffects(replica, count, () => {
      this.#world.after(this.#prng.timeMs(1, downMsMax), '', () => {
        if (!this.#isOver) this.#ports.start(replica);
      });
    });
  }
}
