/**
 * Session entries: sessions and their results as entries of the system tree, in a checkpoint (docs/protocol/checkpoints.md C5).
 *
 * A result is an entry of its own, so that a large one is written once and not whenever its session is used. Sessions are as old
 * as their last use and results as their place in the log: that is enough to forget in the order in which they would have been.
 * Reading them throws `StateDamage`: entries are held against the tree before they are read, so what is wrong is wrong on disk.
 */
import type { Digest } from '../crypto/hash.ts';
import { StateDamage } from '../state/engine.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import { limits } from '../wire/limits.ts';
import { decode, type Reader } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';

export interface SessionEntry {
  /** Client, nonce and birth, as in `SessionName`. */
  readonly key: string;
  readonly birth: number;
  readonly acknowledged: number;
  readonly floor: number;
  /** How many requests had been admitted with its last one. */
  readonly lastUse: number;
}

export interface ResultEntry {
  /** Key of the session. */
  readonly session: string;
  readonly number: number;
  readonly requestDigest: Digest;
  readonly commitIndex: number;
  readonly leafIndex: number;
  readonly result: Uint8Array;
}

/** Sessions as a checkpoint has them. */
export interface RestoredSessions {
  readonly counters: Checkpoint['sessions'];
  /** Least recently used first. */
  readonly sessions: readonly SessionEntry[];
  /** In the order of their execution; each is of one of these sessions. */
  readonly results: readonly ResultEntry[];
}

const sessionPrefix = 'session/';
const resultPrefix = 'result/';
/** Client, nonce and birth. */
const sessionForm = /^[0-9a-f]{96}(0|[1-9]\d{0,15})$/;
const leafForm = /^[0-9a-f]{16}$/;

export function sessionKey(key: string): string {
  return sessionPrefix + key;
}

/** Keys of results are in the order of the log. */
export function resultKey(leafIndex: number): string {
  return resultPrefix + leafIndex.toString(16).padStart(16, '0');
}

export function encodeSession({ acknowledged, floor, lastUse }: Omit<SessionEntry, 'key' | 'birth'>): Uint8Array {
  return new Writer(24).u64(acknowledged).u64(floor).u64(lastUse).finish();
}

export function encodeResult(entry: Omit<ResultEntry, 'leafIndex'>): Uint8Array {
  const { session, number, requestDigest, commitIndex, result } = entry;
  const writer = new Writer(256 + result.length).text(session).u64(number).digest(requestDigest).u64(commitIndex);
  return writer.bytes(result).finish();
}

/** Collects sessions and results among the entries of the system tree. */
export class SessionReading {
  readonly #sessions = new Map<string, SessionEntry>();
  readonly #results: ResultEntry[] = [];

  /** False when the entry is something else. */
  take(key: string, value: Uint8Array): boolean {
    if (key.startsWith(sessionPrefix)) this.#takeSession(key.slice(sessionPrefix.length), value);
    else if (key.startsWith(resultPrefix)) this.#takeResult(key.slice(resultPrefix.length), value);
    else return false;
    return true;
  }

  finish(counters: Checkpoint['sessions']): RestoredSessions {
    const sessions = [...this.#sessions.values()].sort((a, b) => a.lastUse - b.lastUse);
    const results = this.#results.sort((a, b) => a.leafIndex - b.leafIndex);
    const lost = results.find(({ session }) => !this.#sessions.has(session));
    if (lost !== undefined) throw new StateDamage(`The result at ${lost.leafIndex} is of a session that is not there.`);
    if ((sessions.at(-1)?.lastUse ?? 0) > counters.admissions) {
      throw new StateDamage('A session was used after the checkpoint that it is of.');
    }
    return { counters, sessions, results };
  }

  #takeSession(key: string, value: Uint8Array): void {
    const birth = Number(sessionForm.exec(key)?.[1]);
    if (!Number.isSafeInteger(birth)) throw malformed(`${sessionPrefix}${key}`, 'no name of a session');
    const entry = read(key, value, (reader) => ({
      acknowledged: reader.u64('acknowledged'),
      floor: reader.u64('floor'),
      lastUse: reader.u64('last use'),
    }));
    this.#sessions.set(key, { key, birth, ...entry });
  }

  #takeResult(key: string, value: Uint8Array): void {
    const leafIndex = leafForm.test(key) ? Number.parseInt(key, 16) : Number.NaN;
    if (!Number.isSafeInteger(leafIndex)) throw malformed(`${resultPrefix}${key}`, 'no place in the log');
    const entry = read(key, value, (reader) => ({
      session: reader.text(128, 'session'),
      number: reader.u64('number'),
      requestDigest: reader.digest('request'),
      commitIndex: reader.u64('commit index'),
      result: reader.bytes(limits.resultSizeBytesMax, 'result'),
    }));
    this.#results.push({ leafIndex, ...entry });
  }
}

function read<Entry>(key: string, value: Uint8Array, fields: (reader: Reader) => Entry): Entry {
  const decoded = decode(value, fields);
  if (!decoded.ok) throw malformed(key, decoded.reason);
  return decoded.value;
}

function malformed(key: string, reason: string): StateDamage {
  return new StateDamage(`The system entry ${key} is malformed: ${reason}.`);
}
