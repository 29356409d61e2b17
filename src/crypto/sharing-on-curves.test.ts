/** One dealing on BLS12-381, with both providers: that they agree to the byte, and on what is refused. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Complaint, complain, decodeComplaint, encodeComplaint, isJustifiedComplaint } from './complaint.ts';
import type { PairingCurve } from './curve.ts';
import { mclCurve } from './curve-mcl.ts';
import { nobleCurve } from './curve-noble.ts';
import { type Dealing, decodeDealing, encodeDealing } from './dealing.ts';
import { commitmentAt, commitTo, evaluationMatches } from './feldman.ts';
import { coordinateOf, evaluatePolynomial, interpolateAt } from './polynomial.ts';
import { encodeScalar } from './scalar.ts';
import { dealAsChosen, seedOf, sharingGroup, withOneBitChanged } from './testing/sharing-group.ts';
import { deal, isWellFormedDealing, openEvaluation } from './verifiable-sharing.ts';

const shape = { threshold: 2, holders: 4 };
const groupOn = (curve: PairingCurve) => sharingGroup(curve, shape.threshold, shape.holders);
const wrongOn = (curve: PairingCurve): Dealing =>
  dealAsChosen(groupOn(curve), {
    polynomial: [5n, 6n],
    ephemeralSecret: 3n,
    given: new Map([[1, encodeScalar(curve.order + 17n)]]),
  });

describe.each([mclCurve, nobleCurve])('on $name', (curve) => {
  const group = groupOn(curve);
  let dealing: Dealing;
  let bytes: Uint8Array;
  let wrong: Dealing;
  let complaint: Complaint;

  beforeAll(() => {
    dealing = deal({ ...group, seed: seedOf(1), constant: 424242n });
    bytes = encodeDealing(curve, dealing);
    wrong = wrongOn(curve);
    complaint = complain({ ...group, dealing: wrong, holder: 1, decryptionKey: group.decryptionKeys[1] as bigint });
  });

  test('a dealing survives its bytes, opens for each holder, and any two have the secret', () => {
    const decoded = decodeDealing(curve, bytes, shape) as Dealing;
    expect(isWellFormedDealing({ ...group, dealing: decoded })).toBe(true);
    const evaluations = group.decryptionKeys.map((decryptionKey, holder) => ({
      holder,
      value: openEvaluation({ ...group, dealing: decoded, holder, decryptionKey }) as bigint,
    }));
    expect(interpolateAt(evaluations.slice(0, 2), 0n, curve.order)).toBe(424242n);
    expect(interpolateAt(evaluations.slice(2), 0n, curve.order)).toBe(424242n);
  });

  test('some bit of each field changed: refused', () => {
    const step = curve === mclCurve ? 61 : 509;
    for (const { bit, changed } of withOneBitChanged(bytes, step)) {
      const changedDealing = decodeDealing(curve, changed, shape);
      const isAccepted = changedDealing !== undefined && isWellFormedDealing({ ...group, dealing: changedDealing });
      expect(isAccepted, `bit ${bit}`).toBe(false);
    }
  });

  test('a complaint convicts, and with some bit of each field changed does not', () => {
    const about = { ...group, dealing: wrong, holder: 1, holderKey: group.holderKeys[1] as never };
    const encoded = encodeComplaint(curve, complaint);
    expect(isJustifiedComplaint({ ...about, complaint: decodeComplaint(curve, encoded) as Complaint })).toBe(true);
    for (const { bit, changed } of withOneBitChanged(encoded, curve === mclCurve ? 23 : 97)) {
      const decoded = decodeComplaint(curve, changed);
      const isAccepted = decoded !== undefined && isJustifiedComplaint({ ...about, complaint: decoded });
      expect(isAccepted, `bit ${bit}`).toBe(false);
    }
  });

  test('commitments that are zero, and sums that become zero on the way, are as any other', () => {
    const { order, g2 } = curve;
    // (order - 2) + x is zero at holder 1, as is x^2 + (order - 2) x before the constant is added.
    for (const polynomial of [
      [5n, 0n, 0n],
      [0n, 0n],
      [5n, 0n, 7n],
      [order - 2n, 1n],
      [0n, order - 2n, 1n],
    ]) {
      const commitments = commitTo(curve, polynomial);
      for (const holder of [0, 1, 2, 30]) {
        const value = evaluatePolynomial(polynomial, BigInt(coordinateOf(holder)), order);
        expect(evaluationMatches(curve, commitments, holder, value)).toBe(true);
        expect(evaluationMatches(curve, commitments, holder, (value + 1n) % order)).toBe(false);
        const powers = commitments.map((_, power) => BigInt(coordinateOf(holder)) ** BigInt(power));
        expect(g2.equals(commitmentAt(curve, commitments, holder), g2.sumOfProducts(commitments, powers))).toBe(true);
      }
    }
  });
});

test('both providers deal and complain alike, byte for byte', () => {
  const [ours, theirs] = [mclCurve, nobleCurve].map((curve) => {
    const group = groupOn(curve);
    const wrong = wrongOn(curve);
    const complaint = complain({
      ...group,
      dealing: wrong,
      holder: 1,
      decryptionKey: group.decryptionKeys[1] as bigint,
    });
    const dealings = [deal({ ...group, seed: seedOf(1) }), wrong].map((dealing) => encodeDealing(curve, dealing));
    return [...dealings, encodeComplaint(curve, complaint)].map((bytes) => Buffer.from(bytes).toString('hex'));
  });
  expect(ours).toEqual(theirs);
});
