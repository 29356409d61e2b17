/**
 * Sharing group: holders with keys from a seed and a dealer that may deal wrongly, for the tests of sharing.
 */
import type { G1Point, G2Point, PairingCurve } from '../curve.ts';
import type { Dealing } from '../dealing.ts';
import { commitTo } from '../feldman.ts';
import { coordinateOf, evaluatePolynomial, type Polynomial } from '../polynomial.ts';
import { encodeScalar, scalarFromSeed } from '../scalar.ts';
import { encryptionKeyOf, publishDealing } from '../verifiable-sharing.ts';

export interface SharingGroup {
  readonly curve: PairingCurve;
  readonly context: Uint8Array;
  readonly threshold: number;
  readonly decryptionKeys: readonly bigint[];
  readonly holderKeys: readonly G1Point[];
}

export const seedOf = (number: number): Uint8Array => new Uint8Array(32).fill(number);

export function sharingGroup(curve: PairingCurve, threshold: number, holders: number): SharingGroup {
  const decryptionKeys = Array.from({ length: holders }, (_, holder) =>
    scalarFromSeed(curve, seedOf(200), Uint8Array.of(holder)),
  );
  return {
    curve,
    context: new TextEncoder().encode('service, epoch 0, dealer 3'),
    threshold,
    decryptionKeys,
    holderKeys: decryptionKeys.map((decryptionKey) => encryptionKeyOf(curve, decryptionKey)),
  };
}

export interface ChosenDealing {
  readonly polynomial: Polynomial;
  readonly ephemeralSecret: bigint;
  readonly commitments?: readonly G2Point[];
  /** What a holder is given in place of its evaluation. */
  readonly given?: ReadonlyMap<number, Uint8Array>;
}

/** A dealing with a valid proof, whatever its dealer chose. */
export function dealAsChosen(group: SharingGroup, chosen: ChosenDealing): Dealing {
  const { curve, context, holderKeys } = group;
  const { polynomial, ephemeralSecret, commitments = commitTo(curve, polynomial), given } = chosen;
  const evaluations = holderKeys.map(
    (_, holder) =>
      given?.get(holder) ?? encodeScalar(evaluatePolynomial(polynomial, BigInt(coordinateOf(holder)), curve.order)),
  );
  return publishDealing({ curve, context, holderKeys, commitments, evaluations, ephemeralSecret });
}

/** Each copy of the bytes with one bit of it changed; every step-th bit. */
export function* withOneBitChanged(
  bytes: Uint8Array,
  step = 1,
): Generator<{ readonly bit: number; readonly changed: Uint8Array }> {
  for (let bit = 0; bit < 8 * bytes.length; bit += step) {
    const changed = Uint8Array.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (0x80 >> (bit & 7));
    yield { bit, changed };
  }
}
