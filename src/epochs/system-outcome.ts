/**
 * System outcome: what becomes of an operation of the system: a value and the state after it, or a refusal. Every word of it is
 * ours and the same on all replicas.
 */
import type { EpochState } from '../wire/epoch-state.ts';
import { type Failure, failure } from '../wire/outcome.ts';
import type { Value } from '../wire/value.ts';

export type SystemCode =
  | 'invalid-input'
  | 'unknown-replica'
  | 'unknown-administrator'
  | 'wrong-epoch'
  | 'bad-signature'
  | 'too-early'
  | 'too-late'
  | 'stale'
  | 'disputed'
  | 'not-possible';

export interface SystemOutcome {
  readonly outcome: { readonly ok: true; readonly value: Value } | Failure;
  /** After the operation; even a refused one may show something, such as a dispute. */
  readonly state: EpochState;
}

export function refused(state: EpochState, code: SystemCode, message: string): SystemOutcome {
  return { outcome: failure(code, message), state };
}

export function granted(state: EpochState, value: Value): SystemOutcome {
  return { outcome: { ok: true, value }, state };
}

/** A field of an input that must be bytes. */
export function bytesIn(input: Value, field: string): Uint8Array | undefined {
  const value = fieldIn(input, field);
  return value instanceof Uint8Array ? value : undefined;
}

/** A field of an input that must be a whole number from 0. */
export function numberIn(input: Value, field: string): number | undefined {
  const value = fieldIn(input, field);
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function fieldIn(input: Value, field: string): Value | undefined {
  if (typeof input !== 'object' || input === null || Array.isArray(input) || input instanceof Uint8Array)
    return undefined;
  return Object.hasOwn(input, field) ? (input as { readonly [key: string]: Value })[field] : undefined;
}
