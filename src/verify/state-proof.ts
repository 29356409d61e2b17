/**
 * State proof: checks that a key of the service's state has a value, or that it has none, by the root alone.
 *
 * In: the key, the encoded value, the proof as `wire/state-proof.ts` encodes it, the root of a head. Out: nothing; throws a
 * `Refusal`. A second implementation, like the other decoders of this folder; tests hold the two against each other.
 * Safety: each node from the root on hashes to what the one above says, and only the key's own place decides. A bucket
 * comes whole, so that what is not in it is not in the state (docs/protocol/checkpoints.md, T1 to T4).
 */
import { domains } from '../wire/domain.ts';
import { limits } from '../wire/limits.ts';
import { ByteReader } from './byte-reader.ts';
import type { VerifyPrimitives } from './primitives.ts';
import { demand } from './refusal.ts';

type Sha256 = VerifyPrimitives['sha256'];

export interface ReadStateProof {
  /** From the root down. */
  readonly inner: readonly ReadInner[];
  /** Where the key is, or would be; undefined when the last inner node has no child there. */
  readonly bucket: readonly ReadBucketEntry[] | undefined;
}

interface ReadInner {
  /** Bit `n` is set when there is a child for the nibble `n`. */
  readonly bitmap: number;
  /** Of the children that there are, in the order of their nibbles. */
  readonly hashes: readonly Uint8Array[];
}

interface ReadBucketEntry {
  readonly keyHash: Uint8Array;
  readonly valueHash: Uint8Array;
}

export interface StateClaim {
  readonly key: string;
  /** Encoded; undefined when the key is said to be absent. */
  readonly value: Uint8Array | undefined;
  readonly proof: ReadStateProof;
  readonly root: Uint8Array;
}

const nibbles = 64;
const hashSizeBytes = 32;

export function readStateProof(bytes: Uint8Array): ReadStateProof {
  const reader = new ByteReader(bytes, 'state');
  const inner = readInners(reader);
  const bucket = readBucket(reader);
  reader.end();
  return { inner, bucket };
}

/** Throws unless the state with this root has exactly this under the key. */
export function checkStateProof({ key, value, proof, root }: StateClaim, sha256: Sha256): void {
  const keyHash = sha256(stateKeyBytes(key));
  let expected: Uint8Array | undefined = root;
  for (const [depth, { bitmap, hashes }] of proof.inner.entries()) {
    demandHash(expected, sha256(joined(domains.stateInner, Uint8Array.of(bitmap >> 8, bitmap & 0xff), ...hashes)));
    expected = childAt(bitmap, hashes, nibbleAt(keyHash, depth));
  }
  if (proof.bucket === undefined) {
    demand(expected === undefined, 'state', 'the proof ends above the place of the key');
    demand(value === undefined, 'state', 'the key is not in the state of the head');
    return;
  }
  const entries = proof.bucket.flatMap((entry) => [entry.keyHash, entry.valueHash]);
  demandHash(expected, sha256(joined(domains.stateBucket, ...entries)));
  const found = proof.bucket.find((entry) => areEqual(entry.keyHash, keyHash));
  demand(found !== undefined || value === undefined, 'state', 'the key is not in the state of the head');
  demand(found === undefined || value !== undefined, 'state', 'the key is in the state of the head');
  if (found === undefined || value === undefined) return;
  demand(areEqual(found.valueHash, sha256(value)), 'state', 'the key has another value in the state of the head');
}

/** CESU-8: UTF-8, but a surrogate takes three bytes of its own, so that bytes are ordered as code units are. */
function stateKeyBytes(key: string): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    if (unit < 0x80) bytes.push(unit);
    else if (unit < 0x800) bytes.push(0xc0 | (unit >> 6), 0x80 | (unit & 0x3f));
    else bytes.push(0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f));
  }
  return Uint8Array.from(bytes);
}

function readInners(reader: ByteReader): readonly ReadInner[] {
  const count = reader.u8('inner nodes');
  reader.demand(count <= nibbles, 'more inner nodes than a key has nibbles');
  return Array.from({ length: count }, () => {
    const bitmap = reader.u16('bitmap');
    return { bitmap, hashes: Array.from({ length: bitCount(bitmap) }, () => reader.fixed(hashSizeBytes, 'hash')) };
  });
}

function readBucket(reader: ByteReader): readonly ReadBucketEntry[] | undefined {
  const isThere = reader.u8('bucket');
  reader.demand(isThere <= 1, 'a bucket is neither there nor not');
  if (isThere === 0) return undefined;
  const count = reader.count(reader.u8('entries'), limits.stateBucketEntriesMax, 2 * hashSizeBytes, 'entries');
  return Array.from({ length: count }, () => {
    return { keyHash: reader.fixed(hashSizeBytes, 'key hash'), valueHash: reader.fixed(hashSizeBytes, 'value hash') };
  });
}

function demandHash(expected: Uint8Array | undefined, actual: Uint8Array): void {
  const isFitting = expected !== undefined && areEqual(expected, actual);
  demand(isFitting, 'state', 'the proof does not fit the state of the head');
}

/** The hash of the child for a nibble; undefined when there is none. */
function childAt(bitmap: number, hashes: readonly Uint8Array[], nibble: number): Uint8Array | undefined {
  if ((bitmap & (1 << nibble)) === 0) return undefined;
  return hashes[bitCount(bitmap & ((1 << nibble) - 1))];
}

function nibbleAt(keyHash: Uint8Array, depth: number): number {
  const byte = keyHash[depth >> 1] as number;
  return depth % 2 === 0 ? byte >> 4 : byte & 0x0f;
}

function bitCount(bitmap: number): number {
  let count = 0;
  for (let rest = bitmap; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
