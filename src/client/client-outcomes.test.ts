/** How calls end that do not succeed, and what their errors claim to know. */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../wire/limits.ts';
import { failure } from '../wire/outcome.ts';
import { type Client, CoterieError, connect } from './client.ts';
import { ScriptedCluster } from './testing/scripted-cluster.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start(): Promise<{ readonly cluster: ScriptedCluster; readonly client: Client }> {
  const cluster = await ScriptedCluster.start();
  ending.push(() => cluster.stop());
  const client = await connect({ genesis: cluster.genesis });
  ending.push(() => client.close());
  for (let i = 0; i < 3; i++) await client.call('echo', 'hello');
  return { cluster, client };
}

/** The error of a promise that must be rejected. */
async function errorOf(promise: Promise<unknown>): Promise<CoterieError> {
  const error = await promise.then(
    () => new Error('it was fulfilled'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CoterieError);
  return error as CoterieError;
}

const receivedBy = (cluster: ScriptedCluster): number =>
  cluster.replicas.reduce((sum, { received }) => sum + received.length, 0);

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe('an operation that the service refuses', () => {
  it('is rejected with its code, and the others of its request are not', async () => {
    const { cluster, client } = await start();
    cluster.execute = (_, input) => (input === 13 ? failure('unlucky', 'not this one') : { ok: true, value: input });
    const settled = await Promise.allSettled([12, 13, 14].map((i) => client.call('echo', i)));
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const error = await errorOf(client.call('echo', 13));
    expect(error).toMatchObject({
      code: 'rejected',
      outcome: 'not-executed',
      rejection: { code: 'unlucky', message: 'not this one' },
      message: 'echo was rejected: unlucky: not this one',
    });
    expect(error.hint).not.toBe('');
  });
});

describe('a deadline', () => {
  it('that passes when the request is out leaves the outcome unknown, and the next call works', async () => {
    const { cluster, client } = await start();
    cluster.held = true;
    expect(await errorOf(client.call('echo', 1, { deadlineMs: 40 }))).toMatchObject({
      code: 'timeout',
      outcome: 'unknown',
    });
    cluster.release();
    expect(await client.call('echo', 2)).toBe(2);
  });

  it('that passes for one call does not end the others of its request', async () => {
    const { cluster, client } = await start();
    cluster.held = true;
    const short = client.call('echo', 'short', { deadlineMs: 40 });
    const long = client.call('echo', 'long');
    expect((await errorOf(short)).code).toBe('timeout');
    cluster.release();
    expect(await long).toBe('long');
  });

  it('that passes before there was room for the call says that it was never sent', async () => {
    const { cluster, client } = await start();
    cluster.held = true;
    const large = 'x'.repeat(1000 * 1024);
    const open = Array.from({ length: limits.clientRequestsOpenMax }, () => client.call('echo', large));
    const waiting = client.call('echo', large, { deadlineMs: 40 });
    expect(await errorOf(waiting)).toMatchObject({ code: 'timeout', outcome: 'not-sent' });
    cluster.release();
    await Promise.all(open);
  });

  it('that passes while too few replicas are there says so, and which', async () => {
    const { cluster, client } = await start();
    await Promise.all(cluster.replicas.slice(1).map((replica) => replica.stop()));
    const error = await errorOf(client.call('echo', 1, { deadlineMs: 200 }));
    expect(error.code).toBe('unavailable');
    expect(error.message).toMatch(/of 4 replicas are connected/);
    expect(error.message).toContain(`replica 3 at 127.0.0.1:${cluster.replicas[3]!.port}: `);
  });

  it('given up is acknowledged later, so that the window never closes', async () => {
    const { cluster, client } = await start();
    cluster.held = true;
    for (let i = 0; i < 3; i++) await errorOf(client.call('echo', i, { deadlineMs: 20 }));
    cluster.held = false;
    await client.call('echo', 'next');
    const { number, acknowledged } = cluster.executed.at(-1)!;
    expect(acknowledged).toBe(number - 1);
  });
});

describe('a signal', () => {
  it('that is aborted already keeps the call from being made', async () => {
    const { cluster, client } = await start();
    const before = cluster.executed.length;
    const error = await errorOf(client.call('echo', 1, { signal: AbortSignal.abort(new Error('why')) }));
    expect(error).toMatchObject({ code: 'aborted', outcome: 'not-sent', cause: new Error('why') });
    await client.call('echo', 2);
    expect(cluster.executed.length).toBe(before + 1);
  });

  it('that is aborted when the request is out leaves the outcome unknown', async () => {
    const { cluster, client } = await start();
    cluster.held = true;
    const before = receivedBy(cluster);
    const controller = new AbortController();
    const call = client.call('echo', 1, { signal: controller.signal });
    await until(() => receivedBy(cluster) > before);
    controller.abort();
    expect(await errorOf(call)).toMatchObject({ code: 'aborted', outcome: 'unknown' });
    cluster.release();
    expect(await client.call('echo', 2)).toBe(2);
  });

  it('has no listener left when the call has ended', async () => {
    const { client } = await start();
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...parameters: Parameters<typeof addEventListener>) => {
      listeners += 1;
      addEventListener.apply(signal, parameters);
    };
    signal.removeEventListener = (...parameters: Parameters<typeof removeEventListener>) => {
      listeners -= 1;
      removeEventListener.apply(signal, parameters);
    };
    await Promise.all([1, 2, 3].map((i) => client.call('echo', i, { signal })));
    expect(listeners).toBe(0);
  });
});

describe('a session that the replicas have forgotten', () => {
  it('is replaced, and a call that was provably not executed is made in the new one', async () => {
    const { cluster, client } = await start();
    const old = cluster.executed.at(-1)!.session;
    cluster.refuseWhole = ({ session }) =>
      Buffer.compare(session.nonce, old.nonce) === 0 ? 'session-expired' : undefined;
    // Both links have answered before, so an execution would have been reported.
    expect(await Promise.all([1, 2, 3].map((i) => client.call('echo', i)))).toEqual([1, 2, 3]);
    const last = cluster.executed.at(-1)!;
    expect(last.session.nonce).not.toEqual(old.nonce);
    expect(last.session.birth).toBeGreaterThan(old.birth);
    expect(last.number).toBe(1);
    expect(await client.call('echo', 4)).toBe(4);
    expect(client.replicas().every(({ wrongReplies, malformed }) => wrongReplies + malformed === 0)).toBe(true);
  });

  it('is replaced, and a call of which nothing is known says so', async () => {
    const { cluster, client } = await start();
    const old = cluster.executed.at(-1)!.session;
    cluster.held = true;
    const before = receivedBy(cluster);
    const call = client.call('echo', 'unknown');
    await until(() => receivedBy(cluster) > before);
    // The links that would have heard of an execution are cut.
    for (const { links } of cluster.replicas) for (const link of links) link.close('cut');
    await until(() => receivedBy(cluster) > before + 1);
    cluster.refuseWhole = ({ session }) =>
      Buffer.compare(session.nonce, old.nonce) === 0 ? 'session-expired' : undefined;
    cluster.release();
    expect(await errorOf(call)).toMatchObject({ code: 'session-expired', outcome: 'unknown' });
    expect(await client.call('echo', 'again')).toBe('again');
  });

  it('is not looked for again and again when all are refused', async () => {
    const { cluster, client } = await start();
    cluster.refuseWhole = () => 'session-expired';
    expect((await errorOf(client.call('echo', 1))).code).toBe('session-expired');
  });
});

describe('a request that is refused as a whole', () => {
  it.each([
    ['result-forgotten', 'result-lost', 'unknown'],
    ['already-acknowledged', 'result-lost', 'unknown'],
    ['window', 'refused', 'not-executed'],
  ])('with %s ends its calls with %s, outcome %s', async (verdict, code, outcome) => {
    const { cluster, client } = await start();
    cluster.refuseWhole = () => verdict;
    expect(await errorOf(client.call('echo', 1))).toMatchObject({ code, outcome });
    cluster.refuseWhole = undefined;
    expect(await client.call('echo', 2)).toBe(2);
  });
});

describe('input that cannot be sent', () => {
  it.each<[string, unknown]>([
    ['a function', () => 1],
    ['not a number', Number.NaN],
    ['a class instance', new Map()],
    ['more than a request holds', 'x'.repeat(limits.requestSizeBytesMax)],
  ])('%s is refused here', async (_, input) => {
    const { client } = await start();
    expect(await errorOf(client.call('echo', input))).toMatchObject({ code: 'invalid-input', outcome: 'not-sent' });
  });

  it('such as a name that is none, or a deadline that is none, is refused here', async () => {
    const { client } = await start();
    expect((await errorOf(client.call('No Name', 1))).code).toBe('invalid-input');
    expect((await errorOf(client.call('echo', 1, { deadlineMs: -1 }))).code).toBe('invalid-input');
  });

  it('more calls than may wait are refused, and the others made', async () => {
    const { cluster, client } = await start();
    cluster.execute = () => ({ ok: true, value: null });
    const calls = Array.from({ length: limits.clientCallsWaitingMax + 10 }, () => client.call('echo', 1));
    const settled = await Promise.allSettled(calls);
    const refused = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    expect(refused).toHaveLength(10);
    for (const error of refused) expect(error).toMatchObject({ code: 'overloaded', outcome: 'not-sent' });
  });
});

describe('closing', () => {
  it('rejects what is open, with what is known of it, and what comes later', async () => {
    const { cluster, client } = await start();
    cluster.held = true;
    const before = receivedBy(cluster);
    const sent = errorOf(client.call('echo', 1));
    await until(() => receivedBy(cluster) > before);
    const waiting = errorOf(client.call('echo', 2));
    await client.close();
    expect(await sent).toMatchObject({ code: 'closed', outcome: 'unknown' });
    expect(await waiting).toMatchObject({ code: 'closed', outcome: 'not-sent' });
    expect(await errorOf(client.call('echo', 3))).toMatchObject({ code: 'closed', outcome: 'not-sent' });
    await until(() => cluster.replicas.every(({ links }) => links.size === 0));
    await client.close();
  });
});

describe('connecting', () => {
  it('to a cluster that is not there fails at once, with the reasons', async () => {
    const cluster = await ScriptedCluster.start();
    await cluster.stop();
    const error = await errorOf(connect({ genesis: cluster.genesis, deadlineMs: 60_000 }));
    expect(error).toMatchObject({ code: 'unavailable', outcome: 'not-sent' });
    expect(error.message).toContain('nobody listens there');
  });

  it('can be given up, and has a deadline', async () => {
    const cluster = await ScriptedCluster.start();
    ending.push(() => cluster.stop());
    expect((await errorOf(connect({ genesis: cluster.genesis, signal: AbortSignal.abort() }))).code).toBe('aborted');
    for (const { script } of cluster.replicas) script.welcome = () => Uint8Array.of(4, 0);
    const error = await errorOf(connect({ genesis: cluster.genesis, deadlineMs: 300 }));
    expect(error.code).toBe('unavailable');
  });

  it('with a genesis that is none says what is wrong with it', async () => {
    expect((await errorOf(connect({ genesis: '{"version": 1, "name": "old"}' }))).message).toMatch(
      /^the genesis: version: /,
    );
    expect(await errorOf(connect({ genesis: '/nowhere/genesis.json' }))).toMatchObject({
      code: 'invalid-genesis',
      message: 'the genesis at /nowhere/genesis.json: there is no such file',
    });
  });

  it('with an identity of the wrong length is refused, and the seed is not in the error', async () => {
    const cluster = await ScriptedCluster.start();
    ending.push(() => cluster.stop());
    const error = await errorOf(connect({ genesis: cluster.genesis, identity: new Uint8Array(31).fill(7) }));
    expect(error.code).toBe('invalid-input');
    expect(JSON.stringify(error)).not.toContain('7,7');
  });
});
