/**
 * Create a cluster: a genesis, one home for each replica with fresh keys, keys for keepers and administrators, and a client
 * identity, all in one directory.
 *
 * It is there whole or not at all: built beside its place under another name, made durable, then renamed.
 * Trust: whoever runs this has seen every key. Operators who do not trust one another make their homes each on their own
 * machine and join the public parts; the files are the same. What is for keepers, for operators and for administrators lies
 * apart from the homes, to be taken to where only they can read it.
 */
import { basename, dirname, join, resolve } from 'node:path';
import { type PublicKeyText, seedSizeBytes, signingKeyFromSeed } from '../crypto/ed25519.ts';
import {
  defaultCheckpointIntervalMs,
  defaultEpochIntervalMs,
  defaultHeadIntervalMs,
  defaultParameters,
  defaultSuccessorWaitMs,
  firstMembership,
  largestF,
} from '../membership/genesis.ts';
import type { OrderingParameters } from '../membership/membership.ts';
import { now } from '../platform/clock.ts';
import { errorCode, type FileSystem, systemFiles } from '../platform/files.ts';
import { type RandomBytes, randomBytes } from '../platform/random.ts';
import { clusterPaths, writeIdentity } from '../storage/cluster-directory.ts';
import { type EncryptionPair, loadCurve, makeEncryptionPair } from '../storage/encryption-key.ts';
import { createHome } from '../storage/home.ts';
import { HomeError, homeErrorOf } from '../storage/home-error.ts';
import { createIdentity } from '../storage/identity.ts';
import { secretSizeBytes } from '../storage/key-files.ts';
import { writeSeedFile } from '../storage/seed-file.ts';
import { writeNewText } from '../storage/whole-file.ts';
import { type LinkCertificate, makeLinkCertificate } from '../transport/certificate.ts';
import { formatGenesis, type Genesis, genesisVersion, parseGenesis, type RecoveryMethod } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';

export const defaultFirstPort = 7400;
/** Client and HTTP ports come this far above peer ports; steps of more than the largest cluster has replicas. */
export const clientPortOffset = 100;
export const httpPortOffset = 200;

export interface NewCluster {
  /** Must not exist, or be empty. */
  readonly directory: string;
  /** How many replicas, 4 or more. */
  readonly replicas: number;
  /** Faults tolerated; the most that n and k allow when left out. */
  readonly f?: number | undefined;
  /** Replicas in recovery at the same time; 0 when left out. */
  readonly k?: number | undefined;
  /** Which service the replicas run. */
  readonly service: string;
  /** What people call the cluster; the name of the directory when left out. */
  readonly name?: string | undefined;
  /** Where all replicas listen, `{i}` in it being the index of each; 127.0.0.1 when left out. */
  readonly host?: string | undefined;
  /**
   * Replica i listens for replicas on basePort + i, for clients on basePort + 100 + i, for HTTP on basePort + 200 + i;
   * 7400 when left out.
   */
  readonly basePort?: number | undefined;
  readonly parameters?: Partial<OrderingParameters> | undefined;
  /** Agreed time between two due heads of the log, at least; 10 ms when left out. */
  readonly headIntervalMs?: number | undefined;
  /** Agreed time between two checkpoints, at least; 10 s when left out. */
  readonly checkpointIntervalMs?: number | undefined;
  /** Agreed time from the beginning of an epoch to its end; 0, when left out: it ends only when that is asked for. */
  readonly epochIntervalMs?: number | undefined;
  /** Agreed time for which an ending epoch waits for the next keys of its replicas; 30 s when left out. */
  readonly successorWaitMs?: number | undefined;
  /**
   * How others know the next keys of a replica for its own: of all, or of one after another, the last being that of all the others too.
   * By awareness when left out.
   */
  readonly recovery?: RecoveryMethod | readonly RecoveryMethod[] | undefined;
  /** Administrator keys to make; 1 when left out. */
  readonly administrators?: number | undefined;
  /** So many administrators together may change the membership; more than half of them when left out. */
  readonly approvals?: number | undefined;
  readonly random?: RandomBytes | undefined;
  readonly files?: FileSystem | undefined;
}

/** Makes the cluster's directory. Rejects with a `HomeError` and leaves nothing behind. */
export async function createCluster(options: NewCluster): Promise<Genesis> {
  const { random = randomBytes, files = systemFiles } = options;
  const directory = resolve(options.directory);
  await checkIsFree(files, directory);
  const secrets = await makeSecrets(options, random);
  const administrators = makeAdministrators(options, random);
  const genesis = makeGenesis(options, directory, secrets, administrators);
  const building = `${directory}.new-${Buffer.from(random(6)).toString('hex')}`;
  try {
    await files.mkdir(building);
    await writeNewText(files, join(building, clusterPaths.genesis), formatGenesis(genesis));
    await files.mkdir(join(building, clusterPaths.replicas));
    for (const { replicaId, link, encryption, recovery: _known, identitySeed: _apart, ...rest } of secrets) {
      const home = join(building, clusterPaths.replicas, replicaId);
      const { keyPem: linkKeyPem, certificatePem: linkCertificatePem } = link;
      const { decryptionKey } = encryption;
      const keys = { ...rest, linkKeyPem, linkCertificatePem, decryptionKey };
      await createHome({ directory: home, genesis, replicaId, ...keys }, files);
    }
    await files.mkdir(join(building, clusterPaths.client));
    await createIdentity(join(building, clusterPaths.identity), random, files);
    for (const { replicaId, recovery, identitySeed } of secrets) {
      if (identitySeed !== undefined) await writeIdentity(building, { replicaId, recovery, identitySeed }, files);
    }
    await writeAdministrators(files, building, administrators);
    await files.fsyncDirectory(join(building, clusterPaths.replicas));
    await files.fsyncDirectory(building);
    await files.rename(building, directory);
    await files.fsyncDirectory(dirname(directory));
  } catch (error) {
    await files.remove(building).catch(() => {}); // the first failure is the one to tell
    const code = errorCode(error);
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR') throw alreadyExists(directory);
    throw homeErrorOf(error, directory, 'writing');
  }
  return genesis;
}

async function writeAdministrators(
  files: FileSystem,
  building: string,
  administrators: readonly Uint8Array[],
): Promise<void> {
  if (administrators.length === 0) return;
  const directory = join(building, clusterPaths.administrators);
  await files.mkdir(directory);
  for (const [i, seed] of administrators.entries()) {
    await writeSeedFile(join(directory, `admin-${i}.seed`), seed, files);
  }
  await files.fsyncDirectory(directory);
}

interface ReplicaSecrets {
  readonly replicaId: string;
  readonly seed: Uint8Array;
  readonly link: LinkCertificate;
  readonly encryption: EncryptionPair;
  readonly dealingSeed: Uint8Array;
  readonly sealingKey: Uint8Array;
  readonly recovery: RecoveryMethod;
  /** Undefined where it recovers by awareness. */
  readonly identitySeed: Uint8Array | undefined;
}

/** The seeds of the administrators' keys. */
function makeAdministrators({ administrators = 1 }: NewCluster, random: RandomBytes): readonly Uint8Array[] {
  if (!Number.isSafeInteger(administrators) || administrators < 0 || administrators > limits.administratorsMax) {
    throw invalid(`${administrators} administrators: the number must be from 0 to ${limits.administratorsMax}`);
  }
  return Array.from({ length: administrators }, () => random(seedSizeBytes));
}

async function makeSecrets(
  { replicas: count, recovery }: NewCluster,
  random: RandomBytes,
): Promise<readonly ReplicaSecrets[]> {
  if (!Number.isSafeInteger(count) || count < 1 || count > limits.replicasMax) {
    throw invalid(`${count} replicas: the number must be from 4 to ${limits.replicasMax}`);
  }
  const methods = methodsOf(recovery, count);
  const curve = await loadCurve();
  return Promise.all(
    methods.map(async (method, i) => {
      const replicaId = `r${i}`;
      return {
        replicaId,
        seed: random(seedSizeBytes),
        link: await makeLinkCertificate({ commonName: replicaId }),
        encryption: makeEncryptionPair(curve, random),
        dealingSeed: random(secretSizeBytes),
        sealingKey: random(secretSizeBytes),
        recovery: method,
        identitySeed: method === 'awareness' ? undefined : random(seedSizeBytes),
      };
    }),
  );
}

/** By replica index. */
function methodsOf(given: NewCluster['recovery'] = 'awareness', count: number): readonly RecoveryMethod[] {
  const methods = typeof given === 'string' ? [given] : given;
  const last = methods.at(-1);
  if (last === undefined || methods.length > count) {
    throw invalid(
      `${methods.length} ways to recover for ${count} replicas: there must be one, and at most one for each`,
    );
  }
  return Array.from({ length: count }, (_, i) => methods[i] ?? last);
}

/** The genesis, having passed every check that a replica makes when it starts. */
function makeGenesis(
  options: NewCluster,
  directory: string,
  secrets: readonly ReplicaSecrets[],
  administrators: readonly Uint8Array[],
): Genesis {
  const { replicas: n, service, k = 0, host = '127.0.0.1', basePort = defaultFirstPort } = options;
  const highest = basePort + httpPortOffset + n - 1;
  if (!Number.isSafeInteger(basePort) || basePort < 1 || highest > 65_535) {
    throw invalid(`ports from ${basePort} to ${highest} would be needed, and ports go from 1 to 65535`);
  }
  const genesis: Genesis = {
    version: genesisVersion,
    name: options.name ?? nameFrom(directory),
    service,
    created: now(),
    // With too few replicas for any fault f is 1 all the same, so that the refusal says how many it takes.
    f: options.f ?? Math.max(1, largestF(n, k)),
    k,
    parameters: { ...defaultParameters, ...options.parameters },
    headIntervalMs: options.headIntervalMs ?? defaultHeadIntervalMs,
    checkpointIntervalMs: options.checkpointIntervalMs ?? defaultCheckpointIntervalMs,
    epochIntervalMs: options.epochIntervalMs ?? defaultEpochIntervalMs,
    successorWaitMs: options.successorWaitMs ?? defaultSuccessorWaitMs,
    administrators: {
      approvals: options.approvals ?? majorityOf(administrators.length),
      keys: administrators.map(publicKeyOf),
    },
    replicas: secrets.map(({ replicaId, seed, link, encryption, recovery, identitySeed }, i) => ({
      replicaId,
      signingKey: publicKeyOf(seed),
      linkKeyDigest: link.keyDigest,
      encryptionKey: encryption.encryptionKey,
      recovery,
      identityKey: identitySeed === undefined ? undefined : publicKeyOf(identitySeed),
      peerAddress: { host: host.replaceAll('{i}', String(i)), port: basePort + i },
      clientAddress: { host: host.replaceAll('{i}', String(i)), port: basePort + clientPortOffset + i },
      httpAddress: { host: host.replaceAll('{i}', String(i)), port: basePort + httpPortOffset + i },
    })),
  };
  const parsed = parseGenesis(formatGenesis(genesis));
  if (!parsed.ok) throw invalid(parsed.reason);
  const membership = firstMembership(parsed.value);
  if (!membership.ok) throw invalid(membership.reason);
  return parsed.value;
}

function publicKeyOf(seed: Uint8Array): PublicKeyText {
  return signingKeyFromSeed(seed).publicKey.text;
}

/** More than half; of none, none. */
function majorityOf(count: number): number {
  return count === 0 ? 0 : Math.floor(count / 2) + 1;
}

/** A name for a cluster in this directory: its own name, or that of the directory above when it is hidden. */
function nameFrom(directory: string): string {
  for (const part of [basename(directory), basename(dirname(directory))]) {
    if (/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/.test(part)) return part;
  }
  return 'coterie';
}

async function checkIsFree(files: FileSystem, directory: string): Promise<void> {
  try {
    const found = await files.describe(directory);
    if (found === undefined) {
      if ((await files.describe(dirname(directory))) !== undefined) return;
      throw new HomeError(
        'home-missing',
        `${dirname(directory)} does not exist.`,
        'Make it first, or choose another place.',
      );
    }
    if (found.kind !== 'directory' || (await files.list(directory)).length > 0) throw alreadyExists(directory);
  } catch (error) {
    throw homeErrorOf(error, directory, 'reading');
  }
}

function alreadyExists(directory: string): HomeError {
  return new HomeError(
    'already-exists',
    `${directory} exists already and is not empty.`,
    'Choose another directory. Nothing is ever replaced: it may hold keys and data that exist nowhere else.',
  );
}

function invalid(reason: string): HomeError {
  return new HomeError(
    'invalid-parameters',
    `This cannot be a cluster: ${reason}.`,
    'n >= 3f + 2k + 1: 4 replicas tolerate 1 fault, 7 tolerate 2, 6 tolerate 1 with 1 more in recovery.',
  );
}
