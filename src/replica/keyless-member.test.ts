/**
 * Shows what a replica does whose keys of the epoch are lost, among others that a test plays: it believes f + 1 of them and no fewer, says what it
 * is, hands in keys that its identity key has certified until f + 1 say that they are taken, and goes on with these.
 */

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../../bench/process-cluster.ts';
import { statementMessage } from '../certification/statement.ts';
import { blsPublicKey, blsSign } from '../crypto/bls.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { parsePublicKey, type SigningKey, verify } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { doHomeWork } from '../keeper/home-work.ts';
import { systemFiles } from '../platform/files.ts';
import { type EpochRecord, writeEpochRecord } from '../storage/epoch-files.ts';
import { type AnyHome, openAnyHome, openHome } from '../storage/home.ts';
import type { EpochKeys } from '../storage/key-files.ts';
import { readSeedFile } from '../storage/seed-file.ts';
import { type Genesis, serviceIdOf } from '../wire/genesis.ts';
import { encodeMembershipStatement, type MembershipStatement } from '../wire/membership-statement.ts';
import { type CertifiedSuccessor, decodeSuccessor, type SessionKeys, successorPreimage } from '../wire/successor.ts';
import { createCluster, httpPortOffset } from './create-cluster.ts';
import { type RunningReplica, startReplica } from './replica.ts';
import { signRequest, successorRequestFile, successorSignedFile } from './successor-file.ts';
import { sessionKeysOf } from './successor-maker.ts';

const secret = 0x5ec2e7n;
const serviceKey = Buffer.from(mclCurve.g2.encode(blsPublicKey(mclCurve, secret))).toString('hex');
const service = { name: 'nothing', version: '1', operations: {} };

let directory: string;
let home: string;
let genesis: Genesis;
let identity: SigningKey;
let replica: RunningReplica | undefined;
let others: Other[] = [];
const lines: string[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-keyless-'));
  const cluster = join(directory, 'cluster');
  home = join(cluster, 'replicas', 'r0');
  const basePort = await playOthers();
  genesis = await createCluster({ directory: cluster, replicas: 4, service: 'kv', recovery: 'offline', basePort });
  identity = await readSeedFile(join(cluster, 'identities', 'r0.seed'));
  await writeFile(join(home, 'service-key'), `${serviceKey}\n`);
  lines.length = 0;
});
afterEach(async () => {
  await replica?.stop();
  replica = undefined;
  for (const other of others) await other.close();
  await rm(directory, { recursive: true, force: true });
});

/** One of the other members, as far as HTTP shows it. */
class Other {
  phase: 'steady' | 'preparing' = 'steady';
  statement: EpochRecord | undefined;
  /** What it says came of a successor; undefined: it does not answer. */
  outcome: { readonly ok: boolean; readonly code?: string } | undefined = { ok: true };
  readonly successors: CertifiedSuccessor[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const answer = this.#answer(request.url ?? '', Buffer.concat(chunks).toString());
        if (answer === undefined) response.writeHead(503).end();
        else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      });
    });
  }

  static async listen(port: number): Promise<Other> {
    const other = new Other();
    await new Promise<void>((resolve, reject) => {
      other.#server.once('error', reject);
      other.#server.listen(port, '127.0.0.1', resolve);
    });
    return other;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => void this.#server.close(() => resolve()));
  }

  #answer(path: string, body: string): unknown {
    if (this.statement === undefined) return undefined;
    const { statement, signature } = this.statement;
    if (path === '/v1/membership') {
      return {
        statement: Buffer.from(encodeMembershipStatement(statement)).toString('hex'),
        signature: Buffer.from(signature ?? []).toString('hex'),
      };
    }
    if (path === '/v1/status') return { epoch: statement.epoch, epochState: this.#epochState(statement) };
    if (path !== '/v1/call') return undefined;
    const { operation, input } = JSON.parse(body) as { operation: string; input: { successor: { $bytes: string } } };
    const successor = decodeSuccessor(Buffer.from(input.successor.$bytes, 'base64'));
    if (operation !== 'coterie.successor' || !successor.ok) throw new Error(`${operation} is not what was expected`);
    this.successors.push(successor.value);
    return this.outcome && { certified: false, outcomes: [this.outcome] };
  }

  #epochState({ epoch, f, k, replicas }: MembershipStatement): unknown {
    const moment = { commitIndex: 7, timestamp: 7 };
    return {
      epoch,
      sharingEpoch: epoch,
      began: moment,
      phase: this.phase,
      since: this.phase === 'steady' ? null : moment,
      turn: [],
      membership: {
        f,
        k,
        replicas: replicas.map(({ replicaId, recovery, keysSince, cleanSince }) => {
          return { replicaId, recovery, keysSince, cleanSince };
        }),
      },
      next: null,
      successors: [],
      disputed: [],
    };
  }
}

/** The port from which on the cluster has its own, where the others could listen: other tests look for some, too. */
async function playOthers(): Promise<number> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const basePort = await freePort();
    const begun = await Promise.allSettled([1, 2, 3].map((i) => Other.listen(basePort + httpPortOffset + i)));
    others = begun.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    if (others.length === begun.length) return basePort;
    for (const other of others) await other.close();
  }
  throw new Error('in vain: ports that nobody has');
}

/** An epoch in which r0 has these keys, signed by the service. */
function recordWith(keys: SessionKeys, epoch: number): EpochRecord {
  const since = { epoch: 0, timestamp: genesis.created };
  const { name, service, f, k } = genesis;
  const replicas = genesis.replicas.map((each) => ({
    ...each,
    ...(each.replicaId === 'r0' ? keys : {}),
    keysSince: since,
    cleanSince: since,
  }));
  const serviceId = serviceIdOf(genesis);
  const statement = { serviceId, epoch, f, k, name, service, replicas, epochGenesis: serviceId, sharingEpoch: epoch };
  const message = statementMessage('membership', sha256(encodeMembershipStatement(statement)));
  const signature = mclCurve.g1.encode(blsSign(mclCurve, secret, message));
  return { statement, signature, closingProof: undefined };
}

/** Session keys as they are in another cluster. */
async function keysOf(name: string): Promise<EpochKeys> {
  const path = join(directory, name);
  await mkdir(path);
  await createCluster({ directory: join(path, 'c'), replicas: 4, service: 'kv' });
  const opened = await openHome(join(path, 'c', 'replicas', 'r0'));
  await opened.close();
  return { ...opened, seed: await seedOf(join(path, 'c', 'replicas', 'r0')) };
}

async function seedOf(of: string): Promise<Uint8Array> {
  return Buffer.from((await readFile(join(of, 'keys', 'signing.seed'), 'utf8')).trim(), 'hex');
}

async function atHome<T>(work: (opened: AnyHome) => Promise<T>): Promise<T> {
  const opened = await openAnyHome(home);
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** The home is in epoch 1, of which it has not the keys; so are the others, who have them. */
async function loseKeys(): Promise<void> {
  const record = recordWith(sessionKeysOf(await keysOf('elsewhere')), 1);
  await atHome((opened) => opened.turnTo(record, undefined, { awaitsState: true }));
  for (const other of others) other.statement = record;
}

async function start(): Promise<RunningReplica> {
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  replica = await startReplica({ home, service, logger });
  return replica;
}

async function until<T>(what: string, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (let i = 0; i < 2_000; i++) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await sleep(20);
  }
  throw new Error(`in vain: ${what}`);
}

const successorsOf = (index: number): readonly CertifiedSuccessor[] => others[index]?.successors ?? [];
const isThere = async (path: string): Promise<true | undefined> =>
  (await systemFiles.describe(path)) === undefined ? undefined : true;

describe('a replica without its keys', () => {
  it('names keys by its identity key when f + 1 wait for them, until f + 1 say that they are taken, and goes on with them', async () => {
    await loseKeys();
    expect((await start()).status()).toMatchObject({
      epoch: 1,
      phase: 'without-keys',
      observer: true,
      hasKeyShare: false,
      connected: [],
    });
    const request = join(home, 'epochs', '2', successorRequestFile);
    await until('it asks for a signature', () => isThere(request));
    const { text } = await signRequest(systemFiles, request, identity);
    await writeFile(join(home, 'epochs', '2', successorSignedFile), text);

    // Faulty ones may say what they like.
    const [first, second, third] = others as [Other, Other, Other];
    first.phase = 'preparing';
    await sleep(2_500);
    expect([0, 1, 2].flatMap(successorsOf)).toEqual([]);
    first.outcome = { ok: true };
    second.outcome = undefined;
    third.outcome = { ok: false, code: 'too-early' };
    second.phase = 'preparing';
    await until('it hands them in', () => (successorsOf(2).length > 0 ? true : undefined));
    const [successor] = successorsOf(2) as [CertifiedSuccessor];
    const identityKey = parsePublicKey(identity.publicKey.text);
    expect(successor.statement).toMatchObject({ replicaId: 'r0', epoch: 2 });
    expect(identityKey && verify(identityKey, successorPreimage(successor.statement), successor.certificate)).toBe(
      true,
    );
    expect(lines.join('')).not.toContain('are agreed');
    // The first that took it ended the wait: what came after was the same, and too late.
    third.outcome = { ok: false, code: 'too-late' };
    await until('they are taken', () => (lines.join('').includes('are agreed') ? true : undefined));

    for (const other of others) other.statement = recordWith(successor.statement.keys, 2);
    await until('it goes on with them', () => (replica?.status()?.phase === 'fetching-state' ? true : undefined));
    expect(replica?.status()).toMatchObject({ epoch: 2, observer: false });
    expect(await readdir(join(home, 'epochs'))).toEqual(['2']);
  }, 60_000);

  it('says what it is to who asks, and does nothing for anybody', async () => {
    await loseKeys();
    await start();
    const { host, port } = genesis.replicas[0]?.httpAddress ?? { host: '', port: 0 };
    const url = `http://${host}:${port}`;
    expect(await (await fetch(`${url}/v1/status`)).json()).toMatchObject({ phase: 'without-keys', replicaId: 'r0' });
    const health = await fetch(`${url}/healthz`);
    expect([health.status, await health.json()]).toMatchObject([503, { status: 'without-keys' }]);
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^coterie_without_keys\{replica="r0"\} 1$/m);
    const called = await fetch(`${url}/v1/call`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ operation: 'get', input: null }),
    });
    expect([called.status, await called.json()]).toMatchObject([503, { error: { code: 'not-ready' } }]);
    expect((await fetch(`${url}/v1/head`)).status).toBe(503);
    expect(lines.join('')).toContain('the keys of this replica in this epoch are lost');
  });

  it('stays without when the epoch ended before its keys were named, and tries again', async () => {
    await loseKeys();
    await start();
    await until('it asks for a signature', () => isThere(join(home, 'epochs', '2', successorRequestFile)));
    const named = others[0]?.statement?.statement.replicas[0] as unknown as SessionKeys;
    for (const other of others) other.statement = recordWith(named, 2);
    await until('it asks again', () => isThere(join(home, 'epochs', '3', successorRequestFile)));
    expect(replica?.status()).toMatchObject({ epoch: 2, phase: 'without-keys' });
    await replica?.stop();
    expect((await start()).status()).toMatchObject({ epoch: 2, phase: 'without-keys' });
  }, 60_000);

  it('does not begin in an epoch that the service has not signed', async () => {
    await loseKeys();
    const record = recordWith(sessionKeysOf(await keysOf('forger')), 7);
    await writeEpochRecord(systemFiles, home, { ...record, signature: new Uint8Array(48) });
    await expect(start()).rejects.toMatchObject({ code: 'epoch-unproven' });
    expect(await readdir(join(home, 'epochs'))).toEqual(['1']);
  });

  it('does not begin without the service key, by which it knows in which epoch it is', async () => {
    await loseKeys();
    await rm(join(home, 'service-key'));
    await expect(start()).rejects.toMatchObject({ code: 'service-key-missing' });
  });
});

describe('a replica whose turn it is', () => {
  it('is without keys when its keeper cleaned it after those that count were named', async () => {
    const named = await atHome(async (opened) => opened.keepNextKeys(await keysOf('named')));
    await doHomeWork({ home, look: false, putBack: null, serviceKey, clean: true });
    await atHome(async (opened) => {
      expect(await opened.readNextKeys()).toBeUndefined();
      await opened.keepNextKeys(await keysOf('too-late'));
      const next = await opened.turnTo(recordWith(sessionKeysOf(named), 1), undefined);
      expect(next).toMatchObject({ kind: 'without-keys', epoch: 1 });
    });
    expect((await readdir(join(home, 'epochs', '1'))).sort()).toEqual(['keys-lost', 'log-lost']);
    expect((await start()).status()).toMatchObject({ epoch: 1, phase: 'without-keys' });
  });
});
