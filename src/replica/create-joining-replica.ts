/**
 * Create a joining replica: the home of a replica that is to be added to a cluster, with fresh keys, and what the
 * administrators have to know of it.
 *
 * In: the genesis of the cluster, its service key, where it will listen. Out: a home, and in it the description that `coterie admin add`
 * takes. The keys never leave the home; the identity key, where there is one, is never in it.
 */
import { join, resolve } from 'node:path';
import { seedSizeBytes, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { type RandomBytes, randomBytes } from '../platform/random.ts';
import { loadCurve, makeEncryptionPair } from '../storage/encryption-key.ts';
import { createHome, homePaths } from '../storage/home.ts';
import { HomeError, homeErrorOf } from '../storage/home-error.ts';
import { secretSizeBytes } from '../storage/key-files.ts';
import { writeNewText } from '../storage/whole-file.ts';
import { makeLinkCertificate } from '../transport/certificate.ts';
import {
  formatReplica,
  type Genesis,
  type GenesisReplica,
  parseReplica,
  type RecoveryMethod,
} from '../wire/genesis.ts';
import { clientPortOffset, httpPortOffset } from './create-cluster.ts';

/** In the home: its public keys and its addresses. */
export const joiningFile = 'joining.json';

export interface NewReplica {
  /** Must not exist; its parent must. */
  readonly directory: string;
  readonly genesis: Genesis;
  readonly replicaId: string;
  readonly host: string;
  /** It listens for replicas here, for clients 100 above, for HTTP 200 above. */
  readonly basePort: number;
  /** By which it knows the service that takes it in, 192 hex characters; undefined: its operator writes it into the home. */
  readonly serviceKey?: string | undefined;
  /** How others know its next keys for its own; by awareness when left out. */
  readonly recovery?: RecoveryMethod | undefined;
  /** Puts down its identity key where the replica cannot read it; wanted where it has one. */
  readonly keepIdentity?: ((identitySeed: Uint8Array) => Promise<void>) | undefined;
  readonly random?: RandomBytes | undefined;
  readonly files?: FileSystem | undefined;
}

/** Makes the home. Rejects with a `HomeError`. */
export async function createJoiningReplica(options: NewReplica): Promise<GenesisReplica> {
  const { genesis, replicaId, host, basePort, random = randomBytes, files = systemFiles } = options;
  const { recovery = 'awareness', keepIdentity } = options;
  const directory = resolve(options.directory);
  if ((await files.describe(directory)) !== undefined) {
    throw new HomeError('already-exists', `${directory} exists already.`, 'Choose another directory for the home.');
  }
  const seed = random(seedSizeBytes);
  const identitySeed = recovery === 'awareness' ? undefined : random(seedSizeBytes);
  const link = await makeLinkCertificate({ commonName: replicaId });
  const { encryptionKey, decryptionKey } = makeEncryptionPair(await loadCurve(), random);
  const replica = parseReplica(
    formatReplica({
      replicaId,
      signingKey: signingKeyFromSeed(seed).publicKey.text,
      linkKeyDigest: link.keyDigest,
      encryptionKey,
      recovery,
      identityKey: identitySeed && signingKeyFromSeed(identitySeed).publicKey.text,
      peerAddress: { host, port: basePort },
      clientAddress: { host, port: basePort + clientPortOffset },
      httpAddress: { host, port: basePort + httpPortOffset },
    }),
  );
  if (!replica.ok) {
    throw new HomeError(
      'invalid-parameters',
      `This cannot be a replica: ${replica.reason}.`,
      'An id is 1 to 32 of a-z, 0-9 and -; ports go from 1 to 65535.',
    );
  }
  if (genesis.replicas.some((each) => each.replicaId === replicaId)) {
    throw new HomeError(
      'invalid-parameters',
      `There is a replica ${replicaId} in the genesis.`,
      'An id is never given to another replica: choose one that there has not been.',
    );
  }
  await createHome(
    {
      directory,
      genesis,
      replicaId,
      seed,
      linkKeyPem: link.keyPem,
      linkCertificatePem: link.certificatePem,
      decryptionKey,
      dealingSeed: random(secretSizeBytes),
      sealingKey: random(secretSizeBytes),
    },
    files,
  );
  try {
    if (options.serviceKey !== undefined) {
      await writeNewText(files, join(directory, homePaths.serviceKey), `${options.serviceKey}\n`);
    }
    if (identitySeed !== undefined) await keepIdentity?.(identitySeed);
    // The last: a home that has it is whole, and may be started.
    await writeNewText(files, join(directory, joiningFile), formatReplica(replica.value));
    await files.fsyncDirectory(directory);
  } catch (error) {
    await files.remove(directory).catch(() => {}); // the first failure is the one to tell
    throw homeErrorOf(error, directory, 'writing');
  }
  return replica.value;
}
