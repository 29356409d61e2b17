/** A client that knows the service key and an address, against servers that answer well, badly, late or not at all. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../wire/limits.ts';
import { type ConnectOptions, CoterieError, connect } from './client.ts';
import { replicasAtFirst, ScriptedCertifier } from './testing/scripted-certifier.ts';
import { ScriptedCluster } from './testing/scripted-cluster.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start() {
  const cluster = await ScriptedCluster.start({ certifies: true });
  ending.push(() => cluster.stop());
  const certifier = cluster.certifier!;
  const { serviceKey } = certifier;
  return { cluster, certifier, serviceKey, document: certifier.membership(cluster.genesis) };
}

/** The HTTP port of a replica, as far as a client needs one. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ending.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serveJson = (document: unknown): Promise<string> =>
  serve((request, response) => {
    if (request.url === '/v1/membership') response.end(JSON.stringify(document));
    else response.writeHead(404).end();
  });

async function callOnce(options: ConnectOptions): Promise<void> {
  const client = await connect(options);
  ending.push(() => client.close());
  expect((await client.callCertified('echo', 'hello')).value).toBe('hello');
  expect(await client.call('echo', 'quick')).toBe('quick');
  expect(client.cluster).toMatchObject({ name: 'scripted', service: 'echo', replicaCount: 4, f: 1 });
}

async function refused(options: ConnectOptions): Promise<CoterieError> {
  const error = await connect(options).then(
    () => new Error('it connected'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CoterieError);
  return error as CoterieError;
}

describe('the service key alone', () => {
  it('finds the replicas by the HTTP port of any of them', async () => {
    const { serviceKey, document } = await start();
    await callOnce({ serviceKey, at: [await serveJson(document)] });
  });

  it('finds them by one address of several, whatever the others do', async () => {
    const { serviceKey, document } = await start();
    const at = [
      '127.0.0.1:1',
      'nonsense',
      await serve(() => {}),
      await serve((_, response) => response.writeHead(503).end()),
      await serve((_, response) => response.writeHead(302, { location: '/elsewhere' }).end()),
      await serveJson({ coterie: 'certified membership' }),
      await serve((_, response) => response.end('x'.repeat(limits.clientMembershipSizeBytesMax + 1))),
      await serveJson(document),
    ];
    await callOnce({ serviceKey, at });
  });

  it('finds them by a membership that somebody handed over, in each form', async () => {
    const { serviceKey, document } = await start();
    const directory = mkdtempSync(join(tmpdir(), 'coterie-membership-'));
    ending.push(async () => rmSync(directory, { recursive: true }));
    const path = join(directory, 'membership.json');
    writeFileSync(path, JSON.stringify(document));
    for (const membership of [document, JSON.stringify(document), path]) await callOnce({ serviceKey, membership });
  });

  it('is not enough without a way to a membership, and nothing is not enough either', async () => {
    const { serviceKey } = await start();
    expect(await refused({ serviceKey })).toMatchObject({ code: 'invalid-input' });
    expect(await refused({ serviceKey, at: [] })).toMatchObject({ code: 'invalid-input' });
    expect(await refused({})).toMatchObject({ code: 'invalid-input' });
  });

  it('goes with a genesis too, and says so when it is the key of another service', async () => {
    const { cluster, serviceKey } = await start();
    await callOnce({ serviceKey, genesis: cluster.genesis });
    const other = await start();
    other.cluster.certifier = new ScriptedCertifier(other.cluster.serviceId, 77n);
    const client = await connect({ serviceKey, genesis: other.cluster.genesis });
    ending.push(() => client.close());
    await expect(client.callCertified('echo', 1)).rejects.toMatchObject({
      code: 'invalid-result',
      message: expect.stringContaining('not under the service key that was given'),
    });
  });
});

describe('a membership that is not believed', () => {
  it.each<[string, (started: Awaited<ReturnType<typeof start>>) => unknown]>([
    ['of another key', ({ cluster }) => new ScriptedCertifier(cluster.serviceId, 5n).membership(cluster.genesis)],
    [
      'with a lower f',
      ({ cluster, certifier, document }) => {
        const { statement } = certifier.membership({ ...cluster.genesis, f: 0 });
        return { ...document, statement };
      },
    ],
    [
      'with another address',
      ({ cluster, certifier, document }) => {
        const replicas = replicasAtFirst(cluster.genesis).map((replica) => {
          return { ...replica, clientAddress: { host: 'evil.example', port: 1 } };
        });
        return { ...document, statement: certifier.membership(cluster.genesis, { replicas }).statement };
      },
    ],
    ['that is a head', ({ document }) => ({ ...document, coterie: 'certified head' })],
    ['that is signed, and makes no sense', ({ cluster, certifier }) => certifier.membership(cluster.genesis, { f: 2 })],
    ['that is nothing', () => 0],
  ])('%s', async (_, membershipOf) => {
    const started = await start();
    const { serviceKey } = started;
    const document = membershipOf(started);
    const error = await refused({ serviceKey, at: [await serveJson(document)] });
    expect(error).toMatchObject({ code: 'invalid-membership', outcome: 'not-sent' });
    if (typeof document === 'object') {
      const membership = JSON.stringify(document);
      expect(await refused({ serviceKey, membership })).toMatchObject({ code: 'invalid-membership' });
    }
  });

  it('because nobody answers in time', async () => {
    const { serviceKey } = await start();
    const error = await refused({ serviceKey, at: [await serve(() => {})], deadlineMs: 100 });
    expect(error).toMatchObject({ code: 'invalid-membership' });
    expect(error.message).toContain('did not answer in time');
  });

  it('because there is no such file', async () => {
    const { serviceKey } = await start();
    const error = await refused({ serviceKey, membership: '/nowhere/membership.json' });
    expect(error).toMatchObject({ code: 'invalid-membership' });
    expect(error.message).toContain('no such file');
  });
});
