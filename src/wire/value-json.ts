/**
 * Values as JSON. Bytes, which JSON lacks, are `{"$bytes": "<base64>"}`.
 *
 * A record that happens to have the single key `$bytes` with text in it cannot be told apart and is read as bytes.
 */
import { limits } from './limits.ts';
import { SlotBudget } from './slot-budget.ts';
import { encodeValue, type Value } from './value.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A value as JSON. */
export function valueToJson(value: Value): Json {
  if (value === null || typeof value !== 'object') return value;
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') };
  if (isList(value)) return value.map(valueToJson);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, valueToJson(member)]));
}

/** Parsed JSON as a value. Throws a TypeError or a RangeError, whose message says what is wrong, when it is not one. */
export function valueFromJson(json: unknown): Value {
  const value = fromJson(json, 0, new Room());
  encodeValue(value);
  return value;
}

/**
 * What a value may still take, counted before it is built: some JSON of 2 MiB would grow to gigabytes when its records are
 * made again (`slot-budget.ts`), and be refused only then.
 */
class Room {
  readonly #slots = new SlotBudget();
  #leftBytes: number = limits.valueSizeBytesMax;

  /** At least so many bytes of the encoding; what they really are, the encoding decides. */
  take(sizeBytes: number): void {
    this.#leftBytes -= sizeBytes;
    if (this.#leftBytes < 0) throw new RangeError(`a value has at most ${limits.valueSizeBytesMax} bytes`);
  }

  takeKeys(keys: readonly string[]): void {
    let slots = 0;
    for (const key of keys) {
      this.take(4 + key.length);
      slots = this.#slots.pay(key, slots);
      if (this.#slots.left < 0) throw new RangeError('too many records with whole numbers as keys');
    }
  }
}

function fromJson(json: unknown, depth: number, room: Room): Value {
  if (depth > limits.valueDepthMax) throw new RangeError(`a value may be nested ${limits.valueDepthMax} deep, no more`);
  room.take(leastSizeBytesOf(json));
  if (json === null || typeof json === 'boolean' || typeof json === 'number' || typeof json === 'string') return json;
  if (Array.isArray(json)) return json.map((item: unknown) => fromJson(item, depth + 1, room));
  const record = json as Readonly<Record<string, unknown>>;
  const keys = Object.keys(record);
  const base64 = record.$bytes;
  if (keys.length === 1 && typeof base64 === 'string') return bytesFromBase64(base64);
  room.takeKeys(keys);
  return Object.fromEntries(keys.map((key) => [key, fromJson(record[key], depth + 1, room)]));
}

function leastSizeBytesOf(json: unknown): number {
  if (typeof json === 'number') return 9;
  return typeof json === 'string' ? 5 + json.length : 1;
}

function bytesFromBase64(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, '')) {
    throw new TypeError(`"$bytes" must be base64: ${text.slice(0, 40)}`);
  }
  return Uint8Array.from(bytes);
}

function isList(value: object): value is readonly Value[] {
  return Array.isArray(value);
}
