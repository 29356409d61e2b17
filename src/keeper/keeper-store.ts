/**
 * Keeper store: the directory in which a keeper keeps what its replica must neither read nor change.
 *
 *   identity.seed    the identity key, 32 bytes as hex (or elsewhere, `--identity`)
 *   service-key      the service key, 192 hex characters; pinned at first sight when it is absent
 *   home.json        the files of the home that say what the replica runs, as they were when they were first seen
 *   record.json      what the keeper has promised and done; replaced as a whole, durable before anything built on it leaves
 *   manifest.json    what the code must be (or elsewhere, `--manifest`)
 *   keeper.pid       the keeper that uses it; no socket, since a keeper listens on none
 *
 * Safety: whoever can write here decides what the replica is. It lies outside the home, and nobody but the keeper's own user
 * may enter it.
 */
import { lstat, readFile, realpath } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { z } from 'zod';
import type { SigningKey } from '../crypto/ed25519.ts';
import { errorCode, type FileSystem, systemFiles } from '../platform/files.ts';
import { homeErrorOf } from '../storage/home-error.ts';
import { readSeedFile } from '../storage/seed-file.ts';
import { malformed, parseJson, readText, writeNewText } from '../storage/whole-file.ts';
import { serviceKeySizeBytes } from '../wire/duty.ts';
import { type Genesis, parseGenesis, serviceIdOf } from '../wire/genesis.ts';
import { KeeperError } from './keeper-error.ts';

export const storePaths = {
  identity: 'identity.seed',
  serviceKey: 'service-key',
  home: 'home.json',
  record: 'record.json',
  manifest: 'manifest.json',
  pid: 'keeper.pid',
} as const;

const epochForm = z.int().min(0).max(0xffff_ffff);
const recordForm = z.strictObject({
  version: z.literal(1),
  /** The last epoch that the service was seen to have certified; -1 before the first. */
  certifiedEpoch: epochForm.or(z.literal(-1)),
  /** The last serial used. */
  serial: z.int().min(0),
  /** Milliseconds since 1970: when the replica was last started clean; the keeper's first start counts as one. */
  cleanedAtMs: z.int().min(0),
  /** By the keeper's clock it is to be clean again by then. */
  dueAtMs: z.int().min(0).nullable(),
  /** The epoch of the recovery turn that is not over: until its keys are signed, or it is in a later epoch where no keeper signs, every start is a clean one. */
  turnOf: epochForm.nullable(),
  /** The last turn that was over before keys could be signed here: a replica that recovers without its keeper says so. */
  namedIn: epochForm.optional(),
  /** The certificate given last, and what it says; when that is clean, the same keys get it again in each life of the replica. */
  certified: z
    .strictObject({
      keys: z.string(),
      epoch: epochForm,
      serial: z.int().min(0),
      isClean: z.boolean(),
      certificate: z.string(),
    })
    .optional(),
  /** The user whose processes are all the replica's. */
  userId: z.int().min(0).nullable(),
});
export type KeeperRecord = Readonly<z.infer<typeof recordForm>>;

/** The files of a home that say what the replica is and runs. */
export interface PinnedHome {
  readonly genesis: string;
  readonly replica: string;
  /** Of a cluster that goes on from a snapshot. */
  readonly restored: string | null;
}
const pinnedForm = z.strictObject({
  version: z.literal(1),
  genesis: z.string(),
  replica: z.string(),
  restored: z.string().nullable(),
});
const replicaForm = z.object({ replicaId: z.string(), serviceId: z.string() });

export class KeeperStore {
  /** Absolute. */
  readonly directory: string;
  readonly #files: FileSystem;
  #record: KeeperRecord | undefined;
  #written: Promise<void> = Promise.resolve();

  private constructor(directory: string, files: FileSystem) {
    this.directory = directory;
    this.#files = files;
  }

  /** Takes a store, for this process alone. Rejects with `store-exposed`, `store-locked` or a `HomeError`. */
  static async open(path: string, home: string, files: FileSystem = systemFiles): Promise<KeeperStore> {
    const store = new KeeperStore(resolve(path), files);
    await checkIsApart(store.directory, resolve(home));
    await store.#takePid();
    return store;
  }

  get record(): KeeperRecord | undefined {
    return this.#record;
  }

  async hasIdentity(): Promise<boolean> {
    return (await this.#files.describe(this.#at('identity'))) !== undefined;
  }

  identity(path = this.#at('identity')): Promise<SigningKey> {
    return readSeedFile(path, this.#files);
  }

  /** Reads what was promised; undefined before the first time. */
  async readRecord(): Promise<KeeperRecord | undefined> {
    const path = this.#at('record');
    if ((await this.#files.describe(path)) === undefined) return undefined;
    this.#record = parseJson(path, await readText(this.#files, path), recordForm);
    return this.#record;
  }

  /** What is kept from now on. Durable once it resolves, with everything that was kept before. */
  async keepRecord(record: KeeperRecord): Promise<void> {
    this.#record = record;
    const before = this.#written;
    this.#written = before.then(() => this.#replace('record', `${JSON.stringify(record, null, 2)}\n`));
    // A failure is told to who asked, and stops the keeper.
    this.#written.catch(() => {});
    await this.#written;
  }

  /** The same with a few fields changed. */
  changeRecord(change: Partial<Omit<KeeperRecord, 'version'>>): Promise<void> {
    if (this.#record === undefined) throw new Error('there is no record to change');
    return this.keepRecord({ ...this.#record, ...change });
  }

  /** Undefined when none is pinned. */
  async readServiceKey(): Promise<string | undefined> {
    const path = this.#at('serviceKey');
    if ((await this.#files.describe(path)) === undefined) return undefined;
    const text = (await readText(this.#files, path)).trimEnd();
    if (!isServiceKey(text)) throw malformed(path, 'it must be 192 lower-case hex characters');
    return text;
  }

  async pinServiceKey(serviceKey: string): Promise<void> {
    await writeNewText(this.#files, this.#at('serviceKey'), `${serviceKey}\n`);
    await this.#files.fsyncDirectory(this.directory);
  }

  async readPinned(): Promise<PinnedHome | undefined> {
    const path = this.#at('home');
    if ((await this.#files.describe(path)) === undefined) return undefined;
    const { genesis, replica, restored } = parseJson(path, await readText(this.#files, path), pinnedForm);
    return { genesis, replica, restored };
  }

  pinHome(pinned: PinnedHome): Promise<void> {
    return this.#replace('home', `${JSON.stringify({ version: 1, ...pinned }, null, 2)}\n`);
  }

  async close(): Promise<void> {
    await this.#files.remove(this.#at('pid'));
  }

  /** Twice at most: what is there may be of a keeper that was killed. */
  async #takePid(): Promise<void> {
    const path = this.#at('pid');
    for (let attempt = 1; ; attempt++) {
      try {
        await writeNewText(this.#files, path, `${process.pid} ${await bornAt(process.pid)}\n`);
        return;
      } catch (error) {
        const [pid = '', born = ''] = (await readText(this.#files, path).catch(() => '')).trim().split(' ');
        const isGone = pid === String(process.pid) || (await bornAt(Number(pid))) !== born;
        if (!isGone || attempt === 2) {
          if (pid === '') throw error;
          throw new KeeperError(
            'store-locked',
            `${this.directory} is in use by the keeper with process id ${pid}.`,
            'One keeper at a time. Stop that one first, or leave it running.',
            error,
          );
        }
        await this.#files.remove(path);
      }
    }
  }

  async #replace(name: keyof typeof storePaths, text: string): Promise<void> {
    const path = this.#at(name);
    try {
      await this.#files.remove(`${path}.new`);
      await writeNewText(this.#files, `${path}.new`, text);
      await this.#files.rename(`${path}.new`, path);
      await this.#files.fsyncDirectory(this.directory);
    } catch (error) {
      throw homeErrorOf(error, path, 'writing');
    }
  }

  #at(name: keyof typeof storePaths): string {
    return join(this.directory, storePaths[name]);
  }
}

export function isServiceKey(text: string): boolean {
  return new RegExp(`^[0-9a-f]{${2 * serviceKeySizeBytes}}$`).test(text);
}

/** Which replica of which genesis a pinned home is of. */
export function replicaOf({ genesis, replica }: PinnedHome): {
  readonly genesis: Genesis;
  readonly serviceId: string;
  readonly replicaId: string;
} {
  const parsed = parseGenesis(genesis);
  if (!parsed.ok) throw malformed('the genesis of the home', parsed.reason);
  const { replicaId, serviceId } = parseJson('replica.json of the home', replica, replicaForm);
  if (serviceId !== serviceIdOf(parsed.value)) throw malformed('replica.json of the home', 'it is of another service');
  return { genesis: parsed.value, serviceId, replicaId };
}

/** Nobody but its own user may enter the store, and neither is inside the other. */
async function checkIsApart(store: string, home: string): Promise<void> {
  let found: Awaited<ReturnType<typeof lstat>>;
  try {
    found = await lstat(store);
  } catch (error) {
    throw homeErrorOf(error, store, 'reading');
  }
  const uid = process.getuid?.() ?? 0;
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0) {
    throw new KeeperError(
      'store-exposed',
      `${store} must be a directory of the keeper's own user that nobody else may enter.`,
      `Run "chown ${uid} ${store}" and "chmod 700 ${store}". If others may have read the identity key, make a new one.`,
    );
  }
  const [storeReal, homeReal] = await Promise.all([realpath(store), realpath(home).catch(() => home)]);
  const isIn = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(`${outer}${sep}`);
  if (isIn(storeReal, homeReal) || isIn(homeReal, storeReal)) {
    throw new KeeperError(
      'store-exposed',
      `The keeper's store ${store} and the replica's home ${home} must lie apart.`,
      "What is in the home is the replica's to read and change. Move the store elsewhere, for example to /var/lib/coterie-keeper.",
    );
  }
}

/** Tells a process from a later one with the same number; empty when there is none, or this system cannot say. */
async function bornAt(pid: number): Promise<string> {
  if (!Number.isSafeInteger(pid) || pid < 1) return 'none';
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name, in brackets, may hold anything; the time of birth is field 22, the 20th after it.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || process.platform === 'linux') return 'none';
    return isAlive(pid) ? '' : 'none';
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}
