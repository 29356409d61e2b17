/**
 * State tree: its root and nodes are those of the definition, whatever happened before; proofs show what is there; versions stay.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Digest, digestBytes, sha256 } from '../crypto/hash.ts';
import { noblePrimitives } from '../verify/noble-primitives.ts';
import { checkStateProof, readStateProof } from '../verify/state-proof.ts';
import { decodeStateProof, encodeStateProof } from '../wire/state-proof.ts';
import { StateDamage } from './engine.ts';
import { decodeNode } from './node.ts';
import { StateTree } from './state-tree.ts';
import { plainTree } from './testing/plain-tree.ts';

type Writes = ReadonlyMap<string, Uint8Array | undefined>;

/** A tree with a store of its nodes, kept up to date by what changed. */
class Kept {
  readonly nodes = new Map<string, Uint8Array>();
  readonly source = { node: (path: string) => this.nodes.get(path) };
  readonly entries = new Map<string, Uint8Array>();
  tree = StateTree.empty(this.source);
  #stored = this.tree;

  write(writes: Writes): void {
    this.tree = this.tree.update(writes);
    for (const [key, value] of writes) {
      if (value === undefined) this.entries.delete(key);
      else this.entries.set(key, value);
    }
  }

  store(): void {
    for (const { path, encoded } of this.tree.changesSince(this.#stored)) {
      if (encoded === undefined) this.nodes.delete(path);
      else this.nodes.set(path, encoded);
    }
    this.tree.unload(this.tree);
    this.#stored = this.tree;
  }

  check(): void {
    const plain = plainTree(this.entries);
    expect(this.tree.root).toBe(plain.root);
    expect([this.tree.entries, this.tree.sizeBytes]).toEqual([this.entries.size, plain.sizeBytes]);
  }

  checkStored(): void {
    const plain = plainTree(this.entries);
    expect([...this.nodes.keys()].sort()).toEqual(this.entries.size === 0 ? [] : [...plain.nodes.keys()].sort());
    for (const [path, encoded] of this.nodes) {
      const node = decodeNode(encoded, Buffer.from(plain.nodes.get(path) as string, 'hex'));
      expect(node, path).toBeDefined();
    }
  }
}

const value = (text: string): Uint8Array => Buffer.from(text);
const numbered = (count: number, from = 0): Writes =>
  new Map(Array.from({ length: count }, (_, i) => [`key ${from + i}`, value(`value ${from + i}`)]));

const proves = (tree: StateTree, key: string, held: Uint8Array | undefined, root: Digest = tree.root): void => {
  const proven = tree.prove(key);
  if (proven === undefined) throw new Error('gone');
  const bytes = encodeStateProof(proven.proof);
  expect(decodeStateProof(bytes)).toEqual({ ok: true, value: proven.proof });
  const proof = readStateProof(Uint8Array.from(bytes));
  checkStateProof({ key, value: held, proof, root: Uint8Array.from(digestBytes(root)) }, noblePrimitives.sha256);
};

describe('the root and the nodes are those of the definition', () => {
  test('whatever was written and deleted before, in whatever order', () => {
    const key = fc.oneof(
      fc.integer({ min: 0, max: 60 }).map((n) => `k${n}`),
      fc.string({ unit: 'grapheme', maxLength: 3 }),
    );
    const write = fc.tuple(key, fc.option(fc.uint8Array({ maxLength: 6 }), { nil: undefined }));
    const batch = fc.record({ writes: fc.array(write, { maxLength: 40 }), isStored: fc.boolean() });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 12 }), (batches) => {
        const kept = new Kept();
        for (const { writes, isStored } of batches) {
          kept.write(new Map(writes.filter(([name]) => name.isWellFormed())));
          kept.check();
          if (!isStored) continue;
          kept.store();
          kept.checkStored();
        }
        const again = StateTree.empty().update(kept.entries);
        expect(again.root).toBe(kept.tree.root);
      }),
      { numRuns: 300 },
    );
  });

  test('with thousands of entries, written in parts, loaded again, and deleted to nothing', () => {
    const kept = new Kept();
    for (let from = 0; from < 3_000; from += 600) {
      kept.write(numbered(600, from));
      kept.store();
      kept.tree = StateTree.at(kept.source, kept.tree.root);
    }
    kept.check();
    for (let from = 0; from < 3_000; from += 500) {
      kept.tree = StateTree.at(kept.source, kept.tree.root);
      const before = kept.tree;
      kept.write(new Map([...numbered(500, from).keys()].map((key) => [key, undefined])));
      for (const { path, encoded } of kept.tree.changesSince(before)) {
        if (encoded === undefined) kept.nodes.delete(path);
        else kept.nodes.set(path, encoded);
      }
      kept.check();
      kept.checkStored();
    }
    expect(kept.tree.root).toBe(StateTree.empty().root);
  });

  test('where a bucket is split and made one again, by the number of its entries and by their bytes', () => {
    const kept = new Kept();
    kept.write(numbered(16));
    expect(kept.tree.node('')?.kind).toBe('bucket');
    kept.write(numbered(1, 16));
    expect(kept.tree.node('')?.kind).toBe('inner');
    kept.check();
    kept.write(new Map([['key 3', undefined]]));
    expect(kept.tree.node('')?.kind).toBe('bucket');
    const large = new Uint8Array(200 * 1024);
    kept.write(
      new Map([
        ['key 4', large],
        ['key 5', large],
      ]),
    );
    expect(kept.tree.node('')?.kind).toBe('inner');
    kept.check();
    kept.write(new Map([['key 4', value('small')]]));
    expect(kept.tree.node('')?.kind).toBe('bucket');
    kept.check();
    const one = StateTree.empty().update(new Map([['only', new Uint8Array(512 * 1024)]]));
    expect(one.node('')?.kind).toBe('bucket');
  });

  test('from every state of four keys to every other, where they decide how the root is split', () => {
    const base = numbered(13) as Map<string, Uint8Array>;
    const keys = ['a', 'b', 'c', 'd'];
    // Four of the large ones are more than a bucket holds, and so are four keys more than the thirteen.
    const values = [undefined, value('small'), new Uint8Array(66 * 1024)];
    const worlds = Array.from({ length: 3 ** 4 }, (_, world) => {
      const writes = new Map(keys.map((key, i) => [key, values[Math.floor(world / 3 ** i) % 3]]));
      const held = [...base, ...writes].flatMap(([key, bytes]) => (bytes === undefined ? [] : [[key, bytes] as const]));
      return { writes, root: plainTree(new Map(held)).root, tree: StateTree.empty().update(new Map(held)) };
    });
    const kinds = new Set<string | undefined>();
    for (const { tree } of worlds) {
      kinds.add(tree.node('')?.kind);
      for (const { writes, root } of worlds) expect(tree.update(writes).root).toBe(root);
    }
    expect(kinds.size).toBe(2);
  });

  test('of keys whose hashes begin alike, which a client can search for', () => {
    const [one, two, shared] = alike();
    expect(shared).toBeGreaterThanOrEqual(6);
    const large = new Uint8Array(200 * 1024);
    const kept = new Kept();
    kept.write(new Map([[one, large], ...numbered(40)]));
    kept.store();
    kept.write(new Map([[two, large]]));
    kept.check();
    kept.store();
    kept.checkStored();
    // One node a nibble, down to where the two part.
    expect(Math.max(...[...kept.nodes.keys()].map((path) => path.length))).toBe(shared + 1);
    for (const key of [one, two]) proves(kept.tree, key, large);
    kept.tree = StateTree.at(kept.source, kept.tree.root);
    kept.write(new Map([[one, value('small')]]));
    kept.check();
    expect(kept.tree.node('')?.kind).toBe('inner');
    const gone = [...kept.entries.keys()].filter((key) => key !== two);
    kept.write(new Map(gone.map((key) => [key, undefined])));
    kept.check();
    expect(kept.tree.node('')?.kind).toBe('bucket');
  });
});

/** Of many keys, the two whose hashes share most nibbles, and how many these are. */
function alike(): readonly [string, string, number] {
  const hashed = Array.from({ length: 30_000 }, (_, i) => ({ key: `alike ${i}`, hash: sha256(value(`alike ${i}`)) }));
  hashed.sort((a, b) => (a.hash < b.hash ? -1 : 1));
  let best: readonly [string, string, number] = ['', '', 0];
  for (const [i, { key, hash }] of hashed.entries()) {
    const next = hashed[i + 1];
    if (next === undefined) break;
    let shared = 0;
    while (hash[shared] === next.hash[shared]) shared += 1;
    if (shared > best[2]) best = [key, next.key, shared];
  }
  return best;
}

describe('versions', () => {
  test('what changes nothing is the same version', () => {
    const tree = StateTree.empty().update(numbered(100));
    expect(tree.update(new Map())).toBe(tree);
    expect(
      tree.update(
        new Map([
          ['key 7', value('value 7')],
          ['absent', undefined],
        ]),
      ),
    ).toBe(tree);
  });

  test('an older one still proves what it had, and knows the values written since the last checkpoint', () => {
    const kept = new Kept();
    kept.write(numbered(500));
    const old = kept.tree;
    kept.write(
      new Map([
        ['key 7', value('new')],
        ['key 8', undefined],
      ]),
    );
    proves(old, 'key 7', value('value 7'));
    proves(old, 'key 8', value('value 8'));
    expect(old.prove('key 7')?.entry?.value).toEqual(value('value 7'));
    proves(kept.tree, 'key 7', value('new'));
    proves(kept.tree, 'key 8', undefined);
  });

  test('one whose nodes are gone proves nothing, and cannot be gone on from', () => {
    const kept = new Kept();
    kept.write(numbered(500));
    kept.store();
    const old = StateTree.at(kept.source, kept.tree.root);
    kept.write(new Map([['key 7', value('new')]]));
    kept.store();
    expect(old.prove('key 7')).toBeUndefined();
    expect(() => old.update(new Map([['key 7', value('x')]]))).toThrow(StateDamage);
    expect(() => StateTree.at(kept.source, old.root)).toThrow(StateDamage);
  });
});

describe('proofs', () => {
  const entries = numbered(300) as Map<string, Uint8Array>;
  const tree = StateTree.empty().update(entries);

  test('show each key with its value, and keys that are absent as absent', () => {
    for (const [key, held] of entries) proves(tree, key, held);
    for (let i = 0; i < 300; i++) proves(tree, `absent ${i}`, undefined);
    proves(StateTree.empty(), 'anything', undefined);
    proves(StateTree.empty().update(new Map([['one', value('1')]])), 'two', undefined);
  });

  test('show nothing else: another value, absence, another key, another root', () => {
    expect(() => proves(tree, 'key 1', value('lie'))).toThrow();
    expect(() => proves(tree, 'key 1', undefined)).toThrow();
    expect(() => proves(tree, 'absent', value('there'))).toThrow();
    expect(() => proves(tree, 'key 1', value('value 1'), StateTree.empty().root)).toThrow();
  });

  test('with any bit changed are refused', () => {
    const proven = tree.prove('key 42');
    if (proven === undefined) throw new Error('gone');
    const bytes = Uint8Array.from(encodeStateProof(proven.proof));
    const root = Uint8Array.from(digestBytes(tree.root));
    for (let i = 0; i < bytes.length * 8; i++) {
      const bent = Uint8Array.from(bytes);
      bent[i >> 3] = (bent[i >> 3] as number) ^ (1 << (i & 7));
      const check = (): void =>
        checkStateProof(
          { key: 'key 42', value: value('value 42'), proof: readStateProof(bent), root },
          noblePrimitives.sha256,
        );
      expect(check, `bit ${i}`).toThrow();
    }
  });
});

describe('stored nodes', () => {
  test('that are cut, bent or of another hash are no nodes, and nothing is thrown', () => {
    const kept = new Kept();
    kept.write(numbered(400));
    kept.store();
    const plain = plainTree(kept.entries);
    const hashOf = (path: string): Uint8Array => Buffer.from(plain.nodes.get(path) as string, 'hex');
    const some = [...kept.nodes].filter(([path]) => path === '' || path.length === 2).slice(0, 4);
    expect(some.length).toBe(4);
    for (const [path, encoded] of some) {
      expect(decodeNode(encoded, hashOf(path))).toBeDefined();
      expect(decodeNode(encoded, new Uint8Array(32))).toBeUndefined();
      for (let cut = 0; cut < encoded.length; cut += 7)
        expect(decodeNode(encoded.subarray(0, cut), hashOf(path))).toBeUndefined();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodeNode(bytes, hashOf('')) === undefined));
  });
});
