/**
 * Simulated replica: the production machine, log and carrying out of effects, with the event loop of a replica driven by
 * virtual time. It can die at any moment, between any two effects, and come back with what its disk kept.
 */

import { kv } from '../services/kv/kv.ts';
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Digest } from '../src/crypto/hash.ts';
import type { Reply } from '../src/execution/execution.ts';
import type { AnyService } from '../src/execution/service-definition.ts';
import type { KeySecrets } from '../src/keys/key-generation.ts';
import type { Transcript } from '../src/keys/transcript.ts';
import type { Membership } from '../src/membership/membership.ts';
import { blockPreimage, type SignatureCheck } from '../src/ordering/validity.ts';
import { BehindWatch } from '../src/recovery/behind-watch.ts';
import type { TransferEvidence } from '../src/recovery/effects.ts';
import { type PartAsk, StateServer } from '../src/recovery/state-server.ts';
import { carryOut, type Ports } from '../src/replica/carry-out.ts';
import { CatchUp } from '../src/replica/catch-up.ts';
import type { CertifiedAnswer } from '../src/replica/certified-replies.ts';
import type { StableCheckpoint } from '../src/replica/checkpoint-progress.ts';
import { CheckpointWriter } from '../src/replica/checkpoint-writer.ts';
import type { ReplicaEffects, ReplicaInput } from '../src/replica/effects.ts';
import { isTransferring, readStored, type StoredCheckpoint } from '../src/replica/engine-notes.ts';
import { ReplicaMachine } from '../src/replica/machine.ts';
import type { MachineStatus } from '../src/replica/machine-options.ts';
import { OfferedCheckpoints, type ReceivedOffer } from '../src/replica/offered-checkpoints.ts';
import { RoundIndex } from '../src/replica/round-index.ts';
import type { StateEngine } from '../src/state/engine.ts';
import { roundOfEncodedBlock } from '../src/wire/block.ts';
import type { CertifiedHead } from '../src/wire/client-message.ts';
import { encodeHead } from '../src/wire/head.ts';
import { decodePeerMessage, encodePeerMessage, type PeerMessage } from '../src/wire/peer-message.ts';
import { isStateFrame } from '../src/wire/state-message.ts';
import type { Adversary, Outgoing } from './adversaries/adversary.ts';
import type { Clock } from './clock.ts';
import { keyOf, type Signatures } from './keys.ts';
import type { Prng } from './prng.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedFetch } from './simulated-fetch.ts';
import { simulatedSecrets } from './simulated-membership.ts';
import type { Cancellable, World } from './world.ts';

/** What of the machine the loop needs: tests put a broken one in its place to see whether a checker notices. */
export interface Machine {
  readonly status: MachineStatus;
  readonly certifiedHead: CertifiedHead | undefined;
  /** 192 hex characters; undefined while it is being generated. */
  readonly serviceKey: string | undefined;
  readonly transcript: Transcript | undefined;
  readonly commitIndex: number;
  readonly checkpointIndex: number;
  readonly divergence: ReplicaMachine['divergence'];
  restore(blocks: readonly Uint8Array[]): ReturnType<ReplicaMachine['restore']>;
  checkpointStored(digest: Digest): void;
  step(inputs: readonly ReplicaInput[], nowMs: number, clockMs: number): ReplicaEffects;
}

export interface MachineOptions {
  readonly membership: Membership;
  readonly self: number;
  readonly sign: (digest: Digest) => Uint8Array;
  readonly check: SignatureCheck;
  /** Its disk was lost, and it knows. */
  readonly observer: boolean;
  readonly curve: PairingCurve;
  readonly keySecrets: KeySecrets | undefined;
  /** What its disk has sealed. */
  readonly sealedShare: bigint | undefined;
  readonly service: AnyService;
  readonly names: { readonly name: string; readonly service: string };
  readonly engine: StateEngine;
  /** What its engine holds. */
  readonly from: StoredCheckpoint | undefined;
}

export function productionMachine(options: MachineOptions): Machine {
  return new ReplicaMachine(options);
}

/** What the rest of the simulation is told, and how the replica reaches it. */
export interface ReplicaPorts {
  readonly send: (from: number, to: number, frame: Uint8Array) => void;
  readonly reply: (replica: number, reply: Reply) => void;
  readonly refused: (replica: number, refusal: ReplicaEffects['refusals'][number]) => void;
  readonly certified: (replica: number, answer: CertifiedAnswer) => void;
  /** A step's effects, now that what they rest on is durable; `status` is that of the machine after the step. */
  readonly stepped: (replica: number, effects: ReplicaEffects, machine: Machine) => void;
  /** It refuses what another one gave it of a state. */
  readonly rejected: (replica: number, evidence: TransferEvidence) => void;
  /** It has fetched a state from the others. */
  readonly fetched: (replica: number) => void;
  /** The machine is back from its log. */
  readonly restored: (replica: number, status: MachineStatus) => void;
}

/** Longest time a step waits for the processor. */
const schedulingMsMax = 0.3;
const adversaryTickMs = 15;

export class SimulatedReplica {
  readonly index: number;
  readonly disk: SimulatedDisk;
  readonly clock: Clock;
  readonly adversary: Adversary | undefined;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #ports: ReplicaPorts;
  readonly #membership: Membership;
  readonly #signatures: Signatures;
  readonly #curve: PairingCurve;
  readonly #hasSecrets: boolean;
  readonly #retainedSizeBytes: number;
  readonly #makeMachine: (options: MachineOptions) => Machine;

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
  #isLogLost = false;
  #fetch: SimulatedFetch | undefined;
  #offered: OfferedCheckpoints | undefined;
  #behind: BehindWatch | undefined;
  #served: { readonly stable: StableCheckpoint; readonly server: StateServer } | undefined;
  #started: () => void = () => undefined;
  /** Effects to carry out until it dies in the middle of them. */
  #effectsLeft = Number.POSITIVE_INFINITY;
  #died: (() => void) | undefined;

  constructor(options: {
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
  }) {
    this.index = options.index;
    this.disk = options.disk;
    this.clock = options.clock;
    this.adversary = options.adversary;
    this.#world = options.world;
    this.#prng = options.prng;
    this.#ports = options.ports;
    this.#membership = options.membership;
    this.#signatures = options.signatures;
    this.#curve = options.curve;
    this.#hasSecrets = options.hasSecrets;
    this.#retainedSizeBytes = options.retainedSizeBytes;
    this.#makeMachine = options.makeMachine;
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

  /** Starts from what the disk holds, or fetches what that lacks; does nothing when it is up. `started` is called when it takes input. */
  start(started: () => void): void {
    if (this.isUp || this.#fetch !== undefined) return;
    this.#started = started;
    this.#life += 1;
    const { engine, log } = this.disk;
    const lacksState = isTransferring(engine) || (readStored(engine) === undefined && log.begin > 0);
    if (lacksState) this.#fetchState('it was not whole', 0);
    else this.#live(this.#life);
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
      (error: unknown) => this.#world.fail(error),
    );
  }

  /** Ends the life, if there is one, and fetches from the others what the state lacks. */
  #fetchState(reason: string, notBelow: number): void {
    this.#endLife();
    const life = this.#life;
    this.#world.note(`r${this.index} fetches its state: ${reason}`);
    this.#fetch = new SimulatedFetch({
      world: this.#world,
      membership: this.#membership,
      self: this.index,
      engine: this.disk.engine,
      log: this.disk.log,
      verifyHead: (head) => this.#offers.verifyHead(head),
      notBelow,
      send: (to, message) => this.#send(to, encodePeerMessage(message)),
      evidence: (evidence) => this.#ports.rejected(this.index, evidence),
      isOver: () => life !== this.#life,
      done: ({ checkpoint }) => {
        this.#world.note(`r${this.index} has the state of commit ${checkpoint.ordering.commitIndex}`);
        this.#ports.fetched(this.index);
        this.#fetch = undefined;
        this.#live(life);
      },
      damaged: () => {
        this.disk.loseState();
        this.#fetch = undefined;
        this.#fetchState('it was damaged', 0);
      },
    });
    // Its links are up while it fetches.
    this.#started();
  }

  #endLife(): void {
    this.#life += 1;
    this.#machine = undefined;
    this.#behind = undefined;
    this.#served = undefined;
    this.#inbox = [];
    this.#wake?.cancel();
    this.#turnPlanned = false;
    this.#carryingOut = false;
  }

  get #offers(): OfferedCheckpoints {
    const serviceKey = (): string | undefined => this.#machine?.serviceKey;
    this.#offered ??= new OfferedCheckpoints({ curve: this.#curve, rule: this.#membership.rule, serviceKey });
    return this.#offered;
  }

  /** Its own state goes bad in memory and on disk, as the tests please. */
  loseState(): void {
    this.crash();
    this.disk.loseState();
    this.#world.note(`r${this.index} lost its state`);
  }

  /** Dies at once. What was not durable is lost, or not, as the disk likes. */
  crash(): void {
    if (!this.isUp && this.#fetch === undefined) return;
    this.#world.note(`r${this.index} dies`);
    this.#endLife();
    this.#fetch = undefined;
    this.#offered = undefined;
    this.#effectsLeft = Number.POSITIVE_INFINITY;
    this.disk.crash();
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
    if (isStateFrame(frame)) this.#takeStateFrame(from, frame);
    else this.#take({ kind: 'peer-frame', from, frame });
  }

  connected(peer: number): void {
    this.#take({ kind: 'connected', peer });
    this.#fetch?.push({ kind: 'connected', peer });
  }

  /** What is said about checkpoints never reaches the machine; as in `replica/lives.ts`. */
  #takeStateFrame(from: number, frame: Uint8Array): void {
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) return;
    const message = decoded.value;
    switch (message.kind) {
      case 'checkpoint-ask':
        this.#offer(from);
        return;
      case 'state-ask':
      case 'log-ask':
        if (this.#served !== undefined) this.#say(from, this.#served.server.answer(message));
        else this.#say(from, goneAnswer(message));
        return;
      case 'checkpoint-offer':
        for (const offer of this.#offers.take(from, message)) {
          if (this.#fetch !== undefined) this.#fetch.push({ kind: 'peer-message', ...offer });
          else this.#watch(offer);
        }
        return;
      default:
        this.#fetch?.push({ kind: 'peer-message', from, message });
    }
  }

  #watch({ from, message }: ReceivedOffer): void {
    const machine = this.#machine;
    if (machine === undefined) return;
    const { serviceId, epoch, rule } = this.#membership;
    const verifyHead = (head: CertifiedHead): boolean => this.#offers.verifyHead(head);
    this.#behind ??= new BehindWatch({ serviceId, epoch, rule, verifyHead });
    this.#behind.take(from, message);
    if (!this.#behind.isBehind(machine.commitIndex)) return;
    this.#fetchState('the others have dropped the blocks that it needs', machine.checkpointIndex);
  }

  #offer(to: number): void {
    const stable = this.#served?.stable;
    if (stable === undefined) return;
    const { head, signature } = stable.head;
    this.#say(to, { kind: 'checkpoint-offer', head: encodeHead(head), signature, checkpoint: stable.encoded });
  }

  #say(to: number, message: PeerMessage): void {
    this.#send(to, encodePeerMessage(message));
  }

  #noteStable(stable: StableCheckpoint): void {
    const { checkpoint, digest } = stable;
    this.#served = { stable, server: new StateServer({ view: this.disk.engine.snapshot(), checkpoint, digest }) };
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
    const { engine, log } = this.disk;
    const stored = readStored(engine);
    const options: MachineOptions = {
      engine,
      from: stored,
      membership: this.#membership,
      self: this.index,
      sign: (digest) => this.#signatures.sign(key, blockPreimage(digest)),
      check: this.#signatures.check,
      observer: this.#isLogLost,
      curve: this.#curve,
      keySecrets: this.#hasSecrets ? simulatedSecrets(this.index) : undefined,
      sealedShare: this.disk.sealedShare,
      service: kv,
      names: { name: 'simulation', service: kv.name },
    };
    const machine = this.#makeMachine(this.adversary?.tamper?.(options) ?? options);
    const roundIndex = new RoundIndex();
    // In pieces of any size, as a long log is read: decisions fall between them.
    const pieceSizeBytes = this.#prng.pick([500, 5_000, 1_000_000]);
    const isOver = (): boolean => life !== this.#life;
    let isReplaying = true;
    const writer = new CheckpointWriter({
      engine,
      log,
      roundIndex,
      retainedSizeBytes: this.#retainedSizeBytes,
      stored: (digest) => {
        if (isOver()) return;
        if (isReplaying) machine.checkpointStored(digest);
        else this.#take({ kind: 'checkpoint-stored', digest });
      },
      failed: (error) => {
        if (!isOver()) this.#world.fail(error);
      },
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
    this.#writer = writer;
    this.#roundIndex = roundIndex;
    this.#catchUp = new CatchUp({
      log: this.disk.log,
      roundIndex,
      send: (to, frame) => {
        if (life === this.#life) this.#send(to, frame);
      },
      offer: (to) => {
        if (life === this.#life) this.#offer(to);
      },
      failed: (error) => {
        if (life === this.#life) this.#world.fail(error);
      },
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
    const effects = machine.step(inputs, this.clock.monotonic(nowMs), this.clock.read(nowMs));
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
          this.#fetchState('it differs from what is certified', 0);
          return;
        }
        if (this.#inbox.length > 0 || effects.isUnfinished) this.#planTurn();
        else this.#setWake(effects.wakeAtMs);
      },
      (error: unknown) => {
        if (life === this.#life) this.#world.fail(error);
      },
    );
  }

  #setWake(wakeAtMs: number | undefined): void {
    if (wakeAtMs === undefined) return;
    const delayMs = Math.max(1, wakeAtMs - this.clock.monotonic(this.#world.nowMs));
    this.#wake = this.#world.after(delayMs, '', () => this.#planTurn());
  }

  /** Ports of one step. Every effect is a moment to die; after that nothing of the step happens any more. */
  #effectPorts(life: number, durable: () => void): Ports {
    const isAlive = (): boolean => {
      if (life !== this.#life) return false;
      this.#effectsLeft -= 1;
      if (this.#effectsLeft > 0) return true;
      const died = this.#died;
      this.crash();
      died?.();
      return false;
    };
    const never = new Promise<never>(() => {});
    const send = (to: number, frame: Uint8Array): void => {
      if (isAlive()) this.#send(to, frame);
    };
    const { log } = this.disk;
    return {
      log: {
        append: async (records) => {
          if (!isAlive()) return never;
          // An append that a crash overtakes is rejected; the one who waited for it is dead.
          const positions = await log
            .append(records)
            .catch((error: unknown) => (life === this.#life ? Promise.reject(error) : never));
          if (!isAlive()) return never;
          durable();
          return positions;
        },
        read: (from, sizeBytesMax) => log.read(from, sizeBytesMax),
        dropBefore: (position, round) => log.dropBefore(position, round),
        droppedRound: log.droppedRound,
        begin: log.begin,
        end: log.end,
        close: () => log.close(),
      },
      roundIndex: this.#roundIndex,
      send,
      broadcast: (frame) => {
        for (let to = 0; to < this.#membership.members.length; to++) if (to !== this.index) send(to, frame);
      },
      refuse: (refusal) => {
        if (isAlive()) this.#ports.refused(this.index, refusal);
      },
      reply: (reply) => {
        const said = this.adversary?.reply === undefined ? reply : this.adversary.reply(reply);
        if (said !== undefined && isAlive()) this.#ports.reply(this.index, said);
      },
      certified: (answer) => {
        if (isAlive()) this.#ports.certified(this.index, answer);
      },
      seal: (keyShare) => {
        if (isAlive()) this.disk.sealedShare = keyShare;
      },
      serve: (to, afterRound) => {
        if (isAlive()) this.#catchUp?.serve(to, afterRound);
      },
      checkpoint: async (taken) => {
        if (!isAlive()) return never;
        await this.#writer?.write(taken);
        return isAlive() ? undefined : never;
      },
      stable: (stable) => {
        if (!isAlive()) return;
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

function goneAnswer(ask: PartAsk): PeerMessage {
  const { checkpoint } = ask;
  if (ask.kind === 'log-ask') {
    return { kind: 'log-part', checkpoint, chunk: ask.chunk, leaves: new Uint8Array(), path: [] };
  }
  return { kind: 'state-part', checkpoint, table: ask.table, path: ask.path, part: { kind: 'gone' } };
}

const messages = new WeakMap<Uint8Array, PeerMessage>();

/** The message that the machine put into a frame, decoded once for a broadcast. */
function messageOf(frame: Uint8Array): PeerMessage {
  let message = messages.get(frame);
  if (message === undefined) {
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) throw new Error(`invariant: the machine made a frame it cannot read: ${decoded.reason}`);
    message = decoded.value;
    messages.set(frame, message);
  }
  return message;
}
