/**
 * Discrete-log proof: whoever made it knows one secret that takes each base to its point. With one pair it is a proof
 * of knowledge (Schnorr), with two a proof that both have the same discrete logarithm (Chaum and Pedersen).
 *
 * The challenge is a hash of everything: the label, the statement of the caller, every base and point, and the
 * commitments to the nonce. A proof is therefore of no use for any other statement.
 *
 * The nonce is derived, not drawn: an HMAC, keyed by the secret, of all of that but the commitments. That is safe:
 * two proofs with one nonce give the secret away only if their challenges differ, and here equal nonces come from equal
 * statements, whose challenges, and so whose proofs, are equal too. To who does not know the secret, nonces of different
 * statements look independent and uniform, zero left out. What is gained: a replica that restarts in the middle makes
 * the same proof again, and no weakness of a random source can give a key away.
 * Source: Schnorr (1991); Chaum, Pedersen (1992); Bernhard, Pereira, Warinschi (2012) on what must be hashed; RFC 6979
 * on derived nonces.
 */
import type { CurveGroup } from './curve.ts';
import { type Digest, digestBytes } from './hash.ts';
import {
  decodeScalar,
  encodeScalar,
  type Field,
  modulo,
  scalarFromHash,
  scalarFromSeed,
  scalarSizeBytes,
} from './scalar.ts';

export interface DiscreteLogProof {
  readonly challenge: bigint;
  readonly response: bigint;
}

/** What is proven: point = secret * base for each pair, in this group, about this statement. */
export interface DiscreteLogStatement<Point> {
  readonly group: CurveGroup<Point>;
  readonly field: Field;
  /** What the proof is for: distinct for each use. */
  readonly label: Uint8Array;
  /** Digest of all that the proof is bound to beside the pairs. */
  readonly statement: Digest;
  readonly pairs: readonly { readonly base: Point; readonly point: Point }[];
}

export const discreteLogProofSizeBytes = 2 * scalarSizeBytes;

export function proveDiscreteLog<Point>(about: DiscreteLogStatement<Point>, secret: bigint): DiscreteLogProof {
  const { group, field, pairs } = about;
  const prefix = boundTo(about);
  const nonce = scalarFromSeed(field, encodeScalar(modulo(secret, field.order)), nonceLabel, ...prefix);
  const nonceCommitments = pairs.map(({ base }) => group.multiply(base, nonce));
  const challenge = challengeOf(about, prefix, nonceCommitments);
  return { challenge, response: modulo(nonce + challenge * secret, field.order) };
}

export function isDiscreteLogProof<Point>(about: DiscreteLogStatement<Point>, proof: DiscreteLogProof): boolean {
  const { group, field, pairs } = about;
  const { challenge, response } = proof;
  if (!isReduced(field, challenge) || !isReduced(field, response)) return false;
  const minusChallenge = modulo(-challenge, field.order);
  const nonceCommitments = pairs.map(({ base, point }) =>
    group.sumOfProducts([base, point], [response, minusChallenge]),
  );
  return challenge === challengeOf(about, boundTo(about), nonceCommitments);
}

/** Challenge, response: 64 bytes. */
export function encodeDiscreteLogProof({ challenge, response }: DiscreteLogProof): Uint8Array {
  return Buffer.concat([encodeScalar(challenge), encodeScalar(response)]);
}

/** Undefined unless the bytes are two reduced scalars. */
export function decodeDiscreteLogProof(field: Field, bytes: Uint8Array): DiscreteLogProof | undefined {
  if (bytes.length !== discreteLogProofSizeBytes) return undefined;
  const challenge = decodeScalar(field, bytes.subarray(0, scalarSizeBytes));
  const response = decodeScalar(field, bytes.subarray(scalarSizeBytes));
  return challenge === undefined || response === undefined ? undefined : { challenge, response };
}

const nonceLabel = new TextEncoder().encode('coterie/v1/proof-nonce\n');

function boundTo<Point>({ group, label, statement, pairs }: DiscreteLogStatement<Point>): readonly Uint8Array[] {
  const points = pairs.flatMap(({ base, point }) => [group.encode(base), group.encode(point)]);
  return [label, digestBytes(statement), ...points];
}

function challengeOf<Point>(
  { group, field }: DiscreteLogStatement<Point>,
  prefix: readonly Uint8Array[],
  nonceCommitments: readonly Point[],
): bigint {
  return scalarFromHash(field, [...prefix, ...nonceCommitments.map((point) => group.encode(point))]);
}

function isReduced({ order }: Field, scalar: bigint): boolean {
  return scalar >= 0n && scalar < order;
}
