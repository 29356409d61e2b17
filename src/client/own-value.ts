/**
 * Own value: a decoded value that shares no memory with the frame it came in, so that a caller may keep and change it.
 */
import type { Value } from '../wire/value.ts';

/** The same value with its bytes copied; text and numbers are never shared. */
export function ownValue(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(ownValue);
  const record: { [key: string]: Value } = {};
  for (const [key, member] of Object.entries(value)) record[key] = ownValue(member);
  return record;
}
