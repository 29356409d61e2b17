/**
 * Keeper message: what a replica and the keeper that started it tell each other over the channel between them.
 *
 * One JSON object a message, bytes as lower-case hex. Both ends read strictly: the replica may be the attacker's, and what
 * it says is worth nothing to its keeper beyond what the service signed (docs/operations/keeper.md).
 */
import { z } from 'zod';
import { signatureSizeBytes } from '../crypto/ed25519.ts';
import { serviceSignatureSizeBytes } from './duty.ts';
import { limits } from './limits.ts';
import type { Decoded } from './reader.ts';

/** Set for a replica that a keeper started: its channel leads to the keeper. */
export const keeperVariable = 'COTERIE_KEEPER';

const hex = (sizeBytesMin: number, sizeBytesMax: number) =>
  z
    .string()
    .min(2 * sizeBytesMin)
    .max(2 * sizeBytesMax)
    .regex(/^(?:[0-9a-f]{2})+$/, 'must be lower-case hex');
const epoch = z.int().min(0).max(0xffff_ffff);

const fromReplica = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sign-successor'),
    /** An encoded `SuccessorStatement`; its serial and whether it is clean are the keeper's to say. */
    statement: hex(1, limits.successorSizeBytesMax),
    /** The encoded membership statement of the present epoch, and the service's signature of it. */
    membership: hex(1 + serviceSignatureSizeBytes, limits.statementSizeBytesMax + serviceSignatureSizeBytes),
  }),
  /** The same statement and signature, said once in a life: by whose key it is signed the keeper pins early, before anybody has come. */
  z.strictObject({
    kind: z.literal('membership'),
    membership: hex(1 + serviceSignatureSizeBytes, limits.statementSizeBytesMax + serviceSignatureSizeBytes),
  }),
  /** The recovery turn of this replica has come: it asks to be started clean. */
  z.strictObject({ kind: z.literal('turn'), epoch }),
  /** Said by a clean process whose keys its keeper does not certify: it is about to name them. Another clean start would lose them. */
  z.strictObject({ kind: z.literal('turn-over'), epoch }),
  z.strictObject({ kind: z.literal('status'), epoch, phase: z.string().max(limits.keeperPhaseLengthMax) }),
]);

const fromKeeper = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('successor-signed'),
    /** Of the identity key, over the statement with this serial and this word on whether it is clean. */
    certificate: hex(signatureSizeBytes, signatureSizeBytes),
    serial: z.int().min(0),
    isClean: z.boolean(),
  }),
  z.strictObject({ kind: z.literal('refused'), reason: z.string().max(limits.keeperReasonLengthMax) }),
  /** The replica is not started clean now. */
  z.strictObject({ kind: z.literal('turn-refused'), reason: z.string().max(limits.keeperReasonLengthMax) }),
]);

export type ReplicaToKeeper = Readonly<z.infer<typeof fromReplica>>;
export type KeeperToReplica = Readonly<z.infer<typeof fromKeeper>>;

/** What a replica told its keeper; the reason never quotes it. */
export function readReplicaToKeeper(message: unknown): Decoded<ReplicaToKeeper> {
  return read(fromReplica, message);
}

export function readKeeperToReplica(message: unknown): Decoded<KeeperToReplica> {
  return read(fromKeeper, message);
}

function read<T>(form: z.ZodType<T>, message: unknown): Decoded<T> {
  const result = form.safeParse(message);
  if (result.success) return { ok: true, value: result.data };
  const [issue] = result.error.issues;
  const where = issue?.path.map(String).join('.') ?? '';
  return { ok: false, reason: `${where === '' ? 'message' : where.slice(0, 64)}: not what it must be` };
}
