/**
 * What `up` and the replica processes it started say to each other over their IPC channel. The channel is also the
 * life line: when it closes, the other side is gone, however it ended.
 */

export interface FailureReport {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** What a replica says of itself; what `up` shows. Fields are those of a replica's status (docs/operations/cli.md). */
export interface StatusReport {
  readonly round: number;
  readonly commitIndex: number;
  readonly requestsPerSecond: number;
  readonly suspected: readonly string[];
}

export type FromReplica =
  | { readonly kind: 'ready'; readonly status: StatusReport }
  | { readonly kind: 'status'; readonly status: StatusReport }
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
  return kind === 'ready' || kind === 'status' || kind === 'failed';
}
