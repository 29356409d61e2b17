/** Log leaves: a log opens from what was stored or not at all; a chunk proves itself against a checkpoint, and no other does. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Digest, digestBytes, digestFrom, digestSizeBytes, sha256 } from '../crypto/hash.ts';
import { MerkleTree, verifyInclusion } from '../crypto/merkle.ts';
import { chunkLeaves } from '../crypto/merkle-store.ts';
import { type Change, StateDamage } from './engine.ts';
import {
  beginningChange,
  checkLeaves,
  chunkChanges,
  dropChunkChanges,
  dropLogChanges,
  type LogSummary,
  lastChunkOf,
  leafChunk,
  openLog,
  type ProvenChunk,
  verifyLeafChunk,
} from './log-leaves.ts';
import { MemoryEngine } from './memory-engine.ts';
import { engineRange } from './tables.ts';

const leafOf = (i: number): Digest => sha256(Buffer.from(`leaf ${i}`));

const grown = new Map<number, MerkleTree>();
function treeOf(size: number): MerkleTree {
  let tree = grown.get(size);
  if (tree === undefined) {
    tree = new MerkleTree();
    for (let i = 0; i < size; i++) tree.append(leafOf(i));
    grown.set(size, tree);
  }
  return tree;
}

const summaryOf = (tree: MerkleTree): LogSummary => ({ logSize: tree.size, logFrontier: tree.frontier() });

/** All that stores a log from this chunk on. */
function changesOf(tree: MerkleTree, first = 0): readonly Change[] {
  const changes = [beginningChange(first, tree.frontier(first * chunkLeaves))];
  for (let number = first; number <= lastChunkOf(tree.size); number++) {
    const leaves = tree.leaves(number);
    if (leaves !== undefined) changes.push(...chunkChanges(number, leaves));
  }
  return changes;
}

async function engineOf(...changes: readonly (readonly Change[])[]): Promise<MemoryEngine> {
  const engine = new MemoryEngine();
  for (const each of changes) await engine.write(each);
  return engine;
}

const contentsOf = (engine: MemoryEngine): readonly string[] =>
  [...engine.entries(engineRange('log'))].map(({ key, value }) => Buffer.concat([key, value]).toString('hex'));

describe('a log', () => {
  it.each([
    [0, 0],
    [1, 0],
    [1_024, 0],
    [1_024, 1],
    [5_000, 0],
    [5_000, 3],
    [5_000, 4],
    [8_192, 7],
    [8_192, 8],
  ])('of %i leaves opens from chunk %i on, and proves what it proved', async (size, first) => {
    const tree = treeOf(size);
    const log = openLog(await engineOf(changesOf(tree, first)), summaryOf(tree));
    expect([log.size, log.retainedFrom]).toEqual([size, first * chunkLeaves]);
    expect(log.frontier()).toEqual(tree.frontier());
    for (let index = log.retainedFrom; index < size; index += 379) {
      expect(log.inclusionPath(index, size)).toEqual(tree.inclusionPath(index, size));
    }
    log.append(leafOf(size));
    expect(log.root()).toBe(treeOf(size + 1).root());
  });

  it('does not open where anything is missing, altered or of another log', async () => {
    const tree = treeOf(5_000);
    const good = changesOf(tree, 1);
    const summary = summaryOf(tree);
    expect(openLog(await engineOf(good), summary).size).toBe(5_000);
    for (const { key, value } of good) {
      const isLeaves = value?.length === chunkLeaves * digestSizeBytes;
      for (const changed of [
        undefined,
        value!.with(3, value![3]! ^ 1),
        value!.subarray(1),
        Buffer.concat([value!, value!]),
      ]) {
        const engine = await engineOf(good, [{ key, value: changed }]);
        // The leaves of a complete chunk are held against its root when they are read.
        if (isLeaves)
          expect(
            [...checkLeaves(engine, openLog(engine, summary))].filter(({ damaged }) => damaged !== undefined),
          ).toHaveLength(1);
        else expect(() => openLog(engine, summary)).toThrow(StateDamage);
      }
    }
    for (const other of [
      { ...summary, logSize: 4_999 },
      { ...summary, logSize: 6_200 },
    ]) {
      const engine = await engineOf(good);
      expect(() => openLog(engine, other)).toThrow(StateDamage);
    }
    const later = await engineOf(changesOf(treeOf(5_000), 4), dropChunkChanges(4));
    expect(() => openLog(later, summary)).toThrow(StateDamage);
  });

  it('says which leaves are damaged, and throws when a proof needs them', async () => {
    const tree = treeOf(5_000);
    const wrong = tree.leaves(2)!.with(100, 0xff);
    const engine = await engineOf(changesOf(tree), [{ key: chunkChanges(2, wrong)[0]!.key, value: wrong }]);
    const log = openLog(engine, summaryOf(tree));
    expect([...checkLeaves(engine, log)].map(({ damaged }) => damaged)).toEqual([undefined, undefined, 2, undefined]);
    expect(() => log.inclusionPath(2_100, 5_000)).toThrow(StateDamage);
    expect(log.inclusionPath(1_100, 5_000)).toEqual(tree.inclusionPath(1_100, 5_000));
  });

  it('can be removed whole', async () => {
    const engine = await engineOf(changesOf(treeOf(5_000), 1));
    expect(contentsOf(engine).length).toBeGreaterThan(6);
    await engine.write([...dropLogChanges(engine)]);
    expect(contentsOf(engine)).toEqual([]);
  });
});

describe('a chunk', () => {
  it('proves itself in a log of any size, and the frontier before it; a log can begin there', async () => {
    for (const size of [1, 700, 1_024, 1_025, 2_048, 5_000, 7_168, 8_191, 8_192]) {
      const tree = treeOf(size);
      const summary = summaryOf(tree);
      for (let number = 0; number * chunkLeaves < size; number++) {
        const before = verifyLeafChunk(summary, leafChunk(tree, number)!);
        expect(before).toEqual(tree.frontier(number * chunkLeaves));
        const changes = [beginningChange(number, before!)];
        for (let each = number; each * chunkLeaves < size; each++)
          changes.push(...chunkChanges(each, leafChunk(tree, each)!.leaves));
        const log = openLog(await engineOf(changes), summary);
        const path = log.inclusionPath(size - 1, size)!;
        expect(verifyInclusion({ leaf: leafOf(size - 1), index: size - 1, size, root: tree.root(), path })).toBe(true);
      }
      expect(leafChunk(tree, lastChunkOf(size - 1) + 1)).toBeUndefined();
      expect(leafChunk(tree, -1)).toBeUndefined();
      expect(leafChunk(tree, 0.5)).toBeUndefined();
    }
  });

  it('comes out of a log that forgot what is older as out of one that did not', async () => {
    const tree = treeOf(7_900);
    for (let first = 0; first <= 7; first++) {
      const log = openLog(await engineOf(changesOf(tree, first)), summaryOf(tree));
      for (let number = 0; number <= 8; number++) {
        const [chunk, expected] = [leafChunk(log, number), number < first ? undefined : leafChunk(tree, number)];
        expect(chunk?.path).toEqual(expected?.path);
        expect(Buffer.compare(chunk?.leaves ?? new Uint8Array(), expected?.leaves ?? new Uint8Array())).toBe(0);
      }
    }
  });

  it('continues a log that has its own leaves exactly when it has that frontier before it', () => {
    const summary = summaryOf(treeOf(7_900));
    const next = verifyLeafChunk(summary, leafChunk(treeOf(7_900), 4)!);
    expect(treeOf(5_000).frontier(4 * chunkLeaves)).toEqual(next);
    const other = new MerkleTree();
    for (let i = 0; i < 5_000; i++) other.append(leafOf(i === 2_000 ? 0 : i));
    expect(other.frontier(4 * chunkLeaves)).not.toEqual(next);
  });

  it('that is not exactly right is refused', () => {
    let lies = 0;
    for (const size of [700, 1_024, 5_000, 7_168]) {
      const tree = treeOf(size);
      const summary = summaryOf(tree);
      for (let number = 0; number * chunkLeaves < size; number++) {
        const good = leafChunk(tree, number)!;
        const { leaves, path } = good;
        const other = digestFrom(digestBytes(leafOf(0)));
        const wrong: readonly ProvenChunk[] = [
          ...[0, 40, leaves.length - 1].map((at) => ({ ...good, leaves: leaves.with(at, leaves[at]! ^ 1) })),
          { ...good, leaves: leaves.subarray(digestSizeBytes) },
          { ...good, leaves: leaves.subarray(0, -digestSizeBytes) },
          { ...good, leaves: leaves.subarray(1) },
          { ...good, leaves: new Uint8Array() },
          { ...good, leaves: Buffer.concat([leaves, leaves]) },
          { ...good, leaves: Buffer.concat([leaves, digestBytes(other)]) },
          { ...good, path: [...path, other] },
          { ...good, path: [other, ...path] },
          ...path.flatMap((_, i) => [
            { ...good, path: path.toSpliced(i, 1) },
            { ...good, path: path.with(i, other) },
          ]),
          ...[-1, 0.5, Number.NaN, 2 ** 53, ...Array.from({ length: 10 }, (_, i) => i)]
            .filter((each) => each !== number)
            .map((each) => ({ ...good, number: each })),
        ];
        for (const chunk of wrong) expect(verifyLeafChunk(summary, chunk)).toBeUndefined();
        lies += wrong.length;
        for (const each of [
          summaryOf(treeOf(699)),
          { ...summary, logFrontier: summary.logFrontier.toReversed().slice(1) },
        ]) {
          expect(verifyLeafChunk(each, good)).toBeUndefined();
        }
      }
      expect(verifyLeafChunk({ logSize: 0, logFrontier: [] }, leafChunk(tree, 0)!)).toBeUndefined();
    }
    expect(lies).toBeGreaterThan(300);
  });

  it('of any content whatever is refused without throwing', () => {
    const summary = summaryOf(treeOf(5_000));
    const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(digestFrom);
    const chunk = fc.record({
      number: fc.oneof(fc.integer({ min: 0, max: 6 }), fc.double()),
      leaves: fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc.constantFrom(new Uint8Array(32_768), new Uint8Array(904 * 32)),
      ),
      path: fc.array(digest, { maxLength: 70 }),
    });
    fc.assert(
      fc.property(chunk, (hostile) => {
        expect(verifyLeafChunk(summary, hostile)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });
});
