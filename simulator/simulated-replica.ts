/**
 * Simulated replica: the production machine, log and carrying out of effects, with the event loop of a replica driven by
 * virtual time. It can die at any moment, between any two effects, and come back with what its disk kept.
 */

import { kv } from '../services/kv/kv.ts';
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Digest } from '../src/crypto/hash.ts';
import type { Membership } from '../src/membership/membership.ts';
import { blockPreimage } from '../src/ordering/validity.ts';
import { carryOut, type Ports } from '../src/replica/carry-out.ts';
import { CatchUp } from '../src/replica/catch-up.ts';
import type { StableCheckpoint } from '../src/replica/checkpoint-progress.ts';
import { CheckpointWriter } from '../src/replica/checkpoint-writer.ts';
import type { ReplicaEffects, ReplicaInput } from '../src/replica/effects.ts';
import { readStored } from '../src/replica/engine-notes.ts';
import type { MachineStatus } from '../src/replica/machine-options.ts';
import { RoundIndex } from '../src/replica/round-index.ts';
import { StateDamage } from '../src/state/engine.ts';
import { roundOfEncodedBlock } from '../src/wire/block.ts';
import { decodePeerMessage, encodePeerMessage } from '../src/wire/peer-message.ts';
import { isStateFrame } from '../src/wire/state-message.ts';
import { type Adversary, messageOf, type Outgoing } from './adversaries/adversary.ts';
import type { Clock } from './clock.ts';
import { keyOf, type Signatures } from './keys.ts';
import { type Life, MortalEngine, MortalLog, never } from './mortal.ts';
import type { Prng } from './prng.ts';
import type { ReplicaPorts } from './replica-ports.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedFetch } from './simulated-fetch.ts';
import type { Machine, MachineOptions } from './simulated-machine.ts';
import { simulatedSecrets } from './simulated-membership.ts';
import { StateTalk } from './state-talk.ts';
import type { Cancellable, World } from './world.ts';

/** Longest time a step waits for the processor. */
const schedulingMsMax = 0.3;
const adversaryTickMs = 15;

export interface SimulatedReplicaOptions {
  readonly index: number;
  readonly world: World;
  readonly prng: Prng;
  readonly membership: Membership;
  readonly signatures: Signatures;
  readonly curve: PairingCurve;
  /** False: it takes no part in key generation. */
  readonly hasSecrets: boolean;
  readonly disk: SimulatedDisk;
  readonly clock: Clock;
  readonly ports: ReplicaPorts;
  readonly adversary: Adversary | undefined;
  /** Bytes of the log kept, though a checkpoint stands for them. */
  readonly retainedSizeBytes: number;
  readonly makeMachine: (options: MachineOptions) => Machine;
}

export class SimulatedReplica {
  readonly index: number;
  readonly disk: SimulatedDisk;
  readonly clock: Clock;
  readonly adversary: Adversary | undefined;
  readonly #options: SimulatedReplicaOptions;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #ports: ReplicaPorts;
  readonly #membership: Membership;

  #machine: Machine | undefined;
  #roundIndex = new RoundIndex();
  #catchUp: CatchUp | undefined;
  #writer: CheckpointWriter | undefined;
  #inbox: ReplicaInput[] = [];
  #wake: Cancellable | undefined;
  #turnPlanned = false;
  #carryingOut = false;
  /** Grows with each crash and start: what an earlier life left behind does nothing any more. */
  #life = 0;
  #isRunning = false;
  #isLogLost = false;
  #fetch: SimulatedFetch | undefined;
  #talk: StateTalk | undefined;
  #beganWith: Digest | undefined;
  #stableHorizons: number[] = [];
  #started: () => void = () => undefined;
  /** Effects to carry out until it dies in the middle of them. */
  #effectsLeft = Number.POSITIVE_INFINITY;
  #died: (() => void) | undefined;

  constructor(options: SimulatedReplicaOptions) {
    this.#options = options;
    this.index = options.index;
    this.disk = options.disk;
    this.clock = options.clock;
    this.adversary = options.adversary;
    this.#world = options.world;
    this.#prng = options.prng;
    this.#ports = options.ports;
    this.#membership = options.membership;
  }

  get isUp(): boolean {
    return this.#machine !== undefined;
  }

  get status(): MachineStatus | undefined {
    return this.#machine?.status;
  }

  get machine(): Machine | undefined {
    return this.#machine;
  }

  /** Of the checkpoints that this life has taken and seen become stable, oldest first. */
  get stableHorizons(): readonly number[] {
    return this.#stableHorizons;
  }

  /** Starts from what the disk holds, or fetches what that lacks; does nothing when it runs. `started` is called when it takes input. */
  start(started: () => void): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#started = started;
    this.#life += 1;
    const lack = this.disk.lack();
    if (lack === undefined) this.#live(this.#life);
    else this.#fetchState(lack);
  }

  #live(life: number): void {
    this.#restore(life).then(
      (machine) => {
        if (machine === undefined) return;
        this.#machine = machine;
        this.#world.note(`r${this.index} starts at commit ${machine.status.commitIndex}`);
        this.#ports.restored(this.index, machine.status);
        this.#started();
        this.#planTurn();
        if (this.adversary?.tick !== undefined) this.#planTick(life);
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

  /** Ends the life, if there is one, and fetches from the others what the state lacks. */
  #fetchState(reason: string): void {
    const notBelow = this.disk.log.begin === 0 ? 0 : (this.#machine?.checkpointIndex ?? 0);
    this.#endLife();
    this.#world.note(`r${this.index} fetches its state: ${reason}`);
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
      self: this.index,
      engine: new MortalEngine(this.disk.engine, span),
      log: new MortalLog(this.disk.log, span),
      verifyHead: (head) => this.#talkOfState().verifyHead(head),
      notBelow,
      send: (to, message) => {
        if (span.survives()) this.#send(to, encodePeerMessage(message));
      },
      evidence: (evidence) => this.#ports.rejected(this.index, evidence),
      isOver: span.isOver,
      done: ({ checkpoint }) => {
        this.#world.note(`r${this.index} has the state of commit ${checkpoint.ordering.commitIndex}`);
        this.#ports.fetched(this.index);
        this.#fetch = undefined;
        this.#live(life);
      },
      damaged: () => {
        this.disk.loseState();
        this.#fetchState('it was damaged');
      },
    });
    // Its links are up while it fetches.
    this.#started();
    this.#ports.fetching(this.index);
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

  /** What it knows of the others' checkpoints, until it dies. */
  #talkOfState(): StateTalk {
    this.#talk ??= new StateTalk({
      membership: this.#membership,
      curve: this.#options.curve,
      machine: () => this.#machine,
      serviceKey: () => this.#machine?.serviceKey ?? this.disk.serviceKey,
      fetch: () => this.#fetch,
      say: (to, message) => this.#send(to, encodePeerMessage(message)),
      rejected: (evidence) => this.#ports.rejected(this.index, evidence),
      behind: () => this.#fetchState('the others have dropped the blocks that it needs'),
    });
    return this.#talk;
  }

  /** Dies, and its state with it. */
  loseState(): void {
    this.crash();
    this.disk.loseState();
    this.#world.note(`r${this.index} lost its state`);
  }

  /** Dies at once. What was not durable is lost, or not, as the disk likes. */
  crash(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#world.note(`r${this.index} dies`);
    this.#endLife();
    this.#talk = undefined;
    this.#effectsLeft = Number.POSITIVE_INFINITY;
    this.disk.crash();
  }

  /** Bits flip in its state; it learns of it when it reads them. */
  rotState(): void {
    this.disk.rotState();
    this.#world.note(`the state of r${this.index} rots`);
  }

  /** Dies, and its disk with it. */
  loseLog(): void {
    this.crash();
    this.disk.lose();
    this.#isLogLost = true;
    this.#world.note(`r${this.index} lost its log`);
  }

  /** Dies in the middle of carrying out effects, before the `count`-th one from now. */
  crashAfterEffects(count: number, died: () => void): void {
    this.#effectsLeft = count;
    this.#died = died;
  }

  deliver(from: number, frame: Uint8Array): void {
    if (!this.isUp && this.#fetch === undefined) return;
    if (this.adversary?.incoming !== undefined) {
      const decoded = decodePeerMessage(frame);
      if (decoded.ok) {
        const { pass, send } = this.adversary.incoming(decoded.value, from);
        this.#emit(send);
        if (!pass) return;
      }
    }
    if (isStateFrame(frame)) this.#talkOfState().take(from, frame);
    else this.#take({ kind: 'peer-frame', from, frame });
  }

  connected(peer: number): void {
    this.#take({ kind: 'connected', peer });
    this.#fetch?.push({ kind: 'connected', peer });
  }

  #noteStable(stable: StableCheckpoint): void {
    if (stable.digest !== this.#beganWith) this.#stableHorizons.push(stable.checkpoint.ordering.horizon);
    this.#talkOfState().serve(stable, this.disk.engine.snapshot());
  }

  /** A client's request; `certified` when it wants a proof. */
  request(link: number, request: Uint8Array, certified: boolean): void {
    this.#take({ kind: 'client-request', link, request, certifyFrom: certified ? 0 : undefined });
  }

  #take(input: ReplicaInput): void {
    if (!this.isUp) return;
    this.#inbox.push(input);
    this.#planTurn();
  }

  async #restore(life: number): Promise<Machine | undefined> {
    const key = keyOf(`replica ${this.index}`);
    const span = this.#span(life);
    const engine = new MortalEngine(this.disk.engine, span);
    const log = new MortalLog(this.disk.log, span);
    const stored = readStored(engine);
    const before = engine.snapshot();
    this.#beganWith = stored?.digest;
    const options: MachineOptions = {
      engine,
      from: stored,
      membership: this.#membership,
      self: this.index,
      sign: (digest) => this.#options.signatures.sign(key, blockPreimage(digest)),
      check: this.#options.signatures.check,
      observer: this.#isLogLost,
      curve: this.#options.curve,
      keySecrets: this.#options.hasSecrets ? simulatedSecrets(this.index) : undefined,
      sealedShare: this.disk.sealedShare,
      service: kv,
      names: { name: 'simulation', service: kv.name },
    };
    const machine = this.#options.makeMachine(this.adversary?.tamper?.(options) ?? options);
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
      restored: stored,
      stored: (digest) => {
        if (isOver()) return;
        if (isReplaying) machine.checkpointStored(digest);
        else this.#take({ kind: 'checkpoint-stored', digest });
      },
      failed: (error) => this.#failed(life, error),
    });
    const begin = Math.min(stored?.logPosition ?? 0, log.end);
    if (stored !== undefined) roundIndex.dropBefore(begin, stored.checkpoint.ordering.horizon);
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
    this.disk.serviceKey ??= machine.serviceKey;
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
    if (this.#turnPlanned || this.#carryingOut || !this.isUp) return;
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
    this.disk.serviceKey ??= machine.serviceKey;
    this.#carryingOut = true;
    if (effects.persist.length === 0) this.#ports.stepped(this.index, effects, machine);
    carryOut(
      effects,
      this.#effectPorts(life, () => this.#ports.stepped(this.index, effects, machine)),
    ).then(
      () => {
        if (life !== this.#life) return;
        this.#carryingOut = false;
        if (machine.divergence !== undefined && this.adversary === undefined) {
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
      survives: () => {
        if (isOver()) return false;
        this.#effectsLeft -= 1;
        if (this.#effectsLeft > 0) return true;
        const died = this.#died;
        this.crash();
        died?.();
        return false;
      },
    };
  }

  /** Ports of one step. After its death nothing of the step happens any more. */
  #effectPorts(life: number, durable: () => void): Ports {
    const span = this.#span(life);
    const send = (to: number, frame: Uint8Array): void => {
      if (span.survives()) this.#send(to, frame);
    };
    return {
      log: new MortalLog(this.disk.log, span, durable),
      roundIndex: this.#roundIndex,
      send,
      broadcast: (frame) => {
        for (let to = 0; to < this.#membership.members.length; to++) if (to !== this.index) send(to, frame);
      },
      refuse: (refusal) => {
        if (span.survives()) this.#ports.refused(this.index, refusal);
      },
      reply: (reply) => {
        const said = this.adversary?.reply === undefined ? reply : this.adversary.reply(reply);
        if (said !== undefined && span.survives()) this.#ports.reply(this.index, said);
      },
      certified: (answer) => {
        if (span.survives()) this.#ports.certified(this.index, answer);
      },
      seal: (keyShare) => {
        if (span.survives()) this.disk.sealedShare = keyShare;
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
    if (this.adversary === undefined) this.#ports.send(this.index, to, frame);
    else this.#emit(this.adversary.outgoing(messageOf(frame), to));
  }

  #emit(outgoing: readonly Outgoing[]): void {
    for (const { to, frame } of outgoing) if (to !== this.index) this.#ports.send(this.index, to, frame);
  }

  #planTick(life: number): void {
    this.#world.after(this.#prng.timeMs(1, 2 * adversaryTickMs), '', () => {
      if (life !== this.#life) return;
      this.#emit(this.adversary?.tick?.() ?? []);
      this.#planTick(life);
    });
  }
}
