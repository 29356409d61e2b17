/**
 * Session secrets: what a simulated replica proves itself with in one epoch: it signs blocks, holds links and opens dealings with
 * these, and whoever has them does so in its place.
 *
 * All is made from a name. Nobody is to guess: the simulated adversary has what it has read from a disk, and nothing else.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { SigningKey } from '../src/crypto/ed25519.ts';
import { type Digest, sha256Of } from '../src/crypto/hash.ts';
import { encryptionKeyFor } from '../src/storage/encryption-key.ts';
import type { SessionKeys } from '../src/wire/successor.ts';
import { keyOf } from './keys.ts';

/** What a replica takes part in key generation with. */
export interface SimulatedSecrets {
  readonly decryptionKey: bigint;
  readonly seed: Uint8Array;
}

export interface SessionSecrets extends SimulatedSecrets {
  readonly signing: SigningKey;
  /** Stands for the private half of a link key. */
  readonly link: string;
}

/** The secrets of the replica with this index in the first epoch, the same in every simulation. */
export function simulatedSecrets(index: number): SimulatedSecrets {
  return secretsNamed(`${index}`);
}

/** What the replica in this place begins with. */
export function firstSecrets(place: number): SessionSecrets {
  return { ...simulatedSecrets(place), signing: keyOf(`replica ${place}`), link: `link ${place}` };
}

/** What it makes later: `name` says for which epoch, and tells two attempts from each other. */
export function freshSecrets(place: number, name: string): SessionSecrets {
  const full = `${place} ${name}`;
  return { ...secretsNamed(full), signing: keyOf(`replica ${full}`), link: `link ${full}` };
}

export function publicKeysOf(curve: PairingCurve, { signing, link, decryptionKey }: SessionSecrets): SessionKeys {
  return {
    signingKey: signing.publicKey.text,
    linkKeyDigest: linkKeyDigestOf(link),
    encryptionKey: encryptionKeyFor(curve, decryptionKey),
  };
}

/** What others pin of a link key. */
export function linkKeyDigestOf(link: string): Digest {
  return sha256Of([Buffer.from(link, 'utf8')]);
}

function secretsNamed(name: string): SimulatedSecrets {
  const hashOf = (what: string): Buffer => Buffer.from(sha256Of([Buffer.from(`${what} ${name}`, 'utf8')]), 'hex');
  // 31 bytes: below the order of the group.
  const decryptionKey = BigInt(`0x${hashOf('decryption key').subarray(1).toString('hex')}`);
  return { decryptionKey, seed: hashOf('dealing seed') };
}
