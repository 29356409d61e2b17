/**
 * Shows what is left to a thief, and to chance, where nobody looks: a replica that recovers offline and has no operator keeps its keys, and
 * everybody sees how old these are; and a thief of a replica that recovers by awareness and is switched off is that replica from then on,
 * which nobody sees but the replica itself. This is the limit of that method (docs/protocol/epochs.md §5).
 */
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connect } from 'coterie/client';
import { type VerifiedMembership, verifyCertifiedMembership } from 'coterie/verify';
import { afterEach, expect, it } from 'vitest';
import { ProcessCluster, type ProcessClusterOptions } from '../../bench/process-cluster.ts';
import { isThorough } from '../thorough.ts';
import { ask, coterie, done, expressionOf, measured, reportOf, said, statusOf } from './operators.ts';
import { dial, handIn, makeOwnKeys, steal, successorOf } from './thief.ts';
import { serviceKeyOf, until } from './watching.ts';

let cluster: ProcessCluster;
afterEach(() => cluster?.destroy());

async function start(options: Pick<ProcessClusterOptions, 'epochs' | 'recovery'>): Promise<string> {
  cluster = await ProcessCluster.start({ ...options, stderr: 'kept' });
  const serviceKey = await serviceKeyOf(cluster);
  writeFileSync(join(cluster.clusterDirectory, 'service-key'), `${serviceKey}\n`);
  return serviceKey;
}

async function membershipOf(serviceKey: string, epoch: number): Promise<VerifiedMembership> {
  return until('a membership is signed', async () => {
    const verdict = verifyCertifiedMembership((await ask(cluster, 1, '/v1/membership')) ?? '{}', serviceKey);
    return verdict.ok && verdict.membership.epoch === epoch ? verdict.membership : undefined;
  });
}

it.runIf(isThorough)(
  'offline, without the operator: the replica keeps its keys, and there is an alarm until somebody comes',
  async () => {
    // Time enough for an operator who sits and waits for it.
    await start({ epochs: { intervalMs: 6_000, successorWaitMs: 4_000 }, recovery: ['offline', 'awareness'] });
    const isTooOld = async (): Promise<boolean> => {
      const { stdout } = await coterie(cluster, 'status', '--json');
      const { epoch } = JSON.parse(stdout) as { readonly epoch: { readonly tooOld: readonly object[] } | null };
      return epoch?.tooOld.some((each) => JSON.stringify(each) === '{"replica":"r0","kind":"session-key"}') ?? false;
    };
    await said(cluster, 1, 'r1 has new keys', ({ membership }) => (membership.replicas[1]?.keysSince.epoch ?? 0) > 0);
    await until('the keys of r0 are too old', async () => ((await isTooOld()) ? true : undefined));
    const [old] = (await reportOf(cluster, 1))?.membership.replicas ?? [];
    expect(old).toMatchObject({ recovery: 'offline', keysSince: { epoch: 0 } });
    const shown = await coterie(cluster, 'epoch', 'show');
    expect(shown.code).toBe(1);
    expect(shown.stdout).toContain('r0: its session-key is older than the schedule allows');
    // What the alarm compares.
    expect(expressionOf('CoterieWindowTooLong')).toContain('(coterie_window_seconds)');
    const age = await measured(cluster, 2, /^coterie_window_seconds\{(?=.*replica="r0")(?=.*kind="session-key")/);
    const bound = await measured(cluster, 2, /^coterie_window_bound_seconds\{(?=.*kind="session-key")/);
    expect(bound).toBe(12);
    expect(age).toBeGreaterThan(bound);

    await until('the operator has signed, and the keys are new', async () => {
      const report = await reportOf(cluster, 1);
      if ((report?.membership.replicas[0]?.keysSince.epoch ?? 0) > 0) return true;
      const next = join(cluster.homeOf(0), 'epochs', String((report?.epoch ?? 0) + 1));
      const request = join(next, 'successor-request.json');
      if (!existsSync(request) || existsSync(join(next, 'successor-signed.json'))) return undefined;
      // Too late is not too bad: there will be a next time.
      const identity = join(cluster.clusterDirectory, 'identities', 'r0.seed');
      await coterie(cluster, 'sign-successor', request, '--identity', identity);
      return undefined;
    });
    await until('the alarm is over', async () => ((await isTooOld()) ? undefined : true));
  },
  180_000,
);

it.runIf(isThorough)(
  'awareness, while the replica is off: the thief is the replica, and only the replica says so',
  async () => {
    const serviceKey = await start({ epochs: { intervalMs: 0, successorWaitMs: 120_000 }, recovery: ['awareness'] });
    const client = await connect({ genesis: await cluster.genesis(), followKey: serviceKey, deadlineMs: 60_000 });
    try {
      const stolen = await steal(cluster.homeOf(3), join(dirname(cluster.clusterDirectory), 'stolen'));
      await cluster.kill(3);
      const own = await makeOwnKeys();
      const { replicaId, serviceId } = stolen;
      await done(cluster, 'epoch', 'advance');
      await said(cluster, 1, 'the epoch ends', ({ phase }) => phase === 'preparing');
      const statement = { replicaId, serviceId, epoch: 1, serial: 1, isClean: false };
      expect(await handIn(client, successorOf(own, statement, stolen.signingKey))).toBe('taken');
      await said(cluster, 1, 'the next epoch has begun', ({ epoch }) => epoch === 1);

      const membership = await membershipOf(serviceKey, 1);
      expect(membership.replicas[3]).toMatchObject({ replicaId: 'r3', ...own.named });
      expect((await reportOf(cluster, 1))?.disputed).toEqual([]);
      const port = membership.replicas[1]?.peerAddress.port ?? 0;
      const asReplica = await dial({ port, identity: own.link, membership });
      expect(asReplica.answer).toBe('accepted');
      asReplica.socket.destroy();
      const asBefore = await dial({ port, identity: stolen.link, membership });
      expect(asBefore.answer).toBe('cut off');

      cluster.restart(3);
      expect((await cluster.ended(3)).code).toBe(4);
      expect(await cluster.saidBy(3)).toContain(
        'The membership of epoch 1 names keys of replica \\"r3\\" that are not in this home',
      );
      expect(await statusOf(cluster, 3)).toBeUndefined();
      expect(await done(cluster, 'kv', 'put', 'still', 'there')).toBeDefined();
    } finally {
      await client.close();
    }
  },
  180_000,
);
