/**
 * Scripted cluster: replicas that speak the client's protocol over real TLS links and order requests among themselves by
 * a function call, so that a test can make any of them lie, stall or die at the moment it wants.
 */
import { importPublicKey, signingKeyFromSeed, verify } from '../../crypto/ed25519.ts';
import { type Digest, sha256 } from '../../crypto/hash.ts';
import { defaultCheckpointIntervalMs, defaultHeadIntervalMs, defaultParameters } from '../../membership/genesis.ts';
import { type LinkCertificate, makeLinkCertificate } from '../../transport/certificate.ts';
import { type ClientLink, ClientListener } from '../../transport/client-listener.ts';
import {
  attachPreimage,
  type CertifiedHead,
  type ClientToReplica,
  decodeClientToReplica,
  encodeReplicaToClient,
  type RefusalCode,
  type ReplicaToClient,
} from '../../wire/client-message.ts';
import {
  type Administrators,
  type Genesis,
  type GenesisReplica,
  genesisVersion,
  serviceIdOf,
} from '../../wire/genesis.ts';
import { encodeOutcomes, failure, type Outcome } from '../../wire/outcome.ts';
import { decodeRequest, type Operation, type Request, requestPreimage } from '../../wire/request.ts';
import { decodeOwnValue, type Value } from '../../wire/value.ts';
import { type Certified, ScriptedCertifier } from './scripted-certifier.ts';

export type Reply = Extract<ReplicaToClient, { readonly kind: 'reply' }>;
export type HeadAnswer = Extract<ReplicaToClient, { readonly kind: 'head' }>;
export type StateAnswer = Extract<ReplicaToClient, { readonly kind: 'state' | 'state-refused' }>;
type AskState = Extract<ClientToReplica, { readonly kind: 'ask-state' }>;
type Welcome = Extract<ReplicaToClient, { readonly kind: 'welcome' }>;

/** What a replica does differently from a correct one; changed at any time. */
export interface Script {
  /** It takes requests and has them ordered. */
  orders: boolean;
  /** It says what was executed. */
  replies: boolean;
  /** What it sends in place of a reply. */
  reply: (reply: Reply) => readonly Uint8Array[];
  /** It says what is certified. */
  certifies: boolean;
  /** What it sends in place of a certified reply. */
  certified: (message: Certified) => readonly ReplicaToClient[];
  /** What it sends in place of a head that was asked for. */
  head: (message: HeadAnswer) => readonly ReplicaToClient[];
  /** What it sends in place of what is under a key. */
  state: (message: StateAnswer, ask: AskState) => readonly ReplicaToClient[];
  /** It has dropped its log up to this size. */
  retainsFrom: number;
  /** What it says in place of its welcome. */
  welcome: (welcome: Welcome) => Uint8Array;
  /** What it says to a request in place of taking it. */
  refuse: ((request: Request) => Uint8Array) | undefined;
}

const correct = (): Script => ({
  orders: true,
  replies: true,
  reply: (reply) => [encodeReplicaToClient(reply)],
  certifies: true,
  certified: (message) => [message],
  head: (message) => [message],
  state: (message) => [message],
  retainsFrom: 0,
  welcome: (welcome) => encodeReplicaToClient(welcome),
  refuse: undefined,
});

export class ScriptedReplica {
  readonly script = correct();
  /** In the membership of the epoch. */
  index: number;
  readonly replicaId: string;
  /** Requests it was sent, copies included. */
  readonly received: Request[] = [];
  /** Links attached to each session. */
  readonly attached = new Map<string, Set<ClientLink>>();
  readonly links = new Set<ClientLink>();
  certificate: LinkCertificate;
  port = 0;
  /** Its own log, when it is not that of the others. */
  certifier: ScriptedCertifier | undefined;
  /** The newest head it knows, when it lags behind. */
  newest: CertifiedHead | undefined;
  /** Questions for the state. */
  readonly stateQuestions: AskState[] = [];
  /** Questions for its newest head. */
  headQuestions = 0;
  readonly #wishes = new Map<Digest, Set<ClientLink>>();
  readonly #chains = new Map<ClientLink, number>();
  readonly #cluster: ScriptedCluster;
  #listener: ClientListener | undefined;

  constructor(cluster: ScriptedCluster, index: number, certificate: LinkCertificate) {
    this.#cluster = cluster;
    this.index = index;
    this.replicaId = `r${index}`;
    this.certificate = certificate;
  }

  async start(): Promise<void> {
    const { keyPem, certificatePem } = this.certificate;
    const onLink = (link: ClientLink): void => this.#greet(link);
    this.#listener = new ClientListener({ host: '127.0.0.1', port: this.port, keyPem, certificatePem, onLink });
    this.port = (await this.#listener.listen()).port;
  }

  async stop(): Promise<void> {
    await this.#listener?.close();
    this.attached.clear();
    this.links.clear();
  }

  /** As a genesis names it; it keeps its id whatever its place. */
  get described(): GenesisReplica {
    const number = Number(this.replicaId.slice(1));
    return {
      replicaId: this.replicaId,
      signingKey: signingKeyFromSeed(Buffer.alloc(32, number + 1)).publicKey.text,
      linkKeyDigest: this.certificate.keyDigest,
      encryptionKey: Buffer.alloc(48, number + 1).toString('hex'),
      recovery: 'awareness',
      identityKey: undefined,
      peerAddress: { host: '127.0.0.1', port: number + 1 },
      clientAddress: { host: '127.0.0.1', port: this.port },
      httpAddress: { host: '127.0.0.1', port: 100 + number },
    };
  }

  /** Comes back at the same port with another link key. */
  async renew(): Promise<void> {
    await this.stop();
    this.certificate = await makeLinkCertificate({ commonName: `replica ${this.index}` });
    await this.start();
  }

  /** Reports what was executed to everyone who is attached to the session, or to one link. */
  report(session: string, reply: Reply, only?: ClientLink): void {
    if (!this.script.replies) return;
    for (const link of only === undefined ? (this.attached.get(session) ?? []) : [only]) {
      for (const frame of this.script.reply(reply)) link.send(frame);
    }
  }

  /** Proves what was executed to everyone who wished for it. */
  prove(reply: Reply): void {
    const certifier = this.#log;
    const links = this.#wishes.get(reply.requestDigest);
    const leafIndex = certifier?.leafIndex(reply.requestDigest);
    const certifiedHead = this.newest ?? certifier?.newest;
    if (!this.script.certifies || certifier === undefined || links === undefined) return;
    if (leafIndex === undefined || certifiedHead === undefined || certifiedHead.head.logSize <= leafIndex) return;
    this.#wishes.delete(reply.requestDigest);
    const inclusionPath = certifier.inclusionPath(leafIndex, certifiedHead.head.logSize);
    for (const link of links) {
      const message: Certified = {
        ...reply,
        kind: 'certified',
        leafIndex,
        inclusionPath,
        ...this.#chained(link, certifiedHead),
      };
      for (const each of this.script.certified(message)) link.send(encodeReplicaToClient(each));
    }
  }

  get #log(): ScriptedCertifier | undefined {
    return this.certifier ?? this.#cluster.certifier;
  }

  #chained(link: ClientLink, certifiedHead: CertifiedHead) {
    const { logSize } = certifiedHead.head;
    const held = this.#chains.get(link) ?? 0;
    this.#chains.set(link, logSize);
    if (held > 0 && held < this.script.retainsFrom && held <= logSize) {
      return { certifiedHead, consistentWith: 0, consistencyPath: [], notRetained: true as const };
    }
    const path = held > 0 && held <= logSize ? this.#log?.consistencyPath(held, logSize) : undefined;
    return { certifiedHead, consistentWith: path === undefined ? 0 : held, consistencyPath: path ?? [] };
  }

  #answerHead(link: ClientLink, logSize: number): void {
    this.headQuestions += 1;
    const newest = this.newest ?? this.#log?.newest;
    if (newest !== undefined) this.#chains.set(link, logSize);
    const none = { certifiedHead: undefined, consistentWith: 0, consistencyPath: [] };
    const message: HeadAnswer = { kind: 'head', ...(newest === undefined ? none : this.#chained(link, newest)) };
    for (const each of this.script.head(message)) link.send(encodeReplicaToClient(each));
  }

  #answerState(link: ClientLink, ask: AskState): void {
    this.stateQuestions.push(ask);
    const { number, key, notBefore, logSize } = ask;
    const newest = this.newest ?? this.#log?.newest;
    const refused = (code: RefusalCode): StateAnswer => ({ kind: 'state-refused', number, code, reason: 'scripted' });
    let message: StateAnswer;
    if (newest === undefined || this.#log === undefined) message = refused('not-certifying');
    else if (newest.head.commitIndex < notBefore) message = refused('too-old');
    else {
      if (!this.#chains.has(link)) this.#chains.set(link, logSize);
      const state = this.#log.stateAt(newest.head.commitIndex);
      const proven = { value: state.value(key), proof: state.proveEncoded(key) };
      message = { kind: 'state', number, ...proven, ...this.#chained(link, newest) };
    }
    for (const each of this.script.state(message, ask)) link.send(encodeReplicaToClient(each));
  }

  #greet(link: ClientLink): void {
    this.links.add(link);
    const challenge = Buffer.from(sha256(Buffer.from(`${this.index} ${link.id}`)), 'hex');
    const { serviceId, commitIndex } = this.#cluster;
    link.onFrame = (frame) => this.#take(link, challenge, frame);
    link.onClose = () => {
      this.links.delete(link);
      for (const links of this.attached.values()) links.delete(link);
    };
    link.send(this.script.welcome({ kind: 'welcome', serviceId, replicaIndex: this.index, commitIndex, challenge }));
  }

  #take(link: ClientLink, challenge: Uint8Array, frame: Uint8Array): void {
    const message = decodeClientToReplica(frame);
    if (!message.ok) throw new Error(`the client sent what is no message: ${message.reason}`);
    switch (message.value.kind) {
      case 'attach': {
        const { client, sessionNonce, signature } = message.value;
        const { serviceId } = this.#cluster;
        const preimage = attachPreimage({ serviceId, replicaIndex: this.index, challenge, sessionNonce });
        const key = importPublicKey(client);
        if (key === undefined || !verify(key, preimage, signature)) throw new Error('attach: wrong signature');
        const session = sessionOf(client, sessionNonce);
        const links = this.attached.get(session) ?? new Set();
        this.attached.set(session, links.add(link));
        return;
      }
      case 'status':
        link.send(encodeReplicaToClient({ kind: 'status', status: { replicaIndex: this.index } }));
        return;
      case 'request': {
        const request = decodeRequest(message.value.request);
        if (!request.ok) throw new Error(`the client sent what is no request: ${request.reason}`);
        this.received.push(request.value);
        const { certifyFrom } = message.value;
        const { refuse } = this.script;
        if (certifyFrom !== undefined && refuse === undefined) {
          if (!this.#chains.has(link)) this.#chains.set(link, certifyFrom);
          const { digest } = request.value;
          this.#wishes.set(digest, (this.#wishes.get(digest) ?? new Set()).add(link));
        }
        if (refuse !== undefined) link.send(refuse(request.value));
        else if (this.script.orders) this.#cluster.order(this, link, request.value);
        return;
      }
      case 'ask-head':
        this.#answerHead(link, message.value.logSize);
        return;
      case 'ask-state':
        this.#answerState(link, message.value);
    }
  }
}

/** What an operation does; by default it gives back its input. */
export type Execute = (operation: Operation, input: Value) => Outcome;

export class ScriptedCluster {
  readonly replicas: ScriptedReplica[] = [];
  genesis!: Genesis;
  serviceId!: Digest;
  /** Certifies what is executed; undefined while there is no service key. */
  certifier: ScriptedCertifier | undefined;
  commitIndex = 7;
  /** Each request once, in the order of execution. */
  readonly executed: Request[] = [];
  execute: Execute = (_, input) => ({ ok: true, value: input });
  /** A result for the request as a whole, in place of executing it. */
  refuseWhole: ((request: Request) => string | undefined) | undefined;
  /** While true, requests are taken and not executed until `release`. */
  held = false;
  /** The same for some of them. */
  isHeld: (request: Request) => boolean = () => false;
  readonly #waiting: { readonly replica: ScriptedReplica; readonly link: ClientLink; readonly request: Request }[] = [];
  readonly #remembered = new Map<Digest, Reply>();

  static async start({
    n = 4,
    f = 1,
    certifies = false,
    service = 'echo',
    administrators = { approvals: 0, keys: [] },
  }: {
    readonly n?: number;
    readonly f?: number;
    readonly certifies?: boolean;
    readonly service?: string;
    readonly administrators?: Administrators;
  } = {}): Promise<ScriptedCluster> {
    const cluster = new ScriptedCluster();
    for (let index = 0; index < n; index++) {
      cluster.replicas.push(await cluster.startReplica(index));
    }
    cluster.genesis = {
      version: genesisVersion,
      name: 'scripted',
      service,
      created: 1_700_000_000_000,
      f,
      k: 0,
      parameters: defaultParameters,
      headIntervalMs: defaultHeadIntervalMs,
      checkpointIntervalMs: defaultCheckpointIntervalMs,
      epochIntervalMs: 0,
      successorWaitMs: 30_000,
      administrators,
      replicas: cluster.replicas.map((replica) => replica.described),
    };
    cluster.serviceId = serviceIdOf(cluster.genesis);
    if (certifies) cluster.certifier = new ScriptedCertifier(cluster.serviceId);
    return cluster;
  }

  /** One more, which is not among the replicas yet. */
  async startReplica(index: number): Promise<ScriptedReplica> {
    const certificate = await makeLinkCertificate({ commonName: `replica ${index}` });
    const replica = new ScriptedReplica(this, index, certificate);
    await replica.start();
    return replica;
  }

  async stop(): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.stop()));
  }

  /** Executes what was held back. */
  release(): void {
    this.held = false;
    this.isHeld = () => false;
    for (const { replica, link, request } of this.#waiting.splice(0)) this.order(replica, link, request);
  }

  order(replica: ScriptedReplica, link: ClientLink, request: Request): void {
    const key = importPublicKey(request.client);
    if (key === undefined || !verify(key, requestPreimage(this.serviceId, request.digest), request.signature)) {
      throw new Error('request: wrong signature');
    }
    const session = sessionOf(request.client, request.session.nonce);
    const remembered = this.#remembered.get(request.digest);
    if (remembered !== undefined) {
      replica.report(session, remembered, link);
      replica.prove(remembered);
      return;
    }
    if (this.held || this.isHeld(request)) {
      this.#waiting.push({ replica, link, request });
      return;
    }
    this.commitIndex += 1;
    const refusal = this.refuseWhole?.(request);
    const outcomes = request.operations.map((operation) =>
      refusal === undefined
        ? this.execute(operation, decodeOwnValue(operation.input))
        : failure(refusal, 'the request as a whole'),
    );
    const { digest: requestDigest, number } = request;
    const result = encodeOutcomes(outcomes);
    const reply: Reply = { kind: 'reply', requestDigest, number, commitIndex: this.commitIndex, result };
    if (refusal === undefined) {
      this.executed.push(request);
      this.#remembered.set(requestDigest, reply);
      const certifiers = new Set([this.certifier, ...this.replicas.map(({ certifier }) => certifier)]);
      for (const certifier of certifiers) certifier?.execute(reply);
    }
    for (const each of this.replicas) {
      each.report(session, reply);
      each.prove(reply);
    }
  }
}

function sessionOf(client: Uint8Array, nonce: Uint8Array): string {
  return `${Buffer.from(client).toString('hex')}${Buffer.from(nonce).toString('hex')}`;
}
