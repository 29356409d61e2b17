/**
 * State: what the service stores: values under text keys, ordered by key, changed by one transaction at a time.
 *
 * In: the writes of a transaction, once it succeeded. Out: values, always decoded afresh, so that nobody can change
 * what is stored but through a transaction. Owns the only copy of the state, in memory.
 *
 * A map finds a key (0.7 µs among 300,000 keys) and a B+ tree of the keys orders them: a third of the time of a tree
 * alone for what happens most, reading and overwriting. Keys are ordered by UTF-16 code unit, as `<` does everywhere.
 *
 * The digest is a chain: H(tag, previous, digest of the commit, its writes in order), once a commit. It is a digest of
 * the *history* of writes, not of the contents: two states with the same contents and another past differ. That is
 * enough to find replicas that diverged, and costs one hash; an authenticated tree over the contents comes later.
 */
import sortedBtree from 'sorted-btree';
import { type Digest, sha256Of } from '../crypto/hash.ts';
import { domains } from '../wire/domain.ts';
import { limits } from '../wire/limits.ts';
import { decodeOwnValue, encodeValue, type Value } from '../wire/value.ts';
import { Writer } from '../wire/writer.ts';
import { OperationFailure, unencodable } from './failure.ts';
import { type Packed, pack, unpack } from './packed.ts';
import type { Entry, Range, State } from './service-definition.ts';

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** What a transaction wrote, encoded; `undefined` deletes. */
export type Writes = ReadonlyMap<string, Uint8Array | undefined>;

/** All keys and values, and the digest of how they came to be. */
export class StateStore {
  readonly #values = new Map<string, Packed>();
  readonly #keys = new sortedBtree.default<string, undefined>(undefined, byCodeUnit);
  #digest: Digest;
  /** The writes of the commit that is being executed. */
  #writes = new Writer(4096);

  constructor() {
    this.#digest = sha256Of([domains.state]);
  }

  get digest(): Digest {
    return this.#digest;
  }

  get size(): number {
    return this.#values.size;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** The encoded value. */
  read(key: string): Uint8Array | undefined {
    const packed = this.#values.get(key);
    return packed === undefined ? undefined : unpack(packed);
  }

  /** Keys from `start` on (up or down), excluding `start` itself unless `inclusive`. */
  *keysFrom(start: string | undefined, inclusive: boolean, reverse: boolean): Generator<string> {
    const entries = reverse ? this.#keys.entriesReversed(start, undefined, !inclusive) : this.#keys.entries(start);
    for (const [key] of entries) if (inclusive || key !== start) yield key;
  }

  /** Makes the writes of a transaction part of the state. */
  merge(writes: Writes): void {
    for (const [key, value] of writes) {
      if (value === undefined) {
        if (this.#values.delete(key)) this.#keys.delete(key);
        this.#writes.u8(0).text(key);
      } else {
        const sizeBefore = this.#values.size;
        this.#values.set(key, pack(value));
        if (this.#values.size > sizeBefore) this.#keys.set(key, undefined);
        this.#writes.u8(1).text(key).bytes(value);
      }
    }
  }

  /** Closes the commit: chains its writes to the digest. */
  close(commitDigest: Digest): Digest {
    const head = new Writer(64).digest(this.#digest).digest(commitDigest).finish();
    this.#digest = sha256Of([domains.state, head, this.#writes.finish()]);
    this.#writes = new Writer(4096);
    return this.#digest;
  }
}

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
    for (const key of this.#keys(bounds)) {
      if (bounds.isBeyond(key)) return;
      this.#checkOpen();
      const bytes = this.#read(key);
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

  /** The keys of the state and of this transaction's writes, in order, each once, those it deleted included. */
  *#keys(bounds: Bounds): Generator<string> {
    const { start, inclusive, reverse } = bounds;
    const compare = reverse ? (a: string, b: string) => byCodeUnit(b, a) : byCodeUnit;
    const isInside = (key: string): boolean => {
      if (start === undefined) return true;
      const order = compare(key, start);
      return order > 0 || (order === 0 && inclusive);
    };
    const written = [...(this.#writes?.keys() ?? [])].filter(isInside).sort(compare);
    let next = 0;
    for (const key of this.#store.keysFrom(start, inclusive, reverse)) {
      for (; next < written.length && compare(written[next] as string, key) < 0; next++) yield written[next] as string;
      if (written[next] === key) next++;
      yield key;
    }
    for (; next < written.length; next++) yield written[next] as string;
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
