/**
 * Shows what session keys are worth that somebody has stolen, once the replica has new ones, in each of the three ways in which others
 * know the new ones for its own; and what a thief can do meanwhile, and cannot.
 *
 * One cluster: r0 recovers by hardware, with a real keeper, r1 offline, with a real operator, r2 and r3 by awareness. The thief has
 * copied all their homes in epoch 0, and is in the memory of the process of r0 until that is made clean. Clients work throughout.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type Client, connect } from 'coterie/client';
import { type VerifiedMembership, verifyCertifiedMembership } from 'coterie/verify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import type { EpochReport } from '../../src/wire/epoch-report.ts';
import type { KeeperToReplica } from '../../src/wire/keeper-message.ts';
import { encodeSuccessorStatement } from '../../src/wire/successor.ts';
import { isThorough } from '../thorough.ts';
import { KvLoad } from './kv-load.ts';
import { ask, coterie, done, expressionOf, hasNamed, measured, reportOf, said, statusOf } from './operators.ts';
import { blockBy, dial, handIn, makeOwnKeys, type OwnKeys, type StolenKeys, steal, successorOf } from './thief.ts';
import { counted, serviceKeyOf, until } from './watching.ts';

const root = join(import.meta.dirname, '..', '..');

describe('in one cluster, with one replica for each way', () => {
  let cluster: ProcessCluster;
  let serviceKey: string;
  let client: Client;
  let load: KvLoad;
  let stolen: readonly StolenKeys[];
  /** What the keeper has certified for the thief while it was in the process. */
  let certified: { readonly own: OwnKeys; readonly successor: Uint8Array; readonly serial: number };

  const outside = (name: string): string => join(dirname(cluster.clusterDirectory), name);
  const keeperStore = (): string => join(cluster.clusterDirectory, 'keepers', 'r0');

  beforeAll(async () => {
    cluster = await ProcessCluster.start({
      epochs: { intervalMs: 0, successorWaitMs: 120_000 },
      recovery: ['hardware', 'offline', 'awareness'],
      started: false,
      stderr: 'kept',
    });
    // The program as it is, but that the thief is in the memory of the replica that the keeper starts first.
    const code = outside('code');
    cpSync(join(root, 'dist'), join(code, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(code, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(code, 'node_modules'));
    const path = join(code, 'dist', 'src', 'cli', 'run-replica.js');
    const thief = pathToFileURL(join(root, 'dist', 'test', 'e2e', 'taken-over.js'));
    writeFileSync(path, `import '${thief.href}';\n${readFileSync(path, 'utf8')}`);
    const keeper = [join(code, 'dist', 'src', 'cli', 'main.js'), 'keeper', '--store', keeperStore(), '--no-manifest'];
    cluster.restart(0, { command: keeper, more: ['--log-level', 'info'] });
    for (const index of [1, 2, 3]) cluster.restart(index, { more: ['--log-level', 'info'] });
    serviceKey = await serviceKeyOf(cluster);
    writeFileSync(join(cluster.clusterDirectory, 'service-key'), `${serviceKey}\n`);
    const genesis = await cluster.genesis();
    client = await connect({ genesis, followKey: serviceKey, deadlineMs: 60_000 });
    load = await KvLoad.start({ genesis, followKey: serviceKey, clients: 2, callersPerClient: 2, pauseMs: 100 });
    // Administrators' and operators' keys are on other machines, as they should be.
    mkdirSync(outside('elsewhere'));
    for (const name of ['identities', 'administrators']) {
      cpSync(join(cluster.clusterDirectory, name), join(outside('elsewhere'), name), { recursive: true });
      rmSync(join(cluster.clusterDirectory, name), { recursive: true });
    }
    stolen = await Promise.all([0, 1, 2, 3].map((index) => steal(cluster.homeOf(index), outside(`stolen-r${index}`))));
  }, 240_000);

  afterAll(async () => {
    await load?.close();
    await client?.close();
    // A keeper that is killed leaves its replica to end by itself.
    await cluster?.terminate(0);
    await cluster?.destroy();
  });

  const administrator = () => ['--key', join(outside('elsewhere'), 'administrators', 'admin-0.seed')];
  const advance = (...more: readonly string[]) =>
    done(cluster, 'epoch', 'advance', '--timeout', '90', ...administrator(), ...more);

  const keysOf = (index: number): StolenKeys => stolen[index] as StolenKeys;

  /** Who the replicas are, as the service has signed it. */
  async function membershipOf(epoch: number): Promise<VerifiedMembership> {
    return until(`the membership of epoch ${epoch} is signed`, async () => {
      const verdict = verifyCertifiedMembership((await ask(cluster, 1, '/v1/membership')) ?? '{}', serviceKey);
      return verdict.ok && verdict.membership.epoch === epoch ? verdict.membership : undefined;
    });
  }

  /** A statement in the name of a replica. */
  const statementOf = (index: number, epoch: number, serial = 1) => {
    const { replicaId, serviceId } = keysOf(index);
    return { replicaId, serviceId, epoch, serial, isClean: false };
  };

  /** A successor with keys of the thief's own that the stolen signing key vouches for; what becomes of it. */
  async function nameByStolenKey(index: number, epoch: number, serial = 1): Promise<string> {
    const successor = successorOf(await makeOwnKeys(), statementOf(index, epoch, serial), keysOf(index).signingKey);
    return handIn(client, successor);
  }

  /** What the keeper says to the thief in the process; it wants a rest between two requests. */
  async function askKeeper(own: OwnKeys, epoch: number): Promise<KeeperToReplica> {
    const { statement, signature } = JSON.parse((await ask(cluster, 1, '/v1/membership')) ?? '') as {
      readonly statement: string;
      readonly signature: string;
    };
    const named = encodeSuccessorStatement({ ...statementOf(0, epoch), keys: own.named });
    const message = {
      kind: 'sign-successor',
      statement: Buffer.from(named).toString('hex'),
      membership: statement + signature,
    };
    return until('the keeper answers', async () => {
      rmSync(outside('answered.json'), { force: true });
      writeFileSync(outside('asked.json.new'), JSON.stringify(message));
      cpSync(outside('asked.json.new'), outside('asked.json'));
      const path = outside('answered.json');
      await until('an answer', async () => (existsSync(path) ? true : undefined));
      const answer = JSON.parse(readFileSync(path, 'utf8')) as KeeperToReplica;
      return answer.kind === 'refused' && /too soon/.test(answer.reason) ? undefined : answer;
    });
  }

  /** What a replica makes of a link as somebody with these keys. */
  async function linkTo(index: number, identity: StolenKeys['link'], membership: VerifiedMembership) {
    const port = membership.replicas[index]?.peerAddress.port ?? 0;
    return dial({ port, identity, membership });
  }

  /** What r1 asks its operator to sign, once it does. */
  async function requestOf(epoch: number): Promise<string> {
    const path = join(cluster.homeOf(1), 'epochs', String(epoch), 'successor-request.json');
    return until('r1 asks its operator', async () => (existsSync(path) ? path : undefined));
  }

  /** The operator carries the request to the other machine, signs it there, and carries the answer back. */
  async function signFor(
    epoch: number,
    identity = join(outside('elsewhere'), 'identities', 'r1.seed'),
  ): Promise<string> {
    const request = await requestOf(epoch);
    const elsewhere = outside('elsewhere');
    cpSync(request, join(elsewhere, 'successor-request.json'));
    const said = await done(
      cluster,
      'sign-successor',
      join(elsewhere, 'successor-request.json'),
      '--identity',
      identity,
    );
    cpSync(join(elsewhere, 'successor-signed.json'), join(dirname(request), 'successor-signed.json'));
    return said;
  }

  it('hardware: in the process a thief may have keys certified, which those of the clean process overrule', async () => {
    const own = await makeOwnKeys();
    const answer = await askKeeper(own, 1);
    if (answer.kind !== 'successor-signed') throw new Error(answer.reason);
    expect(answer.isClean).toBe(false);
    const { serial } = answer;
    const successor = successorOf(own, statementOf(0, 1, serial), Buffer.from(answer.certificate, 'hex'));
    certified = { own, successor, serial };
    expect(await askKeeper(await makeOwnKeys(), 2)).toMatchObject({ kind: 'refused' });

    // Before the epoch ends, nobody may name keys at all. Then the thief is the first, while the keeper sleeps.
    expect(await handIn(client, successor)).toBe('too-early');
    cluster.freeze(0);
    await advance();
    await said(cluster, 1, 'the epoch ends', ({ phase }) => phase === 'preparing');
    expect(await handIn(client, successor)).toBe('taken');
    expect(await nameByStolenKey(0, 1, serial + 7)).toBe('bad-signature');
    cluster.thaw(0);
    await said(cluster, 1, 'r0 has named clean keys', (report) => hasNamed(report, 'r0', true));
    expect(await handIn(client, successor)).toBe('stale');
    // It cannot raise the serial that the keeper has signed.
    const certificate = Buffer.from(answer.certificate, 'hex');
    expect(await handIn(client, successorOf(own, statementOf(0, 1, serial + 7), certificate))).toBe('bad-signature');
  }, 240_000);

  it('offline: only the operator, with the key that is elsewhere, gives the replica its next keys', async () => {
    await requestOf(1);
    for (const serial of [1, Date.now() + 1_000_000]) expect(await nameByStolenKey(1, 1, serial)).toBe('bad-signature');
    expect(hasNamed((await reportOf(cluster, 2)) as EpochReport, 'r1')).toBe(false);
    expect(await done(cluster, 'epoch', 'show')).toMatch(
      /^Ending .* not yet .*r1 \(its operator: coterie sign-successor\)/m,
    );
    // An operator who takes the wrong key is told, and signs again.
    await signFor(1, join(keeperStore(), 'identity.seed'));
    await until('r1 says that it is the wrong key', async () =>
      (await cluster.saidBy(1)).includes('is not signed by the identity key of this replica') ? true : undefined,
    );
    expect(await signFor(1)).toContain('Signed the keys of r1 for epoch 1');
    await said(cluster, 2, 'r1 has its next keys', (report) => report.epoch === 1 || hasNamed(report, 'r1'));
    for (const index of [0, 1, 2, 3]) await said(cluster, index, 'epoch 1 has begun', ({ epoch }) => epoch === 1);
  }, 240_000);

  it('by either way, the keys that were stolen are of no use any more', async () => {
    const membership = await membershipOf(1);
    const [r0, r1] = membership.replicas;
    expect(r0).toMatchObject({ keysSince: { epoch: 1 }, cleanSince: { epoch: 1 } });
    expect(r1).toMatchObject({ keysSince: { epoch: 1 }, cleanSince: { epoch: 0 } });
    expect(r0?.signingKey).not.toBe(certified.own.named.signingKey);
    for (const index of [0, 1]) {
      const { signingKey, link } = keysOf(index);
      expect(membership.replicas[index]?.signingKey).not.toBe(signingKey.publicKey.text);
      // No other replica takes a link: not by the stolen key, and not by the one that was certified for the thief.
      for (const identity of [link, ...(index === 0 ? [certified.own.link] : [])]) {
        const unknown = counted((await statusOf(cluster, 2)) as ReplicaStatus, /^peer-link unknown-key$/);
        expect((await linkTo(2, identity, membership)).answer).toBe('cut off');
        await until('r2 has counted it', async () => {
          const now = counted((await statusOf(cluster, 2)) as ReplicaStatus, /^peer-link unknown-key$/);
          return now > unknown ? true : undefined;
        });
      }
      for (const epoch of [0, 1]) expect(await nameByStolenKey(index, epoch)).toBe('wrong-epoch');
      expect(await nameByStolenKey(index, 2)).toBe('too-early');
    }
    expect(await handIn(client, certified.successor)).toBe('wrong-epoch');

    // Nor a block, though a thief that is in r3 by now hands it on: its link is a good one, until the true r3 dials again.
    const now = await steal(cluster.homeOf(3), outside('stolen-r3-in-epoch-1'));
    const refusals = async () =>
      counted((await statusOf(cluster, 2)) as ReplicaStatus, /^rejected r3 block signature$/);
    for (const signingKey of [keysOf(0).signingKey, keysOf(1).signingKey, certified.own.signingKey]) {
      const author = signingKey === keysOf(1).signingKey ? 1 : 0;
      const before = await refusals();
      await until('r2 refuses the block', async () => {
        const { round = 0 } = (await statusOf(cluster, 2)) ?? {};
        const { socket, answer } = await linkTo(2, now.link, membership);
        expect(answer).toBe('accepted');
        socket.write(blockBy(author, round + 40, { membership, signingKey }));
        await sleep(300);
        socket.destroy();
        return (await refusals()) > before ? true : undefined;
      });
    }

    // And the replicas go on.
    await load.goesOn(50);
    for (const index of [0, 1]) {
      expect(await statusOf(cluster, index)).toMatchObject({ epoch: 1, observer: false, diverged: false });
    }
  }, 240_000);

  it('awareness: whoever names keys first or last, neither counts, and everybody sees the dispute', async () => {
    // The thief is in both replicas still, or again: what it has of epoch 0 is of no use here, too.
    const present = await Promise.all([2, 3].map((index) => steal(cluster.homeOf(index), outside(`r${index}-later`))));
    const before = await membershipOf(1);
    cluster.freeze(3);
    await advance();
    await said(cluster, 1, 'the epoch ends', ({ phase }) => phase === 'preparing');
    const nameAs = async (index: number, by: StolenKeys | undefined) =>
      handIn(client, successorOf(await makeOwnKeys(), statementOf(index, 2), (by ?? keysOf(index)).signingKey));
    expect(await nameAs(3, keysOf(3))).toBe('bad-signature');
    // Before the replica has named its own.
    expect(await nameAs(3, present[1])).toBe('taken');
    cluster.thaw(3);
    await said(cluster, 1, 'r3 is in dispute', ({ disputed }) => disputed.includes('r3'));
    // And after.
    await said(cluster, 1, 'r2 has named its keys', (report) => hasNamed(report, 'r2'));
    expect(await nameAs(2, present[0])).toBe('disputed');
    expect(await nameAs(2, present[0])).toBe('disputed');
    const report = await said(cluster, 1, 'both are in dispute', ({ disputed }) => disputed.length === 2);
    expect(['r2', 'r3'].filter((id) => hasNamed(report, id))).toEqual([]);

    await signFor(2);
    for (const index of [0, 1, 2, 3]) await said(cluster, index, 'epoch 2 has begun', ({ epoch }) => epoch === 2);
    const { replicas } = await membershipOf(2);
    for (const index of [2, 3]) expect(replicas[index]).toEqual(before.replicas[index]);
    expect(replicas[0]).toMatchObject({ keysSince: { epoch: 2 } });

    const status = await coterie(cluster, 'status');
    const shown = await coterie(cluster, 'epoch', 'show');
    expect(shown.code).toBe(1);
    for (const id of ['r2', 'r3']) {
      expect(status.stdout).toContain(`${id}: two different successors of its key are signed: replace it`);
      expect(shown.stdout).toContain(
        `${id}: two different successors of its key are signed. It was stolen: replace ${id}`,
      );
    }
    const { epoch } = JSON.parse((await coterie(cluster, 'status', '--json')).stdout) as { readonly epoch: unknown };
    expect(epoch).toMatchObject({ disputed: ['r2', 'r3'] });
    expect(expressionOf('CoterieSuccessorsDisputed')).toBe('max(coterie_disputed_replicas) > 0');
    for (const index of [0, 1]) expect(await measured(cluster, index, /^coterie_disputed_replicas[ {]/)).toBe(2);
    await load.goesOn(50);
  }, 240_000);

  it.runIf(isThorough)(
    'awareness: administrators replace who is in dispute, under load, and all is well',
    async () => {
      const basePort = await freePort();
      for (const [gone, index] of [
        [2, 4],
        [3, 5],
      ] as const) {
        const place = cluster.homeOf(index);
        await done(
          cluster,
          'admin',
          'make-replica',
          place,
          '--id',
          `r${index}`,
          '--base-port',
          String(basePort + index),
        );
        await done(cluster, 'admin', 'replace', `r${gone}`, join(place, 'joining.json'), ...administrator());
        cluster.restart(index, { more: ['--log-level', 'info'] });
      }
      // Of four, three must stay: the new ones come first, the others go at the next change.
      for (const next of [3, 4]) {
        await advance();
        await signFor(next);
        for (const index of [0, 1, 4, 5]) await said(cluster, index, 'the next epoch', ({ epoch }) => epoch === next);
      }
      const { replicas } = await membershipOf(4);
      expect(replicas.map(({ replicaId }) => replicaId)).toEqual(['r0', 'r1', 'r4', 'r5']);
      for (const index of [2, 3]) expect(await cluster.ended(index)).toEqual({ code: 0, signal: null });
      for (const index of [0, 1, 4, 5]) {
        await until(`r${index} has its key share`, async () => {
          return (await statusOf(cluster, index))?.keyState === 'ready' ? true : undefined;
        });
      }
      expect((await reportOf(cluster, 0))?.disputed).toEqual([]);
      expect(await measured(cluster, 0, /^coterie_disputed_replicas[ {]/)).toBe(0);
      expect((await coterie(cluster, 'status')).code).toBe(0);
      expect((await coterie(cluster, 'epoch', 'show')).code).toBe(0);
      await load.goesOn(50);
      await load.finish();
      expect(load.failures).toEqual([]);
      expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });
    },
    240_000,
  );
});
