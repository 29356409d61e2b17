/**
 * Simulated lives: one replica's lives in one epoch, as `replica/lives.ts` has them: the production machine, log and carrying out of
 * effects, with the event loop of a replica driven by virtual time.
 *
 * It can end at any moment, between any two effects. Whom it talks to it knows by their indexes in the membership.
 */

import { kv } from '../services/kv/kv.ts';
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Digest } from '../src/crypto/hash.ts';
import type { Reply } from '../src/execution/execution.ts';
import type { Membership } from '../src/membership/membership.ts';
import { blockPreimage } from '../src/ordering/validity.ts';
import { carryOut, type Ports } from '../src/replica/carry-out.ts';
import { CatchUp } from '../src/replica/catch-up.ts';
import type { StableCheckpoint } from '../src/replica/checkpoint-progress.ts';
import { CheckpointWriter } from '../src/replica/checkpoint-writer.ts';
import type { ReplicaEffects, ReplicaInput } from '../src/replica/effects.ts';
import { readStored, type StoredCheckpoint } from '../src/replica/engine-notes.ts';
import { RoundIndex } from '../src/replica/round-index.ts';
import { StateDamage } from '../src/state/engine.ts';
import { roundOfEncodedBlock } from '../src/wire/block.ts';
import type { Genesis } from '../src/wire/genesis.ts';
import { encodePeerMessage } from '../src/wire/peer-message.ts';
import { isStateFrame } from '../src/wire/state-message.ts';
import type { Adversary } from './adversaries/adversary.ts';
import type { Clock } from './clock.ts';
import type { Signatures } from './keys.ts';
import { type Life, MortalEngine, MortalLog, never } from './mortal.ts';
import type { Prng } from './prng.ts';
import type { ReplicaWatch } from './replica-ports.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedFetch } from './simulated-fetch.ts';
import type { Machine, MachineOptions } from './simulated-machine.ts';
import { firstSimulatedMembership } from './simulated-membership.ts';
import { StateTalk } from './state-talk.ts';
import type { Cancellable, World } from './world.ts';

/** Longest time a step waits for the processor. */
const schedulingMsMax = 0.3;

export interface SimulatedLivesOptions {
  /** For the trace, and for who watches. */
  readonly place: number;
  readonly genesis: Genesis;
  readonly self: number;
  readonly membership: Membership;
  readonly world: World;
  readonly prng: Prng;
  readonly signatures: Signatures;
  readonly curve: PairingCurve;
  /** False: it takes no part in key generation. */
  readonly hasSecrets: boolean;
  readonly disk: SimulatedDisk;
  readonly clock: Clock;
  readonly retainedSizeBytes: number;
  readonly adversary: () => Adversary | undefined;
  readonly makeMachine: (options: MachineOptions) => Machine;
  readonly ports: Omit<ReplicaWatch, 'reply' | 'entered'> & {
    readonly send: (to: number, frame: Uint8Array) => void;
    readonly reply: (reply: Reply) => void;
  };
  /** A moment at which the replica may die; true when it did, and these lives are ended. */
  readonly dies: () => boolean;
  /** It takes input; called whenever a life begins, or state is fetched for one. */
  readonly started: () => void;
  /** Told of each step's effects when they are carried out. */
  readonly carriedOut: (effects: ReplicaEffects) => void;
}

export class SimulatedLives {
  readonly #options: SimulatedLivesOptions;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #ports: SimulatedLivesOptions['ports'];
  readonly #membership: Membership;
  readonly #place: number;
  readonly disk: SimulatedDisk;
  readonly clock: Clock;

  #machine: Machine | undefined;
  #roundIndex = new RoundIndex();
  #catchUp: CatchUp | undefined;
  #writer: CheckpointWriter | undefined;
  #inbox: ReplicaInput[] = [];
  #wake: Cancellable | undefined;
  #turnPlanned = false;
  #carryingOut = false;
  /** Grows with each end and begin: what an earlier life left behind does nothing any more. */
  #life = 0;
  #fetch: SimulatedFetch | undefined;
  #talk: StateTalk | undefined;
  #beganWith: Digest | undefined;
  #stableHorizons: number[] = [];

  constructor(options: SimulatedLivesOptions) {
    this.#options = options;
    this.#world = options.world;
    this.#prng = options.prng;
    this.#ports = options.ports;
    this.#membership = options.membership;
    this.#place = options.place;
    this.disk = options.disk;
    this.clock = options.clock;
  }

  get machine(): Machine | undefined {
    return this.#machine;
  }

  /** Is there anybody to hear others? */
  get hears(): boolean {
    return this.#machine !== undefined || this.#fetch !== undefined;
  }

  /** Of the checkpoints that this life has taken and seen become stable, oldest first. */
  get stableHorizons(): readonly number[] {
    return this.#stableHorizons;
  }

  /** Begins from what the disk holds, or fetches what that lacks. */
  begin(): void {
    this.#life += 1;
    const lack = this.disk.lack((stored) => this.#isSigned(stored));
    if (lack === undefined) this.#live(this.#life);
    else {
      this.#ports.refusedState(this.#place);
      this.#fetchState(lack);
    }
  }

  /** Nothing of it happens any more. */
  end(): void {
    this.#endLife();
    this.#talk = undefined;
  }

  /** The life of now, for whoever does something that only it may. */
  get span(): Life {
    return this.#span(this.#life);
  }

  /** A frame from the replica with this index. */
  deliver(from: number, frame: Uint8Array): void {
    if (isStateFrame(frame)) this.#talkOfState().take(from, frame);
    else this.push({ kind: 'peer-frame', from, frame });
  }

  connected(peer: number): void {
    this.push({ kind: 'connected', peer });
    this.#fetch?.push({ kind: 'connected', peer });
  }

  #live(life: number): void {
    this.#restore(life).then(
      (machine) => {
        if (machine === undefined) return;
        this.#machine = machine;
        this.#world.note(`r${this.#place} starts at commit ${machine.status.commitIndex}`);
        this.#ports.restored(this.#place, machine);
        this.#options.started();
        this.#planTurn();
      },
      (error: unknown) => this.#failed(life, error),
    );
  }

  /** A damaged state is fetched; any other failure is the end of the run. */
  #failed(life: number, error: unknown): void {
    if (life !== this.#life) return;
    if (error instanceof StateDamage) this.#fetchState(error.message);
    else this.#world.fail(error);
  }

  /** By the key that the home says, as in `replica/lives.ts`. */
  #isSigned({ head, checkpoint }: StoredCheckpoint): boolean {
    const { serviceId } = this.#membership;
    if (this.disk.home.serviceKey === undefined || head === undefined) return false;
    const isOurs = head.head.serviceId === serviceId && checkpoint.serviceId === serviceId;
    return isOurs && this.#talkOfState().verifyHead(head);
  }

  /** Ends the life, if there is one, and fetches from the others what the state lacks. */
  #fetchState(reason: string): void {
    const notBelow = this.disk.log.begin === 0 ? 0 : (this.#machine?.checkpointIndex ?? 0);
    this.#endLife();
    this.#world.note(`r${this.#place} fetches its state: ${reason}`);
    this.#fetchWhenIdle(this.#life, notBelow);
  }

  /** What its last life began to write is to be there first. */
  #fetchWhenIdle(life: number, notBelow: number): void {
    if (life !== this.#life) return;
    if (!this.disk.isIdle) {
      this.#world.after(1, '', () => this.#fetchWhenIdle(life, notBelow));
      return;
    }
    const span = this.#span(life);
    this.#fetch = new SimulatedFetch({
      world: this.#world,
      membership: this.#membership,
      self: this.#options.self,
      engine: new MortalEngine(this.disk.engine, span),
      log: new MortalLog(this.disk.log, span),
      verifyHead: (head) => this.#talkOfState().verifyHead(head),
      notBelow,
      send: (to, message) => {
        if (span.survives()) this.#send(to, encodePeerMessage(message));
      },
      evidence: (evidence) => this.#ports.rejected(this.#place, evidence),
      isOver: span.isOver,
      done: ({ checkpoint }) => {
        this.#world.note(`r${this.#place} has the state of commit ${checkpoint.ordering.commitIndex}`);
        this.disk.fetched();
        this.#ports.fetched(this.#place);
        this.#fetch = undefined;
        this.#live(life);
      },
      damaged: () => {
        this.disk.loseState();
        this.#fetchState('it was damaged');
      },
    });
    // Its links are up while it fetches.
    this.#options.started();
    this.#ports.fetching(this.#place);
  }

  #endLife(): void {
    this.#life += 1;
    this.#fetch = undefined;
    this.#machine = undefined;
    this.#talk?.endLife();
    this.#stableHorizons = [];
    this.#inbox = [];
    this.#wake?.cancel();
    this.#turnPlanned = false;
    this.#carryingOut = false;
  }

  /** What it knows of the others' checkpoints, until it ends for good. */
  #talkOfState(): StateTalk {
    this.#talk ??= new StateTalk({
      membership: this.#membership,
      curve: this.#options.curve,
      machine: () => this.#machine,
      serviceKey: () => this.#machine?.serviceKey ?? this.disk.home.serviceKey,
      fetch: () => this.#fetch,
      say: (to, message) => this.#send(to, encodePeerMessage(message)),
      rejected: (evidence) => this.#ports.rejected(this.#place, evidence),
      behind: () => this.#fetchState('the others have dropped the blocks that it needs'),
    });
    return this.#talk;
  }

  #noteStable(stable: StableCheckpoint): void {
    if (stable.digest !== this.#beganWith) this.#stableHorizons.push(stable.checkpoint.ordering.horizon);
    this.#talkOfState().serve(stable, this.disk.engine.snapshot());
  }

  push(input: ReplicaInput): void {
    if (this.#machine === undefined) return;
    this.#inbox.push(input);
    this.#planTurn();
  }

  async #restore(life: number): Promise<Machine | undefined> {
    const { isNamed, present } = this.disk.home;
    const { secrets, sealedShare, isLogLost } = present;
    const { self, signatures, adversary, genesis } = this.#options;
    const span = this.#span(life);
    const engine = new MortalEngine(this.disk.engine, span);
    const log = new MortalLog(this.disk.log, span);
    const stored = this.#ofThisLog(readStored(engine));
    const before = engine.snapshot();
    this.#beganWith = stored?.digest;
    const options: MachineOptions = {
      engine,
      from: stored,
      membership: this.#membership,
      self,
      sign: (digest) => signatures.sign(secrets.signing, blockPreimage(digest)),
      check: signatures.check,
      observer: isLogLost || !isNamed,
      curve: this.#options.curve,
      keySecrets: this.#options.hasSecrets && isNamed ? secrets : undefined,
      sealedShare,
      service: kv,
      names: { name: genesis.name, service: genesis.service },
      genesis,
      ...(this.#membership.sharingEpoch === this.#membership.epoch
        ? {}
        : { keyMembership: firstSimulatedMembership(genesis) }),
      nextSecrets: this.disk.home.made.map((made) => made.secrets),
    };
    const machine = this.#options.makeMachine(adversary()?.tamper?.(options) ?? options);
    const roundIndex = new RoundIndex();
    // In pieces of any size, as a long log is read: decisions fall between them.
    const pieceSizeBytes = this.#prng.pick([500, 5_000, 1_000_000]);
    const { isOver } = span;
    let isReplaying = true;
    const writer = new CheckpointWriter({
      engine,
      log,
      roundIndex,
      retainedSizeBytes: this.#options.retainedSizeBytes,
      // Where it says that the log goes on, an observer's log may be in the middle: that was begun anew.
      restored: stored === undefined || !isLogLost ? stored : { ...stored, logPosition: log.begin },
      stored: (digest) => {
        if (isOver()) return;
        if (isReplaying) machine.checkpointStored(digest);
        else this.push({ kind: 'checkpoint-stored', digest });
      },
      failed: (error) => this.#failed(life, error),
    });
    // As in `replica/life.ts`.
    const horizon = stored?.checkpoint.epoch === this.#membership.epoch ? stored.checkpoint.ordering.horizon : 0;
    if (isLogLost && log.droppedRound === 0) await log.dropBefore(log.begin, horizon);
    if (isOver()) return undefined;
    const begin = stored === undefined || isLogLost ? log.begin : stored.logPosition;
    if (begin === 0) roundIndex.lacks(log.droppedRound);
    else roundIndex.dropBefore(begin, Math.max(horizon, log.droppedRound));
    for (let position = begin; ; ) {
      const records = await log.read(position, pieceSizeBytes);
      if (isOver()) return undefined;
      const last = records.at(-1);
      if (last === undefined) break;
      for (const record of records) roundIndex.note(roundOfEncodedBlock(record.bytes), record.position);
      for (const taken of machine.restore(records.map(({ bytes }) => bytes))) await writer.write(taken);
      if (isOver()) return undefined;
      position = last.position + 1;
    }
    await writer.idle();
    if (isOver()) return undefined;
    isReplaying = false;
    this.disk.home.serviceKey ??= machine.serviceKey;
    if (stored !== undefined) this.#talkOfState().serveStored(stored, before);
    this.#writer = writer;
    this.#roundIndex = roundIndex;
    this.#catchUp = new CatchUp({
      nowMs: () => this.clock.monotonic(this.#world.nowMs),
      log,
      roundIndex,
      send: (to, frame) => {
        if (life === this.#life) this.#send(to, frame);
      },
      offer: (to) => {
        if (life === this.#life) this.#talkOfState().offer(to);
      },
      failed: (error) => this.#failed(life, error),
    });
    return machine;
  }

  #planTurn(): void {
    if (this.#turnPlanned || this.#carryingOut || this.#machine === undefined) return;
    this.#turnPlanned = true;
    const life = this.#life;
    this.#world.after(this.#prng.timeMs(1 / 64, schedulingMsMax), '', () => {
      if (life !== this.#life) return;
      this.#turnPlanned = false;
      this.#turn(life);
    });
  }

  #turn(life: number): void {
    const machine = this.#machine;
    if (machine === undefined) return;
    this.#wake?.cancel();
    const inputs = this.#inbox;
    this.#inbox = [];
    const { nowMs } = this.#world;
    let effects: ReplicaEffects;
    try {
      effects = machine.step(inputs, this.clock.monotonic(nowMs), this.clock.read(nowMs));
    } catch (error) {
      if (!(error instanceof StateDamage)) throw error;
      this.#failed(life, error);
      return;
    }
    this.disk.home.serviceKey ??= machine.serviceKey;
    this.#carryingOut = true;
    this.#ports.decided(this.#place, effects.commits);
    if (effects.persist.length === 0) this.#ports.stepped(this.#place, effects, machine);
    carryOut(
      effects,
      this.#effectPorts(life, () => this.#ports.stepped(this.#place, effects, machine)),
    ).then(
      () => {
        if (life !== this.#life) return;
        this.#carryingOut = false;
        this.#options.carriedOut(effects);
        if (life !== this.#life) return;
        if (machine.divergence !== undefined && this.#options.adversary() === undefined) {
          this.#fetchState('it differs from what is certified');
          return;
        }
        if (this.#inbox.length > 0 || effects.isUnfinished) this.#planTurn();
        else this.#setWake(effects.wakeAtMs);
      },
      (error: unknown) => this.#failed(life, error),
    );
  }

  #setWake(wakeAtMs: number | undefined): void {
    if (wakeAtMs === undefined) return;
    const delayMs = Math.max(1, wakeAtMs - this.clock.monotonic(this.#world.nowMs));
    this.#wake = this.#world.after(delayMs, '', () => this.#planTurn());
  }

  /** A life: every effect, and every write before and after it is durable, is a moment to die. */
  #span(life: number): Life {
    const isOver = (): boolean => life !== this.#life;
    return {
      isOver,
      survives: () => !isOver() && !this.#options.dies(),
    };
  }

  /** Ports of one step. After its death nothing of the step happens any more. */
  #effectPorts(life: number, durable: () => void): Ports {
    const span = this.#span(life);
    const home = this.disk.home.present;
    const send = (to: number, frame: Uint8Array): void => {
      if (span.survives()) this.#send(to, frame);
    };
    return {
      log: new MortalLog(this.disk.log, span, durable),
      roundIndex: this.#roundIndex,
      send,
      broadcast: (frame) => {
        for (let to = 0; to < this.#membership.members.length; to++) if (to !== this.#options.self) send(to, frame);
      },
      refuse: (refusal) => {
        if (span.survives()) this.#ports.refused(this.#place, refusal);
      },
      reply: (reply) => {
        const adversary = this.#options.adversary();
        const said = adversary?.reply === undefined ? reply : adversary.reply(reply);
        if (said !== undefined && span.survives()) this.#ports.reply(said);
      },
      certified: (answer) => {
        if (span.survives()) this.#ports.certified(this.#place, answer);
      },
      seal: (keyShare) => {
        if (span.survives()) home.sealedShare = keyShare;
      },
      serve: (to, afterRound) => {
        if (span.survives()) this.#catchUp?.serve(to, afterRound);
      },
      checkpoint: async (taken) => {
        if (!span.survives()) return never;
        await this.#writer?.write(taken);
        return span.survives() ? undefined : never;
      },
      stable: (stable) => {
        if (!span.survives()) return;
        this.#writer?.stable(stable);
        this.#noteStable(stable);
      },
    };
  }

  #send(to: number, frame: Uint8Array): void {
    this.#ports.send(to, frame);
  }

  /** The checkpoint that an epoch begins with was written beside another log. */
  #ofThisLog(stored: StoredCheckpoint | undefined): StoredCheckpoint | undefined {
    if (stored === undefined || stored.checkpoint.epoch === this.#membership.epoch) return stored;
    return { ...stored, logPosition: 0, ownBlock: undefined };
  }
}
