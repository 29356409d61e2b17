/** What `up` starts for each home: a replica, or a keeper with a directory of its own. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createCluster } from '../replica/create-cluster.ts';
import type { RecoveryMethod } from '../wire/genesis.ts';
import { openCluster } from './cluster.ts';
import { makeUpCommand } from './up-command.ts';

const ending: (() => void)[] = [];
afterEach(() => {
  for (const end of ending.splice(0)) end();
});

async function clusterOf(recovery: RecoveryMethod) {
  const parent = mkdtempSync(join(tmpdir(), 'coterie-up-'));
  ending.push(() => rmSync(parent, { recursive: true, force: true }));
  const directory = join(parent, 'c');
  await createCluster({ directory, replicas: 4, service: 'kv', recovery });
  const cluster = await openCluster(directory);
  const home = cluster.replicas[1]!.home!;
  return { directory, replica: { ...cluster.replicas[1]!, home }, home, store: join(directory, 'keepers', 'r1') };
}

const options = { logLevel: 'warn', retainBlocks: 64, retainLeaves: 4_096 };

describe('up starts', () => {
  it('the replica itself where it vouches for its own keys', async () => {
    const { directory, replica, home } = await clusterOf('awareness');
    const command = await makeUpCommand(directory, replica, options);
    expect(command.slice(2, 7)).toEqual(['replica', '--home', home, '--log-level', 'warn']);
  });

  it.each<readonly [RecoveryMethod, true | undefined]>([
    ['hardware', undefined],
    ['awareness', true],
  ])('a keeper where it recovers by %s and keepers are wanted: %s', async (recovery, keepers) => {
    const { directory, replica, home, store } = await clusterOf(recovery);
    const wanted = keepers === undefined ? options : { ...options, keepers };
    const command = await makeUpCommand(directory, replica, wanted);
    expect(command.slice(2, 5)).toEqual(['keeper', '--store', store]);
    expect(command).toContain(home);
    // Whoever else is on this machine has no business there.
    expect(statSync(store).mode & 0o077).toBe(0);
    expect(command).toContain('--no-manifest');
    writeFileSync(join(store, 'manifest.json'), '{}');
    expect(await makeUpCommand(directory, replica, wanted)).not.toContain('--no-manifest');
  });
});
