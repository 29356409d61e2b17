/**
 * Home work: what is done in the home of a replica while no process of it runs. It is done as the replica's own user, so that
 * whatever a process that was taken over has put there (links, names, files that are no files) is worth no more than what that
 * user could do anyway.
 *
 * `look` tells what the home says of itself, the first time. `clean` removes all
 * that a process could have written but the keys and the state, which are a cache to be verified; puts back the files that say what the
 * replica is and runs; and leaves the log lost, so that the replica follows and signs nothing until the next epoch.
 * Source: docs/operations/keeper.md; trust.md §6.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { logPaths } from '../storage/home-log.ts';
import { readText, writeNewText } from '../storage/whole-file.ts';
import { limits } from '../wire/limits.ts';
import type { PinnedHome } from './keeper-store.ts';
import { keepPlain, removeTree } from './plain-tree.ts';

const pinnedForm = z.strictObject({ genesis: z.string(), replica: z.string(), restored: z.string().nullable() });
export const homeWorkForm = z.strictObject({
  home: z.string(),
  look: z.boolean(),
  /** Put these back; null: nothing. */
  putBack: pinnedForm.nullable(),
  /** The service key that the keeper has pinned; null when there is none. */
  serviceKey: z.string().nullable(),
  clean: z.boolean(),
});
export type HomeWork = Readonly<z.infer<typeof homeWorkForm>>;

export const homeReportForm = z.strictObject({
  /** What `look` found. */
  found: pinnedForm.nullable(),
  /** And the service key that the home shows, if it does. */
  serviceKey: z.string().max(1024).nullable(),
  /** What was put back because it was not as it was, by name. */
  putBack: z.array(z.string().max(255)).max(16),
  /** Names at the top of the home that `clean` removed. */
  removed: z.array(z.string().max(255)).max(256),
});
export type HomeReport = Readonly<z.infer<typeof homeReportForm>>;

/** The pinned files by their names in the home. */
const pinnedNames = { genesis: 'genesis.json', replica: 'replica.json', restored: 'restored.json' } as const;
const serviceKeyName = 'service-key';
/**
 * What stays beside them. Evidence against others proves itself and is read by people, as the logs of `up` are; of `epoch.json`
 * the replica believes what the service signed.
 */
const keptNames: ReadonlySet<string> = new Set([
  'keys',
  'state',
  'epochs',
  'epoch.json',
  'evidence',
  'replica.log',
  'replica.log.1',
  logPaths.logBegan,
]);
/** Of one epoch. */
const keptEpochNames: ReadonlySet<string> = new Set(['keys', logPaths.logBegan]);
const removedToldMax = 256;
const epochForm = z.object({ epoch: z.int().min(0).max(0xffff_ffff) });

export async function doHomeWork(work: HomeWork, files: FileSystem = systemFiles): Promise<HomeReport> {
  const { home } = work;
  const removed = work.clean ? await cleanHome(home, files) : [];
  const putBack = await putAllBack(work, files);
  if (work.clean) await leaveLogsLost(home, files);
  const found = work.look ? await lookAt(home, files) : null;
  const serviceKey = work.look ? await readIfThere(join(home, serviceKeyName), files) : null;
  return { found, serviceKey: serviceKey?.trimEnd().slice(0, 1024) ?? null, putBack, removed };
}

async function lookAt(home: string, files: FileSystem): Promise<PinnedHome> {
  return {
    genesis: await readText(files, join(home, pinnedNames.genesis)),
    replica: await readText(files, join(home, pinnedNames.replica)),
    restored: await readIfThere(join(home, pinnedNames.restored), files),
  };
}

async function readIfThere(path: string, files: FileSystem): Promise<string | null> {
  return (await files.describe(path)) === undefined ? null : readText(files, path);
}

/** Files that say what the replica is: a process that was taken over may have written others. */
async function putAllBack({ home, putBack, serviceKey }: HomeWork, files: FileSystem): Promise<string[]> {
  const wanted: [string, string | null][] = [];
  if (putBack !== null) {
    wanted.push([pinnedNames.genesis, putBack.genesis], [pinnedNames.replica, putBack.replica]);
    wanted.push([pinnedNames.restored, putBack.restored]);
  }
  if (serviceKey !== null) wanted.push([serviceKeyName, `${serviceKey}\n`]);
  const changed: string[] = [];
  for (const [name, text] of wanted) {
    if (!(await isAs(join(home, name), text, files))) changed.push(name);
  }
  const hasServiceKey = (await files.describe(join(home, serviceKeyName))) !== undefined;
  for (const [name, text] of wanted) {
    if (!changed.includes(name)) continue;
    const path = join(home, name);
    await removeTree(`${path}.new`, home, files);
    if (text === null) await removeTree(path, home, files);
    else {
      await writeNewText(files, `${path}.new`, text);
      if ((await files.describe(path))?.kind !== 'file') await removeTree(path, home, files);
      await files.rename(`${path}.new`, path);
    }
  }
  if (changed.length > 0) await files.fsyncDirectory(home);
  // One that was not there yet was not changed either.
  return changed.filter((name) => name !== serviceKeyName || hasServiceKey);
}

async function isAs(path: string, text: string | null, files: FileSystem): Promise<boolean> {
  const found = await files.describe(path);
  if (found === undefined || text === null) return found === undefined && text === null;
  if (found.kind !== 'file' || found.sizeBytes > limits.homeFileSizeBytesMax) return false;
  return (await readText(files, path)) === text;
}

async function cleanHome(home: string, files: FileSystem): Promise<string[]> {
  const removed: string[] = [];
  const tell = (name: string): void => {
    if (removed.length < removedToldMax) removed.push(name.slice(0, 255));
  };
  const remove = async (name: string): Promise<void> => {
    await removeTree(join(home, name), home, files);
    tell(name);
  };
  const pinned: readonly string[] = [...Object.values(pinnedNames), serviceKeyName];
  for (const name of [...(await files.list(home))].sort()) {
    if (!keptNames.has(name) && !pinned.includes(name)) await remove(name);
    else if (!(await keepPlain(join(home, name), home, files))) tell(name);
  }
  const present = await presentEpoch(home, files);
  for (const name of await epochsOf(home, files)) {
    const path = join('epochs', name);
    // Keys for a later epoch were made by the process that is not trusted: it knows them.
    const isPast = /^(?:0|[1-9][0-9]{0,9})$/.test(name) && Number(name) <= present;
    if (!isPast || !(await isDirectory(join(home, path), files))) await remove(path);
    else {
      for (const each of await files.list(join(home, path))) {
        if (!keptEpochNames.has(each)) await remove(join(path, each));
      }
    }
  }
  await files.fsyncDirectory(home);
  return removed;
}

/**
 * A log that is gone, where there has been one, is a lost one (`storage/home-log.ts`). The mark says so even where the process
 * removed all trace of a log.
 */
async function leaveLogsLost(home: string, files: FileSystem): Promise<void> {
  const directories = [home, ...(await epochsOf(home, files)).map((name) => join(home, 'epochs', name))];
  for (const directory of directories) {
    for (const name of [logPaths.logBegan, logPaths.logLost]) {
      const path = join(directory, name);
      if ((await files.describe(path)) === undefined) await writeNewText(files, path, '');
    }
    await files.fsyncDirectory(directory);
  }
}

async function epochsOf(home: string, files: FileSystem): Promise<readonly string[]> {
  const path = join(home, 'epochs');
  return (await isDirectory(path, files)) ? files.list(path) : [];
}

async function isDirectory(path: string, files: FileSystem): Promise<boolean> {
  return (await files.describe(path))?.kind === 'directory';
}

/** What the home says; the replica believes it only as far as the service signed it. */
async function presentEpoch(home: string, files: FileSystem): Promise<number> {
  const path = join(home, 'epoch.json');
  if ((await files.describe(path)) === undefined) return 0;
  try {
    const parsed = epochForm.safeParse(JSON.parse(await readText(files, path)));
    return parsed.success ? parsed.data.epoch : 0;
  } catch {
    return 0;
  }
}
