/**
 * Value: what an operation takes, returns and stores, in exactly one encoding.
 *
 * Null, booleans, finite numbers, well-formed text, bytes, lists, and records whose keys are sorted. Equal values have
 * equal bytes on every replica, so results and states are compared as bytes. A decoded value shares no memory with what
 * it was decoded from: a service may change it.
 */
import { limits } from './limits.ts';
import { type Decoded, decode, Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export type Value =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value };

const tags = { null: 0, false: 1, true: 2, natural: 3, negative: 4, float: 5, text: 6, bytes: 7, list: 8, record: 9 };

/** A value within the rules but beyond the limits; `message` says which, the same on every engine. */
export class ValueSizeError extends RangeError {
  override readonly name = 'ValueSizeError';
}

/** Keys sorted by UTF-16 code unit, which every JavaScript engine does alike. */
const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Encodes a value. A record's `undefined` members are left out, as in JSON.
 * Throws a TypeError for what is not a value (function, symbol, bigint, NaN, infinity, class instance), a RangeError
 * when it holds a lone surrogate, and the RangeError `ValueSizeError` when it is too large or nested too deeply.
 */
export function encodeValue(value: unknown): Uint8Array {
  const writer = new Writer(128);
  writeValue(writer, value);
  return writer.finish();
}

/** Decodes bytes that must be the canonical encoding of one value. */
export function decodeValue(bytes: Uint8Array): Decoded<Value> {
  return decode(bytes, (reader) => readValue(reader));
}

/** Decodes bytes that this program encoded itself. Throws when they are not a value: a bug or a broken store. */
export function decodeOwnValue(bytes: Uint8Array): Value {
  const reader = new Reader(bytes);
  const value = readValue(reader);
  reader.end();
  return value;
}

/** Appends a value. Throws as `encodeValue` does; part of it may be written then. */
export function writeValue(writer: Writer, value: unknown): void {
  write(writer, value, 0, writer.length + limits.valueSizeBytesMax);
}

/** `end` is where the value must end at the latest: lists that hold one list twice, 32 deep, would never end. */
function write(writer: Writer, value: unknown, depth: number, end: number): void {
  if (depth > limits.valueDepthMax) throw new ValueSizeError(`a value is nested at most ${limits.valueDepthMax} deep`);
  if (value === null) writer.u8(tags.null);
  else if (value === false) writer.u8(tags.false);
  else if (value === true) writer.u8(tags.true);
  else if (typeof value === 'string') writer.u8(tags.text).text(value);
  else if (typeof value === 'number') writeNumber(writer, value);
  else if (value instanceof Uint8Array) writer.u8(tags.bytes).bytes(value);
  else if (Array.isArray(value)) {
    writer.u8(tags.list).u32(value.length);
    for (const item of value) write(writer, item, depth + 1, end);
  } else if (typeof value === 'object' && isRecord(value)) {
    const keys = Object.keys(value).filter((key) => value[key] !== undefined);
    keys.sort(byCodeUnit);
    writer.u8(tags.record).u32(keys.length);
    let slots = 0;
    for (const key of keys) {
      slots = writer.slots.pay(key, slots);
      if (writer.slots.left < 0) throw new ValueSizeError('too many records with whole numbers as keys');
      writer.text(key);
      write(writer, value[key], depth + 1, end);
    }
  } else throw new TypeError(`not a value: ${describe(value)}`);
  if (writer.length > end) throw new ValueSizeError(`a value has at most ${limits.valueSizeBytesMax} bytes`);
}

/** Reads one value. Throws a WireError when what comes next is not the canonical encoding of one. */
export function readValue(reader: Reader): Value {
  const end = reader.offset + limits.valueSizeBytesMax;
  const value = read(reader, 0);
  if (reader.offset > end) throw new WireError(`value: more than ${limits.valueSizeBytesMax} bytes`);
  return value;
}

function read(reader: Reader, depth: number): Value {
  if (depth > limits.valueDepthMax) throw new WireError(`value: nested more than ${limits.valueDepthMax} deep`);
  const tag = reader.u8('value');
  switch (tag) {
    case tags.null:
      return null;
    case tags.false:
      return false;
    case tags.true:
      return true;
    case tags.natural:
      return reader.u64('number');
    case tags.negative: {
      const magnitude = reader.u64('number');
      if (magnitude === 0) throw new WireError('number: negative zero');
      return -magnitude;
    }
    case tags.float: {
      const float = reader.f64('number');
      if (!Number.isFinite(float) || Number.isSafeInteger(float)) throw new WireError('number: not canonical');
      return float;
    }
    case tags.text:
      return reader.text(limits.valueSizeBytesMax, 'text');
    case tags.bytes:
      return new Uint8Array(reader.bytes(limits.valueSizeBytesMax, 'bytes'));
    case tags.list: {
      const count = reader.count(reader.u32('list'), limits.valueSizeBytesMax, 1, 'list');
      const list: Value[] = [];
      for (let i = 0; i < count; i++) list.push(read(reader, depth + 1));
      return list;
    }
    case tags.record: {
      const count = reader.count(reader.u32('record'), limits.valueSizeBytesMax, 5, 'record');
      const record: { [key: string]: Value } = {};
      let previous: string | undefined;
      let slots = 0;
      for (let i = 0; i < count; i++) {
        const key = reader.text(limits.valueSizeBytesMax, 'key');
        if (previous !== undefined && previous >= key) throw new WireError('record: keys not ascending');
        if (key === '__proto__') throw new WireError('record: a key that is not allowed');
        slots = reader.slots.pay(key, slots);
        if (reader.slots.left < 0) throw new WireError('record: too many whole numbers as keys');
        record[key] = read(reader, depth + 1);
        previous = key;
      }
      return record;
    }
    default:
      throw new WireError(`value: unknown tag ${tag}`);
  }
}

function writeNumber(writer: Writer, value: number): void {
  if (!Number.isFinite(value)) throw new TypeError(`not a value: ${value}`);
  if (!Number.isSafeInteger(value)) writer.u8(tags.float).f64(value);
  else if (value >= 0) writer.u8(tags.natural).u64(value === 0 ? 0 : value);
  else writer.u8(tags.negative).u64(-value);
}

function isRecord(value: object): value is Record<string, unknown> {
  const prototype = Object.getPrototypeOf(value);
  if (Object.hasOwn(value, '__proto__')) return false;
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  if (typeof value === 'object' && value !== null) return `an instance of ${value.constructor?.name ?? 'a class'}`;
  return typeof value === 'symbol' ? 'a symbol' : `${typeof value} ${String(value).slice(0, 40)}`;
}
