/**
 * Statement: what the service signs, as bytes (docs/protocol/certification.md §3, normative).
 */
import { type Digest, digestBytes } from '../crypto/hash.ts';
import { bodyOf } from '../membership/epochs.ts';
import type { Membership } from '../membership/membership.ts';
import { domains } from '../wire/domain.ts';
import type { MembershipStatement } from '../wire/membership-statement.ts';
import type { StatementKind } from '../wire/peer-message.ts';

/** The message under a signature of the statement with this SHA-256. */
export function statementMessage(kind: StatementKind, digest: Digest): Uint8Array {
  return Buffer.concat([domains[kind], digestBytes(digest)]);
}

/** Who the replicas are, in the form that the service signs. Name and service are those of the genesis. */
export function stateMembership(
  membership: Membership,
  genesis: { readonly name: string; readonly service: string },
): MembershipStatement {
  const { epochGenesis, sharingEpoch } = membership;
  return { ...bodyOf(membership, genesis), epochGenesis, sharingEpoch };
}
