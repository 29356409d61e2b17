/**
 * Head wishes: what this replica owes others so that heads are due where somebody waits for one (docs/protocol/certification.md §2).
 *
 * In: that somebody waits; that results are there which no due head covers; commits. Out: duties that are owed until a commit holds
 * them, and whether rounds are to be made for the results' sake alone. Pure.
 */
import type { Commit } from '../ordering/commit.ts';
import type { Duty } from '../wire/block.ts';
import { decodeHeadWish, dutyKinds, encodeHeadWish } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';

export class HeadWishes {
  readonly #self: number;
  /** Said in no commit yet. */
  #owed: readonly Duty[] = [];
  #last = 0;
  #isWished = false;
  /** Since when there are results that no due head covers, and whether that is long enough to make rounds for them alone. */
  #uncertifiedSinceMs: number | undefined;
  #isOverdue = false;

  constructor(self: number) {
    this.#self = self;
  }

  get owed(): readonly Duty[] {
    return this.#owed;
  }

  get isOverdue(): boolean {
    return this.#isOverdue;
  }

  /** When to look whether results without a due head are work by now; undefined when there are none, or they are. */
  get overdueAtMs(): number | undefined {
    if (this.#uncertifiedSinceMs === undefined || this.#isOverdue) return undefined;
    return this.#uncertifiedSinceMs + limits.headOverdueMs;
  }

  /** Somebody waits for a head. */
  wish(): void {
    this.#isWished = true;
  }

  /** Puts what was wished since into the next block. `clockMs`: milliseconds since 1970. */
  say(clockMs: number): void {
    if (!this.#isWished) return;
    this.#isWished = false;
    // Above every number of an earlier life, whose blocks may still be in nobody's commit.
    this.#last = Math.max(this.#last + 1, Math.floor(clockMs));
    this.#owed = [...this.#owed, { kind: dutyKinds.headWish, payload: encodeHeadWish(this.#last) }];
  }

  /** Our own are owed until a commit holds them. */
  committed({ blocks }: Commit): void {
    for (const { author, duties } of this.#owed.length === 0 ? [] : blocks) {
      if (author !== this.#self) continue;
      for (const { kind, payload } of duties) {
        const said = kind === dutyKinds.headWish ? decodeHeadWish(payload) : undefined;
        if (said?.ok === true) this.#owed = this.#owed.filter((wish) => !isUpTo(wish, said.value));
      }
    }
  }

  /** Notes since when there are results that no due head covers. */
  watch({ hasUncertified, nowMs }: { readonly hasUncertified: boolean; readonly nowMs: number }): void {
    if (!hasUncertified) this.#uncertifiedSinceMs = undefined;
    else this.#uncertifiedSinceMs ??= nowMs;
    const sinceMs = this.#uncertifiedSinceMs;
    const wasOverdue = this.#isOverdue;
    this.#isOverdue = sinceMs !== undefined && nowMs >= sinceMs + limits.headOverdueMs;
    if (this.#isOverdue && !wasOverdue) this.#isWished = true;
  }
}

function isUpTo({ payload }: Duty, number: number): boolean {
  const wish = decodeHeadWish(payload);
  return wish.ok && wish.value <= number;
}
