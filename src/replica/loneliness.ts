/**
 * Loneliness: when a replica should ask whether the others are in a later epoch (docs/protocol/epochs.md P6).
 *
 * In: how many of the others have a link to it, and the time. Out: ask now or not. Soon when too few are there for anything to be decided;
 * now and then when some are missing: those who are there may be silent, and who is missing may have left with their help.
 */

/** A replica may look for the others so long before it asks where they are. */
const fewMs = 1_500;
/** Between two questions because not all are there. */
const someMs = 5_000;

export class Loneliness {
  #sinceMs: number | undefined;

  isFelt({ isQuorum, isWhole }: { readonly isQuorum: boolean; readonly isWhole: boolean }, nowMs: number): boolean {
    if (isWhole) {
      this.#sinceMs = undefined;
      return false;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs < (isQuorum ? someMs : fewMs)) return false;
    if (isQuorum) this.#sinceMs = nowMs;
    return true;
  }
}
