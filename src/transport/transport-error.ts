/**
 * Transport errors: what the network or this machine refused, as a sentence and what to do about it.
 *
 * In: errors of sockets and TLS. Out: a `TransportError` whose `code` a program can act on.
 */

export type TransportErrorCode =
  /** Nobody listens at that address. */
  | 'refused'
  /** No answer in the time allowed. */
  | 'timeout'
  /** Somebody answered, but does not hold the pinned key. */
  | 'wrong-key'
  /** Somebody answered, but not with TLS 1.3. */
  | 'not-tls'
  /** The connection ended before it was usable. */
  | 'closed'
  /** The caller gave up. */
  | 'aborted'
  /** No route to that address. */
  | 'unreachable'
  /** The name of the host means nothing. */
  | 'unknown-host'
  /** Another process listens there already. */
  | 'port-in-use'
  /** This machine does not have that address. */
  | 'address-unavailable'
  /** The operating system does not let this user listen there. */
  | 'forbidden'
  /** Too many open files or sockets. */
  | 'exhausted'
  /** Anything else; the cause says more. */
  | 'failed';

export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly code: TransportErrorCode;
  /** What to do about it. */
  readonly hint: string;

  constructor(code: TransportErrorCode, sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hints[code];
  }
}

const hints: Readonly<Record<TransportErrorCode, string>> = {
  refused: 'Start the replica, or check its host and port.',
  timeout: 'The replica or the network is slow, frozen or filtered; try another replica.',
  'wrong-key': 'Check that the address belongs to this replica and that the membership is up to date; do not trust it.',
  'not-tls': 'Something else listens on this port; check host and port.',
  closed: 'The replica may be restarting, or have as many links as it allows; try again or try another one.',
  aborted: 'Nothing to do: the caller gave up.',
  unreachable: 'Check the network and the address.',
  'unknown-host': 'Check the spelling of the host and the name service.',
  'port-in-use': 'Stop the other process (perhaps this replica runs already) or give this one another port.',
  'address-unavailable': 'Listen on an address of this machine.',
  forbidden: 'Ports below 1024 need privileges; take a higher one.',
  exhausted: 'Raise the limit of open files (ulimit -n).',
  failed: 'See the cause.',
};

const codes: Readonly<Record<string, TransportErrorCode>> = {
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'closed',
  EPIPE: 'closed',
  EPROTO: 'not-tls',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  ENOTFOUND: 'unknown-host',
  EAI_AGAIN: 'unknown-host',
  EADDRINUSE: 'port-in-use',
  EADDRNOTAVAIL: 'address-unavailable',
  EACCES: 'forbidden',
  EMFILE: 'exhausted',
  ENFILE: 'exhausted',
};

const sentences: Readonly<Record<TransportErrorCode, string>> = {
  refused: 'nobody listens there',
  timeout: 'no answer in time',
  'wrong-key': 'it does not hold the pinned key',
  'not-tls': 'it does not speak TLS 1.3',
  closed: 'the connection was closed before it was usable',
  aborted: 'given up by the caller',
  unreachable: 'there is no route to it',
  'unknown-host': 'the host is unknown',
  'port-in-use': 'another process listens there',
  'address-unavailable': 'this machine does not have that address',
  forbidden: 'the operating system does not allow it',
  exhausted: 'too many files or sockets are open',
  failed: 'it failed',
};

/** The error with this code about `what`, such as "dialling 127.0.0.1:4000". */
export function transportError(code: TransportErrorCode, what: string, cause?: unknown): TransportError {
  return new TransportError(code, `${what}: ${sentences[code]}`, cause);
}

/** What a socket's error means for `what`. */
export function transportErrorFrom(cause: unknown, what: string): TransportError {
  const code = systemCode(cause);
  if (code !== undefined && codes[code] !== undefined) return transportError(codes[code], what, cause);
  if (code?.startsWith('ERR_SSL') || code?.startsWith('ERR_TLS')) return transportError('not-tls', what, cause);
  return transportError('failed', what, cause);
}

/** The `code` of an error of the runtime, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
