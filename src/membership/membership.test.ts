/**
 * Quorum arithmetic, for every n, f and k the system allows: the properties that ordering.md §6 builds on. Sets of
 * replicas only matter by their size here, except where masks themselves are tested; where n is small, all sets are tried.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Digest, digestBytes, sha256Of } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import {
  containsReplica,
  emptySet,
  genesisCoin,
  genesisReference,
  type QuorumRule,
  quorumRule,
  type ReplicaSet,
  sizeOfSet,
  uniformIndex,
  withReplica,
} from './membership.ts';

const setOfSize = (size: number): ReplicaSet => {
  let set = emptySet;
  for (let index = 0; index < size; index++) set = withReplica(set, index);
  return set;
};

const smallest = (n: number, isEnough: (set: ReplicaSet) => boolean): number => {
  for (let size = 0; size <= n; size++) if (isEnough(setOfSize(size))) return size;
  throw new Error('no set is enough');
};

const quorumOf = (rule: QuorumRule): number => smallest(rule.n, (set) => rule.isQuorum(set));

const allRules: QuorumRule[] = [];
for (let n = 4; n <= limits.replicasMax; n++) {
  for (let k = 0; 2 * k + 4 <= n; k++) {
    for (let f = 1; 3 * f + 2 * k + 1 <= n; f++) allRules.push(quorumRule({ n, f, k }));
  }
}

describe('a quorum', () => {
  it.each([
    { n: 4, f: 1, k: 0, quorum: 3 },
    { n: 5, f: 1, k: 0, quorum: 4 },
    { n: 6, f: 1, k: 0, quorum: 4 },
    { n: 6, f: 1, k: 1, quorum: 4 },
    { n: 7, f: 2, k: 0, quorum: 5 },
    { n: 9, f: 2, k: 1, quorum: 6 },
    { n: 10, f: 3, k: 0, quorum: 7 },
    { n: 13, f: 4, k: 0, quorum: 9 },
    { n: 31, f: 10, k: 0, quorum: 21 },
  ])('of n = $n, f = $f, k = $k has $quorum replicas', ({ n, f, k, quorum }) => {
    expect(quorumOf(quorumRule({ n, f, k }))).toBe(quorum);
  });

  it('shares a correct replica with any other, and is no larger than that needs', () => {
    expect(allRules.length).toBeGreaterThan(700);
    for (const rule of allRules) {
      const quorum = quorumOf(rule);
      // Two sets of this size share at least 2q - n replicas, of which f may be faulty.
      expect(2 * quorum - rule.n).toBeGreaterThan(rule.f);
      expect(2 * (quorum - 1) - rule.n).toBeLessThanOrEqual(rule.f);
    }
  });

  it('is there when f replicas are silent and k in recovery', () => {
    for (const rule of allRules) expect(rule.isQuorum(setOfSize(rule.n - rule.f - rule.k))).toBe(true);
  });

  it('has a correct replica in it, and more correct ones than faulty', () => {
    for (const rule of allRules) {
      expect(rule.hasCorrect(setOfSize(quorumOf(rule)))).toBe(true);
      expect(quorumOf(rule) - rule.f).toBeGreaterThan(rule.f);
    }
  });

  it('meets the correct part of any other: what a quorum of correct authors has cited cannot be missed', () => {
    for (const rule of allRules) {
      const quorum = quorumOf(rule);
      expect(quorum + (quorum - rule.f)).toBeGreaterThan(rule.n);
    }
  });

  it('is judged alike for every set of its size, and intersects every other: all sets of n = 4, 6 and 7', () => {
    for (const { n, f, k } of [
      { n: 4, f: 1, k: 0 },
      { n: 6, f: 1, k: 1 },
      { n: 7, f: 2, k: 0 },
    ]) {
      const rule = quorumRule({ n, f, k });
      const sets = Array.from({ length: 2 ** n }, (_, set) => set);
      const quorums = sets.filter((set) => rule.isQuorum(set));
      expect(quorums).toEqual(sets.filter((set) => sizeOfSet(set) >= quorumOf(rule)));
      const faulty = sets.filter((set) => sizeOfSet(set) <= f);
      for (const a of quorums) {
        for (const b of quorums) {
          for (const bad of faulty) expect(sizeOfSet(a & b & ~bad)).toBeGreaterThan(0);
        }
      }
    }
  });
});

describe('a set with a correct replica', () => {
  it('has f + 1 replicas, no fewer', () => {
    for (const rule of allRules) {
      expect(rule.hasCorrect(setOfSize(rule.f))).toBe(false);
      expect(rule.hasCorrect(setOfSize(rule.f + 1))).toBe(true);
    }
  });
});

describe('the rule', () => {
  it('is refused for numbers that cannot keep it', () => {
    for (let n = 0; n <= 40; n++) {
      for (let f = 0; f <= 12; f++) {
        for (let k = 0; k <= 12; k++) {
          const isSound = f >= 1 && n >= 3 * f + 2 * k + 1 && n <= limits.replicasMax;
          if (isSound) expect(quorumRule({ n, f, k })).toMatchObject({ n, f, k });
          else expect(() => quorumRule({ n, f, k })).toThrow(RangeError);
        }
      }
    }
  });

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])('is refused for %s', (odd) => {
    expect(() => quorumRule({ n: odd, f: 1, k: 0 })).toThrow(RangeError);
    expect(() => quorumRule({ n: 4, f: odd, k: 0 })).toThrow(RangeError);
    expect(() => quorumRule({ n: 4, f: 1, k: odd })).toThrow(RangeError);
  });
});

describe('a set of replicas', () => {
  it('behaves as a set of numbers, up to the largest index', () => {
    const index = fc.nat(limits.replicasMax - 1);
    fc.assert(
      fc.property(fc.array(index), (indexes) => {
        const set = indexes.reduce(withReplica, emptySet);
        const model = new Set(indexes);
        expect(sizeOfSet(set)).toBe(model.size);
        for (let i = 0; i < limits.replicasMax; i++) expect(containsReplica(set, i)).toBe(model.has(i));
      }),
    );
  });
});

describe('an index from a digest', () => {
  const seedOf = (i: number): Uint8Array => digestBytes(sha256Of([Buffer.from(`seed ${i}`)]));

  it('is the same each time, and within range for every n', () => {
    for (let n = 1; n <= limits.replicasMax; n++) {
      for (let i = 0; i < 50; i++) {
        const index = uniformIndex(seedOf(i), n);
        expect(index).toBe(uniformIndex(Uint8Array.from(seedOf(i)), n));
        expect(index).toBeGreaterThanOrEqual(0);
        expect(index).toBeLessThan(n);
        expect(Number.isInteger(index)).toBe(true);
      }
    }
  });

  it.each([4, 6, 7, 10, 13])('falls on each of %s about as often', (n) => {
    const draws = 4000 * n;
    const counts = new Array<number>(n).fill(0);
    for (let i = 0; i < draws; i++) counts[uniformIndex(seedOf(i), n)]! += 1;
    // Five standard deviations of a fair die; the seeds are fixed, so this passes always or never.
    const deviation = Math.sqrt(4000 * (1 - 1 / n));
    for (const count of counts) expect(Math.abs(count - 4000)).toBeLessThan(5 * deviation);
  });

  it('passes over words above the largest multiple of n, which would favour the low indexes', () => {
    const n = 7;
    const ceiling = 2 ** 32 - (2 ** 32 % n);
    const seed = (words: readonly number[]): Uint8Array => {
      const bytes = Buffer.alloc(32);
      words.forEach((word, i) => {
        bytes.writeUInt32BE(word, i * 4);
      });
      return bytes;
    };
    expect(uniformIndex(seed([ceiling - 1]), n)).toBe(n - 1);
    expect(uniformIndex(seed([ceiling, 3]), n)).toBe(3);
    expect(uniformIndex(seed([0xffff_ffff, ceiling, 12]), n)).toBe(5);
    const allAbove = seed(new Array<number>(8).fill(0xffff_ffff));
    expect(uniformIndex(allAbove, n)).toBe(uniformIndex(digestBytes(sha256Of([allAbove])), n));
  });
});

describe('what an epoch begins with', () => {
  const genesis = 'ab'.repeat(32) as Digest;
  const other = 'cd'.repeat(32) as Digest;

  it('has one block of round 0 for each author, different in each epoch', () => {
    const digests = [genesis, other].flatMap((epoch) =>
      [0, 1, 2, 3].map((author) => genesisReference(epoch, author).digest),
    );
    expect(new Set(digests).size).toBe(8);
    expect(genesisReference(genesis, 2)).toMatchObject({ round: 0, author: 2 });
  });

  it('has a coin that all agree on and that differs with period and epoch', () => {
    const coins = (epoch: Digest): readonly number[] => Array.from({ length: 64 }, (_, w) => genesisCoin(epoch, w, 7));
    expect(coins(genesis)).toEqual(coins(genesis));
    expect(coins(genesis)).not.toEqual(coins(other));
    expect(new Set(coins(genesis)).size).toBe(7);
  });
});
