/**
 * Replica status: what a replica says of itself to anybody who reaches it; its own word, and no secret.
 */
import type { KeyProgress } from '../keys/key-generation.ts';
import type { TransferProgress } from '../recovery/effects.ts';

export interface ReplicaStatus {
  readonly replicaId: string;
  readonly replicaIndex: number;
  readonly serviceId: string;
  readonly service: string;
  readonly epoch: number;
  readonly round: number;
  readonly commitIndex: number;
  readonly stateRoot: string;
  /** Agreed time of the last commit, milliseconds since 1970. */
  readonly timestamp: number;
  readonly requestsPerSecond: number;
  readonly pendingRequests: number;
  /** Replica ids this one does not wait for. */
  readonly suspected: readonly string[];
  /** Replica ids its link to which is up. */
  readonly connected: readonly string[];
  /** It proposes nothing in this epoch, because its log was lost. */
  readonly observer: boolean;
  /** `generating` until there is a service key, `ready` when this replica has its share of it, else `without-share`. */
  readonly keyState: 'generating' | 'without-share' | 'ready';
  readonly keyProgress: KeyProgress;
  /** 192 hex characters. */
  readonly serviceKey?: string;
  readonly hasKeyShare: boolean;
  /** Leaves in its log, and how many of them a certified head covers. */
  readonly logSize: number;
  readonly certifiedLogSize: number;
  readonly certifiedCommitIndex: number;
  /** Its log differs from a certified head: it signs nothing any more. */
  readonly diverged: boolean;
  /** `fetching-state` while it gets from the others what it lacks; it executes nothing then. */
  readonly phase: 'starting' | 'fetching-state' | 'running';
  /** How far the fetching is. */
  readonly transfer?: TransferProgress;
  /** The newest checkpoint that is in its engine, and the newest that is certified too; 0 before the first. */
  readonly checkpointCommitIndex: number;
  readonly stableCommitIndex: number;
  /** Entries of the service's state. */
  readonly stateEntries: number;
  readonly stateSizeBytes: number;
  /** On disk. */
  readonly engineSizeBytes: number;
  readonly blockLogSizeBytes: number;
  readonly uptimeMs: number;
  readonly pid: number;
  readonly residentBytes: number;
  /** Processor time of the process so far. */
  readonly cpuMs: number;
  readonly counters: Readonly<Record<string, number>>;
}
