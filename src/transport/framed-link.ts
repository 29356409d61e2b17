/**
 * Framed link: one authenticated TLS connection that carries frames, whichever side opened it.
 *
 * In: payloads to send, in order. Out: payloads received, and one end with its reason. Frames queued in one turn of the
 * event loop go out in one write, and one write is under way at a time, so that TLS never holds more than a piece.
 * Owns its socket; after the end nothing is delivered and nothing is kept.
 * Callbacks come from the event loop only, never from inside a call made here.
 */
import type { TLSSocket } from 'node:tls';
import { type FrameFault, FrameParser, FrameQueue } from './frames.ts';
import { systemCode } from './transport-error.ts';

export type LinkEndCode =
  | FrameFault
  /** The other end closed between two frames, or the network did. */
  | 'closed-by-peer'
  /** The other end closed inside a frame. */
  | 'frame-truncated'
  /** More was to be sent than may wait. */
  | 'queue-full'
  /** Bytes wait and none were taken for a long time. */
  | 'stuck'
  /** Nothing was heard for a long time although something had to be. */
  | 'silent'
  /** A frame took too long to arrive. */
  | 'frame-too-slow'
  /** A newer link of the same peer took its place. */
  | 'replaced'
  /** What arrived is not what this link is for. */
  | 'unexpected'
  /** The other end did not want us. */
  | 'turned-away'
  /** It made this process hold too much. */
  | 'memory'
  | 'closed-here';

export interface LinkEnd {
  readonly code: LinkEndCode;
  /** More for people, when there is more. */
  readonly detail?: string;
}

export interface LinkUse {
  readonly onFrame: (payload: Uint8Array) => void;
  /** A chunk has been read and its frames delivered. */
  readonly onRead?: () => void;
  /** Called once, after `start`. */
  readonly onEnd: (end: LinkEnd) => void;
  /** Some of what was queued has been handed to the network. */
  readonly onWritten?: () => void;
}

/** Between `close` and the socket's end: time to hand over what is queued and to hear the other end close. */
const closingTimeMs = 1_000;
/** Idle time after which TCP itself probes. */
const keepAliveAfterMs = 10_000;

export class FramedLink {
  readonly remoteAddress: string;
  readonly #socket: TLSSocket;
  readonly #parser: FrameParser;
  readonly #queue = new FrameQueue();
  readonly #receiveSizeBytesMax: number;
  readonly #sendSizeBytesMax: number;
  readonly #queueSizeBytesMax: number;
  #use: LinkUse | undefined;
  #end: LinkEnd | undefined;
  #socketClosed = false;
  #flushPlanned = false;
  /** Bytes handed to the socket and not yet taken by it. */
  #writingBytes = 0;
  #closingTimer: NodeJS.Timeout | undefined;
  #paused = false;
  #ticksWithoutWrite = 0;
  #ticksWithoutBytes = 0;
  #ticksInsideFrame = 0;
  #frames = 0;
  #framesAtTick = 0;

  constructor(
    socket: TLSSocket,
    {
      receiveSizeBytesMax,
      sendSizeBytesMax,
      queueSizeBytesMax,
    }: {
      /** Largest payload taken from the other end. */
      readonly receiveSizeBytesMax: number;
      /** Largest payload the other end takes. */
      readonly sendSizeBytesMax: number;
      /** Most that may wait to be sent. */
      readonly queueSizeBytesMax: number;
    },
  ) {
    this.#socket = socket;
    this.#parser = new FrameParser(receiveSizeBytesMax);
    this.#receiveSizeBytesMax = receiveSizeBytesMax;
    this.#sendSizeBytesMax = sendSizeBytesMax;
    this.#queueSizeBytesMax = queueSizeBytesMax;
    this.remoteAddress = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveAfterMs);
    socket.on('error', (error) => {
      const code = systemCode(error);
      this.#finish(this.#closedByPeer(code));
    });
    socket.on('end', () => this.#finish(this.#closedByPeer()));
    socket.on('close', () => {
      this.#socketClosed = true;
      clearTimeout(this.#closingTimer);
      this.#finish(this.#closedByPeer());
      this.#report();
    });
  }

  /** Begins to deliver. Frames that arrived before wait until now. */
  start(use: LinkUse): void {
    this.#use = use;
    if (this.#socketClosed) {
      setImmediate(() => this.#report());
      return;
    }
    this.#socket.on('data', (chunk: Uint8Array) => this.#read(chunk));
    if (this.#paused) this.#socket.pause();
  }

  /** Whether frames can still be sent. */
  get open(): boolean {
    return this.#end === undefined;
  }

  /** Bytes that wait to be sent, heads included. */
  get queuedBytes(): number {
    return this.#queue.sizeBytes + (this.#socket.destroyed ? 0 : this.#writingBytes);
  }

  /** Bytes held for a frame that is not complete. */
  get heldBytes(): number {
    return this.open ? this.#parser.heldBytes : 0;
  }

  /**
   * Queues a payload, which must not change afterwards. False when the link has ended, or ends now because its queue
   * is full. Throws a RangeError for a payload that the other end would not take: that is a bug of ours.
   */
  send(payload: Uint8Array): boolean {
    if (payload.length === 0 || payload.length > this.#sendSizeBytesMax) {
      throw new RangeError(`a frame here has 1 to ${this.#sendSizeBytesMax} bytes, not ${payload.length}`);
    }
    if (this.#end !== undefined) return false;
    const queued = this.queuedBytes;
    if (queued + payload.length > this.#queueSizeBytesMax) {
      this.reset({ code: 'queue-full', detail: `${queued} bytes wait` });
      return false;
    }
    this.#queue.add(payload);
    this.#planFlush();
    return true;
  }

  /** Stops reading from the other end. What the socket has already read, at most a chunk, is still delivered. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    if (this.#use !== undefined && this.open) this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#use !== undefined && this.open) this.#socket.resume();
  }

  /** Ends the link at once and drops what is queued. */
  reset(end: LinkEnd): void {
    this.#finish(end);
  }

  /** Ends the link after what is queued has been sent; nothing more is delivered or taken. */
  close(end: LinkEnd = { code: 'closed-here' }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#closingTimer = setTimeout(() => this.#drop(), closingTimeMs);
    this.#socket.resume();
    this.#flush();
  }

  /**
   * Counts one tick of the owner's slow timer and ends the link when it has got stuck. Ticks are counted, not timed,
   * so that a process that was stopped for an hour does not blame its links. Zero or undefined: not looked at.
   */
  tick({
    stuckTicksMax,
    silentTicksMax,
    insideFrameTicksMax,
  }: {
    readonly stuckTicksMax: number;
    readonly silentTicksMax?: number;
    readonly insideFrameTicksMax?: number;
  }): void {
    if (this.#end !== undefined) return;
    this.#ticksWithoutWrite = this.queuedBytes > 0 ? this.#ticksWithoutWrite + 1 : 0;
    this.#ticksWithoutBytes = this.#paused ? 0 : this.#ticksWithoutBytes + 1;
    const sameFrame = this.#parser.insideFrame && this.#framesAtTick === this.#frames && !this.#paused;
    this.#ticksInsideFrame = sameFrame ? this.#ticksInsideFrame + 1 : 0;
    this.#framesAtTick = this.#frames;
    if (this.#ticksWithoutWrite > stuckTicksMax) {
      this.reset({ code: 'stuck', detail: `${this.queuedBytes} bytes wait` });
    } else if (silentTicksMax !== undefined && this.#ticksWithoutBytes > silentTicksMax) {
      this.reset({ code: 'silent' });
    } else if (insideFrameTicksMax !== undefined && this.#ticksInsideFrame > insideFrameTicksMax) {
      this.reset({ code: 'frame-too-slow' });
    }
  }

  #read(chunk: Uint8Array): void {
    if (this.#end !== undefined) return;
    this.#ticksWithoutBytes = 0;
    const fault = this.#parser.push(chunk, (payload) => {
      this.#frames += 1;
      this.#use?.onFrame(payload);
      return this.#end === undefined;
    });
    if (this.#end === undefined) this.#use?.onRead?.();
    if (fault === undefined) return;
    this.#finish({
      code: fault,
      ...(fault === 'frame-too-large' ? { detail: `frames here have at most ${this.#receiveSizeBytesMax} bytes` } : {}),
    });
  }

  #planFlush(): void {
    if (this.#flushPlanned || this.#writingBytes > 0) return;
    this.#flushPlanned = true;
    setImmediate(() => {
      this.#flushPlanned = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#writingBytes > 0 || this.#socketClosed) return;
    const piece = this.#queue.take();
    if (piece === undefined) {
      if (this.#end !== undefined && this.#closingTimer !== undefined) this.#socket.end();
      return;
    }
    this.#writingBytes = piece.length;
    this.#socket.write(piece, (error) => {
      this.#writingBytes = 0;
      this.#ticksWithoutWrite = 0;
      if (error != null) return;
      if (this.#end === undefined) this.#use?.onWritten?.();
      this.#flush();
    });
  }

  #closedByPeer(detail?: string): LinkEnd {
    const code = this.#parser.insideFrame ? 'frame-truncated' : 'closed-by-peer';
    return detail === undefined ? { code } : { code, detail };
  }

  /** The first reason stays; the socket goes at once. */
  #finish(end: LinkEnd): void {
    this.#end ??= end;
    this.#drop();
  }

  #drop(): void {
    this.#queue.clear();
    this.#socket.destroy();
  }

  #report(): void {
    const use = this.#use;
    if (use === undefined || this.#end === undefined) return;
    this.#use = undefined;
    use.onEnd(this.#end);
  }
}
