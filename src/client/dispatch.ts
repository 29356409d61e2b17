/**
 * Dispatch: gathers calls into requests, gives them to the session, begins another session when one has expired, and moves
 * all to the replicas of the next epoch when there is one.
 *
 * In: calls. Out: their promises. Owns the queue, the sessions and the only two timers of a client. A caller alone is
 * sent at once; while requests are open, calls gather until one of these is answered or a moment has passed, so that
 * many callers share one signature.
 */
import { type SigningKey, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { containsReplica, emptySet, withReplica } from '../membership/membership.ts';
import { monotonicMs, now, setTimer, type Timer } from '../platform/clock.ts';
import type { RandomBytes } from '../platform/random.ts';
import { limits } from '../wire/limits.ts';
import { sessionNonceSizeBytes } from '../wire/request.ts';
import type { Value } from '../wire/value.ts';
import { Call, CallQueue, type CallRequest, fitsRequest, type Proof } from './call.ts';
import type { CertifiedHeads } from './certified-heads.ts';
import type { Stated } from './certified-membership.ts';
import { CoterieError } from './client-error.ts';
import type { Cluster, Dial } from './cluster.ts';
import { type AskMembership, EpochFollowing, isAfter } from './epoch-following.ts';
import { Latency } from './latency.ts';
import type { ReadRequest, StateAnswer } from './open-read.ts';
import type { ServiceKey } from './service-key.ts';
import { ClientSession } from './session.ts';
import { type ReplicaObservation, Standings } from './standing.ts';

/** Longest that a call waits for company while other requests are open. */
const gatherMs = 1;
/** So many calls are company enough. */
const gatheredOperationsMin = 256;
const tickMs = 10;
/** Calls wait, and too few replicas are connected, for so long: they may be elsewhere by now. */
const lackingMsMax = 1_000;
/** A tick this late means that this process was held up. */
const heldUpAfterMs = 15;

export interface DispatchOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** How a client goes on from one epoch to the next. */
export interface Following {
  readonly serviceKey: () => Promise<ServiceKey>;
  /** HTTP ports to ask besides those of the replicas, as `host:port`. */
  readonly at: readonly string[];
  /** Told of each later membership. */
  readonly onMembership: (stated: Stated) => void;
  /** Tests put another network in its place. */
  readonly ask?: AskMembership;
}

type CallFields = 'operation' | 'input' | 'certified' | 'resolve' | 'reject';

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Dispatch {
  #cluster: Cluster;
  readonly #key: SigningKey;
  readonly #dial: Dial;
  readonly #randomBytes: RandomBytes;
  #standings: Standings;
  readonly #heads: CertifiedHeads | undefined;
  readonly #following: EpochFollowing | undefined;
  readonly #onMembership: (stated: Stated) => void;
  readonly #latencies = { quick: new Latency(), certified: new Latency(), read: new Latency() };
  readonly #quick = new CallQueue();
  /** Calls that want a proof: they share requests with one another only. */
  readonly #certified = new CallQueue();
  #session: ClientSession;
  /** Expired ones, until their last requests are done with. */
  readonly #retired = new Set<ClientSession>();
  /** Bytes of result one operation lately had, generously. */
  #resultSizePerOperationBytes = 0;
  #pumpPlanned = false;
  #gatherTimer: Timer | undefined;
  #tickTimer: Timer | undefined;
  #tickAtMs = 0;
  #waitingForReady: Waiting | undefined;
  #lackingSinceMs: number | undefined;
  /** Somebody else than the replica that is known was at its address. */
  #hasMetStrangers = false;
  #ending: Promise<void> | undefined;

  constructor(options: {
    readonly cluster: Cluster;
    /** 32 bytes. */
    readonly seed: Uint8Array;
    readonly dial: Dial;
    readonly randomBytes: RandomBytes;
    /** What is known of the log; undefined without a service key: no call can be certified then. */
    readonly heads: CertifiedHeads | undefined;
    /** Undefined without a service key: the client stays with the replicas that it was given. */
    readonly following?: Following | undefined;
  }) {
    this.#cluster = options.cluster;
    this.#heads = options.heads;
    this.#key = signingKeyFromSeed(options.seed);
    this.#dial = options.dial;
    this.#randomBytes = options.randomBytes;
    const { n } = options.cluster.rule;
    const random = (): number => Buffer.from(options.randomBytes(4)).readUInt32BE() / 0x1_0000_0000;
    this.#standings = new Standings(n, { firstChoice: Math.floor(random() * n), random });
    const { following, cluster } = options;
    const use = {
      now: monotonicMs,
      onLater: (stated: Stated) => this.#follow(stated),
      onEnded: () => this.#look(),
    };
    this.#onMembership = following?.onMembership ?? (() => {});
    this.#following = following === undefined ? undefined : new EpochFollowing({ ...following, cluster, use });
    this.#session = this.#begin(undefined);
  }

  /** The replicas as they are known now. */
  get cluster(): Cluster {
    return this.#cluster;
  }

  /** Resolves when enough replicas are connected; rejects when that is hopeless or takes too long. */
  async ready({ deadlineMs, signal }: { readonly deadlineMs: number; readonly signal?: AbortSignal | undefined }) {
    let timer: Timer | undefined;
    const onAbort = (): void => this.#waitingForReady?.reject(abortedBeforeSent(signal));
    try {
      await new Promise<void>((resolve, reject) => {
        if (signal?.aborted) {
          reject(abortedBeforeSent(signal));
          return;
        }
        this.#waitingForReady = { resolve, reject };
        timer = setTimer(deadlineMs, () => reject(this.#unavailable()));
        signal?.addEventListener('abort', onAbort, { once: true });
        this.#session.links.ensure();
        this.#look();
      });
    } finally {
      timer?.cancel();
      signal?.removeEventListener('abort', onAbort);
      this.#waitingForReady = undefined;
    }
  }

  /** Never throws; a call that cannot be made is a promise that is rejected. */
  call(operation: string, input: Uint8Array, options: DispatchOptions): Promise<Value> {
    return new Promise((resolve, reject) => {
      this.#take({ operation, input, ...options, certified: false, alone: false, resolve, reject });
    });
  }

  /** The same with a proof. `alone`: in a request of its own, so that the document holds no other call. */
  callCertified(
    operation: string,
    input: Uint8Array,
    options: DispatchOptions & { readonly alone: boolean },
  ): Promise<{ readonly value: Value; readonly proof: Proof }> {
    if (this.#heads === undefined) {
      const sentence = `${operation}: a certified call needs the service key, and this client has none`;
      return Promise.reject(new CoterieError('no-service-key', sentence, { outcome: 'not-sent' }));
    }
    return new Promise((resolve, reject) => {
      const settle = (value: Value, proof: Proof | undefined): void => {
        if (proof === undefined) reject(new Error('invariant: a certified call settled without a proof'));
        else resolve({ value, proof });
      };
      this.#take({ operation, input, ...options, certified: true, resolve: settle, reject });
    });
  }

  /** What is under a key of the state, proven by one replica; nothing is ordered for it. */
  read(
    question: Pick<ReadRequest, 'key' | 'notBefore' | 'ageMsMax'>,
    { deadlineMs, signal }: DispatchOptions,
  ): Promise<StateAnswer> {
    const { reads } = this.#session;
    if (reads === undefined) {
      const sentence = 'a certified read needs the service key, and this client has none';
      return Promise.reject(new CoterieError('no-service-key', sentence, { outcome: 'not-sent' }));
    }
    if (this.#ending !== undefined) return Promise.reject(closed('reading', 'not-sent'));
    if (signal?.aborted) return Promise.reject(abortedBeforeSent(signal));
    if (reads.open >= limits.clientReadsOpenMax) {
      const sentence = `${reads.open} reads wait already`;
      return Promise.reject(new CoterieError('overloaded', sentence, { outcome: 'not-sent' }));
    }
    return new Promise((resolve, reject) => {
      const end = (): void => signal?.removeEventListener('abort', onAbort);
      const giveUp = reads.begin({
        ...question,
        deadlineAtMs: monotonicMs() + deadlineMs,
        resolve: (answer) => {
          end();
          resolve(answer);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      });
      const onAbort = (): void => giveUp(abortedBeforeSent(signal));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#armTick();
    });
  }

  #take(made: DispatchOptions & Pick<CallRequest, CallFields> & { readonly alone: boolean }): void {
    const { operation, input, deadlineMs, signal, alone, certified, resolve, reject } = made;
    if (this.#ending !== undefined) {
      reject(closed(operation, 'not-sent'));
      return;
    }
    if (signal?.aborted) {
      reject(abortedBeforeSent(signal));
      return;
    }
    if (!fitsRequest(operation, input)) {
      const sentence = `${operation}: an input of ${input.length} bytes does not fit a request`;
      reject(new CoterieError('invalid-input', sentence, { outcome: 'not-sent' }));
      return;
    }
    const deadlineAtMs = monotonicMs() + deadlineMs;
    const call = new Call({ operation, input, certified, deadlineAtMs, signal, resolve, reject, onAbort: giveUp });
    call.alone = alone;
    const queue = this.#queueOf(call);
    if (!queue.push(call)) {
      const sentence = `${operation}: ${queue.length} calls wait already`;
      call.reject(new CoterieError('overloaded', sentence, { outcome: 'not-sent' }));
      return;
    }
    if (this.#session.openRequests === 0 || queue.length >= gatheredOperationsMin) this.#planPump();
    else this.#gatherTimer ??= setTimer(gatherMs, () => this.#pump());
  }

  #queueOf({ certified }: Call): CallQueue {
    return certified ? this.#certified : this.#quick;
  }

  /** Calls that wait for a request. */
  get #waitingCalls(): number {
    return this.#quick.length + this.#certified.length;
  }

  observe(): readonly ReplicaObservation[] {
    const nowMs = monotonicMs();
    const { up } = this.#session.links;
    return this.#cluster.replicas.map((_, replica) =>
      this.#standings.observe(replica, nowMs, containsReplica(up, replica)),
    );
  }

  /** Rejects what is open and ends every link; resolves when nothing is left. */
  close(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    this.#gatherTimer?.cancel();
    this.#tickTimer?.cancel();
    this.#waitingForReady?.reject(closed('connecting', 'not-sent'));
    const makeError = (call: Call): CoterieError => closed(call.operation, call.sent ? 'unknown' : 'not-sent');
    for (const call of [...this.#quick.clear(), ...this.#certified.clear()]) call.reject(makeError(call));
    const sessions = [this.#session, ...this.#retired].map((session) => session.close(makeError));
    await Promise.all([...sessions, this.#following?.close()]);
  }

  #begin(birth: number | undefined): ClientSession {
    const session: ClientSession = new ClientSession({
      cluster: this.#cluster,
      key: this.#key,
      nonce: this.#randomBytes(sessionNonceSizeBytes),
      birth,
      standings: this.#standings,
      latencies: this.#latencies,
      heads: this.#heads,
      dial: this.#dial,
      use: {
        now: monotonicMs,
        clock: now,
        onChange: () => this.#look(),
        onReturned: (calls) => this.#takeBack(calls),
        onResult: (sizeBytes, operations) => {
          const perOperationBytes = sizeBytes / operations;
          this.#resultSizePerOperationBytes = Math.max(perOperationBytes, this.#resultSizePerOperationBytes * 0.9);
        },
        onStranger: () => this.#meetStranger(),
        onExpired: (commitIndex) => this.#replace(session, commitIndex),
      },
    });
    return session;
  }

  #meetStranger(): void {
    this.#hasMetStrangers = true;
    this.#following?.want();
  }

  /** The epoch went on: everything open goes to the replicas that it has now. */
  #follow(stated: Stated): void {
    const { cluster } = stated;
    if (this.#ending !== undefined || !isAfter(cluster, this.#cluster)) return;
    const before = this.#cluster.replicas;
    this.#cluster = cluster;
    this.#standings = this.#standings.moved(cluster.rule.n, (place) => {
      const { replicaId, keyDigest } = cluster.replicas[place]!;
      const replica = before.findIndex((each) => each.replicaId === replicaId);
      return replica === -1 ? undefined : { replica, hasSameKey: before[replica]!.keyDigest === keyDigest };
    });
    this.#hasMetStrangers = false;
    for (const session of [this.#session, ...this.#retired]) session.follow(cluster, this.#standings);
    this.#onMembership(stated);
    this.#look();
  }

  #replace(expired: ClientSession, commitIndex: number): void {
    if (this.#session !== expired || this.#ending !== undefined) return;
    this.#retired.add(expired);
    this.#session = this.#begin(commitIndex);
    this.#session.links.ensure();
  }

  #takeBack(calls: readonly Call[]): void {
    for (const call of calls) {
      if (this.#ending === undefined && this.#queueOf(call).push(call)) continue;
      const outcome = 'not-executed';
      call.reject(new CoterieError('overloaded', `${call.operation}: no room to ask again`, { outcome }));
    }
  }

  /** After whatever changed: who waits for what. */
  #look(): void {
    if (this.#ending !== undefined) return;
    this.#lookForLater();
    if (this.#waitingForReady !== undefined) {
      if (this.#session.ready) this.#waitingForReady.resolve();
      else if (this.#isHopeless() && this.#following?.isInVain !== false) {
        this.#waitingForReady.reject(this.#unavailable());
      }
    }
    for (const session of this.#retired) {
      if (session.isBusy) continue;
      this.#retired.delete(session);
      void session.close((call) => closed(call.operation, 'unknown'));
    }
    if (this.#waitingCalls > 0 || this.#session.openRequests === 0) this.#planPump();
    this.#armTick();
  }

  /** Are there signs that the replicas are others by now? */
  #lookForLater(): void {
    if (this.#following === undefined) return;
    this.#following.saw(this.#heads?.newest?.head.epoch ?? 0);
    const isLacking = !this.#cluster.rule.hasCorrect(this.#session.links.up);
    if (!isLacking || !this.#isBusy) this.#lackingSinceMs = undefined;
    else {
      const nowMs = monotonicMs();
      this.#lackingSinceMs ??= nowMs;
      if (nowMs - this.#lackingSinceMs > lackingMsMax || this.#isHopeless()) this.#following.want();
    }
  }

  /**
   * Plans to send what has gathered once everything that is about to run has run: callers whose results have just
   * arrived make their next calls first.
   */
  #planPump(): void {
    if (this.#pumpPlanned) return;
    this.#pumpPlanned = true;
    queueMicrotask(() =>
      process.nextTick(() => {
        this.#pumpPlanned = false;
        this.#pump();
      }),
    );
  }

  #pump(): void {
    this.#gatherTimer?.cancel();
    this.#gatherTimer = undefined;
    if (this.#ending !== undefined) return;
    // In turn, so that neither kind waits for all of the other.
    for (let turn = 0; this.#canCarry; turn++) {
      const [first, second] = turn % 2 === 0 ? [this.#quick, this.#certified] : [this.#certified, this.#quick];
      const calls = (first.length > 0 ? first : second).take(this.#operationsMax());
      if (calls.length > 0) this.#session.carry(calls);
    }
    this.#armTick();
  }

  get #canCarry(): boolean {
    const isRoom = this.#session.openRequests < limits.clientRequestsOpenMax;
    return this.#waitingCalls > 0 && this.#session.canSend && isRoom;
  }

  /** So many operations that their results, if they are like the last ones, fit one result with room to spare. */
  #operationsMax(): number {
    const fitting = Math.floor(limits.resultSizeBytesMax / 2 / Math.max(1, this.#resultSizePerOperationBytes));
    return Math.min(limits.requestOperationsMax, Math.max(1, fitting));
  }

  /** Ticks while somebody waits; else wakes only to mend links. */
  #armTick(): void {
    if (this.#ending !== undefined) return;
    const nowMs = monotonicMs();
    let atMs = nowMs + tickMs;
    if (!this.#isBusy) {
      const wakes = [this.#session.links.ensureAtMs, this.#following?.nextAtMs].filter((at) => at !== undefined);
      if (wakes.length === 0) return;
      atMs = Math.max(atMs, Math.min(...wakes));
    }
    if (this.#tickTimer !== undefined) {
      if (this.#tickAtMs <= atMs) return;
      this.#tickTimer.cancel();
    }
    this.#tickAtMs = atMs;
    this.#tickTimer = setTimer(atMs - nowMs, () => this.#tick());
  }

  get #isBusy(): boolean {
    return (
      this.#waitingCalls > 0 || this.#session.isBusy || this.#retired.size > 0 || this.#waitingForReady !== undefined
    );
  }

  #tick(): void {
    this.#tickTimer = undefined;
    const nowMs = monotonicMs();
    const lateMs = nowMs - this.#tickAtMs;
    this.#following?.tick();
    for (const session of [...this.#retired, this.#session]) {
      if (lateMs > heldUpAfterMs) session.postpone(lateMs);
      session.tick(nowMs);
    }
    for (const queue of [this.#quick, this.#certified]) {
      queue.expire(nowMs, (call) => call.reject(this.#session.overdue(call)));
    }
    this.#look();
  }

  /** Are so many replicas definitely down that the rest is not enough? */
  #isHopeless(): boolean {
    let possible = emptySet;
    for (let replica = 0; replica < this.#cluster.replicas.length; replica++) {
      if (!this.#standings.isDefinitelyDown(replica)) possible = withReplica(possible, replica);
    }
    return !this.#cluster.rule.hasCorrect(possible);
  }

  #unavailable(): CoterieError {
    const isLost = this.#hasMetStrangers && this.#following === undefined;
    const hint = 'The replicas may have got new keys in a later epoch: connect with the service key to follow them.';
    const sentence = this.#session.reachability();
    return new CoterieError('unavailable', sentence, { outcome: 'not-sent', ...(isLost ? { hint } : {}) });
  }
}

function giveUp(call: Call): void {
  const outcome = call.sent ? 'unknown' : 'not-sent';
  call.reject(new CoterieError('aborted', `${call.operation} was given up by the caller`, { outcome }));
}

function abortedBeforeSent(signal: AbortSignal | undefined): CoterieError {
  return new CoterieError('aborted', 'given up by the caller', { outcome: 'not-sent', cause: signal?.reason });
}

function closed(operation: string, outcome: 'not-sent' | 'unknown'): CoterieError {
  return new CoterieError('closed', `${operation}: the client is closed`, { outcome });
}
