/**
 * Kept replica: what tests of the keeper have in place of a cluster: real homes and stores, a service key whose secret half the
 * test has, and a program that plays the replica, as badly as it is told to.
 */
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { type PublicKeyText, type SigningKey, signingKeyFromSeed } from '../../crypto/ed25519.ts';
import { sha256 } from '../../crypto/hash.ts';
import { createCluster } from '../../replica/create-cluster.ts';
import { readSeedFile } from '../../storage/seed-file.ts';
import { SecretKey } from '../../verify/testing/documents.ts';
import { type Genesis, serviceIdOf } from '../../wire/genesis.ts';
import { encodeMembershipStatement, type MembershipStatement } from '../../wire/membership-statement.ts';
import { encodeSuccessorStatement, type SuccessorStatement } from '../../wire/successor.ts';
import { Keeper, type KeeperOptions } from '../keeper.ts';
import { KeeperStore } from '../keeper-store.ts';
import type { ReplicaUser } from '../replica-user.ts';

const mainPath = fileURLToPath(new URL('../../../dist/src/cli/main.js', import.meta.url));
export const isRoot = process.getuid?.() === 0;

/** Plays the replica. What it does is in a file that it is given, what it sees it writes to stderr. */
const player = `
import { readFileSync, writeFileSync, readdirSync, mkdirSync, symlinkSync } from 'node:fs';
import { spawn } from 'node:child_process';
const [, , scriptPath, isClean] = process.argv;
const say = (what) => process.stderr.write(JSON.stringify(what) + '\\n');
const script = JSON.parse(readFileSync(scriptPath, 'utf8'));
const attempt = (name, work) => { try { say({ attempt: name, outcome: work() }); } catch (error) { say({ attempt: name, outcome: error.code ?? String(error) }); } };
if (script.isStubborn) process.on('SIGTERM', () => say({ ignored: 'SIGTERM' }));
process.on('message', (message) => say({ heard: message }));
process.on('disconnect', () => { if (!script.isStubborn) process.exit(0); });
for (const path of script.read ?? []) attempt(path, () => { readFileSync(path); return 'read'; });
for (const path of script.list ?? []) attempt(path, () => { readdirSync(path); return 'listed'; });
for (const path of script.write ?? []) attempt(path, () => { writeFileSync(path, 'mine now'); return 'written'; });
for (const path of script.mkdir ?? []) attempt(path, () => { mkdirSync(path, { recursive: true }); return 'made'; });
for (const [target, path] of script.link ?? []) attempt(path, () => { symlinkSync(target, path); return 'linked'; });
for (const pid of script.kill ?? []) attempt('kill ' + pid, () => { process.kill(pid, 'SIGKILL'); return 'killed'; });
if (script.leavesChild) {
  const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM",()=>{}); setInterval(()=>{}, 1000)'], { detached: true, stdio: 'ignore' });
  say({ left: child.pid });
}
say({ started: process.pid, uid: process.getuid?.(), gid: process.getgid?.(), groups: process.getgroups?.(), isClean: isClean === 'clean', environment: Object.keys(process.env) });
if (script.log !== undefined) process.stderr.write(script.log);
for (const message of (isClean === 'clean' ? script.sendClean : undefined) ?? script.send ?? []) process.send(message);
if (script.exit !== undefined) setTimeout(() => process.exit(script.exit), 50);
setInterval(() => {}, 1000);
`;

export interface Script {
  readonly isStubborn?: boolean;
  readonly leavesChild?: boolean;
  readonly read?: readonly string[];
  readonly list?: readonly string[];
  readonly write?: readonly string[];
  readonly mkdir?: readonly string[];
  readonly link?: readonly (readonly [target: string, path: string])[];
  readonly kill?: readonly (number | undefined)[];
  readonly log?: string;
  readonly send?: readonly unknown[];
  /** In place of `send` when it is started clean. */
  readonly sendClean?: readonly unknown[];
  readonly exit?: number;
}

export interface Line {
  readonly [field: string]: unknown;
}

export class KeptReplica {
  readonly directory: string;
  readonly home: string;
  readonly storeDirectory: string;
  readonly genesis: Genesis;
  readonly identity: SigningKey;
  readonly serviceKey = new SecretKey(77);
  /** Lines of the replica and of the keeper, in their order. */
  readonly lines: Line[] = [];
  store: KeeperStore | undefined;
  /** False: the keeper has yet to see the service key. */
  isKeyPinned = true;
  #keeper: Keeper | undefined;
  #running: Promise<void> = Promise.resolve();
  readonly #waiting = new Set<() => void>();

  private constructor(directory: string, genesis: Genesis, identity: SigningKey) {
    this.directory = directory;
    this.home = join(directory, 'c', 'replicas', 'r0');
    this.storeDirectory = join(directory, 'c', 'keepers', 'r0');
    this.genesis = genesis;
    this.identity = identity;
  }

  static async create({
    epochIntervalMs = 0,
    recovery = 'hardware',
  }: {
    readonly epochIntervalMs?: number;
    readonly recovery?: 'hardware' | 'awareness';
  } = {}): Promise<KeptReplica> {
    const directory = await mkdtemp(join(tmpdir(), 'coterie-keeper-'));
    const cluster = join(directory, 'c');
    const genesis = await createCluster({
      directory: cluster,
      replicas: 4,
      service: 'kv',
      name: 'kept',
      recovery,
      epochIntervalMs,
    });
    for (const path of [directory, cluster, join(cluster, 'replicas')]) await chmod(path, 0o711);
    const store = join(cluster, 'keepers', 'r0');
    if (recovery === 'awareness') await mkdir(store, { recursive: true, mode: 0o700 });
    const seed = join(store, 'identity.seed');
    const identity = recovery === 'hardware' ? await readSeedFile(seed) : signingKeyFromSeed(new Uint8Array(32));
    return new KeptReplica(directory, genesis, identity);
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Opens the keeper; `keep` runs it. */
  async open(script: Script, options: Partial<KeeperOptions> = {}): Promise<Keeper> {
    const playerPath = join(this.directory, 'player.mjs');
    const scriptPath = join(this.directory, 'script.json');
    await writeFile(playerPath, player);
    await writeFile(scriptPath, JSON.stringify(script));
    if (options.user !== undefined) await giveTo(this.home, options.user);
    this.store = await KeeperStore.open(this.storeDirectory, this.home);
    if (this.isKeyPinned && (await this.store.readServiceKey()) === undefined)
      await this.store.pinServiceKey(this.serviceKey.serviceKey);
    const stream = { write: (line: string) => this.#take(JSON.parse(line) as Line) };
    this.#keeper = await Keeper.open({
      store: this.store,
      home: this.home,
      user: undefined,
      command: (isClean) => [process.execPath, playerPath, scriptPath, isClean ? 'clean' : 'as it was'],
      homeCommand: [process.execPath, mainPath, 'keeper-home-work'],
      workingDirectory: '/',
      verifyCode: async () => {},
      atMostMs: undefined,
      stopPatienceMs: 10_000,
      logger: pino({ level: 'debug', base: { from: 'keeper' } }, stream),
      onLine: (line) => this.#take(JSON.parse(line) as Line),
      onOther: (message) => this.#take({ other: message }),
      ...options,
    });
    return this.#keeper;
  }

  async keep(script: Script, options: Partial<KeeperOptions> = {}): Promise<Keeper> {
    const keeper = await this.open(script, options);
    this.#running = keeper.run();
    this.#running.catch(() => {});
    return keeper;
  }

  /** How `run` ended. */
  get running(): Promise<void> {
    return this.#running;
  }

  async stop(): Promise<void> {
    this.#keeper?.stop();
    await this.#running.catch(() => {});
    await this.store?.close();
    this.#keeper = undefined;
    this.store = undefined;
  }

  /** The `count`th line that has this, when it is there. */
  async line(isIt: (line: Line) => boolean, count = 1): Promise<Line> {
    for (;;) {
      const found = this.lines.filter(isIt)[count - 1];
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #take(line: Line): void {
    this.lines.push(line);
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  // ── what a replica may ask ──

  membership(change: Partial<MembershipStatement> = {}): MembershipStatement {
    const since = { epoch: 0, timestamp: this.genesis.created };
    const serviceId = serviceIdOf(this.genesis);
    const replicas = this.genesis.replicas.map((replica) => ({ ...replica, keysSince: since, cleanSince: since }));
    const { f, k, name, service } = this.genesis;
    const rest = { epoch: 0, epochGenesis: serviceId, sharingEpoch: 0 };
    return { serviceId, f, k, name, service, replicas, ...rest, ...change };
  }

  statement(change: Partial<SuccessorStatement> = {}): SuccessorStatement {
    const keys = {
      signingKey: signingKeyFromSeed(new Uint8Array(32).fill(41)).publicKey.text as PublicKeyText,
      linkKeyDigest: sha256(Buffer.from('next link')),
      encryptionKey: this.genesis.replicas[0]?.encryptionKey ?? '',
    };
    return {
      serviceId: serviceIdOf(this.genesis),
      replicaId: 'r0',
      epoch: 1,
      serial: 0,
      isClean: true,
      keys,
      ...change,
    };
  }

  ask(statement = this.statement(), membership = this.membership(), signedBy = this.serviceKey) {
    const encoded = encodeMembershipStatement(membership);
    const signature = signedBy.signMembership(encoded);
    return {
      kind: 'sign-successor' as const,
      statement: Buffer.from(encodeSuccessorStatement(statement)).toString('hex'),
      membership: Buffer.concat([encoded, signature]).toString('hex'),
    };
  }
}

/** Gives a directory and all it holds to a user. */
export async function giveTo(path: string, { uid, gid }: ReplicaUser): Promise<void> {
  const found = await lstat(path);
  if (found.isSymbolicLink()) return;
  await chown(path, uid, gid);
  if (!found.isDirectory()) return;
  for (const name of await readdir(path)) await giveTo(join(path, name), { uid, gid });
}

/** Sockets on which a process listens, of any kind, by what the system says (Linux). */
export async function listeningSockets(pid: number): Promise<readonly string[]> {
  const names = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  const inodes = new Set(targets.map((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1]));
  const found: string[] = [];
  for (const table of ['tcp', 'tcp6', 'udp', 'udp6', 'unix']) {
    const lines = (await readFile(`/proc/${pid}/net/${table}`, 'utf8')).split('\n').slice(1);
    for (const line of lines) {
      if (line.trim() === '') continue;
      const fields = line.trim().split(/\s+/);
      // TCP: state 0A listens. UDP: any socket takes. Unix: flag 00010000 listens.
      const isUnix = table === 'unix';
      const inode = isUnix ? fields[6] : fields[9];
      const listens = isUnix ? fields[3] === '00010000' : table.startsWith('udp') || fields[3] === '0A';
      if (listens && inodes.has(inode)) found.push(`${table} ${fields.join(' ')}`);
    }
  }
  return found;
}
