/**
 * Shows that no f replicas have the key: what they hold, with everything that was ever posted, fits every key and does not
 * sign, whichever f they are; and that any f + 1 do sign.
 */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { simulatedSecrets } from '../../simulator/session-secrets.ts';
import { blsPublicKey, blsSign, blsVerify } from '../crypto/bls.ts';
import type { G1Point, G2Point, PairingCurve } from '../crypto/curve.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { type Dealing, decodeDealing } from '../crypto/dealing.ts';
import { coordinateOf, type Evaluation, interpolateAt } from '../crypto/polynomial.ts';
import { combineShares, lagrangeAtZero, type SignatureShare } from '../crypto/threshold.ts';
import { openEvaluation } from '../crypto/verifiable-sharing.ts';
import { dealingContext } from './key-duty.ts';
import { KeyCluster, type Size } from './testing/key-cluster.ts';
import type { Transcript } from './transcript.ts';

const message = new TextEncoder().encode('pay everything to the adversary');

/** All ways to choose so many of 0 .. n - 1. */
function combinations(n: number, count: number, from = 0): readonly (readonly number[])[] {
  if (count === 0) return [[]];
  const found: (readonly number[])[] = [];
  for (let first = from; first <= n - count; first++) {
    for (const rest of combinations(n, count - 1, first + 1)) found.push([first, ...rest]);
  }
  return found;
}

interface Made {
  readonly curve: PairingCurve;
  readonly size: Size;
  readonly cluster: KeyCluster;
  readonly transcript: Transcript;
  readonly serviceKey: G2Point;
  readonly verificationKeys: readonly G2Point[];
  readonly keyShares: readonly bigint[];
  readonly signatureShares: readonly G1Point[];
}

function made(curve: PairingCurve, size: Size): Made {
  const cluster = new KeyCluster({ size, curve, seed: 8 }).run();
  const transcript = cluster.machines[0]?.transcript as Transcript;
  const keyShares = cluster.machines.map(({ keyShare }) => keyShare as bigint);
  return {
    curve,
    size,
    cluster,
    transcript,
    serviceKey: curve.g2.decode(transcript.serviceKey) as G2Point,
    verificationKeys: transcript.verificationKeys.map((key) => curve.g2.decode(key) as G2Point),
    keyShares,
    signatureShares: keyShares.map((keyShare) => blsSign(curve, keyShare, message)),
  };
}

function combine({ curve, size, serviceKey, verificationKeys }: Made, shares: readonly SignatureShare[]) {
  return combineShares({ curve, threshold: size.f + 1, message, shares, keys: { serviceKey, verificationKeys } });
}

const shareBy = ({ signatureShares }: Made, holder: number): SignatureShare => ({
  holder,
  point: signatureShares[holder] as G1Point,
});

const real = made(mclCurve, { n: 4, f: 1, k: 0 });

describe.each([real, ...[7, 10].map((n) => made(plainCurve, { n, f: (n - 1) / 3, k: 0 }))])(
  'a key of $size.n replicas on the curve $curve.name',
  (all) => {
    const { curve, size, serviceKey, keyShares, cluster, transcript } = all;
    const coalitions = combinations(size.n, size.f);
    const evaluationsOf = (holders: readonly number[]): readonly Evaluation[] =>
      holders.map((holder) => ({ holder, value: keyShares[holder] as bigint }));

    it('signs with any f + 1 shares, and with each the same', () => {
      const signatures = combinations(size.n, size.f + 1).map((holders) => {
        const { signature, culprits } = combine(
          all,
          holders.map((holder) => shareBy(all, holder)),
        );
        expect(culprits).toEqual([]);
        expect(blsVerify(curve, serviceKey, message, signature as G1Point)).toBe(true);
        return Buffer.from(curve.g1.encode(signature as G1Point)).toString('hex');
      });
      expect(new Set(signatures).size).toBe(1);
    });

    it('has shares of f replicas that fit every key: each guess at it makes a polynomial through them', () => {
      const guesses = [0n, 1n, 4_711n, curve.order - 1n, curve.order / 3n];
      for (const coalition of coalitions) {
        const known = evaluationsOf(coalition);
        for (const guess of guesses) {
          // The guess stands at zero: holder -1.
          const through = [...known, { holder: -1, value: guess }];
          const outsiders = [...keyShares.keys()].filter((holder) => !coalition.includes(holder));
          const invented = outsiders.map((holder) => ({
            holder,
            value: interpolateAt(through, BigInt(coordinateOf(holder)), curve.order),
          }));
          // Whoever these shares would be of, with f + 1 of them in any mixture the key is the guess.
          for (const other of invented) expect(interpolateAt([...known, other], 0n, curve.order)).toBe(guess);
          for (const share of known) {
            const rest = invented.slice(0, size.f + 1);
            expect(interpolateAt(rest, BigInt(coordinateOf(share.holder)), curve.order)).toBe(share.value);
          }
        }
      }
    });

    it('does not sign with f shares, nor with f and what else they can think of', () => {
      for (const coalition of coalitions) {
        const shares = coalition.map((holder) => shareBy(all, holder));
        expect(combine(all, shares)).toEqual({ signature: undefined, culprits: [] });
        // As if the threshold were f.
        const points = shares.map(({ point }) => point);
        const sum = curve.g1.sumOfProducts(points, lagrangeAtZero(coalition, curve.order));
        expect(blsVerify(curve, serviceKey, message, sum)).toBe(false);
        // With a share made up for somebody else: the sum of theirs, one of theirs, a random one.
        const outsider = [...keyShares.keys()].find((holder) => !coalition.includes(holder)) as number;
        for (const point of [sum, points[0] as G1Point, curve.hashToG1(message), blsSign(curve, 5n, message)]) {
          const { signature, culprits } = combine(all, [...shares, { holder: outsider, point }]);
          expect(signature).toBeUndefined();
          expect(culprits).toEqual([outsider]);
        }
      }
    });

    it('is not in the dealings for f replicas: their decryption keys open their own evaluations, no other', () => {
      const shape = { threshold: size.f + 1, holders: size.n };
      const encoded = cluster.machines[0]?.qualifiedDealings ?? [];
      expect(encoded).toHaveLength(size.f + 1);
      for (const [i, bytes] of encoded.entries()) {
        const dealing = decodeDealing(curve, bytes, shape) as Dealing;
        const context = dealingContext(cluster.membership, transcript.dealers[i] as number);
        for (const { decryptionKey, reader } of keyShares.map((_, reader) => ({
          ...simulatedSecrets(reader),
          reader,
        }))) {
          for (const holder of keyShares.keys()) {
            const opened = openEvaluation({ curve, context, dealing, holder, decryptionKey });
            expect(opened === undefined).toBe(holder !== reader);
          }
        }
      }
    });
  },
);

it('no replica holds the key, nor is the key that of any dealer', () => {
  const { curve, transcript, serviceKey, keyShares, cluster } = real;
  for (const share of keyShares) expect(curve.g2.equals(blsPublicKey(curve, share), serviceKey)).toBe(false);
  for (const encoded of cluster.machines[0]?.qualifiedDealings ?? []) {
    const dealing = decodeDealing(curve, encoded, { threshold: 2, holders: 4 }) as Dealing;
    expect(curve.g2.equals(dealing.commitments[0] as G2Point, serviceKey)).toBe(false);
  }
  expect(transcript.dealers).toHaveLength(2);
});
