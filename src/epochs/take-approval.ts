/**
 * Take approval: what administrators decide, m of n of them together (docs/protocol/epochs.md §4).
 *
 * In: the state, one administrator's signature under a proposal. Out: the state after it, and whether the epoch is to end.
 * Safety: an action is approved when so many different administrators have signed it for this very epoch; a signature is good
 * for no other action, epoch or service, and one administrator counts once.
 */
import { parsePublicKey, verify } from '../crypto/ed25519.ts';
import { faultOfAction } from '../membership/epochs.ts';
import {
  type AdminAction,
  type AdminProposal,
  adminPreimage,
  decodeAdminProposal,
  proposalDigest,
} from '../wire/admin-action.ts';
import type { EpochState, PendingProposal } from '../wire/epoch-state.ts';
import type { Administrators } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import type { MembershipBody } from '../wire/membership-statement.ts';
import type { Value } from '../wire/value.ts';
import { bytesIn, granted, numberIn, refused, type SystemOutcome } from './system-outcome.ts';

export interface ApprovalContext {
  readonly administrators: Administrators;
  /** The membership as it will be by what is approved so far; asked only for what an administrator has signed. */
  readonly planned: () => MembershipBody;
  /** Is this text a point that can be encrypted to? */
  readonly isEncryptionKey: (text: string) => boolean;
  /** It was asked for in this very commit already. */
  readonly isEnding: boolean;
}

/** `advances`: administrators want the epoch to end. */
export interface Approval extends SystemOutcome {
  readonly advances: boolean;
}

export function takeApproval(state: EpochState, input: Value, context: ApprovalContext): Approval {
  const read = readApproval(state, input, context);
  if ('outcome' in read) return { ...read, advances: false };
  const { proposal, administrator } = read;
  const { action } = proposal;
  const { approvals: needed } = context.administrators;
  if (isApproved(state, proposal)) {
    return { ...granted(state, { status: 'approved', approvals: needed, needed }), advances: false };
  }
  const fault = faultOf(state, action, context);
  if (fault !== undefined) return { ...fault, advances: false };

  const digest = proposalDigest(proposal);
  const pending = state.proposals.find((each) => proposalDigest(each.proposal) === digest);
  const approvedBy = (pending?.approvedBy ?? 0) | (1 << administrator);
  const approvals = countOf(approvedBy);
  if (approvals < needed) {
    const value = { status: 'waiting', approvals, needed };
    if (pending?.approvedBy === approvedBy) return { ...granted(state, value), advances: false };
    const proposals = withProposal(state.proposals, pending, { proposal, approvedBy });
    if (proposals === undefined) return full(state, 'proposals wait already');
    return { ...granted({ ...state, proposals }, value), advances: false };
  }
  const proposals = state.proposals.filter((each) => each !== pending);
  const value = { status: 'approved', approvals, needed };
  if (action.kind === 'advance') return { ...granted({ ...state, proposals }, value), advances: true };
  if (state.approved.length >= limits.approvedActionsMax) return full(state, 'approved actions wait already');
  return { ...granted({ ...state, proposals, approved: [...state.approved, action] }, value), advances: false };
}

function readApproval(
  state: EpochState,
  input: Value,
  { administrators }: ApprovalContext,
): SystemOutcome | { readonly proposal: AdminProposal; readonly administrator: number } {
  const bytes = bytesIn(input, 'proposal');
  const administrator = numberIn(input, 'administrator');
  const signature = bytesIn(input, 'signature');
  if (bytes === undefined || administrator === undefined || signature === undefined) {
    return refused(state, 'invalid-input', 'it takes a proposal, the number of an administrator, and a signature');
  }
  const decoded = decodeAdminProposal(bytes);
  if (!decoded.ok) return refused(state, 'invalid-input', `proposal: ${decoded.reason}`);
  const proposal = decoded.value;
  const { serviceId, epoch } = state.membership;
  const key = parsePublicKey(administrators.keys[administrator] ?? '');
  if (key === undefined) return refused(state, 'unknown-administrator', 'the genesis names no such administrator');
  if (proposal.serviceId !== serviceId) return refused(state, 'bad-signature', 'it is for another service');
  if (proposal.epoch !== epoch) {
    return refused(state, 'wrong-epoch', `it was signed for epoch ${proposal.epoch}, and this is ${epoch}`);
  }
  if (!verify(key, adminPreimage(proposal), signature)) {
    return refused(state, 'bad-signature', 'the administrator has not signed it');
  }
  return { proposal, administrator };
}

/** Why it cannot be. Numbers are not looked at: they depend on what else is approved by the time of the change. */
function faultOf(state: EpochState, action: AdminAction, context: ApprovalContext): SystemOutcome | undefined {
  if (action.kind === 'advance') {
    const isOver = state.phase.kind !== 'steady' || context.isEnding;
    return isOver ? refused(state, 'too-late', 'the epoch is ending already') : undefined;
  }
  const now = faultOfAction(state.membership, action);
  const then = now === undefined ? undefined : faultOfAction(context.planned(), action);
  if (then !== undefined) return refused(state, 'not-possible', then);
  if ('replica' in action && !context.isEncryptionKey(action.replica.encryptionKey)) {
    return refused(state, 'not-possible', 'its encryption key is not a point of G1');
  }
  return undefined;
}

/** The same action is not carried out twice because it was handed in twice. */
function isApproved(state: EpochState, { serviceId, epoch, action }: AdminProposal): boolean {
  const digest = proposalDigest({ serviceId, epoch, action });
  return state.approved.some((approved) => proposalDigest({ serviceId, epoch, action: approved }) === digest);
}

function withProposal(
  proposals: readonly PendingProposal[],
  before: PendingProposal | undefined,
  after: PendingProposal,
): readonly PendingProposal[] | undefined {
  if (before !== undefined) return proposals.map((each) => (each === before ? after : each));
  return proposals.length < limits.proposalsMax ? [...proposals, after] : undefined;
}

function full(state: EpochState, what: string): Approval {
  return { ...refused(state, 'not-possible', `${limits.proposalsMax} ${what}`), advances: false };
}

function countOf(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
