/**
 * Kv client: actions of the model as operations of the key-value service on the wire, and results back as outcomes.
 */
import { decodeOutcomes, type Outcome } from '../src/wire/outcome.ts';
import type { Operation } from '../src/wire/request.ts';
import { decodeValue, encodeValue, type Value } from '../src/wire/value.ts';
import type { KvAction } from './kv-model.ts';

export function encodeKvAction(action: KvAction): Operation {
  switch (action.kind) {
    case 'get':
    case 'delete':
      return { name: action.kind, input: encodeValue({ key: action.key }) };
    case 'put':
      return { name: 'put', input: encodeValue({ key: action.key, value: action.value }) };
    case 'cas': {
      const { key, expected, value } = action;
      return { name: 'cas', input: encodeValue({ key, expected: expected ?? null, value }) };
    }
  }
}

/** Undoes `encodeKvAction`. Throws for any other operation: simulated clients make none. */
export function readKvAction({ name, input }: Operation): KvAction {
  const decoded = decodeValue(input);
  const fields = decoded.ok ? decoded.value : null;
  const key = textField(fields, 'key');
  const value = textField(fields, 'value');
  if (key !== undefined) {
    if (name === 'get' || name === 'delete') return { kind: name, key };
    if (name === 'put' && value !== undefined) return { kind: 'put', key, value };
    if (name === 'cas' && value !== undefined)
      return { kind: 'cas', key, expected: textField(fields, 'expected'), value };
  }
  throw new Error(`invariant: no simulated client asks for ${name}`);
}

/** The outcomes in a result, in the words of the model; one for each action. */
export function readKvOutcomes(actions: readonly KvAction[], result: Uint8Array): readonly string[] {
  const decoded = decodeOutcomes(result);
  if (!decoded.ok) return actions.map(() => `refused: unreadable result, ${decoded.reason}`);
  return actions.map((action, index) => {
    const outcome = decoded.value[index];
    return outcome === undefined ? 'refused: no outcome' : readOutcome(action, outcome);
  });
}

function readOutcome(action: KvAction, outcome: Outcome): string {
  if (!outcome.ok) return `refused: ${outcome.code}, ${outcome.message}`;
  const { value } = outcome;
  switch (action.kind) {
    case 'get':
      if (value === null) return 'absent';
      return typeof value === 'string' ? `holds ${value}` : unexpected(value);
    case 'put':
      return value === null ? 'done' : unexpected(value);
    case 'delete': {
      const deleted = field(value, 'deleted');
      return typeof deleted === 'boolean' ? (deleted ? 'deleted' : 'was absent') : unexpected(value);
    }
    case 'cas': {
      const swapped = field(value, 'swapped');
      return typeof swapped === 'boolean' ? (swapped ? 'swapped' : 'differs') : unexpected(value);
    }
  }
}

function unexpected(value: Value): string {
  return `unexpected: ${JSON.stringify(value)}`;
}

function field(value: Value, name: string): Value | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array)
    return undefined;
  return (value as { readonly [key: string]: Value })[name];
}

function textField(value: Value, name: string): string | undefined {
  const found = field(value, name);
  return typeof found === 'string' ? found : undefined;
}
