/**
 * Linear system: what follows from linear equations over a prime field: exactly what can be worked out, and nothing else.
 *
 * Rows are kept in echelon form, each with its first unknown at a place of its own.
 */
import { invert, modulo } from '../src/crypto/scalar.ts';

/** Factors of unknowns, by their numbers; no factor is zero once it is reduced. */
export type LinearForm = ReadonlyMap<number, bigint>;

interface Row {
  readonly form: Map<number, bigint>;
  value: bigint;
}

export class LinearSystem {
  readonly #order: bigint;
  /** By the number of the first unknown, whose factor is one. */
  readonly #rows = new Map<number, Row>();

  constructor(order: bigint) {
    this.#order = order;
  }

  /** This form has this value. Throws when that cannot be, by what is known. */
  learn(form: LinearForm, value: bigint): void {
    const row = this.#reduced(form, value);
    const first = firstOf(row.form);
    if (first === undefined) {
      if (row.value !== 0n) throw new Error('invariant: two equations contradict each other');
      return;
    }
    const inverse = invert(row.form.get(first) as bigint, this.#order);
    for (const [unknown, factor] of row.form) row.form.set(unknown, modulo(factor * inverse, this.#order));
    row.value = modulo(row.value * inverse, this.#order);
    this.#rows.set(first, row);
  }

  /** The value of a form, if it follows from what is known. */
  valueOf(form: LinearForm): bigint | undefined {
    const row = this.#reduced(form, 0n);
    return row.form.size === 0 ? modulo(-row.value, this.#order) : undefined;
  }

  /** Less such multiples of what is known that no unknown is left which begins a row. */
  #reduced(form: LinearForm, value: bigint): Row {
    const row: Row = { form: new Map(), value: modulo(value, this.#order) };
    for (const [unknown, factor] of form) this.#add(row.form, unknown, factor);
    // A row brings in unknowns behind its first one only, so each is looked at once, in order.
    for (let at = -1; ; ) {
      const next = firstOf(row.form, at);
      if (next === undefined) return row;
      at = next;
      const known = this.#rows.get(next);
      if (known === undefined) continue;
      const factor = row.form.get(next) as bigint;
      for (const [unknown, each] of known.form) this.#add(row.form, unknown, -factor * each);
      row.value = modulo(row.value - factor * known.value, this.#order);
    }
  }

  #add(form: Map<number, bigint>, unknown: number, factor: bigint): void {
    const sum = modulo((form.get(unknown) ?? 0n) + factor, this.#order);
    if (sum === 0n) form.delete(unknown);
    else form.set(unknown, sum);
  }
}

/** The lowest unknown above this one. */
function firstOf(form: LinearForm, above = -1): number | undefined {
  let first: number | undefined;
  for (const unknown of form.keys()) if (unknown > above && (first === undefined || unknown < first)) first = unknown;
  return first;
}
