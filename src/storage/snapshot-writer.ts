/**
 * Snapshot writer: writes the checkpoint that an engine holds to a snapshot file, a part at a time.
 *
 * In: a view that stays as it is, the checkpoint it holds, a head that carries it. Out: a file that is there whole by its name,
 * or not at all. Holds one part of the state at a time.
 * Safety: what is read is held against the checkpoint's roots, so a damaged state throws `StateDamage` and is never backed up.
 */
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { chunkLeaves } from '../crypto/merkle-store.ts';
import { type FileSystem, type OpenFile, systemFiles } from '../platform/files.ts';
import { StateDamage, type StateView } from '../state/engine.ts';
import { lastChunkOf, leafChunk, openLog, type ProvenChunk } from '../state/log-leaves.ts';
import type { Node } from '../state/node.ts';
import { childPath, nodeKey, type StatePath } from '../state/state-path.ts';
import { StateTree } from '../state/state-tree.ts';
import { subtreeEntries } from '../state/subtree.ts';
import type { TreeTable } from '../state/tables.ts';
import { type Checkpoint, decodeCheckpoint } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { formatGenesis, type Genesis } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { encodeRecord, type SnapshotRecord, snapshotMark, snapshotVersion } from './snapshot-file.ts';

export interface SnapshotSource {
  readonly view: StateView;
  /** The checkpoint that the view holds, encoded. */
  readonly encoded: Uint8Array;
  /** A certified head that carries its digest. */
  readonly head: CertifiedHead;
  readonly genesis: Genesis;
  /** Only the leaves that the log cannot go on without: older requests cannot be proven after restoring. */
  readonly isLogCut?: boolean;
}

export interface SnapshotProgress {
  readonly entries: number;
  readonly entriesTotal: number;
}

/** Writes to `path`, and calls it so when it is whole. Rejects with what the disk says, or `StateDamage`; then nothing is left. */
export async function writeSnapshot(
  path: string,
  source: SnapshotSource,
  options: {
    readonly files?: FileSystem;
    readonly progress?: (progress: SnapshotProgress) => void;
    /** Looks at the file before it gets its name. */
    readonly check?: (unnamed: string) => Promise<void>;
  } = {},
): Promise<{ readonly sizeBytes: number }> {
  const { files = systemFiles, progress, check } = options;
  const unnamed = `${path}.new`;
  await files.remove(unnamed);
  try {
    const sizeBytes = await writeRecords(files, unnamed, recordsOf(source, progress));
    await check?.(unnamed);
    await files.rename(unnamed, path);
    await files.fsyncDirectory(dirname(path));
    return { sizeBytes };
  } catch (error) {
    await files.remove(unnamed).catch(() => undefined);
    throw error;
  }
}

async function writeRecords(files: FileSystem, path: string, records: Iterable<SnapshotRecord>): Promise<number> {
  const file = await files.open(path, 'create');
  try {
    const output = new Output(file);
    await output.write(Buffer.concat([snapshotMark, Uint8Array.of(snapshotVersion)]));
    for (const record of records) await output.write(encodeRecord(record));
    await output.write(encodeRecord({ kind: 'end', digest: output.digest() }));
    await file.fdatasync();
    return output.sizeBytes;
  } finally {
    await file.close();
  }
}

class Output {
  readonly #file: OpenFile;
  readonly #hash = createHash('sha256');
  #sizeBytes = 0;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    await this.#file.pwrite(bytes, this.#sizeBytes);
    this.#sizeBytes += bytes.length;
  }

  /** Of all bytes so far. */
  digest(): Uint8Array {
    return this.#hash.copy().digest();
  }
}

/** All but the last one. */
function* recordsOf(
  source: SnapshotSource,
  progress: ((progress: SnapshotProgress) => void) | undefined,
): Generator<SnapshotRecord> {
  const { view, encoded, head, genesis } = source;
  const decoded = decodeCheckpoint(encoded);
  if (!decoded.ok) throw new StateDamage(`The checkpoint in the state is malformed: ${decoded.reason}.`);
  const checkpoint = decoded.value;
  yield { kind: 'head', head };
  yield { kind: 'checkpoint', encoded };
  yield { kind: 'genesis', text: formatGenesis(genesis) };
  const entriesTotal = checkpoint.service.entries + checkpoint.system.entries;
  let entries = 0;
  for (const table of ['service', 'system'] as const) {
    for (const part of partsOf(view, table, checkpoint)) {
      yield part;
      entries += part.entries.length;
      progress?.({ entries, entriesTotal });
    }
  }
  for (const chunk of chunksOf(source, checkpoint)) yield { kind: 'leaves', chunk };
}

type Part = Extract<SnapshotRecord, { readonly kind: 'part' }>;

function* partsOf(view: StateView, table: TreeTable, checkpoint: Checkpoint): Generator<Part> {
  const tree = StateTree.at({ node: (path) => view.get(nodeKey(table, path)) }, checkpoint[table].root);
  const top = tree.node('');
  if (top === undefined) throw new StateDamage(`The state has not the root of its ${table} tree.`);
  for (const path of pathsOf(tree, '', top)) {
    yield { kind: 'part', table, path, entries: [...subtreeEntries(view, table, tree, path)] };
  }
}

/** Paths of the largest subtrees that are small enough for a part each, ascending. */
function* pathsOf(tree: StateTree, path: StatePath, node: Node): Generator<StatePath> {
  const sizeBytes = node.sizeBytes + node.entryCount * limits.statePartEntryOverheadSizeBytes;
  if (node.kind === 'bucket' || sizeBytes <= limits.statePartSizeBytesMax) {
    yield path;
    return;
  }
  for (const [nibble, child] of node.children.entries()) {
    if (child === undefined) continue;
    const below = childPath(path, nibble);
    const node = tree.node(below);
    if (node === undefined) throw new StateDamage(`The state has not the node at "${below}" of its tree.`);
    yield* pathsOf(tree, below, node);
  }
}

function* chunksOf({ view, isLogCut = false }: SnapshotSource, checkpoint: Checkpoint): Generator<ProvenChunk> {
  const log = openLog(view, checkpoint);
  const last = lastChunkOf(log.size);
  const end = log.size % chunkLeaves === 0 ? last : last + 1;
  for (let number = isLogCut ? last : log.retainedFrom / chunkLeaves; number < end; number++) {
    const chunk = leafChunk(log, number);
    if (chunk === undefined) throw new StateDamage(`The state has not chunk ${number} of the log's leaves.`);
    yield chunk;
  }
}
