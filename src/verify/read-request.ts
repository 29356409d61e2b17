/**
 * Read request: what a client signed, and what came out of it, as `wire/request.ts` and `wire/outcome.ts` read them.
 */
import { limits } from '../wire/limits.ts';
import { SlotBudget } from '../wire/slot-budget.ts';
import type { Value } from '../wire/value.ts';
import { ByteReader } from './byte-reader.ts';
import { readValue } from './read-value.ts';

export interface ReadOperation {
  readonly name: string;
  /** Encoded; the service itself refuses an operation whose input is no value. */
  readonly input: Uint8Array;
}

export interface ReadRequest {
  /** Ed25519 public key, 32 bytes. */
  readonly client: Uint8Array;
  readonly number: number;
  readonly operations: readonly ReadOperation[];
  /** What the digest of the request is made of: all of it but the signature. */
  readonly signedPart: Uint8Array;
  readonly signature: Uint8Array;
}

/** What became of one operation. */
export type Outcome =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly code: string; readonly message: string };

const operationNamePattern = /^[a-z0-9][a-z0-9.-]{0,63}$/;

export function readRequest(bytes: Uint8Array): ReadRequest {
  const reader = new ByteReader(bytes, 'request');
  reader.demand(bytes.length <= limits.requestSizeBytesMax, 'it is too large');
  reader.demand(reader.u8('version') === 1, 'its version is unknown');
  const client = reader.fixed(32, 'client');
  reader.u64('birth');
  reader.fixed(16, 'nonce');
  const number = reader.u64('number');
  // So the number is 1 at least.
  reader.demand(reader.u64('acknowledged number') < number, 'it acknowledges itself');
  const operations = readOperations(reader);
  const signedPart = bytes.slice(0, reader.offset);
  const signature = reader.fixed(64, 'signature');
  reader.end();
  return { client, number, operations, signedPart, signature };
}

function readOperations(reader: ByteReader): readonly ReadOperation[] {
  const count = reader.count(reader.u16('operations'), limits.requestOperationsMax, 5, 'operations');
  reader.demand(count > 0, 'it has no operations');
  return Array.from({ length: count }, () => {
    const name = String.fromCharCode(...reader.fixed(reader.u8('operation name'), 'operation name'));
    reader.demand(operationNamePattern.test(name), 'an operation name is not 1 to 64 of a-z 0-9 . -');
    return { name, input: reader.bytes(limits.requestSizeBytesMax, 'operation input') };
  });
}

export function readResult(bytes: Uint8Array): readonly Outcome[] {
  const reader = new ByteReader(bytes, 'result');
  const slots = new SlotBudget();
  reader.demand(bytes.length <= limits.resultSizeBytesMax, 'it is too large');
  const count = reader.count(reader.u16('outcomes'), limits.requestOperationsMax, 2, 'outcomes');
  const outcomes = Array.from({ length: count }, () => readOutcome(reader, slots));
  reader.end();
  return outcomes;
}

function readOutcome(reader: ByteReader, slots: SlotBudget): Outcome {
  const kind = reader.u8('outcome');
  if (kind === 1) return { ok: true, value: readValue(reader, slots) };
  reader.demand(kind === 0, 'an outcome is neither success nor failure');
  const code = reader.text(limits.outcomeCodeSizeBytesMax, 'code');
  return { ok: false, code, message: reader.text(limits.outcomeMessageSizeBytesMax, 'message') };
}
