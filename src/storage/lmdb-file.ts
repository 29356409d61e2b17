/**
 * Lmdb file: is the structure of one whole, before lmdb itself looks at it?
 *
 * lmdb trusts its pages: a flipped bit in one of them ends the process, or lets it write where it should not, at once or
 * later. So every page that it would follow is looked at here first, and must say what the others say of it: who it is,
 * how much it holds, keys in order and between those of its parent, each page in one place, free ones in none.
 * In: a file that nobody has open. Out: `StateDamage`, or nothing. What is in the values is not looked at: their checksums
 * tell, and the state's tree.
 * Source: `mdb.c` of lmdb-js 3.5, data version 2.
 */
import { endianness } from 'node:os';
import type { FileSystem, OpenFile } from '../platform/files.ts';
import { StateDamage } from '../state/engine.ts';
import { limits } from '../wire/limits.ts';
import {
  type Meta,
  metaSizeBytes,
  type Node,
  nodesOf,
  overflowPages,
  type PageKind,
  readMeta,
  readOverflow,
  type Tree,
} from './lmdb-page.ts';
import { StorageError } from './storage-error.ts';

/** Read at once: pages of one level of a tree are read in the order of the file, so that it is read about once. */
const blockSizeBytes = 1024 * 1024;
const pageSizeBytesMin = 512;
const pageSizeBytesMax = 65_536;

/** A page that another one leads to, and between which keys its own must be: `low` inclusive, `high` exclusive. */
interface Child {
  readonly page: number;
  readonly low: Uint8Array | undefined;
  readonly high: Uint8Array | undefined;
}

interface Overflow {
  readonly page: number;
  readonly pages: number;
  readonly sizeBytes: number;
}

/** Rejects with `StateDamage` when the file is not one that lmdb can be trusted with, `state-version` when it is of another. */
export async function checkLmdbFile(files: FileSystem, path: string): Promise<void> {
  if (endianness() !== 'LE') return;
  const file = await files.open(path, 'read');
  try {
    const damage = (what: string): StateDamage => new StateDamage(`${path} is damaged: ${what}.`);
    const meta = await readNewestMeta(file, path, damage);
    if (meta !== undefined) await new LmdbFile(file, meta, damage).check();
  } finally {
    await file.close();
  }
}

type Damage = (what: string) => StateDamage;

/**
 * Of the last commit; undefined for an empty file. Another version is not taken for damage: with a new lmdb all replicas
 * would throw all away, and one bit is never in both pages.
 */
async function readNewestMeta(file: OpenFile, path: string, damage: Damage): Promise<Meta | undefined> {
  if ((await file.sizeBytes()) === 0) return undefined;
  const read = async (position: number): Promise<Meta> => {
    const bytes = Buffer.alloc(metaSizeBytes);
    if ((await file.pread(bytes, position)) < bytes.length) throw damage('it ends in its first pages');
    return readMeta(bytes);
  };
  const first = await read(0);
  const { pageSizeBytes } = first;
  const isPower = (pageSizeBytes & (pageSizeBytes - 1)) === 0;
  if (!isPower || pageSizeBytes < pageSizeBytesMin || pageSizeBytes > pageSizeBytesMax) {
    throw damage('its pages have no size that pages have');
  }
  const second = await read(pageSizeBytes);
  if (!first.isOfThisVersion && !second.isOfThisVersion && first.isOfOtherVersion && second.isOfOtherVersion) {
    throw new StorageError(
      'state-version',
      `${path} was written by another version of lmdb.`,
      'Use the version of Coterie that wrote it. Or remove it, so that the replica fetches its state from the others: on one replica at a time, never on several at once.',
    );
  }
  const metas = [first, second];
  for (const [page, meta] of metas.entries()) {
    const isSound = meta.isOfThisVersion && meta.page === page && meta.pageSizeBytes === pageSizeBytes;
    // Commits write them in turn.
    if (!isSound || (meta.commit !== 0 && meta.commit % 2 !== page))
      throw damage(`its page ${page} is not the first or second of a file`);
  }
  const [older, newer] = first.commit < second.commit ? [first, second] : [second, first];
  if (newer.commit - older.commit > 1) throw damage('its first two pages are not of two commits in a row');
  if (!(newer.lastPage * pageSizeBytes < 2 * limits.engineMapSizeBytes))
    throw damage('it has more pages than there can be');
  return newer;
}

class LmdbFile {
  readonly #file: OpenFile;
  readonly #meta: Meta;
  readonly #damage: Damage;
  /** A bit for each page that is in use or free. */
  readonly #claimed: Uint8Array;
  #highest = 0;

  constructor(file: OpenFile, meta: Meta, damage: Damage) {
    this.#file = file;
    this.#meta = meta;
    this.#damage = damage;
    this.#claimed = new Uint8Array((meta.lastPage >>> 3) + 1);
    this.#claim(0, 2, 0);
  }

  async check(): Promise<void> {
    const records: Uint8Array[] = [];
    await this.#checkTree(this.#meta.entries, () => {});
    await this.#checkTree(this.#meta.free, (record) => records.push(record));
    for (const record of records) this.#checkFree(record);
    // A page may be lost to all lists; as many as there are others are not.
    if (this.#meta.lastPage > 2 * this.#highest + 1_024) throw this.#damage('it has more pages than it uses');
  }

  /** `onData` gets the data of a tree of free pages. */
  async #checkTree(tree: Tree, onData: (data: Uint8Array) => void): Promise<void> {
    const overflows: Overflow[] = [];
    const found = { branches: 0, leaves: 0, overflowPages: 0, entries: 0 };
    let level: Child[] = tree.depth === 0 ? [] : [{ page: tree.root, low: undefined, high: undefined }];
    for (let depth = 1; depth <= tree.depth; depth++) {
      const kind: PageKind = depth < tree.depth ? 'branch' : 'leaf';
      const below: Child[] = [];
      for (const { page } of level) this.#claim(page, 1);
      for await (const [bytes, child] of this.#pages(level)) {
        const nodes = nodesOf(bytes, { kind, page: child.page, lastCommit: this.#meta.commit, keys: tree.keys });
        if (nodes === undefined) throw this.#damage(`its page ${child.page} is not what such a page is`);
        this.#checkKeys(nodes, tree, child, kind);
        if (kind === 'branch') {
          found.branches++;
          for (const [i, { key, number }] of nodes.entries()) {
            below.push({ page: number, low: i === 0 ? child.low : key, high: nodes[i + 1]?.key ?? child.high });
          }
          continue;
        }
        found.leaves++;
        found.entries += nodes.length;
        for (const { number, overflow, data } of nodes) {
          if (overflow !== undefined) overflows.push({ ...overflow, sizeBytes: number });
          // The page it lies in is about to be overwritten by the next one.
          else if (tree.keys === 'numbers') onData(Uint8Array.from(data));
        }
      }
      level = below;
    }
    for (const { page, pages } of overflows) {
      this.#claim(page, pages);
      found.overflowPages += pages;
    }
    await this.#checkOverflows(overflows, tree, onData);
    const isAsSaid =
      found.branches === tree.branchPages &&
      found.leaves === tree.leafPages &&
      found.overflowPages === tree.overflowPages &&
      found.entries === tree.entries;
    if (!isAsSaid) throw this.#damage('it does not hold as much as it says');
  }

  #checkKeys(nodes: readonly Node[], tree: Tree, { low, high }: Child, kind: PageKind): void {
    // The first key of a branch says nothing: everything below the second one is there.
    const keys = nodes.slice(kind === 'branch' ? 1 : 0).map(({ key }) => key);
    let before = low;
    for (const [i, key] of keys.entries()) {
      const order = before === undefined ? 1 : tree.compare(key, before);
      if (order < 0 || (order === 0 && (i > 0 || kind === 'branch'))) throw this.#damage('its keys are not in order');
      before = key;
    }
    if (high !== undefined && before !== undefined && tree.compare(before, high) >= 0) {
      throw this.#damage('its keys are not in order');
    }
  }

  async #checkOverflows(overflows: readonly Overflow[], tree: Tree, onData: (data: Uint8Array) => void): Promise<void> {
    for await (const [bytes, { page, pages, sizeBytes }] of this.#pages(overflows)) {
      // More than it needs when a larger value was written under its key in the same transaction before.
      const isWhole = readOverflow(bytes, page, pages) && pages >= overflowPages(sizeBytes, this.#meta.pageSizeBytes);
      if (!isWhole) throw this.#damage(`its page ${page} is not what such a page is`);
    }
    if (tree.keys !== 'numbers') return;
    for (const { page, sizeBytes } of overflows) {
      const data = Buffer.alloc(sizeBytes);
      const position = page * this.#meta.pageSizeBytes + this.#meta.headerSizeBytes;
      if ((await this.#file.pread(data, position)) < sizeBytes) throw this.#damage('it ends too early');
      onData(data);
    }
  }

  /** A number of numbers, and these: a page, or a negative number of pages and the first of them, or zero for none. */
  #checkFree(record: Uint8Array): void {
    const data = Buffer.from(record.buffer, record.byteOffset, record.length);
    const count = data.length < 8 ? -1 : Number(data.readBigInt64LE(0));
    if (count < 0 || 8 * (count + 1) > data.length)
      throw this.#damage('its free pages are not listed as they should be');
    for (let i = 1; i <= count; i++) {
      const number = Number(data.readBigInt64LE(8 * i));
      if (number === 0) continue;
      if (number > 0) this.#claim(number, 1);
      else if (++i <= count) this.#claim(Number(data.readBigInt64LE(8 * i)), -number);
    }
  }

  #claim(page: number, pages: number, firstPage = 2): void {
    if (!(page >= firstPage && pages >= 1 && page + pages - 1 <= this.#meta.lastPage)) {
      throw this.#damage(`its page ${page} cannot be there`);
    }
    this.#highest = Math.max(this.#highest, page + pages - 1);
    for (let each = page; each < page + pages; each++) {
      const bit = 1 << (each & 7);
      const byte = this.#claimed[each >>> 3]!;
      if ((byte & bit) !== 0) throw this.#damage(`its page ${each} is there twice`);
      this.#claimed[each >>> 3] = byte | bit;
    }
  }

  /** Pages with what led to them, in the order of the file. What comes is overwritten by the next one. */
  async *#pages<T extends { readonly page: number }>(wanted: readonly T[]): AsyncGenerator<[Buffer, T]> {
    const { pageSizeBytes } = this.#meta;
    const block = Buffer.alloc(Math.max(blockSizeBytes, pageSizeBytes));
    let begin = 0;
    let filled = 0;
    for (const each of wanted.toSorted((a, b) => a.page - b.page)) {
      const position = each.page * pageSizeBytes;
      if (position + pageSizeBytes > begin + filled) {
        begin = position;
        filled = await this.#file.pread(block, begin);
      }
      if (position + pageSizeBytes > begin + filled) throw this.#damage('it ends too early');
      yield [block.subarray(position - begin, position - begin + pageSizeBytes), each];
    }
  }
}
