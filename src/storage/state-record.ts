/**
 * State record: a value as the state engine keeps it on disk, behind a checksum over the value and its key.
 *
 * The first 8 bytes of a SHA-256: of damage that chance made, one in 2^64 goes unnoticed; nothing else is claimed of it.
 */
import { sha256 } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';

export const checksumSizeBytes = 8;
const keyLengthSizeBytes = 2;

/** Where records of ordinary size are put together, again and again: allocating costs more than all the rest. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024);

/** Holds until the next call. */
export function recordOf(key: Uint8Array, value: Uint8Array): Uint8Array {
  const bytes = arranged(key, value);
  bytes.write(checksumOf(bytes), 0, 'hex');
  return bytes.subarray(0, checksumSizeBytes + value.length);
}

/** The value in a record, a part of its bytes; undefined when the record is not what was written under this key. */
export function valueIn(key: Uint8Array, record: Uint8Array): Uint8Array | undefined {
  if (record.length < checksumSizeBytes) return undefined;
  if (key.length > limits.engineKeySizeBytesMax) return undefined;
  const value = new Uint8Array(record.buffer, record.byteOffset + checksumSizeBytes, record.length - checksumSizeBytes);
  const found = Buffer.from(record.buffer, record.byteOffset, checksumSizeBytes).toString('hex');
  return checksumOf(arranged(key, value)) === found ? value : undefined;
}

/** Room for the checksum, the value, the key, and the key's length: what is stored stands together. */
function arranged(key: Uint8Array, value: Uint8Array): Buffer {
  const sizeBytes = checksumSizeBytes + value.length + key.length + keyLengthSizeBytes;
  const bytes = sizeBytes <= scratch.length ? scratch.subarray(0, sizeBytes) : Buffer.allocUnsafeSlow(sizeBytes);
  bytes.set(value, checksumSizeBytes);
  bytes.set(key, checksumSizeBytes + value.length);
  bytes.writeUInt16BE(key.length, sizeBytes - keyLengthSizeBytes);
  return bytes;
}

function checksumOf(bytes: Buffer): string {
  return sha256(bytes.subarray(checksumSizeBytes)).slice(0, 2 * checksumSizeBytes);
}
