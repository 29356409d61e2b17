/**
 * Which signatures are valid, bit for bit: the vectors of RFC 8032, then every kind of crafted key and signature on
 * which libraries are known to differ, made here with an independent implementation of the curve (@noble/curves).
 * Source of the kinds: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), tables 1 and 2.
 */
import { createHash } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { importPublicKey, parsePublicKey, sign, signingKeyFromSeed, verify } from './ed25519.ts';

const { Point } = ed25519;
type CurvePoint = InstanceType<typeof Point>;
const order = Point.Fn.ORDER;
const prime = Point.Fp.ORDER;
const modulo = (a: bigint, m: bigint): bigint => ((a % m) + m) % m;

const littleEndian = (n: bigint): Uint8Array => Buffer.from(n.toString(16).padStart(64, '0'), 'hex').reverse();
const fromLittleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
const hex = (text: string): Uint8Array => Buffer.from(text, 'hex');
const concat = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);
const times = (n: bigint): CurvePoint => (n === 0n ? Point.ZERO : Point.BASE.multiplyUnsafe(n));

/** The eight points of small order: multiples of one of order 8. */
const torsionGenerator = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
const torsion: readonly CurvePoint[] = Array.from({ length: 8 }, (_, i) =>
  i === 0 ? Point.ZERO : torsionGenerator.multiplyUnsafe(BigInt(i)),
);

function challenge(r: Uint8Array, a: Uint8Array, message: Uint8Array): bigint {
  return modulo(fromLittleEndian(createHash('sha512').update(r).update(a).update(message).digest()), order);
}

/** The text in words of the rule in ed25519.ts, on points and integers: slow, obvious, and somebody else's arithmetic. */
function isValid(a: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const [r, s] = [signature.subarray(0, 32), fromLittleEndian(signature.subarray(32))];
  const decoded: CurvePoint[] = [];
  for (const encoding of [a, r]) {
    if (modulo(fromLittleEndian(encoding), 2n ** 255n) >= prime) return false;
    try {
      decoded.push(Point.fromBytes(Uint8Array.from(encoding)));
    } catch {
      return false;
    }
  }
  const [A, R] = decoded as [CurvePoint, CurvePoint];
  if (A.isSmallOrder() || R.isSmallOrder() || s >= order) return false;
  const k = challenge(r, a, message);
  return times(s).equals(R.add(k === 0n ? Point.ZERO : A.multiplyUnsafe(k)));
}

/** A signature by the secret scalar `a` whose key and commitment carry any torsion an attacker likes. */
function craft(options: {
  readonly a: bigint;
  readonly r: bigint;
  readonly torsionOfKey: number;
  readonly torsionOfCommitment: number;
  readonly message: Uint8Array;
}): { readonly key: Uint8Array; readonly signature: Uint8Array } {
  const key = times(options.a)
    .add(torsion[options.torsionOfKey] as CurvePoint)
    .toBytes();
  const commitment = times(options.r)
    .add(torsion[options.torsionOfCommitment] as CurvePoint)
    .toBytes();
  const k = challenge(commitment, key, options.message);
  return { key, signature: concat(commitment, littleEndian(modulo(options.r + k * options.a, order))) };
}

function accepts(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const imported = importPublicKey(key);
  return imported !== undefined && verify(imported, message, signature);
}

describe('RFC 8032, section 7.1', () => {
  test.each([
    [
      '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      '',
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    ],
    [
      '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
      '72',
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    ],
    [
      'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
      'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
      'af82',
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    ],
  ])('seed %s', (seed, publicKey, message, signature) => {
    const key = signingKeyFromSeed(hex(seed));
    expect(key.publicKey.text).toBe(publicKey);
    expect(Buffer.from(sign(key, hex(message))).toString('hex')).toBe(signature);
    expect(accepts(hex(publicKey), hex(message), hex(signature))).toBe(true);
    expect(accepts(hex(publicKey), concat(hex(message), hex('00')), hex(signature))).toBe(false);
  });
});

const key = signingKeyFromSeed(new Uint8Array(32).fill(7));
const message = new TextEncoder().encode('message');
const signature = sign(key, message);

describe('honest signatures', () => {
  test('are accepted, and by the other implementation too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array({ maxLength: 100 }), (seed, bytes) => {
        const signer = signingKeyFromSeed(seed);
        const made = sign(signer, bytes);
        expect(verify(signer.publicKey, bytes, made)).toBe(true);
        expect(ed25519.verify(Uint8Array.from(made), bytes, signer.publicKey.bytes)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('with one bit changed anywhere are not valid', () => {
    for (let bit = 0; bit < 512; bit++) {
      const changed = Uint8Array.from(signature);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(verify(key.publicKey, message, changed)).toBe(false);
    }
  });

  test.each([0, 32, 63, 65, 128])('of %i bytes are none', (length) => {
    expect(verify(key.publicKey, message, concat(signature, signature).subarray(0, length))).toBe(false);
  });
});

describe('crafted signatures', () => {
  test('S + L, which satisfies the equation too, is refused: nobody can make a second signature out of a first', () => {
    const s = fromLittleEndian(signature.subarray(32));
    for (let multiple = 1n; s + multiple * order < 2n ** 256n; multiple++) {
      const again = concat(signature.subarray(0, 32), littleEndian(s + multiple * order));
      expect(verify(key.publicKey, message, again)).toBe(false);
    }
  });

  test.each<[string, bigint]>([
    ['L', order],
    ['L + 1', order + 1n],
    ['2^256 - 1', 2n ** 256n - 1n],
  ])('S = %s is refused', (_, s) => {
    expect(verify(key.publicKey, message, concat(signature.subarray(0, 32), littleEndian(s)))).toBe(false);
  });

  test('a key of small order, which would sign everything, is not imported in any encoding', () => {
    const encodings = torsion.map((point) => point.toBytes());
    // The same points with y + p for y, and with the sign bit of x = 0 set.
    for (const y of [0n, 1n]) encodings.push(littleEndian(y + prime), littleEndian(y + prime + 2n ** 255n));
    for (const y of [1n, prime - 1n]) encodings.push(littleEndian(y + 2n ** 255n));
    expect(new Set(encodings.map((bytes) => Buffer.from(bytes).toString('hex'))).size).toBe(14);
    for (const bytes of encodings) expect(importPublicKey(bytes)).toBeUndefined();
    // And the same points as R, with S = 0 or honest: refused before the library is asked.
    for (const bytes of encodings) {
      expect(verify(key.publicKey, message, concat(bytes, new Uint8Array(32)))).toBe(false);
      expect(verify(key.publicKey, message, concat(bytes, signature.subarray(32)))).toBe(false);
    }
  });

  test('R of small order with an S that satisfies the equation is refused', () => {
    for (let i = 0; i < 8; i++) {
      for (let n = 0; n < 16; n++) {
        const bytes = concat(message, new Uint8Array([n]));
        const made = craft({ a: 12_345n, r: 0n, torsionOfKey: 0, torsionOfCommitment: i, message: bytes });
        expect(accepts(made.key, bytes, made.signature)).toBe(false);
      }
    }
  });

  test('y from p on is a second encoding of a point and refused, up to the largest', () => {
    for (let y = prime; y < 2n ** 255n; y++) {
      for (const bytes of [littleEndian(y), littleEndian(y + 2n ** 255n)]) {
        expect(importPublicKey(bytes)).toBeUndefined();
        expect(verify(key.publicKey, message, concat(bytes, signature.subarray(32)))).toBe(false);
      }
    }
  });

  test('keys next to those that are refused are not refused for their neighbours', () => {
    // y = 3 and y = p - 2 .. p - 20 include points of full order; a filter that is too broad would lose some.
    let imported = 0;
    for (let y = prime - 40n; y < prime - 1n; y++) if (importPublicKey(littleEndian(y)) !== undefined) imported += 1;
    expect(imported).toBe(39);
    expect(importPublicKey(littleEndian(3n))).toBeDefined();
  });

  test('points with a part of small order are judged without the cofactor, exactly as the rule says', () => {
    const scalar = fc.bigInt({ min: 1n, max: order - 1n });
    const counts = { valid: 0, cofactorOnly: 0 };
    fc.assert(
      fc.property(
        scalar,
        scalar,
        fc.nat({ max: 7 }),
        fc.nat({ max: 7 }),
        fc.uint8Array({ maxLength: 8 }),
        (a, r, torsionOfKey, torsionOfCommitment, bytes) => {
          const made = craft({ a, r, torsionOfKey, torsionOfCommitment, message: bytes });
          const expected = isValid(made.key, bytes, made.signature);
          counts[expected ? 'valid' : 'cofactorOnly'] += 1;
          expect(accepts(made.key, bytes, made.signature)).toBe(expected);
        },
      ),
      { numRuns: 300 },
    );
    expect(counts.valid).toBeGreaterThan(10);
    expect(counts.cofactorOnly).toBeGreaterThan(100);
  });

  test('random keys, on the curve or not, never throw and agree with the rule', () => {
    const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(bytes32, bytes32, bytes32, (a, r, s) => {
        const forged = concat(r, s);
        expect(accepts(a, message, forged)).toBe(isValid(a, message, forged));
      }),
      { numRuns: 200 },
    );
  });
});

describe('keys', () => {
  test('have one text and one length', () => {
    expect(parsePublicKey(key.publicKey.text)?.text).toBe(key.publicKey.text);
    expect(parsePublicKey(key.publicKey.text.toUpperCase())).toBeUndefined();
    expect(parsePublicKey(key.publicKey.text.slice(1))).toBeUndefined();
    expect(importPublicKey(new Uint8Array(31))).toBeUndefined();
    expect(importPublicKey(new Uint8Array(33))).toBeUndefined();
    expect(() => signingKeyFromSeed(new Uint8Array(31))).toThrow(RangeError);
  });

  test('do not change with the bytes they were imported from', () => {
    const bytes = Uint8Array.from(key.publicKey.bytes);
    const imported = importPublicKey(bytes);
    bytes.fill(0);
    expect(imported !== undefined && verify(imported, message, signature)).toBe(true);
    expect(Buffer.from(imported?.bytes ?? []).toString('hex')).toBe(key.publicKey.text);
  });
});
