/**
 * Replica: one whole replica in this process: home, log, state, a life at a time, links to peers and clients.
 *
 * Only wiring is here. Start: lock and open the home, verify the state, replay the log, listen, dial. Stop: take no more, make
 * durable what was accepted, close. What the state lacks, or has wrong, is fetched from the others between two lives.
 * Trust: an attacker who controls this process has its keys and can lie in its name; the other replicas and the
 * clients are safe as long as no more than f are like that.
 */
import { join } from 'node:path';
import type { Logger } from 'pino';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { sign } from '../crypto/ed25519.ts';
import type { AnyService } from '../execution/service-definition.ts';
import { firstMembership } from '../membership/genesis.ts';
import type { Membership } from '../membership/membership.ts';
import { restoredMembership } from '../membership/restored.ts';
import { blockPreimage } from '../ordering/validity.ts';
import { monotonicMs, now } from '../platform/clock.ts';
import { installGuard } from '../platform/determinism.ts';
import { randomBytes } from '../platform/random.ts';
import type { BlockLog } from '../storage/block-log.ts';
import { EvidenceFiles } from '../storage/evidence-files.ts';
import { type Home, homePaths, openHome } from '../storage/home.ts';
import { HomeError } from '../storage/home-error.ts';
import { KeyStore } from '../storage/key-store.ts';
import { readRestored } from '../storage/restored-home.ts';
import { malformed } from '../storage/whole-file.ts';
import { ClientListener } from '../transport/client-listener.ts';
import { PeerLinks } from '../transport/peer-links.ts';
import { limits } from '../wire/limits.ts';
import { decodePeerMessage, encodePeerMessage } from '../wire/peer-message.ts';
import type { Value } from '../wire/value.ts';
import { ClientPort } from './client-port.ts';
import { Counters } from './counters.ts';
import type { ReplicaEffects } from './effects.ts';
import type { InputSource } from './event-loop.ts';
import { EvidenceLog } from './evidence-log.ts';
import type { HttpBackend } from './http/backend.ts';
import { HttpCalls, isHttpLink } from './http/calls.ts';
import { HttpInterface } from './http/http-interface.ts';
import { Lives } from './lives.ts';
import type { ReplicaMachine } from './machine.ts';
import { type ReplicaStatus, statusOf } from './replica-status.ts';

export interface RunningReplica {
  readonly replicaId: string;
  status(): ReplicaStatus;
  /** Stops cleanly; a second call waits for the first. */
  stop(): Promise<void>;
  /** Resolves when the replica has ended: with undefined after `stop`, else with what ended it. */
  readonly ended: Promise<unknown>;
}

/**
 * Starts the replica whose home is a directory.
 * Rejects with the typed error of the room that failed: `HomeError`, `StorageError`, `TransportError`.
 */
export async function startReplica(options: {
  readonly home: string;
  readonly service: AnyService;
  readonly logger: Logger;
  /** Told now and then while the log is replayed. */
  readonly onReplay?: (progress: { readonly blocks: number; readonly commitIndex: number }) => void;
  /** Leaves of the request log of which there are proofs, at least. */
  readonly retainedLeaves?: number;
  /** Bytes of the block log that are kept though checkpoints stand for them. */
  readonly retainedSizeBytes?: number;
}): Promise<RunningReplica> {
  const home = await openHome(options.home);
  try {
    const keyMembership = membershipOf(home);
    const membership = await membershipNow(home, keyMembership);
    const { sealedSharePath: path, sealingKey, serviceId } = home;
    const keyStore = new KeyStore({ path, sealingKey, serviceId, epoch: keyMembership.epoch });
    const sealedShare = await readSealedShare(keyStore, options.logger);
    const log = await home.openLog({
      asObserver: home.isLogLost,
      setAside: ({ error, keptAt }) =>
        options.logger.error(
          { reason: error.message, keptAt },
          'the log is damaged and was set aside: it is begun anew',
        ),
      retainedSizeBytes: options.retainedSizeBytes ?? limits.logRetainedSizeBytes,
    });
    try {
      const replica = new Replica({ ...options, home, membership, keyMembership, log, keyStore, sealedShare });
      await replica.start();
      return replica;
    } catch (error) {
      await log.close();
      throw error;
    }
  } catch (error) {
    await home.close();
    throw error;
  }
}

function membershipOf(home: Home): Membership {
  const membership = firstMembership(home.genesis);
  if (!membership.ok) throw malformed(join(home.directory, homePaths.genesis), membership.reason);
  return membership.value;
}

/** In a DAG of its own when the cluster goes on from a snapshot. */
async function membershipNow(home: Home, keyMembership: Membership): Promise<Membership> {
  const restored = await readRestored(home.directory);
  if (restored === undefined) return keyMembership;
  return restoredMembership({ ...keyMembership, epoch: restored.epoch - 1 }, restored.checkpointDigest);
}

/** What is sealed in the home. One that cannot be opened is told of and made anew: the log has all it takes. */
async function readSealedShare(keyStore: KeyStore, logger: Logger): Promise<bigint | undefined> {
  try {
    return (await keyStore.read())?.keyShare;
  } catch (error) {
    if (!(error instanceof HomeError)) throw error;
    logger.warn({ err: error }, 'the sealed key share cannot be opened; it is made again from the log');
    return undefined;
  }
}

class Replica implements RunningReplica {
  readonly ended: Promise<unknown>;
  readonly #home: Home;
  readonly #membership: Membership;
  readonly #log: BlockLog;
  readonly #keyStore: KeyStore;
  readonly #logger: Logger;
  readonly #counters = new Counters();
  readonly #evidence: EvidenceLog;
  readonly #lives: Lives;
  readonly #peers: PeerLinks;
  readonly #clients: ClientPort;
  readonly #listener: ClientListener;
  readonly #httpCalls: HttpCalls;
  readonly #http: HttpInterface;
  readonly #connected = new Set<number>();
  readonly #startedAtMs = monotonicMs();
  #end: (reason: unknown) => void = () => undefined;
  #stopping: Promise<void> | undefined;
  #operations = 0;
  #saidKey = false;

  constructor(options: {
    readonly home: Home;
    readonly membership: Membership;
    /** The one that generated the service key. */
    readonly keyMembership: Membership;
    readonly log: BlockLog;
    readonly keyStore: KeyStore;
    readonly sealedShare: bigint | undefined;
    readonly service: AnyService;
    readonly logger: Logger;
    readonly onReplay?: (progress: { readonly blocks: number; readonly commitIndex: number }) => void;
    readonly retainedLeaves?: number;
    readonly retainedSizeBytes?: number;
  }) {
    const { home, membership, log, service } = options;
    const { replicaIndex: self } = home;
    this.#home = home;
    this.#membership = membership;
    this.#log = log;
    this.#keyStore = options.keyStore;
    this.#logger = options.logger.child({ replica: home.replicaId });
    const evidenceFiles = new EvidenceFiles(home.directory);
    this.#evidence = new EvidenceLog({
      membership,
      logger: this.#logger,
      counters: this.#counters,
      keep: (proof) => {
        evidenceFiles.keep(proof).catch((error: unknown) => {
          this.#logger.error({ err: error }, 'a proof of equivocation could not be written');
        });
      },
    });
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    const send = (to: number, frame: Uint8Array): void => void this.#peers.send(to, frame);
    this.#lives = new Lives({
      membership,
      self,
      openState: (how) => home.openState(how),
      log,
      retainedLeaves: options.retainedLeaves ?? limits.logLeavesRetained,
      serviceKey: home.serviceKey,
      logger: this.#logger,
      life: {
        machine: {
          membership,
          keyMembership: options.keyMembership,
          self,
          service,
          curve: mclCurve,
          names: home.genesis,
          keySecrets: { decryptionKey: home.decryptionKey, seed: home.dealingSeed },
          sealedShare: options.sealedShare,
          guard: installGuard(),
          observer: home.isLogLost,
          sign: (digest) => sign(home.signingKey, blockPreimage(digest)),
        },
        retainedSizeBytes: options.retainedSizeBytes ?? limits.logRetainedSizeBytes,
        ports: {
          send,
          broadcast: (frame) => this.#peers.broadcast(frame),
          reply: (reply) => {
            this.#clients.reply(reply);
            this.#httpCalls.reply(reply);
          },
          certified: (answer) => (isHttpLink(answer.link) ? this.#httpCalls : this.#clients).certified(answer),
          refuse: (refusal) => (isHttpLink(refusal.link) ? this.#httpCalls : this.#clients).refuse(refusal),
          seal: (keyShare) => this.#seal(keyShare),
        },
        pressure: (source, isHigh) => this.#press(source, isHigh),
        onReplay: options.onReplay,
      },
      observe: (effects, machine) => this.#observe(effects, machine),
      evidence: (evidence) => this.#evidence.add(evidence),
      count: (event) => this.#counters.count(event),
      failed: (error) => void this.#fail(error),
    });
    this.#peers = new PeerLinks({
      self,
      peers: membership.members.map(({ peerAddress, linkKeyDigest }) => ({ ...peerAddress, keyDigest: linkKeyDigest })),
      keyPem: home.linkKeyPem,
      certificatePem: home.linkCertificatePem,
      hello: encodePeerMessage({ kind: 'hello', epochGenesis: membership.epochGenesis }),
      acceptHello: (peer, frame) => this.#refusalOfHello(peer, frame),
      onFrame: (from, frame) => this.#lives.takeFrame(from, frame),
      onUp: (peer) => {
        this.#connected.add(peer);
        this.#logger.info({ peer: this.#idOf(peer) }, 'link up');
        this.#lives.connected(peer);
      },
      onDown: (peer, reason) => {
        this.#connected.delete(peer);
        this.#logger.info({ peer: this.#idOf(peer), reason }, 'link down');
      },
      onCounted: (event, peer) =>
        this.#counters.count(`peer-link ${event}${peer === undefined ? '' : ` ${this.#idOf(peer)}`}`),
    });
    this.#clients = new ClientPort({
      serviceId: membership.serviceId,
      replicaIndex: self,
      randomBytes,
      commitIndex: () => this.#lives.machine?.commitIndex ?? 0,
      status: () => this.status() as unknown as Value,
      onInput: (input) => this.#lives.push(input),
      onCounted: (event) => this.#counters.count(event),
    });
    this.#listener = new ClientListener({
      ...(membership.members[self] as (typeof membership.members)[number]).clientAddress,
      keyPem: home.linkKeyPem,
      certificatePem: home.linkCertificatePem,
      onLink: (link) => this.#clients.add(link),
      onCounted: (event) => this.#counters.count(`client-link ${event}`),
    });
    this.#httpCalls = new HttpCalls({
      serviceId: membership.serviceId,
      signingKey: home.signingKey,
      randomBytes,
      commitIndex: () => this.#lives.machine?.commitIndex ?? 0,
      onInput: (input) => this.#lives.push(input),
    });
    this.#http = new HttpInterface({
      ...(membership.members[self] as (typeof membership.members)[number]).httpAddress,
      backend: this.#httpBackend(),
      onCounted: (event) => this.#counters.count(event),
      onMistake: (error) => this.#logger.error({ err: error }, 'a mistake in answering by HTTP'),
    });
  }

  get replicaId(): string {
    return this.#home.replicaId;
  }

  /** Begins its life from what its home holds, then listens and dials; or fetches state first, with all ears open. */
  async start(): Promise<void> {
    try {
      await this.#lives.begin();
    } catch (error) {
      if (this.#stopping === undefined) throw error;
      // It failed while it began: the first failure says why, not what came of closing everything.
      throw (await this.ended) ?? error;
    }
    try {
      await this.#listener.listen();
      await this.#peers.listen();
      await this.#http.listen();
    } catch (error) {
      await Promise.all([this.#listener.close(), this.#peers.close(), this.#http.close()]);
      throw error;
    }
    if (this.#home.isLogLost) {
      this.#logger.warn('the log was lost: this replica follows as an observer and signs nothing in this epoch');
    }
    this.#logger.info(
      { phase: this.#lives.phase, observer: this.#home.isLogLost, pid: process.pid },
      'replica started',
    );
  }

  status(): ReplicaStatus {
    const { machine, phase, progress, engineSizeBytes } = this.#lives;
    return {
      ...statusOf({
        home: this.#home,
        membership: this.#membership,
        machine,
        connected: this.#connected,
        requestsPerSecond: Math.round(this.#counters.perSecond(now())),
        uptimeMs: Math.round(monotonicMs() - this.#startedAtMs),
      }),
      phase,
      ...(progress === undefined ? {} : { transfer: progress }),
      engineSizeBytes,
      blockLogSizeBytes: this.#log.end - this.#log.begin,
      counters: this.#counters.counts,
    };
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#shutDown(undefined);
    return this.#stopping;
  }

  #refusalOfHello(peer: number, frame: Uint8Array): string | undefined {
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) return `the first message is not a hello: ${decoded.reason}`;
    if (decoded.value.kind !== 'hello') return 'the first message is not a hello';
    if (decoded.value.epochGenesis === this.#membership.epochGenesis) return undefined;
    this.#logger.warn({ peer: this.#idOf(peer) }, 'a replica of another cluster or epoch was refused');
    return 'another cluster or epoch';
  }

  #observe(effects: ReplicaEffects, machine: ReplicaMachine): void {
    const { operations } = machine;
    // Another life counts from nothing again.
    this.#counters.executed(Math.max(0, operations - this.#operations), now());
    this.#operations = operations;
    for (const evidence of effects.evidence) this.#evidence.add(evidence);
    for (const refusal of effects.refusals) this.#counters.count(`request-refused ${refusal.code}`);
    this.#sayWhatChanged(machine);
    for (const diagnostic of effects.diagnostics) this.#logger.warn(diagnostic, 'an operation of the service failed');
  }

  /** The two turns in a replica's life that its operator must hear of. */
  #sayWhatChanged({ serviceKey, divergence }: ReplicaMachine): void {
    if (serviceKey !== undefined && !this.#saidKey) {
      this.#saidKey = true;
      this.#logger.info({ serviceKey }, 'the service key is there');
      this.#keepServiceKey(serviceKey);
    }
    if (divergence === undefined) return;
    this.#counters.count('diverged');
    const { own, digest, certified } = divergence;
    const what = 'this replica has diverged from what is certified: it goes back to that';
    this.#logger.error({ own, certified: certified?.head ?? digest }, what);
  }

  /** What a replica that has lost everything else checks the others' word by. */
  #keepServiceKey(serviceKey: string): void {
    this.#home.keepServiceKey(serviceKey).catch((error: unknown) => {
      this.#logger.error({ err: error }, 'the service key could not be written down');
    });
  }

  #seal(keyShare: bigint): void {
    const transcript = this.#lives.machine?.transcript;
    if (transcript === undefined) throw new Error('invariant: a key share without a transcript');
    const verificationKey = transcript.verificationKeys[this.#home.replicaIndex] as Uint8Array;
    this.#keyStore.write({ keyShare, verificationKey }).then(
      () => this.#logger.info('the key share is sealed'),
      (error: unknown) =>
        this.#logger.error({ err: error }, 'the key share could not be sealed; it can be had from the log'),
    );
  }

  #httpBackend(): HttpBackend {
    const machine = (): ReplicaMachine | undefined => this.#lives.running;
    return {
      replicaId: this.#home.replicaId,
      submit: (request, options) => this.#httpCalls.submit(request, options),
      submitAnonymous: (operation, input, options) => this.#httpCalls.submitAnonymous(operation, input, options),
      readState: (key, options) => this.#httpCalls.read(key, options),
      certifiedHead: () => machine()?.certifiedHead,
      inclusionPath: (leafIndex, logSize) => machine()?.prover.inclusionPath(leafIndex, logSize),
      consistencyPath: (from, to) => machine()?.prover.consistencyPath(from, to),
      certifiedMembership: () => machine()?.certifiedMembership,
      divergence: () => machine()?.divergence,
      status: () => this.status() as unknown as Readonly<Record<string, Value>>,
    };
  }

  /** Reads from a source no more, or again. Its frames wait in the network meanwhile, and everybody else is served. */
  #press(source: InputSource, isHigh: boolean): void {
    this.#counters.count(`pressure-${isHigh ? 'high' : 'low'} ${source.kind}`);
    // What came by HTTP is bounded where it comes in.
    if (source.kind === 'client') this.#clients.pause(source.link, isHigh);
    else if (isHigh) this.#peers.pause(source.peer);
    else this.#peers.resume(source.peer);
  }

  /** The log failed or there is a bug: say nothing more, because what we say must be durable first. */
  async #fail(error: unknown): Promise<void> {
    this.#logger.fatal({ err: error }, 'the replica cannot go on');
    this.#stopping ??= this.#shutDown(error);
    await this.#stopping;
  }

  async #shutDown(reason: unknown): Promise<void> {
    let ending = reason;
    try {
      await this.#lives.end({ isSudden: reason !== undefined });
    } catch (error) {
      ending ??= error;
    }
    await Promise.all([this.#peers.close(), this.#listener.close(), this.#http.close()]);
    try {
      await this.#log.close();
    } catch (error) {
      ending ??= error;
    }
    await this.#home.close();
    this.#logger.info('replica stopped');
    this.#end(ending);
  }

  #idOf(index: number): string {
    return this.#membership.members[index]?.replicaId ?? String(index);
  }
}
