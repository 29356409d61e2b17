/**
 * Write layer: what was written to a table since some moment, above the engine that does not have it yet.
 *
 * A map finds a key. Keys are put in order, by a B+ tree, from the first time on that anybody reads a range: many services
 * never do. The tree is built whole before it is kept, since a range is read by code of a service, whose stack may end anywhere.
 * Keys are ordered by UTF-16 code unit, as `<` does everywhere.
 */
import sortedBtree from 'sorted-btree';
import { stateKeyBytes } from './state-key.ts';

type Order = sortedBtree.default<string, undefined>;

/** Null: deleted. */
export type Written = Uint8Array | null;

export class WriteLayer {
  readonly #values = new Map<string, Written>();
  #order: Order | undefined;
  #sizeBytes = 0;

  constructor({ isOrdered = false }: { readonly isOrdered?: boolean } = {}) {
    if (isOrdered) this.#order = emptyOrder();
  }

  get isOrdered(): boolean {
    return this.#order !== undefined;
  }

  /** Keys written, those deleted included. */
  get entries(): number {
    return this.#values.size;
  }

  /** Of these keys and of their last values. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Undefined: not written in this layer. */
  get(key: string): Written | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: Written): void {
    const before = this.#values.get(key);
    this.#values.set(key, value);
    if (before === undefined) {
      this.#sizeBytes += stateKeyBytes(key).length;
      this.#order?.set(key, undefined);
    }
    this.#sizeBytes += (value?.length ?? 0) - (before?.length ?? 0);
  }

  /** All that was written, in no order. */
  all(): Iterable<readonly [string, Written]> {
    return this.#values;
  }

  /** From `start` on (up or down), excluding `start` itself unless `inclusive`. */
  *entriesFrom(
    start: string | undefined,
    inclusive: boolean,
    reverse: boolean,
  ): Generator<{ readonly key: string; readonly value: Written }> {
    const order = this.#inOrder();
    const keys = reverse ? order.entriesReversed(start, undefined, !inclusive) : order.entries(start);
    for (const [key] of keys) {
      if (inclusive || key !== start) yield { key, value: this.#values.get(key) as Written };
    }
  }

  #inOrder(): Order {
    if (this.#order === undefined) {
      const order = emptyOrder();
      for (const key of this.#values.keys()) order.set(key, undefined);
      this.#order = order;
    }
    return this.#order;
  }
}

function emptyOrder(): Order {
  return new sortedBtree.default<string, undefined>(undefined, (a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
