/** Merkle tree and proofs: the published examples, an obvious twin for all small trees, and altered proofs. */
import { describe, expect, it } from 'vitest';
import { type Digest, digestBytes, sha256, sha256Of } from './hash.ts';
import { leafHashOf, MerkleTree, verifyConsistency, verifyInclusion } from './merkle.ts';

/** Leaves, roots and paths of the tests of google/certificate-transparency, made for RFC 6962; RFC 9162 hashes alike. */
const published = {
  leaves: ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'],
  emptyRoot: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  roots: [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ],
  inclusion: [
    { index: 0, size: 1, path: [] },
    {
      index: 0,
      size: 8,
      path: [
        '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
      ],
    },
    {
      index: 5,
      size: 8,
      path: [
        'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
        'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
        'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
      ],
    },
    { index: 2, size: 3, path: ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'] },
    {
      index: 1,
      size: 5,
      path: [
        '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      ],
    },
  ],
  consistency: [
    { from: 1, to: 1, path: [] },
    {
      from: 1,
      to: 8,
      path: [
        '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
      ],
    },
    {
      from: 6,
      to: 8,
      path: [
        '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
        'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
        'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
      ],
    },
    {
      from: 2,
      to: 5,
      path: [
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      ],
    },
  ],
};

/** The definitions of RFC 9162 §2.1, word for word. */
const join = (left: Digest, right: Digest): Digest =>
  sha256Of([new Uint8Array([1]), digestBytes(left), digestBytes(right)]);
const splitOf = (size: number): number => 2 ** Math.ceil(Math.log2(size) - 1);

function plainRoot(leaves: readonly Digest[]): Digest {
  if (leaves.length === 0) return sha256(new Uint8Array());
  if (leaves.length === 1) return leaves[0] as Digest;
  const k = splitOf(leaves.length);
  return join(plainRoot(leaves.slice(0, k)), plainRoot(leaves.slice(k)));
}

function plainPath(m: number, leaves: readonly Digest[]): readonly Digest[] {
  if (leaves.length === 1) return [];
  const k = splitOf(leaves.length);
  return m < k
    ? [...plainPath(m, leaves.slice(0, k)), plainRoot(leaves.slice(k))]
    : [...plainPath(m - k, leaves.slice(k)), plainRoot(leaves.slice(0, k))];
}

function plainProof(m: number, leaves: readonly Digest[], isWhole = true): readonly Digest[] {
  if (m === leaves.length) return isWhole ? [] : [plainRoot(leaves)];
  const k = splitOf(leaves.length);
  return m <= k
    ? [...plainProof(m, leaves.slice(0, k), isWhole), plainRoot(leaves.slice(k))]
    : [...plainProof(m - k, leaves.slice(k), false), plainRoot(leaves.slice(0, k))];
}

function treeOf(leaves: readonly Digest[]): MerkleTree {
  const tree = new MerkleTree();
  for (const leaf of leaves) tree.append(leaf);
  return tree;
}

const leavesOf = (count: number): readonly Digest[] =>
  Array.from({ length: count }, (_, i) => leafHashOf(Buffer.from(`leaf ${i}`)));

const flip = (digest: Digest, bit = 7): Digest => {
  const bytes = digestBytes(digest);
  bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
  return Buffer.from(bytes).toString('hex') as Digest;
};

describe('the published examples', () => {
  const leaves = published.leaves.map((leaf) => leafHashOf(Buffer.from(leaf, 'hex')));
  const tree = treeOf(leaves);
  const rootOf = (size: number): Digest => published.roots[size - 1] as Digest;

  it('have these roots', () => {
    expect(tree.root(0)).toBe(published.emptyRoot);
    expect(published.roots.map((_, i) => tree.root(i + 1))).toEqual(published.roots);
  });

  it.each(published.inclusion)('leaf $index of $size', ({ index, size, path }) => {
    expect(tree.inclusionPath(index, size)).toEqual(path);
    const leaf = leaves[index] as Digest;
    const claim = { leaf, index, size, root: rootOf(size), path: path as Digest[] };
    expect(verifyInclusion(claim)).toBe(true);
  });

  it.each(published.consistency)('from $from to $to', ({ from, to, path }) => {
    expect(tree.consistencyPath(from, to)).toEqual(path);
    const claim = { fromSize: from, fromRoot: rootOf(from), toSize: to, toRoot: rootOf(to), path: path as Digest[] };
    expect(verifyConsistency({ ...claim })).toBe(true);
  });
});

describe('all trees of up to 70 leaves', () => {
  const leaves = leavesOf(70);
  const tree = treeOf(leaves);
  const roots = Array.from({ length: 71 }, (_, size) => plainRoot(leaves.slice(0, size)));
  const rootOf = (size: number): Digest => roots[size] as Digest;

  it('have the roots of the definition, while they grow and afterwards', () => {
    const growing = new MerkleTree();
    for (const [i, leaf] of leaves.entries()) {
      expect(growing.root()).toBe(rootOf(i));
      growing.append(leaf);
    }
    expect(roots.map((_, size) => tree.root(size))).toEqual(roots);
  });

  it('have the inclusion paths of the definition, and each proves its leaf', () => {
    for (let size = 1; size <= 70; size++) {
      for (let index = 0; index < size; index++) {
        const path = tree.inclusionPath(index, size) as readonly Digest[];
        expect(path).toEqual(plainPath(index, leaves.slice(0, size)));
        const leaf = leaves[index] as Digest;
        expect(verifyInclusion({ leaf, index, size, root: rootOf(size), path })).toBe(true);
      }
    }
  });

  it('have the consistency paths of the definition, and each proves its pair', () => {
    for (let to = 1; to <= 70; to++) {
      for (let from = 1; from <= to; from++) {
        const path = tree.consistencyPath(from, to) as readonly Digest[];
        expect(path).toEqual(plainProof(from, leaves.slice(0, to)));
        const claim = { fromSize: from, fromRoot: rootOf(from), toSize: to, toRoot: rootOf(to), path };
        expect(verifyConsistency(claim)).toBe(true);
      }
    }
  });

  it('go on from the empty tree, by an empty path only', () => {
    const claim = { fromSize: 0, fromRoot: rootOf(0), toSize: 5, toRoot: rootOf(5), path: [] };
    expect(tree.consistencyPath(0, 5)).toEqual([]);
    expect(verifyConsistency(claim)).toBe(true);
    expect(verifyConsistency({ ...claim, path: [rootOf(5)] })).toBe(false);
    expect(verifyConsistency({ ...claim, fromRoot: rootOf(1) })).toBe(false);
  });

  it('give no proof of what they have not', () => {
    expect(tree.inclusionPath(5, 5)).toBeUndefined();
    expect(tree.inclusionPath(0, 71)).toBeUndefined();
    expect(tree.inclusionPath(-1, 5)).toBeUndefined();
    expect(tree.inclusionPath(0.5, 5)).toBeUndefined();
    expect(tree.consistencyPath(6, 5)).toBeUndefined();
    expect(tree.consistencyPath(1, 71)).toBeUndefined();
    expect(tree.consistencyPath(Number.NaN, 5)).toBeUndefined();
    expect(() => tree.root(71)).toThrow(RangeError);
  });
});

/** Every way to spoil a path that leaves it a list of digests, and a few that do not. */
function spoiled(path: readonly Digest[]): readonly (readonly Digest[])[] {
  const other = sha256(Buffer.from('other'));
  const each = path.flatMap((digest, i) => [
    path.with(i, flip(digest)),
    path.with(i, flip(digest, 255)),
    path.with(i, digest.toUpperCase() as Digest),
    path.with(i, `${digest}00` as Digest),
    path.with(i, null as unknown as Digest),
    path.toSpliced(i, 1),
    path.toSpliced(i, 0, other),
    path.toSpliced(i, 0, digest),
  ]);
  const swapped = path.slice(1).map((digest, i) => path.with(i, digest).with(i + 1, path[i] as Digest));
  return [...each, ...swapped, [...path, other]].filter((bad) => bad.join() !== path.join());
}

describe('a proof that is not exactly right is refused', () => {
  const sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 31, 33];
  const leaves = leavesOf(34);
  const tree = treeOf(leaves);

  it('of inclusion', () => {
    let count = 0;
    for (const size of sizes) {
      const root = tree.root(size);
      for (let index = 0; index < size; index++) {
        const path = tree.inclusionPath(index, size) as readonly Digest[];
        const claim = { leaf: leaves[index] as Digest, index, size, root, path };
        const lies = [
          ...spoiled(path).map((bad) => ({ ...claim, path: bad })),
          ...Array.from({ length: size + 3 }, (_, i) => ({ ...claim, index: i - 1 })).filter(
            (lie) => lie.index !== index,
          ),
          { ...claim, root: flip(root) },
          { ...claim, leaf: flip(claim.leaf) },
          { ...claim, leaf: claim.leaf.toUpperCase() as Digest, root: root.toUpperCase() as Digest },
          { ...claim, index: index + 0.5 },
          { ...claim, size: Number.NaN },
          { ...claim, size: 2 ** 53 },
        ];
        expect(verifyInclusion(claim)).toBe(true);
        for (const lie of lies) expect(verifyInclusion(lie), JSON.stringify(lie)).toBe(false);
        count += lies.length;
      }
    }
    expect(count).toBeGreaterThan(5_000);
  });

  it('of inclusion in a tree of another size, with the root of that tree', () => {
    for (const size of sizes) {
      for (const wrong of sizes.filter((each) => each !== size)) {
        for (let index = 0; index < Math.min(size, wrong); index++) {
          const path = tree.inclusionPath(index, size) as readonly Digest[];
          const leaf = leaves[index] as Digest;
          const claim = { leaf, index, size: wrong, root: tree.root(wrong), path };
          expect(verifyInclusion(claim)).toBe(false);
        }
      }
    }
  });

  it('of an interior hash passed off as a leaf, in a smaller tree with the same root', () => {
    const interior = tree.inclusionPath(0, 4)?.[1] as Digest;
    const leafHash = tree.root(2);
    expect(join(leafHash, interior)).toBe(tree.root(4));
    // Only the hash of a real entry is ever given as a leaf, and the prefixes keep the two apart.
    const entry = Buffer.concat([digestBytes(leaves[0] as Digest), digestBytes(leaves[1] as Digest)]);
    expect(leafHashOf(entry)).not.toBe(leafHash);
  });

  it('of consistency', () => {
    let count = 0;
    for (const to of sizes) {
      for (let from = 1; from <= to; from++) {
        const path = tree.consistencyPath(from, to) as readonly Digest[];
        const fromRoot = tree.root(from);
        const claim = { fromSize: from, fromRoot, toSize: to, toRoot: tree.root(to), path };
        const otherSizes = sizes.flatMap((size) => [
          { ...claim, fromSize: size },
          { ...claim, fromSize: size, fromRoot: tree.root(size) },
          { ...claim, toSize: size, toRoot: tree.root(size) },
        ]);
        const lies = [
          ...spoiled(path).map((bad) => ({ ...claim, path: bad })),
          ...otherSizes.filter((lie) => lie.fromSize !== from || lie.toSize !== to),
          { ...claim, fromRoot: flip(fromRoot) },
          { ...claim, toRoot: flip(claim.toRoot) },
          { ...claim, fromSize: from - 0.5 },
          { ...claim, fromSize: -1 },
          { ...claim, toSize: Number.POSITIVE_INFINITY },
        ];
        expect(verifyConsistency(claim)).toBe(true);
        for (const lie of lies) expect(verifyConsistency(lie), JSON.stringify(lie)).toBe(false);
        count += lies.length;
      }
    }
    expect(count).toBeGreaterThan(5_000);
  });

  it('of a log that was rewritten', () => {
    for (let changed = 0; changed < 10; changed++) {
      const rewritten = treeOf(leaves.with(changed, leaves[33] as Digest));
      for (let to = 11; to < 34; to++) {
        const path = rewritten.consistencyPath(10, to) as readonly Digest[];
        const claim = { fromSize: 10, fromRoot: tree.root(10), toSize: to, toRoot: rewritten.root(to), path };
        expect(verifyConsistency(claim)).toBe(false);
      }
    }
  });
});

it('proves any past size of a large log', () => {
  const count = 20_000;
  const leaf = (i: number): Digest => i.toString(16).padStart(64, '0') as Digest;
  const tree = treeOf(Array.from({ length: count }, (_, i) => leaf(i)));
  for (const size of [1, 511, 512, 513, 1_024, 9_999, 16_384, count]) {
    const root = tree.root(size);
    for (const index of [0, size >> 1, size - 1]) {
      const path = tree.inclusionPath(index, size) as readonly Digest[];
      expect(path.length).toBeLessThanOrEqual(15);
      expect(verifyInclusion({ leaf: leaf(index), index, size, root, path })).toBe(true);
    }
    const path = tree.consistencyPath(size, count) as readonly Digest[];
    expect(path.length).toBeLessThanOrEqual(16);
    const claim = { fromSize: size, fromRoot: root, toSize: count, toRoot: tree.root(), path };
    expect(verifyConsistency(claim)).toBe(true);
  }
});
