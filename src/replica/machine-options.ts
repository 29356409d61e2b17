/**
 * Machine options: what a replica machine is made of, where it goes on from, and what it says of itself.
 */
import type { CertificationStatus } from '../certification/effects.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import type { Digest } from '../crypto/hash.ts';
import type { OperationGuard } from '../execution/operation.ts';
import type { AnyService } from '../execution/service-definition.ts';
import type { KeySecrets } from '../keys/key-generation.ts';
import type { KeyProgress } from '../keys/key-progress.ts';
import type { Membership } from '../membership/membership.ts';
import { frontierOfNewDag } from '../membership/restored.ts';
import type { OrderingStatus } from '../ordering/ordering.ts';
import type { SignatureCheck } from '../ordering/validity.ts';
import type { StateEngine } from '../state/engine.ts';
import type { OrderingFrontier } from '../wire/checkpoint.ts';
import type { EpochState } from '../wire/epoch-state.ts';
import type { Genesis } from '../wire/genesis.ts';
import type { StoredCheckpoint } from './engine-notes.ts';

export interface MachineStatus extends OrderingStatus {
  readonly stateRoot: Digest;
  /** Agreed time of the last commit, milliseconds since 1970. */
  readonly timestamp: number;
  /** Leaves in the log. */
  readonly logSize: number;
  /** Of the service, as of the last due head. */
  readonly stateEntries: number;
  readonly stateSizeBytes: number;
  /** Commits of the newest checkpoint that is in the engine, and of the newest that is certified too; 0 for none. */
  readonly checkpointCommitIndex: number;
  readonly stableCommitIndex: number;
  readonly key: KeyProgress;
  readonly certification: CertificationStatus;
}

export interface MachineOptions {
  readonly membership: Membership;
  readonly self: number;
  /** Signs an own block: Ed25519 over `blockPreimage(digest)`. */
  readonly sign: (digest: Digest) => Uint8Array;
  readonly service: AnyService;
  readonly curve: PairingCurve;
  /** What this replica generates the service key with; undefined when it has lost it. */
  readonly keySecrets: KeySecrets | undefined;
  /** What people call the cluster, and which service it runs: the service states it with its membership. */
  readonly names: { readonly name: string; readonly service: string };
  /** The key share that was sealed, if any. */
  readonly sealedShare?: bigint | undefined;
  readonly guard?: OperationGuard;
  /** How signatures are checked; the simulator remembers answers across replicas. */
  readonly check?: SignatureCheck;
  /** The log was lost: accept and execute, propose and sign nothing. */
  readonly observer?: boolean;
  /** The membership that generated the service key; that of now, unless the cluster was restored from a snapshot. */
  readonly keyMembership?: Membership;
  /** Where the state lies; in memory unless it is given. It holds `from`, or nothing. */
  readonly engine?: StateEngine;
  /** The checkpoint to go on from. */
  readonly from?: StoredCheckpoint | undefined;
  /** Leaves of the log for which there are proofs, at least. */
  readonly retainedLeaves?: number;
  /** Says when epochs end and who may change the membership. Undefined: this one never ends. */
  readonly genesis?: Genesis;
  /** Session keys of ours for the next epoch that were made before this start, the newest last. */
  readonly nextSecrets?: readonly KeySecrets[];
}

/** Where the epoch stands, for people and for whoever starts replicas. */
export interface EpochStatus {
  /** As all agree. */
  readonly state: EpochState;
  /** Nothing is decided here any more. */
  readonly isClosed: boolean;
  /** How far the next sharing of the service key is; undefined while none is under way. */
  readonly resharing: KeyProgress | undefined;
}

/** Where the ordering goes on: after the checkpoint, or in a DAG of its own when that is of an earlier epoch. */
export function startOf(
  { checkpoint, ownBlock }: StoredCheckpoint,
  membership: Membership,
): { readonly from: OrderingFrontier; readonly ownBlock?: Uint8Array } {
  if (checkpoint.epoch !== membership.epoch) return { from: frontierOfNewDag(membership, checkpoint) };
  return { from: checkpoint.ordering, ...(ownBlock === undefined ? {} : { ownBlock }) };
}
