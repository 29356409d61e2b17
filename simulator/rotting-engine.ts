/**
 * Rotting engine: the memory engine with a disk under it whose bits flip. As on the real disk each record has a checksum, so what is
 * read of a rotten one is `StateDamage`, until it is written again.
 */
import { type Change, type Range, StateDamage, type StateEngine, type StateSnapshot } from '../src/state/engine.ts';
import { MemoryEngine } from '../src/state/memory-engine.ts';
import type { Prng } from './prng.ts';

export class RottingEngine implements StateEngine {
  #engine: MemoryEngine;
  /** Keys in hex. */
  readonly #rotten: Set<string>;

  /** `after`: begins with what that one held when its replica died, rot included. */
  constructor({ sync, after }: { readonly sync: () => Promise<void>; readonly after?: RottingEngine }) {
    this.#engine = new MemoryEngine(after === undefined ? { sync } : { sync, after: after.#engine });
    this.#rotten = new Set(after === undefined ? [] : after.#rotten);
  }

  /** What is here, but for what somebody writes who has the disk in his hands. */
  overwritten(changes: readonly Change[], sync: () => Promise<void>): RottingEngine {
    const inHands = new RottingEngine({ sync, after: this });
    // Without a sync it is there at once.
    const engine = new MemoryEngine({ after: this.#engine });
    void engine.write(changes);
    for (const { key } of changes) inHands.#rotten.delete(hexOf(key));
    inHands.#engine = new MemoryEngine({ sync, after: engine });
    return inHands;
  }

  get sizeBytes(): number {
    return this.#engine.sizeBytes;
  }

  get rottenCount(): number {
    return this.#rotten.size;
  }

  /** Bits flip in this many records. */
  rot(prng: Prng, count: number): void {
    const keys = prng.shuffle([...this.#engine.keys({})]);
    for (const key of keys.slice(0, count)) this.#rotten.add(hexOf(key));
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const value = this.#engine.get(key);
    check(this.#rotten, key);
    return value;
  }

  *keys(range: Range): Generator<Uint8Array> {
    for (const { key } of this.entries(range)) yield key;
  }

  entries(range: Range): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    return sound(this.#rotten, this.#engine.entries(range));
  }

  async write(changes: Iterable<Change>): Promise<void> {
    const taken = [...changes];
    await this.#engine.write(taken);
    for (const { key } of taken) this.#rotten.delete(hexOf(key));
  }

  /** What has rotted by now stays rotten in it, whatever is written. */
  snapshot(): StateSnapshot {
    const snapshot = this.#engine.snapshot();
    const rotten = new Set(this.#rotten);
    return {
      get: (key) => {
        check(rotten, key);
        return snapshot.get(key);
      },
      keys: (range) => keysOf(sound(rotten, snapshot.entries(range))),
      entries: (range) => sound(rotten, snapshot.entries(range)),
      close: () => snapshot.close(),
    };
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

type Record = { readonly key: Uint8Array; readonly value: Uint8Array };

function* sound(rotten: ReadonlySet<string>, entries: Iterable<Record>): Generator<Record> {
  for (const entry of entries) {
    check(rotten, entry.key);
    yield entry;
  }
}

function* keysOf(entries: Iterable<Record>): Generator<Uint8Array> {
  for (const { key } of entries) yield key;
}

function check(rotten: ReadonlySet<string>, key: Uint8Array): void {
  if (rotten.size > 0 && rotten.has(hexOf(key))) throw new StateDamage('A record of the state fails its checksum.');
}

function hexOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex');
}
