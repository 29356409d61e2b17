/** A client against replicas that keep to the protocol: what it sends to whom, and what it gives back. */
import { afterEach, describe, expect, it } from 'vitest';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { formatGenesis } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { askStatus, type Client, type ConnectOptions, connect } from './client.ts';
import { ScriptedCluster } from './testing/scripted-cluster.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start(options: { readonly n?: number; readonly f?: number } = {}): Promise<ScriptedCluster> {
  const cluster = await ScriptedCluster.start(options);
  ending.push(() => cluster.stop());
  return cluster;
}

async function connectTo(cluster: ScriptedCluster, options: Partial<ConnectOptions> = {}): Promise<Client> {
  const client = await connect({ genesis: cluster.genesis, ...options });
  ending.push(() => client.close());
  return client;
}

const operationCounts = (cluster: ScriptedCluster) => cluster.executed.map(({ operations }) => operations.length);
const copies = (cluster: ScriptedCluster) => cluster.replicas.map(({ received }) => received.length);

describe('a call', () => {
  it('gives back the value, of every kind', async () => {
    const client = await connectTo(await start());
    const value = { text: 'héllo', list: [1, -2, 0.5, null, true], nested: { a: {} } };
    expect(await client.call('echo', value)).toEqual(value);
  });

  it('gives back bytes that the caller owns', async () => {
    const client = await connectTo(await start());
    const input = { inside: [Uint8Array.of(1, 2, 3)] };
    const { inside } = (await client.call('echo', input)) as typeof input;
    expect(inside[0]).toEqual(Uint8Array.of(1, 2, 3));
    expect(inside[0]!.buffer.byteLength).toBe(3);
  });

  it('is signed by the identity that was given', async () => {
    const cluster = await start();
    const identity = new Uint8Array(32).fill(9);
    await (await connectTo(cluster, { identity })).call('echo', null);
    expect(Buffer.from(cluster.executed[0]!.client)).toEqual(Buffer.from(signingKeyFromSeed(identity).publicKey.bytes));
  });

  it('goes to one replica, and links are attached to f + 1, while these are quick', async () => {
    const cluster = await start({ n: 7, f: 2 });
    const client = await connectTo(cluster);
    for (let i = 0; i < 50; i++) await client.call('echo', i);
    // A machine that stops for a moment may make some of them look slow.
    expect(Math.max(...copies(cluster))).toBeGreaterThanOrEqual(40);
    expect(copies(cluster).reduce((sum, count) => sum + count)).toBeLessThan(75);
    expect(cluster.replicas.filter(({ attached }) => attached.size > 0).length).toBeLessThan(7);
  });

  it('belongs to a session born at a commit index that was reached', async () => {
    const cluster = await start();
    cluster.commitIndex = 41;
    await (await connectTo(cluster)).call('echo', null);
    expect(cluster.executed[0]!.session.birth).toBe(41);
  });
});

describe('calls at the same time', () => {
  it('share a request, and each gets its own result', async () => {
    const cluster = await start();
    const client = await connectTo(cluster);
    const inputs = Array.from({ length: 300 }, (_, i) => i);
    expect(await Promise.all(inputs.map((i) => client.call('echo', i)))).toEqual(inputs);
    expect(operationCounts(cluster)).toEqual([300]);
  });

  it('gather while a request is open, and go out before it is answered', async () => {
    const cluster = await start();
    const client = await connectTo(cluster);
    cluster.held = true;
    const first = client.call('echo', 'first');
    await receivedBy(cluster, 1);
    const others = Promise.all([1, 2, 3, 4, 5].map((i) => client.call('echo', i)));
    await receivedBy(cluster, 2);
    cluster.release();
    expect([await first, ...(await others)]).toEqual(['first', 1, 2, 3, 4, 5]);
    expect(operationCounts(cluster)).toEqual([1, 5]);
  });

  it('never carry more operations or bytes than a request may', async () => {
    const cluster = await start();
    const client = await connectTo(cluster);
    await Promise.all(Array.from({ length: 2_500 }, (_, i) => client.call('echo', i)));
    expect(operationCounts(cluster)).toEqual([1024, 1024, 452]);
    cluster.execute = () => ({ ok: true, value: null });
    const large = 'x'.repeat(300 * 1024);
    await Promise.all(Array.from({ length: 7 }, () => client.call('echo', large)));
    expect(operationCounts(cluster).slice(3)).toEqual([3, 3, 1]);
  });

  it('never keep more requests open than the bound, nor acknowledge what is open', async () => {
    const cluster = await start();
    const client = await connectTo(cluster);
    cluster.held = true;
    const large = 'x'.repeat(900 * 1024);
    const calls = Promise.all(Array.from({ length: 20 }, () => client.call('echo', large)));
    await receivedBy(cluster, limits.clientRequestsOpenMax);
    const distinct = () => new Set(cluster.replicas.flatMap(({ received }) => received.map(({ number }) => number)));
    expect(distinct().size).toBe(limits.clientRequestsOpenMax);
    cluster.release();
    await calls;
    expect(distinct().size).toBe(20);
    for (const { number, acknowledged } of cluster.executed) {
      expect(acknowledged).toBeLessThan(number);
      expect(number - acknowledged).toBeLessThanOrEqual(limits.clientRequestsOpenMax);
    }
  });

  it('acknowledge nothing above a request that is still open', async () => {
    const cluster = await start();
    const client = await connectTo(cluster);
    await client.call('echo', 'first');
    const number = cluster.executed[0]!.number + 1;
    cluster.isHeld = (request) => request.number === number;
    const slow = client.call('echo', 'slow');
    await receivedBy(cluster, 2);
    for (let i = 0; i < 5; i++) await client.call('echo', i);
    expect(cluster.executed.slice(1).map(({ acknowledged }) => acknowledged)).toEqual(Array(5).fill(number - 1));
    cluster.release();
    expect(await slow).toBe('slow');
    await client.call('echo', 'last');
    expect(cluster.executed.at(-1)!.acknowledged).toBe(number + 5);
  });

  it('whose results are too large together are asked again one by one', async () => {
    const cluster = await start();
    const client = await connectTo(cluster);
    const large = 'x'.repeat(200 * 1024);
    let left = 0;
    cluster.execute = ({ name }) => {
      if (name === 'begin') left = 3;
      left -= 1;
      return left < 0 && name !== 'alone'
        ? { ok: false, code: 'too-large', message: 'together' }
        : { ok: true, value: large };
    };
    const begin = client.call('begin', null);
    const rest = Array.from({ length: 4 }, () => client.call('more', null));
    // The last two do not fit, whatever they are asked with; asked alone they still do not, and then it is final.
    const settled = await Promise.allSettled([begin, ...rest]);
    expect(settled.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    expect(operationCounts(cluster)).toEqual([5, 1, 1]);
    // From now on the client expects such results, and leaves room for them.
    left = 100;
    await Promise.all(Array.from({ length: 6 }, () => client.call('more', null)));
    for (const count of operationCounts(cluster).slice(3)) expect(count).toBeLessThanOrEqual(5);
  });
});

describe('connecting', () => {
  it('takes the genesis as JSON too', async () => {
    const cluster = await start();
    const client = await connect({ genesis: formatGenesis(cluster.genesis) });
    ending.push(() => client.close());
    expect(await client.call('echo', 1)).toBe(1);
  });

  it('spreads clients over the replicas', async () => {
    const cluster = await start();
    const clients = await Promise.all(Array.from({ length: 24 }, () => connectTo(cluster)));
    await Promise.all(clients.map((client) => client.call('echo', null)));
    // All 24 on one replica of four by chance: once in 4 to the power of 23.
    expect(copies(cluster).filter((count) => count > 0).length).toBeGreaterThan(1);
  });

  it('asks one replica for its status, with or without a client', async () => {
    const cluster = await start();
    const client = await connectTo(cluster);
    expect(await client.status(3)).toEqual({ replicaIndex: 3 });
    expect(await askStatus({ genesis: cluster.genesis, replicaIndex: 2 })).toEqual({ replicaIndex: 2 });
    await expect(client.status(4)).rejects.toMatchObject({ code: 'invalid-input' });
    await cluster.replicas[1]!.stop();
    await expect(client.status(1)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

/** Resolves once the replicas together have been sent so many different requests. */
async function receivedBy(cluster: ScriptedCluster, requests: number): Promise<void> {
  for (;;) {
    const seen = new Set(cluster.replicas.flatMap(({ received }) => received.map(({ digest }) => digest)));
    if (seen.size >= requests) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
