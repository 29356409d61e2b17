/**
 * Epoch files: which epoch a home is in, where what belongs to it lies, and how what belonged to earlier ones goes.
 *
 *   epoch.json           { version, epoch, statement, signature, closingProof }: the membership of now, as hex; not in epoch 0
 *   keys/ log/ …         of epoch 0, and of a replica that has yet to join
 *   epochs/7/keys/       keys of epoch 7 (`key-files.ts`); when that is the next one, those that were made for it
 *   epochs/7/log/ …      its block log, with its marks (`home-log.ts`)
 *
 * A home turns to another epoch in one step: epoch.json takes the place of the one before. What is of an earlier epoch is erased
 * after that, and at each start, so that a crash in between leaves nothing for ever.
 * Trust: epoch.json is as good as the home; what others sent was verified before it came here.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { FileSystem } from '../platform/files.ts';
import {
  decodeMembershipStatement,
  encodeMembershipStatement,
  type MembershipStatement,
} from '../wire/membership-statement.ts';
import { HomeError, homeErrorOf } from './home-error.ts';
import { logPaths } from './home-log.ts';
import { areKeysOf, type EpochKeys, eraseKeyFiles, type SecretKeys, writeKeyFiles } from './key-files.ts';
import { malformed, parseJson, readText, writeNewText } from './whole-file.ts';

export interface EpochRecord {
  /** Of this epoch. */
  readonly statement: MembershipStatement;
  /** The service's, 48 bytes; undefined for who was there when the epoch before was closed. */
  readonly signature: Uint8Array | undefined;
  /** That the epoch before is over, for those who missed it (`epochs/closing-proof.ts`); undefined for who missed it. */
  readonly closingProof: Uint8Array | undefined;
}

export const epochPaths = { record: 'epoch.json', epochs: 'epochs' } as const;
const form = z.strictObject({
  version: z.literal(1),
  epoch: z.int().min(1).max(0xffff_ffff),
  statement: z.string().regex(/^(?:[0-9a-f]{2})+$/),
  signature: z
    .string()
    .regex(/^[0-9a-f]{96}$/)
    .nullable(),
  closingProof: z
    .string()
    .regex(/^(?:[0-9a-f]{2})+$/)
    .nullable(),
});

/** Where what belongs to an epoch lies, absolute when the home is. */
export function epochDirectory(home: string, epoch: number): string {
  return epoch === 0 ? home : join(home, epochPaths.epochs, String(epoch));
}

export function keysDirectory(home: string, epoch: number): string {
  return join(epochDirectory(home, epoch), 'keys');
}

/** Undefined in epoch 0. Rejects with a `HomeError`. */
export async function readEpochRecord(files: FileSystem, home: string): Promise<EpochRecord | undefined> {
  const path = join(home, epochPaths.record);
  try {
    if ((await files.describe(path)) === undefined) return undefined;
    const { epoch, statement, signature, closingProof } = parseJson(path, await readText(files, path), form);
    const decoded = decodeMembershipStatement(Buffer.from(statement, 'hex'));
    if (!decoded.ok) throw malformed(path, `statement: ${decoded.reason}`);
    if (decoded.value.epoch !== epoch) throw malformed(path, `the statement is of epoch ${decoded.value.epoch}`);
    return {
      statement: decoded.value,
      signature: signature === null ? undefined : Buffer.from(signature, 'hex'),
      closingProof: closingProof === null ? undefined : Buffer.from(closingProof, 'hex'),
    };
  } catch (error) {
    throw homeErrorOf(error, path, 'reading');
  }
}

/** From now on the home is in this epoch; durable. */
export async function writeEpochRecord(files: FileSystem, home: string, record: EpochRecord): Promise<void> {
  const path = join(home, epochPaths.record);
  const { statement, signature, closingProof } = record;
  const hexOf = (bytes: Uint8Array | undefined): string | null =>
    bytes === undefined ? null : Buffer.from(bytes).toString('hex');
  const document = {
    version: 1,
    epoch: statement.epoch,
    statement: hexOf(encodeMembershipStatement(statement)),
    signature: hexOf(signature),
    closingProof: hexOf(closingProof),
  };
  try {
    await files.remove(`${path}.new`);
    await writeNewText(files, `${path}.new`, `${JSON.stringify(document, null, 2)}\n`);
    await files.rename(`${path}.new`, path);
    await files.fsyncDirectory(home);
  } catch (error) {
    throw homeErrorOf(error, path, 'writing');
  }
}

/** Puts keys where those of an epoch lie that is not begun, in place of any that were there. Durable when it resolves. */
export async function placeKeys(files: FileSystem, home: string, epoch: number, keys: SecretKeys): Promise<void> {
  const directory = epochDirectory(home, epoch);
  const building = `${directory}.new`;
  try {
    const parent = join(home, epochPaths.epochs);
    if ((await files.describe(parent)) === undefined) {
      await files.mkdir(parent);
      await files.fsyncDirectory(home);
    }
    await eraseDirectory(files, building);
    await files.mkdir(building);
    await files.mkdir(join(building, 'keys'));
    await writeKeyFiles(files, join(building, 'keys'), keys);
    await files.fsyncDirectory(join(building, 'keys'));
    await files.fsyncDirectory(building);
    // Those that were there may be the ones that the others have been told of: they go when these are in their place.
    await eraseDirectory(files, replacedBy(directory));
    const isReplacement = (await files.describe(directory)) !== undefined;
    if (isReplacement) await files.rename(directory, replacedBy(directory));
    await files.rename(building, directory);
    await files.fsyncDirectory(parent);
    if (!isReplacement) return;
    await eraseDirectory(files, replacedBy(directory));
    await files.fsyncDirectory(parent);
  } catch (error) {
    throw homeErrorOf(error, directory, 'writing');
  }
}

/** Where keys are while others take their place. */
function replacedBy(directory: string): string {
  return `${directory}.old`;
}

/** The empty log of an epoch that is to begin. */
export async function placeLog(files: FileSystem, home: string, epoch: number): Promise<void> {
  const directory = epochDirectory(home, epoch);
  const log = join(directory, logPaths.log);
  try {
    if ((await files.describe(log)) === undefined) await files.mkdir(log);
    await files.fsyncDirectory(directory);
  } catch (error) {
    throw homeErrorOf(error, log, 'writing');
  }
}

/** Which of these are the keys that a membership names; a `HomeError` when none are. */
export function keysNamed<Keys extends EpochKeys>(
  owner: MembershipStatement['replicas'][number],
  epoch: number,
  candidates: readonly Keys[],
): Keys {
  const named = candidates.find((keys) => areKeysOf(keys, owner));
  if (named !== undefined) return named;
  throw new HomeError(
    'key-mismatch',
    `The membership of epoch ${epoch} names keys of replica "${owner.replicaId}" that are not in this home.`,
    'Somebody else has named keys for it, or the home is an old copy. An administrator can replace the replica.',
  );
}

/**
 * Erases what is of epochs before this one, and what was begun for one that did not come. Of a replica that is no member any
 * more: everything, also what it had made for this epoch.
 */
export async function eraseEarlier(
  files: FileSystem,
  home: string,
  epoch: number,
  { isMember }: { readonly isMember: boolean },
): Promise<void> {
  try {
    if (epoch > 0) {
      await eraseKeyFiles(files, join(home, 'keys'));
      for (const name of await files.list(home)) {
        const isOfLog = name.startsWith(logPaths.logDamaged) || Object.values<string>(logPaths).includes(name);
        if (isOfLog) await files.remove(join(home, name));
      }
      await files.fsyncDirectory(home);
    }
    const parent = join(home, epochPaths.epochs);
    if ((await files.describe(parent)) === undefined) return;
    // A crash came when these had gone, and before others were there.
    const next = epochDirectory(home, epoch + 1);
    const isHalfDone = (await files.describe(next)) === undefined;
    if (isMember && isHalfDone && (await files.describe(replacedBy(next))) !== undefined) {
      await files.rename(replacedBy(next), next);
      await files.fsyncDirectory(parent);
    }
    for (const name of await files.list(parent)) {
      const isCurrent = name === String(epoch) || name === String(epoch + 1);
      if (!isMember || !isCurrent) await eraseDirectory(files, join(parent, name));
    }
    await files.fsyncDirectory(parent);
  } catch (error) {
    throw homeErrorOf(error, home, 'writing');
  }
}

async function eraseDirectory(files: FileSystem, directory: string): Promise<void> {
  if ((await files.describe(directory)) === undefined) return;
  await eraseKeyFiles(files, join(directory, 'keys'));
  await files.remove(directory);
}
