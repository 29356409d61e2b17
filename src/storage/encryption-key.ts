/**
 * Encryption key: the pair with which others deal to a replica in secret: a number only its home holds, and its point of
 * G1, which the genesis names.
 *
 * The curve is loaded when it is first needed: who only reads addresses from a genesis never waits for it.
 */
import type { G1Point, PairingCurve } from '../crypto/curve.ts';
import type { RandomBytes } from '../platform/random.ts';
import type { Genesis } from '../wire/genesis.ts';

export const decryptionKeySizeBytes = 32;

export interface EncryptionPair {
  /** From 1 to the order of the group, exclusive. */
  readonly decryptionKey: bigint;
  /** Its point, 96 hex characters. */
  readonly encryptionKey: string;
}

export async function loadCurve(): Promise<PairingCurve> {
  return (await import('../crypto/curve-mcl.ts')).mclCurve;
}

/** A fresh pair; 16 bytes more than the order has make every key equally likely. */
export function makeEncryptionPair(curve: PairingCurve, random: RandomBytes): EncryptionPair {
  const wide = BigInt(`0x${Buffer.from(random(decryptionKeySizeBytes + 16)).toString('hex')}`);
  const decryptionKey = (wide % (curve.order - 1n)) + 1n;
  return { decryptionKey, encryptionKey: encryptionKeyFor(curve, decryptionKey) };
}

/** The public half of a decryption key, as a genesis writes it. */
export function encryptionKeyFor({ g1 }: PairingCurve, decryptionKey: bigint): string {
  return Buffer.from(g1.encode(g1.multiply(g1.generator, decryptionKey))).toString('hex');
}

/** 64 hex characters. */
export function formatDecryptionKey(decryptionKey: bigint): string {
  return decryptionKey.toString(16).padStart(2 * decryptionKeySizeBytes, '0');
}

/** Undefined when the bytes are no number from 1 to the order of the group. */
export function decryptionKeyFrom(curve: PairingCurve, bytes: Uint8Array): bigint | undefined {
  const decryptionKey = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  return decryptionKey > 0n && decryptionKey < curve.order ? decryptionKey : undefined;
}

/** The first encryption key of a genesis that is no point of the group, or zero; undefined when all are right. */
export function faultOfEncryptionKeys({ g1 }: PairingCurve, { replicas }: Genesis): string | undefined {
  for (const [i, { encryptionKey }] of replicas.entries()) {
    const point: G1Point | undefined = g1.decode(Buffer.from(encryptionKey, 'hex'));
    if (point === undefined || g1.isZero(point)) {
      return `replicas[${i}].encryptionKey: must be a point of the prime-order group of G1 other than zero`;
    }
  }
  return undefined;
}
