/**
 * Block: the one message that carries everything that is ordered (docs/protocol/ordering.md §2).
 *
 * The digest covers the bytes exactly as received, without the signature; nothing is re-encoded to be checked.
 * Decoding checks the form only. Whether a block is valid is decided in `ordering/validity.ts`.
 */
import { signatureSizeBytes } from '../crypto/ed25519.ts';
import { type Digest, digestSizeBytes, sha256 } from '../crypto/hash.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export const blockVersion = 1;

/** Names one block. */
export interface Reference {
  readonly round: number;
  readonly author: number;
  readonly digest: Digest;
}

/** Something a replica owes the protocol, carried in its block: `kind` says which, the payload is the duty's own. */
export interface Duty {
  readonly kind: number;
  readonly payload: Uint8Array;
}

export interface BlockContent {
  readonly epoch: number;
  readonly round: number;
  /** Replica index in the epoch. */
  readonly author: number;
  /** Milliseconds since 1970 by the author's clock, which may lie. */
  readonly timestamp: number;
  readonly parents: readonly Reference[];
  /** Encoded requests (`wire/request.ts`). */
  readonly requests: readonly Uint8Array[];
  readonly duties: readonly Duty[];
}

/** A decoded block: well-formed, nothing more. */
export interface Block extends BlockContent {
  readonly digest: Digest;
  readonly signature: Uint8Array;
  /** The whole encoding, signature included. */
  readonly bytes: Uint8Array;
}

const referenceSizeBytes = 8 + 2 + digestSizeBytes;

export function writeReference(writer: Writer, reference: Reference): void {
  writer.u64(reference.round).u16(reference.author).digest(reference.digest);
}

export function readReference(reader: Reader, what: string): Reference {
  return { round: reader.u64(what), author: reader.u16(what), digest: reader.digest(what) };
}

/** Reads a counted list of references. */
export function readReferences(reader: Reader, max: number, what: string): readonly Reference[] {
  const count = reader.count(reader.u16(what), max, referenceSizeBytes, what);
  const references: Reference[] = [];
  for (let i = 0; i < count; i++) references.push(readReference(reader, what));
  return references;
}

/** Encodes what the author signs. */
function encodeContent(content: BlockContent): Uint8Array {
  let sizeHint = 64 + content.parents.length * referenceSizeBytes + 64;
  for (const request of content.requests) sizeHint += 4 + request.length;
  for (const duty of content.duties) sizeHint += 5 + duty.payload.length;
  const writer = new Writer(sizeHint);
  writer.u8(blockVersion).u32(content.epoch).u64(content.round).u16(content.author).u64(content.timestamp);
  writer.u16(content.parents.length);
  for (const parent of content.parents) writeReference(writer, parent);
  writer.u32(content.requests.length);
  for (const request of content.requests) writer.bytes(request);
  writer.u16(content.duties.length);
  for (const duty of content.duties) writer.u8(duty.kind).bytes(duty.payload);
  return writer.finish();
}

/** Encodes and signs a block; `sign` is given the digest and returns 64 bytes. */
export function encodeBlock(content: BlockContent, sign: (digest: Digest) => Uint8Array): Block {
  const unsigned = encodeContent(content);
  const digest = sha256(unsigned);
  const signature = sign(digest);
  const bytes = new Writer(unsigned.length + signature.length)
    .fixed(unsigned)
    .fixed(signature, signatureSizeBytes)
    .finish();
  return { ...content, digest, signature, bytes };
}

/** Decodes a block. The views it holds share memory with `bytes`, which must not change afterwards. */
export function decodeBlock(bytes: Uint8Array): Decoded<Block> {
  if (bytes.length > limits.blockSizeBytesMax) return { ok: false, reason: `block: ${bytes.length} bytes` };
  return decode(bytes, (reader) => {
    const version = reader.u8('version');
    if (version !== blockVersion) throw new WireError(`version: ${version} is unknown`);
    const epoch = reader.u32('epoch');
    const round = reader.u64('round');
    const author = reader.u16('author');
    const timestamp = reader.u64('timestamp');
    const parents = readReferences(reader, limits.replicasMax, 'parents');
    const requests: Uint8Array[] = [];
    const requestCount = reader.count(reader.u32('requests'), limits.blockRequestsMax, 4, 'requests');
    for (let i = 0; i < requestCount; i++) requests.push(reader.bytes(limits.requestSizeBytesMax, 'request'));
    const duties: Duty[] = [];
    const dutyCount = reader.count(reader.u16('duties'), limits.blockDutiesMax, 5, 'duties');
    for (let i = 0; i < dutyCount; i++) {
      duties.push({ kind: reader.u8('duty kind'), payload: reader.bytes(limits.dutySizeBytesMax, 'duty') });
    }
    const digest = sha256(bytes.subarray(0, reader.offset));
    const signature = reader.fixed(signatureSizeBytes, 'signature');
    return { epoch, round, author, timestamp, parents, requests, duties, digest, signature, bytes };
  });
}

/** The round of bytes that are known to be an encoded block, without decoding the rest. */
export function roundOfEncodedBlock(bytes: Uint8Array): number {
  const reader = new Reader(bytes);
  reader.u8('version');
  reader.u32('epoch');
  return reader.u64('round');
}

/** The digest of bytes that are known to be an encoded block. */
export function digestOfEncodedBlock(bytes: Uint8Array): Digest {
  return sha256(bytes.subarray(0, bytes.length - signatureSizeBytes));
}
