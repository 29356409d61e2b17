/**
 * What `up` and the replica processes it started say to each other over their IPC channel. The channel is also the
 * life line: when it closes, the other side is gone, however it ended.
 */
import type { ReplicaStatus } from '../replica/replica-status.ts';

export interface FailureReport {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** How far the service key is, as one replica sees it. */
export interface KeyReport {
  /** `waiting`: nobody has dealt yet. `ready`: there is a key. */
  readonly phase: 'waiting' | 'generating' | 'ready';
  /** Dealings that came, those that are qualified, and how many of these make the key. */
  readonly dealt: number;
  readonly qualified: number;
  readonly needed: number;
  /** 192 hex characters. */
  readonly serviceKey?: string | undefined;
}

/** What a replica says of itself; what `up` shows. Fields are those of a replica's status (docs/operations/cli.md). */
export interface StatusReport {
  readonly round: number;
  readonly commitIndex: number;
  readonly requestsPerSecond: number;
  readonly suspected: readonly string[];
  readonly key?: KeyReport | undefined;
  /** The newest certified head it has; zeros when there is none. */
  readonly certified?: { readonly commitIndex: number; readonly logSize: number } | undefined;
  /** Commit of the newest certified checkpoint that is on its disk; 0 before the first. */
  readonly stableCommitIndex?: number | undefined;
  /** It fetches its state from the others; how much of it is there, from 0 to 1. */
  readonly fetched?: number | undefined;
}

/** What `up` is told of a replica's status. */
export function reportOf(status: ReplicaStatus): StatusReport {
  const { round, commitIndex, requestsPerSecond, suspected, serviceKey } = status;
  const { dealt, qualified, needed } = status.keyProgress;
  const phase = serviceKey !== undefined ? 'ready' : dealt > 0 ? 'generating' : 'waiting';
  const certified = { commitIndex: status.certifiedCommitIndex, logSize: status.certifiedLogSize };
  const key = { phase, dealt, qualified, needed, serviceKey } as const;
  const { stableCommitIndex } = status;
  const fetched = status.phase === 'fetching-state' ? fetchedOf(status.transfer) : undefined;
  return { round, commitIndex, requestsPerSecond, suspected, key, certified, stableCommitIndex, fetched };
}

function fetchedOf(transfer: ReplicaStatus['transfer']): number {
  if (transfer === undefined || transfer.sizeBytesTotal === 0) return 0;
  return Math.min(1, transfer.sizeBytes / transfer.sizeBytesTotal);
}

export type FromReplica =
  | { readonly kind: 'ready'; readonly status: StatusReport }
  | { readonly kind: 'status'; readonly status: StatusReport }
  /** It is not in the membership any more, and exits. */
  | { readonly kind: 'left' }
  /** Last words before it exits. */
  | { readonly kind: 'failed'; readonly failure: FailureReport };

export interface ToReplica {
  readonly kind: 'stop';
}

/** Did `up` send this? */
export function isStop(message: unknown): message is ToReplica {
  return typeof message === 'object' && message !== null && (message as { kind?: unknown }).kind === 'stop';
}

/** Both ends are the same program, so the kind alone is looked at. */
export function isFromReplica(message: unknown): message is FromReplica {
  if (typeof message !== 'object' || message === null) return false;
  const { kind } = message as { kind?: unknown };
  return kind === 'ready' || kind === 'status' || kind === 'left' || kind === 'failed';
}
