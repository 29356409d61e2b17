/**
 * Log leaves: the leaf hashes of the request log in the engine, by chunks of 1,024; how the log is opened from them again,
 * and how one replica gives them to another that does not trust it.
 *
 * In the table `log`: where the retained leaves begin, with the frontier there; the root of each complete chunk; and the
 * leaves of each chunk, the last of which need not be complete. All of it follows from a checkpoint, but for what is older.
 *
 * What opens is right: the frontier at the beginning and the roots after it give the frontier in the checkpoint, or the log
 * does not open. The leaves of a complete chunk are held against its root whenever they are read.
 *
 * A chunk proves itself against a checkpoint: its root, joined with the path, is one of the checkpoint's frontier. What is
 * joined from the left, with what of that frontier is further left, is the frontier where the chunk begins. So whoever has
 * verified a chunk knows the frontier before it, and a log may begin there. The chunk that is not complete has no
 * path: its leaves make up the last subtrees of the frontier themselves. It is all that a log needs to go on.
 * A log that has leaves of its own already, up to some chunk, may keep them when its own frontier at that place is the one
 * that the next chunk, fetched and verified, has before it.
 * Safety: nothing that others say about leaves is taken unless it follows from the checkpoint; nothing throws for it.
 */
import { type Digest, digestBytes, digestFrom, digestSizeBytes } from '../crypto/hash.ts';
import { type LeafSource, MerkleTree } from '../crypto/merkle.ts';
import { chunkHeight, chunkLeaves, joined, LeafChunk } from '../crypto/merkle-store.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import { limits } from '../wire/limits.ts';
import { decode } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { type Change, StateDamage, type StateView } from './engine.ts';
import { engineKey, engineRange } from './tables.ts';

/** What a checkpoint says about the log. */
export type LogSummary = Pick<Checkpoint, 'logSize' | 'logFrontier'>;

/** A chunk of leaves, with what shows that it is of a log. */
export interface ProvenChunk {
  /** From 0; the chunk begins at leaf 1,024 times this. */
  readonly number: number;
  /** 32 bytes each: 1,024 of them, or as many as the last chunk has. */
  readonly leaves: Uint8Array;
  readonly path: readonly Digest[];
}

const kinds = { beginning: 0, root: 1, leaves: 2 } as const;

function keyOf(kind: keyof typeof kinds, number = 0): Uint8Array {
  return engineKey('log', new Writer(9).u8(kinds[kind]).u64(number).finish());
}

/** The number of the chunk that a log of this size goes on in; it is empty when the log ends with a whole one. */
export function lastChunkOf(logSize: number): number {
  return Math.floor(logSize / chunkLeaves);
}

/** The log of a checkpoint, out of the engine that holds it. Throws `StateDamage` when it is not all there. */
export function openLog(view: StateView, { logSize, logFrontier }: LogSummary): MerkleTree {
  const { retainedFrom, frontier } = readBeginning(view);
  const last = lastChunkOf(logSize);
  const lastLeaves = logSize % chunkLeaves === 0 ? new Uint8Array() : view.get(keyOf('leaves', last));
  if (retainedFrom > logSize || lastLeaves?.length !== (logSize % chunkLeaves) * digestSizeBytes) throw damageOf(last);
  const chunkRoots = readRoots(view, retainedFrom / chunkLeaves, last);
  const source = leafSource(view);
  let tree: MerkleTree;
  try {
    tree = new MerkleTree({ from: { retainedFrom, frontier, chunkRoots, lastLeaves }, source });
  } catch (error) {
    throw error instanceof RangeError ? new StateDamage(`The request log is malformed: ${error.message}.`) : error;
  }
  if (tree.size === logSize && isSame(tree.frontier(), logFrontier)) return tree;
  throw new StateDamage('The request log is not the one of the checkpoint.');
}

/** Reads the leaves of complete chunks, as they were stored. */
export function leafSource(view: StateView): LeafSource {
  return { chunk: (number) => view.get(keyOf('leaves', number)), damage: damageOf };
}

/** Reads all retained leaves and says which chunks are damaged; yields after each. `log` was opened from the same view. */
export function* checkLeaves(view: StateView, log: MerkleTree): Generator<{ readonly damaged: number | undefined }> {
  for (let number = log.retainedFrom / chunkLeaves; number < lastChunkOf(log.size); number++) {
    const leaves = view.get(keyOf('leaves', number));
    yield { damaged: leaves !== undefined && rootOf(leaves) === log.chunkRoot(number) ? undefined : number };
  }
}

/** Throws `StateDamage` when leaves are not those that the summary stands for; yields now and then. */
export function* verifyLeaves(view: StateView, summary: LogSummary): Generator<void> {
  for (const { damaged } of checkLeaves(view, openLog(view, summary))) {
    if (damaged !== undefined) throw new StateDamage(`Leaves of the log are damaged, those of chunk ${damaged}.`);
    yield;
  }
}

/** A retained chunk of the log, for another replica; undefined when there is none of this number, or not any more. */
export function leafChunk(log: MerkleTree, number: number): ProvenChunk | undefined {
  const leaves = log.leaves(number);
  if (leaves === undefined) return undefined;
  return { number, leaves, path: number < lastChunkOf(log.size) ? log.chunkPath(number) : [] };
}

/** Is the chunk one of this log? If so, the frontier where it begins; undefined if not. Made for hostile input. */
export function verifyLeafChunk(
  { logSize, logFrontier }: LogSummary,
  { number, leaves, path }: ProvenChunk,
): readonly Digest[] | undefined {
  if (!Number.isSafeInteger(number) || number < 0 || number > lastChunkOf(logSize)) return undefined;
  const start = number * chunkLeaves;
  if (leaves.length === 0 || leaves.length !== Math.min(chunkLeaves, logSize - start) * digestSizeBytes)
    return undefined;
  const place = placeOf(logSize, start);
  const isComplete = leaves.length === chunkLeaves * digestSizeBytes;
  if (path.length !== (isComplete ? place.height - chunkHeight : 0)) return undefined;
  let roots: readonly Digest[] = subtreesOf(leaves);
  const before: Digest[] = [];
  let index = number;
  for (const sibling of path) {
    const isRight = index % 2 === 1;
    if (isRight) before.unshift(sibling);
    roots = roots.map((root) => (isRight ? joined(sibling, root) : joined(root, sibling)));
    index = Math.floor(index / 2);
  }
  if (!isSame(roots, logFrontier.slice(place.ordinal, place.ordinal + roots.length))) return undefined;
  return [...logFrontier.slice(0, place.ordinal), ...before];
}

/** What stores a chunk that was verified, or made here. */
export function chunkChanges(number: number, leaves: Uint8Array, root = rootOf(leaves)): readonly Change[] {
  const change = { key: keyOf('leaves', number), value: leaves };
  return root === undefined ? [change] : [change, { key: keyOf('root', number), value: digestBytes(root) }];
}

/** What drops a chunk. */
export function dropChunkChanges(number: number): readonly Change[] {
  return [
    { key: keyOf('leaves', number), value: undefined },
    { key: keyOf('root', number), value: undefined },
  ];
}

/** What says that the retained leaves begin with this chunk. */
export function beginningChange(chunk: number, frontier: readonly Digest[]): Change {
  const writer = new Writer(9 + frontier.length * digestSizeBytes).u64(chunk).u8(frontier.length);
  for (const digest of frontier) writer.digest(digest);
  return { key: keyOf('beginning'), value: writer.finish() };
}

/** Is the key one of a log of this size whose retained leaves begin with that chunk? */
export function isLogKey(key: Uint8Array, log: { readonly firstChunk: number; readonly logSize: number }): boolean {
  const kind = key[1];
  if (kind === kinds.beginning) return Buffer.compare(key, keyOf('beginning')) === 0;
  const decoded = decode(key.subarray(2), (reader) => reader.u64('chunk'));
  if (!decoded.ok || decoded.value < log.firstChunk || (kind !== kinds.root && kind !== kinds.leaves)) return false;
  const isComplete = decoded.value < lastChunkOf(log.logSize);
  return isComplete || (kind === kinds.leaves && decoded.value * chunkLeaves < log.logSize);
}

/** What removes all of a log from the engine. */
export function* dropLogChanges(view: StateView): Generator<Change> {
  for (const key of view.keys(engineRange('log'))) yield { key, value: undefined };
}

/** Where the retained leaves begin. Throws `StateDamage` when it does not say. */
export function readBeginning(view: StateView): {
  readonly retainedFrom: number;
  readonly frontier: readonly Digest[];
} {
  const bytes = view.get(keyOf('beginning'));
  if (bytes === undefined) return { retainedFrom: 0, frontier: [] };
  const decoded = decode(bytes, (reader) => {
    const chunk = reader.u64('chunk');
    const count = reader.count(reader.u8('frontier'), limits.proofHashesMax, digestSizeBytes, 'frontier');
    return {
      retainedFrom: chunk * chunkLeaves,
      frontier: Array.from({ length: count }, () => reader.digest('frontier')),
    };
  });
  if (!decoded.ok) throw new StateDamage(`Where the request log begins is malformed: ${decoded.reason}.`);
  return decoded.value;
}

/** Roots of the chunks from `first` to the one before `end`. */
function* readRoots(view: StateView, first: number, end: number): Generator<Digest> {
  let next = first;
  for (const { key, value } of view.entries({ start: keyOf('root', first), end: keyOf('root', end) })) {
    if (Buffer.compare(key, keyOf('root', next)) !== 0 || value.length !== digestSizeBytes) throw damageOf(next);
    yield digestFrom(value);
    next += 1;
  }
  if (next < end) throw damageOf(next);
}

/** The root of a complete chunk; undefined when it is not one. */
function rootOf(leaves: Uint8Array): Digest | undefined {
  return leaves.length === chunkLeaves * digestSizeBytes ? digestFrom(LeafChunk.of(leaves).root) : undefined;
}

/** Roots of the largest complete subtrees that at most a chunk of leaves is made up of, from the left. */
function subtreesOf(leaves: Uint8Array): Digest[] {
  const chunk = LeafChunk.of(leaves);
  const count = leaves.length / digestSizeBytes;
  const roots: Digest[] = [];
  let start = 0;
  for (let level = chunkHeight; level >= 0; level--) {
    const size = 2 ** level;
    if (start + size > count) continue;
    roots.push(digestFrom(chunk.at(level, start / size)));
    start += size;
  }
  return roots;
}

/** The subtree in the frontier of a log of that size that holds the leaf: which it is from the left, and its height. */
function placeOf(logSize: number, leafIndex: number): { readonly ordinal: number; readonly height: number } {
  let ordinal = 0;
  let start = 0;
  for (let height = Math.floor(Math.log2(logSize)); ; height--) {
    const size = 2 ** height;
    if (start + size > logSize) continue;
    if (leafIndex < start + size) return { ordinal, height };
    start += size;
    ordinal += 1;
  }
}

function isSame(some: readonly Digest[], others: readonly Digest[]): boolean {
  return some.length === others.length && some.every((digest, i) => digest === others[i]);
}

function damageOf(chunk: number): StateDamage {
  return new StateDamage(`Chunk ${chunk} of the request log's leaves is damaged or missing.`);
}
