/**
 * Successor rules: which session keys a keeper certifies as those of its replica.
 *
 * In: what the replica asks, which the attacker may have written, and what the keeper knows. Out: the certificate with the
 * keeper's own serial and its own word on whether the replica is clean, or why not.
 * Safety: nothing is signed but keys of this replica of this service for the one epoch after that which the service itself
 * says is the present one, and that never goes back; so what a process that was taken over gets is void with that epoch.
 */
import { type SigningKey, sign } from '../crypto/ed25519.ts';
import type { CertifiedMembershipDocument } from '../verify/document.ts';
import { certifiedMembershipDocument } from '../verify/document.ts';
import type { VerifiedMembership } from '../verify/read-membership.ts';
import { serviceSignatureSizeBytes } from '../wire/duty.ts';
import type { ReplicaToKeeper } from '../wire/keeper-message.ts';
import { limits } from '../wire/limits.ts';
import { decodeSuccessorStatement, type SuccessorStatement, successorPreimage } from '../wire/successor.ts';

export type SignAsk = Extract<ReplicaToKeeper, { readonly kind: 'sign-successor' }>;

/** What the keeper knows of the process that asks. */
export interface AskingProcess {
  /** It was started clean in this epoch, not too long ago, and has had no signature yet. */
  isCleanIn(membership: VerifiedMembership): boolean;
  /** Signatures that it has had for this epoch. */
  signedFor(epoch: number): number;
}

export interface SigningIdentity {
  readonly replicaId: string;
  readonly serviceId: string;
  readonly key: SigningKey;
  /** The last epoch that the service was seen to have certified; -1 before the first. */
  readonly certifiedEpoch: number;
  /** The last serial that was used; 0 before the first. */
  readonly serial: number;
}

export type Judged =
  | { readonly ok: true; readonly statement: SuccessorStatement; readonly presentEpoch: number }
  | { readonly ok: false; readonly reason: string };

/** The membership of a request as the document that `verify/` reads. */
export function documentOf({ membership }: Pick<SignAsk, 'membership'>): CertifiedMembershipDocument {
  const bytes = Buffer.from(membership, 'hex');
  const end = bytes.length - serviceSignatureSizeBytes;
  return certifiedMembershipDocument({ statement: bytes.subarray(0, end), signature: bytes.subarray(end) });
}

/** What is to be signed, if anything. `membership` has been found signed by the service. */
export function judgeAsk(
  ask: SignAsk,
  membership: VerifiedMembership,
  identity: SigningIdentity,
  process: AskingProcess,
): Judged {
  const decoded = decodeSuccessorStatement(Buffer.from(ask.statement, 'hex'));
  if (!decoded.ok) return refused(`the statement is none: ${decoded.reason}`);
  const { serviceId, replicaId, epoch, keys } = decoded.value;
  if (membership.serviceId !== identity.serviceId) return refused('the membership is of another service');
  if (serviceId !== identity.serviceId) return refused('the statement is for another service');
  if (replicaId !== identity.replicaId) return refused('the statement is for another replica');
  if (membership.epoch < identity.certifiedEpoch) {
    return refused(`the membership is of epoch ${membership.epoch}, and epoch ${identity.certifiedEpoch} has begun`);
  }
  if (epoch !== membership.epoch + 1) {
    return refused(`the keys are for epoch ${epoch}, and the next one is ${membership.epoch + 1}`);
  }
  const member = membership.replicas.find((replica) => replica.replicaId === replicaId);
  if (member === undefined) return refused(`${replicaId} is no replica of epoch ${membership.epoch}`);
  if (member.identityKey !== identity.key.publicKey.text) {
    return refused(`the identity key of ${replicaId} in epoch ${membership.epoch} is not that of this keeper`);
  }
  const inUse = membership.replicas.some(
    (replica) => replica.signingKey === keys.signingKey || replica.linkKeyDigest === keys.linkKeyDigest,
  );
  if (inUse) return refused('the keys are in use in the present epoch');
  if (process.signedFor(epoch) >= limits.keeperSignaturesPerLifeMax) {
    return refused(`this process has had ${limits.keeperSignaturesPerLifeMax} signatures for epoch ${epoch}`);
  }
  const statement = { ...decoded.value, serial: identity.serial + 1, isClean: process.isCleanIn(membership) };
  return { ok: true, statement, presentEpoch: membership.epoch };
}

/** 64 bytes. The serial must be durable before this is told to anyone. */
export function certificateOf(statement: SuccessorStatement, key: SigningKey): Uint8Array {
  return sign(key, successorPreimage(statement));
}

function refused(reason: string): Judged {
  return { ok: false, reason };
}
