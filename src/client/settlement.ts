/**
 * Settlement: gives the calls of a request what came of them.
 *
 * In: the calls, and outcomes that are believed. Out: settled calls, and those that have to be asked again.
 */
import type { CertifiedReplyDocument } from '../verify/document.ts';
import type { Outcome } from '../wire/outcome.ts';
import type { Call } from './call.ts';
import { CoterieError, type CoterieErrorCode, rejected } from './client-error.ts';

/** Each call its outcome, with the document that proves it when there is one. Returns calls that want a request of their own. */
export function settleAll(
  calls: readonly Call[],
  outcomes: readonly Outcome[],
  document?: CertifiedReplyDocument,
): readonly Call[] {
  const returned: Call[] = [];
  for (const [operationIndex, outcome] of outcomes.entries()) {
    const call = calls[operationIndex]!;
    const proof = document === undefined ? undefined : { document, operationIndex };
    if (outcome.ok) call.resolve(outcome.value, proof);
    else if (outcome.code === 'too-large' && calls.length > 1 && !call.alone) returned.push(asAlone(call));
    else call.reject(rejected(call.operation, outcome, proof));
  }
  return returned;
}

export function rejectAll(
  calls: readonly Call[],
  code: CoterieErrorCode,
  sentence: string,
  outcome: 'not-executed' | 'unknown' = 'unknown',
): void {
  for (const call of calls) call.reject(new CoterieError(code, `${call.operation}: ${sentence}`, { outcome }));
}

/** Its result did not fit beside the others', and nothing was changed: it is asked again by itself. */
function asAlone(call: Call): Call {
  call.alone = true;
  call.sent = false;
  return call;
}
