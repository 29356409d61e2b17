/** Keys and paths as bytes: in the order that services see, in one encoding, and nothing else is taken for one. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sha256Bytes } from '../crypto/hash.ts';
import { bytesOfUnits, stateKeyBytes, stateKeyText } from './state-key.ts';
import { childPath, isUnder, nibbleAt, nodeKey } from './state-path.ts';

const key = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({ unit: fc.constantFrom('a', '\u{7ff}', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}') }),
);

test('keys are ordered by their bytes as by their UTF-16 code units, and come back', () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      expect(Math.sign(Buffer.compare(stateKeyBytes(a), stateKeyBytes(b)))).toBe(a === b ? 0 : a < b ? -1 : 1);
      expect(stateKeyText(stateKeyBytes(a))).toBe(a);
      expect(bytesOfUnits(a)).toEqual(Uint8Array.from(stateKeyBytes(a)));
    }),
  );
  // By UTF-8 it would be the other way round.
  expect('\u{10000}' < '\uffff').toBe(true);
  expect(Buffer.compare(stateKeyBytes('\u{10000}'), stateKeyBytes('\uffff'))).toBe(-1);
});

test('a lone surrogate is no key, but has a place among them', () => {
  expect(() => stateKeyBytes('a\ud800')).toThrow(RangeError);
  expect(stateKeyText(bytesOfUnits('a\ud800'))).toBeUndefined();
  expect(Buffer.compare(bytesOfUnits('\ud800'), stateKeyBytes('\u{10000}'))).toBe(-1);
  expect(Buffer.compare(bytesOfUnits('\ud801'), stateKeyBytes('\u{10000}'))).toBe(1);
});

test.each([
  ['UTF-8 of four bytes', [0xf0, 0x90, 0x80, 0x80]],
  ['surrogates the wrong way round', [0xed, 0xb0, 0x80, 0xed, 0xa0, 0x80]],
  ['half a pair', [0xed, 0xa0, 0x80]],
  ['a pair cut short', [0xed, 0xa0, 0x80, 0xed, 0xb0]],
  ['more bytes than needed', [0xc0, 0x80]],
  ['more bytes than needed beside a pair', [0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80, 0xc1, 0xbf]],
  ['a byte that goes on with nothing', [0x61, 0x80]],
])('%s is no key', (_, bytes) => {
  expect(stateKeyText(Uint8Array.from(bytes))).toBeUndefined();
});

test('any bytes are the one encoding of a key or none, and nothing is thrown', () => {
  const byte = fc.constantFrom(0x61, 0x80, 0xa0, 0xb0, 0xbf, 0xc3, 0xed, 0xef, 0xf0, 0xff);
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 8 }), (bytes) => {
      const text = stateKeyText(Uint8Array.from(bytes));
      if (text !== undefined) expect([...stateKeyBytes(text)]).toEqual(bytes);
    }),
    { numRuns: 1_000 },
  );
});

test('paths follow the nibbles of a hash, and in the engine a node stands before those under it', () => {
  const hash = sha256Bytes(stateKeyBytes('a key'));
  const hex = Buffer.from(hash).toString('hex');
  let path = '';
  let above: Uint8Array = nodeKey('service', path);
  const seen = new Set([Buffer.from(above).toString('hex')]);
  for (let depth = 0; depth < 64; depth++) {
    path = childPath(path, nibbleAt(hash, depth));
    expect(path).toBe(hex.slice(0, depth + 1));
    expect(isUnder(hash, path)).toBe(true);
    expect(isUnder(hash, childPath(path.slice(0, -1), nibbleAt(hash, depth) ^ 1))).toBe(false);
    const at = nodeKey('service', path);
    expect(Buffer.compare(above, at)).toBe(-1);
    expect(Buffer.compare(at, nodeKey('system', path))).not.toBe(0);
    above = at;
    seen.add(Buffer.from(at).toString('hex'));
  }
  // A nibble of zero is another path than none.
  expect(seen.size).toBe(65);
  expect(Buffer.compare(nodeKey('service', '1'), nodeKey('service', '10'))).toBe(-1);
});
