/**
 * Shows what the peer ports of a real cluster do with bytes, keys, frames and blocks that no honest replica sends. The
 * attacker has the keys of replica 3, which is down; so what it signs is signed by a member.
 */
import { once } from 'node:events';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { askStatus } from 'coterie/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ProcessCluster } from '../../bench/process-cluster.ts';
import { type SigningKey, sign } from '../../src/crypto/ed25519.ts';
import { sha256 } from '../../src/crypto/hash.ts';
import { genesisReference } from '../../src/membership/membership.ts';
import { blockPreimage } from '../../src/ordering/validity.ts';
import { makeLinkCertificate } from '../../src/transport/certificate.ts';
import { type Block, type BlockContent, encodeBlock } from '../../src/wire/block.ts';
import { encodeClientToReplica } from '../../src/wire/client-message.ts';
import { type Genesis, serviceIdOf } from '../../src/wire/genesis.ts';
import { limits } from '../../src/wire/limits.ts';
import { encodePeerMessage } from '../../src/wire/peer-message.ts';
import { KvLoad } from './kv-load.ts';
import {
  closed,
  dialAnyTls,
  dialTcp,
  framed,
  genesisOf,
  type Identity,
  linkIdentityOf,
  signingKeyOf,
} from './strangers.ts';
import { converge, counted, peakResidentBytes, statusOf, until } from './watching.ts';

const attacker = 3;
const honest = [0, 1, 2];

let cluster: ProcessCluster;
let load: KvLoad;
let genesis: Genesis;
let port: number;
let identity: Identity;
let signingKey: SigningKey;
/** Links of the attacker that say nothing, or very slowly what they should; closed in time while the other tests run. */
let silent: readonly TLSSocket[];
let dripping: NodeJS.Timeout;

beforeAll(async () => {
  cluster = await ProcessCluster.start();
  genesis = genesisOf(await cluster.genesis());
  port = genesis.replicas[0]?.peerAddress.port ?? 0;
  identity = await linkIdentityOf(cluster.homeOf(attacker));
  signingKey = await signingKeyOf(cluster.homeOf(attacker));
  await cluster.kill(attacker);
  load = await KvLoad.start({ genesis: await cluster.genesis(), pauseMs: 60 });
  const slow = await dialAnyTls(port, identity);
  silent = [await dialAnyTls(port, identity), slow];
  const hello = framed(helloOf());
  let at = 0;
  dripping = setInterval(() => slow.write(hello.subarray(at, ++at)), 400);
});

afterAll(async () => {
  clearInterval(dripping);
  await load?.close();
  await cluster?.destroy();
});

const helloOf = (epochGenesis = serviceIdOf(genesis)) => encodePeerMessage({ kind: 'hello', epochGenesis });

async function countOf(name: RegExp): Promise<number> {
  const status = await until('r0 answers', () => statusOf(cluster, 0));
  return counted(status, name);
}

function countedMore(name: RegExp, before: number): Promise<true> {
  return until(`r0 counts more of ${name.source}`, async () => ((await countOf(name)) > before ? true : undefined));
}

/** A link to replica 0 with the attacker's key that has been greeted. */
async function greeted(): Promise<TLSSocket> {
  const socket = await dialAnyTls(port, identity);
  const accepted = once(socket, 'data');
  socket.write(framed(helloOf()));
  await accepted;
  return socket;
}

/** A block properly signed by the attacker, of round 1 unless changed. */
function blockOf(change: Partial<BlockContent>): Block {
  const parents = genesis.replicas.map((_, author) => genesisReference(serviceIdOf(genesis), author));
  const content: BlockContent = {
    epoch: 0,
    round: 1,
    author: attacker,
    timestamp: 1,
    parents: [parents[attacker]!, ...parents.slice(0, attacker)],
    requests: [],
    duties: [],
    ...change,
  };
  return encodeBlock(content, (digest) => sign(signingKey, blockPreimage(digest)));
}

/** References to blocks that nobody has, of a round. */
function inventedParents(round: number, authors: readonly number[] = [attacker, 0, 1]): BlockContent['parents'] {
  return authors.map((author) => ({ round, author, digest: sha256(Buffer.from(`${round} ${author}`)) }));
}

/** One message for each rule that it breaks; the blocks are of this round, which must be one to come. */
function brokenMessages(round: number): readonly (readonly [string, Uint8Array])[] {
  const block = (change: Partial<BlockContent>) => {
    const { bytes } = blockOf({ round, parents: inventedParents(round - 1), ...change });
    return encodePeerMessage({ kind: 'block', block: bytes });
  };
  const signedWrong = Uint8Array.from(block({}));
  signedWrong[signedWrong.length - 1] = (signedWrong.at(-1) ?? 0) ^ 1;
  const ofVersion77 = Uint8Array.from(block({}));
  ofVersion77[1] = 77;
  return [
    ['message', Uint8Array.of(99)],
    ['message', Uint8Array.of(3, 1)],
    ['message', encodePeerMessage({ kind: 'catch-up', afterRound: 5 }).subarray(0, 5)],
    ['block form', ofVersion77],
    ['block form', encodePeerMessage({ kind: 'block', block: Buffer.alloc(3_000, 1) })],
    ['block form', Buffer.alloc(limits.blockSizeBytesMax + 2, 2)],
    ['block signature', signedWrong],
    ['block signature', block({ author: 1, parents: inventedParents(round - 1, [1, 0, 2]) })],
    ['epoch is', block({ epoch: 7 })],
    ['author not in the membership', block({ author: 9 })],
    ["first parent not the author's own", block({ parents: [] })],
    ['two parents by one author', block({ parents: inventedParents(round - 1, [3, 0, 1, 1]) })],
    ["a parent's author not in the membership", block({ parents: inventedParents(round - 1, [3, 0, 1, 4]) })],
    ['a parent of no lower round', block({ parents: inventedParents(round) })],
    ['unknown genesis block', block({ parents: inventedParents(0) })],
    ['no quorum of parents at the round before', block({ parents: inventedParents(round - 2) })],
    ['request', block({ requests: [Buffer.alloc(200, 1)] })],
    ['forwarded request', encodePeerMessage({ kind: 'requests', requests: [Buffer.alloc(200, 1)] })],
    ['too far in the future', block({ round: round + 100_000, parents: inventedParents(round + 99_999) })],
  ];
}

it('who shows no key of a member is cut off', async () => {
  const unknown = await countOf(/^peer-link unknown-key$/);
  const failed = await countOf(/^peer-link handshake-failed$/);
  const plain = await dialTcp(port);
  plain.write('GET / HTTP/1.1\r\n\r\n');
  await closed(plain);
  await countedMore(/^peer-link handshake-failed$/, failed);
  await closed(await dialAnyTls(port));
  await countedMore(/^peer-link unknown-key$/, unknown);
  await closed(await dialAnyTls(port, await makeLinkCertificate({ commonName: 'r3' })));
  await countedMore(/^peer-link unknown-key$/, unknown + 1);
  // Its own key, as if it had dialled itself.
  await closed(await dialAnyTls(port, await linkIdentityOf(cluster.homeOf(0))));
  await countedMore(/^peer-link unknown-key$/, unknown + 2);
});

it.each([
  ['of another cluster', () => helloOf(sha256(Buffer.from('another')))],
  ['of an unknown version', () => Uint8Array.from(helloOf(), (byte, at) => (at === 1 ? 77 : byte))],
  ['that is a block', () => encodePeerMessage({ kind: 'block', block: blockOf({}).bytes })],
  ['that is a question', () => encodePeerMessage({ kind: 'catch-up', afterRound: 0 })],
  ['of a client', () => encodeClientToReplica({ kind: 'status' })],
] as const)('a first message %s is turned away', async (_, makeHello) => {
  const before = await countOf(/^peer-link hello-refused r3$/);
  const socket = await dialAnyTls(port, identity);
  socket.write(framed(makeHello()));
  await closed(socket);
  await countedMore(/^peer-link hello-refused r3$/, before);
});

it.each([
  ['an empty frame', () => framed(new Uint8Array(0)), /^peer-link frame-empty r3$/],
  ['too large a frame', () => framed(Buffer.alloc(9), limits.frameSizeBytesMax + 1), /^peer-link frame-too-large r3$/],
] as const)('%s ends the link and is counted', async (_, makeBytes, name) => {
  const before = await countOf(name);
  const socket = await greeted();
  socket.write(makeBytes());
  await closed(socket);
  await countedMore(name, before);
});

it('a frame that is cut off is counted', async () => {
  const before = await countOf(/^peer-link frame-truncated r3$/);
  const socket = await greeted();
  socket.end(framed(Buffer.alloc(100), 5_000));
  await countedMore(/^peer-link frame-truncated r3$/, before);
});

it('a newer link takes the place of an older one, which is cut', async () => {
  const older = await greeted();
  const newer = await greeted();
  await closed(older);
  newer.destroy();
});

it('messages and blocks that break a rule are refused by name, and the link stays', async () => {
  const socket = await greeted();
  for (const index of brokenMessages(9).keys()) {
    // What is old is not even looked at, and the rounds go on while this one is on its way.
    const round = 30 + ((await statusOf(cluster, 0))?.round ?? 0);
    const [rule, message] = brokenMessages(round)[index] ?? ['', Uint8Array.of()];
    const name = new RegExp(`^rejected r3 ${rule}$`);
    const before = await countOf(name);
    socket.write(framed(message));
    await countedMore(name, before);
  }
  // In order or not, these break no rule: they are answered or ignored.
  const digest = sha256(Buffer.from('nobody has it'));
  const references = Array.from({ length: limits.fetchReferencesMax }, (_, round) => ({ round, author: 1, digest }));
  for (const message of [
    helloOf(),
    encodePeerMessage({ kind: 'catch-up', afterRound: Number.MAX_SAFE_INTEGER }),
    encodePeerMessage({ kind: 'fetch', references }),
    encodePeerMessage({ kind: 'fetch', references: [] }),
  ]) {
    socket.write(framed(message));
  }
  expect(socket.destroyed).toBe(false);
  socket.destroy();
});

it('a flood of blocks, questions and half frames is bounded', async () => {
  const before = await peakResidentBytes(cluster.pidOf(0));
  const socket = await greeted();
  const catchUp = framed(encodePeerMessage({ kind: 'catch-up', afterRound: 0 }));
  const write = (bytes: Uint8Array) => new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
  const first = 20 + ((await statusOf(cluster, 0))?.round ?? 0);
  for (let i = 0; i < 600; i++) {
    // Properly signed, of rounds to come, two of each, and all their parents missing: more than may be parked.
    const round = first + (i % 300);
    const duties = [1, 2, 3].map((kind) => ({ kind, payload: Buffer.alloc(60_000, i) }));
    const { bytes } = blockOf({ round, timestamp: i, parents: inventedParents(round - 1), duties });
    await write(framed(encodePeerMessage({ kind: 'block', block: bytes })));
    socket.write(catchUp);
  }
  await write(framed(Buffer.alloc(4_000_000, 2), limits.frameSizeBytesMax));
  // On and on, until their made-up parents have got so old that nobody asks for them.
  await until('the horizon passes the first of them', async () =>
    ((await statusOf(cluster, 0))?.round ?? 0) > first + 150 ? true : undefined,
  );
  await load.goesOn(50);
  expect(await peakResidentBytes(cluster.pidOf(0))).toBeLessThan(before + 200 * 1024 * 1024);
  expect(socket.destroyed).toBe(false);
  socket.destroy();
});

it('somebody else at the address of a replica is told nothing', async () => {
  const before = await countOf(/^peer-link wrong-key r3$/);
  const heard: Buffer[] = [];
  const impostors = await Promise.all(
    (['peerAddress', 'clientAddress'] as const).map(async (address): Promise<Server> => {
      const { keyPem, certificatePem } = await makeLinkCertificate({ commonName: 'r3' });
      const server = createServer({ key: keyPem, cert: certificatePem, minVersion: 'TLSv1.3', requestCert: true });
      server.on('secureConnection', (socket) => {
        socket.on('error', () => {});
        socket.on('data', (bytes) => heard.push(bytes));
      });
      server.listen(genesis.replicas[attacker]?.[address]);
      await once(server, 'listening');
      return server;
    }),
  );
  try {
    await countedMore(/^peer-link wrong-key r3$/, before);
    const asked = askStatus({ genesis: await cluster.genesis(), replicaIndex: attacker, deadlineMs: 5_000 });
    await expect(asked).rejects.toThrow(/does not hold the pinned key/);
    expect(heard).toEqual([]);
  } finally {
    for (const server of impostors) server.close();
  }
});

it('a member that said no hello, or said it byte by byte, was cut off', async () => {
  await Promise.all(silent.map(closed));
  await countedMore(/^peer-link handshake-timeout$/, silent.length - 1);
});

it('all this while, the clients were served as if nothing had been', async () => {
  await load.finish();
  expect(load.failures).toEqual([]);
  expect(load.judge()).toMatchObject({ violations: [], tooHard: 0 });
  for (const status of await converge(cluster, honest)) {
    expect(status.observer).toBe(false);
    expect(honest.map((index) => cluster.pidOf(index))).toContain(status.pid);
    expect(counted(status, /^(?:equivocation|rejected) r[012]/)).toBe(0);
  }
});
