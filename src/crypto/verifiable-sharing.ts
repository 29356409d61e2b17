/**
 * Verifiable sharing: a dealer shares a secret among holders in one published dealing; each holder opens its own
 * evaluation and sees whether it is right; whose is wrong can show it to anyone (`complaint.ts`).
 *
 * In: a context that names the sharing and the dealer, the holders' encryption keys. Out: values; hostile input makes
 * `false` or `undefined`, never an exception. Owns no state.
 * Safety: who has at most `threshold - 1` decryption keys learns nothing of the secret but its commitment. Every holder
 * whose evaluation is right has the value of one and the same polynomial (docs/protocol/key-generation.md, "One dealing").
 * Source: Feldman (1987); hashed ElGamal with one ephemeral for all receivers, Kurosawa (2002), Bellare, Boldyreva,
 * Staddon (2003); the dealer's proof of knowledge of it is what makes complaints safe.
 */
import type { G1Point, G2Point, PairingCurve } from './curve.ts';
import { type Dealing, encodeUnproven } from './dealing.ts';
import { type DiscreteLogStatement, isDiscreteLogProof, proveDiscreteLog } from './discrete-log-proof.ts';
import { commitTo, evaluationMatches } from './feldman.ts';
import { digestBytes, hmacSha256, sha256, sha256Of } from './hash.ts';
import { coordinateOf, evaluatePolynomial, type Polynomial } from './polynomial.ts';
import {
  coefficientFromSeed,
  decodeScalar,
  encodeScalar,
  modulo,
  scalarFromSeed,
  scalarSizeBytes,
  unsigned32,
} from './scalar.ts';

export const dealingSeedSizeBytes = 32;

const encoder = new TextEncoder();
const labels = {
  dealer: encoder.encode('coterie/v1/sharing-dealer\n'),
  coefficient: encoder.encode('coefficient'),
  ephemeral: encoder.encode('ephemeral'),
  proof: encoder.encode('coterie/v1/sharing-ephemeral\n'),
  mask: encoder.encode('coterie/v1/sharing-mask\n'),
};

/** The public half of a decryption key. Throws a RangeError for zero, which everybody could decrypt with. */
export function encryptionKeyOf(curve: PairingCurve, decryptionKey: bigint): G1Point {
  if (modulo(decryptionKey, curve.order) === 0n) throw new RangeError('a decryption key must not be zero');
  return curve.g1.multiply(curve.g1.generator, decryptionKey);
}

export interface DealOptions {
  readonly curve: PairingCurve;
  /** Names the sharing, and with it the holders and their keys, and the dealer. */
  readonly context: Uint8Array;
  /** Evaluations that determine the polynomial. */
  readonly threshold: number;
  readonly holderKeys: readonly G1Point[];
  /** 32 secret bytes. Everything follows from them and the other options, so who restarts deals the same again. */
  readonly seed: Uint8Array;
  /** The secret to share, from 1 to order - 1; else one derived from the seed. */
  readonly constant?: bigint;
}

/** Throws a RangeError when the options make no sense. */
export function deal(options: DealOptions): Dealing {
  const { curve, context, holderKeys } = options;
  checkOptions(options);
  const root = rootOf(options);
  const polynomial = polynomialOf(options, root);
  const evaluations = holderKeys.map((_, holder) =>
    encodeScalar(evaluatePolynomial(polynomial, BigInt(coordinateOf(holder)), curve.order)),
  );
  const ephemeralSecret = scalarFromSeed(curve, root, labels.ephemeral);
  return publishDealing({
    curve,
    context,
    holderKeys,
    commitments: commitTo(curve, polynomial),
    evaluations,
    ephemeralSecret,
  });
}

export interface DealingToPublish {
  readonly curve: PairingCurve;
  readonly context: Uint8Array;
  readonly holderKeys: readonly G1Point[];
  readonly commitments: readonly G2Point[];
  /** 32 bytes for each holder. */
  readonly evaluations: readonly Uint8Array[];
  /** r. To be used once. */
  readonly ephemeralSecret: bigint;
}

/** Encrypts and proves what has been chosen, right or wrong: faulty dealers of tests choose otherwise than `deal`. */
export function publishDealing(chosen: DealingToPublish): Dealing {
  const { curve, context, holderKeys, commitments, evaluations, ephemeralSecret } = chosen;
  const ephemeral = curve.g1.multiply(curve.g1.generator, ephemeralSecret);
  const ciphertexts = evaluations.map((evaluation, holder) => {
    const sharedKey = curve.g1.multiply(holderKeys[holder] as G1Point, ephemeralSecret);
    return xor(evaluation, maskOf(curve, context, ephemeral, holder, sharedKey));
  });
  const unproven = { commitments, ephemeral, ciphertexts };
  return { ...unproven, proof: proveDiscreteLog(ephemeralStatement(curve, context, unproven), ephemeralSecret) };
}

export interface DealingToCheck {
  readonly curve: PairingCurve;
  readonly context: Uint8Array;
  readonly threshold: number;
  readonly holderKeys: readonly G1Point[];
  readonly dealing: Dealing;
}

/**
 * What everybody can check of a dealing: the counts, that nothing is zero that makes a secret of nothing, and that the
 * dealer knows r. Not that the evaluations are right: each holder sees only its own.
 *
 * Commitments beyond the first may be zero: a polynomial of lower degree is as good as any, since its dealer knows it
 * anyway, and a dealer that never used zero there would tell a little about its secret.
 */
export function isWellFormedDealing({ curve, context, threshold, holderKeys, dealing }: DealingToCheck): boolean {
  const { commitments, ephemeral, ciphertexts, proof } = dealing;
  const constant = commitments[0];
  if (constant === undefined || commitments.length !== threshold || ciphertexts.length !== holderKeys.length) {
    return false;
  }
  if (ciphertexts.some((ciphertext) => ciphertext.length !== scalarSizeBytes)) return false;
  if (curve.g2.isZero(constant) || curve.g1.isZero(ephemeral)) return false;
  if (holderKeys.some((holderKey) => curve.g1.isZero(holderKey))) return false;
  return isDiscreteLogProof(ephemeralStatement(curve, context, dealing), proof);
}

export interface EvaluationToOpen {
  readonly curve: PairingCurve;
  readonly context: Uint8Array;
  /** Well-formed. */
  readonly dealing: Dealing;
  /** From 0. */
  readonly holder: number;
  readonly decryptionKey: bigint;
}

/** The holder's evaluation; undefined when it is not reduced or not what the commitments say. */
export function openEvaluation({
  curve,
  context,
  dealing,
  holder,
  decryptionKey,
}: EvaluationToOpen): bigint | undefined {
  const sharedKey = curve.g1.multiply(dealing.ephemeral, decryptionKey);
  return openWithSharedKey({ curve, context, dealing, holder, sharedKey });
}

/** The same for who has the shared key only: the holder itself, or anyone a complaint has given it to. */
export function openWithSharedKey({
  curve,
  context,
  dealing,
  holder,
  sharedKey,
}: Omit<EvaluationToOpen, 'decryptionKey'> & { readonly sharedKey: G1Point }): bigint | undefined {
  const ciphertext = dealing.ciphertexts[holder];
  if (ciphertext === undefined || ciphertext.length !== scalarSizeBytes) return undefined;
  const mask = maskOf(curve, context, dealing.ephemeral, holder, sharedKey);
  const evaluation = decodeScalar(curve, xor(ciphertext, mask));
  if (evaluation === undefined) return undefined;
  return evaluationMatches(curve, dealing.commitments, holder, evaluation) ? evaluation : undefined;
}

/** The dealer knows r with R = r * generator, and says so of this context and this dealing only. */
function ephemeralStatement(
  curve: PairingCurve,
  context: Uint8Array,
  dealing: Omit<Dealing, 'proof'>,
): DiscreteLogStatement<G1Point> {
  const counts = [unsigned32(dealing.commitments.length), unsigned32(dealing.ciphertexts.length)];
  return {
    group: curve.g1,
    field: curve,
    label: labels.proof,
    statement: sha256Of([digestBytes(sha256(context)), ...counts, encodeUnproven(curve, dealing)]),
    pairs: [{ base: curve.g1.generator, point: dealing.ephemeral }],
  };
}

/** What hides a holder's evaluation from who has neither r nor the holder's decryption key. */
function maskOf(
  curve: PairingCurve,
  context: Uint8Array,
  ephemeral: G1Point,
  holder: number,
  sharedKey: G1Point,
): Uint8Array {
  const points = [curve.g1.encode(ephemeral), curve.g1.encode(sharedKey)];
  return digestBytes(sha256Of([labels.mask, digestBytes(sha256(context)), unsigned32(holder), ...points]));
}

/** Different for any two dealings, so that no coefficient and no r is ever used for both. */
function rootOf({ curve, context, threshold, holderKeys, seed, constant }: DealOptions): Uint8Array {
  const keys = sha256Of(holderKeys.map((holderKey) => curve.g1.encode(holderKey)));
  const counts = [unsigned32(threshold), unsigned32(holderKeys.length)];
  const given = constant === undefined ? [] : [encodeScalar(constant)];
  return hmacSha256(seed, [labels.dealer, digestBytes(sha256(context)), ...counts, digestBytes(keys), ...given]);
}

function polynomialOf({ curve, threshold, constant }: DealOptions, root: Uint8Array): Polynomial {
  return Array.from({ length: threshold }, (_, power) => {
    if (power > 0) return coefficientFromSeed(curve, root, labels.coefficient, unsigned32(power));
    return constant ?? scalarFromSeed(curve, root, labels.coefficient, unsigned32(power));
  });
}

function checkOptions({ curve, threshold, holderKeys, seed, constant }: DealOptions): void {
  if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > holderKeys.length) {
    throw new RangeError(`a threshold of ${threshold} for ${holderKeys.length} holders`);
  }
  if (seed.length !== dealingSeedSizeBytes) throw new RangeError(`a seed has 32 bytes, not ${seed.length}`);
  if (holderKeys.some((holderKey) => curve.g1.isZero(holderKey))) throw new RangeError('an encryption key is zero');
  if (constant !== undefined && (constant <= 0n || constant >= curve.order)) {
    throw new RangeError('the secret to share is zero or not reduced');
  }
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, i) => byte ^ (b[i] as number));
}
