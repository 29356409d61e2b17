/**
 * Outbound link: keeps one link to one peer dialled, for as long as it is wanted.
 *
 * In: where the peer is and what key it holds. Out: up and down, in turn. `up` means that the peer has proved its key,
 * has our hello and said that it takes the link, so frames sent from then on reach a peer that listens. Frames sent
 * before a failure may be lost: whoever sends has to be able to ask again.
 */
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import type { BackOff } from './back-off.ts';
import { FramedLink, type LinkEnd } from './framed-link.ts';
import { decodeSignal, signalSizeBytesMax } from './greeting.ts';
import { addressText, dialTls, type LinkAddress } from './tls.ts';
import { TransportError, type TransportErrorCode } from './transport-error.ts';

export type OutboundState =
  /** The address is not known yet. */
  | 'unaddressed'
  | 'connecting'
  /** Backing off. */
  | 'waiting'
  | 'up'
  | 'closed';

export class OutboundLink {
  readonly #keyDigest: Digest;
  readonly #identity: { readonly keyPem: string; readonly certificatePem: string };
  readonly #hello: Uint8Array;
  readonly #queueSizeBytesMax: number;
  readonly #handshakeTimeoutMs: number;
  readonly #onUp: () => void;
  readonly #onDown: (reason: string) => void;
  readonly #onCounted: (event: LinkEnd['code'] | TransportErrorCode) => void;
  readonly #backOff: BackOff;
  #address: LinkAddress;
  #state: OutboundState = 'unaddressed';
  #link: FramedLink | undefined;
  #lastError: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dialling: AbortController | undefined;
  #wokenThisTick = false;

  constructor({
    address,
    keyDigest,
    identity,
    hello,
    queueSizeBytesMax,
    handshakeTimeoutMs,
    backOff,
    onUp,
    onDown,
    onCounted,
  }: {
    /** Port 0: not known yet. */
    readonly address: LinkAddress;
    readonly keyDigest: Digest;
    readonly identity: { readonly keyPem: string; readonly certificatePem: string };
    readonly hello: Uint8Array;
    readonly queueSizeBytesMax: number;
    /** For dialling with TLS, and again for the peer's answer to our hello. */
    readonly handshakeTimeoutMs: number;
    readonly backOff: BackOff;
    readonly onUp: () => void;
    readonly onDown: (reason: string) => void;
    readonly onCounted: (event: LinkEnd['code'] | TransportErrorCode) => void;
  }) {
    this.#address = address;
    this.#keyDigest = keyDigest;
    this.#identity = identity;
    this.#hello = hello;
    this.#queueSizeBytesMax = queueSizeBytesMax;
    this.#handshakeTimeoutMs = handshakeTimeoutMs;
    this.#backOff = backOff;
    this.#onUp = onUp;
    this.#onDown = onDown;
    this.#onCounted = onCounted;
  }

  get state(): OutboundState {
    return this.#state;
  }

  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0;
  }

  /** Why it is not up, or was not the last time. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Starts to dial, unless the address is not known yet. */
  start(): void {
    if (this.#state === 'unaddressed' && this.#address.port !== 0) void this.#dial();
  }

  /** The peer is elsewhere: a link to the old address is cut, the new one is dialled at once. */
  moveTo(address: LinkAddress): void {
    if (this.#state === 'closed') return;
    this.#address = address;
    this.#dialling?.abort();
    this.#link?.reset({ code: 'closed-here', detail: 'the address changed' });
    this.wake();
    this.start();
  }

  /** The peer seems to be there: do not wait on. At most once a tick, so that nobody makes us dial in a loop. */
  wake(): void {
    if (this.#state !== 'waiting' || this.#wokenThisTick) return;
    this.#wokenThisTick = true;
    clearTimeout(this.#timer);
    void this.#dial();
  }

  /** False when not up, or when too much waits; the link is then reset and reported down. */
  send(frame: Uint8Array): boolean {
    return this.#state === 'up' && this.#link !== undefined && this.#link.send(frame);
  }

  tick(): void {
    this.#wokenThisTick = false;
    this.#link?.tick({ stuckTicksMax: limits.linkStuckTicksMax, silentTicksMax: limits.linkSilentTicksMax });
    if (this.#state === 'up') this.#backOff.tickUp();
  }

  /** Ends it for good. Nothing is reported any more. */
  close(): void {
    this.#state = 'closed';
    clearTimeout(this.#timer);
    this.#dialling?.abort();
    this.#link?.reset({ code: 'closed-here' });
  }

  async #dial(): Promise<void> {
    this.#state = 'connecting';
    const dialling = new AbortController();
    this.#dialling = dialling;
    try {
      const socket = await dialTls({
        address: this.#address,
        keyDigest: this.#keyDigest,
        timeoutMs: this.#handshakeTimeoutMs,
        identity: this.#identity,
        signal: dialling.signal,
      });
      if (this.#closed()) {
        socket.destroy();
        return;
      }
      const link = new FramedLink(socket, {
        receiveSizeBytesMax: signalSizeBytesMax,
        sendSizeBytesMax: limits.frameSizeBytesMax,
        queueSizeBytesMax: this.#queueSizeBytesMax,
      });
      this.#greet(link);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      if (this.#closed()) return;
      if (error.code !== 'aborted') this.#onCounted(error.code);
      this.#lastError = error.message;
      this.#waitAndDial();
    }
  }

  #greet(link: FramedLink): void {
    this.#link = link;
    this.#timer = setTimeout(() => link.reset({ code: 'silent' }), this.#handshakeTimeoutMs);
    link.send(this.#hello);
    link.start({
      onFrame: (payload) => this.#hear(link, payload),
      onEnd: (end) => this.#ended(end),
    });
  }

  #hear(link: FramedLink, payload: Uint8Array): void {
    const signal = decodeSignal(payload);
    const up = this.#state === 'up';
    if (signal?.kind === 'refused' && !up) {
      link.reset({ code: 'turned-away', detail: signal.reason });
    } else if (signal?.kind === 'accepted' && !up) {
      clearTimeout(this.#timer);
      this.#state = 'up';
      this.#lastError = undefined;
      this.#onUp();
    } else if (signal?.kind !== 'alive' || !up) {
      link.reset({ code: 'unexpected', detail: 'that is no signal of a listening replica' });
    }
  }

  #ended(end: LinkEnd): void {
    clearTimeout(this.#timer);
    this.#link = undefined;
    if (this.#closed()) return;
    const wasUp = this.#state === 'up';
    const reason = end.detail === undefined ? end.code : `${end.code}: ${end.detail}`;
    this.#lastError = `link to ${addressText(this.#address)} ended: ${reason}`;
    this.#onCounted(end.code);
    this.#waitAndDial();
    if (wasUp) this.#onDown(reason);
  }

  #waitAndDial(): void {
    this.#state = 'waiting';
    this.#timer = setTimeout(() => void this.#dial(), this.#backOff.next());
  }

  /** Asked anew after every wait: `close` may have been called meanwhile. */
  #closed(): boolean {
    return this.#state === 'closed';
  }
}
