/**
 * State node: what the state tree is made of, and the bytes of it: hashed, and stored (docs/protocol/checkpoints.md §1).
 *
 * A node never changes once it is made; but children are loaded when they are needed, and let go of when they are stored, as values are.
 * Safety: stored bytes are decoded only if they are of a node with the hash that is expected.
 */
import { sha256Bytes } from '../crypto/hash.ts';
import { domains } from '../wire/domain.ts';
import { limits } from '../wire/limits.ts';
import { decode, type Reader, WireError } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { nibbleAt, type StatePath } from './state-path.ts';

export interface Entry {
  readonly keyHash: Uint8Array;
  readonly key: Uint8Array;
  readonly valueHash: Uint8Array;
  readonly valueSizeBytes: number;
  /** Written since the last checkpoint was stored; let go of after that. */
  value?: Uint8Array | undefined;
}

export interface Bucket {
  readonly kind: 'bucket';
  readonly hash: Uint8Array;
  readonly entryCount: number;
  /** Keys and values. */
  readonly sizeBytes: number;
  /** Ascending by key hash. */
  readonly entries: readonly Entry[];
}

export interface Inner {
  readonly kind: 'inner';
  readonly hash: Uint8Array;
  readonly entryCount: number;
  readonly sizeBytes: number;
  /** One for each nibble. */
  readonly children: readonly (Child | undefined)[];
}

export type Node = Bucket | Inner;

/** A node as the one above it knows it. */
export interface Child {
  readonly hash: Uint8Array;
  readonly entryCount: number;
  readonly sizeBytes: number;
  /** Undefined while it is not in memory. */
  node: Node | undefined;
  /** All under it is stored, and only what is to be kept of it is in memory. */
  isStored: boolean;
}

/** Where stored nodes are read from. */
export interface NodeSource {
  node(path: StatePath): Uint8Array | undefined;
}

export const childCount = 16;
const hashSizeBytes = 32;

/** Whether these entries make a bucket (T2). */
export function fitsBucket(entryCount: number, sizeBytes: number): boolean {
  if (entryCount <= 1) return true;
  return entryCount <= limits.stateBucketEntriesMax && sizeBytes <= limits.stateBucketSizeBytesMax;
}

export function entrySizeBytes({ key, valueSizeBytes }: Entry): number {
  return key.length + valueSizeBytes;
}

/** The node of entries that are sorted and all under a path of this many nibbles. */
export function nodeOf(entries: readonly Entry[], depth: number): Node {
  let sizeBytes = 0;
  for (const entry of entries) sizeBytes += entrySizeBytes(entry);
  if (fitsBucket(entries.length, sizeBytes)) return bucketOf(entries, sizeBytes);
  const children: (Child | undefined)[] = new Array(childCount).fill(undefined);
  for (let from = 0; from < entries.length; ) {
    const nibble = nibbleAt((entries[from] as Entry).keyHash, depth);
    let to = from + 1;
    while (to < entries.length && nibbleAt((entries[to] as Entry).keyHash, depth) === nibble) to += 1;
    children[nibble] = childOf(nodeOf(entries.slice(from, to), depth + 1));
    from = to;
  }
  return innerOf(children);
}

export function childOf(node: Node): Child {
  return { hash: node.hash, entryCount: node.entryCount, sizeBytes: node.sizeBytes, node, isStored: false };
}

/** What is hashed is put together here: the longest is that of a full bucket. */
const scratch = new Uint8Array(64 + 2 * hashSizeBytes * limits.stateBucketEntriesMax);

export function bucketOf(entries: readonly Entry[], sizeBytes: number): Bucket {
  scratch.set(domains.stateBucket);
  let offset = domains.stateBucket.length;
  for (const { keyHash, valueHash } of entries) {
    scratch.set(keyHash, offset);
    scratch.set(valueHash, offset + hashSizeBytes);
    offset += 2 * hashSizeBytes;
  }
  const hash = sha256Bytes(scratch.subarray(0, offset));
  return { kind: 'bucket', hash, entryCount: entries.length, sizeBytes, entries };
}

export function innerOf(children: readonly (Child | undefined)[]): Inner {
  const tag = domains.stateInner;
  scratch.set(tag);
  let offset = tag.length + 2;
  let bitmap = 0;
  let entryCount = 0;
  let sizeBytes = 0;
  for (let nibble = 0; nibble < childCount; nibble++) {
    const child = children[nibble];
    if (child === undefined) continue;
    bitmap |= 1 << nibble;
    entryCount += child.entryCount;
    sizeBytes += child.sizeBytes;
    scratch.set(child.hash, offset);
    offset += hashSizeBytes;
  }
  scratch[tag.length] = bitmap >> 8;
  scratch[tag.length + 1] = bitmap & 0xff;
  return { kind: 'inner', hash: sha256Bytes(scratch.subarray(0, offset)), entryCount, sizeBytes, children };
}

export const emptyNode: Bucket = bucketOf([], 0);

const kinds = { bucket: 0, inner: 1 } as const;

/** As it is stored: all of it but what lies in other nodes, or in the entries. */
export function encodeNode(node: Node): Uint8Array {
  if (node.kind === 'bucket') {
    const writer = new Writer(16 + 160 * node.entries.length).u8(kinds.bucket).u8(node.entries.length);
    for (const { keyHash, key, valueHash, valueSizeBytes } of node.entries) {
      writer.fixed(keyHash).bytes(key).fixed(valueHash).u32(valueSizeBytes);
    }
    return writer.finish();
  }
  const writer = new Writer(16 + 48 * childCount).u8(kinds.inner);
  writer.u16(node.children.reduce((bits, child, nibble) => (child === undefined ? bits : bits | (1 << nibble)), 0));
  for (const child of node.children) {
    if (child !== undefined) writer.fixed(child.hash).u64(child.entryCount).u64(child.sizeBytes);
  }
  return writer.finish();
}

/**
 * The node of these bytes; undefined when they are not one whose hash is the expected one. How many entries there are under an
 * inner node, and how large, is not hashed: who does not trust the bytes must not trust that.
 */
export function decodeNode(bytes: Uint8Array, expectedHash: Uint8Array): Node | undefined {
  const node = decodeAnyNode(bytes);
  return node !== undefined && areEqual(node.hash, expectedHash) ? node : undefined;
}

/** The node of these bytes, whatever its hash; undefined when they are not one. */
export function decodeAnyNode(bytes: Uint8Array): Node | undefined {
  const decoded = decode<Node>(bytes, (reader) => {
    const kind = reader.u8('kind');
    if (kind === kinds.bucket) return readBucket(reader);
    if (kind === kinds.inner) return readInner(reader);
    throw new WireError('kind: unknown');
  });
  return decoded.ok ? decoded.value : undefined;
}

function readBucket(reader: Reader): Bucket {
  const count = reader.count(reader.u8('entries'), limits.stateBucketEntriesMax, 2 * hashSizeBytes, 'entries');
  const entries: Entry[] = [];
  let sizeBytes = 0;
  for (let i = 0; i < count; i++) {
    const keyHash = reader.fixed(hashSizeBytes, 'key hash');
    const key = reader.bytes(limits.stateKeySizeBytesMax * 2, 'key');
    const entry = {
      keyHash,
      key,
      valueHash: reader.fixed(hashSizeBytes, 'value hash'),
      valueSizeBytes: reader.u32('size'),
    };
    sizeBytes += entrySizeBytes(entry);
    entries.push(entry);
  }
  return bucketOf(entries, sizeBytes);
}

function readInner(reader: Reader): Inner {
  const bitmap = reader.u16('bitmap');
  const children: (Child | undefined)[] = [];
  for (let nibble = 0; nibble < childCount; nibble++) {
    if ((bitmap & (1 << nibble)) === 0) {
      children.push(undefined);
      continue;
    }
    const hash = reader.fixed(hashSizeBytes, 'hash');
    const [entryCount, sizeBytes] = [reader.u64('entries'), reader.u64('bytes')];
    children.push({ hash, entryCount, sizeBytes, node: undefined, isStored: true });
  }
  return innerOf(children);
}

export function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
