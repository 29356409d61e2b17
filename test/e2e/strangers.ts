/**
 * Strangers: the other end of a replica's ports as somebody hostile or broken holds it: bytes, frames and messages one by
 * one, in any order, with any key.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type SigningKey, sign, signingKeyFromSeed } from '../../src/crypto/ed25519.ts';
import { randomBytes } from '../../src/platform/random.ts';
import { homePaths } from '../../src/storage/home.ts';
import { dialReplica } from '../../src/transport/client-dial.ts';
import {
  attachPreimage,
  type ClientToReplica,
  decodeReplicaToClient,
  encodeClientToReplica,
  type ReplicaToClient,
} from '../../src/wire/client-message.ts';
import { type Genesis, parseGenesis, serviceIdOf } from '../../src/wire/genesis.ts';
import { encodeRequest, type Request, type RequestContent, requestPreimage } from '../../src/wire/request.ts';
import { encodeValue } from '../../src/wire/value.ts';

export function genesisOf(text: string): Genesis {
  const parsed = parseGenesis(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.value;
}

export interface Identity {
  readonly keyPem: string;
  readonly certificatePem: string;
}

/** The link key of a replica, out of its home. */
export async function linkIdentityOf(home: string): Promise<Identity> {
  const keyPem = await readFile(join(home, homePaths.linkKey), 'utf8');
  return { keyPem, certificatePem: await readFile(join(home, homePaths.linkCertificate), 'utf8') };
}

/** The key with which a replica signs its blocks, out of its home. */
export async function signingKeyOf(home: string): Promise<SigningKey> {
  const text = await readFile(join(home, homePaths.signingSeed), 'utf8');
  return signingKeyFromSeed(Buffer.from(text.trim(), 'hex'));
}

/** A plain connection. */
export async function dialTcp(port: number): Promise<Socket> {
  const socket = connectTcp({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.resume();
  return socket;
}

/** A TLS connection to whomever, with a certificate or none. */
export async function dialAnyTls(port: number, identity?: Identity): Promise<TLSSocket> {
  const keys = identity === undefined ? {} : { key: identity.keyPem, cert: identity.certificatePem };
  const socket = connectTls({ host: '127.0.0.1', port, minVersion: 'TLSv1.3', rejectUnauthorized: false, ...keys });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.resume();
  return socket;
}

/** Resolves when the other end has closed. */
export async function closed(socket: Socket): Promise<void> {
  if (!socket.destroyed) await once(socket, 'close');
}

/** A payload with its head, or with another length in the head. */
export function framed(payload: Uint8Array, claimedSizeBytes = payload.length): Uint8Array {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(claimedSizeBytes);
  return Buffer.concat([head, payload]);
}

/** A client's end of one link, by hand. */
export class ClientByHand {
  readonly key: SigningKey = signingKeyFromSeed(randomBytes(32));
  readonly nonce: Uint8Array = randomBytes(16);
  readonly #genesis: Genesis;
  readonly #received: ReplicaToClient[] = [];
  #link: Awaited<ReturnType<typeof dialReplica>> | undefined;
  #isClosed = false;
  #wake: () => void = () => {};

  private constructor(genesis: Genesis, like?: ClientByHand) {
    this.#genesis = genesis;
    if (like !== undefined) {
      this.key = like.key;
      this.nonce = like.nonce;
    }
  }

  /** Connects to a replica; as the same client and session as another one when that is given. */
  static async dial(genesis: Genesis, replicaIndex: number, like?: ClientByHand): Promise<ClientByHand> {
    const client = new ClientByHand(genesis, like);
    const { clientAddress, linkKeyDigest } = genesis.replicas[replicaIndex] as Genesis['replicas'][number];
    client.#link = await dialReplica({
      ...clientAddress,
      keyDigest: linkKeyDigest,
      timeoutMs: 10_000,
      onFrame: (frame) => {
        const decoded = decodeReplicaToClient(frame);
        if (!decoded.ok) throw new Error(`a real replica sent what is no message: ${decoded.reason}`);
        client.#received.push(decoded.value);
        client.#wake();
      },
      onClose: () => {
        client.#isClosed = true;
        client.#wake();
      },
    });
    return client;
  }

  send(message: ClientToReplica): void {
    this.sendFrame(encodeClientToReplica(message));
  }

  sendFrame(frame: Uint8Array): void {
    this.#link?.send(frame);
  }

  /** The next message of a kind; others before it are dropped. Rejects when the replica closes first. */
  async next<Kind extends ReplicaToClient['kind']>(kind: Kind): Promise<Extract<ReplicaToClient, { kind: Kind }>> {
    for (;;) {
      const message = this.#received.shift();
      if (message?.kind === kind) return message as Extract<ReplicaToClient, { kind: Kind }>;
      if (message !== undefined) continue;
      if (this.#isClosed) throw new Error(`the link was closed before there was a ${kind}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Resolves when the replica has closed the link. */
  async closed(): Promise<void> {
    while (!this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The attach that answers a welcome, signed by a key that may be somebody else's. */
  attachTo(welcome: Extract<ReplicaToClient, { kind: 'welcome' }>, key = this.key): ClientToReplica {
    const preimage = attachPreimage({ ...welcome, sessionNonce: this.nonce });
    const { bytes: client } = this.key.publicKey;
    return { kind: 'attach', client, sessionNonce: this.nonce, signature: sign(key, preimage) };
  }

  /** Attaches the link; returns the commit index of the welcome, at which a session may be born. */
  async attach(): Promise<number> {
    const welcome = await this.next('welcome');
    this.send(this.attachTo(welcome));
    return welcome.commitIndex;
  }

  /** A signed request with one operation. */
  request(
    birth: number,
    operation: { readonly name: string; readonly input: unknown },
    change: Partial<RequestContent> = {},
    serviceId = serviceIdOf(this.#genesis),
  ): Request {
    const content: RequestContent = {
      client: this.key.publicKey.bytes,
      session: { birth, nonce: this.nonce },
      number: 1,
      acknowledged: 0,
      operations: [{ name: operation.name, input: encodeValue(operation.input) }],
      ...change,
    };
    return encodeRequest(content, (digest) => sign(this.key, requestPreimage(serviceId, digest)));
  }

  /** Sends the request until it is executed; a lone replica that has just got it may take its time. */
  async ask(request: Request): Promise<Extract<ReplicaToClient, { kind: 'reply' }>> {
    this.send({ kind: 'request', request: request.bytes });
    for (;;) {
      const reply = await this.next('reply');
      if (reply.requestDigest === request.digest) return reply;
    }
  }

  /** Sends the second request once the first has a reply; all replies to the first until the second has its own. */
  async askAfter(first: Request, second: Request): Promise<readonly Extract<ReplicaToClient, { kind: 'reply' }>[]> {
    const replies: Extract<ReplicaToClient, { kind: 'reply' }>[] = [];
    for (;;) {
      const reply = await this.next('reply');
      if (reply.requestDigest === second.digest) return replies;
      if (reply.requestDigest !== first.digest) continue;
      if (replies.length === 0) this.send({ kind: 'request', request: second.bytes });
      replies.push(reply);
    }
  }

  close(): void {
    this.#link?.close();
  }
}
