/**
 * Plain tree: the root, nodes and shape of a state tree straight from their definition (docs/protocol/checkpoints.md §1), slow and
 * without a past: what the real one is held against.
 */
import { createHash } from 'node:crypto';
import { domains } from '../../wire/domain.ts';
import { stateKeyBytes } from '../state-key.ts';

export interface PlainTree {
  /** Hex. */
  readonly root: string;
  /** Hashes of all nodes by path, hex. */
  readonly nodes: ReadonlyMap<string, string>;
  readonly sizeBytes: number;
}

const sha = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export function plainTree(entries: ReadonlyMap<string, Uint8Array>): PlainTree {
  const nodes = new Map<string, string>();
  const all = [...entries].map(([key, value]) => {
    const bytes = stateKeyBytes(key);
    return { path: sha(bytes).toString('hex'), valueHash: sha(value), size: bytes.length + value.length };
  });
  const hashUnder = (path: string): Buffer => {
    const under = all.filter((entry) => entry.path.startsWith(path)).sort((a, b) => (a.path < b.path ? -1 : 1));
    const size = under.reduce((sum, entry) => sum + entry.size, 0);
    let hash: Buffer;
    if (under.length <= 1 || (under.length <= 16 && size <= 256 * 1024)) {
      const hashes = under.flatMap((entry) => [Buffer.from(entry.path, 'hex'), entry.valueHash]);
      hash = sha(domains.stateBucket, ...hashes);
    } else {
      let bitmap = 0;
      const hashes: Buffer[] = [];
      for (const [nibble, digit] of [...'0123456789abcdef'].entries()) {
        if (!under.some((entry) => entry.path.startsWith(path + digit))) continue;
        bitmap |= 1 << nibble;
        hashes.push(hashUnder(path + digit));
      }
      hash = sha(domains.stateInner, Uint8Array.of(bitmap >> 8, bitmap & 0xff), ...hashes);
    }
    nodes.set(path, hash.toString('hex'));
    return hash;
  };
  const root = hashUnder('').toString('hex');
  return { root, nodes, sizeBytes: all.reduce((sum, entry) => sum + entry.size, 0) };
}
