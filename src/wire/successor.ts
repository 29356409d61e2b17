/**
 * Successor: the session keys that a replica will use in the next epoch, certified as its own (docs/protocol/epochs.md §5).
 *
 * Two signatures over one statement: the certificate is of the identity key, or of the present signing key where the
 * replica recovers by awareness; the possession is of the new signing key itself, so that nobody names keys of others.
 * Whether the certificate is valid is for who knows the membership.
 */
import { type PublicKeyText, parsePublicKey, publicKeySizeBytes, signatureSizeBytes } from '../crypto/ed25519.ts';
import type { Digest } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { encryptionKeySizeBytes } from './duty.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export const successorVersion = 1;

export interface SessionKeys {
  /** Ed25519. */
  readonly signingKey: PublicKeyText;
  /** SHA-256 of the DER SubjectPublicKeyInfo of the link key. */
  readonly linkKeyDigest: Digest;
  /** Point of G1, 96 hex characters; whether it is one is for who has the curve. */
  readonly encryptionKey: string;
}

export interface SuccessorStatement {
  readonly serviceId: Digest;
  readonly replicaId: string;
  /** In which the keys will be used. */
  readonly epoch: number;
  /** The signer's counter: of two for one epoch the higher counts. */
  readonly serial: number;
  /** The replica was started clean before it made them. */
  readonly isClean: boolean;
  readonly keys: SessionKeys;
}

export interface CertifiedSuccessor {
  readonly statement: SuccessorStatement;
  /** 64 bytes: by the identity key, or by the present signing key of a replica that recovers by awareness. */
  readonly certificate: Uint8Array;
  /** 64 bytes: by the new signing key. */
  readonly possession: Uint8Array;
}

const successorSizeBytesMin = 1 + 32 + 4 + 4 + 8 + 1 + 32 + 32 + encryptionKeySizeBytes + 2 * signatureSizeBytes;

/** What the certificate signs. */
export function successorPreimage(statement: SuccessorStatement): Uint8Array {
  return preimageOf(domains.successor, statement);
}

/** What the possession signs. */
export function possessionPreimage(statement: SuccessorStatement): Uint8Array {
  return preimageOf(domains.possession, statement);
}

function preimageOf(tag: Uint8Array, statement: SuccessorStatement): Uint8Array {
  const writer = new Writer(320).fixed(tag);
  writeStatement(writer, statement);
  return writer.finish();
}

/** The statement alone, as a signer apart from the replica gets it. */
export function encodeSuccessorStatement(statement: SuccessorStatement): Uint8Array {
  const writer = new Writer(320);
  writeStatement(writer, statement);
  return writer.finish();
}

export function decodeSuccessorStatement(bytes: Uint8Array): Decoded<SuccessorStatement> {
  if (bytes.length > limits.successorSizeBytesMax) return tooLarge;
  return decode(bytes, readStatement);
}

export function encodeSuccessor(successor: CertifiedSuccessor): Uint8Array {
  const writer = new Writer(512);
  writeSuccessor(writer, successor);
  return writer.finish();
}

export function decodeSuccessor(bytes: Uint8Array): Decoded<CertifiedSuccessor> {
  if (bytes.length > limits.successorSizeBytesMax) return tooLarge;
  return decode(bytes, readSuccessor);
}

const tooLarge = { ok: false, reason: `more than ${limits.successorSizeBytesMax} bytes` } as const;

/** One within something larger. */
export function writeSuccessor(writer: Writer, { statement, certificate, possession }: CertifiedSuccessor): void {
  writeStatement(writer, statement);
  writer.fixed(certificate, signatureSizeBytes).fixed(possession, signatureSizeBytes);
}

/** How many there are, of which each takes a least size, and then each of them. */
export function readSuccessors(reader: Reader, count: number): readonly CertifiedSuccessor[] {
  const length = reader.count(count, limits.replicasMax, successorSizeBytesMin, 'successors');
  return Array.from({ length }, () => readSuccessor(reader));
}

function readSuccessor(reader: Reader): CertifiedSuccessor {
  const statement = readStatement(reader);
  // Copies, because they are kept for longer than what they came in.
  const certificate = Uint8Array.from(reader.fixed(signatureSizeBytes, 'certificate'));
  return { statement, certificate, possession: Uint8Array.from(reader.fixed(signatureSizeBytes, 'possession')) };
}

function writeStatement(writer: Writer, statement: SuccessorStatement): void {
  const { signingKey, linkKeyDigest, encryptionKey } = statement.keys;
  writer.u8(successorVersion).digest(statement.serviceId).text(statement.replicaId);
  writer.u32(statement.epoch).u64(statement.serial);
  writer.u8(statement.isClean ? 1 : 0);
  writer.fixed(Buffer.from(signingKey, 'hex'), publicKeySizeBytes).digest(linkKeyDigest);
  writer.fixed(Buffer.from(encryptionKey, 'hex'), encryptionKeySizeBytes);
}

function readStatement(reader: Reader): SuccessorStatement {
  const version = reader.u8('version');
  if (version !== successorVersion) throw new WireError(`version: ${version} is unknown`);
  const serviceId = reader.digest('service id');
  const replicaId = reader.text(limits.replicaIdSizeBytesMax, 'replica id');
  const epoch = reader.u32('epoch');
  const serial = reader.u64('serial');
  const clean = reader.u8('clean');
  if (clean > 1) throw new WireError('clean: neither 0 nor 1');
  const signingKey = parsePublicKey(Buffer.from(reader.fixed(publicKeySizeBytes, 'signing key')).toString('hex'))?.text;
  if (signingKey === undefined) throw new WireError('signing key: not a usable key');
  const linkKeyDigest = reader.digest('link key');
  const encryptionKey = Buffer.from(reader.fixed(encryptionKeySizeBytes, 'encryption key')).toString('hex');
  const keys = { signingKey, linkKeyDigest, encryptionKey };
  return { serviceId, replicaId, epoch, serial, isClean: clean === 1, keys };
}
