/**
 * Round index: where in the log the blocks above a round begin.
 *
 * The log is in order of acceptance, parents before children. One entry for every so many rounds is enough: a reader
 * skips the few before. An entry is the first block that is at least that many rounds above the entry before, so every
 * block above a round stands at or after the last entry that is not above it.
 *
 * Once the log has dropped what is old, it is enough to know a round such that no block above it was dropped: then what is
 * above that round is still there whole. Below the first entry nothing is known, and nothing is to be answered.
 */
import type { LogPosition } from '../storage/block-log.ts';

/** Rounds between entries; few enough bytes for months of rounds, little to skip. */
const roundsPerEntry = 32;

export class RoundIndex {
  #rounds: number[] = [];
  #positions: LogPosition[] = [];
  #isWhole = true;

  /** A block of this round stands at this position. Called in the order of the log. */
  note(round: number, position: LogPosition): void {
    const last = this.#rounds.at(-1);
    if (last !== undefined && round < last + roundsPerEntry) return;
    this.#rounds.push(round);
    this.#positions.push(position);
  }

  /**
   * The log begins at this position now, or began there when it was opened. `round`: no block above it stands before the
   * position; such as the horizon of the checkpoint that let blocks be dropped.
   */
  dropBefore(position: LogPosition, round: number): void {
    if (position > 0) this.#cut(position, round);
  }

  /** Blocks up to this round may never have been in the log, wherever it begins. */
  lacks(round: number): void {
    if (round > 0) this.#cut(0, round);
  }

  /** A position at or before the first block above `round`; undefined when the log may have dropped blocks above it. */
  positionAfter(round: number): LogPosition | undefined {
    let low = 0;
    let high = this.#rounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#rounds[middle] ?? 0) <= round) low = middle + 1;
      else high = middle;
    }
    return this.#positions[low - 1] ?? (this.#isWhole ? 0 : undefined);
  }

  #cut(position: LogPosition, round: number): void {
    this.#isWhole = false;
    const kept = this.#positions.findIndex((each) => each >= position);
    const dropped = kept === -1 ? this.#positions.length : kept;
    this.#rounds = this.#rounds.slice(dropped);
    this.#positions = this.#positions.slice(dropped);
    if (this.#rounds[0] !== undefined && this.#rounds[0] <= round) return;
    this.#rounds.unshift(round);
    this.#positions.unshift(position);
  }
}
