/**
 * Lmdb failure: what lmdb-js throws, as one of our errors: the file is damaged, or the world failed.
 */
import { getSystemErrorName } from 'node:util';
import { StateDamage } from '../state/engine.ts';
import { storageErrorOf } from './storage-error.ts';

const mapFull = -30792;
/** What only a file can say that is not as lmdb left it. */
const damage: ReadonlySet<number> = new Set([
  -30797, // a page is not there
  -30796, // a page is not what it should be
  -30793, // no lmdb file
  -30787, // a tree deeper than there can be
  -30786, // a page that holds more than a page
  -30784, // another kind of database
  -30782, // one of these met the same transaction before
  -30781, // a key or value of an impossible size
]);

/** Errors that are not lmdb's, but ours or the caller's, stay what they are. */
export function lmdbFailureOf(error: unknown, what: string): Error {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (error instanceof Error && typeof code !== 'number') return error;
  if (typeof code !== 'number') return storageErrorOf(error, what);
  if (damage.has(code)) return new StateDamage(`The file is damaged: ${what} failed (${code}).`, { cause: error });
  const name = code === mapFull ? 'ENOSPC' : code > 0 ? getSystemErrorName(-code) : `lmdb ${code}`;
  return storageErrorOf(Object.assign(new Error(`lmdb failed with ${code}`, { cause: error }), { code: name }), what);
}
