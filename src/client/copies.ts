/**
 * Copies: gives a request to one replica, to the next when that is slow, and says who is to blame for it.
 *
 * In: open requests and the time. Out: frames on links, suspicions. Owns nothing: what was sent is noted in the request.
 * Safety: every copy is the same request under the same number; which replica gets it decides about speed only.
 */
import { containsReplica, withReplica } from '../membership/membership.ts';
import { encodeClientToReplica } from '../wire/client-message.ts';
import type { HeadChains } from './head-chains.ts';
import type { Latency } from './latency.ts';
import type { OpenRequest } from './open-request.ts';
import type { ReplicaLinks } from './replica-links.ts';
import type { Standings } from './standing.ts';

export class Copies {
  readonly #replicaCount: number;
  readonly #links: ReplicaLinks;
  readonly #standings: Standings;
  readonly #chains: HeadChains | undefined;
  readonly #latency: Latency;
  readonly #certifiedLatency: Latency;
  readonly #now: () => number;

  constructor(options: {
    readonly replicaCount: number;
    readonly links: ReplicaLinks;
    readonly standings: Standings;
    /** Undefined without a service key; no request wants a certified reply then. */
    readonly chains: HeadChains | undefined;
    readonly latency: Latency;
    readonly certifiedLatency: Latency;
    readonly now: () => number;
  }) {
    this.#replicaCount = options.replicaCount;
    this.#links = options.links;
    this.#standings = options.standings;
    this.#chains = options.chains;
    this.#latency = options.latency;
    this.#certifiedLatency = options.certifiedLatency;
    this.#now = options.now;
  }

  /** To the replica that is best asked first, if any is connected. */
  sendFirst(open: OpenRequest): void {
    const target = this.#links.target();
    if (target !== undefined) this.send(open, target);
  }

  /** False when there is no link to this replica any more. */
  send(open: OpenRequest, replica: number): boolean {
    if (!this.#sendFrame(open, replica)) return false;
    const nowMs = this.#now();
    if (open.copies === 0) {
      open.firstSentAtMs = nowMs;
      open.listening = this.#links.up;
      open.steady = this.#links.proven;
      for (const call of open.calls) call.sent = true;
    }
    open.copies += 1;
    open.sentTo = withReplica(open.sentTo, replica);
    open.target = replica;
    open.nextCopyAtMs = nowMs + this.#latencyOf(open).patienceMs(open.copies);
    return true;
  }

  /** To somebody connected who has none; else somebody new is dialled; else the next of those connected is asked again. */
  sendNext(open: OpenRequest, nowMs: number): void {
    const order = this.#standings.order(nowMs);
    const { up } = this.#links;
    open.nextCopyAtMs = nowMs + this.#latencyOf(open).patienceMs(open.copies + 1);
    for (const replica of order) {
      if (containsReplica(up, replica) && !containsReplica(open.sentTo, replica) && this.send(open, replica)) return;
    }
    if (this.widen(nowMs)) return;
    const connected = order.filter((replica) => containsReplica(up, replica));
    const next = connected[(connected.indexOf(open.target) + 1) % connected.length];
    if (next !== undefined && open.copies > 0) this.send(open, next);
  }

  /**
   * The request is executed. A replica that had not read the attach by then has told nobody, and tells when asked. This
   * happens once on each link.
   */
  remindUnproven(open: OpenRequest): void {
    const { up, proven } = this.#links;
    for (let replica = 0; replica < this.#replicaCount; replica++) {
      if (!containsReplica(up, replica) || containsReplica(proven, replica)) continue;
      if (containsReplica(open.sentTo, replica) || !this.#sendFrame(open, replica)) continue;
      open.sentTo = withReplica(open.sentTo, replica);
    }
  }

  /** Dials somebody new; false when there is nobody, or that was tried a moment ago. */
  widen(nowMs: number): boolean {
    const stranger = this.#standings.order(nowMs).find((replica) => !containsReplica(this.#links.up, replica));
    return stranger !== undefined && this.#links.widen(stranger);
  }

  /**
   * Who is to blame that there is no result yet: who should have had it ordered, or else who has not reported it. For a
   * proof that is missing it is always who was asked for it.
   */
  blame(open: OpenRequest, nowMs: number): void {
    if (open.copies === 0 || open.target < 0) return;
    const { replied } = open.tally;
    if (open.certified || !containsReplica(replied, open.target)) {
      this.#standings.suspect(open.target, nowMs);
      return;
    }
    for (let replica = 0; replica < this.#replicaCount; replica++) {
      if (containsReplica(open.listening, replica) && !containsReplica(replied, replica)) {
        this.#standings.suspect(replica, nowMs);
      }
    }
  }

  #sendFrame({ request, certified }: OpenRequest, replica: number): boolean {
    const certifyFrom = certified ? this.#chains?.name(replica) : undefined;
    return this.#links.send(replica, encodeClientToReplica({ kind: 'request', request, certifyFrom }));
  }

  #latencyOf({ certified }: OpenRequest): Latency {
    return certified ? this.#certifiedLatency : this.#latency;
  }
}
