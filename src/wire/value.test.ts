import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { value as anyValue, bent } from '../../test/arbitraries.ts';
import { limits } from './limits.ts';
import { decodeOwnValue, decodeValue, encodeValue, type Value } from './value.ts';

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');
const refusal = (bytes: Uint8Array): string => {
  const decoded = decodeValue(bytes);
  return decoded.ok ? `accepted ${JSON.stringify(decoded.value)}` : decoded.reason;
};
const u32 = (n: number): string => n.toString(16).padStart(8, '0');
const nested = (depth: number): Value => (depth === 0 ? null : [nested(depth - 1)]);

/** Encodes a list of `count` one-member records by hand, as an attacker would: the encoder refuses some of them. */
function listOfRecords(count: number, key: string): Uint8Array {
  const item = Buffer.concat([hex(`09 00000001 ${u32(key.length)}`), Buffer.from(key), hex('00')]);
  return Buffer.concat([hex(`08 ${u32(count)}`), ...Array.from({ length: count }, () => item)]);
}

describe('a value and its bytes', () => {
  test('every value comes back as it was', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const decoded = decodeValue(encodeValue(value));
        // The one thing that is not kept: minus zero is zero, as results are compared as bytes.
        const expected = replaceMinusZero(value);
        expect(decoded).toEqual({ ok: true, value: expected });
      }),
      { numRuns: 500 },
    );
  });

  test('bytes that are accepted are the encoding of what they decode to', () => {
    let accepted = 0;
    fc.assert(
      fc.property(bent(anyValue.map(encodeValue)), (bytes) => {
        const decoded = decodeValue(bytes);
        if (!decoded.ok) return;
        accepted += 1;
        expect(Buffer.from(encodeValue(decoded.value)).equals(bytes)).toBe(true);
      }),
      { numRuns: 3_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  test('the order in which members were set leaves no trace', () => {
    expect(encodeValue({ b: 1, a: 2, '10': 3, '9': 4 })).toEqual(encodeValue({ '9': 4, '10': 3, a: 2, b: 1 }));
  });

  test('undefined members are left out, as in JSON', () => {
    expect(encodeValue({ a: 1, b: undefined })).toEqual(encodeValue({ a: 1 }));
  });

  test('a byte order mark is text like any other', () => {
    expect(decodeOwnValue(encodeValue('\ufeffx'))).toBe('\ufeffx');
  });

  test('decoded bytes are a plain copy: a service may write into them', () => {
    const encoded = encodeValue(new Uint8Array([1, 2, 3]));
    const before = Buffer.from(encoded).toString('hex');
    const decoded = decodeOwnValue(encoded) as Uint8Array;
    expect(Object.getPrototypeOf(decoded)).toBe(Uint8Array.prototype);
    decoded.fill(9);
    expect(Buffer.from(encoded).toString('hex')).toBe(before);
  });
});

describe('what is not a value', () => {
  test.each<[string, unknown]>([
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a bigint', 1n],
    ['NaN', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
    ['a date', new Date(0)],
    ['a map', new Map()],
    ['a list with a hole', Array(1)],
    ['a record with its own __proto__', JSON.parse('{"__proto__":1}')],
  ])('%s is a TypeError', (_, value) => {
    expect(() => encodeValue(value)).toThrow(TypeError);
    expect(() => encodeValue([{ a: value }])).toThrow(TypeError);
  });

  test('undefined, but for a member', () => {
    expect(() => encodeValue(undefined)).toThrow(TypeError);
    expect(() => encodeValue([undefined])).toThrow(TypeError);
  });

  test('a lone surrogate in text or key is a RangeError', () => {
    expect(() => encodeValue('\ud800')).toThrow(RangeError);
    expect(() => encodeValue({ '\udfff': 1 })).toThrow(RangeError);
  });

  test('a value that contains itself ends at the depth limit', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => encodeValue(cycle)).toThrow(RangeError);
  });

  test('a list that holds one list twice, again and again, ends at the size limit and not after 2^32 steps', () => {
    let list: Value = [];
    for (let i = 0; i < limits.valueDepthMax; i++) list = [list, list];
    expect(() => encodeValue(list)).toThrow(RangeError);
  });
});

describe('hostile bytes', () => {
  test.each([
    ['nothing', '', /truncated/],
    ['an unknown tag', '0a', /unknown tag/],
    ['a second value behind', '00 00', /after the end/],
    ['minus zero as a negative', '04 0000000000000000', /negative zero/],
    ['minus zero as a float', '05 8000000000000000', /not canonical/],
    ['a whole number as a float', '05 3ff0000000000000', /not canonical/],
    ['NaN', '05 7ff8000000000000', /not canonical/],
    ['infinity', '05 7ff0000000000000', /not canonical/],
    ['2^53 as a natural', '03 0020000000000000', /safe integer/],
    ['overlong UTF-8 of /', '06 00000002 c0af', /UTF-8/],
    ['a surrogate in UTF-8', '06 00000003 eda080', /UTF-8/],
    ['a code point beyond the last', '06 00000004 f4908080', /UTF-8/],
    ['text cut in a character', '06 00000001 c3', /UTF-8/],
    ['text of 4 GiB', '06 ffffffff', /more than/],
    ['bytes of 1 MiB that are not there', '07 00100000', /truncated/],
    ['a list of 2^32 - 1', '08 ffffffff', /more than/],
    ['a list of 2^20 that is not there', '08 00100000 00', /announced/],
    ['a record of 2^20 that is not there', '09 00100000 00', /announced/],
    ['keys out of order', '09 00000002 00000001 62 00 00000001 61 00', /ascending/],
    ['one key twice', '09 00000002 00000001 61 00 00000001 61 00', /ascending/],
    ['the key __proto__', `09 00000001 00000009 ${Buffer.from('__proto__').toString('hex')} 00`, /not allowed/],
  ])('%s is refused', (_, bytes, reason) => {
    expect(refusal(hex(bytes))).toMatch(reason);
  });

  test('nesting at the limit is accepted, one deeper refused, a megabyte of it refused at once', () => {
    const deepest = nested(limits.valueDepthMax);
    expect(decodeOwnValue(encodeValue(deepest))).toEqual(deepest);
    expect(() => encodeValue(nested(limits.valueDepthMax + 1))).toThrow(RangeError);
    const level = '08 00000001';
    expect(refusal(hex(`${level.repeat(limits.valueDepthMax + 1)} 00`))).toMatch(/nested/);
    expect(refusal(hex(level.repeat(200_000)))).toMatch(/nested/);
  });

  test('keys that mean something to JavaScript are members like any other and reach no prototype', () => {
    const value = { constructor: 1, hasOwnProperty: 2, toString: 3, valueOf: 4 };
    expect(decodeOwnValue(encodeValue(value))).toEqual(value);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test('records with one whole-number key each, 12 KiB apiece in memory, are refused before they fill it', () => {
    const bytes = listOfRecords(60_000, '1023');
    expect(bytes.length).toBeLessThan(limits.valueSizeBytesMax);
    const before = process.memoryUsage().heapUsed;
    expect(refusal(bytes)).toMatch(/whole numbers/);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 * 1024 * 1024);
  });

  test('the encoder refuses the same records, so what is made can be read', () => {
    const fits = Math.floor(limits.valueSlotsMax / 1024);
    expect(decodeValue(encodeValue(Array.from({ length: fits }, () => ({ 1023: null })))).ok).toBe(true);
    expect(() => encodeValue(Array.from({ length: fits + 1 }, () => ({ 1023: null })))).toThrow(RangeError);
  });

  test('a thousand records keyed by year, and one large table keyed by number, are fine', () => {
    expect(decodeValue(encodeValue(Array.from({ length: 1_000 }, () => ({ 2024: 1 })))).ok).toBe(true);
    const table = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [i, true]));
    expect(decodeOwnValue(encodeValue(table))).toEqual(table);
  });

  test.each([
    [
      'nulls',
      Buffer.concat([hex(`08 ${u32(limits.valueSizeBytesMax - 5)}`), Buffer.alloc(limits.valueSizeBytesMax - 5)]),
    ],
    ['empty bytes', Buffer.concat([hex(`08 ${u32(200_000)}`), Buffer.from('0700000000'.repeat(200_000), 'hex')])],
    ['empty records', Buffer.concat([hex(`08 ${u32(200_000)}`), Buffer.from('0900000000'.repeat(200_000), 'hex')])],
    ['records of one member', listOfRecords(90_000, '0')],
  ])('a megabyte of %s takes less than 64 MiB', (_, bytes) => {
    const before = process.memoryUsage();
    const decoded = decodeValue(bytes);
    const after = process.memoryUsage();
    expect(decoded.ok).toBe(true);
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(64 * 1024 * 1024);
  });

  test('a value of more than the limit is refused', () => {
    const tooLong = 'x'.repeat(limits.valueSizeBytesMax);
    expect(() => encodeValue(tooLong)).toThrow(RangeError);
    expect(refusal(Buffer.concat([hex(`06 ${u32(tooLong.length)}`), Buffer.from(tooLong)]))).toMatch(/more than/);
  });
});

function replaceMinusZero(value: Value): Value {
  if (typeof value === 'number') return value + 0;
  if (value instanceof Uint8Array || value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(replaceMinusZero);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, replaceMinusZero(member)]));
}
