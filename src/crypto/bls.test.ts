/** BLS against what others published: hash to curve of RFC 9380 and a beacon of drand; and what it must refuse. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { blsPublicKey, blsSign, blsVerify } from './bls.ts';
import type { G1Point, G2Point } from './curve.ts';
import { mclCurve, mclHashToG1 } from './curve-mcl.ts';
import { nobleCurve, nobleHashToG1 } from './curve-noble.ts';

interface HashVectors {
  readonly tag: string;
  readonly cases: readonly { readonly message: string; readonly x: string; readonly y: string }[];
}
interface BeaconVectors {
  readonly publicKey: string;
  readonly beacons: readonly { readonly round: number; readonly randomness: string; readonly signature: string }[];
}

const vectors = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../test/vectors/${name}.json`, import.meta.url), 'utf8'));
const hashing = vectors('bls-hash-to-curve') as HashVectors;
const drand = vectors('bls-drand-quicknet') as BeaconVectors;
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The compressed form of a point of G1 by its definition: x, and whether y is the greater of the two. */
function compressed(x: string, y: string): string {
  const prime = 0x1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaabn;
  const bytes = Buffer.from(x, 'hex');
  bytes[0] = (bytes[0] as number) | 0x80 | (BigInt(`0x${y}`) > (prime - 1n) / 2n ? 0x20 : 0);
  return bytes.toString('hex');
}

describe.each([
  { curve: mclCurve, hashToG1: mclHashToG1 },
  { curve: nobleCurve, hashToG1: nobleHashToG1 },
])('$curve.name', ({ curve, hashToG1 }) => {
  test.each(hashing.cases)('hashes to the point of RFC 9380, J.9.1: "$message"', ({ message, x, y }) => {
    const point = hashToG1(bytesOf(message), bytesOf(hashing.tag));
    expect(Buffer.from(curve.g1.encode(point)).toString('hex')).toBe(compressed(x, y));
  });

  test.each(drand.beacons)(
    'verifies the beacon of drand quicknet, round $round',
    ({ round, randomness, signature }) => {
      const key = curve.g2.decode(Buffer.from(drand.publicKey, 'hex')) as G2Point;
      const encoded = Buffer.from(signature, 'hex');
      const point = curve.g1.decode(encoded) as G1Point;
      const messageOf = (number: number): Uint8Array => {
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64BE(BigInt(number));
        return createHash('sha256').update(bytes).digest();
      };
      expect(blsVerify(curve, key, messageOf(round), point)).toBe(true);
      expect(blsVerify(curve, key, messageOf(round + 1), point)).toBe(false);
      expect(createHash('sha256').update(curve.g1.encode(point)).digest('hex')).toBe(randomness);
    },
  );
});

describe.each([mclCurve, nobleCurve, plainCurve])('signatures on $name', (curve) => {
  const secret = 0x5eed5eed5eed5eed5eed5eedn;
  const key = blsPublicKey(curve, secret);
  const message = bytesOf('pay Ada 5');
  const signature = blsSign(curve, secret, message);

  test('verify under their key, for their message', () => {
    expect(blsVerify(curve, key, message, signature)).toBe(true);
    expect(blsVerify(curve, key, bytesOf('pay Ada 6'), signature)).toBe(false);
    expect(blsVerify(curve, blsPublicKey(curve, secret + 1n), message, signature)).toBe(false);
    expect(blsVerify(curve, key, message, curve.g1.add(signature, curve.g1.generator))).toBe(false);
  });

  test('of zero are none: zero would go with every message', () => {
    expect(blsVerify(curve, curve.g2.zero, message, curve.g1.zero)).toBe(false);
    expect(blsVerify(curve, key, message, curve.g1.zero)).toBe(false);
    expect(blsVerify(curve, curve.g2.zero, message, signature)).toBe(false);
  });
});

test('both providers make the same signature and the same key', () => {
  const [mcl, noble] = [mclCurve, nobleCurve].map((curve) => ({
    key: Buffer.from(curve.g2.encode(blsPublicKey(curve, 123456789n))).toString('hex'),
    signature: Buffer.from(curve.g1.encode(blsSign(curve, 123456789n, bytesOf('a')))).toString('hex'),
  }));
  expect(mcl).toEqual(noble);
});
