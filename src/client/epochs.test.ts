/** A client while the cluster goes from epoch to epoch under it: new link keys, other replicas, calls under way. */
import { afterEach, describe, expect, it } from 'vitest';
import { encodeReplicaToClient } from '../wire/client-message.ts';
import { encodeOutcomes } from '../wire/outcome.ts';
import { decodeOwnValue, encodeValue } from '../wire/value.ts';
import { type Client, type ConnectOptions, connect } from './client.ts';
import { ScriptedCertifier } from './testing/scripted-certifier.ts';
import { type Reply, ScriptedCluster } from './testing/scripted-cluster.ts';
import { ScriptedEpochs } from './testing/scripted-epochs.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start({ n = 4, f = 1 } = {}) {
  const cluster = await ScriptedCluster.start({ certifies: true, n, f });
  ending.push(() => cluster.stop());
  const epochs = await ScriptedEpochs.start(cluster);
  ending.push(() => epochs.stop());
  const { serviceKey } = cluster.certifier!;
  const at = [epochs.address];
  const open = async (options: ConnectOptions): Promise<Client> => {
    const client = await connect({ at, ...options });
    ending.push(() => client.close());
    return client;
  };
  return { cluster, epochs, serviceKey, genesis: cluster.genesis, open };
}

const lieAbout = (reply: Reply): readonly Uint8Array[] => [
  encodeReplicaToClient({ ...reply, result: encodeOutcomes([{ ok: true, value: 'a lie' }]) }),
];

/** How often each input was executed. */
function executions({ executed }: ScriptedCluster): ReadonlyMap<unknown, number> {
  const counts = new Map<unknown, number>();
  for (const { operations } of executed) {
    for (const { input } of operations) {
      const value = decodeOwnValue(input);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  }
  return counts;
}

describe('a client that goes on while the replicas change', () => {
  it('follows new link keys by the service key, made from a genesis or from the key alone, for calls and reads', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    cluster.certifier!.values.set('color', encodeValue('red'));
    for (const options of [{ genesis, serviceKey }, { serviceKey }]) {
      const client = await open(options);
      expect((await client.callCertified('echo', 'before')).value).toBe('before');
      for (let i = 1; i <= 2; i++) {
        await epochs.advance();
        expect((await client.callCertified('echo', `epoch ${epochs.epoch}`)).value).toBe(`epoch ${epochs.epoch}`);
        expect(await client.call('echo', i)).toBe(i);
        expect((await client.readCertified('color')).value).toBe('red');
        expect(client.cluster.epoch).toBe(epochs.epoch);
        expect(await client.status(3)).toEqual({ replicaIndex: 3 });
      }
    }
    for (const [, count] of executions(cluster)) expect(count).toBeLessThanOrEqual(2);
  });

  it('begins with a genesis of long ago, or with a membership that was kept', async () => {
    const { epochs, serviceKey, genesis, open } = await start();
    for (let i = 0; i < 3; i++) await epochs.advance();
    const told: unknown[] = [];
    const client = await open({ genesis, followKey: serviceKey, onMembership: (document) => told.push(document) });
    expect(await client.call('echo', 'late')).toBe('late');
    expect(client.cluster.epoch).toBe(3);
    expect(told).toEqual([epochs.document]);
    const { questions } = epochs;
    const again = await open({ genesis, followKey: serviceKey, membership: epochs.document });
    expect(await again.call('echo', 'again')).toBe('again');
    expect([again.cluster.epoch, epochs.questions]).toEqual([3, questions]);
  });

  it('loses no call that is under way, and has none executed twice', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    const client = await open({ genesis, serviceKey });
    const calls: Promise<unknown>[] = [];
    const call = (text: string): void => {
      const isCertified = calls.length % 2 === 0;
      calls.push(
        isCertified ? client.callCertified('echo', text).then(({ value }) => value) : client.call('echo', text),
      );
    };
    let made = 0;
    for (let round = 0; round < 3; round++) {
      cluster.held = round > 0;
      for (let i = 0; i < 20; i++) call(`call ${made++}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      await epochs.advance({ renewed: cluster.replicas.slice(round) });
      for (let i = 0; i < 20; i++) call(`call ${made++}`);
      cluster.release();
    }
    expect(await Promise.all(calls)).toEqual(Array.from({ length: made }, (_, i) => `call ${i}`));
    for (const [text, count] of executions(cluster)) expect([text, count]).toEqual([text, 1]);
    expect(executions(cluster).size).toBe(made);
  });

  it('goes with the service to other replicas and another f, and believes no fewer than that takes', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    const client = await open({ genesis, serviceKey });
    expect(await client.call('echo', 'four')).toBe('four');
    const join = await Promise.all([4, 5, 6, 7].map((index) => cluster.startReplica(index)));
    const [gone] = cluster.replicas;
    await epochs.advance({ leave: [gone!], join, renewed: [], f: 2 });
    // Its links to those who stay are up, and enough for f = 1; a head of the next epoch tells.
    await client.callCertified('echo', 'seven');
    await expect.poll(() => client.cluster).toMatchObject({ epoch: 1, replicaCount: 7, f: 2 });
    for (const replica of cluster.replicas.slice(2)) replica.script.replies = false;
    await expect(client.call('echo', 'too few', { deadlineMs: 1_000 })).rejects.toMatchObject({ code: 'timeout' });
    cluster.replicas[2]!.script.replies = true;
    expect(await client.call('echo', 'enough')).toBe('enough');
    await epochs.advance({ leave: cluster.replicas.slice(4), f: 1 });
    expect(await client.call('echo', 'four again')).toBe('four again');
    expect(client.cluster).toMatchObject({ epoch: 2, replicaCount: 4, f: 1 });
  });

  it('counts what was said in one epoch only, by the replicas of that epoch', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    const client = await open({ genesis, serviceKey });
    await client.callCertified('echo', 'first');
    // One lies in the first epoch, another in the second, both the same: never two of one membership.
    for (const replica of cluster.replicas) replica.script.replies = false;
    const lies = [0, 0, 0, 0];
    const lieAlone = (liar: number): void => {
      for (const { index, script } of cluster.replicas) {
        script.replies = index === liar;
        script.reply = (reply) => {
          lies[index]! += 1;
          return lieAbout(reply);
        };
      }
    };
    lieAlone(1);
    const answer = client.call('echo', 'the truth');
    await expect.poll(() => lies[1], { timeout: 5_000 }).toBeGreaterThan(0);
    lieAlone(2);
    await epochs.advance();
    await expect.poll(() => lies[2], { timeout: 5_000 }).toBeGreaterThan(0);
    for (const { script } of cluster.replicas) {
      script.replies = true;
      script.reply = (reply) => [encodeReplicaToClient(reply)];
    }
    expect(await answer).toBe('the truth');
    expect(lies.slice(1, 3).every((count) => count > 0)).toBe(true);
  });

  it('keeps what it knows of a replica through a change of its key, and asks it like anybody', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    const client = await open({ genesis, serviceKey });
    const liar = cluster.replicas[2]!;
    const { reply } = liar.script;
    liar.script.reply = (message) => lieAbout(message);
    const lies = (): number => client.replicas()[2]!.wrongReplies;
    for (let i = 0; i < 40 && lies() === 0; i++) await client.call('echo', i);
    if (lies() === 0) await client.callCertified('echo', 'all');
    const before = lies();
    liar.script.reply = reply;
    await epochs.advance();
    expect(await client.call('echo', 'after')).toBe('after');
    expect(client.replicas()[2]).toMatchObject({ wrongReplies: before, avoided: false });
  });
});

describe('a membership of a later epoch', () => {
  it('that the service did not sign, is of another service or of an earlier epoch, is not followed', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    const client = await open({ genesis, serviceKey });
    await client.callCertified('echo', 'before');
    const next = await epochs.change();
    const forger = new ScriptedCertifier(cluster.serviceId, 99n);
    const stranger = await ScriptedCluster.start({ certifies: true });
    ending.push(() => stranger.stop());
    const answer = client.call('echo', 'during', { deadlineMs: 20_000 });
    for (const document of [
      forger.membership(genesis, { epoch: 9 }),
      cluster.certifier!.membership({ ...genesis, name: 'another' }, { epoch: 9 }),
      { ...next, statement: next.statement.replace(/^(.{66}).{8}/, '$100000009') },
      cluster.certifier!.membership(genesis),
    ]) {
      const { questions } = epochs;
      epochs.document = document;
      await expect.poll(() => epochs.questions, { timeout: 15_000 }).toBeGreaterThan(questions);
      expect(client.cluster.epoch).toBe(0);
    }
    epochs.document = next;
    expect(await answer).toBe('during');
    expect(client.cluster.epoch).toBe(1);
    expect(await client.call('echo', serviceKey.length)).toBe(192);
  });

  it('is never left for an earlier one, whoever says that one', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    const client = await open({ genesis, serviceKey });
    const first = epochs.document;
    await epochs.advance();
    expect(await client.call('echo', 1)).toBe(1);
    epochs.document = first;
    for (const replica of cluster.replicas) await replica.renew();
    await expect(client.call('echo', 2, { deadlineMs: 700 })).rejects.toMatchObject({ code: 'unavailable' });
    expect(client.cluster.epoch).toBe(1);
  });

  it('is out of reach without the service key: the error says what it takes', async () => {
    const { epochs, genesis, open } = await start();
    await epochs.advance();
    await expect(open({ genesis })).rejects.toMatchObject({
      code: 'unavailable',
      hint: expect.stringContaining('connect with the service key'),
    });
  });

  it('is not asked for again and again while the replicas are merely down', async () => {
    const { cluster, epochs, serviceKey, genesis, open } = await start();
    const client = await open({ genesis, serviceKey });
    await Promise.all(cluster.replicas.map((replica) => replica.stop()));
    await expect(client.call('echo', 1, { deadlineMs: 1_500 })).rejects.toMatchObject({ code: 'unavailable' });
    // At 0, 100, 300, 700 and 1500 ms, each a question to this one address.
    expect(epochs.questions).toBeGreaterThan(0);
    expect(epochs.questions).toBeLessThanOrEqual(6);
    await Promise.all(cluster.replicas.map((replica) => replica.start()));
    expect(await client.call('echo', 2)).toBe(2);
  });
});
