import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { G1Point } from './curve.ts';
import { type Dealing, dealingDigest, dealingSizeBytes, decodeDealing, encodeDealing } from './dealing.ts';
import { commitTo } from './feldman.ts';
import { interpolateAt } from './polynomial.ts';
import { encodeScalar } from './scalar.ts';
import { everySubset } from './testing/everything.ts';
import { dealAsChosen, seedOf, sharingGroup, withOneBitChanged } from './testing/sharing-group.ts';
import { logOf, tinyCurve } from './testing/tiny-curve.ts';
import { deal, encryptionKeyOf, isWellFormedDealing, openEvaluation } from './verifiable-sharing.ts';

const group = sharingGroup(plainCurve, 2, 4);
const { curve, context, decryptionKeys } = group;
const { g1, g2, order } = curve;
const shape = { threshold: 2, holders: 4 };
const right = deal({ ...group, seed: seedOf(1) });
const isWellFormed = (dealing: Dealing): boolean => isWellFormedDealing({ ...group, dealing });
const openAs = (holder: number, dealing: Dealing): bigint | undefined =>
  openEvaluation({ curve, context, dealing, holder, decryptionKey: decryptionKeys[holder] as bigint });

describe('a correct dealing', () => {
  const shapes = fc
    .record({ holders: fc.integer({ min: 1, max: 10 }), seed: fc.uint8Array({ minLength: 32, maxLength: 32 }) })
    .chain(({ holders, seed }) =>
      fc.record({
        threshold: fc.integer({ min: 1, max: holders }),
        holders: fc.constant(holders),
        seed: fc.constant(seed),
      }),
    );

  test('is well-formed; each holder opens what is committed to; any threshold have the secret', () => {
    fc.assert(
      fc.property(shapes, ({ threshold, holders, seed }) => {
        const of = sharingGroup(plainCurve, threshold, holders);
        const dealing = deal({ ...of, seed });
        expect(isWellFormedDealing({ ...of, dealing })).toBe(true);
        const evaluations = of.decryptionKeys.map((decryptionKey, holder) => {
          const value = openEvaluation({ ...of, dealing, holder, decryptionKey });
          if (value === undefined) return expect.fail(`holder ${holder} cannot open`);
          return { holder, value };
        });
        const secret = logOf(dealing.commitments[0] as never);
        expect(interpolateAt(evaluations.slice(0, threshold), 0n, order)).toBe(secret);
        expect(interpolateAt(evaluations.slice(-threshold), 0n, order)).toBe(secret);
      }),
      { numRuns: 60 },
    );
  });

  test('has the encoding its shape says, and only that', () => {
    fc.assert(
      fc.property(shapes, ({ threshold, holders, seed }) => {
        const of = sharingGroup(plainCurve, threshold, holders);
        const dealing = deal({ ...of, seed });
        const bytes = encodeDealing(curve, dealing);
        expect(bytes.length).toBe(96 * threshold + 48 + 32 * holders + 64);
        expect(bytes.length).toBe(dealingSizeBytes(curve, { threshold, holders }));
        const decoded = decodeDealing(curve, bytes, { threshold, holders });
        if (decoded === undefined) return expect.fail('does not decode');
        expect(Buffer.compare(encodeDealing(curve, decoded), bytes)).toBe(0);
        expect(dealingDigest(curve, decoded)).toBe(dealingDigest(curve, dealing));
        expect(isWellFormedDealing({ ...of, dealing: decoded })).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('is dealt alike after a restart, and with nothing in common for any other purpose', () => {
    expect(encodeDealing(curve, deal({ ...group, seed: seedOf(1) }))).toEqual(encodeDealing(curve, right));
    const elsewhere = [
      deal({ ...group, seed: seedOf(2) }),
      deal({ ...group, seed: seedOf(1), context: seedOf(9) }),
      deal({ ...group, seed: seedOf(1), threshold: 3 }),
      deal({ ...group, seed: seedOf(1), holderKeys: [...group.holderKeys].reverse() }),
      deal({ ...group, seed: seedOf(1), holderKeys: group.holderKeys.slice(1) }),
      deal({ ...group, seed: seedOf(1), constant: 5n }),
      deal({ ...group, seed: seedOf(1), constant: 6n }),
    ];
    const points = [right, ...elsewhere].flatMap(({ commitments, ephemeral }) =>
      [...commitments, ephemeral].map((point) => logOf(point)),
    );
    expect(new Set(points).size).toBe(points.length);
  });

  test('shares the secret it is told to', () => {
    const dealing = deal({ ...group, seed: seedOf(1), constant: 4321n });
    expect(g2.equals(dealing.commitments[0] as never, g2.multiply(g2.generator, 4321n))).toBe(true);
    const evaluations = [1, 3].map((holder) => ({ holder, value: openAs(holder, dealing) as bigint }));
    expect(interpolateAt(evaluations, 0n, order)).toBe(4321n);
  });

  test('opens to nothing with the key of another holder', () => {
    for (let holder = 0; holder < 4; holder++) {
      for (const decryptionKey of decryptionKeys) {
        const opened = openEvaluation({ curve, context, dealing: right, holder, decryptionKey });
        expect(opened !== undefined).toBe(decryptionKey === decryptionKeys[holder]);
      }
    }
  });

  test('looks of full entropy to who has no key: no two ciphertexts of one value are alike', () => {
    // A constant polynomial: all holders have the same value, yet the masks differ.
    const dealing = dealAsChosen(group, { polynomial: [7n, 0n], ephemeralSecret: 11n });
    expect(isWellFormed(dealing)).toBe(true);
    expect(new Set(dealing.ciphertexts.map((ciphertext) => Buffer.from(ciphertext).toString('hex'))).size).toBe(4);
  });
});

describe('over a tiny group', () => {
  test('every secret, every set of holders: what they open gives it', () => {
    const tiny = sharingGroup(tinyCurve(11n), 3, 6);
    for (let constant = 1n; constant < 11n; constant++) {
      for (let seed = 0; seed < 10; seed++) {
        const dealing = deal({ ...tiny, seed: seedOf(seed), constant });
        expect(isWellFormedDealing({ ...tiny, dealing })).toBe(true);
        for (const holders of everySubset(6, 3)) {
          const evaluations = holders.map((holder) => {
            const decryptionKey = tiny.decryptionKeys[holder] as bigint;
            return { holder, value: openEvaluation({ ...tiny, dealing, holder, decryptionKey }) as bigint };
          });
          expect(interpolateAt(evaluations, 0n, 11n)).toBe(constant);
        }
      }
    }
  });
});

describe('a wrong dealing is refused by all', () => {
  test('with one bit changed, whichever', () => {
    for (const { bit, changed } of withOneBitChanged(encodeDealing(curve, right))) {
      const dealing = decodeDealing(curve, changed, shape);
      expect(dealing !== undefined && isWellFormed(dealing), `bit ${bit}`).toBe(false);
    }
  });

  test('of another size or shape', () => {
    const bytes = encodeDealing(curve, right);
    expect(decodeDealing(curve, bytes.subarray(1), shape)).toBeUndefined();
    expect(decodeDealing(curve, Buffer.concat([bytes, seedOf(0).subarray(31)]), shape)).toBeUndefined();
    expect(decodeDealing(curve, bytes, { threshold: 3, holders: 4 })).toBeUndefined();
    // 96 bytes for a commitment are 96 for three ciphertexts: read so, it is another dealing, whose proof fails.
    const misread = decodeDealing(curve, bytes, { threshold: 1, holders: 7 });
    const others = sharingGroup(plainCurve, 1, 7);
    expect(misread !== undefined && isWellFormedDealing({ ...others, dealing: misread })).toBe(false);
  });

  test('random bytes of the right size decode to nothing well-formed, and nothing is thrown', () => {
    const sizeBytes = dealingSizeBytes(curve, shape);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: sizeBytes, maxLength: sizeBytes }), (bytes) => {
        const dealing = decodeDealing(curve, bytes, shape);
        return dealing === undefined || !isWellFormed(dealing);
      }),
    );
  });

  test('with more or fewer commitments or ciphertexts', () => {
    const polynomials = [[5n], [5n, 6n, 7n]];
    for (const polynomial of polynomials) {
      expect(isWellFormed(dealAsChosen(group, { polynomial, ephemeralSecret: 3n }))).toBe(false);
    }
    const tooMany = sharingGroup(plainCurve, 2, 5);
    expect(isWellFormed(deal({ ...tooMany, seed: seedOf(1) }))).toBe(false);
    expect(isWellFormedDealing({ ...tooMany, dealing: right })).toBe(false);
    expect(isWellFormed({ ...right, commitments: [], ciphertexts: [] })).toBe(false);
    expect(isWellFormed({ ...right, ciphertexts: right.ciphertexts.map((ciphertext) => ciphertext.subarray(1)) })).toBe(
      false,
    );
  });

  test('that shares nothing, or with an R that is nothing', () => {
    expect(isWellFormed(dealAsChosen(group, { polynomial: [0n, 6n], ephemeralSecret: 3n }))).toBe(false);
    expect(isWellFormed(dealAsChosen(group, { polynomial: [5n, 6n], ephemeralSecret: 0n }))).toBe(false);
    const holderKeys = group.holderKeys.with(2, g1.zero);
    expect(isWellFormedDealing({ ...group, holderKeys, dealing: right })).toBe(false);
  });

  test('that was made for another context: nobody passes on the dealing of another as his own', () => {
    expect(isWellFormedDealing({ ...group, context: new Uint8Array(), dealing: right })).toBe(false);
    for (const { changed } of withOneBitChanged(context)) {
      expect(isWellFormedDealing({ ...group, context: changed, dealing: right })).toBe(false);
    }
  });

  test('but commitments beyond the first may be zero', () => {
    expect(isWellFormed(dealAsChosen(group, { polynomial: [5n, 0n], ephemeralSecret: 3n }))).toBe(true);
  });
});

describe('a wrong evaluation is seen by its holder alone', () => {
  const polynomial = [5n, order - 2n];

  test.each<[string, Uint8Array]>([
    ['another value', encodeScalar(4n)],
    ['zero', encodeScalar(0n)],
    ['the right value, not reduced', encodeScalar(order + 1n)],
    ['all ones', new Uint8Array(32).fill(255)],
  ])('%s', (_, bytes) => {
    // The right value of holder 1, at coordinate 2, is 1.
    const dealing = dealAsChosen(group, { polynomial, ephemeralSecret: 3n, given: new Map([[1, bytes]]) });
    expect(isWellFormed(dealing)).toBe(true);
    expect([0, 1, 2, 3].map((holder) => openAs(holder, dealing))).toEqual([3n, undefined, order - 1n, order - 3n]);
  });

  test('a degree above what is committed to is wrong for all but threshold holders at most', () => {
    const commitments = commitTo(curve, [5n, 6n]);
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: order - 1n }), (leading) => {
        const dealing = dealAsChosen(group, { polynomial: [5n, 6n, leading], commitments, ephemeralSecret: 3n });
        expect(isWellFormed(dealing)).toBe(true);
        expect([0, 1, 2, 3].filter((holder) => openAs(holder, dealing) !== undefined).length).toBeLessThanOrEqual(2);
      }),
    );
  });

  test('a holder that does not exist has none', () => {
    for (const holder of [-1, 4, 0.5, Number.NaN]) {
      expect(openEvaluation({ curve, context, dealing: right, holder, decryptionKey: 5n })).toBeUndefined();
    }
  });
});

describe('what makes no sense is our own mistake', () => {
  const holderKeys: readonly G1Point[] = group.holderKeys;

  test.each<[string, () => unknown]>([
    ['no decryption key', () => encryptionKeyOf(curve, 0n)],
    ['one that is zero modulo the order', () => encryptionKeyOf(curve, order)],
    ['no threshold', () => deal({ ...group, threshold: 0, seed: seedOf(1) })],
    ['a threshold above the holders', () => deal({ ...group, threshold: 5, seed: seedOf(1) })],
    ['half a threshold', () => deal({ ...group, threshold: 1.5, seed: seedOf(1) })],
    ['a short seed', () => deal({ ...group, seed: seedOf(1).subarray(1) })],
    ['a key that is zero', () => deal({ ...group, holderKeys: [...holderKeys, g1.zero], seed: seedOf(1) })],
    ['a secret that is zero', () => deal({ ...group, seed: seedOf(1), constant: 0n })],
    ['a secret not reduced', () => deal({ ...group, seed: seedOf(1), constant: order })],
  ])('%s', (_, act) => {
    expect(act).toThrow(RangeError);
  });

  test('and the message does not say the secret', () => {
    const constant = order + 123456789n;
    expect(() => deal({ ...group, seed: seedOf(1), constant })).toThrow(/^the secret to share is zero or not reduced$/);
  });
});
