/** Certified calls against replicas that prove, lie, withhold, lag behind or show another history. */
import { afterEach, describe, expect, it } from 'vitest';
import { kv } from '../../services/kv/kv.ts';
import { sha256 } from '../crypto/hash.ts';
import { verifyCertifiedHead, verifyCertifiedReply } from '../verify/verify.ts';
import { encodeReplicaToClient } from '../wire/client-message.ts';
import { encodeOutcomes, failure } from '../wire/outcome.ts';
import type { InconsistentHeads } from './certified-heads.ts';
import { type Client, type ConnectOptions, CoterieError, connect, MemoryHeadStore } from './client.ts';
import { type Certified, ScriptedCertifier } from './testing/scripted-certifier.ts';
import { ScriptedCluster, type ScriptedReplica } from './testing/scripted-cluster.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start(options: Partial<ConnectOptions> & { readonly n?: number; readonly f?: number } = {}) {
  const { n, f, ...connecting } = options;
  const cluster = await ScriptedCluster.start({ n: n ?? 4, f: f ?? 1, certifies: true });
  ending.push(() => cluster.stop());
  return { cluster, certifier: cluster.certifier!, client: await connectTo(cluster, connecting) };
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

/** The replica that this client sends to first. */
const firstChoiceOf = ({ replicas }: ScriptedCluster): ScriptedReplica =>
  [...replicas].sort((a, b) => b.received.length - a.received.length)[0]!;
const observationOf = (client: Client, { index }: ScriptedReplica) => client.replicas()[index]!;

async function callMany(client: Client, count: number): Promise<void> {
  for (let i = 0; i < count; i++) expect((await client.callCertified('echo', i)).value).toBe(i);
}

/** Waits for what must come about by itself; the test's own time limit ends it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Every correct replica is still taken for one. */
function expectOnlyBlamed(client: Client, culprits: readonly ScriptedReplica[]): void {
  const blamed = client.replicas().filter(({ wrongReplies, malformed }) => wrongReplies + malformed > 0);
  expect(blamed.map(({ replicaIndex }) => replicaIndex)).toEqual(culprits.map(({ index }) => index));
}

describe('a certified call', () => {
  it('gives the value and a document that the service key alone proves', async () => {
    const { client, certifier } = await start();
    const { value, document, operationIndex } = await client.callCertified('echo', { a: [1, 'two'] });
    expect(value).toEqual({ a: [1, 'two'] });
    const verdict = verifyCertifiedReply(JSON.stringify(document), certifier.serviceKey);
    expect(verdict).toMatchObject({ ok: true, reply: { leafIndex: 0, operations: [{ name: 'echo', input: value }] } });
    expect(operationIndex).toBe(0);
    expectOnlyBlamed(client, []);
  });

  it('is there for each operation of a service, typed', async () => {
    const { client } = await start();
    const { value, document } = await client.certified(kv).get({ key: 'a' });
    // The scripted cluster gives back what it was given.
    expect(value).toEqual({ key: 'a' });
    expect(document.coterie).toBe('certified reply');
  });

  it('shares its request with others of its kind only, and its document with those', async () => {
    const { cluster, client } = await start();
    const quick = [0, 1, 2].map((i) => client.call('echo', i));
    const certified = [3, 4, 5].map((i) => client.callCertified('echo', i));
    expect(await Promise.all(quick)).toEqual([0, 1, 2]);
    const results = await Promise.all(certified);
    expect(results.map(({ value }) => value)).toEqual([3, 4, 5]);
    expect(results.map(({ operationIndex }) => operationIndex)).toEqual([0, 1, 2]);
    expect(new Set(results.map(({ document }) => document)).size).toBe(1);
    expect(cluster.executed.map(({ operations }) => operations.length)).toEqual([3, 3]);
  });

  it('has a request to itself when it wants that', async () => {
    const { cluster, client, certifier } = await start();
    const results = await Promise.all([1, 2].map((i) => client.callCertified('echo', i, { alone: true })));
    expect(cluster.executed.map(({ operations }) => operations.length)).toEqual([1, 1]);
    const verdict = verifyCertifiedReply(results[1]!.document, certifier.serviceKey);
    expect(verdict.ok && verdict.reply.operations.map(({ input }) => input)).toEqual([2]);
  });

  it('that the service refuses is rejected with the proof of that', async () => {
    const { cluster, client, certifier } = await start();
    cluster.execute = () => failure('unlucky', 'not this one');
    const error = await errorOf(client.callCertified('echo', 13));
    expect(error).toMatchObject({ code: 'rejected', outcome: 'not-executed', rejection: { code: 'unlucky' } });
    const verdict = verifyCertifiedReply(error.proof?.document, certifier.serviceKey);
    expect(verdict).toMatchObject({ ok: true, reply: { operations: [{ outcome: { ok: false, code: 'unlucky' } }] } });
  });

  it('is settled by quick replies when the request as a whole was refused: there is nothing to prove', async () => {
    const { cluster, client } = await start();
    cluster.refuseWhole = () => 'window';
    expect(await errorOf(client.callCertified('echo', 1))).toMatchObject({ code: 'refused', outcome: 'not-executed' });
  });

  it('needs the service key', async () => {
    const { cluster } = await start();
    const client = await connectTo(cluster, { serviceKey: undefined });
    expect(await errorOf(client.callCertified('echo', 1))).toMatchObject({
      code: 'no-service-key',
      outcome: 'not-sent',
    });
    expect(await client.call('echo', 2)).toBe(2);
  });

  it('says what is wrong with a key that is none', async () => {
    const { cluster } = await start();
    for (const serviceKey of ['', 'ff'.repeat(96), `c0${'00'.repeat(95)}`]) {
      expect(await errorOf(connect({ genesis: cluster.genesis, serviceKey }))).toMatchObject({ code: 'invalid-input' });
    }
  });

  it('survives the replica it was sent to, again and again', async () => {
    const { cluster, client } = await start({ n: 7, f: 2 });
    for (let i = 0; i < 4; i++) {
      await callMany(client, 3);
      const { attached } = firstChoiceOf(cluster);
      for (const links of attached.values()) for (const link of [...links]) link.close('for the test');
    }
    expectOnlyBlamed(client, []);
  });
});

describe('a replica that lies in a certified reply', () => {
  const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i === 7 ? byte ^ 1 : byte));
  const otherResult = encodeOutcomes([{ ok: true, value: 'a lie' }]);
  const lies: readonly (readonly [string, (message: Certified, cluster: ScriptedCluster) => Certified])[] = [
    ['about the result', (message) => ({ ...message, result: otherResult })],
    ['about the commit', (message) => ({ ...message, commitIndex: message.commitIndex - 1 })],
    ['about the place', (message) => ({ ...message, leafIndex: message.leafIndex - 1 })],
    ['with another path', (message) => ({ ...message, inclusionPath: message.inclusionPath.toReversed() })],
    ['with no path', (message) => ({ ...message, inclusionPath: [] })],
    [
      'with a signature changed by one bit',
      (message) => ({
        ...message,
        certifiedHead: { ...message.certifiedHead, signature: flip(message.certifiedHead.signature) },
      }),
    ],
    [
      'with a head that nobody signed',
      (message) => {
        const { head, signature } = message.certifiedHead;
        return { ...message, certifiedHead: { head: { ...head, timestamp: head.timestamp + 1 }, signature } };
      },
    ],
    [
      'with a head under another key',
      (message, { serviceId }) => {
        const { head } = message.certifiedHead;
        return { ...message, certifiedHead: new ScriptedCertifier(serviceId, 99n).sign(head) };
      },
    ],
    [
      'with a head of another service under the same key',
      (message, { certifier }) => {
        const head = { ...message.certifiedHead.head, serviceId: sha256(Buffer.from('another')) };
        return { ...message, certifiedHead: certifier!.sign(head) };
      },
    ],
  ];

  it.each(lies)('%s is convicted, and another one is asked', async (_, lie) => {
    const { cluster, client, certifier } = await start();
    await callMany(client, 3);
    const liar = firstChoiceOf(cluster);
    liar.script.certified = (message) => [lie(message, cluster)];
    const { value, document } = await client.callCertified('echo', 'true');
    expect(value).toBe('true');
    expect(verifyCertifiedReply(document, certifier.serviceKey).ok).toBe(true);
    expect(observationOf(client, liar)).toMatchObject({ wrongReplies: 1, connected: false, avoided: true });
    await callMany(client, 2);
    expectOnlyBlamed(client, [liar]);
  });

  it('about another request is cut off', async () => {
    const { cluster, client } = await start();
    await callMany(client, 3);
    const liar = firstChoiceOf(cluster);
    liar.script.certified = (message) => [{ ...message, requestDigest: sha256(Buffer.from('another')) }];
    await callMany(client, 1);
    expect(observationOf(client, liar)).toMatchObject({ malformed: 1, connected: false });
  });

  it('or in a quick reply is found out by what is certified', async () => {
    const { cluster, client } = await start();
    await callMany(client, 3);
    const liar = firstChoiceOf(cluster);
    liar.script.reply = (reply) => [encodeReplicaToClient({ ...reply, result: otherResult })];
    await callMany(client, 1);
    expect(observationOf(client, liar)).toMatchObject({ wrongReplies: 1, connected: false });
  });

  it('and sends proofs to those who want none is cut off', async () => {
    const { cluster } = await start();
    const messages: Certified[] = [];
    for (const { script } of cluster.replicas) {
      script.certified = (message) => {
        messages.push(message);
        return [message];
      };
    }
    const asking = await connectTo(cluster);
    await callMany(asking, 1);
    const quick = await connectTo(cluster, { serviceKey: undefined });
    expect(await quick.call('echo', 1)).toBe(1);
    const liar = cluster.replicas.find(({ index }) => quick.replicas()[index]!.connected)!;
    for (const link of liar.links) link.send(encodeReplicaToClient(messages[0]!));
    await until(() => observationOf(quick, liar).malformed === 1);
  });
});

describe('a replica that gives no certified reply', () => {
  it('is suspected, and another one is asked', async () => {
    const { cluster, client } = await start();
    await callMany(client, 3);
    const silent = firstChoiceOf(cluster);
    silent.script.certifies = false;
    await callMany(client, 3);
    expect(observationOf(client, silent).slow).toBeGreaterThan(0);
    expectOnlyBlamed(client, []);
  });

  it('and says so is passed over', async () => {
    const { cluster, client } = await start();
    await callMany(client, 3);
    const uncertain = firstChoiceOf(cluster);
    uncertain.script.refuse = ({ digest }) =>
      encodeReplicaToClient({ kind: 'refused', requestDigest: digest, code: 'not-certifying', reason: 'diverged' });
    await callMany(client, 3);
  });

  it.each(['not-certifying', 'not-retained'] as const)(
    'as all others, fails the call soon, and says why: %s',
    async (code) => {
      const { cluster, client } = await start();
      for (const { script } of cluster.replicas) {
        script.refuse = ({ digest }) =>
          encodeReplicaToClient({ kind: 'refused', requestDigest: digest, code, reason: 'no key yet' });
      }
      const error = await errorOf(client.callCertified('echo', 1));
      expect(error).toMatchObject({ code: 'not-certifying', outcome: 'unknown' });
      expect(error.message).toContain('no key yet');
    },
  );

  it('although it is executed leaves the call without a result in time', async () => {
    const { cluster, client } = await start();
    for (const { script } of cluster.replicas) script.certifies = false;
    const error = await errorOf(client.callCertified('echo', 1, { deadlineMs: 100 }));
    expect(error).toMatchObject({ code: 'timeout', outcome: 'unknown' });
    expect(error.message).toContain('certified reply');
    expect(cluster.executed).toHaveLength(1);
  });
});

describe('a head', () => {
  const wrongProof = ({ script }: ScriptedReplica): void => {
    script.certified = (message) => [{ ...message, consistencyPath: message.consistencyPath.toReversed() }];
    script.head = (message) => [{ ...message, consistencyPath: [] }];
  };

  it('with a wrong proof of consistency convicts its replica when another one has the right proof', async () => {
    const { cluster, client } = await start();
    await callMany(client, 5);
    const liar = firstChoiceOf(cluster);
    wrongProof(liar);
    await callMany(client, 3);
    await until(() => observationOf(client, liar).wrongReplies === 1);
    expectOnlyBlamed(client, [liar]);
  });

  it('that goes on from what nobody named is nonsense', async () => {
    const { cluster, client } = await start();
    await callMany(client, 3);
    const liar = firstChoiceOf(cluster);
    liar.script.certified = (message) => [{ ...message, consistentWith: message.consistentWith + 1 }];
    await callMany(client, 2);
    expect(observationOf(client, liar)).toMatchObject({ malformed: 1 });
  });

  it('is tied to those that came on other links', async () => {
    const { cluster, client } = await start();
    for (let i = 0; i < 5; i++) {
      await callMany(client, 2);
      // Its link stays, and is at an older head when it is asked again.
      const slow = firstChoiceOf(cluster);
      slow.script.certifies = false;
      await callMany(client, 2);
      slow.script.certifies = true;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expectOnlyBlamed(client, []);
    expect(cluster.replicas.some(({ headQuestions }) => headQuestions > 0)).toBe(true);
  });

  it('that forks the log at the size of the last one raises the alarm, with both as evidence', async () => {
    const alarms: InconsistentHeads[] = [];
    const { cluster, client, certifier } = await start({ onAlarm: (evidence) => alarms.push(evidence) });
    await callMany(client, 4);
    const shorter = new ScriptedCertifier(cluster.serviceId);
    // With the next request it reaches the size that the client holds.
    for (let i = 0; i < 3; i++) shorter.append(sha256(Buffer.from(`${i}`)), i + 1);
    for (const replica of cluster.replicas) replica.certifier = shorter;
    const error = await errorOf(client.callCertified('echo', 'x'));
    expect(error).toMatchObject({ code: 'inconsistent-head', evidence: { first: { head: { logSize: 4 } } } });
    expect(error.evidence?.second.head).toMatchObject({ logSize: 4 });
    for (const document of [error.evidence?.first, error.evidence?.second]) {
      expect(verifyCertifiedHead(document, certifier.serviceKey).ok).toBe(true);
    }
    expect(await errorOf(client.callCertified('echo', 'y'))).toMatchObject({ code: 'inconsistent-head' });
    expect(alarms).toEqual([error.evidence]);
    expectOnlyBlamed(client, []);
  });

  it('that forks the log at a later size raises the alarm when nobody can tie it to the last one', async () => {
    const alarms: InconsistentHeads[] = [];
    const { cluster, client, certifier } = await start({ onAlarm: (evidence) => alarms.push(evidence) });
    await callMany(client, 4);
    const fork = certifier.forkedAt(1);
    for (const replica of cluster.replicas) replica.certifier = fork;
    const error = await errorOf(client.callCertified('echo', 'x'));
    expect(error).toMatchObject({ code: 'inconsistent-head', evidence: { first: { head: { logSize: 4 } } } });
    expect(error.evidence?.second.head.logSize).toBe(5);
    await until(() => alarms.length === 1);
  });

  it('of a log that has become shorter is not taken', async () => {
    const { cluster, client } = await start();
    await callMany(client, 4);
    const shorter = new ScriptedCertifier(cluster.serviceId);
    for (const replica of cluster.replicas) replica.certifier = shorter;
    expect(await errorOf(client.callCertified('echo', 'x'))).toMatchObject({ code: 'inconsistent-head' });
  });
});

describe('the last head', () => {
  it('is kept, and the next client goes on from it', async () => {
    const headStore = new MemoryHeadStore();
    const { cluster, client, certifier } = await start({ headStore });
    await callMany(client, 3);
    await client.close();
    const kept = await headStore.load();
    expect(kept?.head.logSize).toBe(3);
    expect(verifyCertifiedHead(kept, certifier.serviceKey).ok).toBe(true);
    const next = await connectTo(cluster, { headStore });
    await callMany(next, 2);
    await next.close();
    expect((await headStore.load())?.head.logSize).toBe(5);
  });

  it('shows the next client that history was rewritten in between', async () => {
    const headStore = new MemoryHeadStore();
    const { cluster, client, certifier } = await start({ headStore });
    await callMany(client, 3);
    await client.close();
    cluster.certifier = certifier.forkedAt(0);
    const next = await connectTo(cluster, { headStore });
    const error = await errorOf(next.callCertified('echo', 1));
    expect(error).toMatchObject({ code: 'inconsistent-head', evidence: { first: await headStore.load() } });
    await next.close();
    expect((await headStore.load())?.head.logSize).toBe(3);
  });

  it('is refused when it is damaged', async () => {
    const headStore = new MemoryHeadStore();
    const { cluster, client } = await start({ headStore });
    await callMany(client, 1);
    await client.close();
    const kept = (await headStore.load())!;
    await headStore.save({ ...kept, head: { ...kept.head, logSize: 2 } });
    expect(await errorOf(connectTo(cluster, { headStore }))).toMatchObject({
      code: 'invalid-input',
      hint: expect.stringContaining('from a copy'),
    });
  });
});
