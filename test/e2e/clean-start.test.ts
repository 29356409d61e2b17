/**
 * Shows that a replica which an attacker has had comes back clean: with no epoch of the attacker's making, and out of a state that the service
 * has signed, not of what lies on the disk; and that it has new keys, and a say, from the next epoch on.
 */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { doHomeWork } from '../../src/keeper/home-work.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import { engineKey } from '../../src/state/tables.ts';
import { openHome } from '../../src/storage/home.ts';
import type { EpochReport } from '../../src/wire/epoch-report.ts';
import { counted, serviceKeyOf, until } from './watching.ts';

const program = join(import.meta.dirname, '..', '..', 'dist', 'src', 'cli', 'main.js');
const held = 3;

let cluster: ProcessCluster;
afterEach(() => cluster?.destroy());

it('a replica that is made clean believes nothing of its disk that the service has not signed', async () => {
  cluster = await ProcessCluster.start({ epochs: { intervalMs: 0, successorWaitMs: 5_000 }, stderr: 'kept' });
  const serviceKey = await serviceKeyOf(cluster);
  await writeFile(join(cluster.clusterDirectory, 'service-key'), `${serviceKey}\n`);
  const client = await connect({ genesis: await cluster.genesis(), serviceKey, deadlineMs: 60_000 });
  try {
    const store = client.of(kv);
    await advance();
    await until('the first change of epoch', async () => ((await statusOf(held))?.epoch === 1 ? true : undefined));
    for (let i = 0; i < 20; i++) await store.put({ key: `key ${i}`, value: 'as it was' });
    await cluster.kill(held);
    const home = cluster.homeOf(held);
    const clean = (): Promise<unknown> => doHomeWork({ home, look: false, putBack: null, serviceKey, clean: true });

    // An epoch of the attacker's, where nobody else would be.
    const path = join(home, 'epoch.json');
    const right = await readFile(path, 'utf8');
    const document = JSON.parse(right) as { readonly statement: string };
    const name = (text: string): string => Buffer.from(text).toString('hex');
    const statement = document.statement.replace(name('r0'), name('rX'));
    expect(statement).not.toBe(document.statement);
    await writeFile(path, JSON.stringify({ ...document, statement }));
    await clean();
    cluster.restart(held, { more: ['--clean'] });
    expect((await cluster.ended(held)).code).not.toBe(0);
    expect(await cluster.saidBy(held)).toContain('names an epoch of which the service has signed nothing');
    await writeFile(path, right);

    // A state whose checkpoint nobody has certified: it may be whatever it likes.
    await clean();
    const opened = await openHome(home);
    const { engine } = await opened.openState();
    await engine.write([{ key: engineKey('notes', new TextEncoder().encode('head')), value: undefined }]);
    await engine.close();
    await opened.close();
    cluster.restart(held, { more: ['--clean'] });
    const status = await until('it has fetched the state, and follows', async () => {
      await store.put({ key: 'more', value: 'and more' });
      const { commitIndex = 0 } = (await statusOf(0)) ?? {};
      const own = await statusOf(held);
      return own?.phase === 'running' && own.commitIndex > 0 && own.commitIndex >= commitIndex - 20 ? own : undefined;
    });
    expect(status.observer).toBe(true);
    expect(counted(status, /^state-fetch$/)).toBe(1);

    await advance();
    const after = await until('it takes part in the next epoch', async () => {
      const own = await statusOf(held);
      return own?.epoch === 2 && !own.observer && own.keyState === 'ready' ? own : undefined;
    });
    const { replicas } = (after.epochState as unknown as EpochReport).membership;
    expect(replicas[held]).toMatchObject({ keysSince: { epoch: 2 } });
    expect(await store.get({ key: 'key 7' })).toBe('as it was');
    expect(after.diverged).toBe(false);
  } finally {
    await client.close();
  }
}, 240_000);

function advance(): Promise<void> {
  const env = { ...process.env, COTERIE_CLUSTER: cluster.clusterDirectory, NO_COLOR: '1' };
  const parameters = ['epoch', 'advance', '--wait', '--timeout', '90'];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, ...parameters], { env }, (error, stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`coterie epoch advance: ${stdout}${stderr}`));
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
