/**
 * `coterie/client`: calls the operations of a replicated service (docs/operations/using-the-client.md).
 *
 * A client signs its requests, sends each to one replica, to another when that is slow, and believes a result when
 * replicas, at least one of them correct, report the same one over links to their pinned keys; or when one replica proves
 * with the service key that the service certified it. Everything follows from a genesis, or from the service key alone.
 * Trust: an attacker who controls f replicas and the network can delay a call or keep it from being made; it cannot make
 * the client believe a result that no correct replica has, nor have an operation executed twice. Nobody, with however
 * many replicas, can make it take a log that does not go on from the last head it saw.
 */
import { seedSizeBytes } from '../crypto/ed25519.ts';
import type { AnyService } from '../execution/service.ts';
import { monotonicMs } from '../platform/clock.ts';
import { deadlineAfter } from '../platform/deadline.ts';
import { randomBytes } from '../platform/random.ts';
import { dialReplica } from '../transport/client-dial.ts';
import type { CertifiedMembershipDocument } from '../verify/document.ts';
import { isOperationName } from '../wire/request.ts';
import { encodeValue, type Value } from '../wire/value.ts';
import { CertifiedHeads, type GapPolicy, type HistoryGap, type InconsistentHeads } from './certified-heads.ts';
import { type MembershipSource, readCertifiedCluster, type Stated } from './certified-membership.ts';
import { type CertifiedRead, certifiedReadOf, type ReadOptions, readQuestion } from './certified-read.ts';
import { CoterieError } from './client-error.ts';
import { type Cluster, type GenesisSource, readCluster } from './cluster.ts';
import { Dispatch, type Following } from './dispatch.ts';
import { isAfter } from './epoch-following.ts';
import { HeadSaving, type HeadStore, MemoryHeadStore } from './head-store.ts';
import { loadServiceKey, type ServiceKey } from './service-key.ts';
import type { ReplicaObservation } from './standing.ts';
import { askReplicaStatus } from './status.ts';
import {
  type CallOptions,
  type Certified,
  type CertifiedCallOptions,
  type CertifiedClient,
  certifiedClient,
  type TypedClient,
  typedClient,
} from './typed-client.ts';

export type {
  CertifiedHeadDocument,
  CertifiedMembershipDocument,
  CertifiedReplyDocument,
  CertifiedStateDocument,
} from '../verify/document.ts';
export type { Genesis } from '../wire/genesis.ts';
export type { Value } from '../wire/value.ts';
export type { GapPolicy, HistoryGap, InconsistentHeads } from './certified-heads.ts';
export type { CertifiedRead, ReadOptions } from './certified-read.ts';
export { CoterieError, type CoterieErrorCode, type KnownOutcome } from './client-error.ts';
export type { GenesisSource } from './cluster.ts';
export { type HeadStore, MemoryHeadStore } from './head-store.ts';
export type { ReplicaObservation } from './standing.ts';
export type { CallOptions, Certified, CertifiedCallOptions, CertifiedClient, TypedClient } from './typed-client.ts';

const deadlineMsStandard = 10_000;
/** The longest time a timer can wait. */
const deadlineMsMax = 2 ** 31 - 1;

/** What everything trusted follows from: a genesis, the service key, or both. */
export interface ConnectOptions extends CallOptions, MembershipSource {
  /** The cluster's genesis: as a value, as JSON, or as the path of its file. */
  readonly genesis?: GenesisSource | undefined;
  /**
   * The service key, 192 hex characters. Without a genesis the replicas are found by it, with `at` or `membership`. With
   * or without, certified calls need it.
   */
  readonly serviceKey?: string | undefined;
  /**
   * The service key again, for a client that makes quick calls only: it is loaded when the replicas have gone on to another
   * epoch and it takes the key to know them by. `serviceKey` does this too.
   */
  readonly followKey?: string | undefined;
  /** Told of the membership of each later epoch, to begin with it the next time. */
  readonly onMembership?: ((document: CertifiedMembershipDocument) => void) | undefined;
  /** Seed of the client's Ed25519 key, 32 secret bytes; by default a fresh one, used this time only. */
  readonly identity?: Uint8Array | undefined;
  /** Keeps the last certified head; by default as long as the client lives. */
  readonly headStore?: HeadStore | undefined;
  /**
   * What to do when the replicas have dropped the part of the log that would prove that it goes on from the last head: by
   * default calls that need it fail with `history-gap`. With `accept` the newer head is taken: who holds f + 1 key shares
   * can then show this client another history.
   */
  readonly historyGap?: GapPolicy | undefined;
  /** Told each time that a newer head was taken so. */
  readonly onHistoryGap?: ((gap: HistoryGap) => void) | undefined;
  /** Told once when the service signed two heads that are not of one log: more than f replicas are faulty. */
  readonly onAlarm?: ((evidence: InconsistentHeads) => void) | undefined;
}

export interface Client {
  /** As it is now: replicas may change with the epoch. */
  readonly cluster: {
    readonly serviceId: string;
    readonly epoch: number;
    /** What people call it. */
    readonly name: string;
    /** Which service it runs. */
    readonly service: string;
    readonly replicaCount: number;
    /** So many of them may be faulty. */
    readonly f: number;
  };
  /** Calls an operation by its name. Rejects with a `CoterieError`. */
  call(operation: string, input: unknown, options?: CallOptions): Promise<Value>;
  /** The same, with a document that proves the result to anybody who has the service key. */
  callCertified(operation: string, input: unknown, options?: CertifiedCallOptions): Promise<Certified<Value>>;
  /** The operations of a service as typed methods. One that the cluster does not have is `rejected`. */
  of<Service extends AnyService>(service: Service): TypedClient<Service>;
  /** The same with certified results. */
  certified<Service extends AnyService>(service: Service): CertifiedClient<Service>;
  /**
   * What is under a key of the service's state, or that nothing is, with a document that proves it (`coterie/verify`). One
   * replica answers, and nothing is ordered. It is as of the newest head that this client has seen, or of a later one.
   */
  readCertified(stateKey: string, options?: ReadOptions): Promise<CertifiedRead>;
  /** What one replica says of itself; its own word. */
  status(replicaIndex: number, options?: CallOptions): Promise<Value>;
  /** What this client has seen of each replica. */
  replicas(): readonly ReplicaObservation[];
  /** Ends every link; calls that are open reject with `closed`. Resolves when nothing is left. */
  close(): Promise<void>;
}

/** Connects to enough replicas to believe their answers. Rejects with a `CoterieError`. */
export async function connect(options: ConnectOptions): Promise<Client> {
  const deadlineMs = deadlineOf(options, deadlineMsStandard);
  const endMs = monotonicMs() + deadlineMs;
  const serviceKey = options.serviceKey === undefined ? undefined : await loadServiceKey(options.serviceKey);
  const following = followingOf(options, serviceKey);
  const cluster = await findCluster(options, following, deadlineMs);
  const saving = new HeadSaving(options.headStore ?? new MemoryHeadStore());
  const heads = serviceKey === undefined ? undefined : await headsOf(serviceKey, cluster, saving, options);
  return connectTo(cluster, {
    ...options,
    heads,
    saving,
    following,
    deadlineMs,
    readyMs: Math.max(1, endMs - monotonicMs()),
  });
}

/** Asks one replica how it does, without a client; its own word. Rejects with a `CoterieError`. */
export async function askStatus(
  options: CallOptions & { readonly genesis: GenesisSource; readonly replicaIndex: number },
): Promise<Value> {
  const { replicaIndex, signal } = options;
  const cluster = await readCluster(options.genesis);
  const deadlineMs = deadlineOf(options, deadlineMsStandard);
  return askReplicaStatus({ cluster, replicaIndex, dial: dialReplica, deadlineMs, signal });
}

/** How epochs are followed: by the service key, loaded before it is needed or then. */
function followingOf(
  { serviceKey: text, followKey = text, at = [], onMembership }: ConnectOptions,
  loaded: ServiceKey | undefined,
): Following | undefined {
  if (followKey === undefined) return undefined;
  let key: Promise<ServiceKey> | undefined;
  return {
    serviceKey: async () => {
      key ??= loaded === undefined ? loadServiceKey(followKey) : Promise.resolve(loaded);
      return key;
    },
    at,
    // Whatever the caller does then, the links go on.
    onMembership: ({ document }) => queueMicrotask(() => onMembership?.(document)),
  };
}

/** The replicas that the genesis says, or those of a later epoch that a membership does. */
async function findCluster(
  options: ConnectOptions,
  following: Following | undefined,
  deadlineMs: number,
): Promise<Cluster> {
  const { genesis, membership } = options;
  const first = genesis === undefined ? undefined : await readCluster(genesis);
  if (first !== undefined && (membership === undefined || following === undefined)) return first;
  if (following === undefined) {
    throw new CoterieError('invalid-input', 'a genesis or a service key is needed', { outcome: 'not-sent' });
  }
  const deadline = deadlineAfter(deadlineMs, [options.signal]);
  try {
    const stated: Stated = await readCertifiedCluster(await following.serviceKey(), options, deadline.signal);
    return first === undefined || isAfter(stated.cluster, first) ? stated.cluster : first;
  } finally {
    deadline.end();
  }
}

async function headsOf(
  serviceKey: ServiceKey,
  { serviceId }: Cluster,
  saving: HeadSaving,
  { headStore, onAlarm, historyGap, onHistoryGap }: ConnectOptions,
): Promise<CertifiedHeads> {
  const kept = await headStore?.load();
  const newest = kept === undefined ? undefined : serviceKey.readHead(kept);
  if (kept !== undefined && newest?.head.serviceId !== serviceId) {
    const sentence = 'the head that was kept is not signed by this service: it is damaged, or of another one';
    const hint = 'Put it back from a copy. Without it nobody notices here that history was rewritten before now.';
    throw new CoterieError('invalid-input', sentence, { outcome: 'not-sent', hint });
  }
  return new CertifiedHeads({
    serviceKey,
    serviceId,
    newest,
    keep: (head) => saving.keep(head),
    // Whatever the caller does then, the links go on.
    onAlarm: (evidence) => queueMicrotask(() => onAlarm?.(evidence)),
    gapPolicy: historyGap,
    onGap: (gap) => queueMicrotask(() => onHistoryGap?.(gap)),
  });
}

async function connectTo(
  cluster: Cluster,
  options: Pick<ConnectOptions, 'identity' | 'signal'> & {
    readonly heads: CertifiedHeads | undefined;
    readonly saving: HeadSaving;
    readonly following: Following | undefined;
    readonly deadlineMs: number;
    /** Time left to connect. */
    readonly readyMs: number;
  },
): Promise<Client> {
  const { heads, saving, following, deadlineMs } = options;
  const seed = options.identity ?? randomBytes(seedSizeBytes);
  if (!(seed instanceof Uint8Array) || seed.length !== seedSizeBytes) {
    throw new CoterieError('invalid-input', `an identity has ${seedSizeBytes} bytes`, { outcome: 'not-sent' });
  }
  const dispatch = new Dispatch({ cluster, seed, dial: dialReplica, randomBytes, heads, following });
  try {
    await dispatch.ready({ deadlineMs: options.readyMs, signal: options.signal });
  } catch (error) {
    await dispatch.close();
    throw error;
  }
  const waiting = (callOptions: CallOptions) => {
    return { deadlineMs: deadlineOf(callOptions, deadlineMs), signal: callOptions.signal };
  };
  const call: Client['call'] = (operation, input, callOptions = {}) => {
    try {
      return dispatch.call(operation, encodeCall(operation, input), waiting(callOptions));
    } catch (error) {
      return Promise.reject(error);
    }
  };
  const callCertified: Client['callCertified'] = async (operation, input, callOptions = {}) => {
    const alone = callOptions.alone === true;
    const encoded = encodeCall(operation, input);
    const { value, proof } = await dispatch.callCertified(operation, encoded, { ...waiting(callOptions), alone });
    return { value, ...proof };
  };
  const readCertified: Client['readCertified'] = async (stateKey, readOptions = {}) => {
    const question = readQuestion(stateKey, readOptions);
    return certifiedReadOf(await dispatch.read(question, waiting(readOptions)));
  };
  return {
    get cluster() {
      const { serviceId, epoch, name, service, rule } = dispatch.cluster;
      return { serviceId, epoch, name, service, replicaCount: rule.n, f: rule.f };
    },
    call,
    callCertified,
    readCertified,
    of: (typed) => typedClient(typed, call),
    certified: (typed) => certifiedClient(typed, callCertified),
    status: async (replicaIndex, callOptions = {}) =>
      askReplicaStatus({ cluster: dispatch.cluster, replicaIndex, dial: dialReplica, ...waiting(callOptions) }),
    replicas: () => dispatch.observe(),
    close: async () => {
      await dispatch.close();
      await saving.ended();
    },
  };
}

function encodeCall(operation: string, input: unknown): Uint8Array {
  if (!isOperationName(operation)) {
    throw new CoterieError('invalid-input', 'an operation name is 1 to 64 of a-z 0-9 . -', { outcome: 'not-sent' });
  }
  try {
    return encodeValue(input);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it is not a value';
    throw new CoterieError('invalid-input', `${operation}: the input: ${reason}`, { outcome: 'not-sent', cause });
  }
}

function deadlineOf({ deadlineMs }: CallOptions, standardMs: number): number {
  if (deadlineMs === undefined) return standardMs;
  if (Number.isFinite(deadlineMs) && deadlineMs > 0) return Math.min(Math.ceil(deadlineMs), deadlineMsMax);
  throw new CoterieError('invalid-input', `a deadline is a number of milliseconds above 0, not ${deadlineMs}`, {
    outcome: 'not-sent',
  });
}
