/**
 * Replica channel: the messages of one replica process, read with bounds.
 *
 * The replica's end is an ordinary channel of the runtime, a line of JSON a message. This end reads the lines itself, because the
 * runtime keeps whatever comes until a line ends, and a replica that was taken over could so fill its keeper's memory.
 * Out: values nobody has looked at yet, and complaints. Bounds: a line, messages and bytes a second; above these the channel
 * waits, and the replica with it, never the keeper.
 */
import type { Duplex } from 'node:stream';
import { monotonicMs, setTimer, type Timer } from '../platform/clock.ts';
import { limits } from '../wire/limits.ts';

export interface ReplicaChannelOptions {
  readonly stream: Duplex;
  onMessage(message: unknown): void;
  /** Something came that is no message; a sentence that quotes nothing of it. */
  onMalformed(reason: string): void;
}

/** Allowances may be saved up for so long. */
const burstMs = 2_000;
const newline = 0x0a;

export class ReplicaChannel {
  readonly #options: ReplicaChannelOptions;
  readonly #messages = new Allowance(limits.keeperMessagesPerSecond);
  readonly #bytes = new Allowance(limits.keeperBytesPerSecond);
  /** What came of the line that has not ended; empty while a line that is too long is skipped. */
  #partial: Buffer[] = [];
  #partialSizeBytes = 0;
  #isSkipping = false;
  /** Came and is not taken apart: no more than one read of the stream. */
  #rest: Buffer = Buffer.alloc(0);
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: ReplicaChannelOptions) {
    this.#options = options;
    const { stream } = options;
    stream.on('data', (chunk: Buffer) => {
      this.#bytes.take(chunk.length);
      this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
      this.#advance();
    });
    // The process ended; its end is noticed elsewhere.
    stream.on('error', () => {});
    stream.on('close', () => this.close());
  }

  /** Tells the replica; nothing when it is gone, or has read none of the last ones. */
  send(message: unknown): void {
    const { stream } = this.#options;
    if (this.#isClosed || stream.writableEnded || stream.writableLength > limits.keeperMessageSizeBytesMax) return;
    stream.write(`${JSON.stringify(message)}\n`);
  }

  /** The replica sees the channel end, and stops if it is correct. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#options.stream.destroy();
  }

  /** Takes apart what is there, as far as the allowances go. */
  #advance(): void {
    this.#timer = undefined;
    while (!this.#isClosed && this.#rest.length > 0) {
      if (this.#messages.waitMs() > 0) break;
      const end = this.#rest.indexOf(newline);
      const piece = end === -1 ? this.#rest : this.#rest.subarray(0, end);
      this.#rest = end === -1 ? Buffer.alloc(0) : this.#rest.subarray(end + 1);
      this.#takePiece(piece);
      if (end !== -1) this.#endLine();
    }
    if (this.#isClosed) return;
    const waitMs = Math.max(this.#bytes.waitMs(), this.#rest.length > 0 ? this.#messages.waitMs() : 0);
    if (waitMs === 0) {
      this.#options.stream.resume();
      return;
    }
    this.#options.stream.pause();
    this.#timer ??= setTimer(waitMs, () => this.#advance(), { background: true });
  }

  #takePiece(piece: Buffer): void {
    if (this.#isSkipping || piece.length === 0) return;
    this.#partialSizeBytes += piece.length;
    if (this.#partialSizeBytes <= limits.keeperMessageSizeBytesMax) {
      this.#partial.push(piece);
      return;
    }
    this.#isSkipping = true;
    this.#partial = [];
    this.#options.onMalformed(`a message of more than ${limits.keeperMessageSizeBytesMax} bytes`);
  }

  #endLine(): void {
    this.#messages.take(1);
    const line = Buffer.concat(this.#partial);
    const isSkipped = this.#isSkipping;
    this.#partial = [];
    this.#partialSizeBytes = 0;
    this.#isSkipping = false;
    if (isSkipped) return;
    let message: unknown;
    try {
      message = JSON.parse(line.toString('utf8'));
    } catch {
      this.#options.onMalformed('a message that is not JSON');
      return;
    }
    if (!isOfRuntime(message)) this.#options.onMessage(message);
  }
}

/** What the runtime tells its other end about the channel itself. */
function isOfRuntime(message: unknown): boolean {
  if (typeof message !== 'object' || message === null) return false;
  const { cmd } = message as { readonly cmd?: unknown };
  return typeof cmd === 'string' && cmd.startsWith('NODE_');
}

/** So many a second; what is taken too much is waited for. */
export class Allowance {
  readonly #perSecond: number;
  #left: number;
  #atMs = monotonicMs();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = (perSecond * burstMs) / 1000;
  }

  take(count: number): void {
    const nowMs = monotonicMs();
    const most = (this.#perSecond * burstMs) / 1000;
    this.#left = Math.min(most, this.#left + ((nowMs - this.#atMs) * this.#perSecond) / 1000) - count;
    this.#atMs = nowMs;
  }

  /** How long to wait before more is taken; 0: not at all. */
  waitMs(): number {
    this.take(0);
    return this.#left > 0 ? 0 : Math.ceil(((1 - this.#left) * 1000) / this.#perSecond);
  }
}
