/**
 * Duty source: what the ordering asks of those who act on what it orders: what this replica owes, and the coin.
 *
 * Implemented outside (`replica/duties.ts`), pure like the ordering itself. Each commit is given to it the moment it is
 * decided, before the next one is: from the commit with which enough replicas hold key shares, decisions use its coin
 * (docs/protocol/ordering.md §7).
 */
import type { Duty } from '../wire/block.ts';
import type { Commit } from './commit.ts';

export interface DutySource {
  /** Takes a commit, in order. */
  committed(commit: Commit): void;
  /** What this replica owes by now and no commit holds yet. The ordering puts each into a block, again when that one is lost. */
  readonly owed: readonly Duty[];
  /** Something agreed is open that needs further commits, such as results that no due head covers: work (§3.1). */
  readonly hasWork: boolean;
  /** The last commit it took was the last of this DAG: nothing is decided or proposed any more, and what is here is still served. */
  readonly isClosed: boolean;
  /** Defined from the commit on with which f + 1 correct replicas are sure to hold key shares; then always the same. */
  readonly coin: Coin | undefined;
}

export interface Coin {
  /** Our share of the coin of period w; undefined when we hold no key share or may not sign. */
  share(period: number): Uint8Array | undefined;
  /**
   * The leader of period w from shares by different authors; undefined when too few of them are valid. `culprits` gave a
   * share that is not valid. Called again only with more shares, without the culprits'.
   */
  open(
    period: number,
    shares: readonly { readonly author: number; readonly share: Uint8Array }[],
  ): { readonly leader: number | undefined; readonly culprits: readonly number[] };
}

/** Owes nothing and never has a coin: the genesis coin is used for ever. */
export const noDuties: DutySource = {
  committed: () => {},
  owed: [],
  hasWork: false,
  isClosed: false,
  coin: undefined,
};
