/**
 * Proven epoch: which epoch the service says there is: by the membership it signed, or by the proof that the epoch before is over.
 *
 * In: bytes from others, or the record in a home that an attacker may have written. Out: the record that they prove, if any.
 */
import { statementMessage } from '../certification/statement.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import { readClosingProof } from '../epochs/closing-proof.ts';
import type { EpochRecord } from '../storage/epoch-files.ts';
import { decodeMembershipStatement, encodeMembershipStatement } from '../wire/membership-statement.ts';
import type { ServiceSignatureCheck } from './service-signature.ts';

export interface ProofContext {
  readonly serviceId: Digest;
  readonly isSigned: ServiceSignatureCheck;
}

/** By its membership, encoded, and the service's signature. */
export function statedEpoch(
  encoded: Uint8Array,
  signature: Uint8Array,
  { serviceId, isSigned }: ProofContext,
): EpochRecord | undefined {
  const decoded = decodeMembershipStatement(encoded);
  if (!decoded.ok || decoded.value.serviceId !== serviceId) return undefined;
  if (!isSigned(statementMessage('membership', sha256(encoded)), signature)) return undefined;
  return { statement: decoded.value, signature, closingProof: undefined };
}

/** By the end of the epoch before. */
export function closedEpoch(closingProof: Uint8Array, context: ProofContext): EpochRecord | undefined {
  const proven = readClosingProof(closingProof, context);
  if (!proven.ok) return undefined;
  const { body, epochGenesis, sharingEpoch } = proven.value;
  return { statement: { ...body, epochGenesis, sharingEpoch }, signature: undefined, closingProof };
}

/** Does a record hold what proves it? Each that a correct replica has written does. */
export function isProven(record: EpochRecord, context: ProofContext): boolean {
  const { statement, signature } = record;
  const stated =
    signature === undefined ? undefined : statedEpoch(encodeMembershipStatement(statement), signature, context);
  return stated !== undefined || hasWholeProof(record, context);
}

/** Does a record hold a closing proof, and is it one of its own epoch? */
export function hasWholeProof({ statement, closingProof }: EpochRecord, context: ProofContext): boolean {
  const proven = closingProof === undefined ? undefined : closedEpoch(closingProof, context);
  if (proven === undefined) return false;
  return Buffer.from(encodeMembershipStatement(proven.statement)).equals(encodeMembershipStatement(statement));
}
