/**
 * State path: where a node stands in the state tree: the nibbles of the key hashes under it that all of them share.
 */
import { type TreeTable, tables } from './tables.ts';

/** Lower-case hex digits, up to 64; '' is the root. */
export type StatePath = string;

const nodeTables = { service: tables.serviceNodes, system: tables.systemNodes } as const;

/** Where the node is in the engine: its length in nibbles, then the nibbles, two a byte. */
export function nodeKey(table: TreeTable, path: StatePath): Uint8Array {
  const bytes = new Uint8Array(2 + ((path.length + 1) >> 1));
  bytes[0] = nodeTables[table];
  bytes[1] = path.length;
  for (let i = 0; i < path.length; i++) {
    const nibble = Number.parseInt(path[i] as string, 16);
    const at = 2 + (i >> 1);
    bytes[at] = (bytes[at] as number) | (i % 2 === 0 ? nibble << 4 : nibble);
  }
  return bytes;
}

/** Nibble `depth` of a key hash. */
export function nibbleAt(keyHash: Uint8Array, depth: number): number {
  const byte = keyHash[depth >> 1] as number;
  return depth % 2 === 0 ? byte >> 4 : byte & 0x0f;
}

export function childPath(path: StatePath, nibble: number): StatePath {
  return path + nibble.toString(16);
}

export function isUnder(keyHash: Uint8Array, path: StatePath): boolean {
  for (let depth = 0; depth < path.length; depth++) {
    if (nibbleAt(keyHash, depth) !== Number.parseInt(path[depth] as string, 16)) return false;
  }
  return true;
}
