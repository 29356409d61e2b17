/**
 * Epoch value: the state of the epoch as `coterie.epoch` answers it: keys, digests and ids as text, addresses as
 * `host:port`, proposals also as the bytes that administrators sign.
 */
import type { NextBody } from '../membership/epochs.ts';
import { type AdminAction, encodeAdminProposal } from '../wire/admin-action.ts';
import { reportAction } from '../wire/epoch-report.ts';
import type { EpochState, Moment } from '../wire/epoch-state.ts';
import { formatAddress } from '../wire/genesis.ts';
import type { Freshness, JoiningReplica, MembershipBody } from '../wire/membership-statement.ts';
import type { Value } from '../wire/value.ts';
import type { EpochRules } from './epoch-rules.ts';

/** `plan`: what comes of the approved actions if it is fixed now; undefined when it is fixed already. */
export function epochValue(
  state: EpochState,
  { epochIntervalMs, successorWaitMs, administrators }: EpochRules,
  plan: NextBody | undefined,
): Value {
  const { membership, phase } = state;
  return {
    epoch: membership.epoch,
    sharingEpoch: state.sharingEpoch,
    began: momentValue(state.began),
    phase: phase.kind,
    since: phase.kind === 'steady' ? null : momentValue(phase.since),
    turn: phase.kind === 'steady' ? [] : phase.turn,
    membership: bodyValue(membership),
    next: phase.kind === 'resharing' ? bodyValue(phase.next) : null,
    successors: state.successors.map(({ statement: { replicaId, epoch, serial, isClean, keys } }) => ({
      replicaId,
      epoch,
      serial,
      isClean,
      ...keys,
    })),
    disputed: state.disputed,
    proposals: state.proposals.map(({ proposal, approvedBy }) => ({
      proposal: encodeAdminProposal(proposal),
      action: actionValue(proposal.action),
      approvedBy: administrators.keys.flatMap((_, i) => ((approvedBy & (1 << i)) === 0 ? [] : [i])),
    })),
    approved: state.approved.map(actionValue),
    planned: plan === undefined ? null : planValue(plan),
    administrators: { approvals: administrators.approvals, keys: administrators.keys },
    epochIntervalMs,
    successorWaitMs,
  };
}

function planValue({ body: { f, k, replicas }, postponed, dropped }: NextBody): Value {
  const ids = replicas.map(({ replicaId }) => replicaId);
  return { f, k, replicas: ids, postponed: postponed.map(reportAction), dropped: dropped.map(reportAction) };
}

function bodyValue({ epoch, f, k, replicas }: MembershipBody): Value {
  return {
    epoch,
    f,
    k,
    replicas: replicas.map((replica) => ({
      ...replicaValue(replica),
      keysSince: freshnessValue(replica.keysSince),
      cleanSince: freshnessValue(replica.cleanSince),
    })),
  };
}

function replicaValue(replica: JoiningReplica): { readonly [field: string]: Value } {
  return {
    replicaId: replica.replicaId,
    signingKey: replica.signingKey,
    linkKeyDigest: replica.linkKeyDigest,
    encryptionKey: replica.encryptionKey,
    recovery: replica.recovery,
    identityKey: replica.identityKey ?? null,
    peerAddress: formatAddress(replica.peerAddress),
    clientAddress: formatAddress(replica.clientAddress),
    httpAddress: formatAddress(replica.httpAddress),
  };
}

function actionValue(action: AdminAction): Value {
  switch (action.kind) {
    case 'advance':
      return { kind: action.kind };
    case 'add':
      return { kind: action.kind, replica: replicaValue(action.replica) };
    case 'remove':
      return { kind: action.kind, replicaId: action.replicaId };
    case 'replace':
      return { kind: action.kind, replicaId: action.replicaId, replica: replicaValue(action.replica) };
    case 'rule':
      return { kind: action.kind, f: action.f, k: action.k };
  }
}

function momentValue({ commitIndex, timestamp }: Moment): Value {
  return { commitIndex, timestamp };
}

function freshnessValue({ epoch, timestamp }: Freshness): Value {
  return { epoch, timestamp };
}
