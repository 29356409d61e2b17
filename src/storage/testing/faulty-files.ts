/**
 * Faulty files: a file system in memory that fails or crashes at the Nth write or fsync, and knows what a crash loses.
 *
 * Contents and names are durable only once synced. A failed fsync drops what it should have written, and the next one
 * succeeds all the same, as real kernels do. Reading never fails. Only tests use it.
 */
import { basename, dirname } from 'node:path';
import type { FileSystem, OpenFile, OpenMode, PathDescription } from '../../platform/files.ts';

export type Fault =
  | { readonly kind: 'none' }
  /** The Nth step, counted from 1, rejects with this code; the machine goes on. */
  | { readonly kind: 'fail'; readonly step: number; readonly code: 'EIO' | 'ENOSPC' }
  /** Power goes during the Nth step; nothing works afterwards. */
  | { readonly kind: 'crash'; readonly step: number };

/** What becomes of writes that were not synced. `cut` keeps that many bytes of the last; `sectors` those it says yes to. */
export type Unsynced =
  | { readonly kind: 'drop' }
  | { readonly kind: 'keep' }
  | { readonly kind: 'cut'; readonly keptSizeBytes: number }
  | { readonly kind: 'sectors'; readonly isKept: (sector: number) => boolean };

type Pending =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly sizeBytes: number };

interface FileNode {
  readonly kind: 'file';
  now: Buffer;
  durable: Buffer;
  pending: Pending[];
}

interface DirectoryNode {
  readonly kind: 'directory';
  now: Map<string, Node>;
  durable: Map<string, Node>;
}

type Node = FileNode | DirectoryNode;

const sectorSizeBytes = 512;

export class PowerLoss extends Error {}

export class FaultyFiles implements FileSystem {
  readonly #root: DirectoryNode;
  readonly #fault: Fault;
  /** Writes, syncs and changes of names so far. */
  steps = 0;
  #isDown = false;

  constructor(fault: Fault = { kind: 'none' }, root: DirectoryNode = directoryOf(new Map())) {
    this.#fault = fault;
    this.#root = root;
  }

  /** The machine after a crash at this moment, with a fault of its own to come. */
  restart(unsynced: Unsynced, fault: Fault = { kind: 'none' }): FaultyFiles {
    return new FaultyFiles(fault, surviving(this.#root, unsynced) as DirectoryNode);
  }

  /** Size of the last write that no sync has covered; 0 when there is none. */
  get unsyncedSizeBytes(): number {
    const sizes = [...filesOf(this.#root)].map(({ pending }) => {
      const last = pending.at(-1);
      return last?.kind === 'write' ? last.bytes.length : 0;
    });
    return Math.max(0, ...sizes);
  }

  /** The bytes of a file, to be damaged in place. */
  contents(path: string): Buffer {
    const node = this.#find(path);
    if (node?.kind !== 'file') throw failure('ENOENT');
    return node.now;
  }

  /** Puts a file in place, durably. */
  place(path: string, bytes: Uint8Array): void {
    const file: FileNode = { kind: 'file', now: Buffer.from(bytes), durable: Buffer.from(bytes), pending: [] };
    const parent = this.#directory(dirname(path));
    parent.now.set(basename(path), file);
    parent.durable.set(basename(path), file);
  }

  async open(path: string, mode: OpenMode): Promise<OpenFile> {
    this.#checkPower();
    let node = this.#find(path);
    if (mode === 'create') {
      if (node !== undefined) throw failure('EEXIST');
      this.#step();
      node = { kind: 'file', now: Buffer.alloc(0), durable: Buffer.alloc(0), pending: [] };
      this.#directory(dirname(path)).now.set(basename(path), node);
    }
    if (node?.kind !== 'file') throw failure(node === undefined ? 'ENOENT' : 'EISDIR');
    return this.#openFile(node);
  }

  async list(directory: string): Promise<readonly string[]> {
    this.#checkPower();
    return [...this.#directory(directory).now.keys()];
  }

  async describe(path: string): Promise<PathDescription | undefined> {
    this.#checkPower();
    const node = this.#find(path);
    if (node === undefined) return undefined;
    return node.kind === 'file'
      ? { kind: 'file', permissions: 0o600, sizeBytes: node.now.length }
      : { kind: 'directory', permissions: 0o700, sizeBytes: 0 };
  }

  async mkdir(path: string): Promise<void> {
    this.#checkPower();
    if (this.#find(path) !== undefined) throw failure('EEXIST');
    const parent = this.#directory(dirname(path));
    this.#step();
    parent.now.set(basename(path), directoryOf(new Map()));
  }

  async rename(from: string, to: string): Promise<void> {
    this.#checkPower();
    const node = this.#find(from);
    if (node === undefined) throw failure('ENOENT');
    const replaced = this.#find(to);
    if (replaced?.kind === 'directory' && replaced.now.size > 0) throw failure('ENOTEMPTY');
    this.#step();
    this.#directory(dirname(from)).now.delete(basename(from));
    this.#directory(dirname(to)).now.set(basename(to), node);
  }

  async remove(path: string): Promise<void> {
    this.#checkPower();
    this.#step();
    this.#directory(dirname(path)).now.delete(basename(path));
  }

  async fsyncDirectory(path: string): Promise<void> {
    this.#checkPower();
    const directory = this.#directory(path);
    this.#step();
    directory.durable = new Map(directory.now);
  }

  /** A disk that fills up is a fault, not a size. */
  async freeSizeBytes(): Promise<number> {
    this.#checkPower();
    return Number.MAX_SAFE_INTEGER;
  }

  #openFile(node: FileNode): OpenFile {
    return {
      pread: async (into, position) => {
        this.#checkPower();
        return position < node.now.length ? node.now.copy(into, 0, position, position + into.length) : 0;
      },
      pwrite: async (bytes, offset) => {
        this.#checkPower();
        const write = { kind: 'write', offset, bytes: Uint8Array.from(bytes) } as const;
        this.#step(() => {
          const half = { ...write, bytes: write.bytes.subarray(0, bytes.length >> 1) };
          change(node, this.#isDown ? write : half);
        });
        change(node, write);
      },
      fdatasync: async () => {
        this.#checkPower();
        this.#step(() => {
          if (!this.#isDown) node.pending = [];
        });
        for (const pending of node.pending) node.durable = applied(node.durable, pending);
        node.pending = [];
      },
      truncate: async (sizeBytes) => {
        this.#checkPower();
        this.#step();
        change(node, { kind: 'truncate', sizeBytes });
      },
      sizeBytes: async () => node.now.length,
      close: async () => {},
    };
  }

  /** Counts a step; when it is the one, lets `undone` say what it leaves behind, and throws. */
  #step(undone: () => void = () => {}): void {
    this.steps += 1;
    const fault = this.#fault;
    if (fault.kind === 'none' || fault.step !== this.steps) return;
    this.#isDown = fault.kind === 'crash';
    undone();
    throw fault.kind === 'crash' ? new PowerLoss('power loss') : failure(fault.code);
  }

  #checkPower(): void {
    if (this.#isDown) throw new PowerLoss('power loss');
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of path.split('/').filter((part) => part !== '' && part !== '.')) {
      if (node?.kind !== 'directory') return undefined;
      node = node.now.get(name);
    }
    return node;
  }

  #directory(path: string): DirectoryNode {
    const node = this.#find(path);
    if (node?.kind !== 'directory') throw failure(node === undefined ? 'ENOENT' : 'ENOTDIR');
    return node;
  }
}

function directoryOf(names: Map<string, Node>): DirectoryNode {
  return { kind: 'directory', now: names, durable: new Map(names) };
}

function change(node: FileNode, pending: Pending): void {
  node.now = applied(node.now, pending);
  node.pending.push(pending);
}

function applied(content: Buffer, pending: Pending): Buffer {
  const sizeBytes =
    pending.kind === 'truncate' ? pending.sizeBytes : Math.max(content.length, pending.offset + pending.bytes.length);
  const changed = Buffer.alloc(sizeBytes);
  content.copy(changed);
  if (pending.kind === 'write') changed.set(pending.bytes, pending.offset);
  return changed;
}

function surviving(node: Node, unsynced: Unsynced): Node {
  if (node.kind === 'directory') {
    const names = unsynced.kind === 'drop' ? node.durable : node.now;
    return directoryOf(new Map([...names].map(([name, child]) => [name, surviving(child, unsynced)])));
  }
  let content = node.durable;
  for (const [i, pending] of node.pending.entries()) {
    if (unsynced.kind === 'drop') break;
    const isLast = i === node.pending.length - 1;
    if (isLast && pending.kind === 'write') {
      for (const part of survivingParts(pending, unsynced)) content = applied(content, part);
    } else content = applied(content, pending);
  }
  return { kind: 'file', now: Buffer.from(content), durable: Buffer.from(content), pending: [] };
}

function survivingParts(write: Extract<Pending, { readonly kind: 'write' }>, unsynced: Unsynced): readonly Pending[] {
  if (unsynced.kind === 'cut') return [{ ...write, bytes: write.bytes.subarray(0, unsynced.keptSizeBytes) }];
  if (unsynced.kind !== 'sectors') return [write];
  // The file has its new length whichever sectors made it.
  const end = write.offset + write.bytes.length;
  const parts: Pending[] = [{ kind: 'write', offset: end, bytes: new Uint8Array(0) }];
  for (let at = write.offset; at < end; ) {
    const next = Math.min((Math.floor(at / sectorSizeBytes) + 1) * sectorSizeBytes, end);
    const bytes = write.bytes.subarray(at - write.offset, next - write.offset);
    if (unsynced.isKept(Math.floor(at / sectorSizeBytes))) parts.push({ kind: 'write', offset: at, bytes });
    at = next;
  }
  return parts;
}

function* filesOf(node: Node): Generator<FileNode> {
  if (node.kind === 'file') yield node;
  else for (const child of node.now.values()) yield* filesOf(child);
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}
