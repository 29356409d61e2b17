/** A client against replicas that lie, stall, die, talk nonsense or are not who they should be. */
import { afterEach, describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { encodeReplicaToClient } from '../wire/client-message.ts';
import { encodeOutcomes } from '../wire/outcome.ts';
import { type Client, connect } from './client.ts';
import { type Reply, ScriptedCluster, type ScriptedReplica } from './testing/scripted-cluster.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start(options: { readonly n?: number; readonly f?: number } = {}) {
  const cluster = await ScriptedCluster.start(options);
  ending.push(() => cluster.stop());
  const client = await connect({ genesis: cluster.genesis });
  ending.push(() => client.close());
  for (let i = 0; i < 3; i++) await client.call('echo', 'hello');
  return { cluster, client };
}

/** The replica that this client sends to first. */
const firstChoiceOf = ({ replicas }: ScriptedCluster): ScriptedReplica =>
  [...replicas].sort((a, b) => b.received.length - a.received.length)[0]!;
const isAttached = ({ attached }: ScriptedReplica): boolean => [...attached.values()].some(({ size }) => size > 0);
const otherAttached = (cluster: ScriptedCluster): ScriptedReplica =>
  cluster.replicas.find((replica) => replica !== firstChoiceOf(cluster) && isAttached(replica))!;

const lieAbout = (reply: Reply): Reply => ({ ...reply, result: encodeOutcomes([{ ok: true, value: 'a lie' }]) });

async function callMany(client: Client, count: number): Promise<void> {
  for (let i = 0; i < count; i++) expect(await client.call('echo', i)).toBe(i);
}

const observationOf = (client: Client, { index }: ScriptedReplica) => client.replicas()[index]!;

/** Waits for what must come about by itself; the test's own time limit ends it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe('a replica that lies', () => {
  for (const role of ['first choice', 'other'] as const) {
    it(`is not believed, is known afterwards, and is not asked again, as the ${role}`, async () => {
      const { cluster, client } = await start();
      const liar = role === 'other' ? otherAttached(cluster) : firstChoiceOf(cluster);
      liar.script.reply = (reply) => [encodeReplicaToClient(lieAbout(reply))];
      await callMany(client, 5);
      expect(observationOf(client, liar)).toMatchObject({ avoided: true, connected: false, wrongReplies: 1 });
      for (const replica of cluster.replicas) {
        if (replica !== liar) expect(observationOf(client, replica).wrongReplies).toBe(0);
      }
    });
  }

  it('is noticed although its lie comes after the result was accepted', async () => {
    const { cluster, client } = await start({ n: 7, f: 2 });
    const liar = otherAttached(cluster);
    const truths: Reply[] = [];
    liar.script.reply = (reply) => {
      truths.push(reply);
      return [encodeReplicaToClient(reply)];
    };
    await client.call('echo', 1);
    for (const links of liar.attached.values()) {
      for (const link of links) link.send(encodeReplicaToClient(lieAbout(truths[0]!)));
    }
    await until(() => observationOf(client, liar).wrongReplies === 1);
  });

  it('is not believed about the commit index either', async () => {
    const { cluster, client } = await start();
    const liar = otherAttached(cluster);
    liar.script.reply = (reply) => [encodeReplicaToClient({ ...reply, commitIndex: reply.commitIndex + 1 })];
    await callMany(client, 1);
    expect(observationOf(client, liar).wrongReplies).toBe(1);
  });

  it('is not believed by repeating itself', async () => {
    const { cluster, client } = await start();
    const liar = firstChoiceOf(cluster);
    liar.script.reply = (reply) => Array.from({ length: 50 }, () => encodeReplicaToClient(lieAbout(reply)));
    await callMany(client, 3);
  });

  it('gains nothing with f of its kind among seven', async () => {
    const { cluster, client } = await start({ n: 7, f: 2 });
    const liars = [firstChoiceOf(cluster), otherAttached(cluster)];
    for (const liar of liars) liar.script.reply = (reply) => [encodeReplicaToClient(lieAbout(reply))];
    await callMany(client, 5);
    expect(client.replicas().filter(({ wrongReplies }) => wrongReplies > 0)).toHaveLength(2);
  });

  it('about a request that was never made is cut off', async () => {
    const { cluster, client } = await start();
    const liar = firstChoiceOf(cluster);
    liar.script.reply = (reply) => [
      encodeReplicaToClient({ ...reply, requestDigest: sha256(Buffer.from('another')) }),
      encodeReplicaToClient(reply),
    ];
    await callMany(client, 3);
    expect(observationOf(client, liar)).toMatchObject({ connected: false, malformed: 1 });
  });
});

describe('a correct replica', () => {
  it('may repeat its replies', async () => {
    const { cluster, client } = await start();
    for (const { script } of cluster.replicas) {
      script.reply = (reply) => Array.from({ length: 3 }, () => encodeReplicaToClient(reply));
    }
    await callMany(client, 10);
    expect(client.replicas().every(({ wrongReplies, malformed }) => wrongReplies + malformed === 0)).toBe(true);
  });

  it('may say after the result that a later copy came too late', async () => {
    const { cluster, client } = await start();
    const tooLate = encodeOutcomes([{ ok: false, code: 'already-acknowledged', message: '' }]);
    for (const { script } of cluster.replicas) {
      script.reply = (reply) => [
        encodeReplicaToClient(reply),
        encodeReplicaToClient({ ...reply, commitIndex: reply.commitIndex + 1, result: tooLate }),
      ];
    }
    await callMany(client, 10);
    expect(client.replicas().every(({ wrongReplies }) => wrongReplies === 0)).toBe(true);
  });
});

describe('a replica that does nothing', () => {
  it('as the first choice costs a few requests a wait, and is avoided then', async () => {
    const { cluster, client } = await start();
    const frozen = firstChoiceOf(cluster);
    Object.assign(frozen.script, { orders: false, replies: false });
    const before = frozen.received.length;
    await callMany(client, 50);
    // One, were nothing else ever slow.
    expect(frozen.received.length - before).toBeLessThan(10);
    expect(observationOf(client, frozen).avoided).toBe(true);
  });

  it('as the other one is replaced', async () => {
    const { cluster, client } = await start();
    const frozen = otherAttached(cluster);
    Object.assign(frozen.script, { orders: false, replies: false });
    await callMany(client, 30);
    expect(observationOf(client, frozen).avoided).toBe(true);
  });

  it('but report what others order is not asked first for a while', async () => {
    const { cluster, client } = await start();
    const censor = firstChoiceOf(cluster);
    censor.script.orders = false;
    await callMany(client, 5);
    expect(observationOf(client, censor).slow).toBeGreaterThan(0);
  });

  it('with f of its kind does no harm among seven', async () => {
    const { cluster, client } = await start({ n: 7, f: 2 });
    for (const replica of [firstChoiceOf(cluster), otherAttached(cluster)]) {
      Object.assign(replica.script, { orders: false, replies: false });
    }
    await callMany(client, 10);
  });
});

describe('a replica that dies', () => {
  it('with a request in its hands does not lose it', async () => {
    const { cluster, client } = await start();
    const dying = firstChoiceOf(cluster);
    dying.script.orders = false;
    const call = client.call('echo', 'precious');
    const before = dying.received.length;
    await until(() => dying.received.length > before);
    await dying.stop();
    expect(await call).toBe('precious');
    await callMany(client, 5);
    const digests = cluster.executed.map(({ digest }) => digest);
    expect(new Set(digests).size).toBe(digests.length);
  });

  it('does not hinder connecting', async () => {
    const cluster = await ScriptedCluster.start();
    ending.push(() => cluster.stop());
    await cluster.replicas[2]!.stop();
    for (let i = 0; i < 8; i++) {
      const client = await connect({ genesis: cluster.genesis });
      expect(await client.call('echo', i)).toBe(i);
      await client.close();
    }
  });

  it('together with all others is connected to again when they are back', async () => {
    const { cluster, client } = await start();
    await Promise.all(cluster.replicas.map((replica) => replica.stop()));
    const call = client.call('echo', 'after the night');
    await until(() => client.replicas().every(({ connected }) => !connected));
    await Promise.all(cluster.replicas.map((replica) => replica.start()));
    expect(await call).toBe('after the night');
  });

  it('is connected to again while nobody calls', async () => {
    const { cluster, client } = await start();
    for (const replica of cluster.replicas) await replica.stop();
    await until(() => client.replicas().every(({ connected }) => !connected));
    for (const replica of cluster.replicas) await replica.start();
    await until(() => client.replicas().filter(({ connected }) => connected).length >= 2);
  });
});

describe('a replica that is not what it should be', () => {
  it('sends garbage: it is cut off', async () => {
    const { cluster, client } = await start();
    const broken = firstChoiceOf(cluster);
    broken.script.reply = () => [Uint8Array.of(2, 255, 0), Uint8Array.of(99)];
    await callMany(client, 5);
    expect(observationOf(client, broken)).toMatchObject({ connected: false, malformed: 1 });
  });

  it('belongs to another service, or says that it is another one: nothing is sent to it', async () => {
    const cluster = await ScriptedCluster.start();
    ending.push(() => cluster.stop());
    const strange = cluster.replicas[0]!;
    const wrongs: readonly ScriptedReplica['script']['welcome'][] = [
      (welcome) => encodeReplicaToClient({ ...welcome, serviceId: sha256(Buffer.from('another service')) }),
      (welcome) => encodeReplicaToClient({ ...welcome, replicaIndex: 1 }),
      () => Uint8Array.of(1, 77),
    ];
    for (const welcome of wrongs) {
      strange.script.welcome = welcome;
      // Each client begins with a replica of its own choice.
      for (let i = 0; i < 6; i++) {
        const client = await connect({ genesis: cluster.genesis });
        await callMany(client, 2);
        expect(observationOf(client, strange).connected).toBe(false);
        await client.close();
      }
    }
    expect(strange.received).toEqual([]);
  });

  it('claims a commit index that was never reached: sessions are not born there', async () => {
    const cluster = await ScriptedCluster.start();
    ending.push(() => cluster.stop());
    cluster.replicas[0]!.script.welcome = (welcome) => encodeReplicaToClient({ ...welcome, commitIndex: 1_000_000 });
    for (let i = 0; i < 6; i++) {
      const client = await connect({ genesis: cluster.genesis });
      await client.call('echo', i);
      await client.close();
    }
    for (const { session } of cluster.executed) expect(session.birth).toBeLessThan(1_000_000);
  });

  it('does not hold the pinned key: it is not spoken to', async () => {
    const { cluster, client } = await start();
    const [first, second] = [cluster.replicas[0]!, cluster.replicas[1]!];
    await client.close();
    await Promise.all([first.stop(), second.stop()]);
    // Two replicas change places: each has a key that is not the one pinned for its address.
    [first.port, second.port] = [second.port, first.port];
    await Promise.all([first.start(), second.start()]);
    const received = first.received.length + second.received.length;
    const other = await connect({ genesis: cluster.genesis });
    ending.push(() => other.close());
    await callMany(other, 3);
    expect(first.received.length + second.received.length).toBe(received);
  });

  it('refuses requests: another one takes them', async () => {
    const { cluster, client } = await start();
    const busy = firstChoiceOf(cluster);
    for (const code of ['overloaded', 'not-ready', 'malformed', 'bad-signature'] as const) {
      busy.script.refuse = ({ digest: requestDigest }) =>
        encodeReplicaToClient({ kind: 'refused', requestDigest, code, reason: 'busy' });
      await callMany(client, 2);
    }
  });
});
