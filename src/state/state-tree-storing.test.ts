/**
 * State tree and what is stored of it: while versions are on their way to a store, several at once and late, the newest one stays
 * whole, the store becomes exactly what the definition says, and nothing stays in memory that is stored.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Digest, digestBytes } from '../crypto/hash.ts';
import { StateDamage } from './engine.ts';
import { type Child, decodeNode, encodeNode, type Node } from './node.ts';
import { StateTree } from './state-tree.ts';
import { plainTree } from './testing/plain-tree.ts';

type Entries = ReadonlyMap<string, Uint8Array>;

interface Waiting {
  readonly tree: StateTree;
  readonly older: StateTree;
  readonly entries: Entries;
}

/** A tree above a store that is behind by some versions. */
class BehindStore {
  readonly nodes = new Map<string, Uint8Array>();
  readonly source = { node: (path: string) => this.nodes.get(path) };
  readonly entries = new Map<string, Uint8Array>();
  readonly waiting: Waiting[] = [];
  tree = StateTree.empty(this.source);
  #frozen = this.tree;

  write(writes: ReadonlyMap<string, Uint8Array | undefined>): void {
    this.tree = this.tree.update(writes);
    for (const [key, bytes] of writes) {
      if (bytes === undefined) this.entries.delete(key);
      else this.entries.set(key, bytes);
    }
  }

  freeze(): void {
    this.waiting.push({ tree: this.tree, older: this.#frozen, entries: new Map(this.entries) });
    this.#frozen = this.tree;
  }

  /** All of the oldest or nothing, encoded only now. */
  storeOldest(): void {
    const next = this.waiting.shift();
    if (next === undefined) return;
    for (const { path, encoded } of [...next.tree.changesSince(next.older)]) {
      if (encoded === undefined) this.nodes.delete(path);
      else this.nodes.set(path, encoded);
    }
    this.tree.unload(next.tree);
    const plain = plainTree(next.entries);
    expect([...this.nodes.keys()].sort()).toEqual(next.entries.size === 0 ? [] : [...plain.nodes.keys()].sort());
    for (const [path, encoded] of this.nodes) {
      expect(decodeNode(encoded, digestBytes(plain.nodes.get(path) as Digest)), path).toBeDefined();
    }
  }

  checkWhole(): void {
    expect(this.tree.root).toBe(plainTree(this.entries).root);
    let entries = 0;
    for (const { node } of this.tree.nodesUnder('')) if (node.kind === 'bucket') entries += node.entries.length;
    expect(entries).toBe(this.entries.size);
  }
}

const small = (text: string): Uint8Array => Buffer.from(text);
const numbered = (count: number): Entries =>
  new Map(Array.from({ length: count }, (_, i) => [`key ${i}`, small(`value ${i}`)]));

test('the newest version stays whole and the store exact, whatever is stored when, and whatever comes back', () => {
  // Few keys and two values: so that nodes go and come back with the same hash while the store is behind.
  const write = fc.tuple(
    fc.integer({ min: 0, max: 45 }).map((i) => `k${i}`),
    fc.constantFrom(undefined, small('a'), small('b')),
  );
  const action = fc.oneof(
    { weight: 3, arbitrary: fc.array(write, { minLength: 1, maxLength: 30 }) },
    { weight: 2, arbitrary: fc.constant('freeze' as const) },
    { weight: 2, arbitrary: fc.constant('store' as const) },
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 25 }), (actions) => {
      const behind = new BehindStore();
      behind.write(new Map(Array.from({ length: 30 }, (_, i) => [`k${i}`, small('a')])));
      for (const next of actions) {
        if (next === 'freeze') behind.freeze();
        else if (next === 'store') behind.storeOldest();
        else behind.write(new Map(next));
        behind.checkWhole();
      }
      behind.freeze();
      while (behind.waiting.length > 0) behind.storeOldest();
      expect(StateTree.at(behind.source, behind.tree.root).entries).toBe(behind.entries.size);
    }),
    { numRuns: 150 },
  );
});

test('what was gone and came back is not let go of while the store is about to drop it', () => {
  const behind = new BehindStore();
  const extra = new Map([['extra', small('x')]]);
  behind.write(numbered(16));
  behind.freeze();
  behind.write(extra);
  behind.freeze();
  behind.write(new Map([['extra', undefined]]));
  behind.storeOldest();
  behind.storeOldest();
  behind.checkWhole();
});

describe('memory', () => {
  test('holds no bucket and no value that is stored, but what leads to many', () => {
    const behind = new BehindStore();
    behind.write(numbered(3_000));
    behind.freeze();
    behind.storeOldest();
    const held = inMemory(behind.tree);
    expect(held.buckets).toBe(0);
    expect(held.inner).toBeGreaterThan(16);
    behind.write(new Map([['key 5', small('other')]]));
    expect(inMemory(behind.tree)).toEqual({ buckets: 1, inner: held.inner, values: 1 });
    behind.freeze();
    behind.storeOldest();
    expect(inMemory(behind.tree)).toEqual(held);
  });

  test('holds no stored values in a bucket that is always being written', () => {
    const behind = new BehindStore();
    behind.write(numbered(10));
    for (let i = 0; i < 3; i++) {
      behind.freeze();
      behind.write(new Map([['key 0', small(`again ${i}`)]]));
      behind.storeOldest();
      expect(inMemory(behind.tree)).toEqual({ buckets: 1, inner: 0, values: 1 });
    }
  });
});

/** What a tree has loaded, without loading more than its root. */
function inMemory(tree: StateTree): { readonly buckets: number; readonly inner: number; readonly values: number } {
  const count = { buckets: 0, inner: 0, values: 0 };
  const look = (node: Node | undefined): void => {
    if (node === undefined) return;
    if (node.kind === 'bucket') {
      count.buckets += 1;
      count.values += node.entries.filter((entry) => entry.value !== undefined).length;
      return;
    }
    count.inner += 1;
    for (const child of node.children) look(child?.node);
  };
  look(tree.node(''));
  return count;
}

test('a stored node whose numbers are wrong is as good as none: the shape of later nodes would follow from them', () => {
  const behind = new BehindStore();
  behind.write(numbered(400));
  behind.freeze();
  behind.storeOldest();
  const { root } = behind.tree;
  const encoded = behind.nodes.get('') as Uint8Array;
  const top = decodeNode(encoded, digestBytes(root));
  if (top?.kind !== 'inner') throw new Error('a root with children');
  const lies: readonly ((child: Child) => Child)[] = [
    (child) => ({ ...child, entryCount: child.entryCount - 1 }),
    (child) => ({ ...child, sizeBytes: child.sizeBytes + 1 }),
  ];
  for (const lie of lies) {
    const children = top.children.map((child, i) => (i === 7 && child !== undefined ? lie(child) : child));
    behind.nodes.set('', encodeNode({ ...top, children }));
    const misled = StateTree.at(behind.source, root);
    expect(misled.node('6')).toBeDefined();
    expect(misled.node('7')).toBeUndefined();
    expect(() => [...misled.nodesUnder('')]).toThrow(StateDamage);
  }
});
