/**
 * Test harness for service authors: `testService(definition)` applies operations in memory, as replicas would.
 *
 * In: calls. Out: what a client would get. Each call is a commit of its own and is executed by two executions, under
 * the guard; when they come to different results or states, the service is not deterministic and the call throws.
 * Not part of the pure core: it installs the guard of `platform/`, so that a test refuses what a replica refuses.
 */
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { Commit } from '../ordering/commit.ts';
import { installGuard } from '../platform/determinism.ts';
import { encodeBlock } from '../wire/block.ts';
import { decodeOutcomes, type Outcome } from '../wire/outcome.ts';
import { encodeRequest, type Request } from '../wire/request.ts';
import { encodeValue } from '../wire/value.ts';
import { type Applied, Execution } from './execution.ts';
import {
  type AnyService,
  anonymousClient,
  type InputOf,
  type OperationNameOf,
  type OutputOf,
} from './service-definition.ts';

/** Who calls and when; what is left out stays as it was in the call before. */
export interface TestCircumstances {
  /** Public key as 64 hex characters, or `anonymous`. */
  readonly client?: string;
  /** Agreed time, milliseconds since 1970; it never falls. */
  readonly timeMs?: number;
}

export type TestOutcome<Out> =
  | { readonly ok: true; readonly value: Out }
  /** `detail` is what a replica would write to its log. */
  | { readonly ok: false; readonly code: string; readonly message: string; readonly detail: string | undefined };

/** Thrown by `call` when the operation failed. */
export class TestCallError extends Error {
  override readonly name = 'TestCallError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

export interface ServiceTest<Service extends AnyService> {
  /** Applies an operation and returns its output. Throws a TestCallError when it failed. */
  call<Name extends OperationNameOf<Service>>(
    name: Name,
    input: InputOf<Service, Name>,
    circumstances?: TestCircumstances,
  ): OutputOf<Service, Name>;
  /** Applies an operation to any input and says what became of it. */
  outcome<Name extends OperationNameOf<Service>>(
    name: Name,
    input: unknown,
    circumstances?: TestCircumstances,
  ): TestOutcome<OutputOf<Service, Name>>;
  /** Digest of what the state holds: the same exactly when all keys and values are. */
  readonly stateDigest: string;
}

/** Stands for the key under which a replica passes on what nobody signed. */
const replicaKey = 'ff'.repeat(32);

/** A service of which nothing has been called yet, with an empty state. */
export function testService<Service extends AnyService>(service: Service): ServiceTest<Service> {
  const guard = installGuard();
  const serviceId = sha256(Buffer.from('test'));
  const anonymousClients = new Set([replicaKey]);
  const options = { service, guard, serviceId, epoch: 0, headIntervalMs: 0, anonymousClients };
  const executions = [new Execution(options), new Execution(options)] as const;
  const [first, second] = executions;
  let client = '00'.repeat(32);
  let timeMs = 1_700_000_000_000;

  const apply = (name: string, input: unknown, circumstances: TestCircumstances): TestOutcome<unknown> => {
    client = circumstances.client ?? client;
    if (client === anonymousClient) client = replicaKey;
    if (!/^[0-9a-f]{64}$/.test(client)) throw new TypeError('client: a public key has 64 hex characters');
    if ((circumstances.timeMs ?? timeMs) < timeMs) throw new RangeError('timeMs: agreed time never falls');
    timeMs = circumstances.timeMs ?? timeMs;
    const number = first.commitIndex + 1;
    const request = encodeRequest(
      {
        client: Buffer.from(client, 'hex'),
        session: { birth: 0, nonce: new Uint8Array(16) },
        number,
        acknowledged: number - 1,
        operations: [{ name, input: encodeValue(input) }],
      },
      () => new Uint8Array(64),
    );
    const commit = testCommit(number, timeMs, [request]);
    const applied = first.step(commit);
    compare(name, applied, second.step(commit));
    return readOutcome(applied);
  };

  return {
    call(name, input, circumstances = {}) {
      const outcome = apply(name, input, circumstances);
      if (!outcome.ok) throw new TestCallError(outcome.code, outcome.message);
      return outcome.value as OutputOf<Service, typeof name>;
    },
    outcome(name, input, circumstances = {}) {
      return apply(name, input, circumstances) as TestOutcome<OutputOf<Service, typeof name>>;
    },
    get stateDigest() {
      return first.stateRoot;
    },
  };
}

/** A commit of one block with these requests, as the ordering would hand it over. Nothing in it is signed. */
export function testCommit(index: number, timestamp: number, requests: readonly Request[]): Commit {
  const block = encodeBlock(
    {
      epoch: 0,
      round: index,
      author: 0,
      timestamp,
      parents: [],
      requests: requests.map((request) => request.bytes),
      duties: [],
    },
    () => new Uint8Array(64),
  );
  const digest: Digest = sha256(Buffer.from(`commit ${index} ${block.digest}`));
  const leader = { round: index, author: 0, digest: block.digest };
  return { index, leader, blocks: [{ ...block, verified: true, decodedRequests: requests }], timestamp, digest };
}

function compare(name: string, one: Applied, other: Applied): void {
  const isSameResult = one.replies.every((reply, i) => {
    const result = other.replies[i]?.result;
    return result !== undefined && Buffer.compare(reply.result, result) === 0;
  });
  if (isSameResult && one.head?.stateRoot === other.head?.stateRoot) return;
  const what = isSameResult ? 'wrote different things' : 'returned different results';
  throw new Error(
    `operation ${name} is not deterministic: executed twice, it ${what}. ` +
      'Does it keep something outside of context.state, or use what differs from run to run?',
  );
}

function readOutcome(applied: Applied): TestOutcome<unknown> {
  const decoded = decodeOutcomes(applied.replies[0]?.result ?? new Uint8Array());
  const outcome: Outcome | undefined = decoded.ok ? decoded.value[0] : undefined;
  if (outcome === undefined) throw new Error('invariant: a request of one operation has no outcome');
  return outcome.ok ? outcome : { ...outcome, detail: applied.diagnostics[0]?.detail };
}
