/**
 * Latency: how long an answer usually takes, and so after how long it is worth asking another replica as well.
 *
 * In: times from the first copy sent to the result accepted, slow ones included: were they left out, a cluster that got
 * slower would be asked twice for ever. Out: the patience before the next copy.
 * Source: the smoothed mean and deviation of RFC 6298 §2.
 */
const firstPatienceMs = 250;
const patienceMsMin = 30;
const patienceMsMax = 2_000;
/** Mean and two deviations is about the 95th of a hundred; four times that is no longer chance. */
const deviations = 2;
const factor = 4;

export class Latency {
  #meanMs: number | undefined;
  #deviationMs = 0;

  observe(sampleMs: number): void {
    const boundedMs = Math.min(sampleMs, patienceMsMax);
    if (this.#meanMs === undefined) {
      this.#meanMs = boundedMs;
      this.#deviationMs = boundedMs / 2;
      return;
    }
    this.#deviationMs += (Math.abs(boundedMs - this.#meanMs) - this.#deviationMs) / 4;
    // Down faster than up: the first answers of a process that has just begun are slow, and say little about the rest.
    this.#meanMs += (boundedMs - this.#meanMs) / (boundedMs < this.#meanMs ? 4 : 8);
  }

  /** Wait before the next copy of a request of which so many were sent. */
  patienceMs(copiesSent: number): number {
    const usualMs =
      this.#meanMs === undefined
        ? firstPatienceMs
        : Math.max(patienceMsMin, factor * (this.#meanMs + deviations * this.#deviationMs));
    return Math.min(patienceMsMax, usualMs * 2 ** Math.min(copiesSent - 1, 10));
  }
}
