/**
 * Frames: how a stream of bytes is cut into payloads. A frame is a length (u32, big-endian, at least 1) and that many
 * bytes of payload.
 *
 * `FrameParser`: in: chunks cut anywhere. Out: payloads in order, or the reason why the stream is not to be read on.
 * `FrameQueue`: in: payloads. Out: pieces to write, small frames together in one and large ones uncopied.
 * Safety: the parser holds at most one incomplete frame, allocated as its bytes arrive and not as they are announced;
 * and a payload keeps at most four times its own size of memory alive, so what a reader keeps is what it counts.
 */

export const frameHeadSizeBytes = 4;

/** Why a stream cannot be read on. */
export type FrameFault = 'frame-too-large' | 'frame-empty';

/** Small frames are gathered into one write of this size: a write costs about as much as encrypting 8 KiB. */
const gatherSizeBytesMax = 64 * 1024;
/** Most that is handed to the socket at once; bounds what TLS holds encrypted for one link. */
const pieceSizeBytesMax = 256 * 1024;
/** First allocation for an incomplete frame; then it doubles while its bytes really arrive. */
const firstAllocationSizeBytes = 64 * 1024;
/** A payload is a view into its chunk only if it is at least this part of it. */
const viewShareMin = 1 / 4;

const empty = new Uint8Array(0);

export class FrameParser {
  readonly #frameSizeBytesMax: number;
  /** Bytes of the length read so far, when a chunk ends inside it. */
  #head = 0;
  #headBytes = 0;
  /** The payload being collected; `#length` 0 when between frames. */
  #length = 0;
  #partial: Uint8Array = empty;
  #filled = 0;
  #fault: FrameFault | undefined;

  constructor(frameSizeBytesMax: number) {
    this.#frameSizeBytesMax = frameSizeBytesMax;
  }

  /** Bytes of memory held for an incomplete frame. */
  get heldBytes(): number {
    return this.#partial.length;
  }

  /** Whether the stream stands inside a frame: ending here would cut it off. */
  get insideFrame(): boolean {
    return this.#headBytes > 0 || this.#length > 0;
  }

  /**
   * Takes the next chunk, which from then on belongs to the payloads that are views into it. `onPayload` is called
   * for each complete payload and returns whether to go on; after `false` the rest of the chunk is dropped.
   * Returns a fault at once and for ever when the stream cannot be read on.
   */
  push(chunk: Uint8Array, onPayload: (payload: Uint8Array) => boolean): FrameFault | undefined {
    let at = 0;
    while (this.#fault === undefined && at < chunk.length) {
      if (this.#length === 0) {
        at = this.#readHead(chunk, at);
        continue;
      }
      const missing = this.#length - this.#filled;
      const available = chunk.length - at;
      if (this.#filled === 0 && available >= missing) {
        const payload = viewOrCopy(chunk, at, missing);
        at += missing;
        this.#length = 0;
        if (!onPayload(payload)) return undefined;
        continue;
      }
      const taken = Math.min(missing, available);
      this.#reserve(this.#filled + taken);
      this.#partial.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
      if (this.#filled < this.#length) break;
      const payload = this.#partial;
      this.#partial = empty;
      this.#filled = 0;
      this.#length = 0;
      if (!onPayload(payload)) return undefined;
    }
    return this.#fault;
  }

  #readHead(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length && this.#headBytes < frameHeadSizeBytes) {
      this.#head = this.#head * 256 + chunk[at]!;
      this.#headBytes += 1;
      at += 1;
    }
    if (this.#headBytes === frameHeadSizeBytes) {
      if (this.#head === 0) this.#fault = 'frame-empty';
      else if (this.#head > this.#frameSizeBytesMax) this.#fault = 'frame-too-large';
      else this.#length = this.#head;
      this.#head = 0;
      this.#headBytes = 0;
    }
    return at;
  }

  /** Makes room for `sizeBytes` of the payload, at most twice what is needed and never more than the payload. */
  #reserve(sizeBytes: number): void {
    if (sizeBytes <= this.#partial.length) return;
    const capacity = Math.min(this.#length, Math.max(firstAllocationSizeBytes, 2 * sizeBytes));
    // Not zeroed, which would cost as much as the copy: every byte is written before the payload is handed out.
    const grown = new Uint8Array(Buffer.allocUnsafeSlow(capacity).buffer);
    grown.set(this.#partial.subarray(0, this.#filled));
    this.#partial = grown;
  }
}

function viewOrCopy(chunk: Uint8Array, at: number, length: number): Uint8Array {
  if (length >= chunk.buffer.byteLength * viewShareMin) {
    return new Uint8Array(chunk.buffer, chunk.byteOffset + at, length);
  }
  return new Uint8Array(chunk.subarray(at, at + length));
}

/** The payloads waiting to be written to one link. They are not copied when queued and must not change afterwards. */
export class FrameQueue {
  #payloads: (Uint8Array | undefined)[] = [];
  /** Index of the first payload that is not completely taken. */
  #first = 0;
  /** Bytes of the first payload already taken. */
  #taken = 0;
  #headTaken = false;
  #sizeBytes = 0;

  /** Bytes waiting, heads included. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  add(payload: Uint8Array): void {
    this.#payloads.push(payload);
    this.#sizeBytes += frameHeadSizeBytes + payload.length;
  }

  /** The next bytes to write, or undefined when there are none. */
  take(): Uint8Array | undefined {
    const payload = this.#payloads[this.#first];
    if (payload === undefined) return undefined;
    const rest = payload.length - this.#taken;
    const piece = this.#headTaken && rest >= gatherSizeBytesMax ? this.#slice(payload, rest) : this.#gather();
    this.#sizeBytes -= piece.length;
    return piece;
  }

  clear(): void {
    this.#payloads = [];
    this.#first = 0;
    this.#taken = 0;
    this.#headTaken = false;
    this.#sizeBytes = 0;
  }

  /** A view of the next part of a large payload. */
  #slice(payload: Uint8Array, rest: number): Uint8Array {
    const length = Math.min(rest, pieceSizeBytesMax);
    const piece = payload.subarray(this.#taken, this.#taken + length);
    this.#advance(payload, length);
    return piece;
  }

  /** Copies heads and payloads into one piece: whole frames while they fit, or the beginning of a large one. */
  #gather(): Uint8Array {
    const size = this.#gatherSize();
    const piece = Buffer.allocUnsafe(size);
    let at = 0;
    while (at < size) {
      const payload = this.#payloads[this.#first]!;
      if (!this.#headTaken) {
        piece.writeUInt32BE(payload.length, at);
        at += frameHeadSizeBytes;
        this.#headTaken = true;
      }
      const length = Math.min(payload.length - this.#taken, size - at);
      const whole = this.#taken === 0 && length === payload.length;
      piece.set(whole ? payload : payload.subarray(this.#taken, this.#taken + length), at);
      at += length;
      this.#advance(payload, length);
    }
    return piece;
  }

  #gatherSize(): number {
    let size = 0;
    for (let index = this.#first; index < this.#payloads.length; index++) {
      const payload = this.#payloads[index]!;
      const first = index === this.#first;
      const left = (first && this.#headTaken ? 0 : frameHeadSizeBytes) + payload.length - (first ? this.#taken : 0);
      if (size + left > gatherSizeBytesMax) {
        // A frame that could never fit begins here; one that fits the next piece waits for it.
        return left > gatherSizeBytesMax && size + frameHeadSizeBytes < gatherSizeBytesMax ? gatherSizeBytesMax : size;
      }
      size += left;
    }
    return size;
  }

  #advance(payload: Uint8Array, length: number): void {
    this.#taken += length;
    if (this.#taken < payload.length) return;
    this.#payloads[this.#first] = undefined;
    this.#first += 1;
    this.#taken = 0;
    this.#headTaken = false;
    if (this.#first === this.#payloads.length) {
      this.#payloads.length = 0;
      this.#first = 0;
    } else if (this.#first >= 1024 && this.#first * 2 >= this.#payloads.length) {
      this.#payloads.splice(0, this.#first);
      this.#first = 0;
    }
  }
}
