/**
 * Shows what the client ports of a real cluster do with bytes, frames and requests that no honest client sends: each is
 * refused or dropped, and counted; nothing is executed that should not be; the other clients notice nothing.
 */
import type { Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { signingKeyFromSeed } from '../../src/crypto/ed25519.ts';
import { sha256 } from '../../src/crypto/hash.ts';
import type { Genesis } from '../../src/wire/genesis.ts';
import { limits } from '../../src/wire/limits.ts';
import { decodeOutcomes, type Outcome } from '../../src/wire/outcome.ts';
import { KvLoad } from './kv-load.ts';
import { ClientByHand, closed, dialAnyTls, dialTcp, framed, genesisOf } from './strangers.ts';
import { converge, counted, peakResidentBytes, statusOf, until } from './watching.ts';

let cluster: ProcessCluster;
let load: KvLoad;
let genesis: Genesis;
let port: number;
/** Connections that say nothing, or one byte now and then; closed in time while the other tests run. */
let silent: readonly Socket[] = [];
let dripping: NodeJS.Timeout | undefined;

beforeAll(async () => {
  cluster = await ProcessCluster.start();
  genesis = genesisOf(await cluster.genesis());
  port = genesis.replicas[0]?.clientAddress.port ?? 0;
  load = await KvLoad.start({ genesis: await cluster.genesis(), pauseMs: 60 });
});

afterAll(async () => {
  clearInterval(dripping);
  await load?.close();
  await cluster?.destroy();
});

/** How often replica 0 has counted this so far. */
async function countOf(name: RegExp): Promise<number> {
  const status = await until('r0 answers', () => statusOf(cluster, 0));
  return counted(status, name);
}

/** Waits until replica 0 has counted so many more of this than it had. */
function countedMore(name: RegExp, before: number, more = 1): Promise<true> {
  return until(`r0 counts ${more} more of ${name.source}`, async () =>
    (await countOf(name)) >= before + more ? true : undefined,
  );
}

it('bytes that are no TLS cost their own connection only', async () => {
  const failed = await countOf(/^client-link handshake-failed$/);
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\xff\xff'.padEnd(40_000, '\x00'), '\x00'.repeat(100)]) {
    const socket = await dialTcp(port);
    socket.write(Buffer.from(bytes, 'latin1'));
    await closed(socket);
  }
  await countedMore(/^client-link handshake-failed$/, failed, 3);
  await load.goesOn(20);
});

it('more connections than there may be strangers push out one another and nobody else', async () => {
  const evicted = await countOf(/^client-link stranger-evicted$/);
  const sockets = await Promise.all(Array.from({ length: limits.clientStrangersMax + 60 }, () => dialTcp(port)));
  await countedMore(/^client-link stranger-evicted$/, evicted, 1);
  await load.goesOn(20);
  for (const socket of sockets) socket.destroy();

  // From now on nobody is pushed out, so that these have all the time there is.
  const slow = await dialAnyTls(port);
  silent = [await dialTcp(port), await dialAnyTls(port), slow];
  slow.write(framed(Uint8Array.of(7), 1_000));
  dripping = setInterval(() => slow.write(Uint8Array.of(0)), 300);
});

it.each([
  ['an empty frame', framed(new Uint8Array(0)), /^client-link frame-empty$/],
  [
    'a frame that is too large',
    framed(Buffer.alloc(10), limits.clientFrameSizeBytesMax + 1),
    /^client-link frame-too-large$/,
  ],
  ['a message of no known kind', framed(Buffer.alloc(20, 99)), /^client-frame-malformed$/],
  ['a message of an unknown version', framed(Buffer.from([5, 77, ...Buffer.alloc(112)])), /^client-frame-malformed$/],
  ['a message that ends too early', framed(Buffer.from([5, 1, 2, 3])), /^client-frame-malformed$/],
  ['a message that goes on too long', framed(Buffer.from([7, 0])), /^client-frame-malformed$/],
  ['a message that only replicas send', framed(Buffer.from([1, 1, ...Buffer.alloc(74)])), /^client-frame-malformed$/],
] as const)('%s closes the link and is counted', async (_, bytes, name) => {
  const before = await countOf(name);
  const socket = await dialAnyTls(port);
  socket.write(bytes);
  await closed(socket);
  await countedMore(name, before);
});

it('a frame that is cut off is counted', async () => {
  const before = await countOf(/^client-link frame-truncated$/);
  const socket = await dialAnyTls(port);
  socket.end(framed(Buffer.alloc(100), 5_000));
  await closed(socket);
  await countedMore(/^client-link frame-truncated$/, before);
});

it('a link is attached once, by who signs for it, before its first request', async () => {
  const refusedBefore = await countOf(/^client-attach-refused$/);
  const stranger = await ClientByHand.dial(genesis, 0);
  const early = stranger.request(0, { name: 'put', input: { key: 'early', value: 'x' } });
  stranger.send({ kind: 'request', request: early.bytes });
  expect(await stranger.next('refused')).toMatchObject({ code: 'not-attached' });
  stranger.close();

  const thief = await ClientByHand.dial(genesis, 0);
  thief.send(thief.attachTo(await thief.next('welcome'), signingKeyFromSeed(Buffer.alloc(32, 7))));
  await thief.closed();

  const replayer = await ClientByHand.dial(genesis, 0);
  const other = await ClientByHand.dial(genesis, 0);
  replayer.send(other.attachTo(await other.next('welcome')));
  await replayer.closed();
  other.close();

  const twice = await ClientByHand.dial(genesis, 0);
  const welcome = await twice.next('welcome');
  twice.send(twice.attachTo(welcome));
  twice.send(twice.attachTo(welcome));
  await twice.closed();
  await countedMore(/^client-attach-refused$/, refusedBefore, 3);
});

it('requests that are malformed, changed, re-numbered or of another service are refused', async () => {
  const client = await ClientByHand.dial(genesis, 0);
  const birth = await client.attach();
  const put = { name: 'put', input: { key: 'forged', value: 'x' } };
  const good = client.request(birth, put);
  const flip = (at: number): Uint8Array => {
    const bytes = Uint8Array.from(good.bytes);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return bytes;
  };
  const numberOffset = 1 + 32 + 8 + 16 + 7;
  const others: readonly (readonly [string, Uint8Array])[] = [
    ['malformed', Uint8Array.of(1)],
    ['malformed', flip(0)],
    ['malformed', good.bytes.subarray(0, good.bytes.length - 1)],
    ['malformed', Buffer.concat([good.bytes, Uint8Array.of(0)])],
    ['malformed', Buffer.alloc(limits.requestSizeBytesMax + 1, 1)],
    ['bad-signature', flip(good.bytes.length - 1)],
    // Number 3 in place of 1.
    ['bad-signature', Uint8Array.from(good.bytes, (byte, at) => (at === numberOffset ? 3 : byte))],
    ['bad-signature', client.request(birth, put, {}, sha256(Buffer.from('another service'))).bytes],
    [
      'bad-signature',
      client.request(birth, put, { client: signingKeyFromSeed(Buffer.alloc(32, 9)).publicKey.bytes }).bytes,
    ],
  ];
  for (const [code, request] of others) {
    const before = await countOf(new RegExp(`^request-refused ${code}$`));
    client.send({ kind: 'request', request });
    expect(await client.next('refused')).toMatchObject({ code });
    await countedMore(new RegExp(`^request-refused ${code}$`), before);
  }
  // None of them was executed, and the link is as good as before.
  const get = client.request(birth, { name: 'get', input: { key: 'forged' } });
  expect(outcomeOf(await client.ask(get))).toEqual({ ok: true, value: null });
  client.close();
});

it('a request sent again, anywhere and by anybody, has the same reply and is executed once', async () => {
  const client = await ClientByHand.dial(genesis, 0);
  const birth = await client.attach();
  const cas = client.request(birth, { name: 'cas', input: { key: 'replayed', expected: null, value: 'mine' } });
  const first = await client.ask(cas);
  expect(outcomeOf(first)).toMatchObject({ ok: true, value: { swapped: true } });
  expect(await client.ask(cas)).toEqual(first);

  // At another replica, in a link of the same session; and by a client whose request it is not.
  const thief = await ClientByHand.dial(genesis, 1);
  await thief.attach();
  for (let i = 0; i < 20; i++) thief.send({ kind: 'request', request: cas.bytes });
  const again = await ClientByHand.dial(genesis, 2, client);
  await again.attach();
  expect(await again.ask(cas)).toEqual(first);

  // Another request under the number, properly signed: never executed.
  const reused = client.request(birth, { name: 'put', input: { key: 'replayed', value: 'changed' } });
  expect(outcomeOf(await client.ask(reused))).toMatchObject({ ok: false, code: 'number-reused' });
  const get = client.request(birth, { name: 'get', input: { key: 'replayed' } }, { number: 2 });
  expect(outcomeOf(await client.ask(get))).toEqual({ ok: true, value: 'mine' });
  for (const each of [client, thief, again]) each.close();
});

it('a request given to all replicas at the same moment is in several blocks and is executed once', async () => {
  const first = await ClientByHand.dial(genesis, 0);
  const birth = await first.attach();
  const links = [first];
  for (const index of [1, 2, 3]) {
    const link = await ClientByHand.dial(genesis, index, first);
    await link.attach();
    links.push(link);
  }
  let number = 0;
  for (let i = 0; i < 15; i++) {
    const key = `once-${i}`;
    const put = first.request(birth, { name: 'put', input: { key, value: 'x' } }, { number: ++number });
    await first.ask(put);
    // Were it executed again, there would be nothing left to delete, and a second reply would say so.
    const remove = first.request(birth, { name: 'delete', input: { key } }, { number: ++number });
    for (const link of links) link.send({ kind: 'request', request: remove.bytes });
    const barrier = first.request(birth, { name: 'get', input: { key } }, { number: ++number });
    for (const link of links) {
      const replies = await link.askAfter(remove, barrier);
      expect(replies.length).toBeGreaterThan(0);
      for (const reply of replies) expect(outcomeOf(reply)).toEqual({ ok: true, value: { deleted: true } });
    }
  }
  for (const link of links) link.close();
});

it('operations and sessions that do not exist fail, each with its reason, and change nothing', async () => {
  const client = await ClientByHand.dial(genesis, 0);
  const birth = await client.attach();
  const put = { name: 'put', input: { key: 'wrong', value: 'x' } };
  const wrong = [
    ['unknown-operation', client.request(birth, { name: 'drop-tables', input: null }, { number: 1 })],
    ['invalid-input', client.request(birth, { name: 'put', input: { key: 7 } }, { number: 2 })],
    ['invalid-input', client.request(birth, { name: 'put', input: null }, { number: 3 })],
    ['window', client.request(birth, put, { number: 4 + limits.sessionWindowRequests })],
    ['session-expired', client.request(birth + 1_000_000, put)],
  ] as const;
  for (const [code, request] of wrong) {
    expect(outcomeOf(await client.ask(request))).toMatchObject({ ok: false, code });
  }
  const get = client.request(birth, { name: 'get', input: { key: 'wrong' } }, { number: 4 });
  expect(outcomeOf(await client.ask(get))).toEqual({ ok: true, value: null });
  client.close();
});

it('a client that sends much and reads nothing is held back, and the replica stays small', async () => {
  const before = await peakResidentBytes(cluster.pidOf(0));
  const noisy = await Promise.all(Array.from({ length: 8 }, () => dialAnyTls(port)));
  for (const socket of noisy) socket.pause();
  // Requests on a link that is attached to no session: each is refused.
  const flood = Buffer.concat(Array.from({ length: 2_000 }, () => framed(Uint8Array.of(6, 0))));
  for (const socket of noisy) for (let i = 0; i < 20; i++) socket.write(flood);
  // Frames announced large, sent in part.
  const partial = await Promise.all(Array.from({ length: 100 }, () => dialAnyTls(port)));
  for (const socket of partial) {
    socket.write(framed(Uint8Array.of(7)));
    socket.write(framed(Buffer.alloc(600_000), limits.clientFrameSizeBytesMax));
  }
  await load.goesOn(50);
  await countedMore(/^client-link memory$/, 0);
  expect(await peakResidentBytes(cluster.pidOf(0))).toBeLessThan(before + 256 * 1024 * 1024);
  for (const socket of [...noisy, ...partial]) socket.destroy();
});

it('who asks for the status over and over is answered now and then, and the others as ever', async () => {
  const asking = await dialAnyTls(port);
  let answeredBytes = 0;
  asking.on('data', (chunk: Uint8Array) => {
    answeredBytes += chunk.length;
  });
  const asked = 40_000;
  asking.write(Buffer.concat(Array.from({ length: asked }, () => framed(Uint8Array.of(7)))));
  await load.goesOn(20);
  await until('it is answered', async () => (answeredBytes > 1_000 ? true : undefined));
  // An answer has some 1,500 bytes.
  expect(answeredBytes).toBeLessThan(asked * 100);
  asking.destroy();
});

it('who said nothing, or too little, in all that time was cut off', async () => {
  await Promise.all(silent.map(closed));
  await countedMore(/^client-link handshake-timeout$/, 0, 3);
});

it('all this while, the others were served as if nothing had been', async () => {
  await load.finish();
  expect(load.failures).toEqual([]);
  expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });
  for (const { observer, pid } of await converge(cluster)) {
    expect(observer).toBe(false);
    expect([0, 1, 2, 3].map((index) => cluster.pidOf(index))).toContain(pid);
  }
});

function outcomeOf({ result }: { readonly result: Uint8Array }): Outcome | undefined {
  const decoded = decodeOutcomes(result);
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value[0];
}
