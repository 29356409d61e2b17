/**
 * Epoch rules: what the genesis says about the change of epochs, and how the state of an epoch begins.
 *
 * In: the genesis, the state in which the epoch before ended. Out: values, the same on all replicas.
 */
import type { EpochState, Moment } from '../wire/epoch-state.ts';
import type { Administrators, Genesis } from '../wire/genesis.ts';
import type { MembershipBody } from '../wire/membership-statement.ts';

export interface EpochRules {
  /** Agreed time from the beginning of an epoch to the end of it; 0: it ends only when that is asked for. */
  readonly epochIntervalMs: number;
  /** Agreed time for which an ending epoch waits for successors. */
  readonly successorWaitMs: number;
  readonly administrators: Administrators;
}

/** Of a cluster whose epoch never ends. */
const endlessEpoch: EpochRules = {
  epochIntervalMs: 0,
  successorWaitMs: 0,
  administrators: { approvals: 0, keys: [] },
};

export function epochRulesOf(genesis: Genesis | undefined): EpochRules {
  return genesis ?? endlessEpoch;
}

/** A beginning epoch. Of the one before stay the actions that are approved, and the replicas whose keys are in dispute. */
export function beginEpoch(
  { body, sharingEpoch }: { readonly body: MembershipBody; readonly sharingEpoch: number },
  began: Moment,
  before?: Pick<EpochState, 'approved' | 'disputed'>,
): EpochState {
  const present = new Set(body.replicas.map(({ replicaId }) => replicaId));
  return {
    membership: body,
    sharingEpoch,
    began,
    phase: { kind: 'steady' },
    successors: [],
    disputed: (before?.disputed ?? []).filter((replicaId) => present.has(replicaId)),
    proposals: [],
    approved: before?.approved ?? [],
  };
}
