/**
 * Adversary: what a faulty replica does in place of what it should do.
 *
 * A faulty replica runs the real machine with its real key, so that it is deep in the protocol when it misbehaves; the
 * adversary stands between that machine and the network and changes, drops or adds what it likes. One strategy a file.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import type { Reply } from '../../src/execution/execution.ts';
import type { Membership } from '../../src/membership/membership.ts';
import { type Block, type BlockContent, decodeBlock, encodeBlock } from '../../src/wire/block.ts';
import { decodePeerMessage, encodePeerMessage, type PeerMessage } from '../../src/wire/peer-message.ts';
import type { Prng } from '../prng.ts';
import type { MachineOptions } from '../simulated-machine.ts';

export interface Outgoing {
  readonly to: number;
  readonly frame: Uint8Array;
}

/** What an adversary works with. */
export interface Accomplice {
  readonly membership: Membership;
  readonly self: number;
  readonly prng: Prng;
  /** Signs the digest of a block with the replica's real key. */
  readonly sign: (digest: Digest) => Uint8Array;
}

export interface Adversary {
  readonly name: string;
  /** The machine wants to send this; what goes out instead. */
  outgoing(message: PeerMessage, to: number): readonly Outgoing[];
  /** A message came in; what is sent at once because of it. False in `pass` keeps it from the machine. */
  incoming?(message: PeerMessage, from: number): { readonly pass: boolean; readonly send: readonly Outgoing[] };
  /** What its machine is made of; what it is made of instead. */
  tamper?(options: MachineOptions): MachineOptions;
  /** Called every few milliseconds: what is sent unasked. */
  tick?(): readonly Outgoing[];
  /** A reply to a client; what is said instead, or nothing. */
  reply?(reply: Reply): Reply | undefined;
}

export type AdversaryMaker = (accomplice: Accomplice) => Adversary;

export const asIs = (message: PeerMessage, to: number): readonly Outgoing[] => [{ to, frame: frameOf(message) }];

const frames = new WeakMap<PeerMessage, Uint8Array>();

/** The frame of a message, made once for a broadcast. */
export function frameOf(message: PeerMessage): Uint8Array {
  let frame = frames.get(message);
  if (frame === undefined) {
    frame = encodePeerMessage(message);
    frames.set(message, frame);
  }
  return frame;
}

const blocks = new WeakMap<PeerMessage, Block | 'none'>();

/** The block in a message, when it holds a well-formed one. */
export function blockIn(message: PeerMessage): Block | undefined {
  let block = blocks.get(message);
  if (block === undefined) {
    const decoded = message.kind === 'block' ? decodeBlock(message.block) : undefined;
    block = decoded?.ok === true ? decoded.value : 'none';
    blocks.set(message, block);
  }
  return block === 'none' ? undefined : block;
}

/** The same block with some of its content changed, signed anew. */
export function forgedFrom(block: Block, change: Partial<BlockContent>, sign: Accomplice['sign']): Block {
  const { epoch, round, author, timestamp, parents, requests, duties } = block;
  return encodeBlock({ epoch, round, author, timestamp, parents, requests, duties, ...change }, sign);
}

/** Indexes of all replicas but one. */
export function othersThan(self: number, n: number): readonly number[] {
  return Array.from({ length: n }, (_, index) => index).filter((index) => index !== self);
}

const decodedFrames = new WeakMap<Uint8Array, PeerMessage>();

/** The message that the machine put into a frame, decoded once for a broadcast. */
export function messageOf(frame: Uint8Array): PeerMessage {
  let message = decodedFrames.get(frame);
  if (message === undefined) {
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) throw new Error(`invariant: the machine made a frame it cannot read: ${decoded.reason}`);
    message = decoded.value;
    decodedFrames.set(frame, message);
  }
  return message;
}
