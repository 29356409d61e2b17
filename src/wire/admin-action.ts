/**
 * Admin action: what administrators decide, and the proposal that each of them signs (docs/protocol/epochs.md §4).
 *
 * A proposal names the epoch in which it may be approved, so a signature is never good for another time. Whether an
 * action can be carried out is for `membership/`.
 */
import { type Digest, sha256Of } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { limits } from './limits.ts';
import { type JoiningReplica, readStatedParts, writeStatedParts } from './membership-statement.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export const adminProposalVersion = 1;

export type AdminAction =
  /** End the epoch now. */
  | { readonly kind: 'advance' }
  | { readonly kind: 'add'; readonly replica: JoiningReplica }
  | { readonly kind: 'remove'; readonly replicaId: string }
  | { readonly kind: 'replace'; readonly replicaId: string; readonly replica: JoiningReplica }
  /** How many may be faulty, and how many more in recovery. */
  | { readonly kind: 'rule'; readonly f: number; readonly k: number };

export interface AdminProposal {
  readonly serviceId: Digest;
  /** In which it may be approved. */
  readonly epoch: number;
  readonly action: AdminAction;
}

/** Of the least action, which is its kind alone. */
export const adminActionSizeBytesMin = 1;

/** What an administrator signs. */
export function adminPreimage(proposal: AdminProposal): Uint8Array {
  return Buffer.concat([domains.adminAction, encodeAdminProposal(proposal)]);
}

/** What tells one proposal from another. */
export function proposalDigest(proposal: AdminProposal): Digest {
  return sha256Of([adminPreimage(proposal)]);
}

export function encodeAdminProposal(proposal: AdminProposal): Uint8Array {
  const writer = new Writer(512);
  writeAdminProposal(writer, proposal);
  return writer.finish();
}

export function decodeAdminProposal(bytes: Uint8Array): Decoded<AdminProposal> {
  if (bytes.length > limits.proposalSizeBytesMax) {
    return { ok: false, reason: `more than ${limits.proposalSizeBytesMax} bytes` };
  }
  return decode(bytes, readAdminProposal);
}

/** One within something larger. */
export function writeAdminProposal(writer: Writer, { serviceId, epoch, action }: AdminProposal): void {
  writer.u8(adminProposalVersion).digest(serviceId).u32(epoch);
  writeAdminAction(writer, action);
}

export function readAdminProposal(reader: Reader): AdminProposal {
  const version = reader.u8('version');
  if (version !== adminProposalVersion) throw new WireError(`version: ${version} is unknown`);
  return { serviceId: reader.digest('service id'), epoch: reader.u32('epoch'), action: readAdminAction(reader) };
}

export function writeAdminAction(writer: Writer, action: AdminAction): void {
  switch (action.kind) {
    case 'advance':
      writer.u8(0);
      break;
    case 'add':
      writeStatedParts(writer.u8(1), action.replica);
      break;
    case 'remove':
      writer.u8(2).text(action.replicaId);
      break;
    case 'replace':
      writeStatedParts(writer.u8(3).text(action.replicaId), action.replica);
      break;
    case 'rule':
      writer.u8(4).u16(action.f).u16(action.k);
      break;
  }
}

export function readAdminAction(reader: Reader): AdminAction {
  const kind = reader.u8('action');
  switch (kind) {
    case 0:
      return { kind: 'advance' };
    case 1:
      return { kind: 'add', replica: readStatedParts(reader) };
    case 2:
      return { kind: 'remove', replicaId: reader.text(limits.replicaIdSizeBytesMax, 'replica id') };
    case 3: {
      const replicaId = reader.text(limits.replicaIdSizeBytesMax, 'replica id');
      return { kind: 'replace', replicaId, replica: readStatedParts(reader) };
    }
    case 4:
      return { kind: 'rule', f: reader.u16('f'), k: reader.u16('k') };
    default:
      throw new WireError(`action: ${kind} is unknown`);
  }
}
