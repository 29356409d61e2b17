/**
 * Prng: the only source of chance in a simulation. One seed, one sequence of draws, on every machine.
 *
 * xoshiro128** (Blackman, Vigna 2018) seeded by splitmix32; integer arithmetic only, so no engine's `Math.log` can make
 * two runs of one seed differ. `fork` gives an independent generator per subject: adding a draw in one part of the
 * world does not shift the draws of the others.
 */

const rotl = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

function splitmix32(state: number): () => number {
  let a = state | 0;
  return () => {
    a = (a + 0x9e3779b9) | 0;
    let t = a ^ (a >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return (t ^ (t >>> 15)) >>> 0;
  };
}

export class Prng {
  readonly #s: Uint32Array;

  /** Any safe integer; seeds that differ only above 32 bits give different sequences too. */
  constructor(seed: number) {
    const low = splitmix32(seed % 0x1_0000_0000);
    const high = splitmix32(Math.floor(seed / 0x1_0000_0000) ^ 0x5bd1e995);
    this.#s = Uint32Array.of(low() ^ high(), low() ^ high(), low() ^ high(), (low() ^ high()) | 1);
  }

  /** 0 .. 2^32 - 1. */
  next(): number {
    const s = this.#s as Uint32Array & [number, number, number, number];
    const result = Math.imul(rotl(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11);
    return result;
  }

  /** 0 .. bound - 1. The bias of the remainder, below 2^-20 for our bounds, does not matter here. */
  below(bound: number): number {
    return this.next() % bound;
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** A time in milliseconds in [least, most), a multiple of 1/64 so that sums of times are exact. */
  timeMs(least: number, most: number): number {
    return least + this.below(Math.max(1, Math.floor((most - least) * 64))) / 64;
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability * 0x1_0000_0000;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('nothing to pick from');
    return items[this.below(items.length)] as T;
  }

  /** One of the keys, with probability in proportion to its weight. */
  weighted<T>(choices: readonly (readonly [T, number])[]): T {
    let total = 0;
    for (const [, weight] of choices) total += weight;
    let left = this.below(total);
    for (const [item, weight] of choices) {
      if (left < weight) return item;
      left -= weight;
    }
    throw new RangeError('nothing to pick from');
  }

  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.next() & 0xff;
    return bytes;
  }

  /** A generator of its own, drawn from this one. */
  fork(): Prng {
    return new Prng(this.next() * 0x10_0000 + (this.next() >>> 12));
  }
}
