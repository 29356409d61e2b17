/**
 * Lying replica: a replica that speaks the protocol and lies, as a process, on the home and with the keys of a real one.
 *
 * In: `--home DIR`. It runs the real rooms, so that it is deep in the protocol, and stands between them and the world:
 * it shows different replicas different blocks of one round, validly signed, sends them garbage, tells clients wrong
 * results, some at once, and wrong indexes, refuses good requests, and sends clients frames that nobody asked for.
 */
import { setInterval } from 'node:timers';
import { parseArgs } from 'node:util';
import { kv } from '../../services/kv/kv.ts';
import { type Adversary, type Outgoing, othersThan } from '../../simulator/adversaries/adversary.ts';
import { equivocator } from '../../simulator/adversaries/equivocator.ts';
import { garbageSender } from '../../simulator/adversaries/garbage-sender.ts';
import { lyingReplier } from '../../simulator/adversaries/lying-replier.ts';
import { Prng } from '../../simulator/prng.ts';
import { mclCurve } from '../../src/crypto/curve-mcl.ts';
import { sign } from '../../src/crypto/ed25519.ts';
import { type Digest, sha256, sha256Of } from '../../src/crypto/hash.ts';
import { firstMembership } from '../../src/membership/genesis.ts';
import { blockPreimage } from '../../src/ordering/validity.ts';
import { randomBytes } from '../../src/platform/random.ts';
import { CatchUp } from '../../src/replica/catch-up.ts';
import type { CertifiedMessage } from '../../src/replica/certified-replies.ts';
import { ClientPort } from '../../src/replica/client-port.ts';
import { EventLoop } from '../../src/replica/event-loop.ts';
import { ReplicaMachine } from '../../src/replica/machine.ts';
import { RoundIndex } from '../../src/replica/round-index.ts';
import { MemoryEngine } from '../../src/state/memory-engine.ts';
import { openHome } from '../../src/storage/home.ts';
import { type ClientLink, ClientListener } from '../../src/transport/client-listener.ts';
import { PeerLinks } from '../../src/transport/peer-links.ts';
import { encodeReplicaToClient } from '../../src/wire/client-message.ts';
import { encodeOutcomes } from '../../src/wire/outcome.ts';
import { decodePeerMessage, encodePeerMessage } from '../../src/wire/peer-message.ts';
import { decodeRequest } from '../../src/wire/request.ts';
import { encodeValue } from '../../src/wire/value.ts';

const garbageIntervalMs = 40;
/** Of every so many requests one is refused. */
const requestsPerRefusal = 5;

const { values: options } = parseArgs({ options: { home: { type: 'string' }, 'log-level': { type: 'string' } } });
const home = await openHome(options.home ?? '');
const log = await home.openLog();
const parsed = firstMembership(home.genesis);
if (!parsed.ok) throw new Error(parsed.reason);
const membership = parsed.value;
const self = home.replicaIndex;
const others = othersThan(self, membership.members.length);
const prng = new Prng(1);
const signBlock = (digest: Digest) => sign(home.signingKey, blockPreimage(digest));

const accomplice = { membership, self, prng, sign: signBlock };
const forger: Adversary = equivocator(accomplice);
const litterer: Adversary = garbageSender(accomplice);
const liar: Adversary = lyingReplier(accomplice);

const lie = encodeOutcomes([{ ok: true, value: 'a lie' }]);
const roundIndex = new RoundIndex();
const engine = new MemoryEngine();
const machine = new ReplicaMachine({
  engine,
  membership,
  self,
  service: kv,
  sign: signBlock,
  curve: mclCurve,
  names: home.genesis,
  keySecrets: { decryptionKey: home.decryptionKey, seed: home.dealingSeed },
});
for (const { changes, digest } of machine.restore(
  (await log.read(0, Number.MAX_SAFE_INTEGER)).map(({ bytes }) => bytes),
)) {
  await engine.write(changes);
  machine.checkpointStored(digest);
}

function sendAll(outgoing: readonly Outgoing[]): void {
  for (const { to, frame } of outgoing) if (frame.length > 0) peers.send(to, frame);
}

/** Its proofs are of another result, and of another value. */
function misproven(message: CertifiedMessage): CertifiedMessage {
  if (message.kind === 'certified') return { ...message, result: lie };
  return message.kind === 'state' ? { ...message, value: encodeValue('a lie') } : message;
}

function sendForged(to: number, frame: Uint8Array): void {
  const decoded = decodePeerMessage(frame);
  if (decoded.ok) sendAll(forger.outgoing(decoded.value, to));
}

const catchUp = new CatchUp({ log, roundIndex, send: sendForged, offer: () => {}, failed: () => {} });
const loop = new EventLoop({
  machine,
  ports: {
    log,
    roundIndex,
    send: sendForged,
    broadcast: (frame) => {
      for (const to of others) sendForged(to, frame);
    },
    reply: (reply) => clients.reply(liar.reply?.(reply) ?? reply),
    certified: ({ link, message }) => clients.certified({ link, message: misproven(message) }),
    seal: () => {},
    refuse: (refusal) => clients.refuse(refusal),
    serve: (to, afterRound) => catchUp.serve(to, afterRound),
    checkpoint: async ({ changes, digest }) => {
      await engine.write(changes);
      loop.push({ kind: 'checkpoint-stored', digest });
    },
    stable: () => {},
  },
  observe: () => {},
  onFatal: (error) => {
    console.error(error);
    process.exit(1);
  },
  onPressure: () => {},
});

const peers = new PeerLinks({
  self,
  peers: membership.members.map(({ peerAddress, linkKeyDigest }) => ({ ...peerAddress, keyDigest: linkKeyDigest })),
  keyPem: home.linkKeyPem,
  certificatePem: home.linkCertificatePem,
  hello: encodePeerMessage({ kind: 'hello', epochGenesis: membership.epochGenesis }),
  acceptHello: () => undefined,
  onFrame: (from, frame) => {
    const decoded = decodePeerMessage(frame);
    if (decoded.ok) {
      sendAll(forger.incoming?.(decoded.value, from).send ?? []);
      litterer.incoming?.(decoded.value, from);
    }
    loop.push({ kind: 'peer-frame', from, frame });
  },
  onUp: (peer) => loop.push({ kind: 'connected', peer }),
  onDown: () => {},
  onCounted: () => {},
});

let requests = 0;
const clients = new ClientPort({
  serviceId: membership.serviceId,
  replicaIndex: self,
  randomBytes,
  // So far in the future that no replica knows a session born then.
  commitIndex: () => machine.commitIndex + 1_000_000,
  status: () => ({ replicaId: home.replicaId, commitIndex: 999_999, stateRoot: 'f'.repeat(64) }),
  onInput: (input) => {
    if (input.kind !== 'client-request') {
      loop.push(input);
      return;
    }
    const { link, request, certifyFrom } = input;
    requests += 1;
    lieAbout(request);
    if (certifyFrom !== undefined && requests % 2 === 0) certifyLie(link, request);
    if (requests % requestsPerRefusal !== 0) loop.push(input);
    else clients.refuse({ link, requestDigest: sha256(request), code: 'bad-signature', reason: 'so I say' });
  },
  onCounted: () => {},
});

/** A wrong result of the right form at once, long before anybody can have executed the request. */
function lieAbout(bytes: Uint8Array): void {
  const decoded = decodeRequest(bytes);
  if (!decoded.ok) return;
  const { client, session, digest, number, operations } = decoded.value;
  clients.reply({
    client: Buffer.from(client).toString('hex'),
    sessionNonce: Buffer.from(session.nonce).toString('hex'),
    requestDigest: digest,
    number,
    commitIndex: machine.commitIndex + 1,
    result: encodeOutcomes(operations.map(() => ({ ok: true, value: 'a lie' }))),
    leafIndex: 0,
  });
}

/** A proof of a log that has this one request in it, signed by nobody. */
function certifyLie(link: number, bytes: Uint8Array): void {
  const decoded = decodeRequest(bytes);
  if (!decoded.ok) return;
  const { digest: requestDigest, number } = decoded.value;
  const commitIndex = machine.commitIndex + 1;
  const entry = Buffer.concat([Buffer.from(requestDigest, 'hex'), Buffer.from(sha256(lie), 'hex'), Buffer.alloc(8)]);
  entry.writeUInt32BE(commitIndex, 68);
  const head = {
    serviceId: membership.serviceId,
    epoch: 0,
    commitIndex,
    logSize: 1,
    logRoot: sha256Of([Uint8Array.of(0), entry]),
    stateRoot: requestDigest,
    checkpoint: requestDigest,
    timestamp: 0,
  };
  const certifiedHead = { head, signature: machine.certifiedHead?.signature ?? prng.bytes(48) };
  const proof = { leafIndex: 0, inclusionPath: [], certifiedHead, consistentWith: 0, consistencyPath: [] };
  clients.certified({
    link,
    message: { kind: 'certified', requestDigest, number, commitIndex, result: lie, ...proof },
  });
}

/** Frames that no client has asked for, one kind for each link. */
function pester(link: ClientLink): void {
  const digest = sha256(Uint8Array.of(link.id & 255));
  const lie = { requestDigest: digest, commitIndex: 1, result: prng.bytes(20) };
  const frames = [
    prng.bytes(1 + prng.below(200)),
    encodeReplicaToClient({ kind: 'reply', number: 1_000_000, ...lie }),
    encodeReplicaToClient({ kind: 'reply', number: 1, ...lie }),
    encodeReplicaToClient({ kind: 'refused', requestDigest: digest, code: 'malformed', reason: '\u001b[2J' }),
    encodeReplicaToClient({ kind: 'status', status: { deep: [[[[]]]] } }),
    prng.bytes(1024 * 1024),
  ];
  const frame = frames[link.id % frames.length];
  if (link.open && frame !== undefined) link.send(frame);
}

const listener = new ClientListener({
  ...(membership.members[self] as (typeof membership.members)[number]).clientAddress,
  keyPem: home.linkKeyPem,
  certificatePem: home.linkCertificatePem,
  onLink: (link) => {
    clients.add(link);
    // Late enough for it to have lied before.
    if (link.id % 2 === 0) setTimeout(() => pester(link), 400);
  },
});

await listener.listen();
await peers.listen();
setInterval(() => sendAll(litterer.tick?.() ?? []), garbageIntervalMs);
