/**
 * Clock: a replica's idea of the time, which may be wrong by any amount, drift, and jump both ways.
 *
 * Nothing the replicas agree on may depend on it but the timestamps inside blocks, of which the commit rule takes medians.
 */

/** What virtual time 0 is on a right clock: milliseconds since 1970. */
export const simulationStartMs = 1_700_000_000_000;

export class Clock {
  #offsetMs = 0;
  /** Local milliseconds per true millisecond. */
  readonly #rate: number;

  constructor(options: { readonly offsetMs: number; readonly rate: number }) {
    this.#offsetMs = options.offsetMs;
    this.#rate = options.rate;
  }

  /** Whole milliseconds since 1970 as this replica reads them at a virtual time. */
  read(virtualMs: number): number {
    return Math.max(0, Math.floor(simulationStartMs + virtualMs * this.#rate + this.#offsetMs));
  }

  /** Milliseconds since this replica's machine was switched on: they may be too long or too short, and never go back. */
  monotonic(virtualMs: number): number {
    return virtualMs * this.#rate;
  }

  /** Someone, or a time service, sets the clock by this much. */
  jump(byMs: number): void {
    this.#offsetMs += byMs;
  }

  /** The clock tells the right time again. */
  correct(virtualMs: number): void {
    this.#offsetMs = virtualMs - virtualMs * this.#rate;
  }
}
