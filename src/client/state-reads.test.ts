/** Certified reads against replicas that prove, lie, withhold, lag behind, forget or show another history. */
import { afterEach, describe, expect, it } from 'vitest';
import { getCertified, kvValueOf } from '../../services/kv/certified-reads.ts';
import { verifyCertifiedState } from '../verify/verify.ts';
import type { ReplicaToClient } from '../wire/client-message.ts';
import { encodeValue, type Value } from '../wire/value.ts';
import type { HistoryGap, InconsistentHeads } from './certified-heads.ts';
import { type Client, type ConnectOptions, CoterieError, connect, MemoryHeadStore } from './client.ts';
import { ScriptedCertifier } from './testing/scripted-certifier.ts';
import { ScriptedCluster, type ScriptedReplica, type StateAnswer } from './testing/scripted-cluster.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

/** A service with a state, certified once; `write` changes it and certifies that. */
async function start(options: Partial<ConnectOptions> = {}) {
  const cluster = await ScriptedCluster.start({ certifies: true });
  ending.push(() => cluster.stop());
  const certifier = cluster.certifier!;
  let commitIndex = 100;
  const write = (key: string, value: Value | undefined, log: ScriptedCertifier = certifier): void => {
    if (value === undefined) log.values.delete(key);
    else log.values.set(key, encodeValue(value));
    commitIndex += 1;
    log.append(`${commitIndex}`.padStart(64, '0') as never, commitIndex);
  };
  for (let i = 0; i < 30; i++) certifier.values.set(`other ${i}`, encodeValue(i));
  write('greeting', 'hello');
  return { cluster, certifier, write, client: await connectTo(cluster, options) };
}

async function connectTo(cluster: ScriptedCluster, options: Partial<ConnectOptions> = {}): Promise<Client> {
  const { serviceKey } = cluster.certifier!;
  const client = await connect({ genesis: cluster.genesis, serviceKey, ...options });
  ending.push(() => client.close());
  return client;
}

async function errorOf(promise: Promise<unknown>): Promise<CoterieError> {
  const error = await promise.then(
    () => new Error('it was fulfilled'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CoterieError);
  return error as CoterieError;
}

const questions = ({ replicas }: ScriptedCluster): number =>
  replicas.reduce((sum, { stateQuestions }) => sum + stateQuestions.length, 0);

/** The replica that this client asks first. */
async function firstAsked(cluster: ScriptedCluster, client: Client): Promise<ScriptedReplica> {
  await client.readCertified('greeting');
  const asked = cluster.replicas.filter(({ stateQuestions }) => stateQuestions.length > 0);
  expect(asked).toHaveLength(1);
  return asked[0]!;
}

const blamed = (client: Client): readonly number[] =>
  client
    .replicas()
    .filter(({ wrongReplies, malformed }) => wrongReplies + malformed > 0)
    .map(({ replicaIndex }) => replicaIndex);

describe('a certified read', () => {
  it('gives the value and a document that the service key alone proves, and orders nothing', async () => {
    const { client, certifier, cluster } = await start();
    const { value, asOf, ageMs, document } = await client.readCertified('greeting');
    expect(value).toBe('hello');
    const { head } = certifier.newest!;
    expect(asOf).toEqual({ commitIndex: 101, timestamp: head.timestamp });
    expect(ageMs).toBeGreaterThan(Date.now() - head.timestamp - 60_000);
    expect(ageMs).toBeLessThanOrEqual(Date.now() - head.timestamp);
    const verdict = verifyCertifiedState(JSON.stringify(document), certifier.serviceKey);
    expect(verdict).toMatchObject({ ok: true, state: { key: 'greeting', present: true, value: 'hello', asOf } });
    expect([questions(cluster), cluster.executed.length]).toEqual([1, 0]);
    expect(blamed(client)).toEqual([]);
  });

  it('proves that there is no such key', async () => {
    const { client, certifier } = await start();
    const { value, document } = await client.readCertified('nothing');
    expect(value).toBeUndefined();
    const verdict = verifyCertifiedState(document, certifier.serviceKey);
    expect(verdict).toMatchObject({ ok: true, state: { key: 'nothing', present: false } });
  });

  it('follows what is written, many at once too', async () => {
    const { client, write, cluster } = await start();
    for (let i = 0; i < 5; i++) {
      write('greeting', i);
      const reads = await Promise.all(Array.from({ length: 20 }, () => client.readCertified('greeting')));
      expect(new Set(reads.map(({ value }) => value))).toEqual(new Set([i]));
    }
    write('greeting', undefined);
    expect((await client.readCertified('greeting')).value).toBeUndefined();
    expect(questions(cluster)).toBe(101);
    expect(blamed(client)).toEqual([]);
  });

  it('needs the service key, a key that can be one, and options that make sense', async () => {
    const { cluster, client } = await start();
    const keyless = await connect({ genesis: cluster.genesis });
    ending.push(() => keyless.close());
    expect((await errorOf(keyless.readCertified('a'))).code).toBe('no-service-key');
    for (const key of ['\ud800', 'k'.repeat(1_025)]) {
      expect((await errorOf(client.readCertified(key))).code).toBe('invalid-input');
    }
    for (const options of [{ maxAgeMs: -1 }, { maxAgeMs: Number.NaN }, { notBefore: 0.5 }, { deadlineMs: 0 }]) {
      expect((await errorOf(client.readCertified('a', options))).code).toBe('invalid-input');
    }
  });

  it('ends when the caller gives up, at its deadline, and when the client is closed', async () => {
    const { cluster, client } = await start();
    for (const { script } of cluster.replicas) script.state = () => [];
    const giving = new AbortController();
    const given = client.readCertified('a', { signal: giving.signal });
    giving.abort();
    expect((await errorOf(given)).code).toBe('aborted');
    expect((await errorOf(client.readCertified('a', { deadlineMs: 60 }))).code).toBe('timeout');
    const open = errorOf(client.readCertified('a'));
    await client.close();
    expect((await open).code).toBe('closed');
    expect((await errorOf(client.readCertified('a'))).code).toBe('closed');
  });

  it('asks another replica when the first is silent, dies or says that it cannot', async () => {
    const { cluster, client } = await start();
    const first = await firstAsked(cluster, client);
    first.script.state = () => [];
    expect((await client.readCertified('greeting')).value).toBe('hello');
    const refuse = ({ number }: StateAnswer): readonly ReplicaToClient[] => [
      { kind: 'state-refused', number, code: 'overloaded', reason: 'too much' },
    ];
    const able = cluster.replicas.find((replica) => replica !== first);
    for (const replica of cluster.replicas) if (replica !== able) replica.script.state = refuse;
    expect((await client.readCertified('greeting')).value).toBe('hello');
    await first.stop();
    expect((await client.readCertified('greeting')).value).toBe('hello');
  });

  it('says so when the service does not show its state, or certifies nothing', async () => {
    const { cluster, client } = await start();
    const says = (code: 'not-public' | 'not-certifying'): void => {
      for (const { script } of cluster.replicas) {
        script.state = ({ number }) => [{ kind: 'state-refused', number, code, reason: 'because' }];
      }
    };
    says('not-public');
    expect(await errorOf(client.readCertified('a'))).toMatchObject({ code: 'not-public', outcome: 'not-executed' });
    says('not-certifying');
    expect((await errorOf(client.readCertified('a'))).code).toBe('not-certifying');
    expect(blamed(client)).toEqual([]);
  });
});

describe('a lying replica', () => {
  const lies: readonly (readonly [string, (message: StateAnswer, other: StateAnswer) => StateAnswer])[] = [
    ['another value', (message) => ({ ...message, value: encodeValue('a lie') }) as StateAnswer],
    ['that the key is absent', (message) => ({ ...message, value: undefined }) as StateAnswer],
    ['what is under another key', (message, other) => ({ ...other, number: (message as { number: number }).number })],
    ['a proof cut short', (message) => ({ ...message, proof: new Uint8Array(3) }) as StateAnswer],
    [
      'a head of its own making',
      (message) => {
        if (message.kind !== 'state') return message;
        const { certifiedHead } = message;
        const head = { ...certifiedHead.head, timestamp: certifiedHead.head.timestamp + 60_000 };
        return { ...message, certifiedHead: { ...certifiedHead, head } };
      },
    ],
  ];

  it.each(lies)('that says %s is not believed, and known from then on', async (_, lie) => {
    const { cluster, client, certifier } = await start();
    const liar = await firstAsked(cluster, client);
    liar.script.state = (message) => {
      const state = certifier.stateAt(certifier.newest!.head.commitIndex);
      const other = { ...message, value: state.value('other 7'), proof: state.proveEncoded('other 7') } as StateAnswer;
      return [lie(message, other)];
    };
    expect((await client.readCertified('greeting')).value).toBe('hello');
    expect(blamed(client)).toEqual([liar.index]);
  });

  it('that claims a key where there is none is not believed', async () => {
    const { cluster, client } = await start();
    const liar = await firstAsked(cluster, client);
    liar.script.state = (message) => [{ ...message, value: encodeValue('made up') } as StateAnswer];
    expect((await client.readCertified('nothing')).value).toBeUndefined();
    expect(blamed(client)).toEqual([liar.index]);
  });

  it('that answers as of an old head cannot go back behind what this client has seen', async () => {
    const { cluster, client, certifier, write } = await start();
    const liar = await firstAsked(cluster, client);
    const old = certifier.newest!;
    write('greeting', 'changed');
    // Another replica shows the new head to the client.
    liar.script.state = () => [];
    expect((await client.readCertified('greeting')).value).toBe('changed');
    liar.script.state = ({ number }) => {
      const state = certifier.stateAt(old.head.commitIndex);
      const stale = { value: state.value('greeting'), proof: state.proveEncoded('greeting') };
      return [{ kind: 'state', number, ...stale, certifiedHead: old, consistentWith: 0, consistencyPath: [] }];
    };
    for (const { script } of cluster.replicas) if (script !== liar.script) script.state = liar.script.state;
    const error = await errorOf(client.readCertified('greeting', { deadlineMs: 1_000 }));
    expect(error.code).toBe('too-old');
    expect(blamed(client)).toContain(liar.index);
  });

  it('that answers what it was never asked is known', async () => {
    const { cluster, client } = await start();
    const liar = await firstAsked(cluster, client);
    liar.script.state = (message) => [{ ...message, number: 1_000_000 } as StateAnswer];
    expect((await client.readCertified('greeting')).value).toBe('hello');
    expect(blamed(client)).toEqual([liar.index]);
  });

  it('with many others, under another key, is told to the caller', async () => {
    const { cluster, client } = await start();
    const other = new ScriptedCertifier(cluster.serviceId, 0x9999n);
    other.append('1'.padStart(64, '0') as never, 101);
    for (const { script } of cluster.replicas) {
      script.state = (message) => [{ ...message, certifiedHead: other.newest! } as StateAnswer];
    }
    expect((await errorOf(client.readCertified('a', { deadlineMs: 2_000 }))).code).toBe('invalid-result');
  });
});

describe('the age of an answer', () => {
  it('may be bounded: a replica that lags is passed over, and an error says when none is young enough', async () => {
    const { cluster, client, certifier, write } = await start();
    const lagging = await firstAsked(cluster, client);
    lagging.newest = certifier.newest;
    const oldMs = Date.now() - certifier.newest!.head.timestamp;
    write('greeting', 'newer');
    const { head } = certifier.newest!;
    const young = certifier.sign({ ...head, timestamp: Date.now() });
    certifier.newest = young;
    const read = await client.readCertified('greeting', { maxAgeMs: oldMs - 1_000 });
    expect([read.value, read.asOf.timestamp]).toEqual(['newer', young.head.timestamp]);
    expect(read.ageMs).toBeLessThan(60_000);
    const error = await errorOf(client.readCertified('greeting', { maxAgeMs: 0, deadlineMs: 3_000 }));
    expect(error).toMatchObject({ code: 'too-old', outcome: 'not-executed' });
    expect(error.message).toMatch(/the newest is \d+ ms old/);
    expect(blamed(client)).toEqual([]);
  });

  it('may be bounded by a commit, which replicas that are behind refuse', async () => {
    const { cluster, client, write } = await start();
    const error = await errorOf(client.readCertified('greeting', { notBefore: 102, deadlineMs: 1_000 }));
    expect(error.code).toBe('too-old');
    write('greeting', 'newer');
    expect((await client.readCertified('greeting', { notBefore: 102 })).value).toBe('newer');
    expect(cluster.replicas.flatMap(({ stateQuestions }) => stateQuestions).at(-1)?.notBefore).toBe(102);
  });

  it('is never more than that of a certified call before it', async () => {
    const { cluster, client } = await start();
    cluster.commitIndex = 200;
    await client.callCertified('echo', 1);
    await client.readCertified('greeting');
    expect(cluster.replicas.flatMap(({ stateQuestions }) => stateQuestions).at(-1)?.notBefore).toBe(201);
  });
});

describe('the head that was kept', () => {
  async function kept(): Promise<{ setup: Awaited<ReturnType<typeof start>>; headStore: MemoryHeadStore }> {
    const headStore = new MemoryHeadStore();
    const setup = await start({ headStore });
    await setup.client.readCertified('greeting');
    await setup.client.close();
    for (let i = 0; i < 5; i++) setup.write('greeting', i);
    return { setup, headStore };
  }

  it('must be the beginning of the log of a later answer', async () => {
    const { setup, headStore } = await kept();
    const client = await connectTo(setup.cluster, { headStore });
    expect((await client.readCertified('greeting')).value).toBe(4);
    await client.close();
    expect((await headStore.load())?.head.logSize).toBe(6);
  });

  it('is not given up for another history, whoever signed that', async () => {
    const { setup, headStore } = await kept();
    const { cluster, certifier } = setup;
    const fork = certifier.forkedAt(0);
    fork.values.set('greeting', encodeValue('rewritten'));
    fork.append('7'.padStart(64, '0') as never, 300);
    for (const replica of cluster.replicas) replica.certifier = fork;
    const alarms: InconsistentHeads[] = [];
    const client = await connectTo(cluster, { headStore, onAlarm: (evidence) => alarms.push(evidence) });
    expect((await errorOf(client.readCertified('greeting'))).code).toBe('inconsistent-head');
    expect(alarms).toHaveLength(1);
  });

  it('is proven by a replica that retains more when others have dropped what it takes', async () => {
    const { setup, headStore } = await kept();
    const { cluster } = setup;
    const client = await connectTo(cluster, { headStore });
    for (const { script } of cluster.replicas) script.retainsFrom = 4;
    const [connected] = client.replicas().filter(({ connected }) => connected);
    cluster.replicas[connected!.replicaIndex]!.script.retainsFrom = 0;
    expect((await client.readCertified('greeting')).value).toBe(4);
    expect(blamed(client)).toEqual([]);
  });

  it('stays when nobody can prove it any more, unless the caller has agreed to go on', async () => {
    const { setup, headStore } = await kept();
    const { cluster } = setup;
    for (const { script } of cluster.replicas) script.retainsFrom = 4;
    const client = await connectTo(cluster, { headStore });
    const error = await errorOf(client.readCertified('greeting'));
    expect(error.code).toBe('history-gap');
    expect(error.hint).toContain('historyGap: "accept"');
    await client.close();
    expect((await headStore.load())?.head.logSize).toBe(1);

    const gaps: HistoryGap[] = [];
    const onHistoryGap = (gap: HistoryGap): number => gaps.push(gap);
    const bold = await connectTo(cluster, { headStore, historyGap: 'accept', onHistoryGap });
    expect((await bold.readCertified('greeting')).value).toBe(4);
    expect((await bold.readCertified('other 3')).value).toBe(3);
    await bold.close();
    expect(gaps.map(({ before, after }) => [before.head.logSize, after.head.logSize])).toEqual([[1, 6]]);
    expect((await headStore.load())?.head.logSize).toBe(6);
  });
});

describe('the key-value service', () => {
  it('reads one of its keys, and checks what a document is about', async () => {
    const { client, certifier } = await start();
    const { value, document, asOf } = await getCertified(client, 'greeting');
    expect([value, asOf.commitIndex]).toEqual(['hello', 101]);
    expect((await getCertified(client, 'nothing')).value).toBeUndefined();
    const verdict = verifyCertifiedState(document, certifier.serviceKey);
    if (!verdict.ok) throw new Error(verdict.reason.sentence);
    expect(kvValueOf(verdict.state, 'greeting')).toBe('hello');
    expect(() => kvValueOf(verdict.state, 'other')).toThrow('about another key');
    await expect(getCertified(client, 'other 3')).rejects.toThrow('neither text nor bytes');
  });
});
