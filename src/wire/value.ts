/**
 * Value: what an operation takes, returns and stores, in exactly one encoding.
 *
 * Null, booleans, finite numbers, well-formed text, bytes, lists, and records whose keys are sorted. Equal values have
 * equal bytes on every replica, so results and states are compared as bytes.
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

/** Keys sorted by UTF-16 code unit, which every JavaScript engine does alike. */
const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Encodes a value. A record's `undefined` members are left out, as in JSON.
 * Throws a TypeError for what is not a value (function, symbol, bigint, NaN, infinity, class instance), and a
 * RangeError when it is nested too deeply or holds a lone surrogate.
 */
export function encodeValue(value: unknown): Uint8Array {
  const writer = new Writer(128);
  writeValue(writer, value, 0);
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

export function writeValue(writer: Writer, value: unknown, depth = 0): void {
  if (depth > limits.valueDepthMax) throw new RangeError(`a value may be nested ${limits.valueDepthMax} deep, no more`);
  if (value === null) writer.u8(tags.null);
  else if (value === false) writer.u8(tags.false);
  else if (value === true) writer.u8(tags.true);
  else if (typeof value === 'string') writer.u8(tags.text).text(value);
  else if (typeof value === 'number') writeNumber(writer, value);
  else if (value instanceof Uint8Array) writer.u8(tags.bytes).bytes(value);
  else if (Array.isArray(value)) {
    writer.u8(tags.list).u32(value.length);
    for (const item of value) writeValue(writer, item, depth + 1);
  } else if (typeof value === 'object' && isRecord(value)) {
    const keys = Object.keys(value).filter((key) => value[key] !== undefined);
    keys.sort(byCodeUnit);
    writer.u8(tags.record).u32(keys.length);
    for (const key of keys) {
      writer.text(key);
      writeValue(writer, value[key], depth + 1);
    }
  } else throw new TypeError(`not a value: ${describe(value)}`);
}

export function readValue(reader: Reader, depth = 0): Value {
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
      return reader.text(limits.requestSizeBytesMax, 'text');
    case tags.bytes:
      return reader.bytes(limits.requestSizeBytesMax, 'bytes');
    case tags.list: {
      const count = reader.count(reader.u32('list'), limits.requestSizeBytesMax, 1, 'list');
      const list: Value[] = [];
      for (let i = 0; i < count; i++) list.push(readValue(reader, depth + 1));
      return list;
    }
    case tags.record: {
      const count = reader.count(reader.u32('record'), limits.requestSizeBytesMax, 5, 'record');
      const record: { [key: string]: Value } = {};
      let previous: string | undefined;
      for (let i = 0; i < count; i++) {
        const key = reader.text(limits.requestSizeBytesMax, 'key');
        if (previous !== undefined && previous >= key) throw new WireError('record: keys not ascending');
        if (key === '__proto__') throw new WireError('record: a key that is not allowed');
        record[key] = readValue(reader, depth + 1);
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
