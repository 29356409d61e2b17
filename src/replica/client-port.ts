/**
 * Client port: the replica's side of what clients and one replica say to each other (`wire/client-message.ts`).
 *
 * In: links and their frames. Out: requests for the event loop; replies go to every link attached to their session.
 * A client is known by its signature over this link's challenge; what it may do is the service's affair.
 * Trust: a hostile client can spend its own links' share of memory and time, and be told so; it cannot attach to
 * another client's session, because it cannot sign for it.
 */
import { importPublicKey, verify } from '../crypto/ed25519.ts';
import type { Digest } from '../crypto/hash.ts';
import type { RandomBytes } from '../platform/random.ts';
import type { ClientLink } from '../transport/client-listener.ts';
import {
  attachPreimage,
  type ClientToReplica,
  challengeSizeBytes,
  decodeClientToReplica,
  encodeReplicaToClient,
} from '../wire/client-message.ts';
import type { Value } from '../wire/value.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';

/** What clients give the event loop to do. */
export type ClientInput = Extract<ReplicaInput, { readonly link: number }>;

interface Attached {
  readonly link: ClientLink;
  readonly challenge: Uint8Array;
  /** Client key and session nonce; undefined until the client has attached. */
  session: string | undefined;
  /** It will be told the status in the next turn of the event loop. */
  isStatusDue: boolean;
}

/** Stands in for the digest of a request that has none because it is malformed. */
const noDigest = '0'.repeat(64) as Digest;

export class ClientPort {
  readonly #serviceId: Digest;
  #replicaIndex: number;
  readonly #randomBytes: RandomBytes;
  readonly #commitIndex: () => number;
  readonly #status: () => Value;
  readonly #onInput: (input: ClientInput) => void;
  readonly #onCounted: (event: string) => void;
  readonly #links = new Map<number, Attached>();
  readonly #sessions = new Map<string, Set<ClientLink>>();

  constructor(options: {
    readonly serviceId: Digest;
    readonly replicaIndex: number;
    readonly randomBytes: RandomBytes;
    readonly commitIndex: () => number;
    readonly status: () => Value;
    readonly onInput: (input: ClientInput) => void;
    readonly onCounted: (event: string) => void;
  }) {
    this.#serviceId = options.serviceId;
    this.#replicaIndex = options.replicaIndex;
    this.#randomBytes = options.randomBytes;
    this.#commitIndex = options.commitIndex;
    this.#status = options.status;
    this.#onInput = options.onInput;
    this.#onCounted = options.onCounted;
  }

  /** In another epoch the replica may have another place. Links that are open keep the one they were told. */
  moveTo(replicaIndex: number): void {
    this.#replicaIndex = replicaIndex;
  }

  /** A client has connected: tell it who we are and what to sign. */
  add(link: ClientLink): void {
    const challenge = this.#randomBytes(challengeSizeBytes);
    const attached: Attached = { link, challenge, session: undefined, isStatusDue: false };
    this.#links.set(link.id, attached);
    link.onFrame = (frame) => this.#take(attached, frame);
    link.onClose = () => this.#remove(attached);
    link.send(
      encodeReplicaToClient({
        kind: 'welcome',
        serviceId: this.#serviceId,
        replicaIndex: this.#replicaIndex,
        commitIndex: this.#commitIndex(),
        challenge,
      }),
    );
  }

  reply(reply: ReplicaEffects['replies'][number]): void {
    const links = this.#sessions.get(sessionKey(reply.client, reply.sessionNonce));
    if (links === undefined) return;
    const frame = encodeReplicaToClient({ kind: 'reply', ...reply });
    for (const link of links) link.send(frame);
  }

  refuse({ link, requestDigest, code, reason }: ReplicaEffects['refusals'][number]): void {
    const frame = encodeReplicaToClient({ kind: 'refused', requestDigest: requestDigest ?? noDigest, code, reason });
    this.#links.get(link)?.link.send(frame);
  }

  /** A proof, to the link that wants it, if it is still there. */
  certified({ link, message }: ReplicaEffects['certified'][number]): void {
    this.#links.get(link)?.link.send(encodeReplicaToClient(message));
  }

  /** Reads from one link no more, or again. */
  pause(id: number, isPaused: boolean): void {
    const link = this.#links.get(id)?.link;
    if (isPaused) link?.pause();
    else link?.resume();
  }

  #take(attached: Attached, frame: Uint8Array): void {
    const decoded = decodeClientToReplica(frame);
    if (!decoded.ok) {
      this.#onCounted('client-frame-malformed');
      attached.link.close(`not a message of this protocol: ${decoded.reason}`);
      return;
    }
    const message = decoded.value;
    switch (message.kind) {
      case 'attach':
        this.#attach(attached, message);
        return;
      case 'status':
        this.#planStatus(attached);
        return;
      case 'ask-head':
        this.#onInput({ kind: 'client-asks-head', link: attached.link.id, logSize: message.logSize });
        return;
      case 'ask-state':
        this.#onInput({ ...message, kind: 'client-asks-state', link: attached.link.id });
        return;
      case 'request':
        if (attached.session !== undefined) {
          const { request, certifyFrom } = message;
          this.#onInput({ kind: 'client-request', link: attached.link.id, request, certifyFrom });
          return;
        }
        this.#onCounted('client-not-attached');
        this.refuse({
          link: attached.link.id,
          requestDigest: undefined,
          code: 'not-attached',
          reason: 'attach the link to a session first',
        });
    }
  }

  /** Asking takes five bytes, and answering a hundred times as long: who asks often in one turn is answered once. */
  #planStatus(attached: Attached): void {
    if (attached.isStatusDue) return;
    attached.isStatusDue = true;
    setImmediate(() => {
      attached.isStatusDue = false;
      if (attached.link.open) attached.link.send(encodeReplicaToClient({ kind: 'status', status: this.#status() }));
    });
  }

  #attach(attached: Attached, message: ClientToReplica & { kind: 'attach' }): void {
    const { client, sessionNonce, signature } = message;
    const key = importPublicKey(client);
    const { challenge, link } = attached;
    const preimage = attachPreimage({
      serviceId: this.#serviceId,
      replicaIndex: this.#replicaIndex,
      challenge,
      sessionNonce,
    });
    if (attached.session !== undefined || key === undefined || !verify(key, preimage, signature)) {
      this.#onCounted('client-attach-refused');
      link.close('attach refused: wrong signature, or attached already');
      return;
    }
    attached.session = sessionKey(key.text, hexOf(sessionNonce));
    const links = this.#sessions.get(attached.session) ?? new Set();
    this.#sessions.set(attached.session, links.add(link));
  }

  #remove({ link, session }: Attached): void {
    this.#links.delete(link.id);
    this.#onInput({ kind: 'client-gone', link: link.id });
    if (session === undefined) return;
    const links = this.#sessions.get(session);
    links?.delete(link);
    if (links?.size === 0) this.#sessions.delete(session);
  }
}

function sessionKey(client: string, sessionNonce: string): string {
  return `${client}/${sessionNonce}`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
