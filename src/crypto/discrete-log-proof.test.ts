import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainCurve as curve } from '../../simulator/plain-curve.ts';
import type { G1Point } from './curve.ts';
import {
  type DiscreteLogStatement,
  decodeDiscreteLogProof,
  encodeDiscreteLogProof,
  isDiscreteLogProof,
  proveDiscreteLog,
} from './discrete-log-proof.ts';
import { digestBytes, sha256 } from './hash.ts';
import { invert, modulo, scalarFromHash } from './scalar.ts';
import { withOneBitChanged } from './testing/sharing-group.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const { g1, order } = curve;
const at = (log: bigint): G1Point => g1.multiply(g1.generator, log);
const anySecret = fc.bigInt({ min: 1n, max: order - 1n });

/** One pair for each base given as its logarithm. */
const statementOf = (secret: bigint, bases: readonly bigint[], text = 'a'): DiscreteLogStatement<G1Point> => ({
  group: g1,
  field: curve,
  label: utf8('test'),
  statement: sha256(utf8(text)),
  pairs: bases.map((base) => ({ base: at(base), point: at(base * secret) })),
});

describe.each([
  { name: 'of knowledge', bases: [1n] },
  { name: 'of equality', bases: [1n, 77n] },
])('a proof $name', ({ bases }) => {
  test('is accepted, and made alike again', () => {
    fc.assert(
      fc.property(anySecret, (secret) => {
        const about = statementOf(secret, bases);
        const proof = proveDiscreteLog(about, secret);
        expect(isDiscreteLogProof(about, proof)).toBe(true);
        expect(proveDiscreteLog(about, secret)).toEqual(proof);
        expect(decodeDiscreteLogProof(curve, encodeDiscreteLogProof(proof))).toEqual(proof);
      }),
    );
  });

  test('with one bit changed is refused', () => {
    const about = statementOf(1234567n, bases);
    const bytes = encodeDiscreteLogProof(proveDiscreteLog(about, 1234567n));
    for (const { bit, changed } of withOneBitChanged(bytes)) {
      const proof = decodeDiscreteLogProof(curve, changed);
      expect(proof !== undefined && isDiscreteLogProof(about, proof), `bit ${bit}`).toBe(false);
    }
  });

  test('by another secret is refused', () => {
    fc.assert(
      fc.property(anySecret, anySecret, (secret, other) => {
        fc.pre(secret !== other);
        const about = statementOf(secret, bases);
        expect(isDiscreteLogProof(about, proveDiscreteLog(about, other))).toBe(false);
      }),
    );
  });

  test('is of no use for anything else', () => {
    const secret = 99n;
    const about = statementOf(secret, bases);
    const proof = proveDiscreteLog(about, secret);
    const others: readonly DiscreteLogStatement<G1Point>[] = [
      { ...about, label: utf8('tesu') },
      { ...about, statement: sha256(utf8('b')) },
      { ...about, pairs: [...about.pairs].map(({ base, point }) => ({ base: g1.add(base, base), point })) },
      { ...about, pairs: [...about.pairs].map(({ base, point }) => ({ base, point: g1.add(point, base) })) },
      // Twice base and point: the same secret, yet another statement.
      {
        ...about,
        pairs: about.pairs.map(({ base, point }) => ({ base: g1.add(base, base), point: g1.add(point, point) })),
      },
      { ...about, pairs: [...about.pairs, ...about.pairs] },
      { ...about, pairs: [] },
    ];
    for (const other of others) expect(isDiscreteLogProof(other, proof)).toBe(false);
  });

  test('with scalars out of range is refused, though they are congruent', () => {
    const about = statementOf(5n, bases);
    const { challenge, response } = proveDiscreteLog(about, 5n);
    for (const shift of [order, -order]) {
      expect(isDiscreteLogProof(about, { challenge: challenge + shift, response })).toBe(false);
      expect(isDiscreteLogProof(about, { challenge, response: response + shift })).toBe(false);
    }
  });

  test('does not give its secret away beside another by the same secret', () => {
    fc.assert(
      fc.property(anySecret, (secret) => {
        const one = proveDiscreteLog(statementOf(secret, bases, 'a'), secret);
        const other = proveDiscreteLog(statementOf(secret, bases, 'b'), secret);
        // What two proofs with one nonce would give.
        const wouldBe = (one.response - other.response) * invert(one.challenge - other.challenge, order);
        expect(modulo(wouldBe, order)).not.toBe(secret);
      }),
    );
  });
});

test('two points with different logarithms are not proven equal, by either of the secrets or any sum of them', () => {
  fc.assert(
    fc.property(anySecret, anySecret, (first, second) => {
      fc.pre(first !== second);
      const about = {
        ...statementOf(first, [1n]),
        pairs: [
          { base: at(1n), point: at(first) },
          { base: at(9n), point: at(9n * second) },
        ],
      };
      for (const secret of [first, second, first + second, first - second]) {
        expect(isDiscreteLogProof(about, proveDiscreteLog(about, secret))).toBe(false);
      }
    }),
  );
});

test('a point chosen to fit a challenge is refused: it is hashed into the challenge', () => {
  // Somebody's point of unknown logarithm serves as the commitment to the nonce, and the point is solved for. Were bases
  // and points not hashed, this would prove to know the logarithm of a mangled point of somebody else.
  const foreign = at(987654321n);
  const label = utf8('test');
  const statement = sha256(utf8('a'));
  const challenge = scalarFromHash(curve, [label, digestBytes(statement), g1.encode(foreign)]);
  const response = 55n;
  const point = g1.multiply(g1.add(at(response), g1.multiply(foreign, -1n)), invert(challenge, order));
  const pairs = [{ base: at(1n), point }];
  expect(g1.equals(g1.add(at(response), g1.multiply(point, -challenge)), foreign)).toBe(true);
  expect(isDiscreteLogProof({ group: g1, field: curve, label, statement, pairs }, { challenge, response })).toBe(false);
});

test('bytes of another length are no proof', () => {
  for (const length of [0, 32, 63, 65]) expect(decodeDiscreteLogProof(curve, new Uint8Array(length))).toBeUndefined();
  expect(decodeDiscreteLogProof(curve, new Uint8Array(64).fill(0xff))).toBeUndefined();
});
