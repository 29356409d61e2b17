/** A Merkle tree that forgets: whatever it has pruned, stored and been begun from, it says what a full tree says. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Digest, digestBytes, digestFrom, digestSizeBytes, sha256 } from './hash.ts';
import { MerkleTree, verifyConsistency, verifyInclusion } from './merkle.ts';
import { chunkLeaves } from './merkle-store.ts';
import { FullTree } from './testing/full-tree.ts';

const leafOf = (i: number): Digest => sha256(Buffer.from(`leaf ${i}`));

/** A full tree of so many leaves, made once. */
const full = new FullTree();
for (let i = 0; i < 12 * chunkLeaves; i++) full.append(leafOf(i));

/** What holds the leaves that the tree does not, as an engine would. */
class Store {
  readonly chunks = new Map<number, Uint8Array>();
  readonly reads: number[] = [];

  chunk(number: number): Uint8Array | undefined {
    this.reads.push(number);
    return this.chunks.get(number);
  }

  damage(number: number): Error {
    return new Error(`chunk ${number} is damaged`);
  }
}

/** A tree and its store, up to a size. */
class Stage {
  readonly store = new Store();
  tree = new MerkleTree({ source: this.store });

  growTo(size: number): this {
    for (let i = this.tree.size; i < size; i++) this.tree.append(leafOf(i));
    return this;
  }

  save(): this {
    const { tree, store } = this;
    for (let number = tree.retainedFrom / chunkLeaves; (number + 1) * chunkLeaves <= tree.size; number++) {
      store.chunks.set(number, Uint8Array.from(tree.leaves(number)!));
    }
    tree.stored(tree.size);
    return this;
  }

  /** Begins anew from what was saved, as after a restart. */
  reopen(): this {
    const { size, retainedFrom } = this.save().tree;
    const [first, last] = [retainedFrom / chunkLeaves, Math.floor(size / chunkLeaves)];
    this.tree = new MerkleTree({
      from: {
        retainedFrom,
        frontier: this.tree.frontier(retainedFrom),
        chunkRoots: Array.from({ length: last - first }, (_, i) => this.tree.chunkRoot(first + i)),
        lastLeaves: this.tree.leaves(last) ?? new Uint8Array(),
      },
      source: this.store,
    });
    expect(this.tree.size).toBe(size);
    return this;
  }
}

/** Sizes and leaves worth a look in a log of `to` leaves: about the chunks' bounds, and in between. */
function places(from: number, to: number): readonly number[] {
  const near = [0, 1, 2, 3, 511, 512, 513, 777, 1_022, 1_023];
  const all = [from - 1_025, from - 1, from, to - 2, to - 1, to, to + 1];
  for (let start = Math.max(0, from - chunkLeaves); start < to; start += chunkLeaves)
    for (const i of near) all.push(start + i);
  return all.filter((place) => place >= 0 && place <= to + 1);
}

function expectSame(tree: MerkleTree, step = 7): void {
  const { size, retainedFrom } = tree;
  const some = places(retainedFrom, size).filter(
    (place, i) => i % step === 0 || place === retainedFrom || place === size,
  );
  for (const to of some.filter((each) => each >= retainedFrom && each <= size)) {
    expect(tree.root(to)).toBe(full.root(to));
    for (const place of some) {
      const [path, proof] = [tree.inclusionPath(place, to), tree.consistencyPath(place, to)];
      const isTrivial = place === 0 || place === to;
      expect(path).toEqual(place < retainedFrom ? undefined : full.inclusionPath(place, to));
      expect(proof).toEqual(place < retainedFrom && !isTrivial ? undefined : full.consistencyPath(place, to));
    }
  }
}

describe('a tree that forgets', () => {
  it.each([0, 1, 2, 3, 4, 5, 6, 7])('proves all from chunk %i on, as a full tree does, and nothing older', (chunk) => {
    const { tree } = new Stage().growTo(7 * chunkLeaves + 300).save();
    tree.prune(chunk * chunkLeaves + 5);
    expect(tree.retainedFrom).toBe(chunk * chunkLeaves);
    expectSame(tree, 5);
  });

  it('says of an older size and leaf that there is none', () => {
    const { tree } = new Stage().growTo(3_000).save();
    tree.prune(2_500);
    expect(tree.retainedFrom).toBe(2_048);
    expect(tree.inclusionPath(2_047, 3_000)).toBeUndefined();
    expect(tree.inclusionPath(2_048, 3_000)).toBeDefined();
    expect(tree.consistencyPath(2_047, 3_000)).toBeUndefined();
    expect(tree.consistencyPath(0, 3_000)).toEqual([]);
    expect(() => tree.root(2_047)).toThrow(RangeError);
    expect(() => tree.frontier(2_047)).toThrow(RangeError);
    expect(tree.leaves(1)).toBeUndefined();
    expect(tree.leaves(3)).toBeUndefined();
  });

  it('goes on from where it was begun, whatever was kept, and never differs', () => {
    for (const size of [0, 1, 1_023, 1_024, 1_025, 4_096, 5_000]) {
      for (const before of [0, 1_024, 3_072, 4_096, 9_999]) {
        const stage = new Stage().growTo(size).save();
        stage.tree.prune(before);
        stage.reopen();
        expectSame(stage.tree, 11);
        stage.growTo(size + 1_500);
        expectSame(stage.tree, 11);
        expect(stage.tree.root()).toBe(full.root(size + 1_500));
      }
    }
  });

  it('agrees with a full tree, for any growth, saves, restarts and pruning', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('grow' as const), by: fc.constantFrom(1, 5, 500, 1_024, 1_500) }),
      fc.record({ kind: fc.constant('prune' as const), keep: fc.constantFrom(0, 1, 1_000, 2_048, 5_000) }),
      fc.record({ kind: fc.constantFrom('save' as const, 'restart' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 3, maxLength: 12 }), (steps) => {
        const stage = new Stage();
        for (const action of steps) {
          const { size } = stage.tree;
          if (action.kind === 'grow') stage.growTo(Math.min(full.size, size + action.by));
          else if (action.kind === 'prune') stage.tree.prune(size - action.keep);
          else if (action.kind === 'save') stage.save();
          else stage.reopen();
        }
        expectSame(stage.tree, 13);
      }),
      { numRuns: 40 },
    );
  });

  it('reads a chunk that it does not hold once for many proofs', () => {
    const { tree, store } = new Stage().growTo(6_000).reopen();
    for (let leaf = 0; leaf < 1_024; leaf += 10) tree.inclusionPath(leaf, 6_000);
    expect(store.reads).toEqual([0]);
  });

  it('uses no leaves that are not those it was made of', () => {
    for (const spoil of [
      (leaves: Uint8Array): Uint8Array | undefined => leaves.with(77, leaves[77]! ^ 1),
      (leaves: Uint8Array): Uint8Array | undefined => leaves.subarray(32),
      (): Uint8Array | undefined => new Uint8Array(),
      (): Uint8Array | undefined => undefined,
    ]) {
      const { tree, store } = new Stage().growTo(6_000).reopen();
      const spoiled = spoil(store.chunks.get(1)!);
      if (spoiled === undefined) store.chunks.delete(1);
      else store.chunks.set(1, spoiled);
      expect(() => tree.inclusionPath(1_500, 6_000)).toThrow('chunk 1 is damaged');
      expect(tree.inclusionPath(1_000, 6_000)).toEqual(full.inclusionPath(1_000, 6_000));
    }
  });

  it('is no tree when its beginning is none', () => {
    const from = {
      retainedFrom: 3_072,
      frontier: [leafOf(1), leafOf(2)],
      chunkRoots: [],
      lastLeaves: new Uint8Array(),
    };
    expect(new MerkleTree({ from }).size).toBe(3_072);
    for (const wrong of [
      { retainedFrom: 3_000 },
      { retainedFrom: -1_024 },
      { retainedFrom: Number.NaN },
      { retainedFrom: 2_048 },
      { frontier: [leafOf(1)] },
      { frontier: [leafOf(1), leafOf(2), leafOf(3)] },
      { lastLeaves: new Uint8Array(31) },
      { lastLeaves: new Uint8Array(chunkLeaves * digestSizeBytes) },
    ]) {
      expect(() => new MerkleTree({ from: { ...from, ...wrong } }), JSON.stringify(wrong)).toThrow(RangeError);
    }
  });
});

it('proves leaves of a log that is far longer than any that could be made', () => {
  for (const chunks of [2 ** 32 + 1, 2 ** 40 - 1, 2 ** 42 + 2 ** 31 + 5]) {
    const retainedFrom = chunks * chunkLeaves;
    const ones = chunks.toString(2).replaceAll('0', '').length;
    const frontier = Array.from({ length: ones }, (_, i) => leafOf(i));
    const tree = new MerkleTree({ from: { retainedFrom, frontier, chunkRoots: [], lastLeaves: new Uint8Array() } });
    expect(tree.frontier()).toEqual(frontier);
    const roots = new Map<number, Digest>([[retainedFrom, tree.root()]]);
    for (let i = 0; i < 2_500; i++) {
      tree.append(leafOf(i));
      if (i % 400 === 0) roots.set(tree.size, tree.root());
    }
    for (const [size, root] of roots) {
      expect(tree.root(size)).toBe(root);
      const path = tree.consistencyPath(size, tree.size)!;
      expect(verifyConsistency({ fromSize: size, fromRoot: root, toSize: tree.size, toRoot: tree.root(), path })).toBe(
        true,
      );
      for (const index of [retainedFrom, size - 1].filter((each) => each >= retainedFrom && each < size)) {
        const claim = { leaf: leafOf(index - retainedFrom), index, size, root, path: tree.inclusionPath(index, size)! };
        expect(verifyInclusion(claim)).toBe(true);
      }
    }
  }
});

it('gives the path of each chunk to the root of the frontier that it is under', () => {
  const { tree } = new Stage().growTo(7 * chunkLeaves + 5).save();
  tree.prune(2 * chunkLeaves);
  expect(Array.from({ length: 5 }, (_, i) => tree.chunkPath(2 + i).length)).toEqual([2, 2, 1, 1, 0]);
  expect(digestFrom(digestBytes(tree.chunkRoot(6)))).toBe(tree.frontier()[2]);
});
