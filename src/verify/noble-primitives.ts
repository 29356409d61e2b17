/**
 * Noble primitives: the cryptography of the published verifier, in plain JavaScript that runs in any browser.
 *
 * Signatures of the service: BLS12-381, signature in G1, suite BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_ (RFC 9380).
 * Signatures of clients: Ed25519 by the equation without cofactor, and neither key nor signature with a point of small
 * order, as `crypto/ed25519.ts` has it on every replica; the library's own rule would take a few more.
 */
import { bls12_381 } from '@noble/curves/bls12-381.js';
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import type { VerifyPrimitives } from './primitives.ts';

const suite = 'BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_';
const { G1, G2, shortSignatures } = bls12_381;

export const noblePrimitives: VerifyPrimitives = {
  sha256: (bytes) => sha256(bytes),
  isServiceKey: (serviceKey) => decodePoint(G2.Point, serviceKey, 96) !== undefined,
  verifyServiceSignature(serviceKey, message, signature) {
    const key = decodePoint(G2.Point, serviceKey, 96);
    const point = decodePoint(G1.Point, signature, 48);
    if (key === undefined || point === undefined) return false;
    return shortSignatures.verify(point, shortSignatures.hash(Uint8Array.from(message), suite), key);
  },
  verifyClientSignature(client, message, signature) {
    if (client.length !== 32 || signature.length !== 64) return false;
    const key = decodeEdwards(client);
    const commitment = decodeEdwards(signature.subarray(0, 32));
    const scalar = littleEndian(signature.subarray(32));
    if (key === undefined || commitment === undefined || scalar >= ed25519.Point.Fn.ORDER) return false;
    const hashed = new Uint8Array(64 + message.length);
    hashed.set(signature.subarray(0, 32));
    hashed.set(client, 32);
    hashed.set(message, 64);
    const challenge = ed25519.Point.Fn.create(littleEndian(sha512(hashed)));
    const expected = ed25519.Point.BASE.multiplyUnsafe(scalar).subtract(key.multiplyUnsafe(challenge));
    return expected.equals(commitment);
  },
};

interface Decodable<Point> {
  fromBytes(bytes: Uint8Array): Point;
}
interface Decoded {
  assertValidity(): void;
  is0(): boolean;
  toBytes(isCompressed?: boolean): Uint8Array;
}

/** The point of the subgroup, other than zero, that these bytes are the canonical encoding of. */
function decodePoint<Point extends Decoded>(
  group: Decodable<Point>,
  bytes: Uint8Array,
  sizeBytes: number,
): Point | undefined {
  if (bytes.length !== sizeBytes) return undefined;
  try {
    // Of a plain Uint8Array: the library knows no other kind.
    const point = group.fromBytes(Uint8Array.from(bytes));
    point.assertValidity();
    const encoded = point.toBytes(true);
    return point.is0() || !encoded.every((byte, i) => byte === bytes[i]) ? undefined : point;
  } catch {
    return undefined;
  }
}

/** The point that these bytes are the canonical encoding of, unless it is of small order. */
function decodeEdwards(bytes: Uint8Array): InstanceType<typeof ed25519.Point> | undefined {
  try {
    const point = ed25519.Point.fromBytes(Uint8Array.from(bytes));
    return point.isSmallOrder() ? undefined : point;
  } catch {
    return undefined;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  let number = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) number = number * 256n + BigInt(bytes[i] as number);
  return number;
}
