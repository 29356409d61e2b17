/**
 * Back-off: how long to wait before dialling again, and when trust in the other end is restored.
 *
 * In: outcomes. Out: waiting times that double from the first to the last, each with jitter so that replicas that lost
 * one peer together do not come back together.
 */
import { limits } from '../wire/limits.ts';

/** Ticks a link has to stay up before the next failure starts from the beginning. */
const steadyTicks = 3;

export class BackOff {
  #failures = 0;
  #ticksUp = 0;

  /** The wait after one more failure: half of it sure, half of it random. */
  next(): number {
    const wholeMs = Math.min(limits.redialDelayMsMax, limits.redialDelayMsMin * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#ticksUp = 0;
    return wholeMs / 2 + Math.random() * (wholeMs / 2);
  }

  /** One tick with the link up. */
  tickUp(): void {
    this.#ticksUp += 1;
    if (this.#ticksUp >= steadyTicks) this.#failures = 0;
  }
}
