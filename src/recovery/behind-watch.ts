/**
 * Behind watch: notices that the others have dropped the blocks which this replica needs next.
 *
 * In: checkpoints that others offer in place of blocks; how far we are. Out: whether to fetch state. One replica may offer because
 * it keeps few blocks, or to make us fetch for nothing; so it takes as many as cannot all be faulty.
 */
import { emptySet, type QuorumRule, withReplica } from '../membership/membership.ts';
import { checkpointDigest } from '../wire/checkpoint.ts';
import { decodeHead } from '../wire/head.ts';
import type { StateMessage } from '../wire/state-message.ts';
import { indexOf, Offers, type OffersOptions } from './offers.ts';

export class BehindWatch {
  readonly #rule: QuorumRule;
  readonly #offers: Offers;
  /** Commit of the newest checkpoint that each offered. */
  readonly #offered = new Map<number, number>();
  /** Whoever made us look at a wrong one: that costs pairings. */
  readonly #liars = new Set<number>();

  constructor(options: Omit<OffersOptions, 'notBelow'> & { readonly rule: QuorumRule }) {
    this.#rule = options.rule;
    this.#offers = new Offers({ ...options, notBelow: 0 });
  }

  /** Takes an offer; the rule that it breaks, if any. Nobody looks at one that is not ahead of us, nor at another one of a liar. */
  take(
    from: number,
    message: Extract<StateMessage, { readonly kind: 'checkpoint-offer' }>,
    commitIndex = 0,
  ): string | undefined {
    if (this.#liars.has(from) || (decodeHead(message.head)?.commitIndex ?? Infinity) <= commitIndex) return undefined;
    const broken = this.#offers.take(from, message, undefined);
    if (broken !== undefined) {
      this.#liars.add(from);
      return broken;
    }
    const { newest } = this.#offers;
    const isHeld = newest !== undefined && this.#offers.holds(from, newest.digest);
    // One that is not the newest is of a checkpoint that was verified as well, and counts for no more than it says.
    if (isHeld && newest.digest === checkpointDigest(message.checkpoint)) this.#offered.set(from, indexOf(newest));
    return undefined;
  }

  isBehind(commitIndex: number): boolean {
    let ahead = emptySet;
    for (const [peer, offered] of this.#offered) if (offered > commitIndex) ahead = withReplica(ahead, peer);
    return this.#rule.hasCorrect(ahead);
  }
}
