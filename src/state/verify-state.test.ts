/**
 * Verify state and subtrees: what an engine holds of a tree is found right, or the one thing that is not is found; a part of a state
 * stands for itself.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Change, StateDamage } from './engine.ts';
import { MemoryEngine } from './memory-engine.ts';
import { encodeNode } from './node.ts';
import { stateKeyBytes } from './state-key.ts';
import { nodeKey } from './state-path.ts';
import { StateTree } from './state-tree.ts';
import { buildSubtree, subtreeEntries } from './subtree.ts';
import { engineKey, engineRange } from './tables.ts';
import { verifyTree } from './verify-state.ts';

const table = 'service';
const value = (text: string): Uint8Array => Buffer.from(text);

async function engineOf(count: number) {
  const engine = new MemoryEngine();
  const source = { node: (path: string) => engine.get(nodeKey(table, path)) };
  const entries = new Map(Array.from({ length: count }, (_, i) => [`key ${i}`, value(`value ${i}`)]));
  const tree = StateTree.empty(source).update(entries);
  const changes: Change[] = [...entries].map(([key, held]) => ({
    key: engineKey(table, stateKeyBytes(key)),
    value: held,
  }));
  for (const { path, encoded } of tree.changesSince(StateTree.empty(source))) {
    changes.push({ key: nodeKey(table, path), value: encoded });
  }
  await engine.write(changes);
  const summary = { root: tree.root, entries: tree.entries, sizeBytes: tree.sizeBytes };
  return { engine, tree: StateTree.at(source, tree.root), summary };
}

const verify = (engine: MemoryEngine, summary: Parameters<typeof verifyTree>[2]): number => {
  let progress = 0;
  for (const _ of verifyTree(engine, table, summary)) progress += 1;
  return progress;
};

describe('verifying', () => {
  test('finds what is right right, and says how far it is', async () => {
    const { engine, summary } = await engineOf(2_000);
    expect(verify(engine, summary)).toBeGreaterThan(5);
    const { engine: empty, summary: nothing } = await engineOf(0);
    expect(verify(empty, nothing)).toBe(1);
  });

  test('finds any record that was changed, dropped or added', async () => {
    const { engine, summary } = await engineOf(120);
    const records = [...engine.entries(engineRange('service')), ...engine.entries(engineRange('serviceNodes'))];
    expect(records.length).toBeGreaterThan(130);
    for (const { key, value: held } of records) {
      const bent = Uint8Array.from(held);
      bent[bent.length - 1] = (bent.at(-1) ?? 0) ^ 1;
      for (const damaged of [bent, undefined]) {
        await engine.write([{ key, value: damaged }]);
        // What an inner node says of numbers is not hashed: a wrong one is found by counting.
        expect(() => verify(engine, summary)).toThrow(StateDamage);
      }
      await engine.write([{ key, value: held }]);
    }
    verify(engine, summary);
    for (const key of [engineKey(table, stateKeyBytes('one more')), nodeKey(table, 'fff')]) {
      await engine.write([{ key, value: value('x') }]);
      expect(() => verify(engine, summary)).toThrow(StateDamage);
      await engine.write([{ key, value: undefined }]);
    }
  });

  test('finds a key in a node that is not the one that was hashed, though the value is the same', async () => {
    const engine = new MemoryEngine();
    const source = { node: (path: string) => engine.get(nodeKey(table, path)) };
    const tree = StateTree.empty(source).update(
      new Map([
        ['a', value('same')],
        ['b', value('same')],
      ]),
    );
    const bucket = tree.node('');
    if (bucket?.kind !== 'bucket') throw new Error('two entries make a bucket');
    const [one, two] = bucket.entries.map(({ key }) => ({ key: engineKey(table, key), value: value('same') }));
    const bent = { ...bucket, entries: bucket.entries.map((entry) => ({ ...entry, key: stateKeyBytes('a') })) };
    const summary = { root: tree.root, entries: 2, sizeBytes: tree.sizeBytes };
    await engine.write([one as Change, two as Change, { key: nodeKey(table, ''), value: encodeNode(bucket) }]);
    verify(engine, summary);
    await engine.write([{ key: nodeKey(table, ''), value: encodeNode(bent) }]);
    expect(() => verify(engine, summary)).toThrow(StateDamage);
  });

  test('holds it against the root that is given', async () => {
    const { engine, summary } = await engineOf(50);
    const { summary: other } = await engineOf(51);
    expect(() => verify(engine, other)).toThrow(StateDamage);
    expect(() => verify(engine, { ...summary, entries: 49 })).toThrow(StateDamage);
  });
});

describe('a subtree', () => {
  test('is built again from its entries, with the hash and the nodes that the tree has there', async () => {
    const { engine, tree } = await engineOf(700);
    for (const path of ['', '0', '7', 'f', '3a', 'c0']) {
      const node = tree.node(path);
      if (node === undefined) continue;
      const built = buildSubtree(path, [...subtreeEntries(engine, table, tree, path)]);
      expect(built?.hash).toEqual(node.hash);
      expect([built?.entryCount, built?.sizeBytes]).toEqual([node.entryCount, node.sizeBytes]);
      for (const { path: at, encoded } of built?.nodes ?? [])
        expect(Buffer.compare(encoded, engine.get(nodeKey(table, at)) ?? value(''))).toBe(0);
    }
    expect(tree.node('7')?.entryCount).toBeGreaterThan(20);
  });

  test('with an entry more, less, changed, twice, out of order or of another place is another, or none', async () => {
    const { engine, tree } = await engineOf(700);
    const path = '7';
    const right = [...subtreeEntries(engine, table, tree, path)];
    const elsewhere = [...subtreeEntries(engine, table, tree, '8')].slice(0, 1);
    const hash = tree.node(path)?.hash as Uint8Array;
    fc.assert(
      fc.property(fc.nat({ max: right.length - 1 }), fc.nat({ max: 4 }), (at, how) => {
        const entry = right[at] as (typeof right)[number];
        const bent = [...right];
        if (how === 0) bent.splice(at, 1);
        if (how === 1) bent[at] = { ...entry, value: value('lie') };
        if (how === 2) bent.splice(at, 0, entry);
        if (how === 3) bent.splice(at, 2, ...bent.slice(at, at + 2).reverse());
        if (how === 4) bent.splice(at, 0, ...elsewhere);
        if (how === 3 && at === right.length - 1) return;
        const built = buildSubtree(path, bent);
        expect(built === undefined || Buffer.compare(built.hash, hash) !== 0).toBe(true);
      }),
    );
  });
});
