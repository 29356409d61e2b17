import { describe, expect, test } from 'vitest';
import { digestBytes, digestFrom, hmacSha256, parseDigest, sha256, sha256Of } from './hash.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('SHA-256', () => {
  // FIPS 180-4, as published with the standard's examples.
  test.each([
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
  ])('of %j', (text, expected) => {
    expect(sha256(utf8(text))).toBe(expected);
    expect(sha256Of([utf8(text.slice(0, 2)), utf8(''), utf8(text.slice(2))])).toBe(expected);
  });

  test('of a view is of what the view shows', () => {
    expect(sha256(utf8('xabcx').subarray(1, 4))).toBe(sha256(utf8('abc')));
  });
});

describe('HMAC-SHA-256', () => {
  // RFC 4231, test cases 1, 2 and 6.
  test.each([
    [
      '0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b',
      'Hi There',
      'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
    ],
    ['4a656665', 'what do ya want for nothing?', '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'],
    [
      'aa'.repeat(131),
      'Test Using Larger Than Block-Size Key - Hash Key First',
      '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    ],
  ])('with key %s', (key, text, expected) => {
    const code = hmacSha256(Buffer.from(key, 'hex'), [utf8(text.slice(0, 3)), utf8(text.slice(3))]);
    expect(Buffer.from(code).toString('hex')).toBe(expected);
  });
});

describe('a digest', () => {
  const digest = sha256(utf8('abc'));

  test('is its 32 bytes and back', () => {
    expect(digestFrom(digestBytes(digest))).toBe(digest);
    expect(digestFrom(Buffer.concat([utf8('x'), digestBytes(digest)]).subarray(1))).toBe(digest);
    expect(parseDigest(digest)).toBe(digest);
  });

  test('has 32 bytes and no other number', () => {
    expect(() => digestFrom(new Uint8Array(31))).toThrow(RangeError);
    expect(() => digestFrom(new Uint8Array(33))).toThrow(RangeError);
  });

  test.each(['', digest.slice(1), `${digest}0`, digest.toUpperCase(), `${digest}\n`, `g${digest.slice(1)}`])(
    'is not parsed from %j: one digest has one text',
    (text) => {
      expect(parseDigest(text)).toBeUndefined();
    },
  );
});
