/**
 * Read value: the canonical encoding of one value, as `wire/value.ts` reads it.
 */
import { limits } from '../wire/limits.ts';
import { SlotBudget } from '../wire/slot-budget.ts';
import type { Value } from '../wire/value.ts';
import { ByteReader } from './byte-reader.ts';
import { Refusal } from './refusal.ts';

/** The value that these bytes are, or undefined when they are none. */
export function valueOfBytes(bytes: Uint8Array): Value | undefined {
  try {
    const reader = new ByteReader(bytes, 'request');
    const value = readValue(reader, new SlotBudget());
    reader.end();
    return value;
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** Reads one value. The budget is that of everything read from the same bytes. */
export function readValue(reader: ByteReader, slots: SlotBudget): Value {
  const start = reader.offset;
  const value = read(reader, slots, 0);
  reader.demand(reader.offset - start <= limits.valueSizeBytesMax, 'a value is too large');
  return value;
}

function read(reader: ByteReader, slots: SlotBudget, depth: number): Value {
  reader.demand(depth <= limits.valueDepthMax, 'a value is nested too deeply');
  const tag = reader.u8('value');
  switch (tag) {
    case 0:
      return null;
    case 1:
      return false;
    case 2:
      return true;
    case 3:
      return reader.u64('number');
    case 4: {
      const magnitude = reader.u64('number');
      reader.demand(magnitude !== 0, 'a number is minus zero');
      return -magnitude;
    }
    case 5: {
      const float = reader.f64('number');
      reader.demand(Number.isFinite(float) && !Number.isSafeInteger(float), 'a number is not canonical');
      return float;
    }
    case 6:
      return reader.text(limits.valueSizeBytesMax, 'text');
    case 7:
      return reader.bytes(limits.valueSizeBytesMax, 'bytes');
    case 8: {
      const count = reader.count(reader.u32('list'), limits.valueSizeBytesMax, 1, 'items');
      const list: Value[] = [];
      for (let i = 0; i < count; i++) list.push(read(reader, slots, depth + 1));
      return list;
    }
    default:
      reader.demand(tag === 9, 'a value of an unknown kind');
      return readRecord(reader, slots, depth);
  }
}

function readRecord(reader: ByteReader, slots: SlotBudget, depth: number): Value {
  const count = reader.count(reader.u32('record'), limits.valueSizeBytesMax, 5, 'members');
  const record: { [key: string]: Value } = {};
  let previous: string | undefined;
  let paid = 0;
  for (let i = 0; i < count; i++) {
    const key = reader.text(limits.valueSizeBytesMax, 'key');
    reader.demand(previous === undefined || previous < key, 'keys of a record are not ascending');
    reader.demand(key !== '__proto__', 'a record has a key that is not allowed');
    paid = slots.pay(key, paid);
    reader.demand(slots.left >= 0, 'too many whole numbers as keys');
    record[key] = read(reader, slots, depth + 1);
    previous = key;
  }
  return record;
}
