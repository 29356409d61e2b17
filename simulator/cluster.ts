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
import type { MachineStatus } from '../src/replica/machine-options.ts';
import type { Adversary } from './adversaries/adversary.ts';
import { coinScheduler } from './adversaries/coin-scheduler.ts';
import { leaderScheduler } from './adversaries/leader-scheduler.ts';
import { AgreementChecker } from './checkers/agreement.ts';
import { CertificationChecker } from './checkers/certification.ts';
import { checkEvidence } from './checkers/evidence.ts';
import { ExecutionChecker } from './checkers/execution.ts';
import type { Report } from './checkers/violation.ts';
import { Clock } from './clock.ts';
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
    if (scenario.adversaries.length > f) throw new RangeError(`at most f = ${f} adversaries`);

    const faulty = new Map(
      prng
        .shuffle(Array.from({ length: n }, (_, index) => index))
        .slice(0, scenario.adversaries.length)
        .map((index, place) => [index, this.#adversary(index, place)] as const),
    );
    const indexes = Array.from({ length: n }, (_, index) => index);
    this.correct = new Set(indexes.filter((index) => !faulty.has(index)));
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
    this.#replicaOf(index).crashAfterEffects(count, () => this.network.breakLinks(index));
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
    const { delayMsMin, delayMsMax } = this.scenario.links;
    const links = { delayMsMin, delayMsMax, slow: 0.01, loss: 0, duplicate: 0, overtake: 0, resetAfterLoss: true };
    for (const index of this.correct) {
      const replica = this.#replicaOf(index);
      replica.crashAfterEffects(Number.POSITIVE_INFINITY, () => {});
      replica.clock.correct(this.#world.nowMs);
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
      makeMachine: makeMachine ?? productionMachine,
      ports: {
        send: (from, to, frame) => this.network.send(from, to, frame),
        reply: (replica, reply) => this.#reply(replica, reply),
        refused: (replica, { code, reason }) => this.#world.note(`r${replica} refuses a request: ${code}, ${reason}`),
        certified: (replica, { message }) => {
          if (this.correct.has(replica)) this.certification.answered(replica, message);
        },
        stepped: (replica, effects, machine) => this.#stepped(replica, effects, machine),
        rejected: (replica, evidence) => {
          if (this.correct.has(replica)) checkEvidence(replica, [evidence], this.correct, this.#report);
        },
        fetched: (replica) => {
          if (this.correct.has(replica)) this.fetches += 1;
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
    if (commits.length > 0) this.agreement.stateAt(replica, status.commitIndex, status.stateRoot);
    checkEvidence(replica, effects.evidence, this.correct, this.#report);
    for (const { operation, detail } of effects.diagnostics) {
      this.#report('execution', `r${replica} has a complaint about the service: ${operation}: ${detail}`);
    }
  }

  #restored(replica: number, status: MachineStatus): void {
    if (!this.correct.has(replica)) return;
    this.agreement.restored(replica, status.commitIndex);
    this.certification.restored(replica);
    if (status.commitIndex > 0) this.agreement.stateAt(replica, status.commitIndex, status.stateRoot);
  }

  #toReplica(replica: number, request: Uint8Array): void {
    if (this.#prng.chance(this.#clientLoss)) return;
    this.#world.after(this.#clientDelayMs(), '', () =>
      this.#replicaOf(replica).request(0, request, this.#prng.chance(0.5)),
    );
  }

  #reply(replica: number, reply: Reply): void {
    if (this.correct.has(replica)) this.execution.replied(replica, reply);
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
