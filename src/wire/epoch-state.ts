/**
 * Epoch state: where the epoch stands, as all agree; one entry of the system tree, and so in every checkpoint
 * (docs/protocol/epochs.md §1).
 *
 * In: bytes of an entry, which a checkpoint vouches for or nobody does. Out: a state whose every part is well-formed and in
 * its one order, or why not.
 */

import {
  type AdminAction,
  type AdminProposal,
  adminActionSizeBytesMin,
  readAdminAction,
  readAdminProposal,
  writeAdminAction,
  writeAdminProposal,
} from './admin-action.ts';
import { limits } from './limits.ts';
import { type MembershipBody, readMembershipBody, writeMembershipBody } from './membership-statement.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { type CertifiedSuccessor, readSuccessors, writeSuccessor } from './successor.ts';
import { Writer } from './writer.ts';

export const epochStateVersion = 1;

/** A commit, and its agreed time in milliseconds since 1970. */
export interface Moment {
  readonly commitIndex: number;
  readonly timestamp: number;
}

export type EpochPhase =
  | { readonly kind: 'steady' }
  /** The replicas name their next session keys; those whose turn it is are made clean. */
  | { readonly kind: 'preparing'; readonly since: Moment; readonly turn: readonly string[] }
  /** The next membership is fixed, and gets its sharing of the service key. */
  | {
      readonly kind: 'resharing';
      readonly since: Moment;
      readonly turn: readonly string[];
      readonly next: MembershipBody;
    };

export interface PendingProposal {
  readonly proposal: AdminProposal;
  /** Of administrators by their places in the genesis, as a bit mask. */
  readonly approvedBy: number;
}

export interface EpochState {
  /** Of the present epoch. */
  readonly membership: MembershipBody;
  /** The epoch whose sharing of the service key is in use. */
  readonly sharingEpoch: number;
  readonly began: Moment;
  readonly phase: EpochPhase;
  /** For the next epoch, the best of each replica, by replica id ascending. */
  readonly successors: readonly CertifiedSuccessor[];
  /** Ids, ascending, of replicas with two successors of one key: blocked until an administrator replaces them. */
  readonly disputed: readonly string[];
  /** In the order in which they came. */
  readonly proposals: readonly PendingProposal[];
  /** In the order in which they were approved; carried out at the next change. */
  readonly approved: readonly AdminAction[];
}

/** A proposal with its version, service id, epoch, action and mask. */
const proposalSizeBytesMin = 1 + 32 + 4 + adminActionSizeBytesMin + 2;

export function encodeEpochState(state: EpochState): Uint8Array {
  const writer = new Writer(4096).u8(epochStateVersion);
  writeMembershipBody(writer, state.membership);
  writer.u32(state.sharingEpoch);
  writeMoment(writer, state.began);
  writePhase(writer, state.phase);
  writer.u8(state.successors.length);
  for (const successor of state.successors) writeSuccessor(writer, successor);
  writeIds(writer, state.disputed);
  writer.u8(state.proposals.length);
  for (const { proposal, approvedBy } of state.proposals) {
    writeAdminProposal(writer, proposal);
    writer.u16(approvedBy);
  }
  writer.u8(state.approved.length);
  for (const action of state.approved) writeAdminAction(writer, action);
  return writer.finish();
}

export function decodeEpochState(bytes: Uint8Array): Decoded<EpochState> {
  if (bytes.length > limits.epochStateSizeBytesMax) {
    return { ok: false, reason: `more than ${limits.epochStateSizeBytesMax} bytes` };
  }
  return decode<EpochState>(bytes, (reader) => {
    const version = reader.u8('version');
    if (version !== epochStateVersion) throw new WireError(`version: ${version} is unknown`);
    const membership = readMembershipBody(reader);
    const sharingEpoch = reader.u32('sharing epoch');
    const began = readMoment(reader, 'began');
    const phase = readPhase(reader);
    const successors = readSuccessors(reader, reader.u8('successors'));
    demandAscending(
      successors.map(({ statement }) => statement.replicaId),
      'successors',
    );
    const disputed = readIds(reader, 'disputed');
    demandAscending(disputed, 'disputed');
    const proposals = readProposals(reader);
    const count = reader.count(reader.u8('approved'), limits.approvedActionsMax, adminActionSizeBytesMin, 'approved');
    const approved = Array.from({ length: count }, () => readAdminAction(reader));
    return { membership, sharingEpoch, began, phase, successors, disputed, proposals, approved };
  });
}

function readProposals(reader: Reader): readonly PendingProposal[] {
  const count = reader.count(reader.u8('proposals'), limits.proposalsMax, proposalSizeBytesMin, 'proposals');
  return Array.from({ length: count }, () => {
    const proposal = readAdminProposal(reader);
    return { proposal, approvedBy: reader.u16('approved by') };
  });
}

function writePhase(writer: Writer, phase: EpochPhase): void {
  if (phase.kind === 'steady') {
    writer.u8(0);
    return;
  }
  writer.u8(phase.kind === 'preparing' ? 1 : 2);
  writeMoment(writer, phase.since);
  writeIds(writer, phase.turn);
  if (phase.kind === 'resharing') writeMembershipBody(writer, phase.next);
}

function readPhase(reader: Reader): EpochPhase {
  const kind = reader.u8('phase');
  if (kind > 2) throw new WireError(`phase: ${kind} is unknown`);
  if (kind === 0) return { kind: 'steady' };
  const since = readMoment(reader, 'since');
  const turn = readIds(reader, 'turn');
  if (kind === 1) return { kind: 'preparing', since, turn };
  return { kind: 'resharing', since, turn, next: readMembershipBody(reader) };
}

function writeMoment(writer: Writer, { commitIndex, timestamp }: Moment): void {
  writer.u64(commitIndex).u64(timestamp);
}

function readMoment(reader: Reader, what: string): Moment {
  return { commitIndex: reader.u64(what), timestamp: reader.u64(what) };
}

function writeIds(writer: Writer, ids: readonly string[]): void {
  writer.u8(ids.length);
  for (const id of ids) writer.text(id);
}

function readIds(reader: Reader, what: string): readonly string[] {
  const count = reader.count(reader.u8(what), limits.replicasMax, 4, what);
  return Array.from({ length: count }, () => reader.text(limits.replicaIdSizeBytesMax, what));
}

/** Ascending by their bytes in UTF-8, as for ids it is by their characters. */
function demandAscending(ids: readonly string[], what: string): void {
  for (const [i, id] of ids.entries()) {
    if (i > 0 && id <= (ids[i - 1] as string)) throw new WireError(`${what}: not ascending`);
  }
}
