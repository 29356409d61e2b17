/**
 * Values as JSON. Bytes, which JSON lacks, are `{"$bytes": "<base64>"}`.
 *
 * A record that happens to have the single key `$bytes` with text in it cannot be told apart and is read as bytes.
 */
import { limits } from './limits.ts';
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
  const value = fromJson(json, 0);
  encodeValue(value);
  return value;
}

function fromJson(json: unknown, depth: number): Value {
  if (depth > limits.valueDepthMax) throw new RangeError(`a value may be nested ${limits.valueDepthMax} deep, no more`);
  if (json === null || typeof json === 'boolean' || typeof json === 'number' || typeof json === 'string') return json;
  if (Array.isArray(json)) return json.map((item: unknown) => fromJson(item, depth + 1));
  const record = json as Readonly<Record<string, unknown>>;
  const keys = Object.keys(record);
  const base64 = record.$bytes;
  if (keys.length === 1 && typeof base64 === 'string') return bytesFromBase64(base64);
  return Object.fromEntries(keys.map((key) => [key, fromJson(record[key], depth + 1)]));
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
