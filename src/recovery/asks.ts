/**
 * Asks: who is asked for which part, how much at once, and who else when no answer comes.
 *
 * In: parts that are wanted; that a part came, or that one is gone; times. Out: whom to ask for what. Owns what is awaited.
 * Liveness: a part that is wanted is asked of one replica after another until it came, so one that answers is enough.
 * Nothing here decides what is right: times and sizes only say whom to ask next.
 * Abuse: a window of parts and bytes for each replica; silence makes it rest, twice as long each time.
 */
import { limits } from '../wire/limits.ts';
import type { StateMessage } from '../wire/state-message.ts';

export interface Wanted {
  /** Different for different parts. */
  readonly name: string;
  /** About; nobody vouches for it. */
  readonly sizeBytes: number;
  readonly message: Extract<StateMessage, { readonly kind: 'state-ask' | 'log-ask' }>;
}

/** A part that was asked for and has not come. */
interface OpenPart {
  readonly wanted: Wanted;
  /** Awaited from these, and when each was asked. */
  readonly askedAtMs: Map<number, number>;
  /** These said that they do not have it. */
  readonly lackedBy: Set<number>;
}

interface Peer {
  /** Names of parts that were asked here, in order; they count for the window. */
  readonly awaited: Map<string, OpenPart>;
  /** Asked here long ago, and asked of others since; they may still come. */
  readonly late: Set<string>;
  awaitedSizeBytes: number;
  lastAnswerAtMs: number;
  /** Silences in a row. */
  silences: number;
  restsUntilMs: number;
}

/** Names of late parts remembered for each replica: several windows. */
const lateMax = 8 * limits.stateAsksPerPeerMax;
/** Replicas that one part is awaited from at once, when there is nothing else to ask for. */
const askedOfMax = 2;
/** After so many silences in a row a replica is as good as one without the checkpoint. */
const silencesMax = 3;

export class Asks {
  readonly #peers = new Map<number, Peer>();
  readonly #open = new Map<string, OpenPart>();
  /** Open parts that nobody is asked for at present. */
  readonly #again = new Set<OpenPart>();

  /** Parts that were asked for and have not come. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Hands out asks to these replicas as far as their windows go. `next` gives the next part that was not asked for yet. */
  hand(
    peers: readonly number[],
    next: () => Wanted | undefined,
    nowMs: number,
  ): readonly { readonly to: number; readonly wanted: Wanted }[] {
    const asked: { readonly to: number; readonly wanted: Wanted }[] = [];
    // In turn, so that the parts are spread over all of them.
    for (let left = peers; left.length > 0; ) {
      left = left.filter((to) => {
        const peer = this.#peerOf(to);
        if (!hasRoom(peer, nowMs)) return false;
        const part = this.#nextFor(to, next, nowMs);
        if (part === undefined) return false;
        this.#expect(to, peer, part, nowMs);
        asked.push({ to, wanted: part.wanted });
        return true;
      });
    }
    return asked;
  }

  /** A part came: was it asked of this replica? `isOpen`: and nobody else has given it yet. */
  came(from: number, name: string, nowMs: number): { readonly isAwaited: boolean; readonly isOpen: boolean } {
    const peer = this.#peerOf(from);
    const isAwaited = this.#settle(from, peer, name) || peer.late.delete(name);
    if (isAwaited) {
      peer.lastAnswerAtMs = nowMs;
      peer.silences = 0;
      peer.restsUntilMs = nowMs;
    }
    return { isAwaited, isOpen: isAwaited && this.#open.has(name) };
  }

  /** A part that came is right. */
  done(name: string): void {
    const part = this.#open.get(name);
    if (part === undefined) return;
    this.#open.delete(name);
    this.#again.delete(part);
  }

  /** This replica does not have the part. */
  lacks(from: number, name: string): void {
    this.#open.get(name)?.lackedBy.add(from);
  }

  /** Parts that each of these replicas lacks. */
  lackedByAll(peers: readonly number[]): readonly string[] {
    const lacked = [...this.#again].filter(({ lackedBy }) => peers.every((peer) => lackedBy.has(peer)));
    return lacked.map(({ wanted }) => wanted.name);
  }

  /** What was asked of this replica will not come: others are asked. */
  lose(peer: number): void {
    const lost = this.#peers.get(peer);
    if (lost === undefined) return;
    for (const [name, part] of lost.awaited) {
      part.askedAtMs.delete(peer);
      if (part.askedAtMs.size === 0 && this.#open.has(name)) this.#again.add(part);
    }
    this.#peers.delete(peer);
  }

  /** Other parts are wanted from now on. */
  clear(): void {
    this.#open.clear();
    this.#again.clear();
    for (const peer of this.#peers.values()) {
      peer.awaited.clear();
      peer.late.clear();
      peer.awaitedSizeBytes = 0;
    }
  }

  /** Looks for silence. Gives the replicas that are as good as gone. */
  tick(nowMs: number): readonly number[] {
    const silent: number[] = [];
    for (const [index, peer] of this.#peers) {
      const [oldest] = peer.awaited.values();
      if (oldest === undefined) continue;
      const askedAtMs = oldest.askedAtMs.get(index) ?? nowMs;
      const isSilent = nowMs >= Math.max(peer.lastAnswerAtMs, askedAtMs) + limits.stateAskPatienceMs;
      if (isSilent) {
        peer.silences += 1;
        const restMs = limits.stateAskPatienceMs * 2 ** (peer.silences - 1);
        peer.restsUntilMs = nowMs + Math.min(restMs, limits.stateAskRestMsMax);
        if (peer.silences >= silencesMax) silent.push(index);
      }
      for (const [name, part] of peer.awaited) {
        const partAskedAtMs = part.askedAtMs.get(index) ?? nowMs;
        if (!isSilent && nowMs < partAskedAtMs + limits.stateAskPatienceMsMax) break;
        this.#settle(index, peer, name);
        peer.late.add(name);
      }
      for (const name of peer.late) {
        if (peer.late.size <= lateMax) break;
        peer.late.delete(name);
      }
    }
    return silent;
  }

  /** When there is something to look at, whatever comes. */
  wakeAtMs(nowMs: number): number | undefined {
    let atMs: number | undefined;
    for (const [index, peer] of this.#peers) {
      const [oldest] = peer.awaited.values();
      const askedAtMs = oldest?.askedAtMs.get(index);
      let peerAtMs: number | undefined;
      if (askedAtMs !== undefined) {
        const silentAtMs = Math.max(peer.lastAnswerAtMs, askedAtMs) + limits.stateAskPatienceMs;
        peerAtMs = Math.min(silentAtMs, askedAtMs + limits.stateAskPatienceMsMax);
      } else if (peer.restsUntilMs > nowMs) peerAtMs = peer.restsUntilMs;
      if (peerAtMs !== undefined && (atMs === undefined || peerAtMs < atMs)) atMs = peerAtMs;
    }
    return atMs;
  }

  #nextFor(to: number, next: () => Wanted | undefined, nowMs: number): OpenPart | undefined {
    for (const part of this.#again) {
      if (part.lackedBy.has(to)) continue;
      this.#again.delete(part);
      return part;
    }
    const wanted = next();
    if (wanted !== undefined) {
      const part = { wanted, askedAtMs: new Map(), lackedBy: new Set<number>() };
      this.#open.set(wanted.name, part);
      return part;
    }
    // Nothing else to do: what another one takes long for.
    for (const part of this.#open.values()) {
      const [firstAtMs] = part.askedAtMs.values();
      if (firstAtMs === undefined || nowMs < firstAtMs + limits.stateAskPatienceMs) continue;
      const isNews = !part.askedAtMs.has(to) && !part.lackedBy.has(to) && part.askedAtMs.size < askedOfMax;
      if (isNews) return part;
    }
    return undefined;
  }

  #expect(to: number, peer: Peer, part: OpenPart, nowMs: number): void {
    part.askedAtMs.set(to, nowMs);
    peer.late.delete(part.wanted.name);
    peer.awaited.set(part.wanted.name, part);
    peer.awaitedSizeBytes += part.wanted.sizeBytes;
  }

  /** Not awaited here any more. False when it was not. */
  #settle(index: number, peer: Peer, name: string): boolean {
    const part = peer.awaited.get(name);
    if (part === undefined) return false;
    peer.awaited.delete(name);
    peer.awaitedSizeBytes -= part.wanted.sizeBytes;
    part.askedAtMs.delete(index);
    if (part.askedAtMs.size === 0 && this.#open.has(name)) this.#again.add(part);
    return true;
  }

  #peerOf(index: number): Peer {
    let peer = this.#peers.get(index);
    if (peer === undefined) {
      peer = {
        awaited: new Map(),
        late: new Set(),
        awaitedSizeBytes: 0,
        lastAnswerAtMs: Number.NEGATIVE_INFINITY,
        silences: 0,
        restsUntilMs: Number.NEGATIVE_INFINITY,
      };
      this.#peers.set(index, peer);
    }
    return peer;
  }
}

/** One after a silence, to see whether anything comes. */
function hasRoom({ awaited, awaitedSizeBytes, silences, restsUntilMs }: Peer, nowMs: number): boolean {
  if (nowMs < restsUntilMs) return false;
  const asksMax = silences > 0 ? 1 : limits.stateAsksPerPeerMax;
  return awaited.size < asksMax && awaitedSizeBytes < limits.stateAskedSizeBytesMax;
}
