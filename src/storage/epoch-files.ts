/**
 * Epoch files: which epoch a home is in, where what belongs to it lies, and how what belonged to earlier ones goes.
 *
 *   epoch.json           { version, epoch, statement, signature, closingProof }: the membership of now, as hex; not in epoch 0
 *   keys/ log/ …         of epoch 0, and of a replica that has yet to join
 *   epochs/7/keys/       keys of epoch 7 (`key-files.ts`); when that is the next one, those that were made for it
 *   epochs/7/log/ …      its block log, with its marks (`home-log.ts`)
 *   epochs/7/keys-lost   there when the home is in epoch 7 without the keys of it (`epoch-keys.ts`)
 *   epochs/7/state-awaited  there while the state that epoch 7 began with is not in the home: then the logs of earlier ones stay
 *   epochs/6/log.key     by which such a log can be opened when its keys are gone
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
import { leaveMark, logPaths } from './home-log.ts';
import { eraseKeyFiles, type SecretKeys, writeKeyFiles } from './key-files.ts';
import { malformed, parseJson, readText, writeNewText } from './whole-file.ts';

export interface EpochRecord {
  /** Of this epoch. */
  readonly statement: MembershipStatement;
  /** The service's, 48 bytes; undefined for who was there when the epoch before was closed. */
  readonly signature: Uint8Array | undefined;
  /** That the epoch before is over, for those who missed it (`epochs/closing-proof.ts`); undefined for who missed it. */
  readonly closingProof: Uint8Array | undefined;
}

export const epochPaths = {
  record: 'epoch.json',
  epochs: 'epochs',
  /** In the directory of an epoch, as the next two. */
  keysLost: 'keys-lost',
  stateAwaited: 'state-awaited',
  logKey: 'log.key',
} as const;
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
export function placeKeys(files: FileSystem, home: string, epoch: number, keys: SecretKeys): Promise<void> {
  return placeEpoch(files, home, epoch, async (building) => {
    await files.mkdir(join(building, 'keys'));
    await writeKeyFiles(files, join(building, 'keys'), keys);
    await files.fsyncDirectory(join(building, 'keys'));
  });
}

/**
 * An epoch that the home is in without the keys of it. Should these be put back, what was signed with them is not known: the log is
 * a lost one.
 */
export function placeWithoutKeys(files: FileSystem, home: string, epoch: number): Promise<void> {
  return placeEpoch(files, home, epoch, async (building) => {
    for (const name of [epochPaths.keysLost, logPaths.logLost]) await writeNewText(files, join(building, name), '');
  });
}

async function placeEpoch(
  files: FileSystem,
  home: string,
  epoch: number,
  fill: (directory: string) => Promise<void>,
): Promise<void> {
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
    await fill(building);
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

/** Has this home been at work in this epoch? */
export async function isEpochBegun(files: FileSystem, home: string, epoch: number): Promise<boolean> {
  return (await files.describe(join(epochDirectory(home, epoch), logPaths.logBegan))) !== undefined;
}

/** Rejects where keys for an epoch would take the place of those that were in use there. */
export async function checkNotBegun(files: FileSystem, home: string, epoch: number): Promise<void> {
  if (!(await isEpochBegun(files, home, epoch))) return;
  throw new HomeError(
    'already-exists',
    `${epochDirectory(home, epoch)} is of an epoch that this replica has been in, and ${join(home, epochPaths.record)} is of an earlier one.`,
    `Put back the ${epochPaths.record} of epoch ${epoch}, from this home or another replica's. Nothing was changed.`,
  );
}

export interface EpochMarks {
  /** It turned to this epoch without the keys of it. */
  readonly isKeyless: boolean;
  /** The state that this epoch began with has not come. */
  readonly awaitsState: boolean;
}

export async function readEpochMarks(files: FileSystem, directory: string): Promise<EpochMarks> {
  const isThere = async (name: string): Promise<boolean> => (await files.describe(join(directory, name))) !== undefined;
  return { isKeyless: await isThere(epochPaths.keysLost), awaitsState: await isThere(epochPaths.stateAwaited) };
}

export function markAwaitingState(files: FileSystem, home: string, epoch: number): Promise<void> {
  return leaveMark(files, epochDirectory(home, epoch), epochPaths.stateAwaited);
}

export async function stateHasCome(files: FileSystem, directory: string): Promise<void> {
  try {
    await files.remove(join(directory, epochPaths.stateAwaited));
    await files.fsyncDirectory(directory);
  } catch (error) {
    throw homeErrorOf(error, directory, 'writing');
  }
}

/** Beside a log that outlives its keys: it shows what is damage, and signs and opens nothing. */
export async function keepLogKey(files: FileSystem, directory: string, logKey: Uint8Array): Promise<void> {
  const path = join(directory, epochPaths.logKey);
  try {
    await files.remove(path);
    await writeNewText(files, path, `${Buffer.from(logKey).toString('hex')}\n`);
    await files.fsyncDirectory(directory);
  } catch (error) {
    throw homeErrorOf(error, path, 'writing');
  }
}

/**
 * Erases what is of epochs before this one, and what was begun for one that did not come. Of a replica that is no member any
 * more: everything, also what it had made for this epoch. `keepsLogs`: but not the logs of earlier epochs.
 */
export async function eraseEarlier(
  files: FileSystem,
  home: string,
  epoch: number,
  { isMember, keepsLogs = false }: { readonly isMember: boolean; readonly keepsLogs?: boolean },
): Promise<void> {
  const isOfLog = (name: string): boolean =>
    name.startsWith(logPaths.logDamaged) ||
    name === epochPaths.logKey ||
    Object.values<string>(logPaths).includes(name);
  try {
    if (epoch > 0) {
      await eraseKeyFiles(files, join(home, 'keys'));
      if (!keepsLogs) {
        for (const name of await files.list(home)) if (isOfLog(name)) await files.remove(join(home, name));
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
      if (isMember && isCurrent) continue;
      const directory = join(parent, name);
      if ((await files.describe(directory))?.kind !== 'directory') {
        await files.remove(directory);
        continue;
      }
      const isEarlier = /^[0-9]+$/.test(name) && Number(name) < epoch;
      const hasLog = (await files.describe(join(directory, logPaths.log))) !== undefined;
      if (!(keepsLogs && isEarlier && hasLog)) await eraseDirectory(files, directory);
      else {
        await eraseKeyFiles(files, join(directory, 'keys'));
        for (const each of await files.list(directory)) {
          if (!isOfLog(each)) await files.remove(join(directory, each));
        }
        await files.fsyncDirectory(directory);
      }
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
