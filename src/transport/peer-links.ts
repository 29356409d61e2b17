/**
 * Peer links: the links between this replica and all others.
 *
 * In: frames to send, by replica index. Out: frames received with the index of the replica that sent them. Each replica
 * dials every other; it sends on the links it dialled and receives on those it accepted, so a pair has two one-way
 * links and there is nothing to agree on about who dials.
 * Safety: a frame is attributed to replica i only if it came through a connection whose other end proved to hold i's
 * pinned link key, and a frame to i is only sent to such an end. An attacker who controls a peer can at most send this
 * replica what it likes in its own name, as fast as this replica reads, and lose its own link.
 * Format: docs/protocol/links.md.
 */
import type { TLSSocket } from 'node:tls';
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import { BackOff } from './back-off.ts';
import { peerKeyDigest } from './certificate.ts';
import { FramedLink, type LinkEndCode } from './framed-link.ts';
import { encodeSignal } from './greeting.ts';
import { type Admission, LinkListener, type ListenerEvent } from './link-listener.ts';
import { OutboundLink, type OutboundState } from './outbound-link.ts';
import type { LinkAddress } from './tls.ts';
import type { TransportErrorCode } from './transport-error.ts';

export type PeerLinkEvent =
  | ListenerEvent
  | LinkEndCode
  | TransportErrorCode
  /** A connection showed no key, or one that is nobody's. */
  | 'unknown-key'
  /** A peer's hello was not ours to accept. */
  | 'hello-refused';

export interface Peer {
  readonly host: string;
  /** 0: not known yet, see `moveTo`; for this replica itself, any free port. */
  readonly port: number;
  readonly keyDigest: Digest;
}

export interface PeerLinkStatus {
  readonly peer: number;
  /** The link we dial and send on. */
  readonly outbound: OutboundState;
  /** The link it dials and we receive on. */
  readonly inbound: 'up' | 'down';
  readonly queuedBytes: number;
  /** Why outbound is not up, as a sentence. */
  readonly lastError: string | undefined;
}

export interface PeerLinksOptions {
  readonly self: number;
  /** By replica index, this replica included. */
  readonly peers: readonly Peer[];
  readonly keyPem: string;
  readonly certificatePem: string;
  /** Where to listen, when that is not this replica's own address among the peers. */
  readonly listenOn?: LinkAddress;
  /** First frame on every link we dial. */
  readonly hello: Uint8Array;
  /** Looks at a peer's hello: undefined to take the link, else the reason not to, which the peer is told. */
  readonly acceptHello: (peer: number, frame: Uint8Array) => string | undefined;
  readonly onFrame: (peer: number, frame: Uint8Array) => void;
  /** Frames can be sent to this peer from now on; it has taken our hello. */
  readonly onUp: (peer: number) => void;
  /** After `onUp`: frames can not be sent any more, and some that were may be lost. */
  readonly onDown: (peer: number, reason: string) => void;
  /** Something worth counting; the peer when it is known for sure. */
  readonly onCounted: (event: PeerLinkEvent, peer: number | undefined) => void;
  /** Other limits than those of `wire/limits.ts`, for small machines and tests. */
  readonly bounds?: Partial<PeerBounds>;
}

export interface PeerBounds {
  readonly strangersMax: number;
  readonly queueSizeBytesMax: number;
  readonly handshakeTimeoutMs: number;
  readonly redialDelayMsMin: number;
  readonly redialDelayMsMax: number;
}

const standardBounds: PeerBounds = {
  strangersMax: limits.peerStrangersMax,
  queueSizeBytesMax: limits.peerQueueSizeBytesMax,
  handshakeTimeoutMs: limits.handshakeTimeoutMs,
  redialDelayMsMin: limits.redialDelayMsMin,
  redialDelayMsMax: limits.redialDelayMsMax,
};

/** What we receive from one peer. */
interface Inbound {
  link: FramedLink | undefined;
  paused: boolean;
}

const accepted = encodeSignal({ kind: 'accepted' });
const alive = encodeSignal({ kind: 'alive' });

/** Callbacks come from the event loop, never from inside a call, and not after `close` was called. */
export class PeerLinks {
  readonly #options: PeerLinksOptions;
  readonly #listener: LinkListener;
  readonly #peerByKey = new Map<Digest, number>();
  /** By replica index; undefined at our own. */
  readonly #outbound: readonly (OutboundLink | undefined)[];
  readonly #inbound: readonly Inbound[];
  #ticking: NodeJS.Timeout | undefined;
  #closed = false;

  /** Throws a RangeError when `self` is none of the peers or two peers have one key. */
  constructor(options: PeerLinksOptions) {
    const { self, peers, keyPem, certificatePem, hello, onCounted } = options;
    if (peers[self] === undefined) throw new RangeError(`replica ${self} is none of the ${peers.length} peers`);
    this.#options = options;
    const bounds = { ...standardBounds, ...options.bounds };
    for (const [index, { keyDigest }] of peers.entries()) {
      if (this.#peerByKey.has(keyDigest)) throw new RangeError(`replica ${index} has another one's link key`);
      this.#peerByKey.set(keyDigest, index);
    }
    this.#listener = new LinkListener({
      keyPem,
      certificatePem,
      askForCertificate: true,
      admittedMax: 2 * peers.length, // the older link of a peer goes when the newer one has come
      strangersMax: bounds.strangersMax,
      handshakeTimeoutMs: bounds.handshakeTimeoutMs,
      onSecured: (socket, admission) => this.#meet(socket, admission),
      onCounted: (event) => {
        if (!this.#closed) onCounted(event, undefined);
      },
    });
    this.#inbound = peers.map(() => ({ link: undefined, paused: false }));
    this.#outbound = peers.map(({ host, port, keyDigest }, peer) =>
      peer === self
        ? undefined
        : new OutboundLink({
            address: { host, port },
            keyDigest,
            identity: { keyPem, certificatePem },
            hello,
            queueSizeBytesMax: bounds.queueSizeBytesMax,
            handshakeTimeoutMs: bounds.handshakeTimeoutMs,
            backOff: new BackOff({ delayMsMin: bounds.redialDelayMsMin, delayMsMax: bounds.redialDelayMsMax }),
            onUp: () => options.onUp(peer),
            onDown: (reason) => options.onDown(peer, reason),
            onCounted: (event) => onCounted(event, peer),
          }),
    );
  }

  /** Listens, then starts to dial. Returns where it listens. Rejects with a `TransportError`. */
  async listen(): Promise<LinkAddress> {
    const { listenOn, peers, self } = this.#options;
    const { host, port } = listenOn ?? peers[self]!;
    const bound = await this.#listener.listen({ host, port });
    if (this.#closed) return bound;
    this.#ticking = setInterval(() => this.#tick(), limits.linkTickMs);
    this.#ticking.unref();
    for (const outbound of this.#outbound) outbound?.start();
    return bound;
  }

  /** The peer's address is, or has become, this one. */
  moveTo(peer: number, address: LinkAddress): void {
    this.#outboundTo(peer).moveTo(address);
  }

  /**
   * Queues a frame for one peer; its bytes must not change afterwards. False when the peer is not up, or when too much
   * waits for it; the link is then reset and reported down.
   */
  send(peer: number, frame: Uint8Array): boolean {
    return this.#outboundTo(peer).send(frame);
  }

  /** Queues a frame for every peer that is up. */
  broadcast(frame: Uint8Array): void {
    for (const outbound of this.#outbound) outbound?.send(frame);
  }

  /** Stops reading from one peer, now and on later links, until `resume`. At most a chunk more is delivered. */
  pause(peer: number): void {
    const inbound = this.#inboundOf(peer);
    inbound.paused = true;
    inbound.link?.pause();
  }

  resume(peer: number): void {
    const inbound = this.#inboundOf(peer);
    inbound.paused = false;
    inbound.link?.resume();
  }

  /** All peers but this replica itself, by index. */
  status(): readonly PeerLinkStatus[] {
    return this.#outbound.flatMap((outbound, peer) =>
      outbound === undefined
        ? []
        : [
            {
              peer,
              outbound: outbound.state,
              inbound: this.#inbound[peer]?.link?.open ? 'up' : 'down',
              queuedBytes: outbound.queuedBytes,
              lastError: outbound.lastError,
            } as const,
          ],
    );
  }

  /** Cuts every link and stops listening. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#ticking);
    for (const outbound of this.#outbound) outbound?.close();
    await this.#listener.close();
  }

  /** Someone has finished TLS at our port: who is it, and what does it say first? */
  #meet(socket: TLSSocket, admission: Admission): void {
    const { self, acceptHello, onCounted, onFrame } = this.#options;
    const keyDigest = peerKeyDigest(socket);
    const peer = keyDigest === undefined ? undefined : this.#peerByKey.get(keyDigest);
    if (peer === undefined || peer === self) {
      onCounted('unknown-key', undefined);
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    const link = new FramedLink(socket, {
      receiveSizeBytesMax: limits.frameSizeBytesMax,
      sendSizeBytesMax: limits.frameSizeBytesMax,
      queueSizeBytesMax: limits.clientQueuePauseSizeBytes,
    });
    const inbound = this.#inboundOf(peer);
    link.start({
      onFrame: (frame) => {
        if (this.#closed) return;
        if (inbound.link === link) {
          onFrame(peer, frame);
          return;
        }
        const reason = acceptHello(peer, frame);
        if (reason !== undefined) {
          onCounted('hello-refused', peer);
          link.send(encodeSignal({ kind: 'refused', reason }));
          link.close();
        } else if (admission.admit()) {
          this.#take(peer, link);
        } else {
          link.reset({ code: 'closed-here' });
        }
      },
      onEnd: ({ code }) => {
        if (inbound.link === link) inbound.link = undefined;
        if (!this.#closed && code !== 'closed-here') onCounted(code, peer);
      },
    });
  }

  #take(peer: number, link: FramedLink): void {
    const inbound = this.#inboundOf(peer);
    inbound.link?.reset({ code: 'replaced' });
    inbound.link = link;
    if (inbound.paused) link.pause();
    link.send(accepted);
    this.#outbound[peer]?.wake();
  }

  #tick(): void {
    for (const outbound of this.#outbound) outbound?.tick();
    for (const { link } of this.#inbound) {
      link?.tick({ stuckTicksMax: limits.linkStuckTicksMax });
      if (link?.open) link.send(alive);
    }
  }

  #outboundTo(peer: number): OutboundLink {
    const outbound = this.#outbound[peer];
    if (outbound === undefined) throw new RangeError(`there is no link to replica ${peer}`);
    return outbound;
  }

  #inboundOf(peer: number): Inbound {
    const inbound = this.#inbound[peer];
    if (inbound === undefined) throw new RangeError(`there is no replica ${peer}`);
    return inbound;
  }
}
