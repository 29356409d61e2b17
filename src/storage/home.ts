/**
 * Home: the directory of one replica: who it is, its keys, its log and its state.
 *
 *   genesis.json             copy of the cluster's genesis
 *   replica.json             { version, replicaId, serviceId, service }
 *   keys/                    its keys in epoch 0 (`key-files.ts`)
 *   log/                     the block log of epoch 0
 *   log-began                there when the log was ever opened
 *   log-lost                 there when the log was found lost: the replica is an observer until a new epoch
 *   log-damaged-1/ …         a damaged log that was set aside (`home-log.ts`)
 *   epoch.json epochs/       which epoch it is in, with keys and log of that (`epoch-files.ts`)
 *   state/                   the state, as of a checkpoint (`state-directory.ts`)
 *   joining.json             there when it was made to join a cluster that was there before
 *   restored.json            there when it goes on from a snapshot (`restored-home.ts`)
 *
 * Safety: one process at a time (`platform/directory-lock.ts`), and never with an empty log in place of a lost one: each
 * of these could make a correct replica sign two blocks of one round.
 * Trust: whoever reads the keys is the replica. No error holds any part of them.
 */
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { type Digest, hmacSha256 } from '../crypto/hash.ts';
import { type DirectoryLock, lockDirectory } from '../platform/directory-lock.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { domains } from '../wire/domain.ts';
import {
  formatGenesis,
  type Genesis,
  genesisVersion,
  parseGenesis,
  serviceIdOf,
  versionOfGenesis,
} from '../wire/genesis.ts';
import type { DiskLog } from './disk-log.ts';
import { faultOfEncryptionKeys, loadCurve } from './encryption-key.ts';
import {
  checkNotBegun,
  type EpochRecord,
  epochDirectory,
  epochPaths,
  eraseEarlier,
  keepLogKey,
  keysDirectory,
  placeKeys,
  readEpochMarks,
  readEpochRecord,
  stateHasCome,
  writeEpochRecord,
} from './epoch-files.ts';
import { keysLost, prepareEpoch, readPresentKeys, readWholeKeys } from './epoch-keys.ts';
import { HomeError, homeErrorOf } from './home-error.ts';
import { findLogLost, type HomeLogOptions, logPaths, openHomeLog } from './home-log.ts';
import {
  type EpochKeys,
  keyFileNames,
  type PublicKeys,
  readKeyFiles,
  type SecretKeys,
  writeKeyFiles,
} from './key-files.ts';
import type { SealedKeyShare } from './key-store.ts';
import { keepServiceKey, readServiceKey } from './service-key-file.ts';
import type { OpenState } from './state-directory.ts';
import { malformed, parseJson, readText, writeNewText } from './whole-file.ts';

/** Where things are in a home. */
export const homePaths = {
  genesis: 'genesis.json',
  replica: 'replica.json',
  keys: 'keys',
  signingSeed: join('keys', keyFileNames.signingSeed),
  linkKey: join('keys', keyFileNames.linkKey),
  linkCertificate: join('keys', keyFileNames.linkCertificate),
  encryptionKey: join('keys', keyFileNames.encryptionKey),
  dealingSeed: join('keys', keyFileNames.dealingSeed),
  sealingKey: join('keys', keyFileNames.sealingKey),
  sealedShare: join('keys', keyFileNames.sealedShare),
  log: logPaths.log,
  serviceKey: 'service-key',
  logBegan: logPaths.logBegan,
  logLost: logPaths.logLost,
  state: 'state',
  restored: 'restored.json',
  joining: 'joining.json',
} as const;

const replicaForm = z.strictObject({
  version: z.literal(1),
  replicaId: z.string(),
  serviceId: z.string(),
  service: z.string().min(1).max(4096),
});

/** An open home, held by this process until it is closed; whether it has the keys of the epoch that it is in or not. */
export interface AnyHome {
  /** Absolute. */
  readonly directory: string;
  readonly genesis: Genesis;
  readonly serviceId: Digest;
  readonly replicaId: string;
  readonly epoch: number;
  /** How it came to this epoch; undefined in epoch 0. */
  readonly record: EpochRecord | undefined;
  /** Its place in the membership; -1 when it is not there, or not yet. */
  readonly replicaIndex: number;
  /** What this replica runs: as in the genesis, unless its operator wrote another name for it into replica.json. */
  readonly service: string;
  /** Where the keys for the next epoch lie, once they are made, absolute. */
  readonly nextDirectory: string;
  /** The service key, 192 hex characters, once this replica has seen it, or its operator has written it here. */
  readonly serviceKey: string | undefined;
  /** Writes it down, unless it is there already. Rejects with `service-key-mismatch` when another one is. */
  keepServiceKey(serviceKey: string): Promise<void>;
  /** Keys that were made for the next epoch; undefined when none were. */
  readNextKeys(): Promise<EpochKeys | undefined>;
  /** Puts down keys for the next epoch, in place of any that were made for it. Durable when it resolves. */
  keepNextKeys(keys: SecretKeys): Promise<EpochKeys>;
  /**
   * Turns to a later epoch: from then on this home is that of the epoch, which has an empty log, and all of earlier ones is erased. This
   * object is not to be used any more; the log is closed. `share`: ours of the epoch's sharing. Undefined: the membership does
   * not have this replica, and its keys are erased. Without the keys that it names: a `KeylessHome` when an identity key can vouch for
   * others, else it rejects with `key-mismatch`. `awaitsState`: the state that the epoch begins with is not here, so the
   * logs of earlier ones stay until `dropEarlierLogs`.
   */
  turnTo(
    record: EpochRecord,
    share: SealedKeyShare | undefined,
    options?: { readonly awaitsState?: boolean },
  ): Promise<Home | KeylessHome | undefined>;
  /** Lets other processes have the home. Close the log and the state first. */
  close(): Promise<void>;
}

/** A home with the keys of its epoch. What it says of keys and log is of that. */
export interface Home extends AnyHome, Omit<EpochKeys, 'seed'> {
  readonly kind: 'with-keys';
  /** Where the log of the epoch lies, absolute. */
  readonly epochDirectory: string;
  /** Where the sealed key share lies, absolute. */
  readonly sealedSharePath: string;
  /** The log this replica had in this epoch is gone, so it may only observe (docs/protocol/ordering.md §3.3). */
  readonly isLogLost: boolean;
  /** Opens the log; at most once at a time. `isLogLost` is true afterwards also when it was damaged and set aside. */
  openLog(options?: HomeLogOptions): Promise<DiskLog>;
  /** Opens the state; at most once at a time. `wipe` says why what is there is to be removed first, as damaged. */
  openState(options?: { readonly wipe?: string | undefined }): Promise<OpenState>;
  /** The state is of this epoch, or that which it begins with, and durable: logs of earlier ones that were kept for it go. */
  dropEarlierLogs(): Promise<void>;
}

/** The home of a member whose keys of this epoch are lost, and whose next ones an identity key can vouch for. */
export interface KeylessHome extends AnyHome {
  readonly kind: 'without-keys';
  readonly record: EpochRecord;
}

export interface NewHome extends SecretKeys {
  readonly directory: string;
  readonly genesis: Genesis;
  readonly replicaId: string;
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
    await writeKeyFiles(files, at(homePaths.keys), home);
    for (const path of [homePaths.keys, homePaths.log, '.']) await files.fsyncDirectory(at(path));
  } catch (error) {
    throw homeErrorOf(error, directory, 'writing');
  }
}

/** What a home says of the epoch that it is in. */
export type HomeEpoch = Pick<Home, 'directory' | 'serviceId' | 'serviceKey'> & { readonly record: EpochRecord };

/** Opens a home with its keys and takes its lock. Rejects with a `HomeError` that says what is wrong with it. */
export async function openHome(path: string, files: FileSystem = systemFiles): Promise<Home> {
  const home = await openAnyHome(path, files);
  if (home.kind === 'with-keys') return home;
  await home.close();
  throw keysLost(home);
}

/**
 * The same for one whose keys may be lost. `check` throws when the home is not in the epoch that it says, before anything is erased for
 * the sake of that.
 */
export async function openAnyHome(
  path: string,
  files: FileSystem = systemFiles,
  check: (epoch: HomeEpoch) => void = () => {},
): Promise<Home | KeylessHome> {
  const directory = resolve(path);
  await checkIsHome(files, directory);
  const lock = await takeLock(directory);
  try {
    return await readHome(files, directory, lock, check);
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

async function readHome(
  files: FileSystem,
  directory: string,
  lock: DirectoryLock,
  check: (epoch: HomeEpoch) => void = () => {},
): Promise<Home | KeylessHome> {
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
  const { replicaId } = replica;
  const curve = await loadCurve();
  const fault = faultOfEncryptionKeys(curve, genesis);
  if (fault !== undefined) throw malformed(at(homePaths.genesis), fault);
  const record = await readEpochRecord(files, directory);
  const epoch = record?.statement.epoch ?? 0;
  const members: readonly PublicKeys[] = record?.statement.replicas ?? genesis.replicas;
  const replicaIndex = members.findIndex((each) => each.replicaId === replicaId);
  const serviceKey = await readServiceKey(files, at(homePaths.serviceKey), curve);
  if (record !== undefined) check({ directory, serviceId, serviceKey, record });
  if (replicaIndex < 0) await checkMayJoin(files, directory, { replicaId, epoch, members, serviceKey });
  if (record === undefined) await checkHasRecord(files, directory);
  const keys = await readPresentKeys(files, directory, { owner: members[replicaIndex], record, curve });
  const ofEpoch = epochDirectory(directory, epoch);
  const { awaitsState, isKeyless } = await readEpochMarks(files, ofEpoch);
  // Not before the keys of this epoch are there: who has an old epoch.json in place of the present one loses nothing yet.
  if (keys !== undefined || isKeyless) {
    await eraseEarlier(files, directory, epoch, { isMember: true, keepsLogs: awaitsState });
  }
  const logKey = keys === undefined ? undefined : hmacSha256(keys.seed, [domains.logKey]);
  const readNextKeys = (): Promise<EpochKeys | undefined> =>
    readWholeKeys(files, directory, { epoch: epoch + 1, curve });
  const home: AnyHome = {
    directory,
    genesis,
    serviceId,
    replicaId,
    epoch,
    record,
    replicaIndex,
    service: replica.service,
    nextDirectory: epochDirectory(directory, epoch + 1),
    serviceKey,
    keepServiceKey: (serviceKey) => keepServiceKey(files, at(homePaths.serviceKey), serviceKey, curve),
    readNextKeys,
    async keepNextKeys(next) {
      await checkNotBegun(files, directory, epoch + 1);
      await placeKeys(files, directory, epoch + 1, next);
      return readKeyFiles(files, keysDirectory(directory, epoch + 1), { owner: undefined, curve });
    },
    async turnTo(next, share, { awaitsState = false } = {}) {
      const candidates = [await readNextKeys(), keys].filter((each) => each !== undefined);
      const begun = await readWholeKeys(files, directory, { epoch: next.statement.epoch, curve });
      const what = { next, replicaId, candidates, begun, share, awaitsState };
      const isMember = await prepareEpoch(files, directory, what);
      if (awaitsState && logKey !== undefined) await keepLogKey(files, ofEpoch, logKey);
      await writeEpochRecord(files, directory, next);
      if (isMember) return readHome(files, directory, lock);
      await eraseEarlier(files, directory, next.statement.epoch, { isMember });
      return undefined;
    },
    close: () => lock.release(),
  };
  if (keys === undefined || logKey === undefined) {
    if (record === undefined) throw new Error('invariant: the keys of the first epoch are lost, and it was begun');
    return { ...home, kind: 'without-keys', record };
  }
  let isLogLost = await findLogLost(files, ofEpoch);
  const { seed: _, ...ours } = keys;
  return {
    ...home,
    ...ours,
    kind: 'with-keys',
    epochDirectory: ofEpoch,
    sealedSharePath: join(keysDirectory(directory, epoch), keyFileNames.sealedShare),
    get isLogLost() {
      return isLogLost;
    },
    async openLog(options = {}) {
      const open = await openHomeLog({ files, directory: ofEpoch, logKey, isLogLost }, options);
      isLogLost = open.isLogLost;
      return open.log;
    },
    openState: ({ wipe } = {}) => openState(files, directory, wipe),
    async dropEarlierLogs() {
      if (!awaitsState) return;
      await eraseEarlier(files, directory, epoch, { isMember: true });
      await stateHasCome(files, ofEpoch);
    },
  };
}

/** A replica that no membership has yet waits for one that does. One that was in a membership before was removed. */
async function checkMayJoin(
  files: FileSystem,
  directory: string,
  about: {
    readonly replicaId: string;
    readonly epoch: number;
    readonly members: readonly PublicKeys[];
    readonly serviceKey: string | undefined;
  },
): Promise<void> {
  const { replicaId, epoch, members, serviceKey } = about;
  if (epoch > 0) {
    await eraseEarlier(files, directory, epoch, { isMember: false });
    throw new HomeError(
      'removed',
      `Replica "${replicaId}" is not in the membership of epoch ${epoch}: it was removed, and its keys are erased.`,
      'A replica that is to come back is made anew, with an id of its own: "coterie admin make-replica".',
    );
  }
  if ((await files.describe(join(directory, homePaths.joining))) !== undefined) {
    if (serviceKey !== undefined) return;
    throw new HomeError(
      'service-key-missing',
      `Replica "${replicaId}" is to join, and ${join(directory, homePaths.serviceKey)} holds no service key.`,
      'Write the service key of the cluster there, from its directory or from who you trust: 192 hex characters. By it the replica knows the service that takes it in.',
    );
  }
  throw new HomeError(
    'genesis-mismatch',
    `${join(directory, homePaths.replica)} names replica "${replicaId}", which the genesis does not have.`,
    `The genesis has ${members.map((each) => each.replicaId).join(', ')}.`,
  );
}

/** Without its epoch.json a home of a later epoch looks like one of the first whose keys are gone. */
async function checkHasRecord(files: FileSystem, directory: string): Promise<void> {
  if ((await files.describe(join(directory, homePaths.keys))) !== undefined) return;
  throw new HomeError(
    'file-missing',
    `${join(directory, epochPaths.record)} is missing, and so are the keys of the first epoch.`,
    'Put it back, or take that of another replica that is in the epoch whose keys are in epochs/.',
  );
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

async function openState(files: FileSystem, home: string, wipe: string | undefined): Promise<OpenState> {
  // Loaded when it is needed: it brings lmdb, which is native code.
  const { openStateDirectory } = await import('./state-directory.ts');
  return openStateDirectory(files, home, homePaths.state, wipe);
}
