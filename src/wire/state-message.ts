/**
 * State messages: how one replica gets a checkpoint from others, part by part (docs/protocol/state-transfer.md).
 *
 * All of them are questions, or answers that the asker holds against a checkpoint that the service signed: none carries authority.
 */
import type { Digest } from '../crypto/hash.ts';
import { serviceSignatureSizeBytes } from './duty.ts';
import { headSizeBytes } from './head.ts';
import { limits } from './limits.ts';
import { type Reader, WireError } from './reader.ts';
import type { Writer } from './writer.ts';

/** The two trees of a checkpoint. */
export const askedTables = ['service', 'system'] as const;
export type AskedTable = (typeof askedTables)[number];

export interface PartEntry {
  /** Bytes of a state key. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export type StatePart =
  /** The inner node under the path, as it is stored. */
  | { readonly kind: 'node'; readonly encoded: Uint8Array }
  /** All entries under the path. */
  | { readonly kind: 'entries'; readonly entries: readonly PartEntry[] }
  /** The sender does not have that checkpoint, or not any more. */
  | { readonly kind: 'gone' };

/** Which part of which checkpoint. */
export interface PartName {
  readonly checkpoint: Digest;
  readonly table: AskedTable;
  /** Nibbles in hex (`state/state-path.ts`). */
  readonly path: string;
}

export type StateMessage =
  /** Which stable checkpoint do you have? */
  | { readonly kind: 'checkpoint-ask' }
  /** The newest one that others may fetch here. */
  | {
      readonly kind: 'checkpoint-offer';
      readonly head: Uint8Array;
      readonly signature: Uint8Array;
      readonly checkpoint: Uint8Array;
    }
  /** Please send what is under this path. */
  | (PartName & {
      readonly kind: 'state-ask';
      /** Of the node there. */
      readonly hash: Digest;
      /** The asker has most of it: an inner node alone is wanted, however little is under it. */
      readonly nodeOnly: boolean;
    })
  | (PartName & { readonly kind: 'state-part'; readonly part: StatePart })
  /** Please send a chunk of the log's leaf hashes. */
  | { readonly kind: 'log-ask'; readonly checkpoint: Digest; readonly chunk: number }
  /** No leaves: the sender does not have them, or not any more. */
  | {
      readonly kind: 'log-part';
      readonly checkpoint: Digest;
      readonly chunk: number;
      readonly leaves: Uint8Array;
      readonly path: readonly Digest[];
    };

export const stateMessageKinds = {
  'checkpoint-ask': 8,
  'checkpoint-offer': 9,
  'state-ask': 10,
  'state-part': 11,
  'log-ask': 12,
  'log-part': 13,
} as const satisfies Readonly<Record<StateMessage['kind'], number>>;

const partKinds = { node: 0, entries: 1, gone: 2 } as const;
const nibblesMax = 64;
const leafSizeBytes = 32;

/** Everything behind the kind. */
export function writeStateMessage(writer: Writer, message: StateMessage): void {
  switch (message.kind) {
    case 'checkpoint-ask':
      return;
    case 'checkpoint-offer':
      writer.fixed(message.head, headSizeBytes).fixed(message.signature, serviceSignatureSizeBytes);
      writer.bytes(message.checkpoint);
      return;
    case 'state-ask':
      writePartName(writer, message);
      writer.digest(message.hash).u8(message.nodeOnly ? 1 : 0);
      return;
    case 'state-part':
      writePartName(writer, message);
      writePart(writer, message.part);
      return;
    case 'log-ask':
      writer.digest(message.checkpoint).u64(message.chunk);
      return;
    case 'log-part':
      writer.digest(message.checkpoint).u64(message.chunk).bytes(message.leaves).u8(message.path.length);
      for (const digest of message.path) writer.digest(digest);
  }
}

/** Is an encoded peer message one of these, by its own word? */
export function isStateFrame(frame: Uint8Array): boolean {
  const kind = frame[0] ?? 0;
  return kind >= stateMessageKinds['checkpoint-ask'] && kind <= stateMessageKinds['log-part'];
}

/** Undefined when the number is of no state message. Throws `WireError`. */
export function readStateMessage(kind: number, reader: Reader): StateMessage | undefined {
  switch (kind) {
    case stateMessageKinds['checkpoint-ask']:
      return { kind: 'checkpoint-ask' };
    case stateMessageKinds['checkpoint-offer']: {
      const head = reader.fixed(headSizeBytes, 'head');
      const signature = reader.fixed(serviceSignatureSizeBytes, 'signature');
      const checkpoint = reader.bytes(limits.checkpointEncodedSizeBytesMax, 'checkpoint');
      return { kind: 'checkpoint-offer', head, signature, checkpoint };
    }
    case stateMessageKinds['state-ask']: {
      const name = readPartName(reader);
      const hash = reader.digest('hash');
      return { kind: 'state-ask', ...name, hash, nodeOnly: readFlag(reader, 'node only') };
    }
    case stateMessageKinds['state-part']:
      return { kind: 'state-part', ...readPartName(reader), part: readPart(reader) };
    case stateMessageKinds['log-ask']:
      return { kind: 'log-ask', checkpoint: reader.digest('checkpoint'), chunk: reader.u64('chunk') };
    case stateMessageKinds['log-part']: {
      const checkpoint = reader.digest('checkpoint');
      const chunk = reader.u64('chunk');
      const leaves = reader.bytes(limits.logChunkSizeBytesMax, 'leaves');
      if (leaves.length % leafSizeBytes !== 0) throw new WireError('leaves: not whole');
      const count = reader.count(reader.u8('path'), limits.proofHashesMax, leafSizeBytes, 'path');
      const path = Array.from({ length: count }, () => reader.digest('path'));
      return { kind: 'log-part', checkpoint, chunk, leaves, path };
    }
    default:
      return undefined;
  }
}

function writePartName(writer: Writer, { checkpoint, table, path }: PartName): void {
  if (path.length > nibblesMax || !/^[0-9a-f]*$/.test(path)) throw new RangeError(`not a path: ${path}`);
  writer.digest(checkpoint).u8(askedTables.indexOf(table)).u8(path.length);
  for (let i = 0; i < path.length; i += 2) writer.u8(Number.parseInt(path.slice(i, i + 2).padEnd(2, '0'), 16));
}

function readPartName(reader: Reader): PartName {
  const checkpoint = reader.digest('checkpoint');
  const table = askedTables[reader.u8('table')];
  if (table === undefined) throw new WireError('table: unknown');
  const length = reader.u8('path');
  if (length > nibblesMax) throw new WireError(`path: ${length} nibbles, more than ${nibblesMax}`);
  let path = '';
  for (let i = 0; i < length; i += 2) path += reader.u8('path').toString(16).padStart(2, '0');
  if (path.length > length && !path.endsWith('0')) throw new WireError('path: a nibble after its end');
  return { checkpoint, table, path: path.slice(0, length) };
}

function writePart(writer: Writer, part: StatePart): void {
  writer.u8(partKinds[part.kind]);
  if (part.kind === 'node') writer.bytes(part.encoded);
  if (part.kind !== 'entries') return;
  writer.u32(part.entries.length);
  for (const { key, value } of part.entries) writer.bytes(key).bytes(value);
}

function readPart(reader: Reader): StatePart {
  const kind = reader.u8('part');
  switch (kind) {
    case partKinds.gone:
      return { kind: 'gone' };
    case partKinds.node:
      return { kind: 'node', encoded: reader.bytes(limits.stateNodeSizeBytesMax, 'node') };
    case partKinds.entries: {
      // Each takes at least the two lengths.
      const count = reader.count(reader.u32('entries'), limits.statePartEntriesMax, 8, 'entries');
      const entries: PartEntry[] = [];
      for (let i = 0; i < count; i++) {
        const key = reader.bytes(limits.engineKeySizeBytesMax, 'key');
        entries.push({ key, value: reader.bytes(limits.engineValueSizeBytesMax, 'value') });
      }
      return { kind: 'entries', entries };
    }
    default:
      throw new WireError(`part: ${kind} is unknown`);
  }
}

function readFlag(reader: Reader, what: string): boolean {
  const byte = reader.u8(what);
  if (byte > 1) throw new WireError(`${what}: neither 0 nor 1`);
  return byte === 1;
}
