/**
 * Cluster: all replicas, the network between them, the clients around them, those who make replicas clean or take them over, and
 * what befalls them. `cluster-watch.ts` looks on.
 *
 * Replicas and clients go by places here: where a replica stands in the simulation, whatever its index in an epoch.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import { mclCurve } from '../src/crypto/curve-mcl.ts';
import type { Reply } from '../src/execution/execution.ts';
import type { Membership } from '../src/membership/membership.ts';
import type { ReplicaEffects } from '../src/replica/effects.ts';
import type { Genesis } from '../src/wire/genesis.ts';
import { Administration } from './administration.ts';
import type { AdversaryMaker } from './adversaries/adversary.ts';
import { Ambush } from './ambush.ts';
import type { Report } from './checkers/violation.ts';
import { Clock } from './clock.ts';
import { ClusterWatch } from './cluster-watch.ts';
import { drawAction } from './draw-action.ts';
import { flawedService } from './flawed-service.ts';
import { History } from './history.ts';
import { Signatures } from './keys.ts';
import { MobileAdversary } from './mobile-adversary.ts';
import { type LinkEnd, Network } from './network.ts';
import { networkAdversaryOf } from './network-adversary.ts';
import { plainCurve } from './plain-curve.ts';
import type { Prng } from './prng.ts';
import { Replacements } from './replacements.ts';
import { adversaryMakers, type Scenario } from './scenarios/scenario.ts';
import { firstSecrets, linkKeyDigestOf } from './session-secrets.ts';
import { SharingLedger } from './sharing-ledger.ts';
import { type ClientBehaviour, SimulatedClient } from './simulated-client.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { type Machine, type MachineOptions, productionMachine } from './simulated-machine.ts';
import {
  firstSimulatedMembership,
  placeOf,
  recoveryAt,
  replicaIdAt,
  simulatedGenesis,
} from './simulated-membership.ts';
import { SimulatedReplica } from './simulated-replica.ts';
import { Turns } from './turns.ts';
import type { World } from './world.ts';

export type MachineMaker = (options: MachineOptions) => Machine;

export class Cluster {
  readonly genesis: Genesis;
  /** Of epoch 0. */
  readonly membership: Membership;
  readonly scenario: Scenario;
  readonly replicas: readonly SimulatedReplica[];
  /** Places of replicas that are correct from the beginning to the end, but for a time in which the mobile adversary holds them. */
  readonly sound: ReadonlySet<number>;
  readonly clients: SimulatedClient[] = [];
  readonly network: Network;
  readonly watch: ClusterWatch;
  readonly mobile: MobileAdversary | undefined;
  readonly administration: Administration;
  /** What the log says about the service key, for an adversary that reads everything. */
  readonly ledger: SharingLedger | undefined;
  readonly history = new History();
  /** Those that are still to execute something wrongly. */
  readonly #flawed = new Set<number>();
  readonly replacements: Replacements;
  readonly #report: Report;
  readonly #ambush: Ambush;
  readonly turns: Turns;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #signatures = new Signatures();
  readonly curve: PairingCurve;
  /** Clients lose messages too, until the heal. */
  #clientLoss: number;

  constructor(options: {
    readonly seed: number;
    readonly scenario: Scenario;
    readonly world: World;
    readonly prng: Prng;
    readonly report: Report;
    readonly makeMachine: MachineMaker | undefined;
  }) {
    const { scenario, world, prng, report, seed } = options;
    const { size, parameters, checkpointIntervalMs, epochs } = scenario;
    const { n, f } = size;
    this.scenario = scenario;
    this.#report = report;
    this.curve = scenario.curve === 'mcl' ? mclCurve : plainCurve;
    const { schedule } = epochs;
    this.genesis = simulatedGenesis({ size, parameters, seed, curve: this.curve, checkpointIntervalMs, schedule });
    this.membership = firstSimulatedMembership(this.genesis);
    this.#world = world;
    this.#prng = prng.fork();
    this.#clientLoss = Math.min(0.1, scenario.links.loss);
    const unreliable = Math.max(scenario.misbehaving, scenario.lostLogs);
    if (scenario.adversaries.length + scenario.misbehaving > f) throw new RangeError(`at most f = ${f} adversaries`);

    const places = Array.from({ length: n + epochs.joiners }, (_, place) => place);
    const faulty = new Map(
      prng
        .shuffle(places.slice(0, n))
        .slice(0, scenario.adversaries.length)
        .map(
          (place, at) => [place, adversaryMakers[scenario.adversaries[at] as keyof typeof adversaryMakers]] as const,
        ),
    );
    this.sound = new Set(places.filter((place) => !faulty.has(place)));
    for (const place of [...this.sound].slice(0, scenario.misbehaving)) this.#flawed.add(place);
    this.watch = new ClusterWatch({
      world,
      report,
      curve: this.curve,
      genesis: this.genesis,
      isCorrect: (place) => this.isCorrect(place),
      isExposed: (place, epoch) => {
        const membership = this.watch.epochs.membershipOf(epoch);
        return membership !== undefined && this.mobile?.isExposed(place, membership) === true;
      },
      membershipOf: (place) => this.replicaAt(place).membership,
      diskOf: (place) => this.replicaAt(place).disk,
    });
    this.#ambush = new Ambush({
      world,
      prng: this.#prng.fork(),
      ambushes: scenario.ambushes,
      death: scenario.death,
      correct: this.sound,
      ports: {
        crashAfterEffects: (place, count, died) => this.#crashAfterEffects(place, count, died),
        start: (place) => this.start(place),
        cutOff: (place) => this.network.isolate(place),
        mend: (place) => this.network.readmit(place),
      },
    });
    this.replicas = places.map((place) => this.#replica(place, faulty.get(place), options.makeMachine));
    this.network = new Network({
      world,
      prng: prng.fork(),
      n: places.length,
      conditions: scenario.links,
      ports: {
        deliver: (to, from, frame, end) => this.replicaAt(to).deliver(from, frame, end),
        connected: (replica, peer) => {
          if (this.replicaAt(replica).isUp && this.replicaAt(peer).isUp) this.replicaAt(replica).connected(peer);
        },
      },
      adversary: networkAdversaryOf({
        scenario,
        membership: this.membership,
        curve: this.curve,
        sound: this.sound,
        machineAt: (place) => this.replicaAt(place).machine,
      }),
    });
    this.ledger = epochs.mobile ? new SharingLedger(this.curve) : undefined;
    this.mobile = epochs.mobile ? this.#mobileAdversary(unreliable) : undefined;
    const keeperless = new Set([...this.sound].slice(0, epochs.keeperless));
    this.turns = new Turns({
      world,
      prng: this.#prng.fork(),
      hasKeeper: (place) => !keeperless.has(place),
      isClean: (place, epoch) => this.replicaAt(place).keeper.isCleanFor(epoch),
      makeClean: (place, epoch) => {
        this.watch.windows.startedClean(replicaIdAt(place), epoch);
        this.makeClean(place, epoch);
      },
    });
    this.administration = new Administration({
      world,
      prng: this.#prng.fork(),
      genesis: this.genesis,
      curve: this.curve,
      recoveryAt: (place) => recoveryAt(schedule, place),
      signatures: this.#signatures,
      standing: () => this.standing(),
      request: (place, request) => this.#toReplica(place, request),
      joins: (place) => this.join(place),
    });
    for (const change of epochs.changes) this.administration.plan(change);
    this.replacements = new Replacements({
      world,
      prng: this.#prng,
      // Those that nobody has planned for, where there are administrators.
      spares: epochs.changes.length > 0 || this.genesis.administrators.approvals === 0 ? [] : places.slice(n),
      administration: this.administration,
      standing: () => this.standing(),
    });
    scenario.clients.forEach((behaviour, index) => {
      this.addClient(`c${index}`, behaviour);
    });
    for (const place of faulty.keys()) {
      world.note(`r${place} is faulty: ${scenario.adversaries[[...faulty.keys()].indexOf(place)]}`);
    }
  }

  /** Nobody but itself is the replica in this place now. */
  isCorrect(place: number): boolean {
    return this.sound.has(place) && !this.replicaAt(place).isHeld;
  }

  /** Places of the members of the newest epoch that are correct now. */
  get correct(): ReadonlySet<number> {
    return new Set(this.standing().places.filter((place) => this.isCorrect(place)));
  }

  /** The newest epoch that a correct replica is in, and who the replicas are. */
  standing(): { readonly places: readonly number[]; readonly epoch: number; readonly f: number } {
    const { epochs } = this.watch;
    const { members, epoch, rule } = epochs.membershipOf(epochs.highest) ?? this.membership;
    return { places: members.map(({ replicaId }) => placeOf(replicaId)), epoch, f: rule.f };
  }

  /** Bits flip in its state. */
  rotState(place: number): void {
    this.replicaAt(place).rotState();
  }

  loseState(place: number): void {
    this.replicaAt(place).loseState();
    this.network.breakLinks(place);
  }

  start(place: number): void {
    this.replicaAt(place).start(() => this.network.raiseLinks(place));
  }

  crash(place: number): void {
    this.replicaAt(place).crash();
    this.network.breakLinks(place);
  }

  loseLog(place: number): void {
    this.replicaAt(place).loseLog();
    this.network.breakLinks(place);
  }

  /** Its keeper starts it clean. Whoever held it has had its last look, and has left the state as it likes. */
  makeClean(place: number, forEpoch: number): void {
    const replica = this.replicaAt(place);
    const wasHeld = replica.isHeld;
    // One that is faulty for ever is taken again as soon as it is there.
    const keepsAdversary = !this.sound.has(place);
    this.mobile?.loses(place);
    this.network.breakLinks(place);
    replica.crash();
    if (wasHeld) this.#spoil(replica);
    const keepsLog = !wasHeld && this.scenario.epochs.turns === 'log-kept';
    replica.startClean({ keepsLog, keepsAdversary, forEpoch }, () => this.network.raiseLinks(place));
  }

  /** What the adversary leaves behind where it is driven out. */
  #spoil({ place, disk }: SimulatedReplica): void {
    const what = this.#prng.pick(['nothing', 'rot', 'no state', 'another state', 'another state']);
    if (what === 'rot') disk.rotState();
    if (what === 'no state') disk.loseState();
    if (what !== 'another state' || !disk.forgeState()) return;
    this.#world.note(`the adversary leaves a forged state in r${place}`);
    this.watch.leftForged(place);
  }

  /** An administrator has named it: its operator starts it, with the service key. */
  join(place: number): void {
    const { home } = this.replicaAt(place).disk;
    home.serviceKey ??= this.watch.certification.serviceKey;
    this.start(place);
  }

  /** Dies somewhere in the middle of what it carries out next. */
  crashAfterEffects(place: number, count: number): void {
    this.#crashAfterEffects(place, count, () => {});
  }

  #crashAfterEffects(place: number, count: number, died: () => void): void {
    this.replicaAt(place).crashAfterEffects(count, () => {
      this.network.breakLinks(place);
      died();
    });
  }

  addClient(name: string, behaviour: ClientBehaviour): SimulatedClient {
    const { keys, valueLengthMax } = this.scenario;
    const client = new SimulatedClient({
      name,
      world: this.#world,
      prng: this.#prng.fork(),
      behaviour,
      ports: {
        standing: () => this.standing(),
        faultsOf: (epoch) => (this.watch.epochs.membershipOf(epoch) ?? this.membership).rule.f,
        serviceId: this.membership.serviceId,
        history: this.history,
        signatures: this.#signatures,
        drawAction: (prng) => drawAction(prng, name, { keys, valueLengthMax, history: this.history }),
        toReplica: (place, request) => this.#toReplica(place, request),
      },
    });
    this.clients.push(client);
    return client;
  }

  /** All links, clocks and clients are good from now on, and every correct replica runs. */
  heal(): void {
    this.#clientLoss = 0;
    this.#ambush.end();
    this.mobile?.end();
    const { delayMsMin, delayMsMax } = this.scenario.links;
    for (const place of this.sound) {
      const replica = this.replicaAt(place);
      if (replica.isHeld || replica.isFuture) continue;
      replica.crashAfterEffects(Number.POSITIVE_INFINITY, () => {});
      replica.clock.correct(this.#world.nowMs);
      // Bits that nobody has read since they flipped are noticed by a restart.
      if (replica.disk.engine.rottenCount > 0) this.crash(place);
      // Who was cut off before there was a service key has it from its operator: nobody in a later epoch is known to it.
      replica.disk.home.serviceKey ??= this.watch.certification.serviceKey;
      this.start(place);
    }
    this.network.heal({ delayMsMin, delayMsMax, slow: 0.01, loss: 0, duplicate: 0, overtake: 0, resetAfterLoss: true });
  }

  #mobileAdversary(unreliable: number): MobileAdversary {
    return new MobileAdversary({
      world: this.#world,
      prng: this.#prng.fork(),
      signatures: this.#signatures,
      atMost: ({ rule }) => rule.f - unreliable,
      strategies: Object.values(adversaryMakers),
      renewsKeys: this.scenario.epochs.renewal,
      turnOrder: (membership) => this.turns.order(membership),
      replicaAt: (place) => this.replicaAt(place),
      isTaken: (place) => !this.sound.has(place),
      seize: (place, maker) => this.#seize(place, maker),
      send: (from, to, frame, end) => this.network.send(from, to, frame, end),
      reply: (place, reply, end) => this.#reply(place, reply, end),
      curve: this.curve,
      membershipOf: (epoch) => this.watch.epochs.membershipOf(epoch),
      standing: () => this.watch.epochs.membershipOf(this.watch.epochs.highest) ?? this.membership,
      request: (place, request) => this.#toReplica(place, request),
    });
  }

  /** It is made to run the adversary's code: in the middle of what it does, and with all that is on its disk. */
  #seize(place: number, maker: AdversaryMaker): void {
    this.crash(place);
    this.replicaAt(place).takeOver(maker);
    this.start(place);
  }

  #replica(
    place: number,
    adversary: AdversaryMaker | undefined,
    makeMachine: MachineMaker | undefined,
  ): SimulatedReplica {
    const { clockErrorMsMax, clockDriftMax, disk, coin, epochs, retainedSizeBytes } = this.scenario;
    const { membership, watch } = this;
    const prng = this.#prng.fork();
    return new SimulatedReplica({
      place,
      world: this.#world,
      prng,
      genesis: this.genesis,
      signatures: this.#signatures,
      curve: this.curve,
      hasSecrets: coin === 'threshold',
      renewsKeys: epochs.renewal,
      reshares: epochs.resharing,
      hasTurns: epochs.turns !== 'none',
      disk: new SimulatedDisk({
        world: this.#world,
        prng: prng.fork(),
        conditions: disk,
        membership,
        secrets: firstSecrets(place),
      }),
      clock: new Clock({
        offsetMs: prng.between(-clockErrorMsMax, clockErrorMsMax),
        rate: 1 + (clockDriftMax * prng.between(-64, 64)) / 64,
      }),
      adversary,
      retainedSizeBytes,
      makeMachine: this.#makeFlawed(place, makeMachine ?? productionMachine),
      ports: {
        send: (from, to, frame, end) => this.network.send(from, to, frame, end),
        askMembership: (asking) => this.#askMembership(asking),
        request: (to, request) => this.#toReplica(to, request),
        reply: (from, reply, end) => {
          watch.replied(from, reply);
          this.#reply(from, reply, end);
        },
        refused: (from, { code, reason }) => this.#world.note(`r${from} refuses a request: ${code}, ${reason}`),
        certified: (from, answer) => watch.certified(from, answer),
        decided: (at, commits) => {
          watch.decided(commits);
          if (!this.isCorrect(at)) return;
          for (const commit of commits) this.ledger?.committed(this.replicaAt(at).membership, commit);
        },
        stepped: (at, effects, machine) => this.#stepped(at, effects, machine),
        refusedState: (at) => watch.refusedState(at),
        rejected: (at, evidence) => watch.refused(at, [evidence]),
        fetching: (at) => {
          watch.fetching(at);
          if (this.isCorrect(at)) this.#ambush.atFetch(at);
        },
        fetched: (at) => watch.fetched(at),
        restored: (at, machine) => watch.restored(at, machine),
        entered: (at) => {
          watch.entered(at);
          this.#noteEntered(at);
          this.mobile?.entered(at);
        },
      },
    });
  }

  replicaAt(place: number): SimulatedReplica {
    const replica = this.replicas[place];
    if (replica === undefined) throw new RangeError(`no replica in place ${place}`);
    return replica;
  }

  #stepped(place: number, effects: ReplicaEffects, machine: Machine): void {
    this.watch.stepped(place, effects, machine);
    if (!this.isCorrect(place)) return;
    this.ledger?.observe(machine);
    for (const replicaId of machine.epochStatus.state.disputed) this.replacements.have(placeOf(replicaId));
    const { checkpoints, stable, wantsSuccessor, closed } = effects;
    if (wantsSuccessor !== undefined || closed !== undefined) this.#ambush.atChange(place);
    if (checkpoints.length > 0 || stable !== undefined) this.#ambush.atCheckpoint(place);
    if (this.scenario.epochs.turns !== 'none') this.turns.observe(machine.epochStatus);
  }

  #noteEntered(place: number): void {
    if (!this.isCorrect(place)) return;
    const { membership, self, disk } = this.replicaAt(place);
    const isAware = self !== undefined && membership.members[self]?.recovery === 'awareness';
    // Somebody else named keys in its place: it stops and says so (docs/protocol/epochs.md, K2).
    if (isAware && !disk.home.isNamed) this.replacements.have(place);
    this.mobile?.checkDriven(membership, (message) => this.#report('secrecy', message));
  }

  /** One of those that are to go wrong does so with the first write it executes in the second half of the faults. */
  #makeFlawed(place: number, makeMachine: MachineMaker): MachineMaker {
    if (!this.#flawed.has(place)) return makeMachine;
    const flips = (): boolean => {
      // Not while it replays its log: what it goes on from then is what it is wrong about.
      if (!this.replicaAt(place).isUp) return false;
      if (this.#world.nowMs < this.scenario.safetyMs / 2 || !this.#flawed.delete(place)) return false;
      this.watch.goesWrong(place);
      return true;
    };
    return (options) => makeMachine({ ...options, service: flawedService(flips) });
  }

  /** Who hears too few of its epoch asks one of those that it can reach at all, as anybody may. */
  #askMembership(asking: number): void {
    const own = this.replicaAt(asking);
    const canReach = (place: number): boolean => {
      return this.network.isOpen(asking, place) && this.network.isOpen(place, asking) && this.replicaAt(place).isUp;
    };
    const others = this.replicas.map(({ place }) => place).filter((place) => place !== asking && canReach(place));
    const { epoch, members, rule } = own.membership;
    const isOfEpoch = (place: number): boolean =>
      this.replicaAt(place).membership.epoch === epoch &&
      members.some(({ replicaId }) => replicaId === replicaIdAt(place));
    const heard = 1 + others.filter(isOfEpoch).length;
    const isIn = own.self !== undefined && own.disk.home.isNamed && heard >= rule.n - rule.f - rule.k;
    if (others.length === 0 || isIn) return;
    const { certifiedMembership, epochStatus } = this.replicaAt(this.#prng.pick(others)).machine ?? {};
    if (certifiedMembership === undefined) return;
    const { encoded: statement, signature } = certifiedMembership;
    const told = { statement, signature, isPreparing: epochStatus?.state.phase.kind === 'preparing' };
    this.#world.after(this.#clientDelayMs(), '', () => own.told(told));
  }

  #toReplica(place: number, request: Uint8Array): void {
    if (this.#prng.chance(this.#clientLoss)) return;
    this.#world.after(this.#clientDelayMs(), '', () =>
      this.replicaAt(place).request(0, request, this.#prng.chance(0.5)),
    );
  }

  /** A client believes of a link what the membership of its epoch pins. */
  #reply(place: number, reply: Reply, { epoch, link }: LinkEnd): void {
    const { members } = this.watch.epochs.membershipOf(epoch) ?? this.membership;
    const member = members.find(({ replicaId }) => replicaId === replicaIdAt(place));
    if (member?.linkKeyDigest !== linkKeyDigestOf(link)) return;
    const client = this.clients.find(
      ({ clientHex, nonceHex }) => clientHex === reply.client && nonceHex === reply.sessionNonce,
    );
    if (client === undefined || this.#prng.chance(this.#clientLoss)) return;
    this.#world.after(this.#clientDelayMs(), '', () => client.hear(place, epoch, reply));
  }

  #clientDelayMs(): number {
    return this.#prng.timeMs(0.25, 4);
  }
}
