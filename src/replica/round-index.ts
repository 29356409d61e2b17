/**
 * Round index: where in the log the blocks above a round begin.
 *
 * The log is in order of acceptance, parents before children. One entry for every so many rounds is enough: a reader
 * skips the few before. An entry is the first block that is at least that many rounds above the entry before, so every
 * block above a round stands at or after the last entry that is not above it.
 */
import type { LogPosition } from '../storage/block-log.ts';

/** Rounds between entries; few enough bytes for months of rounds, little to skip. */
const roundsPerEntry = 32;

export class RoundIndex {
  readonly #rounds: number[] = [];
  readonly #positions: LogPosition[] = [];

  /** A block of this round stands at this position. Called in the order of the log. */
  note(round: number, position: LogPosition): void {
    const last = this.#rounds.at(-1);
    if (last !== undefined && round < last + roundsPerEntry) return;
    this.#rounds.push(round);
    this.#positions.push(position);
  }

  /** A position at or before the first block above `round`. */
  positionAfter(round: number): LogPosition {
    let low = 0;
    let high = this.#rounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#rounds[middle] ?? 0) <= round) low = middle + 1;
      else high = middle;
    }
    return this.#positions[low - 1] ?? 0;
  }
}
