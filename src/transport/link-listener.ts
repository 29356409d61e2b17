/**
 * Link listener: a TLS port that strangers can reach, and what keeps them from exhausting it.
 *
 * In: connections. Out: sockets that have finished TLS, each with an admission to be given once it has shown that it
 * is what the port is for. Until then it is a stranger: it has little time, and strangers are few. When there are too
 * many, the oldest of the address with the most of them goes, so that a flood displaces itself first.
 * Safety: at most `strangersMax` + `admittedMax` descriptors; no memory for a stranger beyond its TLS state.
 */
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { addressText, type LinkAddress, tlsShape } from './tls.ts';
import { transportErrorFrom } from './transport-error.ts';

export type ListenerEvent =
  /** Garbage, an old TLS, or closed before TLS was done, by whichever side. */
  | 'handshake-failed'
  /** Not admitted in time. */
  | 'handshake-timeout'
  /** Too many strangers: the oldest of the busiest address was closed. */
  | 'stranger-evicted'
  /** As many links as allowed are admitted: the newest was closed. */
  | 'links-full';

export interface Admission {
  /** The link is what the port is for: it leaves the strangers. False when there is no room for another one. */
  admit(): boolean;
}

interface Arrival {
  readonly address: string;
  readonly socket: Socket;
  readonly timer: NodeJS.Timeout;
  secured: TLSSocket | undefined;
  admitted: boolean;
}

export class LinkListener {
  readonly #server: Server;
  readonly #admittedMax: number;
  readonly #strangersMax: number;
  readonly #handshakeTimeoutMs: number;
  readonly #onCounted: (event: ListenerEvent) => void;
  /** By remote address and port, which both of the runtime's events about a connection know. */
  readonly #arrivals = new Map<string, Arrival>();
  #admitted = 0;

  constructor({
    keyPem,
    certificatePem,
    askForCertificate,
    admittedMax,
    strangersMax,
    handshakeTimeoutMs,
    onSecured,
    onCounted,
  }: {
    readonly keyPem: string;
    readonly certificatePem: string;
    /** Whether the other end has to show a key; whose key it is, is for `onSecured` to find out. */
    readonly askForCertificate: boolean;
    readonly admittedMax: number;
    readonly strangersMax: number;
    readonly handshakeTimeoutMs: number;
    readonly onSecured: (socket: TLSSocket, admission: Admission) => void;
    readonly onCounted: (event: ListenerEvent) => void;
  }) {
    this.#admittedMax = admittedMax;
    this.#strangersMax = strangersMax;
    this.#handshakeTimeoutMs = handshakeTimeoutMs;
    this.#onCounted = onCounted;
    this.#server = createServer({
      ...tlsShape,
      key: keyPem,
      cert: certificatePem,
      requestCert: askForCertificate,
    });
    this.#server.on('connection', (socket: Socket) => this.#arrive(socket));
    this.#server.on('tlsClientError', (_error, socket) => {
      socket.destroy();
      onCounted('handshake-failed');
    });
    this.#server.on('secureConnection', (socket) => {
      const arrival = this.#arrivals.get(arrivalKey(socket));
      if (arrival === undefined || socket.isSessionReused()) {
        // A resumed session would let an old secret stand in for the key.
        socket.on('error', () => {});
        socket.destroy();
        return;
      }
      arrival.secured = socket;
      onSecured(socket, { admit: () => this.#admit(arrival) });
    });
  }

  /** Who connects from now on sees this key; who is connected stays. */
  showKey({ keyPem, certificatePem }: { readonly keyPem: string; readonly certificatePem: string }): void {
    this.#server.setSecureContext({ ...tlsShape, key: keyPem, cert: certificatePem });
  }

  /** Binds and returns the real address (port 0 picks one). Rejects with a `TransportError`. */
  listen({ host, port }: LinkAddress): Promise<LinkAddress> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => reject(transportErrorFrom(error, `listening on ${addressText({ host, port })}`));
      this.#server.once('error', fail);
      this.#server.listen({ host, port }, () => {
        this.#server.removeListener('error', fail);
        // Later errors are of accepting, such as too many open files; the server goes on by itself.
        this.#server.on('error', () => this.#onCounted('handshake-failed'));
        const bound = this.#server.address();
        resolve({ host, port: typeof bound === 'object' && bound !== null ? bound.port : port });
      });
    });
  }

  /** Stops listening and cuts every connection. */
  close(): Promise<void> {
    for (const arrival of this.#arrivals.values()) cut(arrival);
    return new Promise((resolve) => {
      this.#server.close(() => resolve()); // an error here only says that it does not listen
    });
  }

  #arrive(socket: Socket): void {
    socket.on('error', () => {}); // the TLS socket over it reports the same
    const key = arrivalKey(socket);
    if (socket.remoteAddress === undefined || this.#arrivals.has(key)) {
      socket.destroy();
      return;
    }
    if (this.#arrivals.size - this.#admitted >= this.#strangersMax) this.#evict();
    const arrival: Arrival = {
      address: socket.remoteAddress,
      socket,
      secured: undefined,
      admitted: false,
      timer: setTimeout(() => {
        this.#onCounted('handshake-timeout');
        cut(arrival);
      }, this.#handshakeTimeoutMs),
    };
    this.#arrivals.set(key, arrival);
    socket.once('close', () => {
      clearTimeout(arrival.timer);
      this.#arrivals.delete(key);
      if (arrival.admitted) this.#admitted -= 1;
    });
  }

  #admit(arrival: Arrival): boolean {
    if (arrival.admitted) return true;
    if (this.#admitted >= this.#admittedMax) {
      this.#onCounted('links-full');
      return false;
    }
    clearTimeout(arrival.timer);
    arrival.admitted = true;
    this.#admitted += 1;
    return true;
  }

  #evict(): void {
    const oldest = new Map<string, { readonly arrival: Arrival; count: number }>();
    for (const arrival of this.#arrivals.values()) {
      if (arrival.admitted || arrival.socket.destroyed) continue;
      const entry = oldest.get(arrival.address);
      if (entry === undefined) oldest.set(arrival.address, { arrival, count: 1 });
      else entry.count += 1;
    }
    let victim: { readonly arrival: Arrival; readonly count: number } | undefined;
    for (const entry of oldest.values()) if (victim === undefined || entry.count > victim.count) victim = entry;
    if (victim === undefined) return;
    this.#onCounted('stranger-evicted');
    cut(victim.arrival);
  }
}

function arrivalKey(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function cut(arrival: Arrival): void {
  arrival.secured?.destroy();
  arrival.socket.destroy();
}
