/**
 * Key files: the secrets that a replica has for one epoch, as files of one directory.
 *
 *   signing.seed        32 bytes as hex: signs its blocks
 *   link.key.pem        the TLS key that others have pinned
 *   link.cert.pem       its certificate
 *   encryption.key      32 bytes as hex: opens what is dealt to it
 *   dealing.seed        32 bytes as hex: what it deals itself is derived from this
 *   sealing.key         32 bytes as hex: seals its key share on disk
 *   share.sealed        its key share (`key-store.ts`), there once it has one
 *
 * Trust: whoever reads them is the replica, for that epoch. No error holds any part of them.
 */
import { createPrivateKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { PairingCurve } from '../crypto/curve.ts';
import { type SigningKey, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { FileSystem } from '../platform/files.ts';
import { decryptionKeyFrom, encryptionKeyFor, formatDecryptionKey } from './encryption-key.ts';
import { HomeError } from './home-error.ts';
import { malformed, readSecretText, readText, writeNewText } from './whole-file.ts';

export const keyFileNames = {
  signingSeed: 'signing.seed',
  linkKey: 'link.key.pem',
  linkCertificate: 'link.cert.pem',
  encryptionKey: 'encryption.key',
  dealingSeed: 'dealing.seed',
  sealingKey: 'sealing.key',
  sealedShare: 'share.sealed',
} as const;

/** Of the dealing seed and of the sealing key. */
export const secretSizeBytes = 32;

/** Who a replica is in one epoch, to the others. */
export interface PublicKeys {
  readonly replicaId: string;
  /** 64 hex characters. */
  readonly signingKey: string;
  readonly linkKeyDigest: Digest;
  /** 96 hex characters. */
  readonly encryptionKey: string;
}

export interface SecretKeys {
  /** Of its signing key. */
  readonly seed: Uint8Array;
  readonly linkKeyPem: string;
  readonly linkCertificatePem: string;
  /** Opens what is dealt to it. */
  readonly decryptionKey: bigint;
  /** 32 bytes that what it deals is derived from. */
  readonly dealingSeed: Uint8Array;
  /** 32 bytes that seal its key share. */
  readonly sealingKey: Uint8Array;
}

export interface EpochKeys extends SecretKeys {
  readonly signingKey: SigningKey;
  readonly linkKeyDigest: Digest;
  readonly encryptionKey: string;
}

/** Writes all but a sealed share into a directory that is there and has none of them. Durable but for the directory. */
export async function writeKeyFiles(files: FileSystem, directory: string, keys: SecretKeys): Promise<void> {
  const at = (name: string): string => join(directory, name);
  await writeNewText(files, at(keyFileNames.signingSeed), hexLine(keys.seed));
  await writeNewText(files, at(keyFileNames.linkKey), keys.linkKeyPem);
  await writeNewText(files, at(keyFileNames.linkCertificate), keys.linkCertificatePem);
  await writeNewText(files, at(keyFileNames.encryptionKey), `${formatDecryptionKey(keys.decryptionKey)}\n`);
  await writeNewText(files, at(keyFileNames.dealingSeed), hexLine(keys.dealingSeed));
  await writeNewText(files, at(keyFileNames.sealingKey), hexLine(keys.sealingKey));
}

/** Rejects with a `HomeError` when they are not those of `owner`; undefined: nobody says yet whose they are. */
export async function readKeyFiles(
  files: FileSystem,
  directory: string,
  { owner, curve }: { readonly owner: PublicKeys | undefined; readonly curve: PairingCurve },
): Promise<EpochKeys> {
  const at = (name: string): string => join(directory, name);
  const check = (path: string, isRight: boolean): void => {
    if (owner !== undefined && !isRight) throw keyMismatch(path, owner);
  };
  const seed = await readHexSecret(files, at(keyFileNames.signingSeed));
  const signingKey = signingKeyFromSeed(seed);
  check(at(keyFileNames.signingSeed), signingKey.publicKey.text === owner?.signingKey);
  const link = await readLinkKey(files, at);
  check(at(keyFileNames.linkCertificate), link.linkKeyDigest === owner?.linkKeyDigest);
  if (!link.isWhole) throw keyMismatch(at(keyFileNames.linkKey), owner ?? { replicaId: 'of this home' });
  const path = at(keyFileNames.encryptionKey);
  const decryptionKey = decryptionKeyFrom(curve, await readHexSecret(files, path));
  if (decryptionKey === undefined) throw malformed(path, 'it is no scalar of the group');
  const encryptionKey = encryptionKeyFor(curve, decryptionKey);
  check(path, encryptionKey === owner?.encryptionKey);
  const { linkKeyPem, linkCertificatePem, linkKeyDigest } = link;
  return {
    seed,
    signingKey,
    linkKeyPem,
    linkCertificatePem,
    linkKeyDigest,
    decryptionKey,
    encryptionKey,
    dealingSeed: await readHexSecret(files, at(keyFileNames.dealingSeed)),
    sealingKey: await readHexSecret(files, at(keyFileNames.sealingKey)),
  };
}

export function areKeysOf(keys: EpochKeys, owner: PublicKeys): boolean {
  return (
    keys.signingKey.publicKey.text === owner.signingKey &&
    keys.linkKeyDigest === owner.linkKeyDigest &&
    keys.encryptionKey === owner.encryptionKey
  );
}

/**
 * Overwrites each file of a directory of keys and removes them all. What a disk keeps of it is not in our hands
 * (docs/protocol/epochs.md §8).
 */
export async function eraseKeyFiles(files: FileSystem, directory: string): Promise<void> {
  if ((await files.describe(directory)) === undefined) return;
  for (const name of await files.list(directory)) {
    const path = join(directory, name);
    if ((await files.describe(path))?.kind === 'file') await overwrite(files, path);
  }
  await files.remove(directory);
}

async function overwrite(files: FileSystem, path: string): Promise<void> {
  const file = await files.open(path, 'read-write');
  try {
    await file.pwrite(new Uint8Array(await file.sizeBytes()), 0);
    await file.fdatasync();
  } finally {
    await file.close();
  }
}

function hexLine(bytes: Uint8Array): string {
  return `${Buffer.from(bytes).toString('hex')}\n`;
}

/** 32 bytes written as hex, for nobody but the owner. */
async function readHexSecret(files: FileSystem, path: string): Promise<Uint8Array> {
  const text = (await readSecretText(files, path)).trimEnd();
  if (!/^[0-9a-f]{64}$/.test(text)) throw malformed(path, 'it must be 64 lower-case hex characters');
  return Buffer.from(text, 'hex');
}

/** `isWhole`: the key is that of the certificate, and can be used. */
async function readLinkKey(
  files: FileSystem,
  at: (name: string) => string,
): Promise<Pick<EpochKeys, 'linkKeyPem' | 'linkCertificatePem' | 'linkKeyDigest'> & { readonly isWhole: boolean }> {
  const linkKeyPem = await readSecretText(files, at(keyFileNames.linkKey));
  const linkCertificatePem = await readText(files, at(keyFileNames.linkCertificate));
  let certificate: X509Certificate;
  let publicKeyDer: Buffer;
  try {
    certificate = new X509Certificate(linkCertificatePem);
    // A damaged one may be a certificate and hold no key.
    publicKeyDer = certificate.publicKey.export({ type: 'spki', format: 'der' });
  } catch {
    throw malformed(at(keyFileNames.linkCertificate), 'it is not a certificate in PEM');
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(linkKeyPem);
  } catch {
    throw malformed(at(keyFileNames.linkKey), 'it is not a private key in PEM');
  }
  const isWhole = certificate.checkPrivateKey(key) && canSign(key, certificate);
  return { linkKeyPem, linkCertificatePem, linkKeyDigest: sha256(publicKeyDer), isWhole };
}

/** A damaged private key may still hold the right public one. */
function canSign(key: KeyObject, { publicKey }: X509Certificate): boolean {
  const probe = Buffer.from('coterie');
  try {
    return verify(null, probe, publicKey, sign(null, probe, key));
  } catch {
    return false;
  }
}

function keyMismatch(path: string, { replicaId }: Pick<PublicKeys, 'replicaId'>): HomeError {
  return new HomeError(
    'key-mismatch',
    `${path} does not belong to replica "${replicaId}" of this membership.`,
    'Put back its keys of this epoch: others refuse it with any other ones. If they are lost, an administrator replaces the replica: "coterie admin replace".',
  );
}
