/**
 * Run keeper: keeps one replica until it is told to stop, or the replica must not be started any more.
 *
 * Alone it stops on SIGTERM and Ctrl-C. Started by `up` it also stops when the channel to `up` closes, and passes on to `up`
 * what the replica has for it, as if it were the replica itself.
 */
import { resolve } from 'node:path';
import { type DestinationStream, destination, pino } from 'pino';
import { checkNotWritableBy, readCodeTree } from '../keeper/code-tree.ts';
import { Keeper } from '../keeper/keeper.ts';
import { KeeperError } from '../keeper/keeper-error.ts';
import { isServiceKey, KeeperStore, storePaths } from '../keeper/keeper-store.ts';
import { differenceError, firstDifference, type Manifest, parseManifest } from '../keeper/manifest.ts';
import { findUser, type ReplicaUser } from '../keeper/replica-user.ts';
import { systemFiles } from '../platform/files.ts';
import { homeErrorOf } from '../storage/home-error.ts';
import { limits } from '../wire/limits.ts';
import { CliError, exitCodes, toCliError } from './cli-error.ts';
import { codeRoot, programPath } from './code-root.ts';
import type { CommandContext } from './command.ts';
import type { KeeperCommandOptions } from './keeper.ts';
import { retentionArguments } from './retention.ts';
import { type FromReplica, isFromReplica, isStop } from './supervision-message.ts';

export async function runKeeper(options: KeeperCommandOptions, { terminal }: CommandContext): Promise<void> {
  const sink: DestinationStream & NodeJS.EventEmitter = destination({ fd: 2, sync: true });
  sink.on('error', () => {});
  const logger = pino(
    { level: options.logLevel, base: { from: 'keeper' }, timestamp: pino.stdTimeFunctions.isoTime },
    sink,
  );
  const home = resolve(options.home);
  const user = await userOf(options.user);
  const store = await KeeperStore.open(options.store, home);
  try {
    await pinServiceKey(store, options.serviceKey);
    if (options.manifest === false) {
      logger.warn('no manifest: whatever code is there is started, also what a replica that was taken over left there');
    }
    const keeper = await Keeper.open({
      store,
      home,
      identityPath: options.identity,
      user,
      command: (isClean) => [
        process.execPath,
        programPath(),
        'replica',
        '--home',
        home,
        '--log-level',
        options.logLevel,
        ...retentionArguments(options),
        ...(isClean ? ['--clean'] : []),
      ],
      homeCommand: [process.execPath, programPath(), 'keeper-home-work'],
      workingDirectory: process.cwd(),
      verifyCode: () => verifyCode(options, store.directory, user),
      atMostMs: options.atMost,
      stopPatienceMs: options.stopPatience,
      logger,
      onLine: (line) => sink.write(`${line}\n`),
      onOther: (message) => {
        if (isFromReplica(message)) tellUp(message);
      },
    });
    stopWhenAsked(keeper);
    const { replicaId, identityKey } = keeper;
    if (terminal.json) terminal.document({ replicaId, identityKey, home, userId: user?.uid, store: store.directory });
    await keeper.run();
  } catch (error) {
    const { code, message, hint } = toCliError(error);
    tellUp({ kind: 'failed', failure: hint === undefined ? { code, message } : { code, message, hint } });
    throw error;
  } finally {
    await store.close();
    if (process.connected) process.disconnect();
  }
}

async function userOf(name: string | undefined): Promise<ReplicaUser | undefined> {
  if (name === undefined) return undefined;
  const user = await findUser(name);
  if (process.getuid?.() === 0) return user;
  throw new CliError(`only root can start a replica as another user, such as "${name}"`, {
    code: 'not-root',
    hint: 'Run the keeper as root; it needs no more than the capabilities SETUID, SETGID and KILL. Or leave out --user.',
    exitCode: exitCodes.environment,
  });
}

async function pinServiceKey(store: KeeperStore, given: string | undefined): Promise<void> {
  if (given === undefined) return;
  if (!isServiceKey(given)) {
    throw new CliError('--service-key: a service key has 192 lower-case hex characters', {
      code: 'usage',
      hint: 'The file service-key of a cluster directory has it.',
    });
  }
  const pinned = await store.readServiceKey();
  if (pinned === undefined) await store.pinServiceKey(given);
  else if (pinned !== given) {
    throw new KeeperError(
      'store-mismatch',
      `Another service key is pinned in ${store.directory}.`,
      'The key of a service never changes: one of the two is not of this service. Find out which; replace the file by hand.',
    );
  }
}

/** Rejects unless the code is what the manifest says. Everything is read again, each time. */
async function verifyCode(
  options: KeeperCommandOptions,
  storeDirectory: string,
  user: ReplicaUser | undefined,
): Promise<void> {
  if (options.manifest === false) return;
  const path = options.manifest ?? resolve(storeDirectory, storePaths.manifest);
  const wanted = await readManifest(path, options.manifestKey);
  if (user !== undefined && options.manifestKey === undefined) await checkNotWritableBy(path, user.uid);
  const root = codeRoot();
  const found = await readCodeTree({
    root,
    also: options.also ?? [],
    runtimePath: wanted.runtime === null ? undefined : process.execPath,
    notWritableBy: user?.uid,
  });
  const difference = firstDifference(wanted, found);
  if (difference !== undefined) throw differenceError(difference, root);
}

async function readManifest(path: string, signedBy: string | undefined): Promise<Manifest> {
  try {
    const found = await systemFiles.describe(path);
    if (found === undefined) {
      throw new KeeperError(
        'manifest-missing',
        `There is no manifest ${path}.`,
        `Make one with "coterie manifest --out ${path}" from code that you trust, or say --no-manifest.`,
      );
    }
    const file = await systemFiles.open(path, 'read');
    try {
      const bytes = Buffer.alloc(Math.min(await file.sizeBytes(), limits.manifestSizeBytesMax + 1));
      return parseManifest(path, bytes.subarray(0, await file.pread(bytes, 0)).toString('utf8'), signedBy);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw error instanceof KeeperError ? error : homeErrorOf(error, path, 'reading');
  }
}

function stopWhenAsked(keeper: Keeper): void {
  const stop = (): void => keeper.stop();
  process.on('SIGTERM', stop);
  process.on('SIGINT', () => {
    if (!process.connected) stop();
  });
  if (!process.connected) return;
  process.on('message', (message) => {
    if (isStop(message)) stop();
  });
  process.on('disconnect', stop);
}

function tellUp(message: FromReplica): void {
  if (process.connected) process.send?.(message, undefined, {}, () => {});
}
