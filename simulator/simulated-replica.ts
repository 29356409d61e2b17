/**
 * Simulated replica: one replica from epoch to epoch: its lives in each, its disk, its keeper, and whatever an adversary makes of it
 * for a time. It can die at any moment, and come back with what its disk kept, or clean.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Membership } from '../src/membership/membership.ts';
import { blockPreimage } from '../src/ordering/validity.ts';
import type { ReplicaEffects } from '../src/replica/effects.ts';
import type { MachineStatus } from '../src/replica/machine-options.ts';
import type { Genesis } from '../src/wire/genesis.ts';
import { decodePeerMessage } from '../src/wire/peer-message.ts';
import { type Adversary, type AdversaryMaker, messageOf, type Outgoing } from './adversaries/adversary.ts';
import type { Clock } from './clock.ts';
import { EpochChange, type ToldMembership } from './epoch-change.ts';
import type { Signatures } from './keys.ts';
import type { LinkEnd } from './network.ts';
import type { Prng } from './prng.ts';
import type { ReplicaPorts } from './replica-ports.ts';
import { linkKeyDigestOf } from './session-secrets.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedKeeper } from './simulated-keeper.ts';
import { SimulatedLives } from './simulated-lives.ts';
import type { Machine, MachineOptions } from './simulated-machine.ts';
import { placeOf, replicaIdAt } from './simulated-membership.ts';
import type { World } from './world.ts';

const adversaryTickMs = 15;

export interface SimulatedReplicaOptions {
  /** Where it stands in the simulation, for ever. */
  readonly place: number;
  readonly world: World;
  readonly prng: Prng;
  readonly genesis: Genesis;
  readonly signatures: Signatures;
  readonly curve: PairingCurve;
  /** False: it takes no part in key generation. */
  readonly hasSecrets: boolean;
  /** False: it names no next session keys, and so keeps the ones it has for ever. */
  readonly renewsKeys: boolean;
  /** False: the sharing of the service key stays as it is. */
  readonly reshares: boolean;
  /** Its keeper makes it clean in its turn. */
  readonly hasTurns: boolean;
  readonly disk: SimulatedDisk;
  readonly clock: Clock;
  readonly ports: ReplicaPorts;
  /** It is faulty from the beginning. */
  readonly adversary: AdversaryMaker | undefined;
  /** Bytes of the log kept, though a checkpoint stands for them. */
  readonly retainedSizeBytes: number;
  readonly makeMachine: (options: MachineOptions) => Machine;
}

export class SimulatedReplica {
  readonly place: number;
  readonly disk: SimulatedDisk;
  readonly clock: Clock;
  readonly keeper: SimulatedKeeper;
  readonly #options: SimulatedReplicaOptions;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #ports: ReplicaPorts;
  readonly #change: EpochChange;
  #adversaryMaker: AdversaryMaker | undefined;
  #adversary: Adversary | undefined;
  #lives: SimulatedLives | undefined;
  #isRunning = false;
  /** Grows with each start and each death. */
  #run = 0;
  #started: () => void = () => undefined;
  /** Effects to carry out until it dies in the middle of them. */
  #effectsLeft = Number.POSITIVE_INFINITY;
  #died: (() => void) | undefined;

  constructor(options: SimulatedReplicaOptions) {
    this.#options = options;
    this.place = options.place;
    this.disk = options.disk;
    this.clock = options.clock;
    this.#world = options.world;
    this.#prng = options.prng;
    this.#ports = options.ports;
    this.#adversaryMaker = options.adversary;
    const { place, signatures, curve } = options;
    this.keeper = new SimulatedKeeper({ place, signatures, curve });
    this.#change = new EpochChange({
      ...options,
      home: this.disk.home,
      keeper: this.keeper,
      lives: () => this.#lives,
      survives: (run) => run === this.#run && !this.#dies(),
      run: () => this.#run,
      turned: (pending) => this.#turned(pending),
    });
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  get isUp(): boolean {
    return this.machine !== undefined;
  }

  get status(): MachineStatus | undefined {
    return this.machine?.status;
  }

  get machine(): Machine | undefined {
    return this.#lives?.machine;
  }

  /** Of the epoch that it is in. */
  get membership(): Membership {
    return this.disk.home.membership;
  }

  /** Its index in that; undefined when it is no member. */
  get self(): number | undefined {
    const index = this.membership.members.findIndex(({ replicaId }) => replicaId === replicaIdAt(this.place));
    return index === -1 ? undefined : index;
  }

  /** It was never started: nobody has asked it to join. */
  get isFuture(): boolean {
    return this.#run === 0;
  }

  get isHeld(): boolean {
    return this.#adversaryMaker !== undefined;
  }

  /** Of the checkpoints that this life has taken and seen become stable, oldest first. */
  get stableHorizons(): readonly number[] {
    return this.#lives?.stableHorizons ?? [];
  }

  /** Starts from what the disk holds, or fetches what that lacks; does nothing when it runs. `started` is called when it takes input. */
  start(started: () => void): void {
    this.#start(started, undefined);
  }

  /**
   * Is started by its keeper. Of what the process could have written it has the state, when that is certified, and the log where it is
   * kept; keys are in a store of their own.
   */
  startClean(
    keeps: { readonly keepsLog: boolean; readonly keepsAdversary: boolean; readonly forEpoch: number },
    started: () => void,
  ): void {
    if (!keeps.keepsLog) this.disk.makeClean();
    if (!keeps.keepsAdversary) this.#adversaryMaker = undefined;
    this.#adversary = undefined;
    this.#world.note(`r${this.place} is started clean`);
    this.#start(started, keeps.forEpoch);
  }

  /** From its next start on it does what the adversary likes. */
  takeOver(maker: AdversaryMaker): void {
    this.#adversaryMaker = maker;
  }

  /** Dies at once. What was not durable is lost, or not, as the disk likes. */
  crash(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#run += 1;
    this.#world.note(`r${this.place} dies`);
    this.#lives?.end();
    this.#lives = undefined;
    this.#change.forget();
    this.#effectsLeft = Number.POSITIVE_INFINITY;
    this.disk.crash();
  }

  /** Dies in the middle of carrying out effects, before the `count`-th one from now. */
  crashAfterEffects(count: number, died: () => void): void {
    this.#effectsLeft = count;
    this.#died = died;
  }

  /** Dies, and its state with it. */
  loseState(): void {
    this.crash();
    this.disk.loseState();
    this.#world.note(`r${this.place} lost its state`);
  }

  /** Bits flip in its state; it learns of it when it reads them. */
  rotState(): void {
    this.disk.rotState();
    this.#world.note(`the state of r${this.place} rots`);
  }

  /** Dies, and its disk with it. */
  loseLog(): void {
    this.crash();
    this.disk.lose();
    this.#world.note(`r${this.place} lost its log`);
  }

  /** A frame on a link whose other end proves itself with this. */
  deliver(from: number, frame: Uint8Array, end: LinkEnd): void {
    const lives = this.#lives;
    const index = this.#authenticated(from, end);
    if (lives === undefined || !lives.hears || index === undefined) return;
    if (this.#adversary?.incoming !== undefined) {
      const decoded = decodePeerMessage(frame);
      if (decoded.ok) {
        const { pass, send } = this.#adversary.incoming(decoded.value, index);
        this.emit(send);
        if (!pass) return;
      }
    }
    lives.deliver(index, frame);
  }

  /** The link to the replica in this place is up. */
  connected(peer: number): void {
    const index = this.#indexOf(peer);
    if (index !== undefined) this.#lives?.connected(index);
  }

  /** A client's request; `certified` when it wants a proof. */
  request(link: number, request: Uint8Array, certified: boolean): void {
    this.#lives?.push({ kind: 'client-request', link, request, certifyFrom: certified ? 0 : undefined });
  }

  /** Somebody told it who the replicas are. */
  told(membership: ToldMembership): void {
    if (this.#isRunning) this.#change.follow(membership);
  }

  /** Goes out as if it were its own. */
  emit(outgoing: readonly Outgoing[]): void {
    for (const { to, frame } of outgoing) if (to !== this.self) this.#out(to, frame);
  }

  #start(started: () => void, cleanFor: number | undefined): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#started = started;
    this.#run += 1;
    this.keeper.started(cleanFor);
    this.#change.start();
  }

  /** It is in an epoch, with nothing of older ones, and takes up the requests that were pending. */
  #turned(pending: Uint8Array[]): void {
    this.#lives?.end();
    this.#lives = undefined;
    const { self } = this;
    this.#ports.entered(this.place, this.membership.epoch);
    if (self === undefined) return;
    this.#adversary = undefined;
    this.#makeAdversary();
    const run = this.#run;
    const watch = this.#ports;
    this.#lives = new SimulatedLives({
      ...this.#options,
      self,
      membership: this.membership,
      adversary: () => this.#adversary,
      ports: {
        ...watch,
        send: (to, frame) => {
          if (this.#adversary === undefined) this.#out(to, frame);
          else this.emit(this.#adversary.outgoing(messageOf(frame), to));
        },
        reply: (reply) => watch.reply(this.place, reply, this.#end),
        restored: (place, machine) => {
          watch.restored(place, machine);
          for (const request of pending.splice(0)) this.request(0, request, false);
          if (this.#adversary?.tick !== undefined) this.#planTick(run);
        },
      },
      dies: () => this.#dies(),
      started: () => this.#started(),
      carriedOut: (effects: ReplicaEffects) => this.#change.carriedOut(effects),
    });
    this.#lives.begin();
  }

  #out(to: number, frame: Uint8Array): void {
    const member = this.membership.members[to];
    if (member === undefined) return;
    this.#ports.send(this.place, placeOf(member.replicaId), frame, this.#end);
  }

  /** What it proves itself with on its links. */
  get #end(): LinkEnd {
    return { epoch: this.membership.epoch, link: this.disk.home.present.secrets.link };
  }

  #indexOf(place: number): number | undefined {
    const index = this.membership.members.findIndex(({ replicaId }) => replicaId === replicaIdAt(place));
    return index === -1 ? undefined : index;
  }

  /** The index of the replica that the other end of a link is, if it proves to be one of this epoch. */
  #authenticated(from: number, { epoch, link }: LinkEnd): number | undefined {
    const index = this.#indexOf(from);
    if (index === undefined || epoch !== this.membership.epoch) return undefined;
    return this.membership.members[index]?.linkKeyDigest === linkKeyDigestOf(link) ? index : undefined;
  }

  /** A moment at which it may die; true when it did. */
  #dies(): boolean {
    this.#effectsLeft -= 1;
    if (this.#effectsLeft > 0) return false;
    const died = this.#died;
    this.crash();
    died?.();
    return true;
  }

  #makeAdversary(): void {
    const { self, membership } = this;
    if (this.#adversaryMaker === undefined || self === undefined) return;
    const { secrets } = this.disk.home.present;
    this.#adversary = this.#adversaryMaker({
      membership,
      self,
      prng: this.#prng.fork(),
      sign: (digest) => this.#options.signatures.sign(secrets.signing, blockPreimage(digest)),
    });
  }

  #planTick(run: number): void {
    const adversary = this.#adversary;
    if (adversary?.tick === undefined) return;
    this.#world.after(this.#prng.timeMs(1, 2 * adversaryTickMs), '', () => {
      // Another life, or another epoch, has ticks of its own.
      if (run !== this.#run || adversary !== this.#adversary) return;
      this.emit(adversary.tick?.() ?? []);
      this.#planTick(run);
    });
  }
}
