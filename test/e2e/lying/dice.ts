/**
 * Dice: what a liar's lies are drawn from.
 */
import { Prng } from '../../../simulator/prng.ts';

export const lieSeed = Number(process.env.LIE_SEED ?? 1);

/** Other dice for each room and epoch. */
export function diceFor(salt: number): Prng {
  return new Prng(lieSeed * 1_000_003 + salt);
}

/** Remembers a few of what it is given: old truths are the best lies. */
export class Memory<T> {
  readonly #kept: T[] = [];
  readonly #dice: Prng;
  readonly #max: number;

  constructor(dice: Prng, max: number) {
    this.#dice = dice;
    this.#max = max;
  }

  keep(each: T): void {
    this.#kept.push(each);
    if (this.#kept.length > this.#max) this.#kept.splice(this.#dice.below(this.#max), 1);
  }

  /** Any of them; undefined before the first. */
  get any(): T | undefined {
    return this.#kept.length === 0 ? undefined : this.#dice.pick(this.#kept);
  }
}

/** The same with one bit changed. */
export function bent(bytes: Uint8Array, dice: Prng): Uint8Array {
  const copy = Uint8Array.from(bytes);
  if (copy.length > 0) {
    const at = dice.below(copy.length);
    copy[at] = (copy[at] as number) ^ (1 << dice.below(8));
  }
  return copy;
}
