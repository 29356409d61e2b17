/**
 * Closing proof: that an epoch is over, and who comes next: the head with which it ended, the service's signature under that, the
 * checkpoint whose digest is in it, and the body whose digest is in that (docs/protocol/epochs.md §1).
 *
 * In: bytes from anybody. Out: all that is needed to take part in the next epoch, or why not; nothing is trusted but the service key.
 * A replica that left an epoch keeps the proof for those that did not: with f replicas silent, and one gone ahead, the others are no
 * quorum any more, and could not bring the old epoch to its end by themselves.
 */
import { type Digest, digestBytes, sha256 } from '../crypto/hash.ts';
import { epochGenesisAfter } from '../membership/epochs.ts';
import { checkpointDigest, decodeCheckpoint } from '../wire/checkpoint.ts';
import { domains } from '../wire/domain.ts';
import { serviceSignatureSizeBytes } from '../wire/duty.ts';
import { decodeHead, encodeHead, type Head, headSizeBytes } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import {
  decodeMembershipBody,
  encodeMembershipBody,
  type MembershipBody,
  membershipBodyDigest,
} from '../wire/membership-statement.ts';
import { type Decoded, decode } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';

export const closingProofVersion = 1;

export interface ClosingProof {
  readonly head: Head;
  /** Of the service, 48 bytes. */
  readonly signature: Uint8Array;
  /** Encoded. */
  readonly checkpoint: Uint8Array;
  /** Who comes next. */
  readonly body: MembershipBody;
}

/** What follows from a proof that holds: the arguments of `membershipOf`. */
export interface ProvenEpoch {
  readonly body: MembershipBody;
  readonly epochGenesis: Digest;
  readonly sharingEpoch: number;
}

export function encodeClosingProof({ head, signature, checkpoint, body }: ClosingProof): Uint8Array {
  const writer = new Writer(8_192).u8(closingProofVersion).fixed(encodeHead(head), headSizeBytes);
  writer.fixed(signature, serviceSignatureSizeBytes).bytes(checkpoint);
  return writer.bytes(encodeMembershipBody(body)).finish();
}

/** `isSigned`: is this the service's signature under these bytes? Asked last: it costs a pairing. */
export function readClosingProof(
  bytes: Uint8Array,
  {
    serviceId,
    isSigned,
  }: { readonly serviceId: Digest; isSigned(message: Uint8Array, signature: Uint8Array): boolean },
): Decoded<ProvenEpoch> {
  if (bytes.length > limits.closingProofSizeBytesMax) {
    return { ok: false, reason: `more than ${limits.closingProofSizeBytesMax} bytes` };
  }
  const parts = decode(bytes, (reader) => ({
    version: reader.u8('version'),
    head: reader.fixed(headSizeBytes, 'head'),
    signature: reader.fixed(serviceSignatureSizeBytes, 'signature'),
    checkpoint: reader.bytes(limits.closingProofSizeBytesMax, 'checkpoint'),
    body: reader.bytes(limits.closingProofSizeBytesMax, 'body'),
  }));
  if (!parts.ok) return parts;
  const { version, signature } = parts.value;
  if (version !== closingProofVersion) return { ok: false, reason: `version: ${version} is unknown` };
  const head = decodeHead(parts.value.head);
  const checkpoint = decodeCheckpoint(parts.value.checkpoint);
  const body = decodeMembershipBody(parts.value.body);
  if (head === undefined) return { ok: false, reason: 'head: not one' };
  if (!checkpoint.ok) return { ok: false, reason: `checkpoint: ${checkpoint.reason}` };
  if (!body.ok) return { ok: false, reason: `body: ${body.reason}` };
  const digest = checkpointDigest(parts.value.checkpoint);
  const { epoch, nextMembership } = checkpoint.value;
  if (head.serviceId !== serviceId || body.value.serviceId !== serviceId) {
    return { ok: false, reason: 'it is of another service' };
  }
  if (head.checkpoint !== digest) return { ok: false, reason: 'checkpoint: not the one in the head' };
  if (nextMembership !== membershipBodyDigest(body.value)) {
    return { ok: false, reason: 'body: not the one in the checkpoint' };
  }
  if (body.value.epoch !== epoch + 1) return { ok: false, reason: 'body: not of the epoch that follows' };
  const message = Buffer.concat([domains.head, digestBytes(sha256(parts.value.head))]);
  if (!isSigned(message, signature)) return { ok: false, reason: 'signature: not that of the service' };
  const epochGenesis = epochGenesisAfter(serviceId, digest, body.value.epoch);
  return { ok: true, value: { body: body.value, epochGenesis, sharingEpoch: body.value.epoch } };
}
