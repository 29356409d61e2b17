/**
 * `coterie/client`: calls the operations of a replicated service (docs/operations/using-the-client.md).
 *
 * A client signs its requests, sends each to one replica, to another when that is slow, and believes a result when
 * replicas, at least one of them correct, report the same one over links to their pinned keys.
 * Trust: an attacker who controls f replicas and the network can delay a call or keep it from being made; it cannot make
 * the client believe a result that no correct replica has, nor have an operation executed twice.
 */
import { seedSizeBytes } from '../crypto/ed25519.ts';
import type { AnyService } from '../execution/service.ts';
import { randomBytes } from '../platform/random.ts';
import { dialReplica } from '../transport/client-dial.ts';
import { isOperationName } from '../wire/request.ts';
import { encodeValue, type Value } from '../wire/value.ts';
import { CoterieError } from './client-error.ts';
import { type Cluster, type GenesisSource, readCluster } from './cluster.ts';
import { Dispatch } from './dispatch.ts';
import type { ReplicaObservation } from './standing.ts';
import { askReplicaStatus } from './status.ts';
import { type CallOptions, type TypedClient, typedClient } from './typed-client.ts';

export type { Genesis } from '../wire/genesis.ts';
export type { Value } from '../wire/value.ts';
export { CoterieError, type CoterieErrorCode, type KnownOutcome } from './client-error.ts';
export type { GenesisSource } from './cluster.ts';
export type { ReplicaObservation } from './standing.ts';
export type { CallOptions, TypedClient } from './typed-client.ts';

const deadlineMsStandard = 10_000;
/** The longest time a timer can wait. */
const deadlineMsMax = 2 ** 31 - 1;

export interface ConnectOptions extends CallOptions {
  /** The cluster's genesis: as a value, as JSON, or as the path of its file. Everything trusted follows from it. */
  readonly genesis: GenesisSource;
  /** Seed of the client's Ed25519 key, 32 secret bytes; by default a fresh one, used this time only. */
  readonly identity?: Uint8Array | undefined;
}

export interface Client {
  /** Calls an operation by its name. Rejects with a `CoterieError`. */
  call(operation: string, input: unknown, options?: CallOptions): Promise<Value>;
  /** The operations of a service as typed methods. One that the cluster does not have is `rejected`. */
  of<Service extends AnyService>(service: Service): TypedClient<Service>;
  /** What one replica says of itself; its own word. */
  status(replicaIndex: number, options?: CallOptions): Promise<Value>;
  /** What this client has seen of each replica. */
  replicas(): readonly ReplicaObservation[];
  /** Ends every link; calls that are open reject with `closed`. Resolves when nothing is left. */
  close(): Promise<void>;
}

/** Connects to enough replicas to believe their answers. Rejects with a `CoterieError`. */
export async function connect(options: ConnectOptions): Promise<Client> {
  const cluster = await readCluster(options.genesis);
  return connectTo(cluster, options);
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

async function connectTo(cluster: Cluster, options: Omit<ConnectOptions, 'genesis'>): Promise<Client> {
  const seed = options.identity ?? randomBytes(seedSizeBytes);
  if (!(seed instanceof Uint8Array) || seed.length !== seedSizeBytes) {
    throw new CoterieError('invalid-input', `an identity has ${seedSizeBytes} bytes`, { outcome: 'not-sent' });
  }
  const deadlineMs = deadlineOf(options, deadlineMsStandard);
  const dispatch = new Dispatch({ cluster, seed, dial: dialReplica, randomBytes });
  try {
    await dispatch.ready({ deadlineMs, signal: options.signal });
  } catch (error) {
    await dispatch.close();
    throw error;
  }
  const call: Client['call'] = (operation, input, callOptions = {}) => {
    try {
      const deadline = deadlineOf(callOptions, deadlineMs);
      return dispatch.call(operation, encodeCall(operation, input), {
        deadlineMs: deadline,
        signal: callOptions.signal,
      });
    } catch (error) {
      return Promise.reject(error);
    }
  };
  return {
    call,
    of: (service) => typedClient(service, call),
    status: async (replicaIndex, callOptions = {}) => {
      const { signal } = callOptions;
      return askReplicaStatus({
        cluster,
        replicaIndex,
        dial: dialReplica,
        deadlineMs: deadlineOf(callOptions, deadlineMs),
        signal,
      });
    },
    replicas: () => dispatch.observe(),
    close: () => dispatch.close(),
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
  if (Number.isFinite(deadlineMs) && deadlineMs > 0) return Math.min(deadlineMs, deadlineMsMax);
  throw new CoterieError('invalid-input', `a deadline is a number of milliseconds above 0, not ${deadlineMs}`, {
    outcome: 'not-sent',
  });
}
