/**
 * Loopback for tests: replicas with real keys and sockets on 127.0.0.1, raw connections that misbehave, and waiting for
 * what has to happen. Not part of the product.
 */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { type LinkCertificate, makeLinkCertificate } from './certificate.ts';
import { type PeerBounds, PeerLinks } from './peer-links.ts';
import type { LinkAddress } from './tls.ts';

/** Waits until it is so; the test's own deadline decides when it never will be. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2));
}

export function frame(payload: Uint8Array | string): Buffer {
  const bytes = Buffer.from(payload);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

const certificates: Promise<LinkCertificate>[] = [];

/** The same certificate for the same index in one test file; keys are slow to make. */
export function certificateOf(index: number): Promise<LinkCertificate> {
  certificates[index] ??= makeLinkCertificate({ commonName: `replica-${index}` });
  return certificates[index];
}

/** One replica's links with all that happened to them written down. */
export interface TestReplica {
  readonly links: PeerLinks;
  readonly address: LinkAddress;
  /** `peer:text` of each frame. */
  readonly frames: string[];
  /** `up:peer` and `down:peer:reason`. */
  readonly changes: string[];
  /** `event:peer`. */
  readonly counted: string[];
}

export interface ReplicaOptions {
  readonly hello?: string;
  readonly acceptHello?: (peer: number, frame: Uint8Array) => string | undefined;
  readonly onFrame?: (peer: number, frame: Uint8Array) => void;
  readonly port?: number;
  readonly bounds?: Partial<PeerBounds>;
}

/** A replica that listens, on any port unless told, and knows nobody's address yet. */
export async function startReplica(self: number, n: number, options: ReplicaOptions = {}): Promise<TestReplica> {
  const all = await Promise.all(Array.from({ length: n }, (_, index) => certificateOf(index)));
  const frames: string[] = [];
  const changes: string[] = [];
  const counted: string[] = [];
  const links = new PeerLinks({
    self,
    peers: all.map(({ keyDigest }, index) => ({
      host: '127.0.0.1',
      port: index === self ? (options.port ?? 0) : 0,
      keyDigest,
    })),
    keyPem: all[self]!.keyPem,
    certificatePem: all[self]!.certificatePem,
    hello: Buffer.from(options.hello ?? 'hello'),
    acceptHello:
      options.acceptHello ?? ((_, bytes) => (Buffer.from(bytes).toString() === 'hello' ? undefined : 'no hello')),
    onFrame: options.onFrame ?? ((peer, bytes) => frames.push(`${peer}:${Buffer.from(bytes).toString()}`)),
    onUp: (peer) => changes.push(`up:${peer}`),
    onDown: (peer, reason) => changes.push(`down:${peer}:${reason}`),
    onCounted: (event, peer) => counted.push(`${event}:${peer ?? '?'}`),
    ...(options.bounds === undefined ? {} : { bounds: options.bounds }),
  });
  return { links, address: await links.listen(), frames, changes, counted };
}

/** Tells everybody where the others are. */
export function introduce(replicas: readonly TestReplica[]): void {
  for (const [self, { links }] of replicas.entries()) {
    for (const [peer, { address }] of replicas.entries()) if (peer !== self) links.moveTo(peer, address);
  }
}

export function isUp({ links }: TestReplica, peer: number): boolean {
  return links.status().some((status) => status.peer === peer && status.outbound === 'up');
}

/** n replicas, all linked with all. */
export async function startCluster(n: number, options: ReplicaOptions = {}): Promise<TestReplica[]> {
  const replicas = await Promise.all(Array.from({ length: n }, (_, self) => startReplica(self, n, options)));
  introduce(replicas);
  await until(() =>
    replicas.every((replica, self) => replicas.every((_, peer) => peer === self || isUp(replica, peer))),
  );
  return replicas;
}

/** A raw TCP connection and whether it has ended; it collects what it is sent. */
export interface RawLink<S extends Socket> {
  readonly socket: S;
  readonly received: () => Buffer;
  readonly ended: () => boolean;
}

function watch<S extends Socket>(socket: S): RawLink<S> {
  const chunks: Buffer[] = [];
  let ended = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.on('close', () => {
    ended = true;
  });
  return { socket, received: () => Buffer.concat(chunks), ended: () => ended };
}

export async function rawTcp({ host, port }: LinkAddress): Promise<RawLink<Socket>> {
  const link = watch(connectTcp({ host, port }));
  await once(link.socket, 'connect');
  return link;
}

/** A raw TLS connection, with the certificate of a replica or none. */
export async function rawTls(
  { host, port }: LinkAddress,
  certificate?: LinkCertificate,
  options: ConnectionOptions = {},
): Promise<RawLink<TLSSocket>> {
  const identity = certificate === undefined ? {} : { key: certificate.keyPem, cert: certificate.certificatePem };
  const link = watch(connectTls({ host, port, rejectUnauthorized: false, ...identity, ...options }));
  await once(link.socket, 'secureConnect');
  return link;
}

/** Sockets (servers and connections under way included) and timers that keep this process alive. */
export function openHandles(): { readonly sockets: number; readonly timers: number } {
  const kinds = process.getActiveResourcesInfo();
  return {
    sockets: kinds.filter((kind) => /TCP|TLS/.test(kind)).length,
    timers: kinds.filter((kind) => kind === 'Timeout').length,
  };
}
