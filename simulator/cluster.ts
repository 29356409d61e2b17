/**
 * Cluster: all replicas, the network between them, the clients around them, and the checkers that watch.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import { mclCurve } from '../src/crypto/curve-mcl.ts';
import type { Digest } from '../src/crypto/hash.ts';
import type { Reply } from '../src/execution/execution.ts';
import { ThresholdCoin } from '../src/keys/coin-key.ts';
import { genesisCoin, type Membership } from '../src/membership/membership.ts';
import { blockPreimage } from '../src/ordering/validity.ts';
import type { ReplicaEffects } from '../src/replica/effects.ts';
import { readStored } from '../src/replica/engine-notes.ts';
import type { MachineStatus } from '../src/replica/machine-options.ts';
import type { Adversary } from './adversaries/adversary.ts';
import { coinScheduler } from './adversaries/coin-scheduler.ts';
import { leaderScheduler } from './adversaries/leader-scheduler.ts';
import { Ambush } from './ambush.ts';
import { AgreementChecker } from './checkers/agreement.ts';
import { CertificationChecker } from './checkers/certification.ts';
import { checkEvidence } from './checkers/evidence.ts';
import { ExecutionChecker } from './checkers/execution.ts';
import type { Report } from './checkers/violation.ts';
import { Clock } from './clock.ts';
import { flawedService } from './flawed-service.ts';
import { History } from './history.ts';
import { keyOf, Signatures } from './keys.ts';
import type { KvAction } from './kv-model.ts';
import { Network, type NetworkAdversary } from './network.ts';
import { plainCurve } from './plain-curve.ts';
import type { Prng } from './prng.ts';
import { adversaryMakers, type Scenario } from './scenarios/scenario.ts';
import { type ClientBehaviour, SimulatedClient } from './simulated-client.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { type Machine, type MachineOptions, productionMachine } from './simulated-machine.ts';
import { simulatedMembership } from './simulated-membership.ts';
import { SimulatedReplica } from './simulated-replica.ts';
import type { World } from './world.ts';

export type MachineMaker = (options: MachineOptions) => Machine;

export class Cluster {
  readonly membership: Membership;
  readonly scenario: Scenario;
  readonly replicas: readonly SimulatedReplica[];
  /** Indexes of the correct replicas. */
  readonly correct: ReadonlySet<number>;
  readonly clients: SimulatedClient[] = [];
  readonly network: Network;
  /** State transfers that correct replicas have ended. */
  fetches = 0;
  /** Those that they began, some of them again after they had died. */
  fetchesBegun = 0;
  /** Correct replicas that have executed something wrongly, from then on and until they are repaired. */
  readonly wrong = new Set<number>();
  /** Those that are still to do so. */
  readonly #flawed = new Set<number>();
  readonly #ambush: Ambush;
  /** Correct replicas that were never wrong: nothing is to be held against them. */
  readonly #blameless: Set<number>;
  readonly history = new History();
  readonly agreement: AgreementChecker;
  readonly execution: ExecutionChecker;
  readonly certification: CertificationChecker;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #signatures = new Signatures();
  readonly #curve: PairingCurve;
  /** The adversary's, who has no share. */
  #coin: ThresholdCoin | undefined;
  readonly #report: Report;
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
    const { scenario, world, prng, report } = options;
    const { n, f } = scenario.size;
    this.scenario = scenario;
    this.#curve = scenario.curve === 'mcl' ? mclCurve : plainCurve;
    const { size, parameters, checkpointIntervalMs } = scenario;
    this.membership = simulatedMembership(size, parameters, options.seed, this.#curve, checkpointIntervalMs);
    this.#world = world;
    this.#prng = prng.fork();
    this.#report = report;
    this.#clientLoss = Math.min(0.1, scenario.links.loss);
    this.agreement = new AgreementChecker(report);
    this.execution = new ExecutionChecker(report);
    this.certification = new CertificationChecker(report, this.#curve);
    if (scenario.adversaries.length + scenario.misbehaving > f) throw new RangeError(`at most f = ${f} adversaries`);

    const faulty = new Map(
      prng
        .shuffle(Array.from({ length: n }, (_, index) => index))
        .slice(0, scenario.adversaries.length)
        .map((index, place) => [index, this.#adversary(index, place)] as const),
    );
    const indexes = Array.from({ length: n }, (_, index) => index);
    this.correct = new Set(indexes.filter((index) => !faulty.has(index)));
    this.#blameless = new Set(this.correct);
    for (const index of [...this.correct].slice(0, scenario.misbehaving)) this.#flawed.add(index);
    this.#ambush = new Ambush({
      world,
      prng: this.#prng.fork(),
      ambushes: scenario.ambushes,
      death: scenario.death,
      correct: this.correct,
      ports: {
        crashAfterEffects: (index, count, died) => this.#crashAfterEffects(index, count, died),
        start: (index) => this.start(index),
        cutOff: (index) => this.network.isolate(index),
        mend: (index) => this.network.readmit(index),
      },
    });
    this.replicas = indexes.map((index) => this.#replica(index, faulty.get(index), options.makeMachine));
    this.network = new Network({
      world,
      prng: prng.fork(),
      n,
      conditions: scenario.links,
      ports: {
        deliver: (to, from, frame) => this.#replicaOf(to).deliver(from, frame),
        connected: (replica, peer) => {
          if (this.#replicaOf(replica).isUp && this.#replicaOf(peer).isUp) this.#replicaOf(replica).connected(peer);
        },
      },
      adversary: this.#networkAdversary(),
    });
    scenario.clients.forEach((behaviour, index) => {
      this.addClient(`c${index}`, behaviour);
    });
    for (const [index, adversary] of faulty) world.note(`r${index} is faulty: ${adversary.name}`);
  }

  /** Bits flip in its state. */
  rotState(index: number): void {
    this.#replicaOf(index).rotState();
  }

  loseState(index: number): void {
    this.#replicaOf(index).loseState();
    this.network.breakLinks(index);
  }

  start(index: number): void {
    this.#replicaOf(index).start(() => this.network.raiseLinks(index));
  }

  crash(index: number): void {
    this.#replicaOf(index).crash();
    this.network.breakLinks(index);
  }

  loseLog(index: number): void {
    this.#replicaOf(index).loseLog();
    this.network.breakLinks(index);
  }

  /** Dies somewhere in the middle of what it carries out next. */
  crashAfterEffects(index: number, count: number): void {
    this.#crashAfterEffects(index, count, () => {});
  }

  #crashAfterEffects(index: number, count: number, died: () => void): void {
    this.#replicaOf(index).crashAfterEffects(count, () => {
      this.network.breakLinks(index);
      died();
    });
  }

  addClient(name: string, behaviour: ClientBehaviour): SimulatedClient {
    const { n, f } = this.membership.rule;
    const client = new SimulatedClient({
      name,
      world: this.#world,
      prng: this.#prng.fork(),
      behaviour,
      ports: {
        n,
        f,
        serviceId: this.membership.serviceId,
        history: this.history,
        signatures: this.#signatures,
        drawAction: (prng) => this.#drawAction(prng, name),
        toReplica: (replica, request) => this.#toReplica(replica, request),
      },
    });
    this.clients.push(client);
    return client;
  }

  /** All links, clocks and clients are good from now on, and every correct replica runs. */
  heal(): void {
    this.#clientLoss = 0;
    this.#ambush.end();
    const { delayMsMin, delayMsMax } = this.scenario.links;
    const links = { delayMsMin, delayMsMax, slow: 0.01, loss: 0, duplicate: 0, overtake: 0, resetAfterLoss: true };
    for (const index of this.correct) {
      const replica = this.#replicaOf(index);
      replica.crashAfterEffects(Number.POSITIVE_INFINITY, () => {});
      replica.clock.correct(this.#world.nowMs);
      // Bits that nobody has read since they flipped are noticed by a restart.
      if (replica.disk.engine.rottenCount > 0) this.crash(index);
      this.start(index);
    }
    this.network.heal(links);
  }

  #networkAdversary(): NetworkAdversary | undefined {
    const { membership } = this;
    const { networkAdversary, coin } = this.scenario;
    switch (networkAdversary) {
      case 'none':
        return undefined;
      case 'coin-scheduler':
        return coin === 'known'
          ? coinScheduler({ membership, lasting: true, predict: (period) => this.#knownLeader(period) })
          : coinScheduler({
              membership,
              lasting: true,
              predict: (period, shares) => this.#openCoin(period, shares),
              // Before there is a key nothing is secret: then the promise is safety only.
              isActive: () =>
                [...this.correct].every((index) => this.#replicaOf(index).machine?.serviceKey !== undefined),
            });
      default:
        return leaderScheduler({ membership, lasting: networkAdversary === 'lasting-leader-scheduler' });
    }
  }

  #knownLeader(period: number): number {
    const { epochGenesis, rule } = this.membership;
    return genesisCoin(epochGenesis, period, rule.n);
  }

  /** What anybody can tell who has heard enough shares, and nobody else. */
  #openCoin(period: number, shares: Parameters<ThresholdCoin['open']>[1]): number | undefined {
    if (shares.length <= this.membership.rule.f) return undefined;
    const transcript = this.#replicaOf([...this.correct][0] ?? 0).machine?.transcript;
    if (transcript === undefined) return undefined;
    const { membership } = this;
    this.#coin ??= new ThresholdCoin({ curve: this.#curve, membership, transcript, keyShare: () => undefined });
    return this.#coin.open(period, shares).leader;
  }

  #adversary(index: number, place: number): Adversary {
    const name = this.scenario.adversaries[place];
    if (name === undefined) throw new RangeError('an adversary for each faulty replica');
    return adversaryMakers[name]({
      membership: this.membership,
      self: index,
      prng: this.#prng.fork(),
      sign: (digest: Digest) => this.#signatures.sign(keyOf(`replica ${index}`), blockPreimage(digest)),
    });
  }

  #replica(index: number, adversary: Adversary | undefined, makeMachine: MachineMaker | undefined): SimulatedReplica {
    const { clockErrorMsMax, clockDriftMax, disk } = this.scenario;
    const prng = this.#prng.fork();
    return new SimulatedReplica({
      index,
      world: this.#world,
      prng,
      membership: this.membership,
      signatures: this.#signatures,
      curve: this.#curve,
      hasSecrets: this.scenario.coin === 'threshold',
      disk: new SimulatedDisk({ world: this.#world, prng: prng.fork(), conditions: disk }),
      clock: new Clock({
        offsetMs: prng.between(-clockErrorMsMax, clockErrorMsMax),
        rate: 1 + (clockDriftMax * prng.between(-64, 64)) / 64,
      }),
      adversary,
      retainedSizeBytes: this.scenario.retainedSizeBytes,
      makeMachine: this.#makeFlawed(index, makeMachine ?? productionMachine),
      ports: {
        send: (from, to, frame) => this.network.send(from, to, frame),
        reply: (replica, reply) => this.#reply(replica, reply),
        refused: (replica, { code, reason }) => this.#world.note(`r${replica} refuses a request: ${code}, ${reason}`),
        certified: (replica, { message }) => {
          if (this.#isRight(replica)) this.certification.answered(replica, message);
        },
        stepped: (replica, effects, machine) => this.#stepped(replica, effects, machine),
        rejected: (replica, evidence) => {
          if (this.correct.has(replica)) checkEvidence(replica, [evidence], this.#blameless, this.#report);
        },
        fetching: (replica) => {
          if (!this.correct.has(replica)) return;
          this.fetchesBegun += 1;
          this.#ambush.atFetch(replica);
        },
        fetched: (replica) => {
          if (this.correct.has(replica)) this.fetches += 1;
          this.#repaired(replica);
        },
        restored: (replica, status) => this.#restored(replica, status),
      },
    });
  }

  #replicaOf(index: number): SimulatedReplica {
    const replica = this.replicas[index];
    if (replica === undefined) throw new RangeError(`no replica ${index}`);
    return replica;
  }

  #stepped(replica: number, effects: ReplicaEffects, machine: Machine): void {
    const { status } = machine;
    const { persist, send, commits, replies } = effects;
    if (persist.length + commits.length + replies.length > 0) {
      const last = commits.at(-1);
      const upTo = last === undefined ? '' : ` up to ${last.index} ${last.digest.slice(0, 8)}`;
      this.#world.note(
        `r${replica} round ${status.round}: ${persist.length} durable, ${send.length} sent, ${commits.length} commits${upTo}`,
      );
    }
    if (!this.correct.has(replica)) return;
    for (const commit of commits) {
      this.agreement.committed(replica, commit);
      this.execution.committed(commit);
    }
    this.certification.observe(replica, machine.serviceKey, machine.certifiedHead);
    const { checkpoints, stable } = effects;
    if (checkpoints.length > 0 || stable !== undefined) this.#ambush.atCheckpoint(replica);
    checkEvidence(replica, effects.evidence, this.#blameless, this.#report);
    for (const { operation, detail } of effects.diagnostics) {
      this.#report('execution', `r${replica} has a complaint about the service: ${operation}: ${detail}`);
    }
    if (!this.#isRight(replica)) return;
    for (const { checkpoint, digest } of checkpoints) {
      this.agreement.checkpointAt(replica, checkpoint.ordering.commitIndex, digest);
    }
    if (commits.length > 0) this.agreement.stateAt(replica, status.commitIndex, status.stateRoot);
  }

  #restored(replica: number, status: MachineStatus): void {
    if (!this.correct.has(replica)) return;
    this.agreement.restored(replica, status.commitIndex);
    if (this.wrong.has(replica) && this.#beganRight(replica)) this.#repaired(replica);
    if (!this.#isRight(replica)) return;
    this.certification.restored(replica);
    if (status.commitIndex > 0) this.agreement.stateAt(replica, status.commitIndex, status.stateRoot);
  }

  /** Is it a correct one, and has it executed all as it should? */
  #isRight(replica: number): boolean {
    return this.correct.has(replica) && !this.wrong.has(replica);
  }

  /** Did it go back to a checkpoint from before its mistake? */
  #beganRight(replica: number): boolean {
    const stored = readStored(this.#replicaOf(replica).disk.engine);
    return stored === undefined || this.agreement.hasCheckpoint(stored.checkpoint.ordering.commitIndex, stored.digest);
  }

  #repaired(replica: number): void {
    if (this.wrong.delete(replica)) this.#world.note(`r${replica} is right again`);
  }

  /** One of those that are to go wrong does so with the first write it executes in the second half of the faults. */
  #makeFlawed(index: number, makeMachine: MachineMaker): MachineMaker {
    if (!this.#flawed.has(index)) return makeMachine;
    const flips = (): boolean => {
      if (this.#world.nowMs < this.scenario.safetyMs / 2 || !this.#flawed.delete(index)) return false;
      this.wrong.add(index);
      this.#blameless.delete(index);
      this.#world.note(`r${index} executes a write wrongly`);
      return true;
    };
    return (options) => makeMachine({ ...options, service: flawedService(flips) });
  }

  #toReplica(replica: number, request: Uint8Array): void {
    if (this.#prng.chance(this.#clientLoss)) return;
    this.#world.after(this.#clientDelayMs(), '', () =>
      this.#replicaOf(replica).request(0, request, this.#prng.chance(0.5)),
    );
  }

  #reply(replica: number, reply: Reply): void {
    if (this.#isRight(replica)) this.execution.replied(replica, reply);
    const client = this.clients.find(
      ({ clientHex, nonceHex }) => clientHex === reply.client && nonceHex === reply.sessionNonce,
    );
    if (client === undefined || this.#prng.chance(this.#clientLoss)) return;
    this.#world.after(this.#clientDelayMs(), '', () => client.hear(replica, reply));
  }

  #clientDelayMs(): number {
    return this.#prng.timeMs(0.25, 4);
  }

  #drawAction(prng: Prng, client: string): KvAction {
    const key = `k${prng.below(this.scenario.keys)}`;
    const name = `${client}-${prng.below(1_000_000)}`;
    const { valueLengthMax } = this.scenario;
    const value = valueLengthMax <= 20 ? name : name.padEnd(prng.between(20, valueLengthMax), '.');
    switch (prng.below(8)) {
      case 0:
      case 1:
      case 2:
        return { kind: 'put', key, value };
      case 3:
      case 4:
      case 5:
        return { kind: 'get', key };
      case 6:
        return { kind: 'delete', key };
      default:
        return { kind: 'cas', key, expected: this.#lastSeen(prng, key), value };
    }
  }

  /** Something that the key may hold: what some client last wrote or read there, or nothing. */
  #lastSeen(prng: Prng, key: string): string | undefined {
    if (prng.chance(0.25)) return undefined;
    for (const { action } of this.history.entries.slice(-40).reverse()) {
      if (action.key === key && (action.kind === 'put' || action.kind === 'cas')) return action.value;
    }
    return undefined;
  }
}
