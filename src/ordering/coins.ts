/**
 * Coins: who leads the fallback slot of a period, and our part in finding out (docs/protocol/ordering.md §7).
 *
 * Owns: the signature shares that accepted blocks carry, one for each author and period that is not behind us, and the
 * coins opened with them. In: accepted blocks. Out: leaders, on demand; the shares to put into our next own block.
 * Safety: until the duties have a coin, every leader is that of the genesis coin; from then on, every leader is that of
 * the service key. When that changes is agreed, so the caller must decide anew what it had decided beyond it.
 */
import {
  containsReplica,
  emptySet,
  genesisCoin,
  type Membership,
  type ReplicaSet,
  withReplica,
} from '../membership/membership.ts';
import type { Duty } from '../wire/block.ts';
import { decodeCoinShare, dutyKinds, encodeCoinShare } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';
import type { VerifiedBlock } from './commit.ts';
import type { DutySource } from './duty-source.ts';
import type { Evidence } from './effects.ts';
import { coinRound } from './slots.ts';

interface Period {
  /** By author; the first one that came counts, whatever twins of its block say. */
  readonly shares: Map<number, Uint8Array>;
  /** Nothing came since the coin was last tried in vain. */
  isTried: boolean;
  leader: number | undefined;
}

export class Coins {
  readonly #membership: Membership;
  readonly #duties: DutySource;
  readonly #quorumRound: () => number;
  readonly #periods = new Map<number, Period>();
  /** The lowest period whose coin may still be needed. */
  #lowest = 1;
  /** Our shares of the periods below are in blocks of ours, or needed by nobody. */
  #nextOwn = 1;
  /**
   * Authors of a wrong share, which takes a pairing for each share at hand to find out. Nothing of theirs is taken any more:
   * the correct ones are enough, and f liars cost so much once and not in each period.
   */
  #culprits: ReplicaSet = emptySet;
  #evidence: Evidence[] = [];

  constructor(options: {
    readonly membership: Membership;
    readonly duties: DutySource;
    /** The highest round that a quorum of blocks stands in. */
    readonly quorumRound: () => number;
  }) {
    this.#membership = options.membership;
    this.#duties = options.duties;
    this.#quorumRound = options.quorumRound;
  }

  /** Reads the shares in a block that was accepted, or was once and is back from our log. */
  accepted(block: VerifiedBlock): void {
    let broken: string | undefined;
    for (const { kind, payload } of block.duties) {
      if (kind !== dutyKinds.coinShare) continue;
      const decoded = decodeCoinShare(payload);
      if (!decoded.ok) broken = `coin share: ${decoded.reason}`;
      else if (coinRound(decoded.value.period, this.#membership.parameters) > block.round) {
        broken = 'coin share: before its round';
      } else this.#take(decoded.value.period, block.author, decoded.value.share);
    }
    // One report for a block, however many of its shares are no good.
    if (broken === undefined) return;
    const { author, digest } = block;
    this.#evidence.push({ kind: 'rejection', rule: broken, from: author, author, digest });
  }

  /** An own block: what it carries is not said again. */
  said(block: VerifiedBlock): void {
    for (const { kind, payload } of block.duties) {
      const decoded = kind === dutyKinds.coinShare ? decodeCoinShare(payload) : undefined;
      if (decoded?.ok === true) this.#nextOwn = Math.max(this.#nextOwn, decoded.value.period + 1);
    }
  }

  /**
   * Our shares for an own block of this round, lowest period first. Such a block is made when a quorum of the round below
   * is there; so the votes on the slots of these periods are cast before anybody can know whom they are for.
   */
  toSay(round: number): readonly Duty[] {
    const coin = this.#duties.coin;
    const duties: Duty[] = [];
    for (let period = Math.max(this.#nextOwn, this.#lowest); coin !== undefined; period++) {
      const isEarly = coinRound(period, this.#membership.parameters) > round;
      const share = isEarly || duties.length >= limits.blockCoinSharesMax ? undefined : coin.share(period);
      if (share === undefined) break;
      duties.push({ kind: dutyKinds.coinShare, payload: encodeCoinShare({ period, share }) });
    }
    return duties;
  }

  /** The leader of a period; undefined while its coin is not open. Combines shares when it must, never twice the same. */
  leaderOf(period: number): number | undefined {
    const { coin } = this.#duties;
    const { epochGenesis, rule } = this.#membership;
    if (coin === undefined) return genesisCoin(epochGenesis, period, rule.n);
    const held = this.#periods.get(period);
    if (held === undefined || held.leader !== undefined || held.isTried) return held?.leader;
    if (!this.#isWorthTrying(period, setOf(held.shares.keys()))) return undefined;
    held.isTried = true;
    const shares = [...held.shares].map(([author, share]) => ({ author, share })).sort((a, b) => a.author - b.author);
    const { leader, culprits } = coin.open(period, shares);
    held.leader = leader;
    for (const author of culprits) {
      this.#culprits = withReplica(this.#culprits, author);
      for (const { shares: kept } of this.#periods.values()) kept.delete(author);
      this.#evidence.push({ kind: 'rejection', rule: 'coin share: wrong', from: author, author, digest: undefined });
    }
    return leader;
  }

  /**
   * A quorum's shares are combined without a pairing, which costs more than a round of everything else. So fewer are tried
   * only when the round after that of the shares is there as well: then nobody is likely to add any.
   */
  #isWorthTrying(period: number, authors: ReplicaSet): boolean {
    const { rule, parameters } = this.#membership;
    if (rule.isQuorum(authors)) return true;
    return rule.hasCorrect(authors) && this.#quorumRound() > coinRound(period, parameters);
  }

  /** The sequence is past all fallback slots of lower periods: their coins decide nothing more, here or elsewhere. */
  advance(lowest: number): void {
    if (lowest <= this.#lowest) return;
    this.#lowest = lowest;
    for (const period of this.#periods.keys()) if (period < lowest) this.#periods.delete(period);
  }

  takeEvidence(): readonly Evidence[] {
    const evidence = this.#evidence;
    this.#evidence = [];
    return evidence;
  }

  /** What is held is bounded by the blocks above the horizon: an author has a share for a period only after its round. */
  #take(number: number, author: number, share: Uint8Array): void {
    if (number < this.#lowest || containsReplica(this.#culprits, author)) return;
    let period = this.#periods.get(number);
    if (period === undefined) {
      period = { shares: new Map(), isTried: false, leader: undefined };
      this.#periods.set(number, period);
    }
    if (period.shares.has(author)) return;
    period.shares.set(author, share);
    period.isTried = false;
  }
}

function setOf(authors: Iterable<number>): ReplicaSet {
  let set = emptySet;
  for (const author of authors) set = withReplica(set, author);
  return set;
}
