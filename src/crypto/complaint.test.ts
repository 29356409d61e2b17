import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import {
  type Complaint,
  complain,
  complaintSizeBytes,
  decodeComplaint,
  discloseSharedKey,
  encodeComplaint,
  isJustifiedComplaint,
} from './complaint.ts';
import { type Dealing, decodeDealing, encodeDealing } from './dealing.ts';
import { proveDiscreteLog } from './discrete-log-proof.ts';
import { commitTo } from './feldman.ts';
import { sha256 } from './hash.ts';
import { interpolateAt } from './polynomial.ts';
import { encodeScalar, invert } from './scalar.ts';
import { dealAsChosen, seedOf, sharingGroup, withOneBitChanged } from './testing/sharing-group.ts';
import { deal, encryptionKeyOf, isWellFormedDealing, openEvaluation, openWithSharedKey } from './verifiable-sharing.ts';

const group = sharingGroup(plainCurve, 2, 4);
const { curve, context, decryptionKeys, holderKeys } = group;
const { g1, order } = curve;
const polynomial = [5n, 6n];
const right = deal({ ...group, seed: seedOf(1) });
/** Wrong for holder 1. */
const wrong = dealAsChosen(group, { polynomial, ephemeralSecret: 3n, given: new Map([[1, encodeScalar(4n)]]) });

const asHolder = (holder: number, dealing: Dealing) => ({
  curve,
  context,
  dealing,
  holder,
  decryptionKey: decryptionKeys[holder] as bigint,
});
const isJustified = (dealing: Dealing, holder: number, complaint: Complaint): boolean =>
  isJustifiedComplaint({ curve, context, dealing, holder, holderKey: holderKeys[holder] ?? g1.generator, complaint });

describe('a complaint about a wrong evaluation', () => {
  test.each<[string, Uint8Array]>([
    ['another value', encodeScalar(4n)],
    ['the right value, not reduced', encodeScalar(order + 17n)],
    ['all ones', new Uint8Array(32).fill(255)],
  ])('%s: convicts the dealer before everybody', (_, bytes) => {
    const dealing = dealAsChosen(group, { polynomial, ephemeralSecret: 3n, given: new Map([[1, bytes]]) });
    expect(isWellFormedDealing({ ...group, dealing })).toBe(true);
    const complaint = complain(asHolder(1, dealing));
    expect(isJustified(dealing, 1, complaint)).toBe(true);
    expect(complain(asHolder(1, dealing))).toEqual(complaint);
  });

  test('is justified for exactly the holders whose evaluation is wrong', () => {
    const given = fc.dictionary(fc.constantFrom('0', '1', '2', '3'), fc.uint8Array({ minLength: 32, maxLength: 32 }));
    fc.assert(
      fc.property(given, (bytes) => {
        const entries = Object.entries(bytes).map(([holder, value]) => [Number(holder), value] as const);
        const dealing = dealAsChosen(group, { polynomial, ephemeralSecret: 3n, given: new Map(entries) });
        for (let holder = 0; holder < 4; holder++) {
          const isWrong = openEvaluation(asHolder(holder, dealing)) === undefined;
          expect(isWrong).toBe(bytes[holder] !== undefined);
          expect(isJustified(dealing, holder, discloseSharedKey(asHolder(holder, dealing)))).toBe(isWrong);
        }
      }),
    );
  });

  test('has one encoding of 112 bytes', () => {
    const complaint = complain(asHolder(1, wrong));
    const bytes = encodeComplaint(curve, complaint);
    expect(bytes.length).toBe(112);
    expect(complaintSizeBytes(curve)).toBe(112);
    const decoded = decodeComplaint(curve, bytes) as Complaint;
    expect(isJustified(wrong, 1, decoded)).toBe(true);
    expect(encodeComplaint(curve, decoded)).toEqual(bytes);
    for (const length of [0, 111, 113]) expect(decodeComplaint(curve, new Uint8Array(length))).toBeUndefined();
  });

  test('with one bit changed is refused, whichever', () => {
    for (const { bit, changed } of withOneBitChanged(encodeComplaint(curve, complain(asHolder(1, wrong))))) {
      const complaint = decodeComplaint(curve, changed);
      expect(complaint !== undefined && isJustified(wrong, 1, complaint), `bit ${bit}`).toBe(false);
    }
  });

  test('is of no use against a dealing that differs in one bit, for another holder, key or context', () => {
    const complaint = complain(asHolder(1, wrong));
    for (const { bit, changed } of withOneBitChanged(encodeDealing(curve, wrong))) {
      const dealing = decodeDealing(curve, changed, { threshold: 2, holders: 4 });
      expect(dealing !== undefined && isJustified(dealing, 1, complaint), `bit ${bit}`).toBe(false);
    }
    for (const holder of [0, 2, 3, 4, -1, 0.5, Number.NaN]) expect(isJustified(wrong, holder, complaint)).toBe(false);
    const about = { curve, context, dealing: wrong, holder: 1, holderKey: holderKeys[1] as never, complaint };
    expect(isJustifiedComplaint(about)).toBe(true);
    expect(isJustifiedComplaint({ ...about, holderKey: holderKeys[2] as never })).toBe(false);
    expect(isJustifiedComplaint({ ...about, holderKey: g1.zero })).toBe(false);
    expect(isJustifiedComplaint({ ...about, holder: 2 })).toBe(false);
    expect(isJustifiedComplaint({ ...about, context: seedOf(5) })).toBe(false);
  });
});

describe('a false complaint is never justified', () => {
  test('with the true shared key', () => {
    for (let holder = 0; holder < 4; holder++) {
      expect(isJustified(right, holder, discloseSharedKey(asHolder(holder, right)))).toBe(false);
    }
  });

  test('with any other shared key, whatever the proof is made with', () => {
    const scalar = fc.bigInt({ min: 0n, max: order - 1n });
    fc.assert(
      fc.property(scalar, scalar, scalar, (log, challenge, response) => {
        const sharedKey = g1.multiply(g1.generator, log);
        const { proof } = discloseSharedKey(asHolder(1, right));
        expect(isJustified(right, 1, { sharedKey, proof })).toBe(false);
        expect(isJustified(right, 1, { sharedKey, proof: { challenge, response } })).toBe(false);
      }),
    );
  });

  test('with a proof of another decryption key than the one that is known', () => {
    const stranger = { ...asHolder(1, right), decryptionKey: 77n };
    expect(isJustified(right, 1, complain(stranger))).toBe(false);
    // Nor with the equation for R alone, or for the key alone.
    const sharedKey = g1.multiply(right.ephemeral, 77n);
    const about = { group: g1, field: curve, label: new Uint8Array(), statement: sha256(context) };
    const half = proveDiscreteLog({ ...about, pairs: [{ base: right.ephemeral, point: sharedKey }] }, 77n);
    expect(isJustified(right, 1, { sharedKey, proof: half })).toBe(false);
  });

  test('with a shared key of zero', () => {
    const { proof } = discloseSharedKey(asHolder(1, wrong));
    expect(isJustified(wrong, 1, { sharedKey: g1.zero, proof })).toBe(false);
  });

  test('and a correct holder does not make one: it would give its evaluation away', () => {
    expect(() => complain(asHolder(1, right))).toThrow(/^the evaluation is right$/);
  });
});

/**
 * A faulty dealer would have complaints against itself open the ciphertexts of a correct one: it takes that one's R, or a
 * multiple of it, and deals garbage, so that every holder complains and shows e * R to all.
 */
describe.each([
  { name: 'R itself', factor: 1n },
  { name: 'a multiple of R', factor: 987654321n },
])('a dealer that uses $name of a correct dealer', ({ factor }) => {
  const secret = 424242n;
  const victim = deal({ ...group, seed: seedOf(1), constant: secret });
  const attackerContext = seedOf(77);
  const stolen = {
    commitments: commitTo(curve, [8n, 9n]),
    ephemeral: g1.multiply(victim.ephemeral, factor),
    ciphertexts: [1, 2, 3, 4].map((byte) => new Uint8Array(32).fill(byte)),
  };

  test('would learn the secret from the complaints, were there no proof', () => {
    const dealing: Dealing = { ...stolen, proof: victim.proof };
    const evaluations = [0, 2].map((holder) => {
      const about = { ...asHolder(holder, dealing), context: attackerContext };
      const complaint = complain(about);
      expect(isJustifiedComplaint({ ...about, holderKey: holderKeys[holder] as never, complaint })).toBe(true);
      const sharedKey = g1.multiply(complaint.sharedKey, invert(factor, order));
      const value = openWithSharedKey({ curve, context, dealing: victim, holder, sharedKey });
      return { holder, value: value as bigint };
    });
    expect(interpolateAt(evaluations, 0n, order)).toBe(secret);
  });

  test('has no proof, so its dealing is refused and nobody complains', () => {
    const { challenge, response } = victim.proof;
    const proofs = [
      victim.proof,
      { challenge, response: (response * factor) % order },
      { challenge: (challenge * invert(factor, order)) % order, response },
      // Made with what it knows: the proof of its own r, with R put in afterwards.
      dealAsChosen({ ...group, context: attackerContext }, { polynomial: [8n, 9n], ephemeralSecret: factor }).proof,
    ];
    for (const proof of proofs) {
      for (const as of [attackerContext, context]) {
        expect(isWellFormedDealing({ ...group, context: as, dealing: { ...stolen, proof } })).toBe(false);
      }
    }
    // Not even the victim's dealing as it is, in the attacker's name.
    expect(isWellFormedDealing({ ...group, context: attackerContext, dealing: victim })).toBe(false);
  });
});

test('a complaint opens no other dealing to the same holder', () => {
  const { sharedKey } = complain(asHolder(1, wrong));
  expect(openWithSharedKey({ curve, context, dealing: right, holder: 1, sharedKey })).toBeUndefined();
  // All it says could be computed by the dealer, from the public key of the holder.
  expect(g1.equals(sharedKey, g1.multiply(encryptionKeyOf(curve, decryptionKeys[1] as bigint), 3n))).toBe(true);
});
