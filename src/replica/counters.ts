/**
 * Counters: what a replica saw and refused, by name, and how fast it executes; for status and metrics.
 *
 * Names are bounded: beyond the limit, new ones are counted as `other`, so that no attacker can make up memory.
 */
import { limits } from '../wire/limits.ts';

/** Seconds that the rate looks back. */
const rateWindowSeconds = 5;

export class Counters {
  readonly #counts = new Map<string, number>();
  /** Operations executed by second, for the last few seconds. */
  readonly #bySecond = new Map<number, number>();

  count(event: string, by = 1): void {
    const name = this.#counts.has(event) || this.#counts.size < limits.countersMax ? event : 'other';
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  executed(operations: number, nowMs: number): void {
    if (operations === 0) return;
    const second = Math.floor(nowMs / 1_000);
    this.#bySecond.set(second, (this.#bySecond.get(second) ?? 0) + operations);
    for (const old of this.#bySecond.keys()) if (old < second - rateWindowSeconds) this.#bySecond.delete(old);
  }

  /** Operations executed per second, over the last few full seconds. */
  perSecond(nowMs: number): number {
    const second = Math.floor(nowMs / 1_000);
    let total = 0;
    for (const [each, count] of this.#bySecond) if (each >= second - rateWindowSeconds && each < second) total += count;
    return total / rateWindowSeconds;
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
