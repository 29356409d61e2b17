/**
 * Reader: takes canonical fields off bytes that nobody has vouched for. Every read is checked against what is left,
 * lengths are checked against their limit before anything is allocated, and variable parts are views, not copies.
 *
 * Errors: throws `WireError`, and nothing else; each `decode…` of this folder turns it into a typed rejection.
 */
import { isUtf8 } from 'node:buffer';
import type { Digest } from '../crypto/hash.ts';
import { SlotBudget } from './slot-budget.ts';

/** The bytes are not the encoding of anything. `message` names the field and the rule. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

/** What decoding yields: the thing, or why the bytes are refused. Never both, never an exception. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** Runs a reader over all of `bytes`; the reader must consume them to the last one. */
export function decode<T>(bytes: Uint8Array, read: (reader: Reader) => T): Decoded<T> {
  try {
    const reader = new Reader(bytes);
    const value = read(reader);
    reader.end();
    return { ok: true, value };
  } catch (error) {
    if (error instanceof WireError) return { ok: false, reason: error.message };
    throw error;
  }
}

export class Reader {
  readonly #buffer: Buffer;
  #offset = 0;
  /** What records may still take of `limits.valueSlotsMax`. */
  readonly slots = new SlotBudget();

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get offset(): number {
    return this.#offset;
  }

  get left(): number {
    return this.#buffer.length - this.#offset;
  }

  u8(what: string): number {
    this.#need(1, what);
    return this.#buffer[this.#offset++] as number;
  }

  u16(what: string): number {
    this.#need(2, what);
    const value = this.#buffer.readUInt16BE(this.#offset);
    this.#offset += 2;
    return value;
  }

  u32(what: string): number {
    this.#need(4, what);
    const value = this.#buffer.readUInt32BE(this.#offset);
    this.#offset += 4;
    return value;
  }

  u64(what: string): number {
    this.#need(8, what);
    const high = this.#buffer.readUInt32BE(this.#offset);
    const low = this.#buffer.readUInt32BE(this.#offset + 4);
    if (high > 0x1f_ffff) throw new WireError(`${what}: larger than a safe integer`);
    this.#offset += 8;
    return high * 0x1_0000_0000 + low;
  }

  f64(what: string): number {
    this.#need(8, what);
    const value = this.#buffer.readDoubleBE(this.#offset);
    this.#offset += 8;
    return value;
  }

  /** A view of `length` bytes. */
  fixed(length: number, what: string): Uint8Array {
    this.#need(length, what);
    const view = this.#buffer.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return view;
  }

  digest(what: string): Digest {
    this.#need(32, what);
    const digest = this.#buffer.toString('hex', this.#offset, this.#offset + 32) as Digest;
    this.#offset += 32;
    return digest;
  }

  /** A view of bytes preceded by their 32-bit length, at most `lengthMax`. */
  bytes(lengthMax: number, what: string): Uint8Array {
    const length = this.u32(what);
    if (length > lengthMax) throw new WireError(`${what}: ${length} bytes, more than ${lengthMax}`);
    return this.fixed(length, what);
  }

  /** Text preceded by its length in bytes, strictly UTF-8. */
  text(lengthMax: number, what: string): string {
    const view = this.bytes(lengthMax, what) as Buffer;
    if (!isUtf8(view)) throw new WireError(`${what}: not UTF-8`);
    return view.toString('utf8');
  }

  /** A count of things that take at least `sizeMin` bytes each, so that a count alone allocates nothing. */
  count(value: number, max: number, sizeMin: number, what: string): number {
    if (value > max) throw new WireError(`${what}: ${value}, more than ${max}`);
    if (value * sizeMin > this.left) throw new WireError(`${what}: ${value} announced, bytes for fewer`);
    return value;
  }

  end(): void {
    if (this.left !== 0) throw new WireError(`${this.left} bytes after the end`);
  }

  #need(length: number, what: string): void {
    if (length > this.left) throw new WireError(`${what}: truncated`);
  }
}
