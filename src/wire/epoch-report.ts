/**
 * Epoch report: where the epoch stands, for people and their programs: what `coterie.epoch` answers, and in short what every
 * replica's status says.
 *
 * In: the agreed state; or a value that somebody says is a report. Out: the report, each field of the kind it should be, or
 * nothing.
 */
import { z } from 'zod';
import type { AdminAction } from './admin-action.ts';
import type { EpochState } from './epoch-state.ts';
import { formatAddress, recoveryMethods } from './genesis.ts';
import { limits } from './limits.ts';
import type { JoiningReplica } from './membership-statement.ts';
import type { Value } from './value.ts';

const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const id = z.string().max(32);
const ids = z.array(id).max(limits.replicasMax);
const address = z.string().max(300);
const moment = z.object({ commitIndex: whole, timestamp: whole });
const freshness = z.object({ epoch: whole, timestamp: whole });

const action = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('advance') }),
  z.object({ kind: z.literal('add'), replica: z.object({ replicaId: id, clientAddress: address }) }),
  z.object({ kind: z.literal('remove'), replicaId: id }),
  z.object({
    kind: z.literal('replace'),
    replicaId: id,
    replica: z.object({ replicaId: id, clientAddress: address }),
  }),
  z.object({ kind: z.literal('rule'), f: whole, k: whole }),
]);

const report = z.object({
  epoch: whole,
  sharingEpoch: whole,
  began: moment,
  phase: z.enum(['steady', 'preparing', 'resharing']),
  /** When the phase began; null while steady. */
  since: moment.nullable(),
  /** Replicas that are made clean in this change. */
  turn: ids,
  membership: z.object({
    f: whole,
    k: whole,
    replicas: z
      .array(
        z.object({ replicaId: id, recovery: z.enum(recoveryMethods), keysSince: freshness, cleanSince: freshness }),
      )
      .max(limits.replicasMax),
  }),
  /** Of the next epoch, once it is settled. */
  next: z
    .object({
      f: whole,
      k: whole,
      replicas: z.array(z.object({ replicaId: id })).max(limits.replicasMax),
    })
    .nullable(),
  /** Who has named its session keys for the next epoch. */
  successors: z.array(z.object({ replicaId: id, isClean: z.boolean() })).max(limits.replicasMax),
  disputed: ids,
  /** What follows is not part of a status. */
  proposals: z
    .array(
      z.object({
        /** Encoded: what the next administrator signs. */
        proposal: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
        action,
        /** Administrators by their places in the genesis. */
        approvedBy: z.array(whole).max(limits.administratorsMax),
      }),
    )
    .max(limits.proposalsMax)
    .default([]),
  /** To be carried out at the next change, in order. */
  approved: z.array(action).max(limits.approvedActionsMax).default([]),
  /** What the next membership would be, and what would come of the actions that are not carried out, if it were fixed now. */
  planned: z
    .object({
      f: whole,
      k: whole,
      replicas: ids,
      /** For the change after. */
      postponed: z.array(action).max(2 * limits.approvedActionsMax),
      /** Never carried out. */
      dropped: z.array(action).max(limits.approvedActionsMax),
    })
    .nullable()
    .default(null),
  administrators: z
    .object({ approvals: whole, keys: z.array(z.string().length(64)).max(limits.administratorsMax) })
    .default({ approvals: 0, keys: [] }),
  epochIntervalMs: whole.default(0),
});

export type EpochReport = z.infer<typeof report>;
export type ReportedAction = z.infer<typeof action>;
/** What ages are counted from. */
export type ReportedFreshness = Pick<
  EpochReport,
  'epoch' | 'sharingEpoch' | 'began' | 'membership' | 'epochIntervalMs'
>;

/** The report that a value is; undefined when it is none. */
export function readEpochReport(value: Value | undefined): EpochReport | undefined {
  const read = report.safeParse(value);
  return read.success ? read.data : undefined;
}

/** What a status says of the epoch: the report without keys, and without what administrators have to do with each other. */
export function summarizeEpoch(
  state: EpochState,
  { epochIntervalMs }: { readonly epochIntervalMs: number },
): { readonly [field: string]: Value } & ReportedFreshness {
  const { membership, phase } = state;
  const { epoch, f, k, replicas } = membership;
  const next = phase.kind === 'resharing' ? phase.next : null;
  return {
    epoch,
    sharingEpoch: state.sharingEpoch,
    began: { ...state.began },
    phase: phase.kind,
    since: phase.kind === 'steady' ? null : { ...phase.since },
    turn: phase.kind === 'steady' ? [] : [...phase.turn],
    membership: {
      f,
      k,
      replicas: replicas.map(({ replicaId, recovery, keysSince, cleanSince }) => {
        return { replicaId, recovery, keysSince: { ...keysSince }, cleanSince: { ...cleanSince } };
      }),
    },
    next: next && { f: next.f, k: next.k, replicas: next.replicas.map(({ replicaId }) => ({ replicaId })) },
    successors: state.successors.map(({ statement: { replicaId, isClean } }) => ({ replicaId, isClean })),
    disputed: [...state.disputed],
    epochIntervalMs,
  };
}

/** What a report says of an action: for people, who are shown what they sign as it was decoded and not as others call it. */
export function reportAction(wanted: AdminAction): ReportedAction {
  const shown = ({ replicaId, clientAddress }: JoiningReplica) => {
    return { replicaId, clientAddress: formatAddress(clientAddress) };
  };
  switch (wanted.kind) {
    case 'add':
      return { kind: 'add', replica: shown(wanted.replica) };
    case 'replace':
      return { kind: 'replace', replicaId: wanted.replicaId, replica: shown(wanted.replica) };
    default:
      return wanted;
  }
}

/** An action in a few words. */
export function describeAction(wanted: ReportedAction): string {
  switch (wanted.kind) {
    case 'advance':
      return 'end the epoch';
    case 'add':
      return `add ${wanted.replica.replicaId} at ${wanted.replica.clientAddress}`;
    case 'remove':
      return `remove ${wanted.replicaId}`;
    case 'replace':
      return `replace ${wanted.replicaId} by ${wanted.replica.replicaId} at ${wanted.replica.clientAddress}`;
    case 'rule':
      return `tolerate f = ${wanted.f} faulty replicas, and k = ${wanted.k} more in recovery`;
  }
}
