/**
 * Head: what the service signs about its log: so many requests, in this order, with these results.
 *
 * The statement that is signed is `domains.head`, then the SHA-256 of the encoded head. A fixed layout, written with
 * nothing but standard JavaScript, because the verifier in a browser shares this file (docs/protocol/certification.md).
 */
import type { Digest } from '../crypto/hash.ts';

export const headVersion = 2;
export const headSizeBytes = 157;

/** Stands for a checkpoint while there is none. */
export const noCheckpoint = '0'.repeat(64) as Digest;

export interface Head {
  readonly serviceId: Digest;
  readonly epoch: number;
  /** The commit after which the log was as said. */
  readonly commitIndex: number;
  /** Leaves in the log. */
  readonly logSize: number;
  /** Root of the Merkle tree over them (RFC 9162 §2.1). */
  readonly logRoot: Digest;
  /** Root of the tree over the service's state after that commit (docs/protocol/checkpoints.md §1). */
  readonly stateRoot: Digest;
  /** Digest of the latest checkpoint taken at that commit or before; `noCheckpoint` when there was none. */
  readonly checkpoint: Digest;
  /** Agreed time of that commit, milliseconds since 1970. */
  readonly timestamp: number;
}

/** Version, service id, epoch (4 bytes), commit index (8), log size (8), log root, state root, checkpoint, timestamp (8). */
export function encodeHead(head: Head): Uint8Array {
  const bytes = new Uint8Array(headSizeBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, headVersion);
  setDigest(bytes, 1, head.serviceId);
  view.setUint32(33, head.epoch);
  setNumber(view, 37, head.commitIndex);
  setNumber(view, 45, head.logSize);
  setDigest(bytes, 53, head.logRoot);
  setDigest(bytes, 85, head.stateRoot);
  setDigest(bytes, 117, head.checkpoint);
  setNumber(view, 149, head.timestamp);
  return bytes;
}

/** Undefined when the bytes are not the encoding of a head. */
export function decodeHead(bytes: Uint8Array): Head | undefined {
  if (bytes.length !== headSizeBytes || bytes[0] !== headVersion) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const head = {
    serviceId: digestAt(bytes, 1),
    epoch: view.getUint32(33),
    commitIndex: numberAt(view, 37),
    logSize: numberAt(view, 45),
    logRoot: digestAt(bytes, 53),
    stateRoot: digestAt(bytes, 85),
    checkpoint: digestAt(bytes, 117),
    timestamp: numberAt(view, 149),
  };
  const numbers = [head.commitIndex, head.logSize, head.timestamp];
  return numbers.every((number) => Number.isSafeInteger(number)) ? head : undefined;
}

function setNumber(view: DataView, offset: number, number: number): void {
  if (!Number.isSafeInteger(number) || number < 0) throw new RangeError(`not a safe non-negative integer: ${number}`);
  view.setUint32(offset, Math.floor(number / 0x1_0000_0000));
  view.setUint32(offset + 4, number % 0x1_0000_0000);
}

function numberAt(view: DataView, offset: number): number {
  return view.getUint32(offset) * 0x1_0000_0000 + view.getUint32(offset + 4);
}

function setDigest(bytes: Uint8Array, offset: number, digest: Digest): void {
  if (!/^[0-9a-f]{64}$/.test(digest)) throw new RangeError('not a digest');
  for (let i = 0; i < 32; i++) bytes[offset + i] = Number.parseInt(digest.slice(2 * i, 2 * i + 2), 16);
}

function digestAt(bytes: Uint8Array, offset: number): Digest {
  let text = '';
  for (let i = offset; i < offset + 32; i++) text += (bytes[i] as number).toString(16).padStart(2, '0');
  return text as Digest;
}
