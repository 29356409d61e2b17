/**
 * Outcome: what became of one operation. The result of a request is the list of its operations' outcomes, in order.
 *
 * A failure has a code, which programs read, and a message, which people read. The codes below are the system's; a
 * service adds its own, of the same form. All of it is part of the result, so it must be the same on every replica.
 */
import { limits } from './limits.ts';
import { type Decoded, decode, WireError } from './reader.ts';
import { readValue, type Value, writeValue } from './value.ts';
import { Writer } from './writer.ts';

export type Outcome =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly code: string; readonly message: string };

export type Failure = Extract<Outcome, { readonly ok: false }>;

/** Codes of the system, as against those of a service. */
export const systemCodes = [
  /** No such operation in this service. Not executed. */
  'unknown-operation',
  /** Nobody signed the request, and the service wants this operation signed. Not executed. */
  'anonymous-refused',
  /** The input is not a value, or does not fit the operation's schema. Nothing was changed. */
  'invalid-input',
  /** The operation's own code failed; the replica's log says why. Nothing was changed. */
  'operation-failed',
  /** The operation used what differs between replicas, or was asynchronous. Nothing was changed. */
  'not-deterministic',
  /** The result, a key or a value is larger than the limits allow. Nothing was changed. */
  'too-large',
  /** The session is forgotten or was not born yet; whether another copy was or will be executed is not known. */
  'session-expired',
  /** The number is too far above what the request itself acknowledges. Neither this nor a copy is ever executed. */
  'window',
  /** The client said that it has this result already, so it is gone. */
  'already-acknowledged',
  /** The result, if there was one, had to be forgotten to make room; whether it was executed is not known. */
  'result-forgotten',
  /** Another request was executed under this number. This one never was and never will be. */
  'number-reused',
] as const;

export type SystemCode = (typeof systemCodes)[number];

const codePattern = /^[a-z][a-z0-9-]{0,63}$/;
/** A code unit takes at most three bytes, so this many always fit. */
const messageLengthMax = limits.outcomeMessageSizeBytesMax / 4;

function isSystemCode(code: string): code is SystemCode {
  return (systemCodes as readonly string[]).includes(code);
}

/** May a service fail with this code? 1 to 64 of `a-z 0-9 -`, beginning with a letter, and not one of the system's. */
export function isServiceCode(code: string): boolean {
  return codePattern.test(code) && !isSystemCode(code);
}

/** A failure whose message is cut, and mended where it has no encoding, so that it always fits a result. */
export function failure(code: string, message: string): Failure {
  return { ok: false, code, message: message.slice(0, messageLengthMax).toWellFormed() };
}

/** Encodes one outcome. Throws as `encodeValue` does when the value is not one. */
export function encodeOutcome(outcome: { readonly ok: true; readonly value: unknown } | Failure): Uint8Array {
  const writer = new Writer(64);
  if (outcome.ok) writeValue(writer.u8(1), outcome.value);
  else writer.u8(0).text(outcome.code).text(outcome.message);
  return writer.finish();
}

/** Bytes a result has besides its outcomes. */
export const resultOverheadSizeBytes = 2;

/** Joins encoded outcomes to a result; one buffer of its own, that shares no memory. */
export function joinOutcomes(outcomes: readonly Uint8Array[]): Uint8Array {
  let sizeBytes = resultOverheadSizeBytes;
  for (const outcome of outcomes) sizeBytes += outcome.length;
  const writer = new Writer(sizeBytes).u16(outcomes.length);
  for (const outcome of outcomes) writer.fixed(outcome);
  return writer.finish();
}

export function encodeOutcomes(outcomes: readonly Outcome[]): Uint8Array {
  return joinOutcomes(outcomes.map(encodeOutcome));
}

export function decodeOutcomes(bytes: Uint8Array): Decoded<readonly Outcome[]> {
  return decode(bytes, (reader) => {
    const count = reader.count(reader.u16('outcomes'), limits.requestOperationsMax, 2, 'outcomes');
    const outcomes: Outcome[] = [];
    for (let i = 0; i < count; i++) {
      const ok = reader.u8('outcome');
      if (ok > 1) throw new WireError('outcome: neither success nor failure');
      if (ok === 1) outcomes.push({ ok: true, value: readValue(reader) });
      else {
        const code = reader.text(limits.outcomeCodeSizeBytesMax, 'code');
        outcomes.push({ ok: false, code, message: reader.text(limits.outcomeMessageSizeBytesMax, 'message') });
      }
    }
    return outcomes;
  });
}
