/**
 * Operation: runs one operation of a request against the state and says what came out, whatever its code did.
 *
 * In: an encoded input, the operation's definition, the circumstances all replicas agree on. Out: its encoded outcome,
 * its writes when it succeeded, and a diagnostic when its own code was at fault. Changes nothing itself.
 * Throws when the state could not be read: that is no outcome, because the other replicas could.
 * Safety: messages in an outcome are our own sentences, texts of the service, or those of its schema library, which
 * is part of the service and of one version everywhere. Nothing worded by an engine gets in.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { StateStore, Writes } from '../state/state-store.ts';
import { limits } from '../wire/limits.ts';
import { encodeOutcome, type Failure, failure, isServiceCode } from '../wire/outcome.ts';
import type { Operation } from '../wire/request.ts';
import { decodeValue, ValueSizeError } from '../wire/value.ts';
import { OperationFailure, unencodable } from './failure.ts';
import { anonymousClient, type ServiceOperation, type UpdateContext } from './service-definition.ts';
import { Transaction } from './transaction.ts';

/**
 * Watches an operation for the use of what differs between replicas. `enter` before, `leave` after; `leave` names the
 * first forbidden thing that was used meanwhile, even when the operation swallowed the refusal.
 */
export interface OperationGuard {
  enter(): void;
  leave(): string | undefined;
  /** What is done in `work` is not the operation's. */
  outside<Out>(work: () => Out): Out;
}

/** For where the guard is not installed. */
export const noGuard: OperationGuard = { enter: () => undefined, leave: () => undefined, outside: (work) => work() };

/** What an operation learns about where it is executed; the same on all replicas. */
export interface Circumstances {
  readonly client: string;
  readonly timeMs: number;
  readonly commitIndex: number;
}

export interface AppliedOperation {
  /** Encoded. */
  readonly outcome: Uint8Array;
  /** To be merged into the state, if any; undefined when the operation failed. */
  readonly writes: Writes | undefined;
  /** For the local log. */
  readonly diagnostic: string | undefined;
}

const issuesShownMax = 4;

const operationFailed = failure('operation-failed', "the operation failed; the replicas' logs say why");
/** What most updates return. */
const nothing = encodeOutcome({ ok: true, value: null });
const returnedPromise = 'asynchronous code: a promise was returned where a value is expected';

export function applyOperation(task: {
  readonly operation: Operation;
  readonly definition: ServiceOperation | undefined;
  readonly state: StateStore;
  readonly guard: OperationGuard;
  readonly circumstances: Circumstances;
}): AppliedOperation {
  const { operation, definition, state, guard, circumstances } = task;
  if (definition === undefined) {
    return failed(failure('unknown-operation', `this service has no operation "${operation.name}"`));
  }
  if (circumstances.client === anonymousClient && definition.anonymous !== true) {
    return failed(
      failure('anonymous-refused', `"${operation.name}" must be called with a request that its client signed`),
    );
  }
  const decoded = decodeValue(operation.input);
  if (!decoded.ok) return failed(failure('invalid-input', `not an encoded value: ${decoded.reason}`));

  const transaction = new Transaction(state, definition.kind === 'update');
  let outcome: Uint8Array | undefined;
  let failing: AppliedOperation | undefined;
  guard.enter();
  try {
    const validated = definition.input['~standard'].validate(decoded.value);
    if (isPromise(validated)) {
      failing = failed(notDeterministic(`a schema that validates asynchronously, or whose own code threw`));
    } else if (validated.issues !== undefined) {
      failing = failed(failure('invalid-input', describeIssues(validated.issues)));
    } else {
      const context: UpdateContext = { state: transaction, ...circumstances, fail };
      const value = definition.apply(context, validated.value);
      if (isPromise(value)) failing = failed(notDeterministic(returnedPromise));
      else outcome = encodeSuccess(value);
    }
  } catch (thrown) {
    failing = failureOf(thrown);
  }
  const used = guard.leave();
  const writes = transaction.end();
  state.checkReads();
  if (used !== undefined) return failed(notDeterministic(used), failing?.diagnostic);
  if (outcome === undefined) return failing ?? failed(operationFailed);
  return { outcome, writes, diagnostic: undefined };
}

/** Given to operations as `context.fail`. */
function fail(code: string, message: string): never {
  if (!isServiceCode(code)) {
    throw new TypeError(
      `context.fail: "${code}" is a code of the system, or not 1 to 64 of a-z 0-9 - from a letter on`,
    );
  }
  throw new OperationFailure(code, String(message));
}

/** What cannot be sent for its size or form fails alike everywhere; what is no value at all is a mistake of the service. */
function encodeSuccess(value: unknown): Uint8Array {
  if (value === undefined || value === null) return nothing;
  try {
    return encodeOutcome({ ok: true, value });
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    throw new OperationFailure('too-large', `what the operation returned is ${unencodable}`);
  }
}

function failed(outcome: Failure, diagnostic?: string): AppliedOperation {
  return { outcome: encodeOutcome(outcome), writes: undefined, diagnostic };
}

function notDeterministic(used: string): Failure {
  return failure('not-deterministic', `the operation used ${used}`);
}

/** A failure on purpose is reported as it is; any other thrown thing in one fixed sentence, its own words apart. */
function failureOf(thrown: unknown): AppliedOperation {
  if (thrown instanceof OperationFailure) return failed(failure(thrown.code, thrown.message));
  if (thrown instanceof ValueSizeError) return failed(failure('too-large', thrown.message));
  return failed(operationFailed, detailOf(thrown));
}

/** What the engine says about a thrown thing; it may be anything, even something that throws when looked at. */
function detailOf(thrown: unknown): string {
  try {
    const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : `thrown: ${String(thrown)}`;
    return text.slice(0, limits.diagnosticLengthMax);
  } catch {
    return 'something was thrown that cannot be described';
  }
}

/** A promise that is refused must not end the process by being rejected with nobody listening. */
function isPromise(value: unknown): value is Promise<unknown> {
  if (!(value instanceof Promise)) return false;
  value.then(undefined, () => undefined);
  return true;
}

/** The first issues as `path: message`; the wording is the schema library's. */
function describeIssues(issues: readonly StandardSchemaV1.Issue[]): string {
  const shown = issues.slice(0, issuesShownMax).map(({ path, message }) => {
    const keys = (path ?? []).map((segment) => String(typeof segment === 'object' ? segment.key : segment));
    return keys.length === 0 ? message : `${keys.join('.')}: ${message}`;
  });
  const more = issues.length - shown.length;
  return more > 0 ? `${shown.join('; ')}; and ${more} more` : shown.join('; ');
}
