/**
 * Call route: `POST /v1/call`: one request, signed by its client or by nobody, and what came of it.
 *
 * In: a JSON body of bounded size. Out: a certified reply document, or this replica's word when a quick reply was asked for.
 * An operation that failed is answered with 422; its certified reply proves the failure as it proves a success.
 */
import { z } from 'zod';
import { deadlineAfter } from '../../platform/deadline.ts';
import { type CertifiedReplyDocument, certifiedReplyDocument } from '../../verify/document.ts';
import { reasonOf } from '../../wire/genesis.ts';
import { limits } from '../../wire/limits.ts';
import { decodeOutcomes, type Outcome } from '../../wire/outcome.ts';
import { isOperationName } from '../../wire/request.ts';
import type { Value } from '../../wire/value.ts';
import { valueFromJson, valueToJson } from '../../wire/value-json.ts';
import type { HttpBackend, Submitted } from './backend.ts';
import { badRequest, HttpProblem, unavailable } from './problem.ts';

export interface Answer {
  readonly status: number;
  readonly body: CertifiedReplyDocument | Readonly<Record<string, unknown>>;
}

const deadlineMsStandard = 10_000;

const common = {
  certified: z.boolean().default(true),
  deadlineMs: z.int().min(1).max(limits.httpDeadlineMsMax).default(deadlineMsStandard),
};
const signedForm = z.strictObject({
  request: z
    .string()
    .max(2 * limits.requestSizeBytesMax)
    .regex(/^([0-9a-f]{2})+$/, 'must be lower-case hex'),
  ...common,
});
const anonymousForm = z.strictObject({
  operation: z.string().refine(isOperationName, 'must be 1 to 64 of a-z 0-9 . -'),
  input: z.unknown().default(null),
  ...common,
});

const bodyHint =
  'Send {"operation": "get", "input": {"key": "greeting"}}, or {"request": HEX} with a request signed by a client library.';

export async function answerCall(backend: HttpBackend, body: unknown, signal: AbortSignal): Promise<Answer> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw badRequest('the body is not a JSON object', bodyHint);
  }
  return 'request' in body ? callSigned(backend, body, signal) : callAnonymous(backend, body, signal);
}

async function callSigned(backend: HttpBackend, body: object, signal: AbortSignal): Promise<Answer> {
  const { request: text, certified, deadlineMs } = parse(signedForm, body);
  const request = Buffer.from(text, 'hex');
  const deadline = deadlineAfter(deadlineMs, [signal]);
  try {
    const submitted = await backend.submit(request, { certified, signal: deadline.signal });
    return answerOf(backend, request, submitted);
  } finally {
    deadline.end();
  }
}

async function callAnonymous(backend: HttpBackend, body: object, signal: AbortSignal): Promise<Answer> {
  const { operation, input, certified, deadlineMs } = parse(anonymousForm, body);
  const value = inputOf(input);
  const deadline = deadlineAfter(deadlineMs, [signal]);
  const options = { certified, signal: deadline.signal };
  const done = await backend.submitAnonymous(operation, value, options).finally(() => deadline.end());
  if (done === 'too-many') {
    throw unavailable(
      'overloaded',
      'too many unsigned calls are open at this replica',
      'Try another replica, or later.',
    );
  }
  return answerOf(backend, done.request, done.submitted);
}

function parse<T>(form: z.ZodType<T>, body: object): T {
  const result = form.safeParse(body);
  if (!result.success) throw badRequest(reasonOf(result.error), bodyHint);
  return result.data;
}

function inputOf(input: unknown): Value {
  try {
    return valueFromJson(input);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw badRequest(`the input: ${error.message}`, 'Send what the operation takes; bytes are {"$bytes": BASE64}.');
  }
}

function answerOf(backend: HttpBackend, request: Uint8Array, submitted: Submitted): Answer {
  switch (submitted.kind) {
    case 'certified':
      return {
        status: statusOf(outcomesOf(submitted.result)),
        body: certifiedReplyDocument({ request, ...submitted, ...submitted.certifiedHead }),
      };
    case 'reply': {
      const outcomes = outcomesOf(submitted.result);
      const body = {
        certified: false,
        saidBy: backend.replicaId,
        commitIndex: submitted.commitIndex,
        outcomes: outcomes.map((outcome) =>
          outcome.ok ? { ok: true, value: valueToJson(outcome.value) } : { ...outcome },
        ),
      };
      return { status: statusOf(outcomes), body };
    }
    case 'refused':
      throw refusal(submitted.code, submitted.reason);
    case 'given-up':
      throw new HttpProblem({
        status: 504,
        code: 'deadline',
        message: 'there was no result in time; whether the operation is executed is not known',
        hint: 'Ask the service what is the case; a signed request may be sent again as it is, it is executed once.',
      });
  }
}

function outcomesOf(result: Uint8Array): readonly Outcome[] {
  const decoded = decodeOutcomes(result);
  if (!decoded.ok) throw new Error(`invariant: the execution made a result it cannot read: ${decoded.reason}`);
  return decoded.value;
}

function statusOf(outcomes: readonly Outcome[]): number {
  const failed = outcomes.find((outcome) => !outcome.ok);
  if (failed === undefined || failed.ok) return 200;
  return failed.code === 'anonymous-refused' ? 403 : 422;
}

function refusal(code: string, reason: string): HttpProblem {
  switch (code) {
    case 'malformed':
      return badRequest(`the request is malformed: ${reason}`, 'Build it with the client library of this version.');
    case 'bad-signature':
      return new HttpProblem({ status: 401, code, message: reason, hint: 'Sign for this service with the key in it.' });
    default:
      return unavailable(code, reason, 'Try another replica, or later.');
  }
}
