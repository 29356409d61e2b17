/**
 * Linger: how long a proposal waits for the blocks of the others after a quorum, and for whom it does not wait.
 *
 * Citing everybody lets steady leaders commit directly, so waiting a little makes the common case fast; waiting for the
 * dead makes every round slow. All of this is local and a hint: it decides when a block is made, never what is agreed
 * (docs/protocol/ordering.md §3.2).
 */
import { containsReplica, emptySet, type ReplicaSet, withReplica } from '../membership/membership.ts';

/** The longest wait, and the wait before anything was measured. */
const lingerMsMax = 50;
/** The shortest wait: timers and schedulers have this grain. */
const lingerMsMin = 4;
/** The wait is the usual lag and this many times its usual deviation, as TCP waits for an acknowledgement (RFC 6298). */
const deviationFactor = 4;
/** Weight of the newest lag in the running means. */
const lagWeight = 0.1;
/** Blocks in time that end a suspicion: at first two, doubled for each new suspicion up to the largest. */
const timelyBlocksMax = 64;
/** Blocks in time without a suspicion after which the peer's past is forgotten. */
const goodRecordBlocks = 128;

interface Peer {
  lagMs: number;
  deviationMs: number;
  suspected: boolean;
  /** Blocks in time needed to end the next suspicion. */
  timelyNeeded: number;
  /** Blocks in time since the last late one. */
  timely: number;
}

export class Linger {
  readonly #self: number;
  readonly #peers: readonly Peer[];
  /** When a quorum was seen at each recent round. */
  readonly #quorumAtMs = new Map<number, number>();
  #newestRound = 0;
  #waitMs = lingerMsMax;

  constructor(options: { readonly n: number; readonly self: number }) {
    this.#self = options.self;
    this.#peers = Array.from({ length: options.n }, () => ({
      lagMs: 0,
      deviationMs: 0,
      suspected: false,
      timelyNeeded: 1,
      timely: 0,
    }));
  }

  get waitMs(): number {
    return this.#waitMs;
  }

  get suspected(): ReplicaSet {
    let set = emptySet;
    for (const [index, peer] of this.#peers.entries()) if (peer.suspected) set = withReplica(set, index);
    return set;
  }

  /** A quorum of blocks of this round is there. */
  quorumReached(round: number, nowMs: number): void {
    if (this.#quorumAtMs.has(round)) return;
    this.#quorumAtMs.set(round, nowMs);
    this.#newestRound = Math.max(this.#newestRound, round);
    // Insertion order is round order, so the first is the oldest.
    for (const old of this.#quorumAtMs.keys()) {
      if (this.#quorumAtMs.size <= 64) break;
      this.#quorumAtMs.delete(old);
    }
  }

  /** When waiting for the others at this round ends. */
  endsAtMs(round: number, nowMs: number): number {
    return (this.#quorumAtMs.get(round) ?? nowMs) + this.#waitMs;
  }

  /** Is there a block at the round from everybody who is not suspected? */
  isComplete(authors: ReplicaSet): boolean {
    return this.#peers.every((peer, index) => peer.suspected || containsReplica(authors, index));
  }

  /** A block of `author` was accepted. */
  arrived(author: number, round: number, nowMs: number): void {
    const peer = this.#peers[author];
    if (peer === undefined || author === this.#self) return;
    const lagMs = this.#lagMs(round, nowMs);
    if (lagMs === undefined) return;
    const difference = Math.min(lagMs, lingerMsMax) - peer.lagMs;
    peer.lagMs += lagWeight * difference;
    peer.deviationMs += lagWeight * (Math.abs(difference) - peer.deviationMs);
    if (lagMs > this.#waitMs) {
      peer.timely = 0;
      return;
    }
    peer.timely += 1;
    if (peer.suspected && peer.timely >= peer.timelyNeeded) peer.suspected = false;
    if (!peer.suspected && peer.timely >= goodRecordBlocks) peer.timelyNeeded = 1;
  }

  /** How long after the quorum a block of this round comes; undefined when that is too long ago to say anything. */
  #lagMs(round: number, nowMs: number): number | undefined {
    const quorumAtMs = this.#quorumAtMs.get(round);
    if (quorumAtMs !== undefined) return Math.max(0, nowMs - quorumAtMs);
    return round > this.#newestRound ? 0 : undefined;
  }

  /** The wait for this round ran out: whoever is not in `authors` is not waited for from now on. */
  ranOut(authors: ReplicaSet): void {
    for (const [index, peer] of this.#peers.entries()) {
      if (index === this.#self || peer.suspected || containsReplica(authors, index)) continue;
      peer.suspected = true;
      peer.timely = 0;
      peer.timelyNeeded = Math.min(timelyBlocksMax, peer.timelyNeeded * 2);
    }
  }

  /** The wait follows the median peer, so that one slow or hostile peer does not set it; called for each proposal. */
  adapt(): void {
    const others = this.#peers.filter((_, index) => index !== this.#self);
    const waits = others.map((peer) => peer.lagMs + deviationFactor * peer.deviationMs).sort((a, b) => a - b);
    const median = waits[Math.floor((waits.length - 1) / 2)] ?? 0;
    this.#waitMs = Math.min(lingerMsMax, Math.max(lingerMsMin, median));
  }
}
