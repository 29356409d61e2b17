/**
 * Certified reads of the key-value service: what is under one of its keys, as one replica proves it, without an operation.
 *
 * In: a client, or a document that `coterie/verify` has verified. Out: the value under the key that was asked for. Which key
 * of the state that is, this file alone knows; a proof for another one is never taken for it.
 */
import type { CertifiedRead, Client, ReadOptions } from 'coterie/client';
import type { VerifiedState } from 'coterie/verify';
import type { KvValue } from './kv.ts';

export interface KvRead extends Omit<CertifiedRead, 'value'> {
  /** Undefined when there was no such key. */
  readonly value: KvValue | undefined;
}

/** Where the service stores the value of a key. */
export function stateKeyOf(key: string): string {
  return key;
}

/**
 * The value of a key with a document that proves it, from a single replica; nothing is ordered. It is as of the commit that
 * it says, or absent as of then. Rejects with a `CoterieError`.
 */
export async function getCertified(
  client: Pick<Client, 'readCertified'>,
  key: string,
  options?: ReadOptions,
): Promise<KvRead> {
  const { value, ...read } = await client.readCertified(stateKeyOf(key), options);
  return { ...read, value: checkedValue(value) };
}

/**
 * The value of a key by a verified document, wherever that came from; undefined when it proves that there was no such key.
 * Throws a TypeError when the document is of another key, or of another service.
 */
export function kvValueOf(state: Pick<VerifiedState, 'key' | 'value'>, key: string): KvValue | undefined {
  if (state.key !== stateKeyOf(key)) throw new TypeError('the document is about another key');
  return checkedValue(state.value);
}

function checkedValue(value: CertifiedRead['value']): KvValue | undefined {
  if (value === undefined || typeof value === 'string' || value instanceof Uint8Array) return value;
  throw new TypeError('the document is of another service: its value is neither text nor bytes');
}
