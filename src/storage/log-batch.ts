/**
 * Log batch: the bytes of one append, as they lie in a segment.
 *
 *   header (64)   mark · payload size · checksum of the batch before · checksum of the payload · checksum of the header · end mark
 *   payload       per record: size (4), bytes
 *   trailer (4)   a mark that is only there when the whole batch was written
 *   padding       zeros, up to the next multiple of 64
 *
 * Checksums are HMACs under a key of this home. The header's covers the batch's position and the checksum before it, so a
 * batch that was moved, copied, dropped or taken from another log is found out, and one intact header anywhere proves
 * that everything before it had been written and synced. Nobody outside can forge one, not even inside a record.
 * Header and trailer end in marks, and unwritten space is zeros: that is how an interrupted write is told from damage.
 */
import { hmacSha256 } from '../crypto/hash.ts';

export const batchAlignmentBytes = 64;
export const headerSizeBytes = 64;
const trailerSizeBytes = 4;
const recordHeaderSizeBytes = 4;
export const checksumSizeBytes = 16;
/** What a disk writes whole or not at all. */
const sectorSizeBytes = 512;

const offsets = { payloadSize: 4, previous: 8, payloadChecksum: 24, reserved: 40, checksum: 44, endMark: 60 } as const;
// No byte of a mark is zero or one bit away from it, so a flipped bit never makes a mark look half written.
const beginMark = Buffer.from([0xc7, 0x6c, 0x67, 0x31]);
const endMark = Buffer.from([0xe5, 0x9a, 0xd3, 0xb6]);
const headerTag = Buffer.from('header');
const payloadTag = Buffer.from('payload');
const zeros = Buffer.alloc(4096);

/** What stands in the place of a checksum before the first batch. */
export const firstChecksum: Uint8Array = new Uint8Array(checksumSizeBytes);

export interface BatchHeader {
  readonly payloadSizeBytes: number;
  readonly previous: Uint8Array;
  readonly payloadChecksum: Uint8Array;
  readonly checksum: Uint8Array;
  /** The whole batch, padding included. */
  readonly sizeBytes: number;
}

/** What lies where a header should be. `unwritten`: zeros or the first part of a header, as an interrupted write leaves them. */
export type HeaderCheck =
  | { readonly kind: 'intact'; readonly header: BatchHeader }
  | { readonly kind: 'unwritten' }
  | { readonly kind: 'damaged' };

export function batchSizeBytes(payloadSizeBytes: number): number {
  const size = headerSizeBytes + payloadSizeBytes + trailerSizeBytes;
  return Math.ceil(size / batchAlignmentBytes) * batchAlignmentBytes;
}

/** Bytes that a record of this size takes in a payload. */
export function recordSizeBytes(bytes: Uint8Array): number {
  return recordHeaderSizeBytes + bytes.length;
}

export interface EncodedBatch {
  /** Its first `sizeBytes` are the batch; what was asked for beyond is zeros. */
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  /** Of each record. The first has the position of the batch. */
  readonly positions: readonly number[];
  readonly checksum: Uint8Array;
}

/** Lays out a batch. `room(sizeBytes)` says how many zeros to add after it. */
export function encodeBatch(options: {
  readonly key: Uint8Array;
  readonly position: number;
  readonly previous: Uint8Array;
  readonly records: readonly Uint8Array[];
  readonly room: (sizeBytes: number) => number;
}): EncodedBatch {
  const { key, position, previous, records } = options;
  let payloadSize = 0;
  for (const record of records) payloadSize += recordSizeBytes(record);
  const sizeBytes = batchSizeBytes(payloadSize);
  const bytes = Buffer.allocUnsafe(sizeBytes + options.room(sizeBytes));
  const positions: number[] = [];
  let offset = headerSizeBytes;
  for (const record of records) {
    positions.push(recordPosition(position, offset));
    offset = bytes.writeUInt32BE(record.length, offset);
    bytes.set(record, offset);
    offset += record.length;
  }
  bytes.set(endMark, offset);
  bytes.fill(0, offset + trailerSizeBytes);

  bytes.set(beginMark, 0);
  bytes.writeUInt32BE(payloadSize, offsets.payloadSize);
  bytes.set(previous, offsets.previous);
  bytes.set(payloadChecksumOf(key, bytes.subarray(headerSizeBytes, offset)), offsets.payloadChecksum);
  bytes.fill(0, offsets.reserved, offsets.checksum);
  const checksum = headerChecksumOf(key, position, bytes);
  bytes.set(checksum, offsets.checksum);
  bytes.set(endMark, offsets.endMark);
  return { bytes, sizeBytes, positions, checksum };
}

/** Judges the up to 64 bytes that lie at a position. Takes one HMAC at most. */
export function checkHeader(key: Uint8Array, position: number, bytes: Uint8Array): HeaderCheck {
  if (bytes.length < headerSizeBytes || isUnfinished(bytes.subarray(offsets.endMark, headerSizeBytes))) {
    return { kind: 'unwritten' };
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, headerSizeBytes);
  const checksum = view.subarray(offsets.checksum, offsets.checksum + checksumSizeBytes);
  if (
    !startsLikeHeader(view) ||
    !endMark.equals(view.subarray(offsets.endMark)) ||
    !checksum.equals(headerChecksumOf(key, position, view))
  ) {
    return { kind: 'damaged' };
  }
  const payloadSizeBytes = view.readUInt32BE(offsets.payloadSize);
  return {
    kind: 'intact',
    header: {
      payloadSizeBytes,
      previous: view.subarray(offsets.previous, offsets.previous + checksumSizeBytes),
      payloadChecksum: view.subarray(offsets.payloadChecksum, offsets.payloadChecksum + checksumSizeBytes),
      checksum,
      sizeBytes: batchSizeBytes(payloadSizeBytes),
    },
  };
}

/** Could a header begin here? Cheap, to look for one in a large space. */
export function startsLikeHeader(bytes: Uint8Array): boolean {
  return (
    bytes[0] === beginMark[0] && bytes[1] === beginMark[1] && bytes[2] === beginMark[2] && bytes[3] === beginMark[3]
  );
}

/**
 * Judges the bytes of a batch whose header is intact. `offset` is where it begins in its file; `bytes` are cut short
 * where the file ends.
 */
export function checkBody(
  key: Uint8Array,
  header: BatchHeader,
  bytes: Uint8Array,
  offset: number,
): 'intact' | 'unwritten' | 'damaged' {
  const payloadEnd = headerSizeBytes + header.payloadSizeBytes;
  const trailerEnd = payloadEnd + trailerSizeBytes;
  if (bytes.length < trailerEnd) return 'unwritten';
  const trailer = bytes.subarray(payloadEnd, trailerEnd);
  if (endMark.equals(trailer)) {
    const checksum = payloadChecksumOf(key, bytes.subarray(headerSizeBytes, payloadEnd));
    if (Buffer.compare(checksum, header.payloadChecksum) === 0) {
      return isZero(bytes.subarray(trailerEnd, header.sizeBytes)) ? 'intact' : 'damaged';
    }
  } else if (isUnfinished(trailer)) return 'unwritten';
  // Written to its end and yet wrong: either sectors in the middle did not make it, or it was damaged later.
  for (let sector = nextSector(offset + headerSizeBytes) - offset; sector < payloadEnd; sector += sectorSizeBytes) {
    if (isZero(bytes.subarray(sector, Math.min(sector + sectorSizeBytes, trailerEnd)))) return 'unwritten';
  }
  return 'damaged';
}

/** The records of a payload that was checked. */
export function* recordsOf(
  position: number,
  payload: Uint8Array,
): Generator<{ readonly position: number; readonly bytes: Uint8Array }> {
  const view = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  let offset = 0;
  while (offset < view.length) {
    const begin = offset + recordHeaderSizeBytes;
    const end = begin + view.readUInt32BE(offset);
    yield { position: recordPosition(position, headerSizeBytes + offset), bytes: view.subarray(begin, end) };
    offset = end;
  }
}

export function isZero(bytes: Uint8Array): boolean {
  for (let offset = 0; offset < bytes.length; offset += zeros.length) {
    const part = bytes.subarray(offset, offset + zeros.length);
    if (Buffer.compare(part, zeros.subarray(0, part.length)) !== 0) return false;
  }
  return true;
}

/** The first record stands for its batch, so that the end of the log is where the next record will be. */
function recordPosition(batchPosition: number, offset: number): number {
  return offset === headerSizeBytes ? batchPosition : batchPosition + offset;
}

/** Is this what a write leaves that stopped before or inside the mark: a proper part of it, then zeros? */
function isUnfinished(mark: Uint8Array): boolean {
  let written = 0;
  while (written < endMark.length && mark[written] === endMark[written]) written += 1;
  return written < endMark.length && isZero(mark.subarray(written));
}

function nextSector(offset: number): number {
  return Math.ceil(offset / sectorSizeBytes) * sectorSizeBytes;
}

function payloadChecksumOf(key: Uint8Array, payload: Uint8Array): Uint8Array {
  return hmacSha256(key, [payloadTag, payload]).subarray(0, checksumSizeBytes);
}

function headerChecksumOf(key: Uint8Array, position: number, header: Uint8Array): Uint8Array {
  const place = Buffer.allocUnsafe(8);
  place.writeUInt32BE(Math.floor(position / 0x1_0000_0000), 0);
  place.writeUInt32BE(position % 0x1_0000_0000, 4);
  return hmacSha256(key, [headerTag, place, header.subarray(0, offsets.checksum)]).subarray(0, checksumSizeBytes);
}
