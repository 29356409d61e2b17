/**
 * TLS as links use it: version 1.3, certificates that only carry keys, no names, no authorities, no resumption.
 *
 * In: an address and the key that must be there. Out: a socket whose other end has proved to hold that key.
 * Safety: the runtime's own verdict on certificates is switched off (`rejectUnauthorized: false`) because it is about
 * authorities and names; the pin, which is stricter, is checked here before the socket is handed out.
 */
import { connect, type TLSSocket } from 'node:tls';
import type { Digest } from '../crypto/hash.ts';
import { peerKeyDigest } from './certificate.ts';
import { transportError, transportErrorFrom } from './transport-error.ts';

export interface LinkAddress {
  readonly host: string;
  readonly port: number;
}

/** What both sides agree on. */
export const tlsShape = { minVersion: 'TLSv1.3', rejectUnauthorized: false } as const;

/**
 * Dials and resolves once the other end has proved to hold the key with `keyDigest`; nobody reads from the socket yet.
 * Rejects with a `TransportError`. `keyPem` and `certificatePem`: what to show when asked who we are.
 */
export function dialTls({
  address,
  keyDigest,
  timeoutMs,
  identity,
  signal,
}: {
  readonly address: LinkAddress;
  readonly keyDigest: Digest;
  readonly timeoutMs: number;
  readonly identity?: { readonly keyPem: string; readonly certificatePem: string };
  readonly signal?: AbortSignal;
}): Promise<TLSSocket> {
  const what = `dialling ${addressText(address)}`;
  if (signal?.aborted) return Promise.reject(transportError('aborted', what, signal.reason));
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address.host,
      port: address.port,
      ...tlsShape,
      ...(identity === undefined ? {} : { key: identity.keyPem, cert: identity.certificatePem }),
    });
    const timer = setTimeout(() => fail(transportError('timeout', what)), timeoutMs);
    const onAbort = () => fail(transportError('aborted', what, signal?.reason));
    const onError = (error: Error) => fail(transportErrorFrom(error, what));
    const onClose = () => fail(transportError('closed', what));
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.removeListener('close', onClose);
    };
    const fail = (error: Error) => {
      settle();
      socket.destroy();
      reject(error);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.on('error', onError); // stays: a socket without one takes the process down
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      if (peerKeyDigest(socket) !== keyDigest) {
        fail(transportError('wrong-key', what));
        return;
      }
      settle();
      resolve(socket);
    });
  });
}

/** The address as people write it. */
export function addressText({ host, port }: LinkAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
