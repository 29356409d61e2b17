/**
 * Client dial: the client's end of a link to one replica.
 *
 * In: a replica's client address and the digest of its link key. Out: a link whose other end is that replica, or a
 * `TransportError`. The client shows no certificate; who it is, is a matter of the frames.
 */
import type { Digest } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import { FramedLink, type LinkEnd } from './framed-link.ts';
import { dialTls } from './tls.ts';

export interface DialledLink {
  /** False when the link has ended, or ends now because too much waits. The payload must not change afterwards. */
  send(frame: Uint8Array): boolean;
  /** Sends what is queued, then closes. `onClose` is still called. */
  close(): void;
  /** Stops and goes on reading, for a caller that cannot keep up. */
  pause(): void;
  resume(): void;
  readonly open: boolean;
  readonly queuedBytes: number;
}

/**
 * Dials a replica. Rejects with a `TransportError`. `onFrame` and `onClose` are called from the event loop only, not
 * before the caller has the link in hand; `onClose` once.
 */
export async function dialReplica({
  host,
  port,
  keyDigest,
  timeoutMs,
  signal,
  onFrame,
  onClose,
}: {
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the DER SubjectPublicKeyInfo of the replica's link key. */
  readonly keyDigest: Digest;
  readonly timeoutMs: number;
  /** Gives up dialling; has no effect on a link that is up. */
  readonly signal?: AbortSignal;
  readonly onFrame: (frame: Uint8Array) => void;
  readonly onClose: (end: LinkEnd) => void;
}): Promise<DialledLink> {
  const socket = await dialTls({
    address: { host, port },
    keyDigest,
    timeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
  const link = new FramedLink(socket, {
    receiveSizeBytesMax: limits.frameSizeBytesMax,
    sendSizeBytesMax: limits.clientFrameSizeBytesMax,
    queueSizeBytesMax: limits.clientQueueSizeBytesMax,
  });
  setImmediate(() => link.start({ onFrame, onEnd: onClose }));
  return link;
}
