/**
 * Service definition: what a service author writes: named operations, each with a schema for its input and a plain
 * function that reads and writes the state (docs/operations/writing-a-service.md).
 *
 * In: schemas of any Standard Schema library that validates synchronously. Out: a definition that the replicas execute
 * and from which a client's calls are typed. Nothing runs here but checks of the definition itself.
 * Safety: a replica trusts its service; the checks find mistakes, they do not confine hostile code.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { isOperationName } from '../wire/request.ts';
import type { Value } from '../wire/value.ts';

export interface Entry<T extends Value = Value> {
  readonly key: string;
  readonly value: T;
}

/** Which keys: those with a prefix, or from (inclusive) to (exclusive). */
export interface Range {
  readonly prefix?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  /** Begins behind this key, in the direction of the range: the last key of the page before. */
  readonly after?: string | undefined;
  /** At most so many entries. */
  readonly limit?: number | undefined;
  /** From the highest key down. */
  readonly reverse?: boolean | undefined;
}

/** Keys are text of at most 1 KiB in UTF-8, ordered by UTF-16 code unit; values at most 512 KiB encoded. */
export interface ReadonlyState {
  /** The value, a fresh copy. `T` is what your service stores under such a key: it is not checked. */
  get<T extends Value = Value>(key: string): T | undefined;
  has(key: string): boolean;
  /** Entries in order, read as the loop goes on; of writes made meanwhile it may show the old or the new. */
  range<T extends Value = Value>(range?: Range): Iterable<Entry<T>>;
}

/** Writes are seen by the operation itself at once, and by others when it has succeeded. */
export interface State extends ReadonlyState {
  put(key: string, value: Value): void;
  /** True when there was such a key. */
  delete(key: string): boolean;
}

export interface QueryContext {
  readonly state: ReadonlyState;
  /** Public key of the client who signed the request, 64 hex characters; `anonymous` when nobody signed it. */
  readonly client: string;
  /** Agreed time, milliseconds since 1970; it never falls, and is the same for all operations of one commit. */
  readonly timeMs: number;
  /** Index of the commit that is being executed. */
  readonly commitIndex: number;
  /**
   * Ends the operation without changing anything; the client gets the code and the message. A code is 1 to 64 of
   * `a-z 0-9 -`, begins with a letter, and is none of the system's. Write `return context.fail(…)` or `?? context.fail(…)`.
   */
  fail(code: string, message: string): never;
}

export interface UpdateContext extends QueryContext {
  readonly state: State;
}

/** What `apply` may return: a value, or nothing, which the client gets as null. Use `type`, not `interface`, for records. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement has the type void.
export type Output = Value | undefined | void;

export interface UpdateOperation<Schema extends StandardSchemaV1 = StandardSchemaV1, Out extends Output = Output> {
  readonly kind: 'update';
  readonly input: Schema;
  /** May those call it who sign nothing? False when left out. */
  readonly anonymous?: boolean | undefined;
  apply(context: UpdateContext, input: StandardSchemaV1.InferOutput<Schema>): Out;
}

export interface QueryOperation<Schema extends StandardSchemaV1 = StandardSchemaV1, Out extends Output = Output> {
  readonly kind: 'query';
  readonly input: Schema;
  /** May those call it who sign nothing? False when left out. */
  readonly anonymous?: boolean | undefined;
  apply(context: QueryContext, input: StandardSchemaV1.InferOutput<Schema>): Out;
}

export type ServiceOperation = UpdateOperation | QueryOperation;
export type OperationTable = { readonly [name: string]: ServiceOperation };

export interface ServiceDefinition<Operations extends OperationTable = OperationTable> {
  readonly name: string;
  readonly version: string;
  /**
   * May anybody who reaches a replica read any key, with a proof and without an operation? False when left out. A proof
   * holds hashes of up to 15 other keys and their values, so this is for the whole state or for none of it.
   */
  readonly publicState?: boolean | undefined;
  readonly operations: Operations;
}

/** Any service, for code that executes or calls operations by their name. */
export type AnyService = ServiceDefinition;

export type OperationNameOf<Service extends AnyService> = keyof Service['operations'] & string;

/** What a client passes to an operation: the schema's input, before defaults and transformations. */
export type InputOf<Service extends AnyService, Name extends OperationNameOf<Service>> = StandardSchemaV1.InferInput<
  Service['operations'][Name]['input']
>;

/** What a client gets from an operation: what `apply` returns, null for nothing. */
export type OutputOf<Service extends AnyService, Name extends OperationNameOf<Service>> = Received<
  ReturnType<Service['operations'][Name]['apply']>
>;

// biome-ignore lint/suspicious/noConfusingVoidType: as above.
type Received<Out> = Out extends undefined | void ? null : Out;

/** An operation that may change the state. */
export function update<Schema extends StandardSchemaV1, Out extends Output>(operation: {
  readonly input: Schema;
  readonly anonymous?: boolean | undefined;
  apply(context: UpdateContext, input: StandardSchemaV1.InferOutput<Schema>): Out;
}): UpdateOperation<Schema, Out> {
  return { kind: 'update', input: operation.input, anonymous: operation.anonymous, apply: operation.apply };
}

/** An operation that only reads. */
export function query<Schema extends StandardSchemaV1, Out extends Output>(operation: {
  readonly input: Schema;
  readonly anonymous?: boolean | undefined;
  apply(context: QueryContext, input: StandardSchemaV1.InferOutput<Schema>): Out;
}): QueryOperation<Schema, Out> {
  return { kind: 'query', input: operation.input, anonymous: operation.anonymous, apply: operation.apply };
}

/** What `context.client` is when nobody signed the request: a replica passed it on in its own name. */
export const anonymousClient = 'anonymous';

/** Operations whose names begin so are the system's own. */
export const systemPrefix = 'coterie.';

/** Names that would make the typed client behave oddly: awaiting an object with a `then` calls it. */
const reservedNames: readonly string[] = ['then', 'constructor'];
const namePattern = /^[a-z][a-z0-9-]{0,63}$/;
const versionPattern = /^[0-9a-zA-Z][0-9a-zA-Z.+-]{0,63}$/;

/** Defines a service. Throws a TypeError that says what is wrong with the definition. */
export function defineService<const Operations extends OperationTable>(definition: {
  readonly name: string;
  readonly version: string;
  readonly publicState?: boolean | undefined;
  readonly operations: Operations;
}): ServiceDefinition<Operations> {
  const { name, version, publicState, operations } = definition;
  if (!namePattern.test(name)) throw new TypeError(`service name "${name}": 1 to 64 of a-z 0-9 -, a letter first`);
  if (!versionPattern.test(version)) throw new TypeError(`service version "${version}": 1 to 64 of a-z A-Z 0-9 . + -`);
  const entries = Object.entries(operations);
  if (entries.length === 0) throw new TypeError(`service ${name}: it has no operations`);
  for (const [operationName, operation] of entries) checkOperation(operationName, operation);
  if (publicState !== undefined && typeof publicState !== 'boolean') {
    throw new TypeError(`service ${name}: publicState must be true or false`);
  }
  return Object.freeze({ name, version, publicState, operations: Object.freeze({ ...operations }) });
}

function checkOperation(name: string, operation: ServiceOperation): void {
  if (!isOperationName(name)) throw new TypeError(`operation name "${name}": 1 to 64 of a-z 0-9 . -`);
  if (name.startsWith(systemPrefix)) {
    throw new TypeError(`operation name "${name}": names that begin with ${systemPrefix} are the system's`);
  }
  if (reservedNames.includes(name)) throw new TypeError(`operation name "${name}" is reserved`);
  if (typeof operation.input?.['~standard']?.validate !== 'function') {
    throw new TypeError(`operation ${name}: input must be a Standard Schema, such as z.object({ … }) of zod`);
  }
  if (operation.anonymous !== undefined && typeof operation.anonymous !== 'boolean') {
    throw new TypeError(`operation ${name}: anonymous must be true or false`);
  }
  const kindOfFunction = Object.prototype.toString.call(operation.apply);
  if (kindOfFunction !== '[object Function]') {
    throw new TypeError(
      `operation ${name}: apply must be a plain synchronous function, not ${kindOfFunction}: replicas execute it alike, ` +
        'and what waits for something else does not end alike everywhere',
    );
  }
}
