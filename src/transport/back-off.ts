/**
 * Back-off: how long to wait before dialling again, and when trust in the other end is restored.
 *
 * In: outcomes. Out: waiting times that double from the first to the last, each with jitter so that replicas that lost
 * one peer together do not come back together.
 */
/** Ticks a link has to stay up before the next failure starts from the beginning. */
const steadyTicks = 3;

export class BackOff {
  readonly #delayMsMin: number;
  readonly #delayMsMax: number;
  #failures = 0;
  #ticksUp = 0;

  constructor({ delayMsMin, delayMsMax }: { readonly delayMsMin: number; readonly delayMsMax: number }) {
    this.#delayMsMin = delayMsMin;
    this.#delayMsMax = delayMsMax;
  }

  /** The wait after one more failure: half of it sure, half of it random. */
  next(): number {
    const wholeMs = Math.min(this.#delayMsMax, this.#delayMsMin * 2 ** this.#failures);
    if (wholeMs < this.#delayMsMax) this.#failures += 1;
    this.#ticksUp = 0;
    return wholeMs / 2 + Math.random() * (wholeMs / 2);
  }

  /** One tick with the link up. */
  tickUp(): void {
    this.#ticksUp += 1;
    if (this.#ticksUp >= steadyTicks) this.#failures = 0;
  }
}
