/**
 * Snapshot reader: reads a snapshot file from its beginning to its end, and believes nothing of it that the head does not prove.
 *
 * In: a file that anybody may have made, and whether a head is the service's own. Out: what the file holds, and, for who restores it,
 * what is to be written to an engine, as it is read. Holds one record at a time, and a few nodes.
 * Safety: what comes out before the end is only as good as the file: it counts for nothing unless `readSnapshot` resolves.
 * Then head, checkpoint, all entries of both trees and the log are those that the service signed, and no byte was changed.
 */
import { createHash, type Hash } from 'node:crypto';
import { type Digest, sha256 } from '../crypto/hash.ts';
import { chunkLeaves, joined } from '../crypto/merkle-store.ts';
import { type FileSystem, type OpenFile, systemFiles } from '../platform/files.ts';
import type { Change } from '../state/engine.ts';
import {
  beginningChange,
  chunkChanges,
  type LogSummary,
  lastChunkOf,
  type ProvenChunk,
  verifyLeafChunk,
} from '../state/log-leaves.ts';
import { nodeKey } from '../state/state-path.ts';
import { buildSubtree } from '../state/subtree.ts';
import { engineKey, type TreeTable } from '../state/tables.ts';
import { type Checkpoint, checkpointDigest, decodeCheckpoint } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { formatGenesis, type Genesis, parseGenesis, serviceIdOf } from '../wire/genesis.ts';
import {
  decodeRecord,
  readRecordHead,
  recordHeadSizeBytes,
  SnapshotError,
  type SnapshotRecord,
  snapshotBeginningSizeBytes,
  snapshotMark,
  snapshotVersion,
} from './snapshot-file.ts';
import { type FoldedNode, SubtreeFold } from './subtree-fold.ts';

/** What comes before the state. The head is the service's own, and carries the checkpoint. */
export interface SnapshotHeader {
  readonly head: CertifiedHead;
  readonly checkpoint: Checkpoint;
  /** The checkpoint's bytes, and their digest. */
  readonly encoded: Uint8Array;
  readonly digest: Digest;
  readonly genesis: Genesis;
}

export interface Snapshot extends SnapshotHeader {
  /** Leaves of the log that are in the file, the last ones: older requests cannot be proven out of it. */
  readonly leaves: number;
  readonly sizeBytes: number;
}

export interface ReadSnapshotOptions {
  /** Did the service sign this head? */
  readonly verifyHead: (head: CertifiedHead) => boolean;
  /** Is told what the file is of before the state is read; what it throws ends the reading. */
  readonly begin?: (header: SnapshotHeader) => Promise<void> | void;
  /** Takes what an engine that is empty needs to hold the checkpoint, but for the notes. */
  readonly take?: (changes: readonly Change[]) => Promise<void>;
  readonly progress?: (progress: { readonly bytes: number; readonly bytesTotal: number }) => void;
  readonly files?: FileSystem;
}

/** Reads and verifies all of it. Rejects with a `SnapshotError`, or with what the disk says. */
export async function readSnapshot(path: string, options: ReadSnapshotOptions): Promise<Snapshot> {
  const { files = systemFiles, verifyHead, begin, take, progress } = options;
  const file = await files.open(path, 'read');
  try {
    const sizeBytes = await file.sizeBytes();
    const input = new Input(file, sizeBytes);
    await input.readMark();
    const header = await readHeader(input, verifyHead);
    await begin?.(header);
    const contents = new Contents(header.checkpoint);
    for (;;) {
      const record = await input.next();
      if (record.kind === 'end') break;
      const changes = contents.add(record);
      if (take !== undefined) await take(changes);
      progress?.({ bytes: input.position, bytesTotal: sizeBytes });
    }
    const { changes, leaves } = contents.end();
    if (take !== undefined) await take(changes);
    return { ...header, leaves, sizeBytes };
  } finally {
    await file.close();
  }
}

/** Records one after another, up to the last one, which vouches for the bytes of all before it. */
class Input {
  readonly #file: OpenFile;
  readonly #sizeBytes: number;
  readonly #hash: Hash = createHash('sha256');
  #position = 0;

  constructor(file: OpenFile, sizeBytes: number) {
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  get position(): number {
    return this.#position;
  }

  async readMark(): Promise<void> {
    const bytes = await this.#read(Math.min(snapshotBeginningSizeBytes, this.#sizeBytes));
    if (Buffer.compare(bytes.subarray(0, snapshotMark.length), snapshotMark) !== 0) {
      throw new SnapshotError('this is not a snapshot', 'Give a file that "coterie snapshot export" has written.');
    }
    this.#hash.update(bytes);
    const version = bytes[snapshotMark.length];
    if (version === snapshotVersion) return;
    const hint = 'Use the version of coterie that made it, or a newer one.';
    throw new SnapshotError(`the snapshot is of version ${version}, which is unknown`, hint);
  }

  async next(): Promise<SnapshotRecord> {
    const head = await this.#read(recordHeadSizeBytes);
    const { kind, sizeBytes } = readRecordHead(head);
    const contents = await this.#read(sizeBytes);
    const record = decodeRecord(kind, contents);
    if (record.kind === 'end') this.#checkEnd(record.digest);
    else this.#hash.update(head).update(contents);
    return record;
  }

  #checkEnd(digest: Uint8Array): void {
    if (this.#position !== this.#sizeBytes) throw new SnapshotError('the snapshot goes on after its end');
    if (!this.#hash.digest().equals(digest))
      throw new SnapshotError('the snapshot is damaged: bytes of it were changed');
  }

  async #read(sizeBytes: number): Promise<Uint8Array> {
    if (this.#position + sizeBytes > this.#sizeBytes) throw new SnapshotError('the snapshot is cut short');
    const bytes = Buffer.allocUnsafe(sizeBytes);
    if ((await this.#file.pread(bytes, this.#position)) < sizeBytes) {
      throw new SnapshotError('the snapshot is cut short');
    }
    this.#position += sizeBytes;
    return bytes;
  }
}

async function readHeader(input: Input, verifyHead: (head: CertifiedHead) => boolean): Promise<SnapshotHeader> {
  const { head } = await expected(input, 'head');
  if (!verifyHead(head)) {
    throw new SnapshotError(
      'the service with this key did not sign the head in the snapshot',
      'It was changed, or it is of another service than the one with this key. Do not use it.',
    );
  }
  const { encoded } = await expected(input, 'checkpoint');
  const digest = checkpointDigest(encoded);
  if (head.head.checkpoint !== digest)
    throw new SnapshotError('the signed head is not of the checkpoint in the snapshot');
  const decoded = decodeCheckpoint(encoded);
  if (!decoded.ok) throw new SnapshotError(`the checkpoint in the snapshot is malformed: ${decoded.reason}`);
  const checkpoint = decoded.value;
  checkTogether(head, checkpoint);
  const { text } = await expected(input, 'genesis');
  return { head, checkpoint, encoded, digest, genesis: readGenesisOf(text, checkpoint) };
}

async function expected<Kind extends SnapshotRecord['kind']>(
  input: Input,
  kind: Kind,
): Promise<Extract<SnapshotRecord, { readonly kind: Kind }>> {
  const record = await input.next();
  if (record.kind !== kind) throw new SnapshotError(`the snapshot has not its ${kind} where it belongs`);
  return record as Extract<SnapshotRecord, { readonly kind: Kind }>;
}

/** The head says the same as the checkpoint when both are of one commit, and else goes on from it. */
function checkTogether({ head }: CertifiedHead, checkpoint: Checkpoint): void {
  const { ordering, service, logSize, logFrontier } = checkpoint;
  if (head.serviceId !== checkpoint.serviceId) {
    throw new SnapshotError('the head and the checkpoint in the snapshot are of different services');
  }
  const isAfter =
    head.commitIndex >= ordering.commitIndex &&
    head.epoch >= checkpoint.epoch &&
    head.logSize >= logSize &&
    head.timestamp >= ordering.timestamp;
  const isSame =
    head.commitIndex > ordering.commitIndex ||
    (head.logSize === logSize && head.stateRoot === service.root && head.timestamp === ordering.timestamp);
  const isSameLog = head.logSize > logSize || head.logRoot === rootOf(logFrontier);
  if (!isAfter || !isSame || !isSameLog) {
    throw new SnapshotError('the head and the checkpoint in the snapshot contradict each other');
  }
}

/** Of the log whose largest complete subtrees have these roots, from the left. */
function rootOf(frontier: readonly Digest[]): Digest {
  const last = frontier.at(-1);
  return last === undefined
    ? sha256(new Uint8Array())
    : frontier.slice(0, -1).reduceRight((root, left) => joined(left, root), last);
}

function readGenesisOf(text: string, { serviceId }: Checkpoint): Genesis {
  const parsed = parseGenesis(text);
  if (!parsed.ok) throw new SnapshotError(`the genesis in the snapshot is malformed: ${parsed.reason}`);
  if (serviceIdOf(parsed.value) !== serviceId || formatGenesis(parsed.value) !== text) {
    throw new SnapshotError('the genesis in the snapshot is not that of its service');
  }
  return parsed.value;
}

/** What follows the header: parts of both trees, leaves of the log, each in its order and all of them. */
class Contents {
  readonly #checkpoint: Checkpoint;
  readonly #leaves: LeavesInTurn;
  #table: TreeTable | undefined = 'service';
  #fold = new SubtreeFold();

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
    this.#leaves = new LeavesInTurn(checkpoint);
  }

  add(record: SnapshotRecord): readonly Change[] {
    if (record.kind === 'part') return this.#addPart(record);
    if (record.kind !== 'leaves') throw new SnapshotError(`the snapshot has a ${record.kind} where none belongs`);
    return [...this.#endTables(undefined), ...this.#leaves.add(record.chunk)];
  }

  end(): { readonly changes: readonly Change[]; readonly leaves: number } {
    const nodes = this.#endTables(undefined);
    const { changes, leaves } = this.#leaves.end();
    return { changes: [...nodes, ...changes], leaves };
  }

  #addPart({ table, path, entries }: Extract<SnapshotRecord, { readonly kind: 'part' }>): readonly Change[] {
    const before = table === this.#table ? [] : this.#endTables(table);
    const built = buildSubtree(path, entries);
    const above = built === undefined ? undefined : this.#fold.add(path, built);
    if (built === undefined || above === undefined) {
      throw new SnapshotError(`the snapshot is malformed: entries of the ${table} state are not in their order`);
    }
    const values = entries.map(({ key, value }) => ({ key: engineKey(table, key), value }));
    return [...before, ...values, ...nodeChanges(table, built.nodes), ...nodeChanges(table, above)];
  }

  /** The trees before this one are complete; undefined: both are. */
  #endTables(next: TreeTable | undefined): readonly Change[] {
    const changes: Change[] = [];
    while (this.#table !== next) {
      const table = this.#table;
      if (table === undefined) throw new SnapshotError('the snapshot has parts of the state after its end');
      const ended = this.#fold.end();
      const { root, entries, sizeBytes } = this.#checkpoint[table];
      const found = ended?.summary;
      if (found?.root !== root || found.entries !== entries || found.sizeBytes !== sizeBytes) {
        throw new SnapshotError(`the ${table} state in the snapshot is not the one that the service signed`);
      }
      changes.push(...nodeChanges(table, ended?.nodes ?? []));
      this.#fold = new SubtreeFold();
      this.#table = table === 'service' ? 'system' : undefined;
    }
    return changes;
  }
}

function nodeChanges(table: TreeTable, nodes: readonly FoldedNode[]): readonly Change[] {
  return nodes.map(({ path, encoded }) => ({ key: nodeKey(table, path), value: encoded }));
}

/** Chunks of leaves up to the end of the log, without a gap. */
class LeavesInTurn {
  readonly #log: LogSummary;
  #first: number | undefined;
  #next: number | undefined;

  constructor(log: LogSummary) {
    this.#log = log;
  }

  add(chunk: ProvenChunk): readonly Change[] {
    const frontier = verifyLeafChunk(this.#log, chunk);
    if (frontier === undefined || (this.#next !== undefined && chunk.number !== this.#next)) {
      throw new SnapshotError(
        `the snapshot has other leaves of the log than the service signed, in chunk ${chunk.number}`,
      );
    }
    this.#next = chunk.number + 1;
    const changes = chunkChanges(chunk.number, chunk.leaves);
    if (this.#first !== undefined) return changes;
    this.#first = chunk.number;
    return [...beginningChanges(chunk.number, frontier), ...changes];
  }

  end(): { readonly changes: readonly Change[]; readonly leaves: number } {
    const { logSize, logFrontier } = this.#log;
    const last = lastChunkOf(logSize);
    const next = this.#next ?? last;
    if (next * chunkLeaves < logSize) throw new SnapshotError('the snapshot lacks the last leaves of the log');
    const first = this.#first ?? last;
    const changes = this.#first === undefined ? beginningChanges(last, logFrontier) : [];
    return { changes, leaves: logSize - first * chunkLeaves };
  }
}

/** A log of which nothing was ever dropped says nothing of its beginning. */
function beginningChanges(chunk: number, frontier: readonly Digest[]): readonly Change[] {
  return chunk === 0 ? [] : [beginningChange(chunk, frontier)];
}
