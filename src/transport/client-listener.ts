/**
 * Client listener: the replica's end of the links that clients dial.
 *
 * In: connections from anybody. Out: links, each numbered, with frames to and fro. Clients show no certificate; who
 * they are, is a matter of the frames. Clients pin this replica's link key.
 * Safety: an attacker with any number of connections can at most fill the limits: strangers, links, bytes held for
 * incomplete frames, bytes waiting for clients that do not read. Each of them closes the link that uses most of it.
 */
import { limits } from '../wire/limits.ts';
import { FramedLink, type LinkEnd, type LinkEndCode } from './framed-link.ts';
import { LinkListener, type ListenerEvent } from './link-listener.ts';
import type { LinkAddress } from './tls.ts';

export type ClientLinkEvent = ListenerEvent | LinkEndCode;

/** One client's link. Callbacks come from the event loop, never from inside a call. */
export interface ClientLink {
  /** Unlike every other link of this listener, ever. */
  readonly id: number;
  readonly remoteAddress: string;
  readonly queuedBytes: number;
  readonly open: boolean;
  /** False when the link has ended, or ends now because too much waits. The bytes must not change afterwards. */
  send(frame: Uint8Array): boolean;
  /** Sends what is queued, then closes. `onClose` is still called, once. */
  close(reason: string): void;
  /** Stops and goes on reading, for a replica that cannot keep up. */
  pause(): void;
  resume(): void;
  /** To be set in `onLink`. */
  onFrame: (frame: Uint8Array) => void;
  onClose: (end: LinkEnd) => void;
}

export interface ClientListenerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly keyPem: string;
  readonly certificatePem: string;
  /** A client has connected. It stays a stranger, with little time, until its first frame. */
  readonly onLink: (link: ClientLink) => void;
  readonly onCounted?: (event: ClientLinkEvent) => void;
  /** Other limits than those of `wire/limits.ts`, for small machines and tests. */
  readonly bounds?: Partial<ClientBounds>;
}

export interface ClientBounds {
  readonly linksMax: number;
  readonly strangersMax: number;
  readonly frameSizeBytesMax: number;
  readonly queueSizeBytesMax: number;
  readonly queuePauseSizeBytes: number;
  readonly queuesSizeBytesMax: number;
  readonly partialsSizeBytesMax: number;
  readonly handshakeTimeoutMs: number;
  readonly frameTicksMax: number;
}

const standardBounds: ClientBounds = {
  linksMax: limits.clientLinksMax,
  strangersMax: limits.clientStrangersMax,
  frameSizeBytesMax: limits.clientFrameSizeBytesMax,
  queueSizeBytesMax: limits.clientQueueSizeBytesMax,
  queuePauseSizeBytes: limits.clientQueuePauseSizeBytes,
  queuesSizeBytesMax: limits.clientQueuesSizeBytesMax,
  partialsSizeBytesMax: limits.clientPartialsSizeBytesMax,
  handshakeTimeoutMs: limits.handshakeTimeoutMs,
  frameTicksMax: limits.clientFrameTicksMax,
};

export class ClientListener {
  readonly #address: LinkAddress;
  readonly #bounds: ClientBounds;
  readonly #onLink: (link: ClientLink) => void;
  readonly #onCounted: (event: ClientLinkEvent) => void;
  readonly #listener: LinkListener;
  readonly #links = new Map<number, AcceptedLink>();
  readonly #totals: Totals = { queuedBytes: 0, heldBytes: 0 };
  #nextId = 1;
  #ticking: NodeJS.Timeout | undefined;
  #closed = false;

  constructor({ host, port, keyPem, certificatePem, onLink, onCounted, bounds }: ClientListenerOptions) {
    this.#address = { host, port };
    this.#bounds = { ...standardBounds, ...bounds };
    this.#onLink = onLink;
    this.#onCounted = (event) => {
      if (!this.#closed) onCounted?.(event);
    };
    this.#listener = new LinkListener({
      keyPem,
      certificatePem,
      askForCertificate: false,
      admittedMax: this.#bounds.linksMax,
      strangersMax: this.#bounds.strangersMax,
      handshakeTimeoutMs: this.#bounds.handshakeTimeoutMs,
      onSecured: (socket, admission) => {
        const id = this.#nextId++;
        const { frameSizeBytesMax, queueSizeBytesMax } = this.#bounds;
        const framed = new FramedLink(socket, {
          receiveSizeBytesMax: frameSizeBytesMax,
          sendSizeBytesMax: limits.frameSizeBytesMax,
          queueSizeBytesMax,
        });
        const link = new AcceptedLink({
          id,
          framed,
          totals: this.#totals,
          queuePauseSizeBytes: this.#bounds.queuePauseSizeBytes,
          onGrown: () => this.#shed(),
          admit: () => admission.admit(),
          onEnd: (end) => {
            this.#links.delete(id);
            if (end.code !== 'closed-here') this.#onCounted(end.code);
          },
        });
        this.#links.set(id, link);
        this.#onLink(link);
        link.start();
      },
      onCounted: (event) => this.#onCounted(event),
    });
  }

  /** Clients that connect from now on see this key; links that are open stay. */
  showKey(key: { readonly keyPem: string; readonly certificatePem: string }): void {
    this.#listener.showKey(key);
  }

  /** Returns where it listens. Rejects with a `TransportError`. */
  async listen(): Promise<LinkAddress> {
    const bound = await this.#listener.listen(this.#address);
    if (this.#closed) return bound;
    this.#ticking = setInterval(() => {
      for (const link of this.#links.values()) link.tick(this.#bounds.frameTicksMax);
    }, limits.linkTickMs);
    this.#ticking.unref();
    return bound;
  }

  /** Links that are open, strangers included, and the bytes they make this process keep. */
  status(): { readonly links: number; readonly queuedBytes: number; readonly heldBytes: number } {
    return { links: this.#links.size, ...this.#totals };
  }

  /** Cuts every link and stops listening. Each link's `onClose` is still called. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#ticking);
    await this.#listener.close();
  }

  /** Closes the links that make this process keep most, until all together are within bounds. */
  #shed(): void {
    const { queuesSizeBytesMax, partialsSizeBytesMax } = this.#bounds;
    for (const [kind, boundBytes] of [
      ['queuedBytes', queuesSizeBytesMax],
      ['heldBytes', partialsSizeBytesMax],
    ] as const) {
      while (this.#totals[kind] > boundBytes) {
        let worst: AcceptedLink | undefined;
        for (const link of this.#links.values()) {
          if (link.open && (worst === undefined || link.counted[kind] > worst.counted[kind])) worst = link;
        }
        if (worst === undefined) break;
        worst.reset({ code: 'memory', detail: `${worst.counted[kind]} bytes kept for it` });
      }
    }
  }
}

interface Totals {
  queuedBytes: number;
  heldBytes: number;
}

class AcceptedLink implements ClientLink {
  readonly id: number;
  onFrame: (frame: Uint8Array) => void = () => {};
  onClose: (end: LinkEnd) => void = () => {};
  /** This link's part of the totals. */
  readonly counted: Totals = { queuedBytes: 0, heldBytes: 0 };
  readonly #framed: FramedLink;
  readonly #totals: Totals;
  readonly #queuePauseSizeBytes: number;
  readonly #onGrown: () => void;
  readonly #admit: () => boolean;
  readonly #onEnd: (end: LinkEnd) => void;
  #admitted = false;
  #pausedByReplica = false;
  #pausedByQueue = false;

  constructor({
    id,
    framed,
    totals,
    queuePauseSizeBytes,
    onGrown,
    admit,
    onEnd,
  }: {
    readonly id: number;
    readonly framed: FramedLink;
    readonly totals: Totals;
    readonly queuePauseSizeBytes: number;
    readonly onGrown: () => void;
    readonly admit: () => boolean;
    readonly onEnd: (end: LinkEnd) => void;
  }) {
    this.id = id;
    this.#framed = framed;
    this.#totals = totals;
    this.#queuePauseSizeBytes = queuePauseSizeBytes;
    this.#onGrown = onGrown;
    this.#admit = admit;
    this.#onEnd = onEnd;
  }

  get remoteAddress(): string {
    return this.#framed.remoteAddress;
  }

  get queuedBytes(): number {
    return this.#framed.queuedBytes;
  }

  get open(): boolean {
    return this.#framed.open;
  }

  start(): void {
    this.#framed.start({
      onFrame: (frame) => {
        if (!this.#admitted) {
          this.#admitted = this.#admit();
          if (!this.#admitted) {
            this.#framed.reset({ code: 'closed-here', detail: 'as many links as allowed' });
            return;
          }
        }
        this.onFrame(frame);
      },
      onRead: () => this.#count(),
      onWritten: () => this.#count(),
      onEnd: (end) => {
        this.#count();
        this.#onEnd(end);
        this.onClose(end);
      },
    });
  }

  send(frame: Uint8Array): boolean {
    const taken = this.#framed.send(frame);
    this.#count();
    return taken;
  }

  close(reason: string): void {
    this.#framed.close({ code: 'closed-here', detail: reason });
  }

  pause(): void {
    this.#pausedByReplica = true;
    this.#framed.pause();
  }

  resume(): void {
    this.#pausedByReplica = false;
    if (!this.#pausedByQueue) this.#framed.resume();
  }

  reset(end: LinkEnd): void {
    this.#framed.reset(end);
    this.#count();
  }

  tick(insideFrameTicksMax: number): void {
    this.#framed.tick({ stuckTicksMax: limits.linkStuckTicksMax, insideFrameTicksMax });
  }

  /** Brings the totals up to date, and does not read on from a client that does not take its replies. */
  #count(): void {
    const queuedBytes = this.#framed.queuedBytes;
    const heldBytes = this.#framed.heldBytes;
    const grown = queuedBytes > this.counted.queuedBytes || heldBytes > this.counted.heldBytes;
    this.#totals.queuedBytes += queuedBytes - this.counted.queuedBytes;
    this.#totals.heldBytes += heldBytes - this.counted.heldBytes;
    this.counted.queuedBytes = queuedBytes;
    this.counted.heldBytes = heldBytes;
    if (!this.#pausedByQueue && queuedBytes > this.#queuePauseSizeBytes) {
      this.#pausedByQueue = true;
      this.#framed.pause();
    } else if (this.#pausedByQueue && queuedBytes <= this.#queuePauseSizeBytes / 2) {
      this.#pausedByQueue = false;
      if (!this.#pausedByReplica) this.#framed.resume();
    }
    if (grown) this.#onGrown();
  }
}
