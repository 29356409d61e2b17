/**
 * Network: carries frames between replicas, late, twice, out of order or not at all.
 *
 * Links are directed. A real link is TCP: it delivers or it breaks, and both ends learn that it came up again. So a
 * lost frame is followed some time later by a reset of its link, unless the scenario loses silently until the heal.
 * Safety must hold whatever this file does; progress is demanded only after `heal`.
 */
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

export interface LinkConditions {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** Probability that a frame takes up to ten times as long. */
  readonly slow: number;
  readonly loss: number;
  readonly duplicate: number;
  /** Probability that a frame may overtake those sent before it. */
  readonly overtake: number;
  /** Does a link reset after it lost a frame? */
  readonly resetAfterLoss: boolean;
}

/** What one end of a link proves itself with: whoever has this is that replica, in that epoch. */
export interface LinkEnd {
  readonly epoch: number;
  /** Stands for the private half of a link key. */
  readonly link: string;
}

export interface Passage {
  readonly from: number;
  readonly to: number;
  readonly frame: Uint8Array;
  readonly end: LinkEnd;
  /** What the delay would be without the adversary. */
  readonly delayMs: number;
}

/** An adversary that owns the network: it sees each frame and says when it arrives; undefined: it keeps it back. */
export interface NetworkAdversary {
  readonly name: string;
  schedule(passage: Passage): number | undefined;
  /** Called once with the way to deliver what was kept back, and to do something later. */
  attach(
    deliver: (passage: Passage, delayMs: number) => void,
    later: (delayMs: number, task: () => void) => void,
  ): void;
  /** The safety phase is over: deliver everything kept back and interfere no more, unless it is a lasting adversary. */
  heal(): void;
}

export interface NetworkPorts {
  readonly deliver: (to: number, from: number, frame: Uint8Array, end: LinkEnd) => void;
  readonly connected: (replica: number, peer: number) => void;
}

/** At or below this many milliseconds a lossy link takes to break and to come up again. */
const resetMsMax = 1_500;

export class Network {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #n: number;
  readonly #ports: NetworkPorts;
  readonly #adversary: NetworkAdversary | undefined;
  readonly #cut: boolean[];
  readonly #lastArrivalMs: number[];
  /** Grows when a link breaks: frames of an earlier connection never arrive. */
  readonly #connection: number[];
  readonly #resetting: boolean[];
  #conditions: LinkConditions;

  constructor(options: {
    readonly world: World;
    readonly prng: Prng;
    readonly n: number;
    readonly conditions: LinkConditions;
    readonly ports: NetworkPorts;
    readonly adversary: NetworkAdversary | undefined;
  }) {
    this.#world = options.world;
    this.#prng = options.prng;
    this.#n = options.n;
    this.#conditions = options.conditions;
    this.#ports = options.ports;
    this.#adversary = options.adversary;
    const links = options.n * options.n;
    this.#cut = Array.from({ length: links }, () => false);
    this.#lastArrivalMs = Array.from({ length: links }, () => 0);
    this.#connection = Array.from({ length: links }, () => 0);
    this.#resetting = Array.from({ length: links }, () => false);
    options.adversary?.attach(
      (passage, delayMs) => this.#arrive(passage, delayMs),
      (delayMs, task) => void this.#world.after(delayMs, '', task),
    );
  }

  send(from: number, to: number, frame: Uint8Array, end: LinkEnd): void {
    const link = this.#link(from, to);
    const { delayMsMin, delayMsMax, slow, loss, duplicate } = this.#conditions;
    if (this.#cut[link]) return;
    if (this.#prng.chance(loss)) {
      this.#world.note(`lost ${from}>${to}`);
      if (this.#conditions.resetAfterLoss) this.#reset(from, to);
      return;
    }
    let delayMs = this.#prng.timeMs(delayMsMin, delayMsMax);
    if (this.#prng.chance(slow)) delayMs *= this.#prng.between(2, 10);
    const passage = { from, to, frame, end, delayMs };
    if (this.#prng.chance(duplicate)) this.#arrive(passage, delayMs + this.#prng.timeMs(0, 20 * delayMsMax));
    const scheduledMs = this.#adversary === undefined ? delayMs : this.#adversary.schedule(passage);
    if (scheduledMs !== undefined) this.#arrive(passage, scheduledMs);
  }

  /** Nothing from `from` reaches `to` until the link is mended. */
  cut(from: number, to: number): void {
    const link = this.#link(from, to);
    this.#cut[link] = true;
    this.#connection[link] = (this.#connection[link] as number) + 1;
  }

  /** Cuts a replica off from all others, both ways. */
  isolate(replica: number): void {
    for (let peer = 0; peer < this.#n; peer++) {
      this.cut(replica, peer);
      this.cut(peer, replica);
    }
  }

  /** Mends all links of a replica. */
  readmit(replica: number): void {
    for (let peer = 0; peer < this.#n; peer++) {
      if (peer === replica) continue;
      this.mend(replica, peer);
      this.mend(peer, replica);
    }
  }

  mend(from: number, to: number): void {
    const link = this.#link(from, to);
    if (!this.#cut[link]) return;
    this.#cut[link] = false;
    this.#connected(from, to);
  }

  /** Can the one reach the other now? */
  isOpen(from: number, to: number): boolean {
    return !this.#cut[this.#link(from, to)];
  }

  /** Breaks all links of a replica at once, as its crash does. What was on the way is lost. */
  breakLinks(replica: number): void {
    for (let peer = 0; peer < this.#n; peer++) {
      for (const link of [this.#link(replica, peer), this.#link(peer, replica)]) {
        this.#connection[link] = (this.#connection[link] as number) + 1;
      }
    }
  }

  /** The links of a replica that is back come up. */
  raiseLinks(replica: number): void {
    for (let peer = 0; peer < this.#n; peer++) if (peer !== replica) this.#connected(replica, peer);
  }

  /** From now on: no cuts, no loss, every link up again. */
  heal(conditions: LinkConditions): void {
    this.#conditions = conditions;
    this.#cut.fill(false);
    this.#adversary?.heal();
    for (let a = 0; a < this.#n; a++) for (let b = a + 1; b < this.#n; b++) this.#connected(a, b);
  }

  #connected(a: number, b: number): void {
    this.#world.after(this.#prng.timeMs(1, 20), `link ${a}-${b} up`, () => {
      if (!this.#cut[this.#link(a, b)]) this.#ports.connected(a, b);
      if (!this.#cut[this.#link(b, a)]) this.#ports.connected(b, a);
    });
  }

  #reset(from: number, to: number): void {
    const link = this.#link(from, to);
    if (this.#resetting[link]) return;
    this.#resetting[link] = true;
    this.#world.after(this.#prng.timeMs(1, resetMsMax), `link ${from}>${to} resets`, () => {
      this.#resetting[link] = false;
      this.#connection[link] = (this.#connection[link] as number) + 1;
      this.#connected(from, to);
    });
  }

  #arrive(passage: Passage, delayMs: number): void {
    const { from, to, frame, end } = passage;
    const link = this.#link(from, to);
    let arrivalMs = this.#world.nowMs + delayMs;
    if (!this.#prng.chance(this.#conditions.overtake)) {
      arrivalMs = Math.max(arrivalMs, this.#lastArrivalMs[link] as number);
      this.#lastArrivalMs[link] = arrivalMs;
    }
    const connection = this.#connection[link];
    this.#world.after(arrivalMs - this.#world.nowMs, '', () => {
      if (this.#connection[link] === connection) this.#ports.deliver(to, from, frame, end);
    });
  }

  #link(from: number, to: number): number {
    return from * this.#n + to;
  }
}
