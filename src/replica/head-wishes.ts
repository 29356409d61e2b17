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
  readonly #awaitedMsMax: number;
  /** The newest, until a commit holds it. It stands for all before it: there may be one for each step of an outage. */
  #owed: readonly [Duty] | readonly [] = [];
  #last = 0;
  #isWished = false;
  /** Somebody here waits for a proof of what was executed and no due head covers. */
  #isAwaited = false;
  /** Since when there are results that no due head covers, and whether that is long enough to make rounds for them alone. */
  #uncertifiedSinceMs: number | undefined;
  #isOverdue = false;

  constructor({ self, headIntervalMs }: { readonly self: number; readonly headIntervalMs: number }) {
    this.#self = self;
    // Who waits wished for a head that may have been too early by one interval; nobody else's is in a hurry.
    this.#awaitedMsMax = Math.min(headIntervalMs, limits.headOverdueMs);
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
    return this.#uncertifiedSinceMs + this.#patienceMs;
  }

  /** Somebody waits for a head. */
  wish(): void {
    this.#isWished = true;
  }

  /** Somebody waits for a head over what was executed already. */
  await(): void {
    this.#isAwaited = true;
  }

  /** A head is due: it covers all that was executed so far. */
  due(): void {
    this.#isAwaited = false;
    this.#uncertifiedSinceMs = undefined;
  }

  /** Puts what was wished since into the next block. `clockMs`: milliseconds since 1970. */
  say(clockMs: number): void {
    if (!this.#isWished) return;
    this.#isWished = false;
    // Above every number of an earlier life, whose blocks may still be in nobody's commit.
    this.#last = Math.max(this.#last + 1, Math.floor(clockMs));
    this.#owed = [{ kind: dutyKinds.headWish, payload: encodeHeadWish(this.#last) }];
  }

  /** Ours is owed until a commit holds it. */
  committed({ blocks }: Commit): void {
    for (const { author, duties } of this.#owed.length === 0 ? [] : blocks) {
      if (author !== this.#self) continue;
      for (const { kind, payload } of duties) {
        const said = kind === dutyKinds.headWish ? decodeHeadWish(payload) : undefined;
        if (said?.ok === true && said.value >= this.#last) this.#owed = [];
      }
    }
  }

  /** Notes since when there are results that no due head covers; when that is too long, wishes until one is due. */
  watch({ hasUncertified, nowMs }: { readonly hasUncertified: boolean; readonly nowMs: number }): void {
    if (!hasUncertified) this.#uncertifiedSinceMs = undefined;
    else this.#uncertifiedSinceMs ??= nowMs;
    this.#isOverdue = this.#uncertifiedSinceMs !== undefined && nowMs >= this.#uncertifiedSinceMs + this.#patienceMs;
    // A wish that a commit held before its time made nothing due, and is owed no more.
    if (this.#isOverdue && this.#owed.length === 0) this.#isWished = true;
  }

  get #patienceMs(): number {
    return this.#isAwaited ? this.#awaitedMsMax : limits.headOverdueMs;
  }
}
