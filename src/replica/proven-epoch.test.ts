/**
 * Shows that a replica which was started clean takes no epoch for real that an attacker wrote into its home, but the one that the
 * service signed; and what proves an epoch.
 */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { statementMessage } from '../certification/statement.ts';
import { blsPublicKey, blsSign } from '../crypto/bls.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { sha256 } from '../crypto/hash.ts';
import { systemFiles } from '../platform/files.ts';
import { type EpochRecord, writeEpochRecord } from '../storage/epoch-files.ts';
import { openHome } from '../storage/home.ts';
import { type Genesis, serviceIdOf } from '../wire/genesis.ts';
import { encodeMembershipStatement, type MembershipStatement } from '../wire/membership-statement.ts';
import { createCluster } from './create-cluster.ts';
import { isProven } from './proven-epoch.ts';
import { type RunningReplica, startReplica } from './replica.ts';
import { serviceSignatureCheck } from './service-signature.ts';

const secret = 0x5ec2e7n;
const serviceKey = Buffer.from(mclCurve.g2.encode(blsPublicKey(mclCurve, secret))).toString('hex');
const service = { name: 'nothing', version: '1', operations: {} };

let directory: string;
let home: string;
let genesis: Genesis;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-proven-'));
  home = join(directory, 'cluster', 'replicas', 'r0');
  genesis = await createCluster({ directory: join(directory, 'cluster'), replicas: 4, service: 'kv' });
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** The epoch 1 of the same replicas with the same keys. */
function statementOf(): MembershipStatement {
  const since = { epoch: 0, timestamp: genesis.created };
  const replicas = genesis.replicas.map((each) => ({ ...each, keysSince: since, cleanSince: since }));
  const { name, service, f, k } = genesis;
  const serviceId = serviceIdOf(genesis);
  return { serviceId, epoch: 1, f, k, name, service, replicas, epochGenesis: serviceId, sharingEpoch: 1 };
}

function signed(statement: MembershipStatement): EpochRecord {
  const message = statementMessage('membership', sha256(encodeMembershipStatement(statement)));
  const signature = mclCurve.g1.encode(blsSign(mclCurve, secret, message));
  return { statement, signature, closingProof: undefined };
}

describe('an epoch', () => {
  it('is proven by the signature of the service under just this membership', () => {
    const statement = statementOf();
    const serviceId = serviceIdOf(genesis);
    const context = { serviceId, isSigned: serviceSignatureCheck(() => serviceKey) };
    const record = signed(statement);
    expect(isProven(record, context)).toBe(true);
    expect(isProven({ ...record, statement: { ...statement, epoch: 2 } }, context)).toBe(false);
    expect(isProven({ ...record, statement: { ...statement, f: 0 } }, context)).toBe(false);
    expect(isProven({ ...record, signature: new Uint8Array(48) }, context)).toBe(false);
    expect(isProven({ ...record, signature: undefined }, context)).toBe(false);
    expect(isProven({ statement, signature: undefined, closingProof: Buffer.from('proof') }, context)).toBe(false);
    expect(isProven(record, { ...context, serviceId: sha256(Buffer.from('another')) })).toBe(false);
    expect(isProven(record, { serviceId, isSigned: serviceSignatureCheck(() => undefined) })).toBe(false);
  });
});

describe('a replica that was started clean', () => {
  /** As whoever had the replica leaves its home: with keys of its choice, which the membership of its choice names. */
  async function turnHome(record: EpochRecord): Promise<void> {
    const opened = await openHome(home);
    try {
      await opened.turnTo(record, undefined);
    } finally {
      await opened.close();
    }
  }

  const start = (): Promise<RunningReplica> =>
    startReplica({ home, service, logger: pino({ level: 'silent' }), isClean: true });

  it('does not start in an epoch that nobody signed, and erases nothing for it', async () => {
    await writeFile(join(home, 'service-key'), `${serviceKey}\n`);
    await turnHome(signed(statementOf()));
    const right = await readFile(join(home, 'epoch.json'));
    const keys = await readdir(join(home, 'epochs', '1', 'keys'));
    const forged = { ...statementOf(), epoch: 99 };
    for (const statement of [forged, { ...forged, replicas: forged.replicas.slice(1) }]) {
      await cp(join(home, 'epochs', '1'), join(home, 'epochs', '99'), { recursive: true });
      await writeEpochRecord(systemFiles, home, { ...signed(statementOf()), statement });
      await expect(start()).rejects.toMatchObject({ code: 'epoch-unproven' });
    }
    await writeFile(join(home, 'epoch.json'), right);
    expect(await readdir(join(home, 'epochs', '1', 'keys'))).toEqual(keys);
    const opened = await openHome(home);
    expect(opened.epoch).toBe(1);
    await opened.close();
  });

  it('shows nobody a proof that its disk has damaged, and says so', async () => {
    await writeFile(join(home, 'service-key'), `${serviceKey}\n`);
    await turnHome({ ...signed(statementOf()), closingProof: Buffer.from('damaged') });
    const said: string[] = [];
    const replica = await startReplica({
      home,
      service,
      logger: pino({ hooks: { logMethod: (args) => void said.push(String(args.at(-1))) } }),
    });
    const { host, port } = genesis.replicas[0]?.httpAddress ?? { host: '', port: 0 };
    const answer = await fetch(`http://${host}:${port}/v1/closing-proof`);
    await replica.stop();
    expect(answer.status).toBe(503);
    expect(said.filter((line) => line.includes('closing proof in epoch.json is damaged'))).toHaveLength(1);
  });

  it('starts in the one that the service signed', async () => {
    await writeFile(join(home, 'service-key'), `${serviceKey}\n`);
    await turnHome(signed(statementOf()));
    const replica = await start();
    expect(replica.status()).toMatchObject({ phase: 'fetching-state' });
    await replica.stop();
    expect(await replica.ended).toBeUndefined();
  });
});
