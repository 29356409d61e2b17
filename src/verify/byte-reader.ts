/**
 * Byte reader: takes canonical fields off bytes that nobody has vouched for, with nothing but standard JavaScript.
 *
 * A second implementation of `wire/reader.ts`, which stands on Node's buffers: the verifier shares no decoder with the
 * replicas whose word it checks. Tests hold the two against each other.
 * Errors: throws a `Refusal` with the code it was made with.
 */
import { hexOfBytes } from './hex.ts';
import { demand, type ReasonCode, Refusal } from './refusal.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #code: ReasonCode;
  #offset = 0;

  constructor(bytes: Uint8Array, code: ReasonCode) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#code = code;
  }

  get offset(): number {
    return this.#offset;
  }

  demand(condition: boolean, sentence: string): void {
    demand(condition, this.#code, `${this.#code}: ${sentence}`);
  }

  u8(what: string): number {
    return this.#view.getUint8(this.#take(1, what));
  }

  u16(what: string): number {
    return this.#view.getUint16(this.#take(2, what));
  }

  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what));
  }

  u64(what: string): number {
    const value = this.u32(what) * 0x1_0000_0000 + this.u32(what);
    this.demand(Number.isSafeInteger(value), `${what} is larger than a safe integer`);
    return value;
  }

  f64(what: string): number {
    return this.#view.getFloat64(this.#take(8, what));
  }

  /** A copy of `length` bytes. */
  fixed(length: number, what: string): Uint8Array {
    const start = this.#take(length, what);
    return this.#bytes.slice(start, start + length);
  }

  hex(length: number, what: string): string {
    return hexOfBytes(this.fixed(length, what));
  }

  /** Bytes preceded by their 32-bit length, at most `lengthMax`. */
  bytes(lengthMax: number, what: string): Uint8Array {
    const length = this.u32(what);
    this.demand(length <= lengthMax, `${what} is too long`);
    return this.fixed(length, what);
  }

  /** Text preceded by its length in bytes, strictly UTF-8. */
  text(lengthMax: number, what: string): string {
    const bytes = this.bytes(lengthMax, what);
    try {
      return utf8.decode(bytes);
    } catch {
      throw new Refusal(this.#code, `${this.#code}: ${what} is not UTF-8`);
    }
  }

  /** A count of things that take at least `sizeMin` bytes each, so that a count alone allocates nothing. */
  count(value: number, max: number, sizeMin: number, what: string): number {
    this.demand(value <= max, `too many ${what}`);
    this.demand(value * sizeMin <= this.#bytes.length - this.#offset, `more ${what} announced than there are`);
    return value;
  }

  end(): void {
    this.demand(this.#offset === this.#bytes.length, 'bytes after the end');
  }

  #take(length: number, what: string): number {
    const start = this.#offset;
    this.demand(length <= this.#bytes.length - start, `${what} is cut off`);
    this.#offset = start + length;
    return start;
  }
}
