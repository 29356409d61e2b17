/**
 * Sweep: removes from an engine what is not of a checkpoint all of whose parts are there and right.
 *
 * In: the engine, in which everything is written; how much the checkpoint has. Out: changes. First it counts: what is wanted is all there,
 * so where the numbers are equal there is nothing else. Only where they are not, each key is looked for in the tree.
 * Cost: bounded for each step; the uppermost nodes are kept in memory while it goes on.
 */
import { digestBytes, sha256Bytes } from '../crypto/hash.ts';
import { StateDamage } from '../state/engine.ts';
import { isLogKey } from '../state/log-leaves.ts';
import { decodeNode, type Node } from '../state/node.ts';
import { childPath, nibbleAt, nodeKey, type StatePath } from '../state/state-path.ts';
import { engineRange, type Table, type TreeTable } from '../state/tables.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import type { ReadAllowance } from './read-allowance.ts';
import type { Staged } from './staged.ts';

/** Nodes above this depth are kept once they are read. */
const keptDepth = 4;

/** One pass over a table. */
interface Pass {
  readonly table: Table;
  /** How many keys there should be; undefined: this pass removes the others. */
  readonly expected: number | undefined;
  readonly isWanted: (key: Uint8Array) => boolean;
}

export interface SweepOptions {
  readonly staged: Staged;
  readonly checkpoint: Checkpoint;
  readonly nodeCounts: Readonly<Record<TreeTable, number>>;
  /** The first chunk of the log that is retained. */
  readonly firstChunk: number;
}

export class Sweep {
  readonly #staged: Staged;
  readonly #roots: Readonly<Record<TreeTable, Uint8Array>>;
  readonly #kept = new Map<string, Node>();
  readonly #passes: Pass[];
  /** The last key that was looked at in this pass. */
  #after: Uint8Array | undefined;
  #count = 0;
  #removed = 0;

  constructor({ staged, checkpoint, nodeCounts, firstChunk }: SweepOptions) {
    const { service, system, logSize } = checkpoint;
    this.#staged = staged;
    this.#roots = { service: digestBytes(service.root), system: digestBytes(system.root) };
    const log = { firstChunk, logSize };
    this.#passes = [{ table: 'log', expected: undefined, isWanted: (key) => isLogKey(key, log) }];
    for (const table of ['service', 'system'] as const) {
      const { entries } = checkpoint[table];
      this.#passes.push(
        { table, expected: entries, isWanted: (key) => this.#hasEntry(table, key) },
        { table: `${table}Nodes`, expected: nodeCounts[table], isWanted: (key) => this.#hasNode(table, key) },
      );
    }
  }

  get isDone(): boolean {
    return this.#passes.length === 0;
  }

  /** Goes on as far as the allowance goes. Throws `StateDamage` where the engine cannot be listed, or lacks what was written. */
  step(allowance: ReadAllowance): void {
    while (!this.isDone && !allowance.isSpent) {
      const [pass] = this.#passes as [Pass];
      if (!this.#goOn(pass, allowance)) continue;
      this.#passes.shift();
      const left = this.#count - this.#removed;
      if (pass.expected !== undefined && left < pass.expected) {
        throw new StateDamage(
          `The state has ${left} records in its table ${pass.table} where ${pass.expected} were written.`,
        );
      }
      if (pass.expected !== undefined && left > pass.expected) this.#passes.unshift({ ...pass, expected: undefined });
      this.#after = undefined;
      this.#count = 0;
      this.#removed = 0;
    }
  }

  /** True when the pass is over. */
  #goOn({ table, expected, isWanted }: Pass, allowance: ReadAllowance): boolean {
    const { start, end } = engineRange(table);
    // The first key after another one is the same with a zero behind it.
    const from = this.#after === undefined ? start : Buffer.concat([this.#after, Buffer.of(0)]);
    for (const key of this.#staged.view.keys({ start: from, end })) {
      this.#after = key;
      this.#count += 1;
      if (expected === undefined && !isWanted(key)) {
        this.#staged.change(key, undefined);
        this.#removed += 1;
      }
      allowance.take(key.length);
      if (allowance.isSpent) return false;
    }
    return true;
  }

  #hasEntry(table: TreeTable, key: Uint8Array): boolean {
    const keyHash = sha256Bytes(key.subarray(1));
    let hash = this.#roots[table];
    for (let path: StatePath = ''; ; ) {
      const node = this.#node(table, path, hash);
      if (node === undefined) return false;
      if (node.kind === 'bucket') return node.entries.some((entry) => Buffer.compare(entry.keyHash, keyHash) === 0);
      const nibble = nibbleAt(keyHash, path.length);
      const child = node.children[nibble];
      if (child === undefined) return false;
      path = childPath(path, nibble);
      hash = child.hash;
    }
  }

  #hasNode(table: TreeTable, key: Uint8Array): boolean {
    const digits = Buffer.from(key.subarray(2)).toString('hex').slice(0, key[1]);
    if (Buffer.compare(nodeKey(table, digits), key) !== 0) return false;
    let hash = this.#roots[table];
    for (let depth = 0; ; depth++) {
      const node = this.#node(table, digits.slice(0, depth), hash);
      if (node === undefined || depth === digits.length) return node !== undefined && node.entryCount > 0;
      const child = node.kind === 'inner' ? node.children[Number.parseInt(digits[depth] as string, 16)] : undefined;
      if (child === undefined) return false;
      hash = child.hash;
    }
  }

  #node(table: TreeTable, path: StatePath, hash: Uint8Array): Node | undefined {
    const place = `${table}/${path}`;
    const kept = this.#kept.get(place);
    if (kept !== undefined) return kept;
    const stored = this.#staged.view.get(nodeKey(table, path));
    const node = stored === undefined ? undefined : decodeNode(stored, hash);
    if (node !== undefined && path.length < keptDepth) this.#kept.set(place, node);
    return node;
  }
}
