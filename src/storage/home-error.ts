/**
 * Home errors: a directory is not what a replica, a client or an operator took it for. Each says what is wrong and what
 * to do; none holds any part of a key.
 */
import { errorCode } from '../platform/files.ts';

export type HomeErrorCode =
  /** Nothing there. */
  | 'home-missing'
  /** Something is there, but not a replica's home. */
  | 'not-a-home'
  /** A cluster directory, where the home of one replica was wanted. */
  | 'cluster-directory-given'
  /** The home of one replica, where a cluster directory was wanted. */
  | 'home-directory-given'
  /** Something is there, but not a cluster directory. */
  | 'not-a-cluster'
  /** Another process uses the home. */
  | 'home-locked'
  /** The directory cannot hold the socket that locks it. */
  | 'lock-unsupported'
  /** A file cannot be read or written. */
  | 'file-unreadable'
  | 'file-unwritable'
  /** A file is missing from a home or a cluster directory. */
  | 'file-missing'
  /** A file is not what its name says. */
  | 'file-malformed'
  /** Others than its owner may use a key file. */
  | 'key-permissions'
  /** The cluster was made for another version of Coterie. */
  | 'genesis-version'
  /** The parts of a home belong to different clusters or replicas. */
  | 'genesis-mismatch'
  | 'key-mismatch'
  /** The membership of now does not have this replica any more. */
  | 'removed'
  /** The service has signed nothing of the epoch that the home says it is in. */
  | 'epoch-unproven'
  /** A cluster directory holds another service key than its replicas report. */
  | 'service-key-mismatch'
  /** One that is to join cannot know the service that takes it in; one that believes nothing else has nothing to check its epoch by. */
  | 'service-key-missing'
  /** The log of a replica that had one is gone. */
  | 'log-lost'
  /** There is something where a new thing was to be made. */
  | 'already-exists'
  /** What was asked for cannot make a cluster. */
  | 'invalid-parameters';

export class HomeError extends Error {
  override readonly name = 'HomeError';
  readonly code: HomeErrorCode;
  /** What to do about it. */
  readonly hint: string;

  constructor(code: HomeErrorCode, message: string, hint: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** What the runtime threw while using a path, as a HomeError; a HomeError stays itself. */
export function homeErrorOf(error: unknown, path: string, doing: 'reading' | 'writing'): HomeError {
  if (error instanceof HomeError) return error;
  const code = errorCode(error);
  if (code === undefined) throw error;
  if (code === 'ENOENT' && doing === 'reading') {
    return new HomeError(
      'file-missing',
      `${path} is missing.`,
      'Put it back from a copy, or make the cluster again.',
      error,
    );
  }
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'The disk is full: free some space and try again.'
      : 'Check who owns it and its permissions; the replica must run as the user the directory belongs to.';
  const what = doing === 'reading' ? 'file-unreadable' : 'file-unwritable';
  return new HomeError(what, `${doing === 'reading' ? 'Reading' : 'Writing'} ${path} failed (${code}).`, hint, error);
}
