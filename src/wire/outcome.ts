/**
 * Outcome: what became of one operation. The result of a request is the list of its operations' outcomes, in order.
 *
 * Codes written by the system begin with nothing in particular and are listed here; a service adds its own.
 */

import { limits } from './limits.ts';
import { type Decoded, decode, WireError } from './reader.ts';
import { readValue, type Value, writeValue } from './value.ts';
import { Writer } from './writer.ts';

export type Outcome =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly code: string; readonly message: string };

/** Codes of the system, as against those of a service. */
export const systemCodes = [
  /** No such operation in this service. */
  'unknown-operation',
  /** The input does not fit the operation's schema. */
  'invalid-input',
  /** The operation's own code failed or was not deterministic; nothing was changed. */
  'operation-failed',
  /** The result, a key or a value is larger than the limits allow. */
  'too-large',
  /** The session was forgotten; whether an earlier copy of the request was executed is not known any more. */
  'session-expired',
  /** The request number is too far above the lowest unacknowledged one. */
  'window',
  /** The request was acknowledged already, so its result is gone. */
  'already-acknowledged',
] as const;

export function encodeOutcomes(outcomes: readonly Outcome[]): Uint8Array {
  const writer = new Writer(64 + outcomes.length * 16).u16(outcomes.length);
  for (const outcome of outcomes) {
    if (outcome.ok) {
      writer.u8(1);
      writeValue(writer, outcome.value);
    } else writer.u8(0).text(outcome.code).text(outcome.message);
  }
  return writer.finish();
}

export function decodeOutcomes(bytes: Uint8Array): Decoded<readonly Outcome[]> {
  return decode(bytes, (reader) => {
    const count = reader.count(reader.u16('outcomes'), limits.requestOperationsMax, 2, 'outcomes');
    const outcomes: Outcome[] = [];
    for (let i = 0; i < count; i++) {
      const ok = reader.u8('outcome');
      if (ok > 1) throw new WireError('outcome: neither success nor failure');
      if (ok === 1) outcomes.push({ ok: true, value: readValue(reader) });
      else outcomes.push({ ok: false, code: reader.text(64, 'code'), message: reader.text(4096, 'message') });
    }
    return outcomes;
  });
}
