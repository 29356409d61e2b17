/**
 * Writer: appends canonical fields to one growing buffer. Integers are big-endian and of fixed width; what has a
 * variable length is preceded by it. There is one way to write a thing, so equal things have equal bytes.
 *
 * Errors: throws a RangeError for what has no encoding, so that nothing is ever sent that a `decode…` would refuse.
 */
import { type Digest, digestSizeBytes } from '../crypto/hash.ts';
import { SlotBudget } from './slot-budget.ts';

export class Writer {
  #buffer: Buffer;
  #length = 0;
  /** What records may still take of `limits.valueSlotsMax`. */
  readonly slots = new SlotBudget();

  constructor(sizeHintBytes = 256) {
    this.#buffer = Buffer.allocUnsafe(sizeHintBytes);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#reserve(1);
    this.#length = this.#buffer.writeUInt8(value, this.#length);
    return this;
  }

  u16(value: number): this {
    this.#reserve(2);
    this.#length = this.#buffer.writeUInt16BE(value, this.#length);
    return this;
  }

  u32(value: number): this {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32BE(value, this.#length);
    return this;
  }

  /** A safe non-negative integer in 8 bytes. Throws a RangeError when it is not one. */
  u64(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a safe non-negative integer: ${value}`);
    this.#reserve(8);
    this.#length = this.#buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), this.#length);
    this.#length = this.#buffer.writeUInt32BE(value % 0x1_0000_0000, this.#length);
    return this;
  }

  f64(value: number): this {
    this.#reserve(8);
    this.#length = this.#buffer.writeDoubleBE(value, this.#length);
    return this;
  }

  /** Bytes whose length the reader knows: `sizeBytes`, when it is the format that says so. */
  fixed(bytes: Uint8Array, sizeBytes: number = bytes.length): this {
    if (bytes.length !== sizeBytes) throw new RangeError(`${bytes.length} bytes where ${sizeBytes} belong`);
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  digest(digest: Digest): this {
    if (digest.length !== 2 * digestSizeBytes) throw new RangeError(`not a digest: ${digest.length} characters`);
    this.#reserve(digestSizeBytes);
    const written = this.#buffer.write(digest, this.#length, 'hex');
    if (written !== digestSizeBytes) throw new RangeError('not a digest: a character that is not hex');
    this.#length += digestSizeBytes;
    return this;
  }

  /** Bytes preceded by their length in 32 bits. */
  bytes(bytes: Uint8Array): this {
    return this.u32(bytes.length).fixed(bytes);
  }

  /** Well-formed text as UTF-8, preceded by its length in bytes. Throws a RangeError on a lone surrogate. */
  text(text: string): this {
    if (!text.isWellFormed()) throw new RangeError('text with a lone surrogate has no encoding');
    const sizeMax = text.length * 3;
    this.#reserve(4 + sizeMax);
    const written = this.#buffer.write(text, this.#length + 4, 'utf8');
    this.#buffer.writeUInt32BE(written, this.#length);
    this.#length += 4 + written;
    return this;
  }

  /** What was written, without a copy; the writer must not be used afterwards. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
