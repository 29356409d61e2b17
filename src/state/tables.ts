/**
 * Tables: which part of the engine's keys belongs to what. The first byte of a key names its table.
 */

export const tables = {
  /** Entries of the service: keys of the state (`state-key.ts`). */
  service: 1,
  /** Nodes of the tree over them, by path. */
  serviceNodes: 2,
  /** Entries of our own: sessions, results, duties of key generation. */
  system: 3,
  systemNodes: 4,
  /** Leaf hashes of the log, by chunk. */
  log: 5,
  /** What this replica notes for itself: the checkpoint that the engine holds, where its own log goes on. */
  notes: 6,
} as const;

export type Table = keyof typeof tables;

/** The two tables that have a tree, and so a root in each checkpoint. */
export type TreeTable = 'service' | 'system';

/** `key` in a table, as the engine has it. */
export function engineKey(table: Table, key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + key.length);
  bytes[0] = tables[table];
  bytes.set(key, 1);
  return bytes;
}

/** All keys of a table. */
export function engineRange(table: Table): { readonly start: Uint8Array; readonly end: Uint8Array } {
  return { start: Uint8Array.of(tables[table]), end: Uint8Array.of(tables[table] + 1) };
}
