/**
 * Plain state: the tree of docs/protocol/checkpoints.md §1 as it is written, from all entries at once, slow and plain, so
 * that the verifier is held against something else than the tree of the replicas.
 */
import { type Digest, digestBytes, sha256, sha256Of } from '../../crypto/hash.ts';
import { domains } from '../../wire/domain.ts';
import { encodeStateProof, type StateProof } from '../../wire/state-proof.ts';

interface PlainEntry {
  readonly keyHash: Digest;
  readonly valueHash: Digest;
  readonly sizeBytes: number;
}

export class PlainState {
  readonly #values: ReadonlyMap<string, Uint8Array>;
  readonly #entries: readonly PlainEntry[];

  /** Encoded values by their keys. */
  constructor(values: ReadonlyMap<string, Uint8Array>) {
    this.#values = values;
    const entries = [...values].map(([key, value]) => {
      const bytes = cesu8(key);
      return { keyHash: sha256(bytes), valueHash: sha256(value), sizeBytes: bytes.length + value.length };
    });
    this.#entries = entries.sort((a, b) => (a.keyHash < b.keyHash ? -1 : 1));
  }

  get root(): Digest {
    return hashOf(this.#entries, 0);
  }

  value(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  /** From the root to where the key is, or would be. */
  prove(key: string): StateProof {
    const keyHash = sha256(cesu8(key));
    const inner: StateProof['inner'][number][] = [];
    let entries = this.#entries;
    for (let depth = 0; !isBucket(entries); depth++) {
      const children = childrenOf(entries, depth);
      const hashes = [...children.values()].map((child) => digestBytes(hashOf(child, depth + 1)));
      inner.push({ bitmap: bitmapOf(children), hashes });
      const child = children.get(keyHash[depth] as string);
      if (child === undefined) return { inner, bucket: undefined };
      entries = child;
    }
    const bucket = entries.map((entry) => {
      return { keyHash: digestBytes(entry.keyHash), valueHash: digestBytes(entry.valueHash) };
    });
    return { inner, bucket };
  }

  proveEncoded(key: string): Uint8Array {
    return encodeStateProof(this.prove(key));
  }
}

/** UTF-8 of each UTF-16 code unit by itself. */
function cesu8(key: string): Buffer {
  const units = Array.from({ length: key.length }, (_, i) => key.charCodeAt(i));
  return Buffer.concat(
    units.map((unit) => {
      if (unit < 0xd800 || unit > 0xdfff) return Buffer.from(String.fromCharCode(unit), 'utf8');
      return Buffer.from([0xed, 0xa0 + ((unit - 0xd800) >> 6), 0x80 + (unit & 0x3f)]);
    }),
  );
}

/** T2. */
function isBucket(entries: readonly PlainEntry[]): boolean {
  const sizeBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  return entries.length <= 1 || (entries.length <= 16 && sizeBytes <= 256 * 1024);
}

/** T3. */
function hashOf(entries: readonly PlainEntry[], depth: number): Digest {
  if (isBucket(entries)) {
    const hashes = entries.flatMap(({ keyHash, valueHash }) => [digestBytes(keyHash), digestBytes(valueHash)]);
    return sha256Of([domains.stateBucket, ...hashes]);
  }
  const children = childrenOf(entries, depth);
  const bitmap = Buffer.alloc(2);
  bitmap.writeUInt16BE(bitmapOf(children));
  const hashes = [...children.values()].map((child) => digestBytes(hashOf(child, depth + 1)));
  return sha256Of([domains.stateInner, bitmap, ...hashes]);
}

/** By their next nibble, ascending. */
function childrenOf(entries: readonly PlainEntry[], depth: number): ReadonlyMap<string, readonly PlainEntry[]> {
  const children = new Map<string, PlainEntry[]>();
  for (const entry of entries) {
    const nibble = entry.keyHash[depth] as string;
    children.set(nibble, [...(children.get(nibble) ?? []), entry]);
  }
  return children;
}

function bitmapOf(children: ReadonlyMap<string, unknown>): number {
  return [...children.keys()].reduce((bitmap, nibble) => bitmap | (1 << Number.parseInt(nibble, 16)), 0);
}
