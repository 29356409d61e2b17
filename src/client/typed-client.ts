/**
 * Typed client: the operations of a service as methods, with the types that its definition implies.
 *
 * In: a definition, and a way to call an operation by name. Out: an object with one method for each operation. Inputs
 * are not checked here: the replicas check them, and a call with a wrong one is `rejected` with `invalid-input`.
 */
import type { AnyService, InputOf, OperationNameOf, OutputOf } from '../execution/service.ts';
import type { CertifiedReplyDocument } from '../verify/document.ts';
import type { Value } from '../wire/value.ts';

export interface CallOptions {
  /** Gives the call up. What is known of the outcome, the error says. */
  readonly signal?: AbortSignal | undefined;
  /** How long the call may take, in milliseconds; by default what the client was connected with. */
  readonly deadlineMs?: number | undefined;
}

/** One method for each operation; an input that may be null may be left out. */
export type TypedClient<Service extends AnyService> = {
  readonly [Name in OperationNameOf<Service>]: null extends InputOf<Service, Name>
    ? (input?: InputOf<Service, Name>, options?: CallOptions) => Promise<OutputOf<Service, Name>>
    : (input: InputOf<Service, Name>, options?: CallOptions) => Promise<OutputOf<Service, Name>>;
};

/** How a certified call may be made. */
export interface CertifiedCallOptions extends CallOptions {
  /** In a request of its own, so that its document shows no other call of this client. */
  readonly alone?: boolean | undefined;
}

/** A value, and the document that proves it to anybody who has the service key (`coterie/verify`). */
export interface Certified<Output> {
  readonly value: Output;
  readonly document: CertifiedReplyDocument;
  /** Calls made at the same time share a document; this call's operation in it, from 0. */
  readonly operationIndex: number;
}

/** One method for each operation, each with a certified result. */
export type CertifiedClient<Service extends AnyService> = {
  readonly [Name in OperationNameOf<Service>]: null extends InputOf<Service, Name>
    ? (input?: InputOf<Service, Name>, options?: CertifiedCallOptions) => Promise<Certified<OutputOf<Service, Name>>>
    : (input: InputOf<Service, Name>, options?: CertifiedCallOptions) => Promise<Certified<OutputOf<Service, Name>>>;
};

export function certifiedClient<Service extends AnyService>(
  service: Service,
  call: (operation: string, input: unknown, options?: CertifiedCallOptions) => Promise<Certified<Value>>,
): CertifiedClient<Service> {
  return methodsOf(service, call) as CertifiedClient<Service>;
}

export function typedClient<Service extends AnyService>(
  service: Service,
  call: (operation: string, input: unknown, options?: CallOptions) => Promise<Value>,
): TypedClient<Service> {
  return methodsOf(service, call) as TypedClient<Service>;
}

function methodsOf<Options, Result>(
  service: AnyService,
  call: (operation: string, input: unknown, options?: Options) => Promise<Result>,
): object {
  const methods: { [name: string]: (input?: unknown, options?: Options) => Promise<Result> } = Object.create(null);
  for (const name of Object.keys(service.operations)) {
    methods[name] = (input = null, options) => call(name, input, options);
  }
  return Object.freeze(methods);
}
