/**
 * Epoch keys: which keys a home has in an epoch, or that it has none, and what it begins an epoch with.
 *
 * In: the membership of the epoch, the key files of a home. Out: the keys that the membership names, or that they are lost: somebody
 * else has named others, the home is an old copy, or they were cleaned away. A replica with an identity key gets others at
 * the next change of epoch and has no part in this one; without one it is over (docs/protocol/epochs.md K2).
 * Safety: with no keys, nothing is signed; and the log that it had with them is never taken for an empty one.
 */
import { join } from 'node:path';
import type { PairingCurve } from '../crypto/curve.ts';
import type { FileSystem } from '../platform/files.ts';
import { randomBytes } from '../platform/random.ts';
import type { StatedReplica } from '../wire/membership-statement.ts';
import {
  type EpochRecord,
  isEpochBegun,
  keysDirectory,
  markAwaitingState,
  placeKeys,
  placeLog,
  placeWithoutKeys,
} from './epoch-files.ts';
import { HomeError, type HomeErrorCode } from './home-error.ts';
import {
  areKeysOf,
  type EpochKeys,
  keyFileNames,
  type PublicKeys,
  readKeyFiles,
  secretSizeBytes,
} from './key-files.ts';
import { KeyStore, type SealedKeyShare } from './key-store.ts';

/** Undefined: they are not here, and the replica can get others by its identity key. Rejects when it cannot. */
export async function readPresentKeys(
  files: FileSystem,
  directory: string,
  about: {
    readonly owner: PublicKeys | undefined;
    readonly record: EpochRecord | undefined;
    readonly curve: PairingCurve;
  },
): Promise<EpochKeys | undefined> {
  const { owner, record, curve } = about;
  const path = keysDirectory(directory, record?.statement.epoch ?? 0);
  try {
    return await readKeyFiles(files, path, { owner, curve });
  } catch (error) {
    const member = record?.statement.replicas.find(({ replicaId }) => replicaId === owner?.replicaId);
    const isLost = error instanceof HomeError && isDamage(error.code);
    if (isLost && member !== undefined && canNameAnew(member)) return undefined;
    throw error;
  }
}

/** Keys of an epoch that is not the present one. Damaged ones are none: nobody counts on them yet, or the membership says so. */
export async function readWholeKeys(
  files: FileSystem,
  directory: string,
  { epoch, curve }: { readonly epoch: number; readonly curve: PairingCurve },
): Promise<EpochKeys | undefined> {
  const path = keysDirectory(directory, epoch);
  if ((await files.describe(path)) === undefined) return undefined;
  try {
    return await readKeyFiles(files, path, { owner: undefined, curve });
  } catch (error) {
    if (error instanceof HomeError && isDamage(error.code)) return undefined;
    throw error;
  }
}

/** Puts everything in place that the epoch begins with, so that one rename makes it the present one. False: it does without us. */
export async function prepareEpoch(
  files: FileSystem,
  directory: string,
  options: {
    readonly next: EpochRecord;
    readonly replicaId: string;
    readonly candidates: readonly EpochKeys[];
    /** Keys that lie where those of that epoch belong. */
    readonly begun: EpochKeys | undefined;
    readonly share: SealedKeyShare | undefined;
    readonly awaitsState: boolean;
  },
): Promise<boolean> {
  const { next, replicaId, candidates, begun, share, awaitsState } = options;
  const { epoch, serviceId, sharingEpoch } = next.statement;
  const owner = next.statement.replicas.find((each) => each.replicaId === replicaId);
  if (owner === undefined) return false;
  // It was in that epoch before, and its epoch.json is an old one: what it promised there is in the log that it has there.
  const isBack = begun !== undefined && areKeysOf(begun, owner) && (await isEpochBegun(files, directory, epoch));
  if (!isBack) {
    const named = keysNamed(owner, epoch, candidates);
    if (named === undefined) await placeWithoutKeys(files, directory, epoch);
    else {
      // The sealing key is a new one in each epoch: with it goes what a disk keeps of a sealed share.
      const keys = { ...named, sealingKey: randomBytes(secretSizeBytes) };
      await placeKeys(files, directory, epoch, keys);
      if (share !== undefined) {
        const path = join(keysDirectory(directory, epoch), keyFileNames.sealedShare);
        await new KeyStore({ path, sealingKey: keys.sealingKey, serviceId, epoch: sharingEpoch, files }).write(share);
      }
      await placeLog(files, directory, epoch);
    }
  }
  if (awaitsState) await markAwaitingState(files, directory, epoch);
  return true;
}

/** Which of these are the keys that a membership names. Undefined: none, and an identity key can vouch for others; without one it throws. */
function keysNamed<Keys extends EpochKeys>(
  owner: StatedReplica,
  epoch: number,
  candidates: readonly Keys[],
): Keys | undefined {
  const named = candidates.find((keys) => areKeysOf(keys, owner));
  if (named === undefined && !canNameAnew(owner)) throw keysLost({ replicaId: owner.replicaId, epoch });
  return named;
}

/** Others take its next keys for its own though it has not those of now. */
function canNameAnew({ recovery }: Pick<StatedReplica, 'recovery'>): boolean {
  return recovery !== 'awareness';
}

export function keysLost({ replicaId, epoch }: { readonly replicaId: string; readonly epoch: number }): HomeError {
  return new HomeError(
    'key-mismatch',
    `The membership of epoch ${epoch} names keys of replica "${replicaId}" that are not in this home.`,
    'Somebody else has named keys for it, or the home is an old copy. With hardware or offline recovery it gets new keys at the next change of epoch by itself; else an administrator replaces it: "coterie admin replace".',
  );
}

function isDamage(code: HomeErrorCode): boolean {
  return code === 'file-malformed' || code === 'file-missing' || code === 'key-mismatch';
}
