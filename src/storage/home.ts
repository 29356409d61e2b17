/**
 * Home: the directory of one replica: who it is, its keys, its log and its state.
 *
 *   genesis.json             copy of the cluster's genesis
 *   replica.json             { version, replicaId, serviceId, service }
 *   keys/signing.seed        32 bytes as hex: signs its blocks
 *   keys/link.key.pem        the TLS key that others have pinned
 *   keys/link.cert.pem       its certificate
 *   keys/encryption.key      32 bytes as hex: opens what key generation deals to it
 *   keys/dealing.seed        32 bytes as hex: what it deals itself is derived from this
 *   keys/sealing.key         32 bytes as hex: seals its key share on disk
 *   keys/share.sealed        its key share (`key-store.ts`), there once it has one
 *   log/                     the block log
 *   log-began                there when the log was ever opened
 *   log-lost                 there when the log was found lost: the replica is an observer until a new epoch
 *   log-damaged-1/ …         a damaged log that was set aside (`home-log.ts`)
 *   state/                   the state, as of a checkpoint (`state-directory.ts`)
 *   restored.json            there when it goes on from a snapshot (`restored-home.ts`)
 *
 * Safety: one process at a time (`platform/directory-lock.ts`), and never with an empty log in place of a lost one: each
 * of these could make a correct replica sign two blocks of one round.
 * Trust: whoever reads the keys is the replica. No error holds any part of them.
 */
import { createPrivateKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import type { PairingCurve } from '../crypto/curve.ts';
import { type SigningKey, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { type Digest, hmacSha256, sha256 } from '../crypto/hash.ts';
import { type DirectoryLock, lockDirectory } from '../platform/directory-lock.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { domains } from '../wire/domain.ts';
import {
  formatGenesis,
  type Genesis,
  type GenesisReplica,
  genesisVersion,
  parseGenesis,
  serviceIdOf,
  versionOfGenesis,
} from '../wire/genesis.ts';
import type { DiskLog } from './disk-log.ts';
import {
  decryptionKeyFrom,
  encryptionKeyFor,
  faultOfEncryptionKeys,
  formatDecryptionKey,
  loadCurve,
} from './encryption-key.ts';
import { HomeError, homeErrorOf } from './home-error.ts';
import { findLogLost, type HomeLogOptions, logPaths, openHomeLog } from './home-log.ts';
import type { OpenState } from './state-directory.ts';
import { malformed, parseJson, readSecretText, readText, writeNewText } from './whole-file.ts';

/** Where things are in a home. */
export const homePaths = {
  genesis: 'genesis.json',
  replica: 'replica.json',
  keys: 'keys',
  signingSeed: join('keys', 'signing.seed'),
  linkKey: join('keys', 'link.key.pem'),
  linkCertificate: join('keys', 'link.cert.pem'),
  encryptionKey: join('keys', 'encryption.key'),
  dealingSeed: join('keys', 'dealing.seed'),
  sealingKey: join('keys', 'sealing.key'),
  sealedShare: join('keys', 'share.sealed'),
  log: logPaths.log,
  serviceKey: 'service-key',
  logBegan: logPaths.logBegan,
  logLost: logPaths.logLost,
  state: 'state',
  restored: 'restored.json',
} as const;

/** Of the dealing seed and of the sealing key. */
export const secretSizeBytes = 32;

const replicaForm = z.strictObject({
  version: z.literal(1),
  replicaId: z.string(),
  serviceId: z.string(),
  service: z.string().min(1).max(4096),
});

/** An open home, held by this process until it is closed. */
export interface Home {
  /** Absolute. */
  readonly directory: string;
  readonly genesis: Genesis;
  readonly serviceId: Digest;
  readonly replicaId: string;
  readonly replicaIndex: number;
  /** What this replica runs: as in the genesis, unless its operator wrote another name for it into replica.json. */
  readonly service: string;
  readonly signingKey: SigningKey;
  readonly linkKeyPem: string;
  readonly linkCertificatePem: string;
  /** Opens what is dealt to it; its public half is in the genesis. */
  readonly decryptionKey: bigint;
  /** 32 bytes that what it deals is derived from. */
  readonly dealingSeed: Uint8Array;
  /** 32 bytes that seal its key share. */
  readonly sealingKey: Uint8Array;
  /** Where the sealed key share lies, absolute. */
  readonly sealedSharePath: string;
  /** The service key, 192 hex characters, once this replica has seen it, or its operator has written it here. */
  readonly serviceKey: string | undefined;
  /** Writes it down, unless it is there already. Rejects with `service-key-mismatch` when another one is. */
  keepServiceKey(serviceKey: string): Promise<void>;
  /** The log this replica had is gone, so it may only observe (docs/protocol/ordering.md §3.3). */
  readonly isLogLost: boolean;
  /** Opens the log; at most once at a time. `isLogLost` is true afterwards also when it was damaged and set aside. */
  openLog(options?: HomeLogOptions): Promise<DiskLog>;
  /** Opens the state; at most once at a time. `wipe` says why what is there is to be removed first, as damaged. */
  openState(options?: { readonly wipe?: string | undefined }): Promise<OpenState>;
  /** Lets other processes have the home. Close the log and the state first. */
  close(): Promise<void>;
}

export interface NewHome {
  readonly directory: string;
  readonly genesis: Genesis;
  readonly replicaId: string;
  /** Of its signing key. */
  readonly seed: Uint8Array;
  readonly linkKeyPem: string;
  readonly linkCertificatePem: string;
  readonly decryptionKey: bigint;
  readonly dealingSeed: Uint8Array;
  readonly sealingKey: Uint8Array;
}

/** Makes a home in a directory that does not exist yet; its parent does. Durable but for the name in the parent. */
export async function createHome(home: NewHome, files: FileSystem = systemFiles): Promise<void> {
  const { directory, genesis, replicaId } = home;
  const at = (path: string): string => join(directory, path);
  try {
    await files.mkdir(directory);
    await files.mkdir(at(homePaths.keys));
    await files.mkdir(at(homePaths.log));
    const identity = { version: 1, replicaId, serviceId: serviceIdOf(genesis), service: genesis.service };
    await writeNewText(files, at(homePaths.genesis), formatGenesis(genesis));
    await writeNewText(files, at(homePaths.replica), `${JSON.stringify(identity, null, 2)}\n`);
    await writeNewText(files, at(homePaths.signingSeed), hexLine(home.seed));
    await writeNewText(files, at(homePaths.linkKey), home.linkKeyPem);
    await writeNewText(files, at(homePaths.linkCertificate), home.linkCertificatePem);
    await writeNewText(files, at(homePaths.encryptionKey), `${formatDecryptionKey(home.decryptionKey)}\n`);
    await writeNewText(files, at(homePaths.dealingSeed), hexLine(home.dealingSeed));
    await writeNewText(files, at(homePaths.sealingKey), hexLine(home.sealingKey));
    for (const path of [homePaths.keys, homePaths.log, '.']) await files.fsyncDirectory(at(path));
  } catch (error) {
    throw homeErrorOf(error, directory, 'writing');
  }
}

function hexLine(bytes: Uint8Array): string {
  return `${Buffer.from(bytes).toString('hex')}\n`;
}

/** Opens a home and takes its lock. Rejects with a `HomeError` that says what is wrong with it. */
export async function openHome(path: string, files: FileSystem = systemFiles): Promise<Home> {
  const directory = resolve(path);
  await checkIsHome(files, directory);
  const lock = await takeLock(directory);
  try {
    return await readHome(files, directory, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function checkIsHome(files: FileSystem, directory: string): Promise<void> {
  try {
    const found = await files.describe(directory);
    if (found === undefined) {
      throw new HomeError(
        'home-missing',
        `${directory} does not exist.`,
        'Check the path, or make a cluster with "coterie init".',
      );
    }
    const names = found.kind === 'file' ? [] : await files.list(directory);
    if (names.includes(homePaths.replica)) return;
    if (names.includes('replicas')) {
      throw new HomeError(
        'cluster-directory-given',
        `${directory} is the directory of a whole cluster, not the home of one replica.`,
        `Give one of those in ${join(directory, 'replicas')}, or start them all with "coterie up".`,
      );
    }
    throw new HomeError(
      'not-a-home',
      `${directory} is not the home of a replica: it has no ${homePaths.replica}.`,
      'Give a directory such as CLUSTER/replicas/r0.',
    );
  } catch (error) {
    throw homeErrorOf(error, directory, 'reading');
  }
}

async function takeLock(directory: string): Promise<DirectoryLock> {
  try {
    const outcome = await lockDirectory(directory);
    if (outcome.kind === 'held') return outcome.lock;
    throw new HomeError(
      'home-locked',
      `${directory} is in use by process ${outcome.pid}.`,
      'Only one process may run a replica. Stop that one first, or leave it running.',
    );
  } catch (error) {
    if (error instanceof HomeError) throw error;
    throw new HomeError(
      'lock-unsupported',
      `${directory} cannot be locked: ${error instanceof Error ? error.message : String(error)}.`,
      'The home must be writable and on a local file system that allows Unix sockets.',
      error,
    );
  }
}

async function readHome(files: FileSystem, directory: string, lock: DirectoryLock): Promise<Home> {
  const at = (path: string): string => join(directory, path);
  const genesis = await readGenesis(files, at(homePaths.genesis));
  const serviceId = serviceIdOf(genesis);
  const replica = parseJson(at(homePaths.replica), await readText(files, at(homePaths.replica)), replicaForm);
  if (replica.serviceId !== serviceId) {
    throw new HomeError(
      'genesis-mismatch',
      `${at(homePaths.genesis)} is not the genesis this replica was made for: its service id is ${serviceId}, not ${replica.serviceId}.`,
      'Put back the genesis.json of its own cluster; even a small change to it makes another service.',
    );
  }
  const replicaIndex = genesis.replicas.findIndex(({ replicaId }) => replicaId === replica.replicaId);
  const entry = genesis.replicas[replicaIndex];
  if (entry === undefined) {
    throw new HomeError(
      'genesis-mismatch',
      `${at(homePaths.replica)} names replica "${replica.replicaId}", which the genesis does not have.`,
      `The genesis has ${genesis.replicas.map(({ replicaId }) => replicaId).join(', ')}.`,
    );
  }
  const { seed, signingKey } = await readSigningKey(files, at(homePaths.signingSeed), entry);
  const { linkKeyPem, linkCertificatePem } = await readLinkKey(files, at, entry);
  const curve = await loadCurve();
  const fault = faultOfEncryptionKeys(curve, genesis);
  if (fault !== undefined) throw malformed(at(homePaths.genesis), fault);
  const decryptionKey = await readDecryptionKey(files, at(homePaths.encryptionKey), entry, curve);
  const dealingSeed = await readHexSecret(files, at(homePaths.dealingSeed));
  const sealingKey = await readHexSecret(files, at(homePaths.sealingKey));
  const logKey = hmacSha256(seed, [domains.logKey]);
  let isLogLost = await findLogLost(files, directory);
  return {
    directory,
    genesis,
    serviceId,
    replicaId: replica.replicaId,
    replicaIndex,
    service: replica.service,
    signingKey,
    linkKeyPem,
    linkCertificatePem,
    decryptionKey,
    dealingSeed,
    sealingKey,
    sealedSharePath: at(homePaths.sealedShare),
    serviceKey: await readServiceKey(files, at(homePaths.serviceKey), curve),
    keepServiceKey: (serviceKey) => keepServiceKey(files, at(homePaths.serviceKey), serviceKey, curve),
    get isLogLost() {
      return isLogLost;
    },
    async openLog(options = {}) {
      const open = await openHomeLog({ files, directory, logKey, isLogLost }, options);
      isLogLost = open.isLogLost;
      return open.log;
    },
    openState: ({ wipe } = {}) => openState(files, directory, wipe),
    close: () => lock.release(),
  };
}

/** Reads a genesis file. */
export async function readGenesis(files: FileSystem, path: string): Promise<Genesis> {
  const text = await readText(files, path);
  const genesis = parseGenesis(text);
  if (genesis.ok) return genesis.value;
  const version = versionOfGenesis(text);
  if (version === undefined || version === genesisVersion) throw malformed(path, genesis.reason);
  throw new HomeError(
    'genesis-version',
    `${path} is a genesis of version ${version}; this Coterie runs clusters of version ${genesisVersion}.`,
    version < genesisVersion
      ? 'Use the version of Coterie that made it. Or make a new cluster with "coterie init" and copy the data over.'
      : 'Use the version of Coterie that made it.',
  );
}

/** 32 bytes written as hex, for nobody but the owner. */
async function readHexSecret(files: FileSystem, path: string): Promise<Uint8Array> {
  const text = (await readSecretText(files, path)).trimEnd();
  if (!/^[0-9a-f]{64}$/.test(text)) throw malformed(path, 'it must be 64 lower-case hex characters');
  return Buffer.from(text, 'hex');
}

async function readDecryptionKey(
  files: FileSystem,
  path: string,
  entry: GenesisReplica,
  curve: PairingCurve,
): Promise<bigint> {
  const decryptionKey = decryptionKeyFrom(curve, await readHexSecret(files, path));
  if (decryptionKey === undefined) throw malformed(path, 'it is no scalar of the group');
  if (encryptionKeyFor(curve, decryptionKey) !== entry.encryptionKey) throw keyMismatch(path, entry);
  return decryptionKey;
}

async function readSigningKey(
  files: FileSystem,
  path: string,
  entry: GenesisReplica,
): Promise<{ readonly seed: Uint8Array; readonly signingKey: SigningKey }> {
  const seed = await readHexSecret(files, path);
  const signingKey = signingKeyFromSeed(seed);
  if (signingKey.publicKey.text !== entry.signingKey) throw keyMismatch(path, entry);
  return { seed, signingKey };
}

async function readLinkKey(
  files: FileSystem,
  at: (path: string) => string,
  entry: GenesisReplica,
): Promise<{ readonly linkKeyPem: string; readonly linkCertificatePem: string }> {
  const linkKeyPem = await readSecretText(files, at(homePaths.linkKey));
  const linkCertificatePem = await readText(files, at(homePaths.linkCertificate));
  let certificate: X509Certificate;
  let publicKeyDer: Buffer;
  try {
    certificate = new X509Certificate(linkCertificatePem);
    // A damaged one may be a certificate and hold no key.
    publicKeyDer = certificate.publicKey.export({ type: 'spki', format: 'der' });
  } catch {
    throw malformed(at(homePaths.linkCertificate), 'it is not a certificate in PEM');
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(linkKeyPem);
  } catch {
    throw malformed(at(homePaths.linkKey), 'it is not a private key in PEM');
  }
  if (sha256(publicKeyDer) !== entry.linkKeyDigest) {
    throw keyMismatch(at(homePaths.linkCertificate), entry);
  }
  if (!certificate.checkPrivateKey(key) || !canSign(key, certificate)) throw keyMismatch(at(homePaths.linkKey), entry);
  return { linkKeyPem, linkCertificatePem };
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

function keyMismatch(path: string, { replicaId }: GenesisReplica): HomeError {
  return new HomeError(
    'key-mismatch',
    `${path} does not belong to replica "${replicaId}" of this genesis.`,
    'Put back the keys this replica was made with; others would refuse it with any other ones.',
  );
}

/** What is no point of the group is no service key, but damage: the key is public, and whoever needs it asks the others. */
async function readServiceKey(files: FileSystem, path: string, curve: PairingCurve): Promise<string | undefined> {
  if ((await files.describe(path)) === undefined) return undefined;
  const text = (await readText(files, path)).trim();
  const isKey = /^[0-9a-f]{192}$/.test(text) && curve.g2.decode(Buffer.from(text, 'hex')) !== undefined;
  return isKey ? text : undefined;
}

async function keepServiceKey(files: FileSystem, path: string, serviceKey: string, curve: PairingCurve): Promise<void> {
  const kept = await readServiceKey(files, path, curve);
  if (kept === serviceKey) return;
  if (kept !== undefined) {
    throw new HomeError(
      'service-key-mismatch',
      `${path} holds another service key than this replica has worked out.`,
      'Find out which is right, from another replica or a client. Remove the file if it is the wrong one.',
    );
  }
  const unfinished = `${path}.new`;
  await files.remove(unfinished);
  await writeNewText(files, unfinished, `${serviceKey}\n`);
  await files.rename(unfinished, path);
}

async function openState(files: FileSystem, home: string, wipe: string | undefined): Promise<OpenState> {
  // Loaded when it is needed: it brings lmdb, which is native code.
  const { openStateDirectory } = await import('./state-directory.ts');
  return openStateDirectory(files, home, homePaths.state, wipe);
}
