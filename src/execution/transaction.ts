/**
 * Transaction: the state as one operation sees it: what is stored, with its own writes on top.
 *
 * In: the calls of a service's code. Out: values, always decoded afresh, so that nobody can change what is stored but
 * through a transaction; and the writes, for whoever decides whether they become part of the state (`state-store.ts`).
 * Keys are ordered by UTF-16 code unit, as `<` does everywhere.
 */
import type { StateStore, Writes } from '../state/state-store.ts';
import { limits } from '../wire/limits.ts';
import { decodeOwnValue, encodeValue, type Value } from '../wire/value.ts';
import { OperationFailure, unencodable } from './failure.ts';
import type { Entry, Range, State } from './service-definition.ts';

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** What one operation sees and writes. Its writes lie on top of the state until `end`, after which it is of no use. */
export class Transaction implements State {
  readonly #store: StateStore;
  readonly #writable: boolean;
  #writes: Map<string, Uint8Array | undefined> | undefined;
  #open = true;

  constructor(store: StateStore, writable: boolean) {
    this.#store = store;
    this.#writable = writable;
  }

  get<T extends Value = Value>(key: string): T | undefined {
    this.#check(key);
    const bytes = this.#read(key);
    return bytes === undefined ? undefined : (decodeOwnValue(bytes) as T);
  }

  has(key: string): boolean {
    this.#check(key);
    return this.#has(key);
  }

  put(key: string, value: Value): void {
    this.#checkWrite(key);
    const bytes = encodeStateValue(value);
    if (bytes.length > limits.stateValueSizeBytesMax) {
      throw new OperationFailure(
        'too-large',
        `the value for a state key has ${bytes.length} bytes; at most ${limits.stateValueSizeBytesMax} are allowed`,
      );
    }
    this.#writes ??= new Map();
    this.#writes.set(key, bytes);
  }

  delete(key: string): boolean {
    this.#checkWrite(key);
    if (!this.#has(key)) return false;
    this.#writes ??= new Map();
    this.#writes.set(key, undefined);
    return true;
  }

  *range<T extends Value = Value>(range: Range = {}): Generator<Entry<T>, undefined> {
    this.#checkOpen();
    const bounds = boundsOf(range);
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    if (!(left >= 0)) throw new RangeError('range: limit is a number of entries, 0 or more');
    if (left === 0) return;
    for (const { key, stored } of this.#entries(bounds)) {
      if (bounds.isBeyond(key)) return;
      this.#checkOpen();
      const bytes = this.#writes?.has(key) ? this.#writes.get(key) : stored;
      if (bytes === undefined) continue;
      yield { key, value: decodeOwnValue(bytes) as T };
      left -= 1;
      if (left === 0) return;
    }
  }

  /** Ends the transaction; what it wrote, if anything. */
  end(): Writes | undefined {
    this.#open = false;
    return this.#writes;
  }

  #read(key: string): Uint8Array | undefined {
    const written = this.#writes?.get(key);
    if (written !== undefined || this.#writes?.has(key)) return written;
    return this.#store.read(key);
  }

  #has(key: string): boolean {
    return this.#writes?.has(key) ? this.#writes.get(key) !== undefined : this.#store.has(key);
  }

  /** Keys of the state and of this transaction's writes, in order, each once, those it deleted included; what is stored there. */
  *#entries(bounds: Bounds): Generator<{ readonly key: string; readonly stored: Uint8Array | undefined }> {
    const { start, inclusive, reverse } = bounds;
    const compare = reverse ? (a: string, b: string) => byCodeUnit(b, a) : byCodeUnit;
    const isInside = (key: string): boolean => {
      if (start === undefined) return true;
      const order = compare(key, start);
      return order > 0 || (order === 0 && inclusive);
    };
    const written = [...(this.#writes?.keys() ?? [])].filter(isInside).sort(compare);
    let next = 0;
    for (const { key, value } of this.#store.entriesFrom(start, inclusive, reverse)) {
      for (; next < written.length && compare(written[next] as string, key) < 0; next++) {
        yield { key: written[next] as string, stored: undefined };
      }
      if (written[next] === key) next++;
      yield { key, stored: value };
    }
    for (; next < written.length; next++) yield { key: written[next] as string, stored: undefined };
  }

  #check(key: string): void {
    this.#checkOpen();
    if (typeof key !== 'string') throw new TypeError(`a state key is text, not ${typeof key}`);
    // A code unit takes one byte at least and three at most: most keys need no counting.
    if (key.length * 3 > limits.stateKeySizeBytesMax && Buffer.byteLength(key) > limits.stateKeySizeBytesMax) {
      throw new OperationFailure('too-large', `a state key has at most ${limits.stateKeySizeBytesMax} bytes`);
    }
  }

  #checkWrite(key: string): void {
    this.#check(key);
    if (!this.#writable) throw new OperationFailure('operation-failed', 'a query tried to write; only an update may');
    if (!key.isWellFormed()) throw new RangeError('a state key with a lone surrogate has no encoding');
  }

  #checkOpen(): void {
    if (!this.#open) throw new Error('the state was used after its operation had ended');
  }
}

function encodeStateValue(value: Value): Uint8Array {
  try {
    return encodeValue(value);
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    throw new OperationFailure('too-large', `a value for the state is ${unencodable}`);
  }
}

interface Bounds {
  /** The first key looked at, if the range has such an end. */
  readonly start: string | undefined;
  readonly inclusive: boolean;
  readonly reverse: boolean;
  /** Is the range over at this key? */
  readonly isBeyond: (key: string) => boolean;
}

/** Where to begin and where to stop. Low ends are inclusive, high ends exclusive, `after` exclusive. */
function boundsOf({ prefix, from, to, after, reverse = false }: Range): Bounds {
  if (prefix !== undefined && (from !== undefined || to !== undefined)) {
    throw new TypeError('range: give either prefix or from and to');
  }
  const low = prefix ?? from;
  const high = prefix === undefined ? to : successorOfPrefix(prefix);
  if (reverse) {
    const isAfterFirst = after !== undefined && (high === undefined || after < high);
    return {
      start: isAfterFirst ? after : high,
      inclusive: false,
      reverse,
      isBeyond: (key) => low !== undefined && key < low,
    };
  }
  const isAfterFirst = after !== undefined && (low === undefined || after >= low);
  return {
    start: isAfterFirst ? after : low,
    inclusive: !isAfterFirst,
    reverse,
    isBeyond: (key) => high !== undefined && key >= high,
  };
}

/** The least text above all that begin with the prefix; undefined when there is none. */
function successorOfPrefix(prefix: string): string | undefined {
  for (let length = prefix.length; length > 0; length--) {
    const unit = prefix.charCodeAt(length - 1);
    if (unit < 0xffff) return prefix.slice(0, length - 1) + String.fromCharCode(unit + 1);
  }
  return undefined;
}
