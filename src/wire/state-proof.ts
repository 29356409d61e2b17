/**
 * State proof: the nodes of the state tree from the root to where a key is, or would be. It shows what the state has under
 * that key (docs/protocol/checkpoints.md §1); `verify/state-proof.ts` checks it.
 */
import { limits } from './limits.ts';
import { type Decoded, decode, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export interface StateProof {
  /** Inner nodes from the root down. */
  readonly inner: readonly {
    /** Bit `n` is set when there is a child for the nibble `n`. */
    readonly bitmap: number;
    /** Of the children that there are, in the order of their nibbles; 32 bytes each. */
    readonly hashes: readonly Uint8Array[];
  }[];
  /** Where the key is, or would be, ascending by key hash; undefined when the last inner node has no child there. */
  readonly bucket: readonly { readonly keyHash: Uint8Array; readonly valueHash: Uint8Array }[] | undefined;
}

const hashSizeBytes = 32;
/** Nibbles of a key hash. */
const innerMax = 64;

export function encodeStateProof({ inner, bucket }: StateProof): Uint8Array {
  const writer = new Writer(1024).u8(inner.length);
  for (const { bitmap, hashes } of inner) {
    writer.u16(bitmap);
    for (const hash of hashes) writer.fixed(hash, hashSizeBytes);
  }
  writer.u8(bucket === undefined ? 0 : 1);
  if (bucket === undefined) return writer.finish();
  writer.u8(bucket.length);
  for (const { keyHash, valueHash } of bucket) writer.fixed(keyHash, hashSizeBytes).fixed(valueHash, hashSizeBytes);
  return writer.finish();
}

export function decodeStateProof(bytes: Uint8Array): Decoded<StateProof> {
  return decode<StateProof>(bytes, (reader) => {
    const count = reader.count(reader.u8('inner nodes'), innerMax, 2, 'inner nodes');
    const inner = Array.from({ length: count }, () => {
      const bitmap = reader.u16('bitmap');
      const hashes: Uint8Array[] = [];
      for (let rest = bitmap; rest !== 0; rest &= rest - 1) hashes.push(reader.fixed(hashSizeBytes, 'hash'));
      return { bitmap, hashes };
    });
    const isThere = reader.u8('bucket');
    if (isThere > 1) throw new WireError('bucket: neither there nor not');
    if (isThere === 0) return { inner, bucket: undefined };
    const max = limits.stateBucketEntriesMax;
    const entries = reader.count(reader.u8('entries'), max, 2 * hashSizeBytes, 'entries');
    const bucket = Array.from({ length: entries }, () => {
      return { keyHash: reader.fixed(hashSizeBytes, 'key hash'), valueHash: reader.fixed(hashSizeBytes, 'value hash') };
    });
    return { inner, bucket };
  });
}
