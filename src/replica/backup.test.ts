/** Snapshots of homes: exported while the state is in use, restored into other homes, and never by mistake over what is newer. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { StateView } from '../state/engine.ts';
import { verifyTree } from '../state/verify-state.ts';
import { type Home, openHome } from '../storage/home.ts';
import { readRestored, removeLog, writeRestored } from '../storage/restored-home.ts';
import type { Snapshot } from '../storage/snapshot-reader.ts';
import { readSnapshot } from '../storage/snapshot-reader.ts';
import { writeSnapshot } from '../storage/snapshot-writer.ts';
import { headVerifier, snapshotSource } from '../storage/testing/snapshots.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import type { Genesis } from '../wire/genesis.ts';
import { createCluster } from './create-cluster.ts';
import { checkpointNotes, headNote, isTransferring, readStored, transferringNote } from './engine-notes.ts';
import { exportSnapshot, stableCommitIndex } from './export-snapshot.ts';
import { inspectHome, refusalOf, restoreSnapshot } from './restore-snapshot.ts';

let directory: string;
let genesis: Genesis;
let verifyHead: (head: CertifiedHead) => boolean;
const homes: Home[] = [];

beforeAll(async () => {
  verifyHead = await headVerifier();
});

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-backup-'));
  genesis = await createCluster({ directory: at('cluster'), replicas: 4, service: 'kv', basePort: 7_000 });
});

afterEach(async () => {
  for (const home of homes.splice(0)) await home.close();
  await rm(directory, { recursive: true, force: true });
});

const at = (name: string): string => join(directory, name);
const pathOf = (index: number): string => at(join('cluster', 'replicas', `r${index}`));

async function open(index: number): Promise<Home> {
  const home = await openHome(pathOf(index));
  homes.push(home);
  return home;
}

/** A snapshot file of this cluster, verified. */
async function fileOf(
  name: string,
  plan: { readonly requests?: number; readonly epoch?: number } = {},
): Promise<Snapshot> {
  await writeSnapshot(at(name), await snapshotSource({ genesis, values: { a: 1, b: 2_000 }, ...plan }));
  return readSnapshot(at(name), { verifyHead });
}

async function restore(home: Home, name: string, verified: Snapshot): Promise<void> {
  const { epoch } = await inspectHome(home, verified);
  await restoreSnapshot(home, { file: at(name), verified, epoch, verifyHead });
}

/** As a replica that runs: it opens its log and accepts a block. */
async function run(home: Home, blocks: readonly Uint8Array[] = [Buffer.from('a block')]): Promise<void> {
  const log = await home.openLog();
  await log.append(blocks);
  await log.close();
}

/** The home of r0 goes to an epoch of the same replicas with the same keys. */
async function turn(epoch: number): Promise<void> {
  const home = await openHome(pathOf(0));
  const since = { epoch: 0, timestamp: genesis.created };
  const replicas = genesis.replicas.map((each) => ({ ...each, keysSince: since, cleanSince: since }));
  const { name, service, f, k } = genesis;
  const { serviceId } = home;
  const body = { serviceId, epoch, f, k, name, service, replicas };
  const statement = { ...body, epochGenesis: serviceId, sharingEpoch: epoch };
  await home.turnTo({ statement, signature: undefined, closingProof: undefined }, undefined);
  await home.close();
}

async function look<T>(home: Home, what: (view: StateView) => T): Promise<T> {
  const { engine } = await home.openState();
  try {
    return what(engine);
  } finally {
    await engine.close();
  }
}

describe('an export', () => {
  it('has the checkpoint that the state holds, entry by entry', async () => {
    const home = await open(0);
    const source = await snapshotSource({ genesis, values: { a: 1, b: 200 }, requests: 3 });
    const { engine } = await home.openState();
    const notes = checkpointNotes({ encoded: source.encoded, logPosition: 0, ownBlock: undefined });
    await engine.write([...Array.from(source.view.entries({})), ...notes, headNote(source.head)]);
    await engine.close();
    const commitIndex = source.head.head.commitIndex;
    expect(await stableCommitIndex(home.directory)).toBe(commitIndex);
    const exported = await exportSnapshot({ home: home.directory, out: at('file'), verifyHead, patienceMs: 0 });
    expect(exported.checkpoint.ordering.commitIndex).toBe(commitIndex);
    expect(await readFile(at('file'))).toHaveLength(exported.sizeBytes);
    expect((await readdir(directory)).sort()).toEqual(['cluster', 'file']);
  });

  it('says why there is nothing to export', async () => {
    const home = await open(0);
    const ask = () => exportSnapshot({ home: home.directory, out: at('file'), verifyHead, patienceMs: 0 });
    await expect(ask()).rejects.toMatchObject({ code: 'no-checkpoint', message: /has no state yet/ });
    expect(await stableCommitIndex(home.directory)).toBe(0);
    const { engine } = await home.openState();
    await engine.close();
    await expect(ask()).rejects.toMatchObject({ code: 'no-checkpoint', message: /holds no checkpoint/ });
    await look(home, () => undefined);
    const { engine: again } = await home.openState();
    const source = await snapshotSource({ genesis, values: {} });
    await again.write(checkpointNotes({ encoded: source.encoded, logPosition: 0, ownBlock: undefined }));
    await again.close();
    await expect(ask()).rejects.toMatchObject({ code: 'no-checkpoint', message: /not certified yet/ });
    const { engine: last } = await home.openState();
    await last.write([transferringNote()]);
    await last.close();
    await expect(ask()).rejects.toMatchObject({ code: 'no-checkpoint', message: /fetching/ });
  });
});

describe('restoring', () => {
  it('puts a state into fresh homes, which go on from it in the next epoch', async () => {
    const verified = await fileOf('file', { requests: 3_000 });
    for (const index of [0, 1]) {
      const home = await open(index);
      expect(await inspectHome(home, verified)).toEqual({ epoch: 1, loss: undefined });
      await restore(home, 'file', verified);
      expect(await readRestored(home.directory)).toEqual({ checkpointDigest: verified.digest, epoch: 1 });
      await look(home, (view) => {
        const stored = readStored(view);
        expect(stored).toMatchObject({ digest: verified.digest, logPosition: 0, ownBlock: undefined });
        expect(stored?.head).toMatchObject({ head: verified.head.head });
        expect(Buffer.compare(stored!.head!.signature, verified.head.signature)).toBe(0);
        for (const table of ['service', 'system'] as const) {
          const { entries } = verified.checkpoint[table];
          expect([...verifyTree(view, table, verified.checkpoint[table])].at(-1)).toBe(entries);
        }
      });
    }
  });

  it('begins the log anew, also where one was lost', async () => {
    const verified = await fileOf('file');
    const home = await open(0);
    await run(home);
    await home.close();
    await rm(join(pathOf(0), 'log'), { recursive: true });
    const lost = await open(0);
    expect(lost.isLogLost).toBe(true);
    expect((await inspectHome(lost, verified)).loss).toBeUndefined();
    await restore(lost, 'file', verified);
    await lost.close();
    const restored = await open(0);
    expect(restored.isLogLost).toBe(false);
    const log = await restored.openLog();
    expect([log.begin, await log.read(0, 1_000)]).toEqual([0, []]);
    await log.close();
  });

  it('warns of what would be lost: a newer state, and a log that may hold more', async () => {
    const [older, newer] = [await fileOf('older'), await fileOf('newer', { requests: 400 })];
    const home = await open(0);
    await restore(home, 'newer', newer);
    const { ordering } = newer.checkpoint;
    const { loss } = await inspectHome(home, older);
    expect(loss).toEqual({ commitIndex: ordering.commitIndex, hasBlocks: false });
    expect(refusalOf(home, loss!, older.checkpoint.ordering.commitIndex).message).toBe(
      `r0 holds the state of commit ${ordering.commitIndex}, and the snapshot is of commit 1: restoring it would lose what was executed after that commit.`,
    );
    expect((await inspectHome(home, newer)).loss).toBeUndefined();
    await run(home);
    expect((await inspectHome(home, newer)).loss).toMatchObject({ hasBlocks: true });
    await restore(home, 'older', older);
    expect(await look(home, (view) => readStored(view)?.digest)).toBe(older.digest);
    expect((await inspectHome(home, older)).loss).toBeUndefined();
  });

  it('never goes on twice in one epoch', async () => {
    const verified = await fileOf('file');
    const home = await open(0);
    await restore(home, 'file', verified);
    // Nothing was signed in it yet.
    expect((await inspectHome(home, verified)).epoch).toBe(1);
    await run(home, []);
    expect((await inspectHome(home, verified)).epoch).toBe(2);
    await writeRestored(home.directory, { checkpointDigest: verified.digest, epoch: 7 });
    expect((await inspectHome(home, verified)).epoch).toBe(8);
    await removeLog(home.directory);
    const other = await fileOf('other', { requests: 1 });
    expect((await inspectHome(home, other)).epoch).toBe(8);
    expect((await inspectHome(home, await fileOf('later', { epoch: 9 }))).epoch).toBe(10);
  });

  it('begins the log of the epoch anew that the home is in, and counts on from that', async () => {
    const [earlier, verified] = [await fileOf('earlier', { requests: 400 }), await fileOf('file', { epoch: 3 })];
    await turn(3);
    const home = await open(0);
    await run(home);
    expect(await inspectHome(home, verified)).toMatchObject({ epoch: 4, loss: { hasBlocks: true } });
    await restore(home, 'file', verified);
    expect((await inspectHome(home, verified)).epoch).toBe(4);
    await home.close();
    const again = await open(0);
    expect([again.epoch, again.isLogLost]).toEqual([3, false]);
    const log = await again.openLog();
    expect(await log.read(0, 1_000)).toEqual([]);
    await log.close();
    // In that one it may have signed by now.
    expect((await inspectHome(again, verified)).epoch).toBe(5);
    // Of then it has no key share any more, and neither has anybody else.
    await expect(inspectHome(again, earlier)).rejects.toMatchObject({ code: 'earlier-epoch' });
  });

  it('refuses a snapshot of another service, and one that is replaced meanwhile', async () => {
    const verified = await fileOf('file');
    const other = await createCluster({ directory: at('other'), replicas: 4, service: 'kv', basePort: 7_100 });
    await writeSnapshot(at('foreign'), await snapshotSource({ genesis: other, values: {} }));
    const home = await open(0);
    const foreign = await readSnapshot(at('foreign'), { verifyHead });
    await expect(inspectHome(home, foreign)).rejects.toMatchObject({ code: 'other-service' });

    await writeFile(at('file'), await readFile(at('foreign')));
    const options = { file: at('file'), verified, epoch: 1, verifyHead };
    await expect(restoreSnapshot(home, options)).rejects.toMatchObject({ code: 'snapshot-changed' });
    expect(await look(home, isTransferring)).toBe(true);
    // The log of before is there still, and no epoch was begun.
    expect(await readRestored(home.directory)).toBeUndefined();
    expect(await readdir(home.directory)).toContain('log');
  });

  it('refuses a damaged note of an earlier restoring', async () => {
    const verified = await fileOf('file');
    const home = await open(0);
    await restore(home, 'file', verified);
    for (const text of ['{}', '{"version":1,"checkpointDigest":"x","epoch":1}', 'no']) {
      await writeFile(join(home.directory, 'restored.json'), text);
      await expect(readRestored(home.directory)).rejects.toMatchObject({ code: 'file-malformed' });
    }
  });
});
