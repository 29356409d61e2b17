/**
 * Log beginning: the durable note of where a log begins once its first segments were dropped. Absent before the first drop.
 *
 *   mark (4) · version (1) · position of the first segment (8) · round up to which blocks were dropped (8)
 *   · checksum of the batch before the first segment (16) · checksum of these (16)
 *
 * Safety: segments that are gone although no note says so are damage, and so is a note that is not what was written. It is
 * replaced as a whole and synced before any segment goes; so a crash leaves the old note and all segments, or the new
 * note and some segments from before it, which are removed when the log is opened.
 */
import { join } from 'node:path';
import { hmacSha256 } from '../crypto/hash.ts';
import { errorCode, type FileSystem } from '../platform/files.ts';
import { decode } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { checksumSizeBytes } from './log-batch.ts';

const fileName = 'beginning';
const newFileName = 'beginning.new';
const version = 1;
const sizeBytes = 4 + 1 + 8 + 8 + 2 * checksumSizeBytes;
const mark = Buffer.from('clog');
const tag = Buffer.from('beginning');

export interface LogBeginning {
  /** Where the first segment begins. */
  readonly segment: number;
  /** No block above this round was dropped. */
  readonly round: number;
  /** Of the last batch before it. */
  readonly previous: Uint8Array;
}

/** The note of this log; undefined when there is none, `damaged` when it is not what was written. */
export async function readBeginning(
  files: FileSystem,
  directory: string,
  key: Uint8Array,
): Promise<LogBeginning | undefined | 'damaged'> {
  const bytes = Buffer.alloc(sizeBytes + 1);
  let read: number;
  try {
    const file = await files.open(join(directory, fileName), 'read');
    try {
      read = await file.pread(bytes, 0);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  if (read !== sizeBytes) return 'damaged';
  const noted = bytes.subarray(0, sizeBytes - checksumSizeBytes);
  const checksum = bytes.subarray(sizeBytes - checksumSizeBytes, sizeBytes);
  const decoded = decode(noted.subarray(mark.length), (reader) => {
    const isKnown = reader.u8('version') === version;
    const segment = reader.u64('segment');
    const round = reader.u64('round');
    return { isKnown, segment, round, previous: reader.fixed(checksumSizeBytes, 'previous') };
  });
  if (!mark.equals(noted.subarray(0, mark.length)) || !checksum.equals(checksumOf(key, noted))) return 'damaged';
  return decoded.ok && decoded.value.isKnown ? decoded.value : 'damaged';
}

/** Replaces the note, durably. */
export async function writeBeginning(options: {
  readonly files: FileSystem;
  readonly directory: string;
  readonly key: Uint8Array;
  readonly beginning: LogBeginning;
}): Promise<void> {
  const { files, directory, key, beginning } = options;
  const { segment, round, previous } = beginning;
  const noted = new Writer(sizeBytes).fixed(mark).u8(version).u64(segment).u64(round).fixed(previous).finish();
  const path = join(directory, newFileName);
  // One that a crash left half written.
  await files.remove(path);
  const file = await files.open(path, 'create');
  try {
    await file.pwrite(Buffer.concat([noted, checksumOf(key, noted)]), 0);
    await file.fdatasync();
  } finally {
    await file.close();
  }
  await files.rename(path, join(directory, fileName));
  await files.fsyncDirectory(directory);
}

/** Removes the note, durably: a log begins anew where none is left. */
export async function removeBeginning(files: FileSystem, directory: string): Promise<void> {
  await files.remove(join(directory, fileName));
  await files.fsyncDirectory(directory);
}

function checksumOf(key: Uint8Array, noted: Uint8Array): Uint8Array {
  return hmacSha256(key, [tag, noted]).subarray(0, checksumSizeBytes);
}
