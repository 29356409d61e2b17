/**
 * Engine notes: what a replica writes beside the checkpoint that its engine holds, in the same transaction: the checkpoint
 * itself, and where its own log goes on after it.
 *
 * Owns nothing. What cannot be read is damage: these bytes are our own.
 */
import type { Digest } from '../crypto/hash.ts';
import { type Change, StateDamage, type StateView } from '../state/engine.ts';
import { engineKey } from '../state/tables.ts';
import { decodeBlock } from '../wire/block.ts';
import { type Checkpoint, checkpointDigest, decodeCheckpoint } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { serviceSignatureSizeBytes } from '../wire/duty.ts';
import { decodeHead, encodeHead, headSizeBytes } from '../wire/head.ts';
import { decode } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';

const encoder = new TextEncoder();
const keyOf = (name: string): Uint8Array => engineKey('notes', encoder.encode(name));

const keys = {
  checkpoint: keyOf('checkpoint'),
  head: keyOf('head'),
  logPosition: keyOf('log-position'),
  ownBlock: keyOf('own-block'),
  transferring: keyOf('transferring'),
} as const;

/** A checkpoint with its bytes and their digest. */
export interface KnownCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly encoded: Uint8Array;
  readonly digest: Digest;
}

/** What the engine holds, whole. */
export interface StoredCheckpoint extends KnownCheckpoint {
  /** Position in our log from which on the blocks above the checkpoint's horizon stand. */
  readonly logPosition: number;
  /** Our last own block, when it is below the horizon and so not to be looked for in the log. */
  readonly ownBlock: Uint8Array | undefined;
  /** A certified head that carries its digest, once there was one. */
  readonly head: CertifiedHead | undefined;
}

/** The checkpoint that the engine holds; undefined when it holds none, or not all of one. Throws `StateDamage`. */
export function readStored(view: StateView): StoredCheckpoint | undefined {
  const encoded = view.get(keys.checkpoint);
  if (encoded === undefined || isTransferring(view)) return undefined;
  const decoded = decodeCheckpoint(encoded);
  if (!decoded.ok) throw new StateDamage(`The checkpoint in the state is malformed: ${decoded.reason}.`);
  const position = view.get(keys.logPosition);
  const logPosition = position === undefined ? undefined : decode(position, (reader) => reader.u64('position'));
  if (logPosition?.ok !== true) throw new StateDamage('The state does not say where the log goes on.');
  const digest = checkpointDigest(encoded);
  const head = readHead(view);
  return {
    checkpoint: decoded.value,
    encoded,
    digest,
    logPosition: logPosition.value,
    ownBlock: readOwnBlock(view),
    head: head?.head.checkpoint === digest ? head : undefined,
  };
}

/** A state transfer was begun and has not ended: entries of several checkpoints lie side by side. */
export function isTransferring(view: StateView): boolean {
  return view.get(keys.transferring) !== undefined;
}

/** Our last own block as of the last checkpoint here, when there was a need to note it. Throws `StateDamage`. */
function readOwnBlock(view: StateView): Uint8Array | undefined {
  return view.get(keys.ownBlock);
}

/** The same for a checkpoint that comes from others: in another epoch's DAG it is no block of ours any more. */
export function readOwnBlockIn(epoch: number, view: StateView): Uint8Array | undefined {
  const bytes = readOwnBlock(view);
  const block = bytes === undefined ? undefined : decodeBlock(bytes);
  return block?.ok === true && block.value.epoch === epoch ? bytes : undefined;
}

/** To be written with a checkpoint's own changes. */
export function checkpointNotes(stored: Omit<StoredCheckpoint, 'head' | 'checkpoint' | 'digest'>): readonly Change[] {
  return [
    { key: keys.checkpoint, value: stored.encoded },
    { key: keys.logPosition, value: new Writer(8).u64(stored.logPosition).finish() },
    { key: keys.ownBlock, value: stored.ownBlock },
    { key: keys.head, value: undefined },
    { key: keys.transferring, value: undefined },
  ];
}

export function headNote({ head, signature }: CertifiedHead): Change {
  const value = new Writer(headSizeBytes + serviceSignatureSizeBytes).fixed(encodeHead(head)).fixed(signature).finish();
  return { key: keys.head, value };
}

/** Says that what the engine holds is not one checkpoint until the next one's notes are written. */
export function transferringNote(): Change {
  return { key: keys.transferring, value: Uint8Array.of(1) };
}

function readHead(view: StateView): CertifiedHead | undefined {
  const bytes = view.get(keys.head);
  if (bytes === undefined) return undefined;
  const head = decodeHead(bytes.subarray(0, headSizeBytes));
  if (head === undefined || bytes.length !== headSizeBytes + serviceSignatureSizeBytes) {
    throw new StateDamage('The certified head in the state is malformed.');
  }
  return { head, signature: bytes.subarray(headSizeBytes) };
}
