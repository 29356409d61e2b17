/**
 * Coin scheduler: an adversary that owns the network and knows everything but a coin that is not open: all frames, who
 * leads each steady slot, and who leads a fallback slot as soon as enough shares of its coin are on the wire, or from the
 * beginning when that is no secret.
 *
 * It treats steady leaders as the leader scheduler does. Besides, it cuts off the leader of each fallback slot whom it
 * knows in time: what that one makes in the rounds before the votes reaches nobody who has not voted. So everybody blames
 * the slot, it is skipped, and no slot at all is ever committed. Of a coin that opens when the votes are cast it knows
 * nothing in time; it guesses, and is right once in n periods (docs/protocol/ordering.md §7).
 *
 * A block may go without one author of the round before in each round, and without another one in the rounds of a
 * fallback wave. That takes a cluster with room for two: n - 2 replicas must form a quorum, so n is 6 or more.
 */
import type { Membership } from '../../src/membership/membership.ts';
import type { Block } from '../../src/wire/block.ts';
import { decodeCoinShare, dutyKinds } from '../../src/wire/duty.ts';
import { decodePeerMessage } from '../../src/wire/peer-message.ts';
import type { NetworkAdversary, Passage } from '../network.ts';
import { blockIn } from './adversary.ts';
import { leaderScheduler } from './leader-scheduler.ts';

interface SeenShare {
  readonly author: number;
  readonly share: Uint8Array;
}

/** The leader of a period, by what the adversary knows and the shares on the wire so far; undefined when it cannot know. */
export type Predict = (period: number, shares: readonly SeenShare[]) => number | undefined;

/**
 * Longer than any wave takes. Everything arrives in the end, also what this adversary would keep for ever: when somebody
 * had a block of the one it cuts off before it knew whom to cut off, the others cannot go on without it.
 */
const eventuallyMsStandard = 2_000;

/** The rounds of a fallback wave before its certificates: c to c + 3. */
const cutOffRounds = 4;

interface Kept {
  readonly passage: Passage;
  readonly author: number;
  readonly round: number;
}

export function coinScheduler(options: {
  readonly membership: Membership;
  readonly predict: Predict;
  /** It goes on after the heal. */
  readonly lasting: boolean;
  /** False: for now it delivers everything, as when the cluster still generates its key. */
  readonly isActive?: () => boolean;
  /** After so long it hands on what it keeps; more than four rounds take. */
  readonly eventuallyMs?: number;
}): NetworkAdversary {
  const { membership, predict, lasting, isActive = () => true, eventuallyMs = eventuallyMsStandard } = options;
  const { n, f } = membership.rule;
  const { period: periodRounds } = membership.parameters;
  const steady = leaderScheduler({ membership, lasting });
  const frames = new WeakMap<Uint8Array, Block | 'no block'>();
  /** Highest round each replica has sent a block of its own for. */
  const rounds: number[] = Array.from({ length: n }, () => 0);
  /** Who has sent a block for the first round of a period. */
  const entered = new Map<number, Set<number>>();
  const shares = new Map<number, Map<number, Uint8Array>>();
  const targets = new Map<number, number>();
  let kept: Kept[] = [];
  let healed = false;
  let deliver: (passage: Passage, delayMs: number) => void = () => {};
  let later: (delayMs: number, task: () => void) => void = () => {};

  const seenIn = (frame: Uint8Array): Block | undefined => {
    let seen = frames.get(frame);
    if (seen === undefined) {
      const message = decodePeerMessage(frame);
      seen = (message.ok ? blockIn(message.value) : undefined) ?? 'no block';
      frames.set(frame, seen);
      if (seen !== 'no block') learn(seen);
    }
    return seen === 'no block' ? undefined : seen;
  };

  const learn = ({ author, round, duties }: Block): void => {
    if (round > (rounds[author] as number)) rounds[author] = round;
    if (round % periodRounds === 0) entered.set(round, (entered.get(round) ?? new Set()).add(author));
    for (const { kind, payload } of duties) {
      const decoded = kind === dutyKinds.coinShare ? decodeCoinShare(payload) : undefined;
      if (decoded?.ok !== true) continue;
      const { period, share } = decoded.value;
      shares.set(period, (shares.get(period) ?? new Map<number, Uint8Array>()).set(author, share));
    }
  };

  const known = (period: number): number | undefined =>
    predict(
      period,
      [...(shares.get(period) ?? [])].map(([author, share]) => ({ author, share })),
    );

  /** Whom it cuts off in a period; undefined while waiting may still tell it more. */
  const targetOf = (period: number): number | undefined => {
    const chosen = targets.get(period);
    if (chosen !== undefined) return chosen;
    const leader = known(period);
    // All correct replicas get here without any block of this round. Waiting longer would stop them.
    if (leader === undefined && (entered.get(period * periodRounds)?.size ?? 0) < n - f) return undefined;
    const target = leader ?? period % n;
    targets.set(period, target);
    return target;
  };

  /** Must this block not reach the replica yet? */
  const isKept = (author: number, round: number, to: number): boolean => {
    const period = Math.floor(round / periodRounds);
    const first = period * periodRounds;
    if (period === 0 || round >= first + cutOffRounds || (rounds[to] as number) >= first + cutOffRounds - 1)
      return false;
    const target = targetOf(period);
    return target === undefined ? round === first : author === target;
  };

  /** Hands on what is kept no longer; the leader scheduler may keep it for reasons of its own. */
  const release = (): void => {
    const due = kept.filter(({ passage, author, round }) => !isKept(author, round, passage.to));
    if (due.length === 0) return;
    kept = kept.filter((each) => !due.includes(each));
    for (const { passage } of due) {
      const delayMs = steady.schedule(passage);
      if (delayMs !== undefined) deliver(passage, delayMs);
    }
  };

  return {
    name: 'coin-scheduler',
    attach(way, afterwards) {
      deliver = way;
      later = afterwards;
      steady.attach(way, afterwards);
    },
    schedule(passage) {
      const block = seenIn(passage.frame);
      steady.notice(passage);
      if (healed || !isActive()) return passage.delayMs;
      release();
      if (block !== undefined && isKept(block.author, block.round, passage.to)) {
        const each = { passage, author: block.author, round: block.round };
        kept.push(each);
        later(eventuallyMs, () => {
          if (!kept.includes(each)) return;
          kept = kept.filter((other) => other !== each);
          deliver(passage, passage.delayMs);
        });
        return undefined;
      }
      return steady.schedule(passage);
    },
    heal() {
      steady.heal();
      if (lasting) return;
      healed = true;
      for (const { passage } of kept) deliver(passage, passage.delayMs);
      kept = [];
    },
  };
}
