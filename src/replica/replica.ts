/**
 * Replica: one whole replica in this process: home, state, a term for each epoch, links to clients, HTTP.
 *
 * Only wiring is here. Start: lock and open the home, verify the state, replay the log, listen, dial. When an epoch is over: leave its term, turn
 * the home, begin the next; clients stay connected meanwhile and wait. Stop: take no more, make durable what was accepted,
 * close. A replica that was away follows the others to the epoch they are in; one that has yet to join waits for that.
 * Trust: an attacker who controls this process has its keys and can lie in its name; the other replicas and the
 * clients are safe as long as no more than f are like that.
 */
import type { Logger } from 'pino';
import { mclCurve } from '../crypto/curve-mcl.ts';
import type { AnyService } from '../execution/service-definition.ts';
import { emptySet, type Membership, withReplica } from '../membership/membership.ts';
import { monotonicMs, now } from '../platform/clock.ts';
import { randomBytes } from '../platform/random.ts';
import type { EpochRecord } from '../storage/epoch-files.ts';
import type { Home, KeylessHome } from '../storage/home.ts';
import type { SealedKeyShare } from '../storage/key-store.ts';
import type { OpenState } from '../storage/state-directory.ts';
import { ClientListener } from '../transport/client-listener.ts';
import { limits } from '../wire/limits.ts';
import { statedBeginMs } from '../wire/membership-statement.ts';
import { decodeOutcomes } from '../wire/outcome.ts';
import type { Value } from '../wire/value.ts';
import { ClientPort } from './client-port.ts';
import { Counters } from './counters.ts';
import type { ClosedEpoch, ReplicaEffects, ReplicaInput } from './effects.ts';
import type { InputSource } from './event-loop.ts';
import { Following } from './following.ts';
import type { HttpBackend } from './http/backend.ts';
import { HttpCalls, isHttpLink } from './http/calls.ts';
import { HttpInterface } from './http/http-interface.ts';
import { KeeperPort } from './keeper-port.ts';
import { KeylessMember } from './keyless-member.ts';
import { Loneliness } from './loneliness.ts';
import type { ReplicaMachine } from './machine.ts';
import { Milestones } from './milestones.ts';
import type { ProofContext } from './proven-epoch.ts';
import { openProvenHome } from './proven-home.ts';
import { type ReplicaStatus, statusOf } from './replica-status.ts';
import { serviceSignatureCheck } from './service-signature.ts';
import { ShownProof } from './shown-proof.ts';
import { SuccessorMaker } from './successor-maker.ts';
import { Term } from './term.ts';

/** Links of clients begin at 1, those of HTTP are negative: this is nobody's. */
const nobodysLink = 0;

export interface RunningReplica {
  readonly replicaId: string;
  /** Undefined while it has yet to join: then it is in no epoch. */
  status(): ReplicaStatus | undefined;
  /** Stops cleanly; a second call waits for the first. */
  stop(): Promise<void>;
  /** Resolves when the replica has ended: with undefined after `stop`, else with what ended it. */
  readonly ended: Promise<unknown>;
  /** It has ended because the membership does not have it any more. */
  readonly hasLeft: boolean;
}

export interface ReplicaOptions {
  readonly home: string;
  readonly service: AnyService;
  readonly logger: Logger;
  /** Told now and then while the log is replayed. */
  readonly onReplay?: (progress: { readonly blocks: number; readonly commitIndex: number }) => void;
  /** Leaves of the request log of which there are proofs, at least. */
  readonly retainedLeaves?: number;
  /** Bytes of the block log that are kept though checkpoints stand for them. */
  readonly retainedSizeBytes?: number;
  /** This process was started clean by its keeper. */
  readonly isClean?: boolean;
}

/**
 * Starts the replica whose home is a directory.
 * Rejects with the typed error of the room that failed: `HomeError`, `StorageError`, `TransportError`.
 */
export async function startReplica(options: ReplicaOptions): Promise<RunningReplica> {
  const home = await openProvenHome(options.home, { isClean: options.isClean === true });
  const replica = new Replica(home, options);
  await replica.start();
  return replica;
}

class Replica implements RunningReplica {
  readonly ended: Promise<unknown>;
  hasLeft = false;
  readonly #options: ReplicaOptions;
  readonly #logger: Logger;
  readonly #counters = new Counters();
  readonly #keeper = KeeperPort.fromProcess();
  readonly #following: Following;
  readonly #loneliness = new Loneliness();
  readonly #startedAtMs = monotonicMs();
  readonly #startedAtClockMs = now();
  readonly #milestones: Milestones;
  #home: Home | KeylessHome;
  /** Since it was started clean, this process has named no keys. */
  #isClean: boolean;
  #term: Term | undefined;
  /** In an epoch of which it has lost the keys; then there is no term, and no door is open but HTTP. */
  #keyless: KeylessMember | undefined;
  readonly #proof: ShownProof;
  readonly #context: ProofContext;
  #successors: SuccessorMaker | undefined;
  #doors: Doors | undefined;
  /** The change of epoch that is under way; what clients ask for meanwhile waits. */
  #turning: Promise<void> | undefined;
  #waiting: ReplicaInput[] = [];
  #end: (reason: unknown) => void = () => undefined;
  #stopping: Promise<void> | undefined;
  #operations = 0;

  constructor(home: Home | KeylessHome, options: ReplicaOptions) {
    this.#home = home;
    this.#options = options;
    this.#isClean = options.isClean === true;
    this.#logger = options.logger.child({ replica: home.replicaId });
    this.#milestones = new Milestones({ logger: this.#logger, counters: this.#counters, keeper: this.#keeper });
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#following = new Following({
      serviceId: home.serviceId,
      logger: this.#logger,
      isNeeded: () => this.#isLonely() || this.#proof.isWanted(monotonicMs()),
      epoch: () => this.#term?.membership.epoch ?? this.#keyless?.epoch ?? -1,
      serviceKey: () => this.#serviceKey,
      addresses: () => this.#addresses(),
      concerns: ({ statement: { replicas } }) =>
        this.#home.replicaIndex >= 0 || replicas.some(({ replicaId }) => replicaId === home.replicaId),
      shown: (record) => this.#proof.take(record),
      found: (record) => this.#turn(record, { share: undefined, awaitsState: true }),
    });
    this.#context = { serviceId: home.serviceId, isSigned: serviceSignatureCheck(() => this.#serviceKey) };
    this.#proof = new ShownProof({
      context: this.#context,
      hasServiceKey: () => this.#serviceKey !== undefined,
      logger: this.#logger,
    });
  }

  get replicaId(): string {
    return this.#home.replicaId;
  }

  /** Begins its life from what its home holds, then listens and dials; or fetches state first, with all ears open. */
  async start(): Promise<void> {
    try {
      if (this.#home.kind === 'without-keys') await this.#beginWithoutKeys(this.#home);
      else if (this.#home.replicaIndex >= 0) await this.#begin(this.#home, undefined);
      else this.#logger.info('this replica waits until the others have it in their membership');
    } catch (error) {
      // It may have failed while it began: the first failure says why, not what came of closing everything.
      if (this.#stopping !== undefined) throw (await this.ended) ?? error;
      this.#stopping = this.#shutDown(error);
      await this.#stopping;
      throw error;
    }
    this.#following.start();
  }

  status(): ReplicaStatus | undefined {
    const term = this.#term;
    if (term === undefined) return this.#keyless?.status();
    const { machine, phase, progress, engineSizeBytes } = term.lives;
    return {
      ...statusOf({
        home: term.home,
        membership: term.membership,
        machine,
        connected: term.connected,
        requestsPerSecond: Math.round(this.#counters.perSecond(now())),
        uptimeMs: Math.round(monotonicMs() - this.#startedAtMs),
      }),
      phase,
      ...(progress === undefined ? {} : { transfer: progress }),
      engineSizeBytes,
      blockLogSizeBytes: term.log.end - term.log.begin,
      counters: this.#counters.counts,
    };
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#shutDown(undefined);
    return this.#stopping;
  }

  /** Begins the term of the epoch that the home is in, and opens the doors if they are not open yet. */
  async #begin(home: Home, state: OpenState | undefined): Promise<void> {
    const { service, onReplay, retainedLeaves, retainedSizeBytes, isClean = false } = this.#options;
    const term = await Term.open({
      home,
      service,
      logger: this.#logger,
      counters: this.#counters,
      retainedLeaves: retainedLeaves ?? limits.logLeavesRetained,
      retainedSizeBytes: retainedSizeBytes ?? limits.logRetainedSizeBytes,
      state,
      isClean,
      ports: {
        reply: (reply) => {
          this.#doors?.clients.reply(reply);
          this.#doors?.httpCalls.reply(reply);
        },
        certified: (answer) => this.#doorOf(answer.link)?.certified(answer),
        refuse: (refusal) => this.#doorOf(refusal.link)?.refuse(refusal),
      },
      pressure: (source, isHigh) => this.#press(source, isHigh),
      onReplay,
      observe: (effects, machine) => this.#observe(effects, machine),
      failed: (error) => void this.#fail(error),
    });
    this.#term = term;
    const { membership } = term;
    const member = membership.members[home.replicaIndex] as Membership['members'][number];
    this.#successors = new SuccessorMaker({
      home,
      member,
      presentKey: home.signingKey,
      keeper: this.#keeper,
      isClean: this.#isClean,
      canBeSpared: () => membership.rule.isQuorum([...term.connected].reduce(withReplica, emptySet)),
      logger: this.#logger,
      give: (secrets) => term.giveNextSecrets(secrets),
      submit: async (successor, signal) => {
        const how = { certified: false, signal };
        const answer = await this.#doors?.httpCalls.submitAnonymous('coterie.successor', { successor }, how);
        const submitted = answer === 'too-many' ? undefined : answer?.submitted;
        return submitted?.kind === 'reply' ? codeOf(submitted.result) : undefined;
      },
      certifiedMembership: () => term.lives.running?.certifiedMembership,
    });
    const opened = this.#doors;
    if (opened !== undefined) this.#moveDoors(opened, home);
    const doors = opened ?? this.#makeDoors(home, member);
    this.#doors = doors;
    // The life first: whoever knocks is answered out of it.
    await term.lives.begin();
    if (opened === undefined) await doors.listener.listen();
    await term.listen();
    if (opened === undefined) await doors.http.listen();
    if (home.isLogLost) {
      this.#logger.warn('the log was lost: this replica follows as an observer and signs nothing in this epoch');
    }
    const { epoch } = membership;
    const { phase } = term.lives;
    this.#logger.info({ epoch, phase, observer: home.isLogLost, pid: process.pid }, 'replica started');
    this.#keeper?.status({ epoch, phase });
    // Looked at now, and not when somebody asks for it.
    this.#proof.of(home.record);
  }

  /** Shuts all doors: the link key that they show is that of another epoch. */
  async #beginWithoutKeys(home: KeylessHome): Promise<void> {
    await this.#closeDoors();
    const keyless = new KeylessMember({
      home,
      logger: this.#logger,
      counters: this.#counters,
      keeper: this.#keeper,
      isClean: this.#isClean,
      context: this.#context,
      uptimeMs: () => monotonicMs() - this.#startedAtMs,
      closingProof: () => this.#proof.of(home.record),
    });
    this.#keyless = keyless;
    await keyless.start();
  }

  async #closeDoors(): Promise<void> {
    const doors = this.#doors;
    this.#doors = undefined;
    await Promise.all([doors?.listener.close(), doors?.http.close()]);
  }

  get #serviceKey(): string | undefined {
    return this.#term?.lives.machine?.serviceKey ?? this.#home.serviceKey;
  }

  #makeDoors(home: Home, { clientAddress, httpAddress }: Membership['members'][number]): Doors {
    const commitIndex = (): number => this.#term?.lives.machine?.commitIndex ?? 0;
    const onInput = (input: ReplicaInput): void => this.#push(input);
    const clients = new ClientPort({
      serviceId: home.serviceId,
      replicaIndex: home.replicaIndex,
      randomBytes,
      commitIndex,
      status: () => this.status() as unknown as Value,
      onInput,
      onCounted: (event) => this.#counters.count(event),
    });
    const { serviceId, signingKey } = home;
    const httpCalls = new HttpCalls({ serviceId, signingKey, randomBytes, commitIndex, onInput });
    const listener = new ClientListener({
      ...clientAddress,
      keyPem: home.linkKeyPem,
      certificatePem: home.linkCertificatePem,
      onLink: (link) => clients.add(link),
      onCounted: (event) => this.#counters.count(`client-link ${event}`),
    });
    const http = new HttpInterface({
      ...httpAddress,
      backend: this.#httpBackend(httpCalls),
      onCounted: (event) => this.#counters.count(event),
      onMistake: (error) => this.#logger.error({ err: error }, 'a mistake in answering by HTTP'),
    });
    return { clients, httpCalls, listener, http };
  }

  #moveDoors({ clients, httpCalls, listener }: Doors, home: Home): void {
    clients.moveTo(home.replicaIndex);
    httpCalls.signWith(home.signingKey);
    listener.showKey({ keyPem: home.linkKeyPem, certificatePem: home.linkCertificatePem });
  }

  #push(input: ReplicaInput): void {
    if (this.#turning === undefined) this.#term?.lives.push(input);
    else if (this.#waiting.length < limits.turnInputsMax) this.#waiting.push(input);
    else this.#counters.count('dropped-while-turning');
  }

  #observe(effects: ReplicaEffects, machine: ReplicaMachine): void {
    const { operations } = machine;
    // Another life counts from nothing again.
    this.#counters.executed(Math.max(0, operations - this.#operations), now());
    this.#operations = operations;
    for (const evidence of effects.evidence) this.#term?.evidence.add(evidence);
    for (const refusal of effects.refusals) this.#counters.count(`request-refused ${refusal.code}`);
    this.#milestones.look(machine, this.#home);
    for (const diagnostic of effects.diagnostics) this.#logger.warn(diagnostic, 'an operation of the service failed');
    if (effects.wantsSuccessor !== undefined) this.#successors?.take(effects.wantsSuccessor);
    if (effects.closed !== undefined) {
      this.#turn(recordOf(effects.closed), { share: shareOf(effects.closed), awaitsState: false });
    }
  }

  /** Goes on in a later epoch; one change at a time. */
  #turn(record: EpochRecord, how: TurnOptions): void {
    if (this.#turning !== undefined || this.#stopping !== undefined) return;
    this.#turning = this.#turnTo(record, how)
      .catch((error: unknown) => void this.#fail(error))
      .finally(() => {
        this.#turning = undefined;
        for (const input of this.#waiting.splice(0)) this.#push(input);
      });
  }

  async #turnTo(record: EpochRecord, { share, awaitsState }: TurnOptions): Promise<void> {
    const { epoch } = record.statement;
    this.#logger.info({ epoch }, 'the epoch is over: this replica goes on in the next');
    const term = this.#term;
    const unwritten = this.#successors?.end();
    if ((this.#keyless ?? this.#successors)?.hasNamed === true || this.#isOlderThan(record)) {
      this.#isClean = false;
    }
    const pending = term?.lives.running?.pendingRequests ?? [];
    // What is said within the step that closed the epoch is said before its links go.
    await new Promise((resolve) => setImmediate(resolve));
    await unwritten;
    const state = await term?.leave();
    await this.#keyless?.end();
    const home = await this.#home.turnTo(record, share, { awaitsState });
    this.#keyless = undefined;
    if (home?.kind !== 'with-keys') await state?.engine.close();
    if (home === undefined) {
      this.#logger.warn({ epoch }, 'this replica is not in the membership any more: its keys are erased, and it stops');
      this.#term = undefined;
      this.hasLeft = true;
      this.#stopping ??= this.#shutDown(undefined);
      return;
    }
    this.#home = home;
    this.#operations = 0;
    if (home.kind === 'without-keys') {
      this.#term = undefined;
      await this.#beginWithoutKeys(home);
      return;
    }
    await this.#begin(home, state);
    for (const request of pending) {
      this.#term?.lives.push({ kind: 'client-request', link: nobodysLink, request });
    }
  }

  /** Who was made clean before an epoch began, and takes part in it, is not clean at its end. */
  #isOlderThan({ statement }: EpochRecord): boolean {
    return this.#startedAtClockMs < (statedBeginMs(statement) ?? 0);
  }

  #isLonely(): boolean {
    if (this.#turning !== undefined) return false;
    const term = this.#term;
    if (this.#keyless?.isQuiet === true) {
      return this.#loneliness.isFelt({ isQuorum: true, isWhole: false }, monotonicMs());
    }
    if (term === undefined) return true;
    const { rule } = term.membership;
    const present = [...term.connected, this.#home.replicaIndex].reduce(withReplica, emptySet);
    const isWhole = term.connected.size === rule.n - 1;
    return this.#loneliness.isFelt({ isQuorum: rule.isQuorum(present), isWhole }, monotonicMs());
  }

  #addresses(): Membership['members'][number]['httpAddress'][] {
    const { genesis, replicaId, record } = this.#home;
    const known = [...(record?.statement.replicas ?? []), ...genesis.replicas];
    const others = known.filter((each) => each.replicaId !== replicaId).map(({ httpAddress }) => httpAddress);
    return others.filter(
      ({ host, port }, i) => others.findIndex((each) => each.host === host && each.port === port) === i,
    );
  }

  #doorOf(link: number): Pick<ClientPort, 'certified' | 'refuse'> | undefined {
    return isHttpLink(link) ? this.#doors?.httpCalls : this.#doors?.clients;
  }

  #httpBackend(calls: HttpCalls): HttpBackend {
    const machine = (): ReplicaMachine | undefined => this.#term?.lives.running;
    return {
      replicaId: this.#home.replicaId,
      submit: (request, options) => calls.submit(request, options),
      submitAnonymous: (operation, input, options) => calls.submitAnonymous(operation, input, options),
      readState: (key, options) => calls.read(key, options),
      certifiedHead: () => machine()?.certifiedHead,
      inclusionPath: (leafIndex, logSize) => machine()?.prover.inclusionPath(leafIndex, logSize),
      consistencyPath: (from, to) => machine()?.prover.consistencyPath(from, to),
      certifiedMembership: () => machine()?.certifiedMembership,
      closingProof: () => this.#proof.of(this.#home.record),
      divergence: () => machine()?.divergence,
      status: () => this.status() as unknown as Readonly<Record<string, Value>>,
    };
  }

  /** Reads from a source no more, or again. Its frames wait in the network meanwhile, and everybody else is served. */
  #press(source: InputSource, isHigh: boolean): void {
    this.#counters.count(`pressure-${isHigh ? 'high' : 'low'} ${source.kind}`);
    // What came by HTTP is bounded where it comes in.
    if (source.kind === 'client') this.#doors?.clients.pause(source.link, isHigh);
    else this.#term?.press(source.peer, isHigh);
  }

  /** The log failed or there is a bug: say nothing more, because what we say must be durable first. */
  async #fail(error: unknown): Promise<void> {
    this.#logger.fatal({ err: error }, 'the replica cannot go on');
    this.#stopping ??= this.#shutDown(error);
    await this.#stopping;
  }

  async #shutDown(reason: unknown): Promise<void> {
    let ending = reason;
    this.#following.end();
    await this.#successors?.end();
    // A change that is under way is not cut short: it is the rename of one file, and what comes after that.
    if (reason === undefined) await this.#turning;
    try {
      await this.#term?.end({ isSudden: reason !== undefined });
    } catch (error) {
      ending ??= error;
    }
    await Promise.all([this.#closeDoors(), this.#keyless?.end()]);
    await this.#home.close();
    this.#logger.info('replica stopped');
    this.#end(ending);
  }
}

interface TurnOptions {
  readonly share: SealedKeyShare | undefined;
  /** The state that the epoch begins with is not here. */
  readonly awaitsState: boolean;
}

/** Ports that stay open from epoch to epoch. */
interface Doors {
  readonly clients: ClientPort;
  readonly httpCalls: HttpCalls;
  readonly listener: ClientListener;
  readonly http: HttpInterface;
}

function recordOf({ body, membership, proof }: ClosedEpoch): EpochRecord {
  const { epochGenesis, sharingEpoch } = membership;
  return { statement: { ...body, epochGenesis, sharingEpoch }, signature: undefined, closingProof: proof };
}

/** `taken`, or the code of the refusal; undefined when it is no outcome. */
function codeOf(result: Uint8Array): string | undefined {
  const outcomes = decodeOutcomes(result);
  const outcome = outcomes.ok ? outcomes.value[0] : undefined;
  return outcome?.ok === true ? 'taken' : outcome?.code;
}

function shareOf({ keyShare }: ClosedEpoch): SealedKeyShare | undefined {
  if (keyShare === undefined) return undefined;
  const { g2 } = mclCurve;
  return { keyShare, verificationKey: g2.encode(g2.multiply(g2.generator, keyShare)) };
}
