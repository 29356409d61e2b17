/**
 * Snapshot file: one checkpoint with everything under it in one file, for whoever keeps backups. It verifies with the service
 * key alone (docs/operations/backup.md).
 *
 *   mark (17) · version (1) · records, each: kind (1) · length (4) · contents
 *
 * The records, in this order: a certified head; the checkpoint that it carries; the text of the genesis, so that a file explains
 * itself; parts of the state, those of the service first, each with all entries under a path of the tree, ascending by path;
 * chunks of leaf hashes of the log, ascending; the SHA-256 of all bytes before this last record.
 * Safety: what is read is bounded before it is held, and typed before it is used. What a record proves is for the reader
 * (`snapshot-reader.ts`).
 */
import type { ProvenChunk } from '../state/log-leaves.ts';
import type { StatePath } from '../state/state-path.ts';
import type { PlainEntry } from '../state/subtree.ts';
import type { TreeTable } from '../state/tables.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { serviceSignatureSizeBytes } from '../wire/duty.ts';
import { decodeHead, encodeHead, headSizeBytes } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { decode, type Reader, WireError } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';

export const snapshotMark: Uint8Array = Buffer.from('coterie snapshot\n');
export const snapshotVersion = 1;
export const snapshotBeginningSizeBytes = snapshotMark.length + 1;
/** Kind and length. */
export const recordHeadSizeBytes = 5;

export type SnapshotRecord =
  | { readonly kind: 'head'; readonly head: CertifiedHead }
  | { readonly kind: 'checkpoint'; readonly encoded: Uint8Array }
  | { readonly kind: 'genesis'; readonly text: string }
  | {
      readonly kind: 'part';
      readonly table: TreeTable;
      readonly path: StatePath;
      readonly entries: readonly PlainEntry[];
    }
  | { readonly kind: 'leaves'; readonly chunk: ProvenChunk }
  | { readonly kind: 'end'; readonly digest: Uint8Array };

export type RecordKind = SnapshotRecord['kind'];

const kinds = ['head', 'checkpoint', 'genesis', 'part', 'leaves', 'end'] as const;
const treeTables: readonly TreeTable[] = ['service', 'system'];
const pathLengthMax = 64;
const digestSizeBytes = 32;

/** The file is not a snapshot, or proves nothing. Nothing of it is to be used. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  readonly code = 'snapshot-refused';
  readonly hint: string;

  constructor(
    message: string,
    hint = 'Do not use this file. Take another copy of the snapshot, or export a new one from a running cluster.',
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.hint = hint;
  }
}

/** Kind, length and contents. */
export function encodeRecord(record: SnapshotRecord): Uint8Array {
  const contents = contentsOf(record);
  const writer = new Writer(recordHeadSizeBytes + contents.length).u8(kinds.indexOf(record.kind) + 1);
  return writer.bytes(contents).finish();
}

/** What a record's first bytes say: its kind and its length. Throws a `SnapshotError` for one that cannot be. */
export function readRecordHead(bytes: Uint8Array): { readonly kind: RecordKind; readonly sizeBytes: number } {
  const decoded = decode(bytes, (reader) => {
    const number = reader.u8('kind');
    const kind = kinds[number - 1];
    if (kind === undefined) throw new WireError(`kind: ${number} is unknown`);
    const sizeBytes = reader.u32('length');
    const isTooLarge = sizeBytes > limits.snapshotRecordSizeBytesMax;
    if (isTooLarge) throw new WireError(`length: ${sizeBytes} bytes, more than ${limits.snapshotRecordSizeBytesMax}`);
    return { kind, sizeBytes };
  });
  if (!decoded.ok) throw new SnapshotError(`the snapshot is malformed: ${decoded.reason}`);
  return decoded.value;
}

/** `contents` must stay as they are for as long as the record is used. Throws a `SnapshotError`. */
export function decodeRecord(kind: RecordKind, contents: Uint8Array): SnapshotRecord {
  const decoded = decode<SnapshotRecord>(contents, (reader) => {
    switch (kind) {
      case 'head':
        return { kind, head: readHead(reader) };
      case 'checkpoint':
        return { kind, encoded: reader.bytes(limits.checkpointEncodedSizeBytesMax, 'checkpoint') };
      case 'genesis':
        return { kind, text: reader.text(limits.homeFileSizeBytesMax, 'genesis') };
      case 'part':
        return { kind, ...readPart(reader) };
      case 'leaves':
        return { kind, chunk: readChunk(reader) };
      case 'end':
        return { kind, digest: reader.fixed(digestSizeBytes, 'digest') };
    }
  });
  if (!decoded.ok) throw new SnapshotError(`the snapshot is malformed: ${kind}: ${decoded.reason}`);
  return decoded.value;
}

function contentsOf(record: SnapshotRecord): Uint8Array {
  switch (record.kind) {
    case 'head': {
      const { head, signature } = record.head;
      return new Writer(headSizeBytes + serviceSignatureSizeBytes)
        .fixed(encodeHead(head))
        .fixed(signature, serviceSignatureSizeBytes)
        .finish();
    }
    case 'checkpoint':
      return new Writer(4 + record.encoded.length).bytes(record.encoded).finish();
    case 'genesis':
      return new Writer(4 + record.text.length).text(record.text).finish();
    case 'part': {
      const { table, path, entries } = record;
      let sizeBytes = 16 + path.length;
      for (const { key, value } of entries) sizeBytes += 8 + key.length + value.length;
      const writer = new Writer(sizeBytes).u8(treeTables.indexOf(table)).text(path).u32(entries.length);
      for (const { key, value } of entries) writer.bytes(key).bytes(value);
      return writer.finish();
    }
    case 'leaves': {
      const { number, leaves, path } = record.chunk;
      const writer = new Writer(16 + leaves.length + path.length * digestSizeBytes).u64(number).bytes(leaves);
      writer.u8(path.length);
      for (const digest of path) writer.digest(digest);
      return writer.finish();
    }
    case 'end':
      return new Writer(digestSizeBytes).fixed(record.digest, digestSizeBytes).finish();
  }
}

function readHead(reader: Reader): CertifiedHead {
  const head = decodeHead(reader.fixed(headSizeBytes, 'head'));
  if (head === undefined) throw new WireError('head: malformed');
  return { head, signature: reader.fixed(serviceSignatureSizeBytes, 'signature') };
}

function readPart(reader: Reader): {
  readonly table: TreeTable;
  readonly path: StatePath;
  readonly entries: readonly PlainEntry[];
} {
  const table = treeTables[reader.u8('table')];
  if (table === undefined) throw new WireError('table: unknown');
  const path = reader.text(pathLengthMax, 'path');
  if (!/^[0-9a-f]*$/.test(path)) throw new WireError('path: not of nibbles');
  const count = reader.count(reader.u32('entries'), limits.statePartEntriesMax, 8, 'entries');
  const entries: PlainEntry[] = [];
  for (let i = 0; i < count; i++) {
    const key = reader.bytes(limits.engineKeySizeBytesMax, 'key');
    entries.push({ key, value: reader.bytes(limits.engineValueSizeBytesMax, 'value') });
  }
  return { table, path, entries };
}

function readChunk(reader: Reader): ProvenChunk {
  const number = reader.u64('chunk');
  const leaves = reader.bytes(limits.logChunkSizeBytesMax, 'leaves');
  const count = reader.count(reader.u8('path'), limits.proofHashesMax, digestSizeBytes, 'path');
  return { number, leaves, path: Array.from({ length: count }, () => reader.digest('path')) };
}
