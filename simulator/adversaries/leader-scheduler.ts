/**
 * Leader scheduler: an adversary that owns the network and knows who leads each steady slot.
 *
 * It lets each steady leader's block reach exactly f + 1 replicas in time, its author included; the others get it when
 * they have made their block of the next round, that is, after they voted without it. Nobody is overtaken, so that
 * everybody makes a block of every round and nobody waits for one that is kept back. So there is neither a quorum of votes
 * nor of blames, and no steady slot is ever decided directly. Only a leader that it does not expect ends this:
 * the fallback slot, whose coin it does not read (docs/protocol/ordering.md §6).
 */
import type { Membership } from '../../src/membership/membership.ts';
import { decodePeerMessage } from '../../src/wire/peer-message.ts';
import type { NetworkAdversary, Passage } from '../network.ts';
import { blockIn } from './adversary.ts';

/** More than any replica lingers: by then it has made its block of the round, and cannot be overtaken and skip it. */
const overtakingMs = 60;

interface Seen {
  readonly round: number;
  readonly author: number;
}

export interface LeaderScheduler extends NetworkAdversary {
  /** Looks at a frame that somebody else schedules: how far its sender is, it must know all the same. */
  notice(passage: Passage): void;
}

export function leaderScheduler(options: {
  readonly membership: Membership;
  readonly lasting: boolean;
}): LeaderScheduler {
  const { membership, lasting } = options;
  const { n, f } = membership.rule;
  const { ranks } = membership.parameters;
  const seenFrames = new WeakMap<Uint8Array, Seen | 'no block'>();
  /** Highest round each replica has sent a block of its own for. */
  const rounds: number[] = Array.from({ length: n }, () => 0);
  let keptBack: { readonly passage: Passage; readonly seen: Seen }[] = [];
  let active = true;
  let deliver: (passage: Passage, delayMs: number) => void = () => {};

  const seenIn = (frame: Uint8Array): Seen | undefined => {
    let seen = seenFrames.get(frame);
    if (seen === undefined) {
      const message = decodePeerMessage(frame);
      const block = message.ok ? blockIn(message.value) : undefined;
      seen = block === undefined ? 'no block' : { round: block.round, author: block.author };
      seenFrames.set(frame, seen);
    }
    return seen === 'no block' ? undefined : seen;
  };

  const isSteadyLeader = ({ round, author }: Seen): boolean => (((author - round) % n) + n) % n < ranks;

  /** The leader itself and the f replicas after it. */
  const isChosen = (author: number, to: number): boolean => (to - author + n) % n <= f;

  const notice = ({ from, frame }: Passage): void => {
    const seen = seenIn(frame);
    if (!active || seen === undefined || seen.author !== from || seen.round <= (rounds[from] as number)) return;
    rounds[from] = seen.round;
    const due = keptBack.filter((kept) => kept.passage.to === from && kept.seen.round < seen.round);
    keptBack = keptBack.filter((kept) => !due.includes(kept));
    for (const kept of due) deliver(kept.passage, kept.passage.delayMs);
  };

  return {
    name: 'leader-scheduler',
    notice,
    attach(way) {
      deliver = way;
    },
    schedule(passage) {
      const seen = seenIn(passage.frame);
      if (!active || seen === undefined) return passage.delayMs;
      notice(passage);
      const roundOfReceiver = rounds[passage.to] as number;
      if (isSteadyLeader(seen) && !isChosen(seen.author, passage.to) && roundOfReceiver <= seen.round) {
        keptBack.push({ passage, seen });
        return undefined;
      }
      return passage.delayMs + (seen.round > roundOfReceiver ? overtakingMs : 0);
    },
    heal() {
      if (lasting) return;
      active = false;
      for (const { passage } of keptBack) deliver(passage, passage.delayMs);
      keptBack = [];
    },
  };
}
