/**
 * Threshold signatures: whatever subset signs, one signature comes out; what the parity check passes is right as long
 * as no more than f lie, tried exhaustively over a tiny group; liars are found, and nobody else is named.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { blsPublicKey, blsSign, blsVerify } from './bls.ts';
import type { G1Point, PairingCurve } from './curve.ts';
import { mclCurve } from './curve-mcl.ts';
import { nobleCurve } from './curve-noble.ts';
import { evaluatePolynomial, interpolateAt, type Polynomial } from './polynomial.ts';
import { modulo } from './scalar.ts';
import { tinyCurve } from './testing/tiny-curve.ts';
import {
  combineEncodedShares,
  combineShares,
  decodePublicKeys,
  type EncodedShare,
  interpolateAtZero,
  lagrangeAtZero,
  type PublicKeys,
  parityThresholdMax,
  type SignatureShare,
  sharesWithoutPairing,
  verifyShare,
} from './threshold.ts';

const message = new TextEncoder().encode('a head');

/** What a holder's key share is. */
const shareOf = (curve: PairingCurve, polynomial: Polynomial, holder: number): bigint =>
  evaluatePolynomial(polynomial, BigInt(holder + 1), curve.order);

/** A curve that counts its pairings, and whether the message was hashed: the parity check does neither. */
function counting(curve: PairingCurve): { readonly curve: PairingCurve; pairings(): number; hashings(): number } {
  let pairings = 0;
  let hashings = 0;
  return {
    curve: {
      ...curve,
      hashToG1(bytes) {
        hashings++;
        return curve.hashToG1(bytes);
      },
      pairingsAreEqual(...points) {
        pairings++;
        return curve.pairingsAreEqual(...points);
      },
    },
    pairings: () => pairings,
    hashings: () => hashings,
  };
}

function cluster(curve: PairingCurve, holders: number, polynomial: Polynomial) {
  const keyShares = Array.from({ length: holders }, (_, holder) => shareOf(curve, polynomial, holder));
  const counted = counting(curve);
  const signature = blsSign(curve, polynomial[0] as bigint, message);
  const keys: PublicKeys = {
    serviceKey: blsPublicKey(curve, polynomial[0] as bigint),
    verificationKeys: keyShares.map((keyShare) => blsPublicKey(curve, keyShare)),
  };
  return {
    signature,
    shares: keyShares.map((keyShare, holder): SignatureShare => ({ holder, point: blsSign(curve, keyShare, message) })),
    pairings: counted.pairings,
    hashings: counted.hashings,
    combine: (shares: readonly SignatureShare[]) =>
      combineShares({
        curve: counted.curve,
        threshold: polynomial.length,
        message,
        shares,
        keys,
      }),
    combineEncoded: (encoded: readonly EncodedShare[]) =>
      combineEncodedShares({ curve, threshold: polynomial.length, message, shares: encoded, keys }),
    isSignature: (point: G1Point | undefined) => point !== undefined && curve.g1.equals(point, signature),
  };
}

const polynomialOf = (threshold: number): Polynomial =>
  Array.from({ length: threshold }, (_, i) => BigInt(1_000_003 + 7 * i) ** 11n);
/** Wrong by another number for each holder: what is wrong by the same may cancel out when it is combined, as with seed -816958208. */
const wrong = (curve: PairingCurve, share: SignatureShare): SignatureShare => ({
  holder: share.holder,
  point: curve.g1.add(share.point, curve.g1.multiply(curve.g1.generator, 7_919n ** BigInt(share.holder + 1) + 1n)),
});
const sizes = [
  { n: 1, f: 0 },
  { n: 4, f: 1 },
  { n: 7, f: 2 },
  { n: 13, f: 4 },
];

describe.each(sizes)('with $n holders of which $f may be faulty', ({ n, f }) => {
  const { shares, combine, pairings, isSignature } = cluster(plainCurve, n, polynomialOf(f + 1));
  const anyOrder = fc.shuffledSubarray([...shares], { minLength: shares.length });

  test('any 2f + 1 right shares give the signature, without a pairing', () => {
    fc.assert(
      fc.property(anyOrder, fc.integer({ min: 2 * f + 1, max: n }), (order, count) => {
        const before = pairings();
        const { signature, culprits } = combine(order.slice(0, count));
        expect([isSignature(signature), culprits, pairings() - before]).toEqual([true, [], 0]);
      }),
    );
  });

  test('any f + 1 to 2f right shares give it by one pairing, and fewer do not', () => {
    fc.assert(
      fc.property(anyOrder, fc.integer({ min: 0, max: 2 * f }), (order, count) => {
        const before = pairings();
        const { signature, culprits } = combine(order.slice(0, count));
        expect([isSignature(signature), culprits]).toEqual([count > f, []]);
        expect(pairings() - before).toBe(count > f ? 1 : 0);
      }),
    );
  });

  test('up to f wrong shares are outvoted or found; nobody else is named', () => {
    fc.assert(
      fc.property(anyOrder, fc.integer({ min: f + 1, max: n }), fc.nat(f), fc.nat(1000), (order, count, lies, seed) => {
        const liars = new Set(
          [...order]
            .sort((a, b) => mixed(a, seed) - mixed(b, seed))
            .slice(0, lies)
            .map(holderOf),
        );
        const sent = order.slice(0, count).map((share) => (liars.has(share.holder) ? wrong(plainCurve, share) : share));
        const { signature, culprits } = combine(sent);
        const right = sent.filter(({ holder }) => !liars.has(holder)).length;
        if (signature === undefined) expect(right).toBeLessThan(f + 1);
        else expect(isSignature(signature)).toBe(true);
        expect(culprits.every((holder) => liars.has(holder))).toBe(true);
        if (sent.slice(0, f + 1).some(({ holder }) => liars.has(holder))) {
          expect(new Set(culprits)).toEqual(new Set(sent.map(holderOf).filter((holder) => liars.has(holder))));
        }
      }),
    );
  });
});

describe.each([
  ['mcl', mclCurve],
  ['noble', nobleCurve],
  ['plain', plainCurve],
] as const)('shares as they come, on %s', (_, curve) => {
  const [f, n] = [2, 7];
  const { shares, signature, combineEncoded } = cluster(curve, n, polynomialOf(f + 1));
  const encode = ({ holder, point }: SignatureShare): EncodedShare => ({ holder, share: curve.g1.encode(point) });
  const noPoint = (share: SignatureShare): EncodedShare => ({
    holder: share.holder,
    share: new Uint8Array(48).fill(0xff),
  });
  const [first, second, ...others] = shares as [SignatureShare, SignatureShare, ...SignatureShare[]];

  test('those that are no points are wrong ones like the rest: all are named, and f + 1 right ones are enough', () => {
    const sent = [encode(wrong(curve, first)), noPoint(second), ...others.slice(0, f + 1).map(encode)];
    const { signature: combined, culprits } = combineEncoded(sent);
    expect(combined).toEqual(curve.g1.encode(signature));
    expect(new Set(culprits)).toEqual(new Set([first.holder, second.holder]));
  });

  test('f right ones beside one that is no point make no signature', () => {
    expect(combineEncoded([noPoint(first), ...others.slice(0, f).map(encode)])).toEqual({
      signature: undefined,
      culprits: [first.holder],
    });
  });

  test('2f + 1 are looked at, whatever comes after them', () => {
    const enough = shares.slice(0, sharesWithoutPairing(f + 1)).map(encode);
    const more = shares.slice(enough.length).map(noPoint);
    expect(more).not.toEqual([]);
    expect(combineEncoded([...enough, ...more])).toEqual({ signature: curve.g1.encode(signature), culprits: [] });
  });

  test('keys of a transcript are points, or it is our mistake', () => {
    const verificationKeys = [5n, 6n].map((secret) => blsPublicKey(curve, secret));
    const serviceKey = blsPublicKey(curve, 4n);
    const encoded = {
      serviceKey: curve.g2.encode(serviceKey),
      verificationKeys: verificationKeys.map(curve.g2.encode),
    };
    const keys = decodePublicKeys(curve, encoded);
    expect([keys.serviceKey, ...keys.verificationKeys].map(curve.g2.encode)).toEqual(
      [serviceKey, ...verificationKeys].map(curve.g2.encode),
    );
    const damaged = { ...encoded, verificationKeys: [encoded.serviceKey, new Uint8Array(96).fill(0xff)] };
    expect(() => decodePublicKeys(curve, damaged)).toThrow('invariant');
  });
});

const holderOf = ({ holder }: SignatureShare): number => holder;
const mixed = ({ holder }: SignatureShare, seed: number): number => ((holder + 1) * (seed * 2 + 1) * 7919) % 10_007;

describe('the parity check', () => {
  /** Every number of this many digits to this base, as digits. */
  const allOf = (digits: number, base: number): readonly (readonly number[])[] =>
    Array.from({ length: base ** digits }, (_, number) =>
      Array.from({ length: digits }, (__, digit) => Math.floor(number / base ** digit) % base),
    );
  const order = 5n;
  const curve = tinyCurve(order);

  test('passes exactly what lies on one polynomial: all values of three of four holders, over a group of order 5', () => {
    const { combine, hashings } = cluster(curve, 4, [2n, 3n]);
    for (const holders of [
      [0, 1, 2],
      [0, 1, 3],
      [0, 2, 3],
      [1, 2, 3],
      [3, 0, 2],
    ]) {
      for (const values of allOf(3, 5)) {
        const shares = holders.map((holder, i) => ({
          holder,
          point: curve.g1.multiply(curve.g1.generator, BigInt(values[i] as number)),
        }));
        const evaluations = holders.map((holder, i) => ({ holder, value: BigInt(values[i] as number) }));
        const isLine =
          interpolateAt(evaluations.slice(0, 2), BigInt((holders[2] as number) + 1), order) === evaluations[2]?.value;
        const before = hashings();
        const { signature, culprits } = combine(shares);
        expect(hashings() === before).toBe(isLine);
        if (!isLine) continue;
        expect(culprits).toEqual([]);
        const atZero = curve.g1.multiply(curve.g1.generator, interpolateAt(evaluations, 0n, order));
        expect(signature !== undefined && curve.g1.equals(signature, atZero)).toBe(true);
      }
    }
  });

  test('passes nothing wrong of one liar: all keys, all liars, all lies, over a group of order 5', () => {
    expect(curve.g1.isZero(curve.hashToG1(message))).toBe(false);
    for (const [secret, slope] of allOf(2, 5)) {
      if (secret === 0) continue;
      const { shares, combine, isSignature } = cluster(curve, 4, [BigInt(secret as number), BigInt(slope as number)]);
      for (let liar = 0; liar < 4; liar++) {
        for (let lie = 1n; lie < order; lie++) {
          const sent = shares.map((share) =>
            share.holder === liar
              ? { holder: liar, point: curve.g1.add(share.point, curve.g1.multiply(curve.g1.generator, lie)) }
              : share,
          );
          for (const absent of [0, 1, 2, 3]) {
            const { signature } = combine(sent.filter(({ holder }) => holder !== absent));
            if (signature !== undefined) expect(isSignature(signature)).toBe(true);
          }
        }
      }
    }
  });

  test('is left alone where one pairing is cheaper', () => {
    const threshold = parityThresholdMax + 1;
    const { shares, combine, pairings, isSignature } = cluster(plainCurve, 3 * threshold - 2, polynomialOf(threshold));
    expect(isSignature(combine(shares).signature)).toBe(true);
    expect(pairings()).toBe(1);
    const { signature, culprits } = combine(
      shares.map((share) => (share.holder === 3 ? wrong(plainCurve, share) : share)),
    );
    expect([isSignature(signature), culprits]).toEqual([true, [3]]);
  });
});

describe('hostile lists of shares', () => {
  const { shares, combine, isSignature } = cluster(plainCurve, 4, polynomialOf(2));
  const [a, b, c] = shares as [SignatureShare, SignatureShare, SignatureShare, SignatureShare];

  test('the first share of a holder counts, however often it comes', () => {
    expect(combine([a, a, a]).signature).toBeUndefined();
    expect(isSignature(combine([a, wrong(plainCurve, a), wrong(plainCurve, a), b]).signature)).toBe(true);
    expect(combine([wrong(plainCurve, a), a, b]).culprits).toEqual([0]);
  });

  test('holders that are none are ignored', () => {
    const strangers = [-1, 4, 0.5, Number.NaN, Number.POSITIVE_INFINITY].map((holder) => ({ holder, point: a.point }));
    const { signature, culprits } = combine([...strangers, b, c]);
    expect([isSignature(signature), culprits]).toEqual([true, []]);
    expect(combine([...strangers, b]).signature).toBeUndefined();
  });

  test('zero is nobody’s share', () => {
    const { signature, culprits } = combine([{ holder: 0, point: plainCurve.g1.zero }, b, c]);
    expect([isSignature(signature), culprits]).toEqual([true, [0]]);
  });

  test('shares of another message give nothing', () => {
    const others = shares.map(({ holder }) => ({
      holder,
      point: blsSign(plainCurve, shareOf(plainCurve, polynomialOf(2), holder), new TextEncoder().encode('another')),
    }));
    expect(combine(others.slice(0, 2))).toEqual({ signature: undefined, culprits: [0, 1] });
  });
});

test('Lagrange factors at zero are those of interpolation, for any holders', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(66), { minLength: 1, maxLength: 23 }),
      fc.array(fc.bigInt({ min: 0n, max: plainCurve.order - 1n }), { minLength: 23, maxLength: 23 }),
      (holders, polynomial) => {
        const { g2, order } = plainCurve;
        const values = holders.map((holder) => shareOf(plainCurve, polynomial.slice(0, holders.length), holder));
        const factors = lagrangeAtZero(holders, order);
        const sum = values.reduce((total, value, index) => total + value * (factors[index] as bigint), 0n);
        expect(modulo(sum, order)).toBe(polynomial[0]);
        const points = values.map((value, i) => ({
          holder: holders[i] as number,
          point: g2.multiply(g2.generator, value),
        }));
        expect(
          g2.equals(interpolateAtZero(g2, order, points), g2.multiply(g2.generator, polynomial[0] as bigint)),
        ).toBe(true);
      },
    ),
  );
  expect(() => lagrangeAtZero([1, 1], plainCurve.order)).toThrow(RangeError);
});

describe.each([
  { curve: mclCurve, n: 13, f: 4 },
  { curve: nobleCurve, n: 4, f: 1 },
])('on $curve.name, $n holders', ({ curve, n, f }) => {
  const { shares, combine, pairings, signature: expected } = cluster(curve, n, polynomialOf(f + 1));
  const serviceKey = blsPublicKey(curve, polynomialOf(f + 1)[0] as bigint);

  test('scattered shares combine to the one signature, with and without a pairing', () => {
    const scattered = shares.filter(({ holder }) => holder % 4 !== 1).slice(-(2 * f + 1));
    const combination = combine(scattered);
    expect(pairings()).toBe(0);
    for (const { signature, culprits } of [combination, combine(scattered.slice(0, f + 1))]) {
      expect(signature !== undefined && curve.g1.equals(signature, expected)).toBe(true);
      expect(signature !== undefined && blsVerify(curve, serviceKey, message, signature)).toBe(true);
      expect(culprits).toEqual([]);
    }
  });

  test('a liar is found', () => {
    const liar = shares[2] as SignatureShare;
    const sent = shares.slice(0, 2 * f + 1).map((share) => (share === liar ? wrong(curve, share) : share));
    const { signature, culprits } = combine(sent);
    expect(culprits).toEqual([2]);
    expect(signature !== undefined && curve.g1.equals(signature, expected)).toBe(true);
  });

  test('a share verifies under its holder’s key alone', () => {
    const { point } = shares[1] as SignatureShare;
    const keyOf = (holder: number) => blsPublicKey(curve, shareOf(curve, polynomialOf(f + 1), holder));
    expect(verifyShare(curve, keyOf(1), message, point)).toBe(true);
    expect(verifyShare(curve, keyOf(2), message, point)).toBe(false);
    expect(verifyShare(curve, keyOf(1), new TextEncoder().encode('another'), point)).toBe(false);
  });
});
