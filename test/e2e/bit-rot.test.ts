/**
 * Shows what becomes of a replica in whose home bits flip, in any file: it does not start and names the file, or mends what
 * the others can give it back; and never answers out of what is damaged.
 *
 * One replica rots, again and again. Its home goes on from where it was: an older copy of a log must never run.
 */
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { openHome } from '../../src/storage/home.ts';
import { HomeError } from '../../src/storage/home-error.ts';
import {
  askProven,
  caughtUp,
  converge,
  counted,
  type Line,
  restarted,
  serviceKeyOf,
  statusOf,
  until,
} from './watching.ts';

const rotting = 3;
const valuesCount = 60;
const valueSizeBytes = 8 * 1024;
const bitsPerFile = 24;

let cluster: ProcessCluster;
let serviceKey: string;
let home: string;

const keyOf = (number: number): string => `value/${number}`;
const textOf = (number: number): string => `<${String(number).padStart(6, '0')}>`.repeat(valueSizeBytes / 8);

beforeAll(async () => {
  cluster = await ProcessCluster.start({
    stderr: 'kept',
    checkpointIntervalMs: 200,
    replicaOptions: ['--log-level', 'info'],
  });
  serviceKey = await serviceKeyOf(cluster);
  home = cluster.homeOf(rotting);
  await write(valuesCount);
  const { commitIndex } = await caughtUp(cluster, rotting);
  await until('there is a checkpoint of what was written', async () => {
    await write(1);
    const status = await statusOf(cluster, rotting);
    return status !== undefined && status.stableCommitIndex > commitIndex ? true : undefined;
  });
  await cluster.terminate(rotting);
}, 120_000);

afterAll(() => cluster?.destroy());

async function write(count: number): Promise<void> {
  const client = await connect({ genesis: await cluster.genesis(), deadlineMs: 60_000 });
  const numbers = Array.from({ length: count }, (_, number) => number);
  await Promise.all(numbers.map((number) => client.of(kv).put({ key: keyOf(number), value: textOf(number) })));
  await client.close();
}

/** Flips a bit at each of these positions of a file, in place; again: as it was. */
async function flip(path: string, positions: readonly number[]): Promise<void> {
  const bytes = await readFile(path);
  for (const position of positions) bytes[position] = (bytes[position] as number) ^ (1 << (position % 8));
  await writeFile(path, bytes);
}

/** So many positions in a file, evenly spread. */
async function spread(path: string, count: number): Promise<readonly number[]> {
  const { size } = await stat(path);
  return [...new Set(Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * size) / count)))];
}

/** The replica does not start; what it says. */
async function refusal(): Promise<string> {
  const { length } = await cluster.saidBy(rotting);
  cluster.restart(rotting);
  expect(await cluster.ended(rotting)).toEqual({ code: 4, signal: null });
  return (await cluster.saidBy(rotting)).slice(length);
}

/** Starts it and asks it all the time until it has what the others have, which it then proves; what it has logged. */
async function mended(): Promise<readonly Line[]> {
  const lines = await restarted(cluster, rotting);
  let isMended = false;
  const asking = (async () => {
    for (let number = 0; !isMended; number = (number + 1) % valuesCount) {
      const value = await askProven(cluster, { index: rotting, key: keyOf(number), serviceKey });
      if (value !== undefined) expect(value).toBe(textOf(number));
      else await sleep(20);
    }
  })();
  try {
    await cluster.ready(rotting);
    await write(1);
    await caughtUp(cluster, rotting);
  } catch (error) {
    await cluster.kill(rotting);
    throw error;
  } finally {
    isMended = true;
    await asking;
  }
  for (let number = 0; number < valuesCount; number += 7) {
    const what = { index: rotting, key: keyOf(number), serviceKey };
    expect(await until('a proof', () => askProven(cluster, what))).toBe(textOf(number));
  }
  const status = await statusOf(cluster, rotting);
  expect(status?.serviceKey).toBe(serviceKey);
  await cluster.terminate(rotting);
  return lines();
}

const messages = (lines: readonly Line[]): readonly string[] => lines.map(({ msg }) => msg);

describe('bits that flip in who a replica is', () => {
  it('are told by name when the home is opened, or change nothing, or only what nobody else knows', async () => {
    const copy = `${home}-copy`;
    await cp(home, copy, { recursive: true, filter: (path) => !/\/(log|state)$/.test(path) });
    const sound = await openHome(copy);
    await sound.close();
    const files = [
      'genesis.json',
      'replica.json',
      ...(await readdir(join(copy, 'keys'))).map((name) => join('keys', name)),
    ];
    expect(files).toHaveLength(9);
    for (const name of files) {
      const path = join(copy, name);
      let refused = 0;
      for (const position of await spread(path, bitsPerFile)) {
        await flip(path, [position]);
        const what = `bit ${position % 8} of byte ${position} of ${name}`;
        try {
          const open = await openHome(copy);
          await open.close();
          expect(open.serviceId, what).toBe(sound.serviceId);
          expect(open.replicaIndex, what).toBe(sound.replicaIndex);
          expect(open.signingKey.publicKey.text, what).toBe(sound.signingKey.publicKey.text);
          expect(open.decryptionKey, what).toBe(sound.decryptionKey);
        } catch (error) {
          if (!(error instanceof HomeError)) throw error;
          refused += 1;
          expect(error.message, what).toMatch(/genesis|replica/.test(name) ? /(genesis|replica)\.json/ : name);
        }
        await flip(path, [position]);
      }
      // Of the certificate and the PEM of the key some bits say nothing; the share is opened later.
      if (/genesis|seed$|encryption|sealing/.test(name)) expect(refused, name).toBeGreaterThan(bitsPerFile / 3);
    }
    await rm(copy, { recursive: true });
  });

  it('keep it from starting: the name of its service in replica.json', async () => {
    const at = (await readFile(join(home, 'replica.json'))).indexOf('"kv"') + 1;
    await flip(join(home, 'replica.json'), [at]);
    expect(await refusal()).toContain('replica.json');
    await flip(join(home, 'replica.json'), [at]);
  });

  it.each([
    ['genesis.json', 300],
    ['keys/signing.seed', 9],
    ['keys/encryption.key', 20],
  ])('keep it from starting: %s', async (name, position) => {
    await flip(join(home, name), [position]);
    expect(await refusal()).toContain(name);
    await flip(join(home, name), [position]);
  });
});

describe('bits that flip in what others can give back', () => {
  it('are mended in the key share and the service key', async () => {
    const share = join(home, 'keys', 'share.sealed');
    const key = join(home, 'service-key');
    await flip(share, [200]);
    await flip(key, [50]);
    const said = messages(await mended());
    expect(said).toContain('the sealed key share cannot be opened; it is made again from the log');
    expect(said).toContain('the key share is sealed');
    expect((await readFile(key, 'utf8')).trim()).toBe(serviceKey);
    expect(messages(await mended())).not.toContain(
      'the sealed key share cannot be opened; it is made again from the log',
    );
  }, 120_000);

  it('are mended in the state, wherever they are', async () => {
    const path = join(home, 'state', 'state.lmdb');
    // Some of these hit what nothing leads to any more; the others all there is of one value.
    await flip(path, await spread(path, 12));
    await mended();
    await flip(path, await everywhere(path, textOf(7)));
    expect(messages(await mended())).toContain('the state is fetched');
  }, 120_000);

  it('are mended when all that says what is true has rotted: the state and the service key', async () => {
    await flip(join(home, 'service-key'), [77]);
    const path = join(home, 'state', 'state.lmdb');
    await flip(path, await everywhere(path, textOf(8)));
    expect(messages(await mended())).toContain('the state is fetched');
    expect((await readFile(join(home, 'service-key'), 'utf8')).trim()).toBe(serviceKey);
  }, 120_000);

  it('make it an observer when they are in its log, which is kept as it is', async () => {
    const [name = ''] = (await readdir(join(home, 'log'))).filter((each) => each.endsWith('.log'));
    await flip(join(home, 'log', name), [1_000]);
    const bytes = await readFile(join(home, 'log', name));
    const said = await mended();
    const told = said.find(({ msg }) => msg === 'the log is damaged and was set aside: it is begun anew');
    expect(JSON.stringify(told)).toContain(name);
    expect(await readFile(join(home, 'log-damaged-1', name))).toEqual(bytes);
    cluster.restart(rotting);
    const statuses = await converge(cluster);
    expect(new Set(statuses.map(({ stateRoot }) => stateRoot)).size).toBe(1);
    expect(statuses.map(({ observer }) => observer)).toEqual([false, false, false, true]);
    for (const status of statuses) expect(counted(status, /^equivocation|^diverged/)).toBe(0);
  }, 120_000);
});

/** A position in each place where a text is in a file. */
async function everywhere(path: string, text: string): Promise<readonly number[]> {
  const bytes = await readFile(path);
  const found: number[] = [];
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) found.push(at + 100);
  expect(found).not.toEqual([]);
  return found;
}
