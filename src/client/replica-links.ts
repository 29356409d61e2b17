/**
 * Replica links: the links of one session, attached to it, to as few replicas as are enough to be believed.
 *
 * In: the need for more, from whoever waits. Out: replies, proofs and refusals, each with the replica that is known by its
 * pinned key to have sent it. Owns the links. Each attached link costs its replica a reply frame for every request, so
 * there are only as many as contain a correct replica; more are added when these are slow, and later given back.
 * Safety: nothing is delivered from a link before its welcome named this service and this replica.
 */
import { containsReplica, emptySet, type ReplicaSet, withoutReplica, withReplica } from '../membership/membership.ts';
import type { LinkEnd } from '../transport/framed-link.ts';
import { TransportError, type TransportErrorCode } from '../transport/transport-error.ts';
import { decodeReplicaToClient, type ReplicaToClient } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import type { Cluster, Dial } from './cluster.ts';
import type { Standings } from './standing.ts';

export type Welcome = Extract<ReplicaToClient, { readonly kind: 'welcome' }>;
type FromReplicaKind = 'reply' | 'refused' | 'certified' | 'head' | 'state' | 'state-refused';
export type FromReplica = Extract<ReplicaToClient, { readonly kind: FromReplicaKind }>;

export interface LinksUse {
  readonly now: () => number;
  /** The frame that attaches a link. */
  readonly attach: (welcome: Welcome) => Uint8Array;
  /** A link is attached. */
  readonly onUp: (replica: number, welcome: Welcome) => void;
  /** A link that was attached has ended. */
  readonly onDown: (replica: number) => void;
  readonly onMessage: (replica: number, message: FromReplica) => void;
  /** Who answers where the replica should be is another one, or has another key by now. */
  readonly onStranger: () => void;
}

interface Link {
  readonly replica: number;
  readonly beganAtMs: number;
  readonly abort: AbortController;
  wire: Awaited<ReturnType<Dial>> | undefined;
  attached: boolean;
  /** It has answered a request, so it has read the attach. */
  proven: boolean;
  ended: boolean;
}

/** A link that is not attached after this time is not counted on, and another one is dialled. */
const dialPatienceMs = 300;
/** Links that are not needed any more are closed after this time. */
const surplusAfterMs = 5_000;
/** A link is closed when its replica has been silent for so long since it was suspected. */
const silentAfterMs = 10_000;

const definiteTroubles: ReadonlySet<TransportErrorCode> = new Set([
  'refused',
  'wrong-key',
  'unknown-host',
  'not-tls',
  'unreachable',
]);

export class ReplicaLinks {
  readonly #cluster: Cluster;
  readonly #dial: Dial;
  readonly #standings: Standings;
  readonly #use: LinksUse;
  readonly #links: (Link | undefined)[];
  /** Links on their way in or out, until nothing of them is left. */
  readonly #endings = new Set<Promise<void>>();
  #up: ReplicaSet = emptySet;
  #lastTrimMs = 0;
  #closed = false;

  constructor(options: {
    readonly cluster: Cluster;
    readonly dial: Dial;
    readonly standings: Standings;
    readonly use: LinksUse;
  }) {
    this.#cluster = options.cluster;
    this.#dial = options.dial;
    this.#standings = options.standings;
    this.#use = options.use;
    this.#links = options.cluster.replicas.map(() => undefined);
  }

  /** Replicas whose links are attached. */
  get up(): ReplicaSet {
    return this.#up;
  }

  /** Of these, those whose links have answered something. */
  get proven(): ReplicaSet {
    let set = emptySet;
    for (const link of this.#links) if (link?.attached && link.proven) set = withReplica(set, link.replica);
    return set;
  }

  /** The replica to send to first, among those with a link. */
  target(): number | undefined {
    if (this.#up === emptySet) return undefined;
    for (const replica of this.#standings.order(this.#use.now())) {
      if (containsReplica(this.#up, replica)) return replica;
    }
    return undefined;
  }

  /** False when there is no such link any more. */
  send(replica: number, frame: Uint8Array): boolean {
    const link = this.#links[replica];
    return link?.attached === true && link.wire?.send(frame) === true;
  }

  /** Dials as many replicas as it takes for those that are not avoided to contain a correct one. */
  ensure(): void {
    if (this.#closed) return;
    const nowMs = this.#use.now();
    const { rule } = this.#cluster;
    let counted = emptySet;
    for (const link of this.#links) {
      if (link === undefined || this.#standings.isAvoided(link.replica, nowMs)) continue;
      if (link.attached || nowMs - link.beganAtMs < dialPatienceMs) counted = withReplica(counted, link.replica);
    }
    if (rule.hasCorrect(counted)) return;
    for (const replica of this.#standings.order(nowMs)) {
      if (this.#links[replica] !== undefined || !this.#standings.mayDial(replica, nowMs)) continue;
      this.#begin(replica, nowMs);
      counted = withReplica(counted, replica);
      if (rule.hasCorrect(counted)) return;
    }
  }

  /** Dials this replica too; false when that is under way already or was tried a moment ago. */
  widen(replica: number): boolean {
    const nowMs = this.#use.now();
    if (this.#closed || this.#links[replica] !== undefined || !this.#standings.mayDial(replica, nowMs)) return false;
    this.#begin(replica, nowMs);
    return true;
  }

  /** When `ensure` may have something to do, with nothing else happening; undefined: not at all. */
  get ensureAtMs(): number | undefined {
    if (this.#closed || this.#cluster.rule.hasCorrect(this.#up)) return undefined;
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const [replica, link] of this.#links.entries()) {
      const atMs = link === undefined ? this.#standings.redialAtMs(replica) : link.beganAtMs + dialPatienceMs;
      if (link === undefined || atMs > this.#use.now()) soonestMs = Math.min(soonestMs, atMs);
    }
    return soonestMs === Number.POSITIVE_INFINITY ? undefined : soonestMs;
  }

  /** Gives back, one a second, what is not needed, and what has been silent too long. */
  trim(): void {
    const nowMs = this.#use.now();
    if (nowMs - this.#lastTrimMs < limits.linkTickMs) return;
    this.#lastTrimMs = nowMs;
    const { rule } = this.#cluster;
    let needed = emptySet;
    for (const replica of this.#standings.order(nowMs)) {
      const link = this.#links[replica];
      if (link?.attached !== true) continue;
      if (this.#standings.isAvoided(replica, nowMs)) {
        if (this.#standings.silentSinceMs(replica, nowMs) < silentAfterMs) continue;
      } else if (!rule.hasCorrect(needed)) {
        needed = withReplica(needed, replica);
        continue;
      }
      if (!rule.hasCorrect(needed) || nowMs - link.beganAtMs < surplusAfterMs) continue;
      this.#end(link);
      return;
    }
  }

  /** Ends the link to a replica that talks nonsense or lies. */
  drop(replica: number): void {
    const link = this.#links[replica];
    if (link !== undefined) this.#end(link);
  }

  /** Ends all links; resolves when nothing of them is left. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const link of this.#links) if (link !== undefined) this.#end(link);
    await Promise.all(this.#endings);
  }

  #begin(replica: number, nowMs: number): void {
    const link: Link = {
      replica,
      beganAtMs: nowMs,
      abort: new AbortController(),
      wire: undefined,
      attached: false,
      proven: false,
      ended: false,
    };
    this.#links[replica] = link;
    const ending = this.#run(link).finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
  }

  /** The life of one link, from dialling to its last sign. Never rejects. */
  async #run(link: Link): Promise<void> {
    const { host, port, keyDigest } = this.#cluster.replicas[link.replica]!;
    let gone: (end: LinkEnd) => void = () => {};
    const isGone = new Promise<LinkEnd>((resolve) => {
      gone = resolve;
    });
    try {
      link.wire = await this.#dial({
        host,
        port,
        keyDigest,
        timeoutMs: limits.handshakeTimeoutMs,
        signal: link.abort.signal,
        onFrame: (frame) => this.#receive(link, frame),
        onClose: gone,
      });
    } catch (error) {
      const code = error instanceof TransportError ? error.code : undefined;
      const isWaited = !link.ended;
      this.#lose(link, error instanceof Error ? error.message : 'dialling failed', isDefinite(code));
      if (isWaited && code === 'wrong-key') this.#use.onStranger();
      return;
    }
    if (link.ended) link.wire.close();
    const end = await isGone;
    this.#lose(link, `the link ended: ${end.code}${end.detail === undefined ? '' : ` (${end.detail})`}`, false);
  }

  #receive(link: Link, frame: Uint8Array): void {
    if (link.ended) return;
    const decoded = decodeReplicaToClient(frame);
    if (!decoded.ok) {
      this.#reject(link, `it sent what is no message: ${decoded.reason}`);
      return;
    }
    const message = decoded.value;
    if (message.kind === 'welcome') {
      this.#welcome(link, message);
      return;
    }
    if (!link.attached || message.kind === 'status') {
      this.#reject(link, `it sent a ${message.kind} that nobody asked for`);
      return;
    }
    if (message.kind !== 'refused') link.proven = true;
    this.#standings.heard(link.replica, this.#use.now());
    this.#use.onMessage(link.replica, message);
  }

  #welcome(link: Link, welcome: Welcome): void {
    if (link.attached) {
      this.#reject(link, 'it sent a second welcome');
      return;
    }
    if (welcome.serviceId !== this.#cluster.serviceId) {
      this.#reject(link, `it belongs to another service, ${welcome.serviceId.slice(0, 12)}…`);
      return;
    }
    if (welcome.replicaIndex !== link.replica) {
      this.#reject(link, `it says that it is replica ${welcome.replicaIndex}`);
      this.#use.onStranger();
      return;
    }
    link.wire?.send(this.#use.attach(welcome));
    link.attached = true;
    this.#up = withReplica(this.#up, link.replica);
    this.#standings.connected(link.replica, this.#use.now());
    this.#use.onUp(link.replica, welcome);
  }

  #reject(link: Link, what: string): void {
    this.#standings.talkedNonsense(link.replica, this.#use.now(), what);
    this.#end(link);
  }

  /** The link ended by itself, or did not come about. */
  #lose(link: Link, trouble: string, definite: boolean): void {
    if (link.ended) return;
    this.#standings.lost(link.replica, this.#use.now(), trouble, definite);
    this.#end(link);
  }

  #end(link: Link): void {
    if (link.ended) return;
    link.ended = true;
    this.#links[link.replica] = undefined;
    this.#up = withoutReplica(this.#up, link.replica);
    link.abort.abort();
    link.wire?.close();
    if (link.attached && !this.#closed) this.#use.onDown(link.replica);
  }
}

function isDefinite(code: TransportErrorCode | undefined): boolean {
  return code !== undefined && definiteTroubles.has(code);
}
