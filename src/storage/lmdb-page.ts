/**
 * Lmdb page: the bytes of one page of an lmdb file, taken apart without trust in any of them.
 *
 * Source: `mdb.c` of lmdb-js 3.5, data version 2, on a machine that puts the low byte first.
 */
const headerSizeBytes = 24;
const nodeHeaderSizeBytes = 8;
const overflowPointerSizeBytes = 24;
const keySizeBytesMax = 1978;
const magic = 0xbeefc0de;
const version = 2;
const depthMax = 32;

const flagsOf = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 } as const;
/** Of the tree of free pages: keys are numbers, and the file stands in no directory of its own. */
const freeTreeFlags = 0x4008;
const entriesTreeFlags = 0;
const bigDataFlag = 0x01;
const noPage = 2 ** 64;

/** What the keys of a tree are: bytes, or numbers of 8 bytes. */
export type KeyKind = 'bytes' | 'numbers';
export type PageKind = 'branch' | 'leaf';

export interface Tree {
  readonly keys: KeyKind;
  readonly compare: (a: Uint8Array, b: Uint8Array) => number;
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  readonly root: number;
}

export interface Meta {
  /** And whole otherwise. */
  readonly isOfThisVersion: boolean;
  readonly isOfOtherVersion: boolean;
  readonly page: number;
  readonly headerSizeBytes: number;
  readonly pageSizeBytes: number;
  readonly free: Tree;
  readonly entries: Tree;
  readonly lastPage: number;
  /** lmdb's number of the transaction that wrote it. */
  readonly commit: number;
}

export const metaSizeBytes = headerSizeBytes + 144;

export function readMeta(bytes: Buffer): Meta {
  const trees = [
    readTree(bytes, headerSizeBytes + 24, 'numbers'),
    readTree(bytes, headerSizeBytes + 72, 'bytes'),
  ] as const;
  const hasFlags =
    bytes.readUInt16LE(headerSizeBytes + 28) === freeTreeFlags &&
    bytes.readUInt16LE(headerSizeBytes + 76) === entriesTreeFlags;
  const isMeta = bytes.readUInt16LE(18) === flagsOf.meta && bytes.readUInt32LE(headerSizeBytes) === magic;
  const found = bytes.readUInt32LE(headerSizeBytes + 4);
  const areTrees = trees.every((tree) => tree.depth <= depthMax && (tree.depth === 0) === (tree.root === noPage));
  return {
    isOfThisVersion: isMeta && hasFlags && areTrees && found === version,
    isOfOtherVersion: isMeta && found !== version,
    page: number64(bytes, 0),
    headerSizeBytes,
    pageSizeBytes: bytes.readUInt32LE(headerSizeBytes + 24),
    free: trees[0],
    entries: trees[1],
    lastPage: number64(bytes, headerSizeBytes + 120),
    commit: number64(bytes, headerSizeBytes + 128),
  };
}

function readTree(bytes: Buffer, position: number, keys: KeyKind): Tree {
  return {
    keys,
    compare: keys === 'bytes' ? Buffer.compare : byNumber,
    depth: bytes.readUInt16LE(position + 6),
    branchPages: number64(bytes, position + 8),
    leafPages: number64(bytes, position + 16),
    overflowPages: number64(bytes, position + 24),
    entries: number64(bytes, position + 32),
    root: number64(bytes, position + 40),
  };
}

export interface Node {
  readonly key: Uint8Array;
  /** The page of a child, or the size of the data. */
  readonly number: number;
  readonly data: Uint8Array;
  /** Where the data is, when it has pages of its own. */
  readonly overflow: { readonly page: number; readonly pages: number } | undefined;
}

const nothing = new Uint8Array();

/** What a page of a tree holds, in views of a copy for branches; undefined when it cannot be what it should. */
export function nodesOf(
  page: Buffer,
  expected: { readonly kind: PageKind; readonly page: number; readonly lastCommit: number; readonly keys: KeyKind },
): readonly Node[] | undefined {
  const isBranch = expected.kind === 'branch';
  // Keys of a branch are kept until all below it is read.
  const bytes = isBranch ? Buffer.from(page) : page;
  const lower = bytes.readUInt16LE(20);
  const upper = bytes.readUInt16LE(22);
  const room = bytes.length - headerSizeBytes;
  const isPage =
    number64(bytes, 0) === expected.page &&
    number64(bytes, 8) <= expected.lastCommit &&
    bytes.readUInt16LE(18) === flagsOf[expected.kind] &&
    lower % 2 === 0 &&
    lower >= 2 &&
    lower <= upper &&
    upper <= room;
  if (!isPage) return undefined;
  const nodes: Node[] = [];
  let usedSizeBytes = 0;
  for (let slot = 0; slot < lower; slot += 2) {
    const offset = bytes.readUInt16LE(headerSizeBytes + slot);
    if (offset % 2 !== 0 || offset < upper || offset + nodeHeaderSizeBytes > room) return undefined;
    const position = headerSizeBytes + offset;
    const flags = bytes.readUInt16LE(position + 4);
    const keySizeBytes = bytes.readUInt16LE(position + 6);
    const number = bytes.readUInt32LE(position) + (isBranch ? flags * 2 ** 32 : 0);
    const isBig = !isBranch && flags === bigDataFlag;
    if (!isBranch && flags !== 0 && !isBig) return undefined;
    if (!isKeySize(keySizeBytes, expected.keys, isBranch && slot === 0)) return undefined;
    const dataSizeBytes = isBranch ? 0 : isBig ? overflowPointerSizeBytes : number;
    const begin = position + nodeHeaderSizeBytes;
    const end = begin + keySizeBytes + dataSizeBytes;
    if (end > bytes.length) return undefined;
    usedSizeBytes += end - position + ((end - position) % 2);
    const data = begin + keySizeBytes;
    nodes.push({
      key: bytes.subarray(begin, data),
      number,
      data: expected.keys === 'numbers' && !isBranch ? bytes.subarray(data, end) : nothing,
      overflow: isBig ? { page: number64(bytes, data), pages: number64(bytes, data + 16) } : undefined,
    });
  }
  // Nodes stand close together at the end of the page: any that is longer, shorter or elsewhere leaves a sum that differs.
  return usedSizeBytes === room - upper ? nodes : undefined;
}

function isKeySize(sizeBytes: number, keys: KeyKind, isFirstOfBranch: boolean): boolean {
  if (isFirstOfBranch && sizeBytes === 0) return true;
  return keys === 'numbers' ? sizeBytes === 8 : sizeBytes >= 1 && sizeBytes <= keySizeBytesMax;
}

/** Is it the first of so many pages that hold one value? */
export function readOverflow(bytes: Buffer, page: number, pages: number): boolean {
  return number64(bytes, 0) === page && bytes.readUInt16LE(18) === flagsOf.overflow && bytes.readUInt32LE(20) === pages;
}

/** Pages that a value of this size takes. */
export function overflowPages(sizeBytes: number, pageSizeBytes: number): number {
  return Math.floor((headerSizeBytes - 1 + sizeBytes) / pageSizeBytes) + 1;
}

/** Exact below 2^53, and far above every number that may be where it is not. */
function number64(bytes: Buffer, position: number): number {
  return bytes.readUInt32LE(position) + bytes.readUInt32LE(position + 4) * 2 ** 32;
}

function byNumber(a: Uint8Array, b: Uint8Array): number {
  const [left, right] = [a, b].map((each) => Buffer.from(each.buffer, each.byteOffset, each.length).readBigUInt64LE(0));
  return left! < right! ? -1 : left! > right! ? 1 : 0;
}
