/**
 * Lives: one replica's lives one after another, and the fetching of state between them.
 *
 * In: frames of peers, inputs of clients, links that come up. Out: effects to the world. It begins with what the engine holds, once
 * all of that is verified against the checkpoint's roots; where the engine lacks something, or others have dropped the blocks
 * that this replica needs, or its state is not the certified one, it ends the life, fetches what differs from the others, and
 * begins the next one from there.
 * Safety: nothing is executed or answered out of a state that is not verified. What was promised by an own block is in the
 * log through all lives.
 */
import type { Logger } from 'pino';
import type { Membership } from '../membership/membership.ts';
import { beginsFrom } from '../membership/restored.ts';
import { monotonicMs, setTimer } from '../platform/clock.ts';
import { BehindWatch } from '../recovery/behind-watch.ts';
import type { TransferEvidence, TransferProgress } from '../recovery/effects.ts';
import { StateDamage, type StateEngine, type StateSnapshot } from '../state/engine.ts';
import { verifyLeaves } from '../state/log-leaves.ts';
import { verifyTree } from '../state/verify-state.ts';
import type { BlockLog } from '../storage/block-log.ts';
import type { OpenState } from '../storage/state-directory.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { decodePeerMessage, encodePeerMessage, type PeerMessage } from '../wire/peer-message.ts';
import { decodeRequest } from '../wire/request.ts';
import { isStateFrame } from '../wire/state-message.ts';
import type { StableCheckpoint } from './checkpoint-progress.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';
import { isTransferring, readStored, type StoredCheckpoint } from './engine-notes.ts';
import { Life, type LifeOptions } from './life.ts';
import type { ReplicaMachine } from './machine.ts';
import { OfferedCheckpoints, type OfferMessage, type ReceivedOffer } from './offered-checkpoints.ts';
import { StateFetch } from './state-fetch.ts';
import { StateService } from './state-service.ts';
import { ToldStatements } from './told-statements.ts';

/** The event loop goes on after so long while the state is verified. */
const verifySliceMs = 10;
/** A life that ended sooner than this after it began fetches again only after a rest: whatever is wrong, it is still there. */
const lifeMsMin = 10_000;
const restMsMin = 1_000;
const restMsMax = 60_000;

export interface LivesOptions {
  readonly membership: Membership;
  readonly self: number;
  /** Where the state lies; one that was verified in the epoch before is not looked through again. */
  readonly openState: (options?: { readonly wipe?: string }) => Promise<OpenState & { readonly isVerified?: boolean }>;
  readonly log: BlockLog;
  readonly life: Pick<LifeOptions, 'machine' | 'retainedSizeBytes' | 'ports' | 'pressure' | 'onReplay'>;
  readonly retainedLeaves: number;
  /** What the home says the service key is, 192 hex characters. */
  readonly serviceKey: string | undefined;
  /** An attacker may have written what the engine holds: it counts only when the service has signed its checkpoint. */
  readonly isProofNeeded: boolean;
  readonly logger: Logger;
  readonly observe: (effects: ReplicaEffects, machine: ReplicaMachine) => void;
  readonly evidence: (evidence: TransferEvidence) => void;
  readonly count: (event: string) => void;
  /** A life begins: the state is of this epoch, or that which it begins with, and durable. */
  readonly began: () => void;
  /** The world failed, or there is a bug: nothing more will happen. */
  readonly failed: (error: unknown) => void;
}

export type Phase = 'starting' | 'fetching-state' | 'running';

export class Lives {
  readonly #options: LivesOptions;
  readonly #logger: Logger;
  readonly #stateService: StateService;
  readonly #offered: OfferedCheckpoints;
  readonly #told = new ToldStatements();
  #state: OpenState | undefined;
  #life: Life | undefined;
  #machine: ReplicaMachine | undefined;
  #fetch: StateFetch | undefined;
  #progress: TransferProgress | undefined;
  #behind: BehindWatch | undefined;
  #stable: StableCheckpoint | undefined;
  #phase: Phase = 'starting';
  #beganAtMs = 0;
  #restMs = 0;
  /** The change from one life to the next that is under way. */
  #turn: Promise<void> | undefined;
  #endRest: () => void = () => undefined;
  #isEnded = false;

  constructor(options: LivesOptions) {
    this.#options = options;
    this.#logger = options.logger;
    const { rule } = options.membership;
    const serviceKey = (): string | undefined => this.#machine?.serviceKey ?? options.serviceKey;
    this.#offered = new OfferedCheckpoints({ curve: options.life.machine.curve, rule, serviceKey });
    this.#stateService = new StateService({
      send: (to, message) => this.#send(to, message),
      failed: (error) => {
        this.#logger.error({ err: error }, 'the state could not be read for another replica');
        // What others cannot be given is damaged for us as well: it is mended before we come upon it ourselves.
        if (error instanceof StateDamage) this.#lifeFailed(error);
      },
    });
  }

  /** That of the life of now; undefined while there is none. */
  get running(): ReplicaMachine | undefined {
    return this.#life?.machine;
  }

  /** That of the last life; undefined before the first. */
  get machine(): ReplicaMachine | undefined {
    return this.#machine;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** How far the fetching is, while there is one. */
  get progress(): TransferProgress | undefined {
    return this.#progress;
  }

  get stable(): StableCheckpoint | undefined {
    return this.#stable;
  }

  get engineSizeBytes(): number {
    return this.#state?.engine.sizeBytes ?? 0;
  }

  /** Resolves when the first life has begun, or when state is being fetched for it. Rejects like opening a home. */
  async begin(): Promise<void> {
    const state = await this.#options.openState();
    this.#state = state;
    const { wiped, isVerified = false } = state;
    if (wiped !== undefined)
      this.#logger.error({ reason: wiped }, 'the state was damaged and is fetched from the others');
    const lack = await this.#lack(wiped, isVerified);
    const reason = lack ?? (await this.#liveOrLack());
    // Not waited for here: nobody is connected yet who could give anything.
    if (reason !== undefined) this.#turnTo(() => this.#fetchState(reason));
  }

  /** An input of a client; those of peers come as frames. */
  push(input: ReplicaInput): void {
    if (this.#life !== undefined) this.#life.push(input);
    else if ('link' in input && input.kind !== 'client-gone') this.#refuse(input);
  }

  takeFrame(from: number, frame: Uint8Array): void {
    if (!isStateFrame(frame)) {
      this.#told.note(from, frame);
      this.#life?.push({ kind: 'peer-frame', from, frame });
      return;
    }
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) {
      this.#reject(from, `message: ${decoded.reason}`);
      return;
    }
    const message = decoded.value;
    switch (message.kind) {
      case 'checkpoint-ask':
      case 'state-ask':
      case 'log-ask':
        this.#stateService.take(from, message);
        return;
      case 'checkpoint-offer':
        this.#takeOffer(from, message);
        return;
      default:
        this.#fetch?.push({ kind: 'peer-message', from, message });
    }
  }

  connected(peer: number): void {
    this.#life?.push({ kind: 'connected', peer });
    this.#fetch?.push({ kind: 'connected', peer });
  }

  /** Ends for good. `isSudden`: what was accepted is not made durable. */
  async end({ isSudden }: { readonly isSudden: boolean }): Promise<void> {
    await this.#endAll(isSudden);
    await this.#state?.engine.close();
  }

  /** Ends because the epoch does. The state is for the lives of the next; undefined when there is none that is whole. */
  async leave(): Promise<OpenState | undefined> {
    const isWhole = this.#phase === 'running';
    await this.#endAll(false);
    if (isWhole) return this.#state;
    await this.#state?.engine.close();
    return undefined;
  }

  async #endAll(isSudden: boolean): Promise<void> {
    this.#isEnded = true;
    this.#fetch?.stop();
    this.#endRest();
    await this.#turn;
    await this.#life?.end({ isSudden });
    this.#stateService.close();
  }

  /** Why the engine is not to begin a life from; undefined when it is: all it holds was verified then. */
  async #lack(wiped: string | undefined, isVerified = false): Promise<string | undefined> {
    const engine = this.#engine;
    const { begin, droppedRound } = this.#options.log;
    // Later epochs go on from a checkpoint: replayed from nothing, their blocks would make another state.
    const hasAllBlocks = begin === 0 && droppedRound === 0 && this.#options.membership.epoch === 0;
    try {
      const stored = readStored(engine);
      if (stored === undefined) {
        if (isTransferring(engine)) return 'it was being fetched when the replica ended';
        return hasAllBlocks ? undefined : (wiped ?? 'there is no state, and the log does not go back to the beginning');
      }
      const { epoch, service, system, ordering } = stored.checkpoint;
      const { membership } = this.#options;
      const isOfNow = epoch === membership.epoch;
      if (!isOfNow && !beginsFrom(membership, stored.digest)) return 'it is of an earlier epoch';
      if (this.#options.isProofNeeded && !this.#isSigned(stored)) return 'the service has not signed it';
      if (isVerified) return undefined;
      // An older copy of the state was put back. A replica that began with it would lack what came between, and wait for it for ever.
      if (isOfNow && droppedRound > ordering.horizon)
        return 'it is older than the log, which has dropped the blocks after it';
      const beganAtMs = monotonicMs();
      await this.#inSlices(verifyTree(engine, 'system', system));
      await this.#inSlices(verifyTree(engine, 'service', service));
      await this.#inSlices(verifyLeaves(engine, stored.checkpoint));
      const verifiedMs = Math.round(monotonicMs() - beganAtMs);
      const { commitIndex } = ordering;
      this.#logger.info({ commitIndex, entries: service.entries, verifiedMs }, 'the state is that of its checkpoint');
      return undefined;
    } catch (error) {
      if (!(error instanceof StateDamage)) throw error;
      this.#logger.error({ reason: error.message }, 'the state is damaged');
      return error.message;
    }
  }

  /** By the key that the home says: what the state says is not to be believed yet. */
  #isSigned({ head, checkpoint }: StoredCheckpoint): boolean {
    const { serviceId } = this.#options.membership;
    if (this.#options.serviceKey === undefined || head === undefined) return false;
    const isOurs = head.head.serviceId === serviceId && checkpoint.serviceId === serviceId;
    return isOurs && this.#offered.verifyHead(head);
  }

  async #inSlices(work: Iterator<unknown>): Promise<void> {
    for (let sinceMs = monotonicMs(); work.next().done !== true; ) {
      if (monotonicMs() - sinceMs < verifySliceMs) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sinceMs = monotonicMs();
    }
  }

  async #live(): Promise<void> {
    const { life, log } = this.#options;
    const began = { stored: readStored(this.#engine), snapshot: this.#engine.snapshot() };
    this.#beganAtMs = monotonicMs();
    const next = await Life.begin({
      ...life,
      engine: this.#engine,
      log,
      retainedLeaves: this.#options.retainedLeaves,
      offer: (to) => this.#stateService.offer(to),
      stable: (checkpoint) => this.#noteStable(checkpoint),
      observe: (effects) => this.#observe(effects),
      catchUpFailed: (error) => {
        // It was closed with the epoch, or with the replica, while blocks were read from it.
        if (!this.#isEnded) this.#logger.error({ err: error }, 'the log could not be read for another replica');
      },
      failed: (error) => this.#lifeFailed(error),
    }).catch((error: unknown) => {
      began.snapshot.close();
      throw error;
    });
    this.#machine = next.machine;
    this.#serveStored(began);
    this.#behind = undefined;
    const isFirst = this.#phase === 'starting';
    this.#phase = 'running';
    this.#life = next;
    this.#options.began();
    const { round, commitIndex } = next.machine.status;
    this.#logger.info({ round, commitIndex }, 'the replica runs');
    for (const told of this.#told.all) next.push(told);
    if (!isFirst) this.#askForRounds(round);
  }

  /** What others said between two lives is lost, and where all is quiet they say nothing more. */
  #askForRounds(ownRound: number): void {
    const horizon = readStored(this.#engine)?.checkpoint.ordering.horizon ?? 0;
    this.#send('all', { kind: 'catch-up', afterRound: Math.max(horizon, ownRound - 1) });
  }

  #observe(effects: ReplicaEffects): void {
    const machine = this.#machine;
    if (machine === undefined) return;
    this.#options.observe(effects, machine);
    if (machine.divergence === undefined) return;
    this.#leave('it differs from what is certified', { isSudden: false, isWrong: true });
  }

  #takeOffer(from: number, message: OfferMessage): void {
    for (const offer of this.#offered.take(from, message)) {
      if (this.#life === undefined) this.#fetch?.push({ kind: 'peer-message', ...offer });
      else this.#watch(offer);
    }
  }

  #watch({ from, message }: ReceivedOffer): void {
    const { serviceId, epoch, epochGenesis, rule } = this.#options.membership;
    const verifyHead = (head: CertifiedHead): boolean => this.#offered.verifyHead(head);
    this.#behind ??= new BehindWatch({ serviceId, epoch, epochGenesis, rule, verifyHead });
    const commitIndex = this.#machine?.commitIndex ?? 0;
    const broken = this.#behind.take(from, message, commitIndex);
    if (broken !== undefined) this.#reject(from, broken);
    else if (this.#behind.isBehind(commitIndex)) {
      this.#leave('the others have dropped the blocks that it needs', { isSudden: false, isWrong: false });
    }
  }

  #lifeFailed(error: unknown): void {
    if (error instanceof StateDamage) this.#leave(error.message, { isSudden: true, isWrong: true });
    else this.#options.failed(error);
  }

  /** Ends this life, and fetches what it lacks, or has wrong: then what made it wrong may well do so again. */
  #leave(reason: string, how: { readonly isSudden: boolean; readonly isWrong: boolean }): void {
    const life = this.#life;
    if (life === undefined || this.#isEnded) return;
    this.#life = undefined;
    this.#turnTo(async () => {
      await life.end(how);
      if (how.isWrong) await this.#rest();
      await this.#fetchState(reason);
    });
  }

  /** One thing after another; a failure of the world ends the replica. */
  #turnTo(work: () => Promise<void>): void {
    this.#phase = 'fetching-state';
    this.#turn = work().catch((error: unknown) => this.#options.failed(error));
  }

  async #rest(): Promise<void> {
    const isSoon = monotonicMs() - this.#beganAtMs < lifeMsMin;
    this.#restMs = isSoon ? Math.min(restMsMax, Math.max(restMsMin, 2 * this.#restMs)) : 0;
    if (this.#restMs === 0 || this.#isEnded) return;
    await new Promise<void>((resolve) => {
      const timer = setTimer(this.#restMs, resolve);
      this.#endRest = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  async #fetchState(reason: string): Promise<void> {
    if (this.#isEnded) return;
    this.#stable = undefined;
    this.#stateService.close();
    this.#options.count('state-fetch');
    this.#logger.warn({ reason }, 'fetching the state from the others');
    const beganAtMs = monotonicMs();
    try {
      const { membership, self, log, retainedLeaves, evidence } = this.#options;
      this.#fetch = new StateFetch({
        membership,
        self,
        engine: this.#engine,
        log,
        verifyHead: (head) => this.#offered.verifyHead(head),
        notBelow: log.begin === 0 ? 0 : (this.#machine?.checkpointIndex ?? 0),
        retainedLeaves,
        send: (to, message) => this.#send(to, message),
        evidence,
        progress: (progress) => this.#noteProgress(progress),
      });
      const fetched = await this.#fetch.run();
      if (fetched === undefined) return;
      const { bytesReceived, entries } = this.#progress ?? { bytesReceived: 0, entries: 0 };
      const tookMs = Math.round(monotonicMs() - beganAtMs);
      const { commitIndex } = fetched.checkpoint.ordering;
      this.#logger.info({ commitIndex, entries, bytesReceived, tookMs }, 'the state is fetched');
    } catch (error) {
      if (!(error instanceof StateDamage)) throw error;
      // A disk that is no good must not make this go round without a rest.
      await this.#rest();
      if (this.#isEnded) return;
      await this.#wipe(error.message);
      await this.#fetchState(error.message);
      return;
    } finally {
      this.#fetch = undefined;
      this.#progress = undefined;
    }
    if (!this.#isEnded) await this.#liveOrFetch();
  }

  async #liveOrFetch(): Promise<void> {
    const lack = await this.#liveOrLack();
    if (lack === undefined) return;
    await this.#rest();
    await this.#fetchState(lack);
  }

  /**
   * Begins the next life, or says what the state lacks for it. What is whole and is no checkpoint all the same is so on every
   * replica, and is our bug: nothing is thrown away for that.
   */
  async #liveOrLack(): Promise<string | undefined> {
    try {
      await this.#live();
      return undefined;
    } catch (error) {
      const lack = error instanceof StateDamage ? await this.#lack(undefined) : undefined;
      if (lack === undefined) throw error;
      return lack;
    }
  }

  async #wipe(reason: string): Promise<void> {
    await this.#engine.close();
    this.#state = await this.#options.openState({ wipe: reason });
  }

  #noteProgress(progress: TransferProgress): void {
    const before = this.#progress;
    this.#progress = progress;
    const tenth = (each: TransferProgress | undefined): number =>
      each === undefined || each.entriesTotal === 0 ? 0 : Math.floor((10 * each.entries) / each.entriesTotal);
    if (before?.phase === progress.phase && tenth(before) === tenth(progress)) return;
    this.#logger.info({ ...progress }, 'fetching the state');
  }

  #noteStable(checkpoint: StableCheckpoint): void {
    this.#stable = checkpoint;
    if (this.#isOfNow(checkpoint)) this.#stateService.stable({ ...checkpoint, snapshot: this.#engine.snapshot() });
  }

  /**
   * The checkpoint that this life began with, when a head of it is certified. Later ones may have taken its place in the engine already; but
   * if too few go on for those to be certified, the others have none but this.
   */
  #serveStored({
    stored,
    snapshot,
  }: {
    readonly stored: StoredCheckpoint | undefined;
    readonly snapshot: StateSnapshot;
  }): void {
    const serviceKey = this.#machine?.serviceKey ?? this.#options.serviceKey;
    const isOffered = stored?.head !== undefined && this.#isOfNow(stored) && serviceKey !== undefined;
    if (isOffered && this.#offered.verifyHead(stored.head)) {
      this.#stateService.stable({ ...stored, head: stored.head, snapshot });
    } else snapshot.close();
  }

  /** The others take whoever offers a checkpoint of another epoch for a liar, but for that with which this one begins. */
  #isOfNow({ digest, head }: Pick<StoredCheckpoint, 'digest' | 'head'>): boolean {
    const { membership } = this.#options;
    return head !== undefined && (head.head.epoch === membership.epoch || beginsFrom(membership, digest));
  }

  #refuse(input: Extract<ReplicaInput, { readonly link: number }>): void {
    this.#options.count('refused-while-fetching');
    const reason = 'this replica is fetching its state; ask another one';
    if (input.kind === 'client-asks-state') {
      const message = { kind: 'state-refused', number: input.number, code: 'not-ready', reason } as const;
      this.#options.life.ports.certified({ link: input.link, message });
    } else if (input.kind === 'client-request') {
      const decoded = decodeRequest(input.request);
      const requestDigest = decoded.ok ? decoded.value.digest : undefined;
      this.#options.life.ports.refuse({ link: input.link, requestDigest, code: 'not-ready', reason });
    }
  }

  #reject(from: number, rule: string): void {
    this.#options.evidence({ kind: 'rejection', rule, from, author: undefined, digest: undefined });
  }

  #send(to: number | 'all', message: PeerMessage): void {
    const { send, broadcast } = this.#options.life.ports;
    const frame = encodePeerMessage(message);
    if (to === 'all') broadcast(frame);
    else send(to, frame);
  }

  get #engine(): StateEngine {
    if (this.#state === undefined) throw new Error('invariant: the state is not open');
    return this.#state.engine;
  }
}
