/**
 * Term: what a replica has for one epoch and gives up with it: membership, keys, block log, lives, links to the other replicas.
 *
 * In: the home, which is in that epoch; inputs of clients; frames of peers. Out: what the lives say to the world. What outlives epochs is
 * in `replica.ts`: state, ports for clients, counters.
 */
import { join } from 'node:path';
import type { Logger } from 'pino';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { sign } from '../crypto/ed25519.ts';
import type { AnyService } from '../execution/service-definition.ts';
import type { KeySecrets } from '../keys/key-generation.ts';
import { membershipOf } from '../membership/epochs.ts';
import { firstMembership } from '../membership/genesis.ts';
import type { Membership } from '../membership/membership.ts';
import { restoredMembership } from '../membership/restored.ts';
import { blockPreimage } from '../ordering/validity.ts';
import { installGuard } from '../platform/determinism.ts';
import type { BlockLog } from '../storage/block-log.ts';
import { EvidenceFiles } from '../storage/evidence-files.ts';
import { type Home, homePaths } from '../storage/home.ts';
import { HomeError } from '../storage/home-error.ts';
import { KeyStore } from '../storage/key-store.ts';
import { readRestored } from '../storage/restored-home.ts';
import type { OpenState } from '../storage/state-directory.ts';
import { malformed } from '../storage/whole-file.ts';
import { PeerLinks } from '../transport/peer-links.ts';
import { decodePeerMessage, encodePeerMessage } from '../wire/peer-message.ts';
import type { Ports } from './carry-out.ts';
import type { Counters } from './counters.ts';
import type { ReplicaEffects } from './effects.ts';
import type { InputSource } from './event-loop.ts';
import { EvidenceLog } from './evidence-log.ts';
import { Lives } from './lives.ts';
import type { ReplicaMachine } from './machine.ts';

export interface TermOptions {
  readonly home: Home;
  readonly service: AnyService;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly retainedLeaves: number;
  readonly retainedSizeBytes: number;
  /** The state that the term before has left, verified; undefined: it is opened and verified. */
  readonly state: OpenState | undefined;
  /** This process was started clean: what lies in the home may be an attacker's. */
  readonly isClean: boolean;
  readonly ports: Pick<Ports, 'reply' | 'certified' | 'refuse'>;
  readonly pressure: (source: InputSource, isHigh: boolean) => void;
  readonly onReplay: ((progress: { readonly blocks: number; readonly commitIndex: number }) => void) | undefined;
  readonly observe: (effects: ReplicaEffects, machine: ReplicaMachine) => void;
  readonly failed: (error: unknown) => void;
}

export class Term {
  readonly home: Home;
  readonly membership: Membership;
  readonly log: BlockLog;
  readonly lives: Lives;
  readonly evidence: EvidenceLog;
  /** Indexes of the replicas to which a link is up. */
  readonly connected = new Set<number>();
  readonly #logger: Logger;
  readonly #keyStore: KeyStore;
  readonly #peers: PeerLinks;
  readonly #nextSecrets: KeySecrets[] = [];
  /** What was kept for want of the state is erased. */
  #cleaned: Promise<void> = Promise.resolve();

  /** Opens the log of the epoch. Rejects like opening a home. */
  static async open(options: TermOptions): Promise<Term> {
    const { home, logger, retainedSizeBytes } = options;
    const membership = await membershipOfHome(home);
    const { sealedSharePath: path, sealingKey, serviceId } = home;
    const keyStore = new KeyStore({ path, sealingKey, serviceId, epoch: membership.sharingEpoch });
    const sealedShare = await readSealedShare(keyStore, logger);
    const nextKeys = await home.readNextKeys();
    const log = await home.openLog({
      asObserver: home.isLogLost,
      setAside: ({ error, keptAt }) =>
        logger.error({ reason: error.message, keptAt }, 'the log is damaged and was set aside: it is begun anew'),
      retainedSizeBytes,
    });
    const term = new Term(options, { membership, keyStore, sealedShare, log });
    if (nextKeys !== undefined) term.#nextSecrets.push({ ...nextKeys, seed: nextKeys.dealingSeed });
    return term;
  }

  private constructor(
    options: TermOptions,
    opened: {
      readonly membership: Membership;
      readonly keyStore: KeyStore;
      readonly sealedShare: bigint | undefined;
      readonly log: BlockLog;
    },
  ) {
    const { home, counters, service } = options;
    const { membership, log } = opened;
    const { replicaIndex: self } = home;
    this.home = home;
    this.membership = membership;
    this.log = log;
    this.#logger = options.logger;
    this.#keyStore = opened.keyStore;
    const evidenceFiles = new EvidenceFiles(home.directory);
    this.evidence = new EvidenceLog({
      membership,
      logger: this.#logger,
      counters,
      keep: (proof) => {
        evidenceFiles.keep(proof).catch((error: unknown) => {
          this.#logger.error({ err: error }, 'a proof of equivocation could not be written');
        });
      },
    });
    const nextSecrets = this.#nextSecrets;
    this.lives = new Lives({
      membership,
      self,
      openState: async (how) =>
        how === undefined && options.state !== undefined ? { ...options.state, isVerified: true } : home.openState(how),
      log,
      retainedLeaves: options.retainedLeaves,
      serviceKey: home.serviceKey,
      isProofNeeded: options.isClean && options.state === undefined,
      logger: this.#logger,
      life: {
        machine: {
          membership,
          self,
          service,
          curve: mclCurve,
          names: home.genesis,
          genesis: home.genesis,
          keySecrets: { decryptionKey: home.decryptionKey, seed: home.dealingSeed },
          // Each life is given all there are by then.
          get nextSecrets() {
            return [...nextSecrets];
          },
          sealedShare: opened.sealedShare,
          guard: installGuard(),
          observer: home.isLogLost,
          sign: (digest) => sign(home.signingKey, blockPreimage(digest)),
        },
        retainedSizeBytes: options.retainedSizeBytes,
        ports: {
          ...options.ports,
          send: (to, frame) => void this.#peers.send(to, frame),
          broadcast: (frame) => this.#peers.broadcast(frame),
          seal: (keyShare) => this.#seal(keyShare),
        },
        pressure: options.pressure,
        onReplay: options.onReplay,
      },
      observe: options.observe,
      evidence: (evidence) => this.evidence.add(evidence),
      count: (event) => counters.count(event),
      began: () => {
        this.#cleaned = home.dropEarlierLogs().catch((error: unknown) => {
          this.#logger.error(
            { err: error },
            'the logs of earlier epochs could not be erased; the next start tries again',
          );
        });
      },
      failed: options.failed,
    });
    this.#peers = new PeerLinks({
      self,
      peers: membership.members.map(({ peerAddress, linkKeyDigest }) => ({ ...peerAddress, keyDigest: linkKeyDigest })),
      keyPem: home.linkKeyPem,
      certificatePem: home.linkCertificatePem,
      hello: encodePeerMessage({ kind: 'hello', epochGenesis: membership.epochGenesis }),
      acceptHello: (peer, frame) => this.#refusalOfHello(peer, frame),
      onFrame: (from, frame) => this.lives.takeFrame(from, frame),
      onUp: (peer) => {
        this.connected.add(peer);
        this.#logger.info({ peer: this.idOf(peer) }, 'link up');
        this.lives.connected(peer);
      },
      onDown: (peer, reason) => {
        this.connected.delete(peer);
        this.#logger.info({ peer: this.idOf(peer), reason }, 'link down');
      },
      onCounted: (event, peer) =>
        counters.count(`peer-link ${event}${peer === undefined ? '' : ` ${this.idOf(peer)}`}`),
    });
  }

  /** Takes frames of the others from now on. Rejects with a `TransportError`. */
  async listen(): Promise<void> {
    await this.#peers.listen();
  }

  /** Session keys of ours for the next epoch are durable. */
  giveNextSecrets(secrets: KeySecrets): void {
    this.#nextSecrets.push(secrets);
    this.lives.push({ kind: 'next-session-keys', secrets });
  }

  /** Reads from a peer no more, or again. */
  press(peer: number, isHigh: boolean): void {
    if (isHigh) this.#peers.pause(peer);
    else this.#peers.resume(peer);
  }

  /** Ends because the epoch does; the state is for the next term, when it is whole. */
  async leave(): Promise<OpenState | undefined> {
    const state = await this.lives.leave();
    await this.#cleaned;
    await this.#peers.close();
    await this.log.close();
    return state;
  }

  /** Ends with the replica. `isSudden`: what was accepted is not made durable. Rejects with what could not be made durable. */
  async end({ isSudden }: { readonly isSudden: boolean }): Promise<void> {
    try {
      await this.lives.end({ isSudden });
    } finally {
      await this.#cleaned;
      await this.#peers.close();
      await this.log.close();
    }
  }

  idOf(index: number): string {
    return this.membership.members[index]?.replicaId ?? String(index);
  }

  #refusalOfHello(peer: number, frame: Uint8Array): string | undefined {
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) return `the first message is not a hello: ${decoded.reason}`;
    if (decoded.value.kind !== 'hello') return 'the first message is not a hello';
    if (decoded.value.epochGenesis === this.membership.epochGenesis) return undefined;
    this.#logger.warn({ peer: this.idOf(peer) }, 'a replica of another cluster or epoch was refused');
    return 'another cluster or epoch';
  }

  #seal(keyShare: bigint): void {
    const transcript = this.lives.machine?.transcript;
    if (transcript === undefined) throw new Error('invariant: a key share without a transcript');
    const verificationKey = transcript.verificationKeys[this.home.replicaIndex] as Uint8Array;
    this.#keyStore.write({ keyShare, verificationKey }).then(
      () => this.#logger.info('the key share is sealed'),
      (error: unknown) =>
        this.#logger.error({ err: error }, 'the key share could not be sealed; it can be had from the log'),
    );
  }
}

async function membershipOfHome(home: Home): Promise<Membership> {
  const { genesis, record, directory } = home;
  const membership =
    record === undefined ? firstMembership(genesis) : membershipOf(genesis, record.statement, record.statement);
  if (!membership.ok) throw malformed(join(directory, homePaths.genesis), membership.reason);
  const restored = await readRestored(directory);
  // In a DAG of its own when the cluster goes on from a snapshot; what was restored before this epoch is history.
  if (restored === undefined || restored.epoch <= membership.value.epoch) return membership.value;
  return restoredMembership({ ...membership.value, epoch: restored.epoch - 1 }, restored.checkpointDigest);
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
