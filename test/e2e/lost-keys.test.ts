/**
 * Shows with real processes what becomes of a replica whose home was put back from an older copy, so that the membership of now names keys which it has
 * not: with an identity key it is a member without keys, which says so and signs nothing, and has a say again from the next change on; without
 * one it stops, and says what to do. And that a proof of the end of an epoch which its disk has damaged is had again.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { access, cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import type { EpochReport } from '../../src/wire/epoch-report.ts';
import type { RecoveryMethod } from '../../src/wire/genesis.ts';
import { isThorough } from '../thorough.ts';
import { serviceKeyOf, until } from './watching.ts';

const program = join(import.meta.dirname, '..', '..', 'dist', 'src', 'cli', 'main.js');
/** Its home is put back. */
const held = 3;

let cluster: ProcessCluster;
let keeper: ChildProcess | undefined;
afterEach(async () => {
  await endKeeper();
  await cluster?.destroy();
});

it('with a keeper it is a member without keys, and names new ones for the next epoch', async () => {
  await begin('hardware', { byKeeper: true });
  await endKeeper();
  await copyHome();
  startKeeper();
  const epoch = await advanceToNewKeys();
  await endKeeper();
  await putBack();
  startKeeper();
  await isWithoutKeys(epoch);
  await advanceToNewKeys();
  await nothingOldIsLeft();
  await itsVoteCounts();
}, 180_000);

it.runIf(isThorough)(
  'with an operator it asks for a signature at once, and takes part from the next epoch on',
  async () => {
    await begin('offline');
    await cluster.terminate(held);
    await copyHome();
    cluster.restart(held);
    const [epoch] = await Promise.all([advanceToNewKeys(), sign(1)]);
    await cluster.kill(held);
    await putBack();
    cluster.restart(held);
    await isWithoutKeys(epoch);
    await sign(epoch + 1);
    await advanceToNewKeys();
    await damagedProofIsHadAgain(1);
    await itsVoteCounts();
  },
  180_000,
);

it('by awareness it stops, and says that an administrator replaces it', async () => {
  await begin('awareness');
  await cluster.terminate(held);
  await copyHome();
  cluster.restart(held);
  const epoch = await advanceToNewKeys();
  await cluster.kill(held);
  await putBack();
  cluster.restart(held);
  expect((await cluster.ended(held)).code).not.toBe(0);
  const said = await cluster.saidBy(held);
  expect(said).toContain(`The membership of epoch ${epoch} names keys of replica \\"r3\\" that are not in this home.`);
  expect(said).toContain('coterie admin replace');
}, 180_000);

/** The others name their keys by themselves, so that an epoch ends as soon as this one has. */
async function begin(recovery: RecoveryMethod, { byKeeper = false } = {}): Promise<void> {
  cluster = await ProcessCluster.start({
    recovery: ['awareness', 'awareness', 'awareness', recovery],
    epochs: { intervalMs: 0, successorWaitMs: 30_000 },
    stderr: 'kept',
    started: false,
  });
  for (let index = 0; index < cluster.size; index++) {
    if (index === held && byKeeper) startKeeper();
    else cluster.restart(index);
  }
  const serviceKey = await serviceKeyOf(cluster);
  await writeFile(join(cluster.clusterDirectory, 'service-key'), `${serviceKey}\n`);
}

function startKeeper(): void {
  const store = join(cluster.clusterDirectory, 'keepers', `r${held}`);
  const parameters = ['keeper', '--store', store, '--home', cluster.homeOf(held), '--no-manifest'];
  keeper = spawn(process.execPath, [program, ...parameters], { stdio: 'ignore' });
}

async function endKeeper(): Promise<void> {
  const ending = keeper;
  keeper = undefined;
  if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
  const ended = new Promise((resolve) => ending.once('exit', resolve));
  ending.kill('SIGTERM');
  await ended;
}

const copyPath = (): string => join(cluster.clusterDirectory, 'copy');

async function copyHome(): Promise<void> {
  await cp(cluster.homeOf(held), copyPath(), { recursive: true });
}

async function putBack(): Promise<void> {
  await rm(cluster.homeOf(held), { recursive: true });
  await cp(copyPath(), cluster.homeOf(held), { recursive: true });
}

/** As the operator does, when the replica has asked for it. */
async function sign(epoch: number): Promise<void> {
  const request = join(cluster.homeOf(held), 'epochs', String(epoch), 'successor-request.json');
  await until('the replica asks for a signature', () =>
    access(request).then(
      () => true,
      () => undefined,
    ),
  );
  const seed = join(cluster.clusterDirectory, 'identities', `r${held}.seed`);
  await run(['sign-successor', request, '--identity', seed]);
}

/** Epochs end until it takes part with keys that it has named: on a busy machine it may come too late for one. The epoch then. */
async function advanceToNewKeys(): Promise<number> {
  for (let change = 0; change < 4; change++) {
    await run(['epoch', 'advance', '--wait', '--timeout', '90']);
    const epoch = (await statusOf(0))?.epoch ?? 0;
    const status = await until(`it is in epoch ${epoch}`, async () => {
      const own = await statusOf(held);
      return own?.epoch === epoch && (own.keyState === 'ready' || own.phase === 'without-keys') ? own : undefined;
    });
    if (status.phase === 'without-keys') continue;
    expect(status).toMatchObject({ observer: false, diverged: false });
    const { replicas } = (status.epochState as unknown as EpochReport).membership;
    if (replicas[held]?.keysSince.epoch === epoch) return epoch;
  }
  throw new Error('in vain: it names keys for the next epoch');
}

async function isWithoutKeys(epoch: number): Promise<void> {
  const status = await until(`it is without keys in epoch ${epoch}`, async () => {
    const own = await statusOf(held);
    return own?.phase === 'without-keys' && own.epoch === epoch ? own : undefined;
  });
  expect(status).toMatchObject({ observer: true, hasKeyShare: false, connected: [] });
  const shown = await run(['status', '--timeout', '10']);
  expect(shown).toMatch(/^r3 \(.*\): it has lost its keys of this epoch/m);
  expect((await statusOf(0))?.connected).not.toContain('r3');
  // No key of the epoch before, and its log as long as the state that came after is not here.
  const names = await readdir(cluster.homeOf(held));
  expect([names.includes('keys'), names.includes('log'), names.includes('log.key')]).toEqual([false, true, true]);
}

/** Of the end of the epoch before, by which those are brought over who have missed it. */
async function damagedProofIsHadAgain(index: number): Promise<void> {
  const proofOf = async (of: number): Promise<unknown> => {
    const response = await fetch(`${await cluster.urlOf(of)}/v1/closing-proof`).catch(() => undefined);
    return response?.ok === true ? response.json() : undefined;
  };
  const right = await until('another replica shows one', () => proofOf(0));
  await cluster.terminate(index);
  const path = join(cluster.homeOf(index), 'epoch.json');
  const record = JSON.parse(await readFile(path, 'utf8')) as { readonly closingProof: string };
  const closingProof = record.closingProof.replace(/..$/, (byte) => (byte === '00' ? '01' : '00'));
  await writeFile(path, JSON.stringify({ ...record, closingProof }));
  cluster.restart(index);
  expect(await until(`r${index} shows one again`, () => proofOf(index))).toEqual(right);
}

async function nothingOldIsLeft(): Promise<void> {
  await until('what was kept for want of the state is erased', async () => {
    const names = await readdir(cluster.homeOf(held));
    return names.includes('log') || names.includes('log.key') ? undefined : true;
  });
}

/** Without one of the others nothing is decided but with its blocks. */
async function itsVoteCounts(): Promise<void> {
  const serviceKey = (await readFile(join(cluster.clusterDirectory, 'service-key'), 'utf8')).trim();
  await cluster.kill(0);
  const client = await connect({ genesis: await cluster.genesis(), serviceKey, deadlineMs: 60_000 });
  try {
    const store = client.of(kv);
    await store.put({ key: 'with', value: 'three' });
    expect(await store.get({ key: 'with' })).toBe('three');
  } finally {
    await client.close();
  }
}

/** A command of the program; what it wrote to stdout. */
function run(parameters: readonly string[]): Promise<string> {
  const env = { ...process.env, COTERIE_CLUSTER: cluster.clusterDirectory, NO_COLOR: '1' };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, ...parameters], { env }, (error, stdout, stderr) => {
      if (error === null || parameters[0] === 'status') resolve(stdout);
      else reject(new Error(`coterie ${parameters.join(' ')}: ${stdout}${stderr}`));
    });
  });
}

async function statusOf(index: number): Promise<ReplicaStatus | undefined> {
  try {
    const response = await fetch(`${await cluster.urlOf(index)}/v1/status`, { signal: AbortSignal.timeout(2_000) });
    return response.ok ? ((await response.json()) as ReplicaStatus) : undefined;
  } catch {
    return undefined;
  }
}
