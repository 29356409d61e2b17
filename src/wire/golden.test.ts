/**
 * Golden bytes: test/vectors/wire.json holds, for each subject below, the one encoding it has for ever. A difference
 * means that old logs, old clients or other variants can no longer read us: it takes a new version, not a new vector.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sign, signingKeyFromSeed } from '../crypto/ed25519.ts';
import { type Digest, digestBytes, digestFrom } from '../crypto/hash.ts';
import {
  type AdminAction,
  type AdminProposal,
  adminPreimage,
  decodeAdminProposal,
  encodeAdminProposal,
  proposalDigest,
} from './admin-action.ts';
import { type BlockContent, decodeBlock, encodeBlock } from './block.ts';
import { type Checkpoint, checkpointDigest, decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts';
import {
  attachPreimage,
  type ClientToReplica,
  decodeClientToReplica,
  decodeReplicaToClient,
  encodeClientToReplica,
  encodeReplicaToClient,
  type ReplicaToClient,
  refusalCodes,
} from './client-message.ts';
import { domains } from './domain.ts';
import { decodeCoinShare, encodeCoinShare } from './duty.ts';
import { decodeEpochState, type EpochState, encodeEpochState } from './epoch-state.ts';
import { encodeGenesis, formatGenesis, type Genesis, parseGenesis, serviceIdOf } from './genesis.ts';
import { decodeHead, encodeHead, type Head } from './head.ts';
import {
  decodeMembershipBody,
  decodeMembershipStatement,
  encodeMembershipBody,
  encodeMembershipStatement,
  type MembershipStatement,
  membershipBodyDigest,
  type StatedReplica,
} from './membership-statement.ts';
import { decodeOutcomes, encodeOutcomes } from './outcome.ts';
import { decodePeerMessage, encodePeerMessage, type PeerMessage } from './peer-message.ts';
import type { Decoded } from './reader.ts';
import { decodeRequest, encodeRequest, type RequestContent, requestPreimage } from './request.ts';
import { decodeStateProof, encodeStateProof } from './state-proof.ts';
import {
  type CertifiedSuccessor,
  decodeSuccessor,
  decodeSuccessorStatement,
  encodeSuccessor,
  encodeSuccessorStatement,
  possessionPreimage,
  type SuccessorStatement,
  successorPreimage,
} from './successor.ts';
import { decodeValue, encodeValue, type Value } from './value.ts';

interface Vector {
  readonly name: string;
  readonly hex: string;
}
const golden = JSON.parse(readFileSync(new URL('../../test/vectors/wire.json', import.meta.url), 'utf8')) as {
  readonly vectors: readonly Vector[];
};

const filled = (length: number, first: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (first + i) & 0xff);
const digest = (first: number): Digest => digestFrom(filled(32, first));
const clientKey = signingKeyFromSeed(filled(32, 1));
const replicaKey = signingKeyFromSeed(filled(32, 2));
const serviceId = digest(0x50);

const requestContent: RequestContent = {
  client: clientKey.publicKey.bytes,
  session: { birth: 7, nonce: filled(16, 0xa0) },
  number: 3,
  acknowledged: 1,
  operations: [
    { name: 'put', input: encodeValue({ key: 'colour', value: 'blue' }) },
    { name: 'kv.list-all', input: encodeValue(null) },
  ],
};
const request = encodeRequest(requestContent, (id) => sign(clientKey, requestPreimage(serviceId, id)));

const blockContent: BlockContent = {
  epoch: 1,
  round: 9,
  author: 2,
  timestamp: 1_800_000_000_000,
  parents: [
    { round: 8, author: 2, digest: digest(0x10) },
    { round: 8, author: 0, digest: digest(0x20) },
    { round: 7, author: 3, digest: digest(0x30) },
  ],
  requests: [request.bytes],
  duties: [{ kind: 255, payload: filled(3, 0) }],
};
const signBlock = (id: Digest) => sign(replicaKey, Buffer.concat([domains.block, digestBytes(id)]));
const block = encodeBlock(blockContent, signBlock);
const emptyBlock = encodeBlock(
  { epoch: 0, round: 1, author: 0, timestamp: 0, parents: [], requests: [], duties: [] },
  signBlock,
);

const values: readonly (readonly [string, Value])[] = [
  ['null', null],
  ['false', false],
  ['true', true],
  ['zero', 0],
  ['minus zero is zero', -0],
  ['one', 1],
  ['2^32', 2 ** 32],
  ['largest natural', Number.MAX_SAFE_INTEGER],
  ['minus one', -1],
  ['smallest negative', Number.MIN_SAFE_INTEGER],
  ['half', 0.5],
  ['2^53, no longer a natural', 2 ** 53],
  ['smallest float', Number.MIN_VALUE],
  ['no text', ''],
  ['text', 'Grüße, 世界 🌍'],
  ['a zero in text', 'a\0b'],
  ['no bytes', new Uint8Array()],
  ['bytes', filled(5, 250)],
  ['no list', []],
  ['list', [1, [true, null], 'x']],
  ['no record', {}],
  ['record', { b: 1, a: { z: null, Z: false }, ä: 2, '10': 3, '9': 4 }],
];

const head: Head = {
  serviceId,
  epoch: 1,
  commitIndex: 13,
  logSize: 2 ** 40 + 5,
  logRoot: digest(0x11),
  stateRoot: digest(0x22),
  checkpoint: digest(0x24),
  timestamp: 1_800_000_000_123,
};
const checkpoint: Checkpoint = {
  serviceId,
  epoch: 1,
  ordering: {
    commitIndex: 13,
    commitDigest: digest(0x26),
    timestamp: 1_800_000_000_123,
    horizon: 2 ** 33,
    next: { kind: 'fallback', round: 2 ** 33 + 40, rank: 2 },
    periodHasCommit: true,
    committed: [digest(0x27), digest(0x28)],
  },
  service: { root: digest(0x22), entries: 12, sizeBytes: 3_456 },
  system: { root: digest(0x23), entries: 7, sizeBytes: 89 },
  logSize: 2 ** 40 + 5,
  logFrontier: [digest(0x29), digest(0x2a), digest(0x2b)],
  sessions: { expiredBirths: 4, admissions: 2 ** 41 },
  membershipDigest: digest(0x2c),
  nextMembership: undefined,
};
const encodedCheckpoint = encodeCheckpoint(checkpoint);
const serviceSignature = filled(48, 0x90);
const certifiedHead = { head, signature: serviceSignature };
const stateProof = encodeStateProof({
  inner: [{ bitmap: 0x8001, hashes: [filled(32, 0x3a), filled(32, 0x3b)] }],
  bucket: [{ keyHash: filled(32, 0x3c), valueHash: filled(32, 0x3d) }],
});

const peerMessages: readonly PeerMessage[] = [
  { kind: 'hello', epochGenesis: digest(0x40) },
  { kind: 'block', block: emptyBlock.bytes },
  { kind: 'fetch', references: blockContent.parents },
  { kind: 'catch-up', afterRound: 2 ** 33 },
  { kind: 'requests', requests: [request.bytes, filled(2, 1)] },
  { kind: 'signature-share', statement: 'head', commitIndex: 13, digest: digest(0x33), share: serviceSignature },
  { kind: 'signature-share', statement: 'membership', commitIndex: 0, digest: digest(0x34), share: serviceSignature },
  { kind: 'certified-statement', statement: 'head', encoded: encodeHead(head), signature: serviceSignature },
  { kind: 'certified-statement', statement: 'membership', encoded: filled(7, 1), signature: serviceSignature },
];

const welcome = { serviceId, replicaIndex: 3, challenge: filled(32, 0x70) };
const attach = attachPreimage({ ...welcome, sessionNonce: requestContent.session.nonce });
const result = encodeOutcomes([
  { ok: true, value: { version: 4 } },
  { ok: false, code: 'version-mismatch', message: 'the version is 4' },
]);
const replicaMessages: readonly ReplicaToClient[] = [
  { kind: 'welcome', ...welcome, commitIndex: 12 },
  { kind: 'reply', requestDigest: request.digest, number: 3, commitIndex: 13, result },
  {
    kind: 'certified',
    requestDigest: request.digest,
    number: 3,
    commitIndex: 13,
    result,
    leafIndex: 41,
    inclusionPath: [digest(0x35), digest(0x36)],
    certifiedHead,
    consistentWith: 40,
    consistencyPath: [digest(0x37)],
  },
  { kind: 'head', certifiedHead: undefined, consistentWith: 0, consistencyPath: [] },
  { kind: 'head', certifiedHead, consistentWith: 41, consistencyPath: [digest(0x38), digest(0x39)] },
  {
    kind: 'state',
    number: 3,
    value: encodeValue('value'),
    proof: stateProof,
    certifiedHead,
    consistentWith: 41,
    consistencyPath: [digest(0x38)],
  },
  {
    kind: 'state',
    number: 4,
    value: undefined,
    proof: stateProof,
    certifiedHead,
    consistentWith: 0,
    consistencyPath: [],
    notRetained: true,
  },
  ...refusalCodes.slice(6).map((code) => ({ kind: 'state-refused', number: 5, code, reason: 'a reason' }) as const),
  ...refusalCodes.map((code) => ({ kind: 'refused' as const, requestDigest: request.digest, code, reason: 'full' })),
  { kind: 'status', status: { replica: 'r1', round: 9 } },
];

const genesis: Genesis = {
  version: 4,
  name: 'Golden',
  service: 'kv',
  created: 1_800_000_000_000,
  f: 1,
  k: 0,
  parameters: { period: 8, ranks: 1, pruneDepth: 64 },
  headIntervalMs: 10,
  checkpointIntervalMs: 10_000,
  epochIntervalMs: 0,
  successorWaitMs: 30_000,
  administrators: { approvals: 1, keys: [signingKeyFromSeed(filled(32, 6)).publicKey.text] },
  replicas: [0, 1, 2, 3].map((i) => ({
    replicaId: `replica-${i}`,
    signingKey: signingKeyFromSeed(filled(32, 10 * i)).publicKey.text,
    linkKeyDigest: digest(0x60 + i),
    encryptionKey: Buffer.from(filled(48, 0x80 + i)).toString('hex'),
    ...(i === 2
      ? { recovery: 'offline' as const, identityKey: signingKeyFromSeed(filled(32, 5)).publicKey.text }
      : { recovery: 'awareness' as const, identityKey: undefined }),
    peerAddress: { host: i === 3 ? '::1' : '127.0.0.1', port: 7_500 + i },
    clientAddress: { host: i === 3 ? '::1' : '127.0.0.1', port: 7_400 + i },
    httpAddress: { host: i === 3 ? '::1' : '127.0.0.1', port: 7_600 + i },
  })),
};

const statement: MembershipStatement = {
  serviceId,
  epoch: 1,
  f: genesis.f,
  k: genesis.k,
  name: genesis.name,
  service: genesis.service,
  replicas: genesis.replicas.map((replica, i) => ({
    ...replica,
    keysSince: { epoch: 1, timestamp: 1_800_000_000_200 + i },
    cleanSince: { epoch: i % 2, timestamp: 1_800_000_000_100 + i },
  })),
  epochGenesis: digest(0x2d),
  sharingEpoch: 1,
};

const closingCheckpoint: Checkpoint = { ...checkpoint, nextMembership: digest(0x2e) };

const successorStatement: SuccessorStatement = {
  serviceId,
  replicaId: 'replica-2',
  epoch: 2,
  serial: 2 ** 33,
  isClean: true,
  keys: {
    signingKey: signingKeyFromSeed(filled(32, 7)).publicKey.text,
    linkKeyDigest: digest(0x70),
    encryptionKey: Buffer.from(filled(48, 0x88)).toString('hex'),
  },
};
const successor: CertifiedSuccessor = {
  statement: successorStatement,
  certificate: filled(64, 0xb0),
  possession: filled(64, 0xc0),
};

const { keysSince: _keys, cleanSince: _clean, ...joining } = statement.replicas[2] as StatedReplica;
const actions: readonly AdminAction[] = [
  { kind: 'advance' },
  { kind: 'add', replica: { ...joining, replicaId: 'replica-5' } },
  { kind: 'remove', replicaId: 'replica-1' },
  { kind: 'replace', replicaId: 'replica-0', replica: { ...joining, recovery: 'awareness', identityKey: undefined } },
  { kind: 'rule', f: 2, k: 1 },
];
const proposalOf = (action: AdminAction): AdminProposal => ({ serviceId, epoch: 1, action });

const steady: EpochState = {
  membership: statement,
  sharingEpoch: 1,
  began: { commitIndex: 2 ** 33, timestamp: 1_800_000_000_200 },
  phase: { kind: 'steady' },
  successors: [],
  disputed: [],
  proposals: [],
  approved: [],
};
const since = { commitIndex: 2 ** 33 + 9, timestamp: 1_800_000_060_200 };
const turn = ['replica-1'];
const epochStates: readonly EpochState[] = [
  steady,
  {
    ...steady,
    phase: { kind: 'preparing', since, turn },
    successors: [successor],
    disputed: ['replica-0', 'replica-3'],
    proposals: actions.map((action, i) => ({ proposal: proposalOf(action), approvedBy: 1 << i })),
    approved: actions,
  },
  { ...steady, phase: { kind: 'resharing', since, turn, next: { ...statement, epoch: 2 } } },
];

const clientMessages: readonly ClientToReplica[] = [
  {
    kind: 'attach',
    client: clientKey.publicKey.bytes,
    sessionNonce: requestContent.session.nonce,
    signature: sign(clientKey, attach),
  },
  { kind: 'request', request: request.bytes },
  { kind: 'request', request: request.bytes, certifyFrom: 41 },
  { kind: 'ask-head', logSize: 2 ** 40 },
  { kind: 'ask-state', number: 3, key: 'Grüße 🌍', notBefore: 2 ** 33, logSize: 2 ** 40 },
  { kind: 'status' },
];

/** What tells apart two messages of one kind. */
function nameOf(message: PeerMessage | ReplicaToClient | ClientToReplica): string {
  if (message.kind === 'refused' || message.kind === 'state-refused') return `${message.kind} ${message.code}`;
  if (message.kind === 'state') return `state${message.value === undefined ? ': none, with a gap' : ''}`;
  if ('statement' in message) return `${message.kind} of a ${message.statement}`;
  if (message.kind === 'head') return `head${message.certifiedHead === undefined ? ': none' : ''}`;
  return 'certifyFrom' in message ? 'request certified' : message.kind;
}

/** Name, bytes, and what decodes and encodes them again, when they are ever decoded. */
type Subject = readonly [name: string, bytes: Uint8Array, recode?: (bytes: Uint8Array) => Decoded<Uint8Array>];

const subjects: readonly Subject[] = [
  ...Object.entries(domains).map(([name, tag]) => [`domain tag ${name}`, tag] as const),
  ...values.map(
    ([name, value]) => [`value: ${name}`, encodeValue(value), again(decodeValue, (v) => encodeValue(v))] as const,
  ),
  ['outcomes', result, again(decodeOutcomes, encodeOutcomes)],
  ['outcomes: none', encodeOutcomes([]), again(decodeOutcomes, encodeOutcomes)],
  ['request', request.bytes, again(decodeRequest, (r) => encodeRequest(r, () => r.signature).bytes)],
  ['request digest', digestBytes(request.digest)],
  ['request preimage', requestPreimage(serviceId, request.digest)],
  ['block', block.bytes, again(decodeBlock, (b) => encodeBlock(b, () => b.signature).bytes)],
  ['block digest', digestBytes(block.digest)],
  ['block: nothing in it', emptyBlock.bytes, again(decodeBlock, (b) => encodeBlock(b, () => b.signature).bytes)],
  ...peerMessages.map(
    (m) => [`to a peer: ${nameOf(m)}`, encodePeerMessage(m), again(decodePeerMessage, encodePeerMessage)] as const,
  ),
  ...replicaMessages.map(
    (m) =>
      [
        `to a client: ${nameOf(m)}`,
        encodeReplicaToClient(m),
        again(decodeReplicaToClient, encodeReplicaToClient),
      ] as const,
  ),
  ['attach preimage', attach],
  ['state proof', stateProof, again(decodeStateProof, encodeStateProof)],
  ['head', encodeHead(head), again(decodedHead, encodeHead)],
  ['checkpoint', encodedCheckpoint, again(decodeCheckpoint, encodeCheckpoint)],
  ['checkpoint digest', digestBytes(checkpointDigest(encodedCheckpoint))],
  ['checkpoint: closing', encodeCheckpoint(closingCheckpoint), again(decodeCheckpoint, encodeCheckpoint)],
  [
    'membership statement',
    encodeMembershipStatement(statement),
    again(decodeMembershipStatement, encodeMembershipStatement),
  ],
  ['membership body', encodeMembershipBody(statement), again(decodeMembershipBody, encodeMembershipBody)],
  ['membership body digest', digestBytes(membershipBodyDigest(statement))],
  ['successor', encodeSuccessor(successor), again(decodeSuccessor, encodeSuccessor)],
  [
    'successor statement',
    encodeSuccessorStatement(successorStatement),
    again(decodeSuccessorStatement, encodeSuccessorStatement),
  ],
  ['successor preimage', successorPreimage(successorStatement)],
  ['possession preimage', possessionPreimage(successorStatement)],
  ...actions.map(
    (action) =>
      [
        `proposal: ${action.kind}`,
        encodeAdminProposal(proposalOf(action)),
        again(decodeAdminProposal, encodeAdminProposal),
      ] as const,
  ),
  ['proposal preimage', adminPreimage(proposalOf({ kind: 'advance' }))],
  ['proposal digest', digestBytes(proposalDigest(proposalOf({ kind: 'advance' })))],
  ...epochStates.map(
    (state) =>
      [`epoch state: ${state.phase.kind}`, encodeEpochState(state), again(decodeEpochState, encodeEpochState)] as const,
  ),
  ['coin share', encodeCoinShare({ period: 9, share: serviceSignature }), again(decodeCoinShare, encodeCoinShare)],
  ['genesis', encodeGenesis(genesis)],
  ['service id', digestBytes(serviceIdOf(genesis))],
  ...clientMessages.map(
    (m) =>
      [
        `from a client: ${nameOf(m)}`,
        encodeClientToReplica(m),
        again(decodeClientToReplica, encodeClientToReplica),
      ] as const,
  ),
];

function again<T>(decode: (bytes: Uint8Array) => Decoded<T>, encode: (thing: T) => Uint8Array) {
  return (bytes: Uint8Array): Decoded<Uint8Array> => {
    const decoded = decode(bytes);
    return decoded.ok ? { ok: true, value: encode(decoded.value) } : decoded;
  };
}

function decodedHead(bytes: Uint8Array): Decoded<Head> {
  const value = decodeHead(bytes);
  return value === undefined ? { ok: false, reason: 'not a head' } : { ok: true, value };
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('golden bytes', () => {
  test('a genesis means the same after a detour through JSON', () => {
    const parsed = parseGenesis(formatGenesis(genesis));
    expect(parsed.ok && serviceIdOf(parsed.value)).toBe(serviceIdOf(genesis));
  });

  test('the file has a vector for each subject, in this order, and no others', () => {
    expect(golden.vectors.map(({ name }) => name)).toEqual(subjects.map(([name]) => name));
  });

  test.each(subjects.map((subject) => ({ name: subject[0], subject })))('$name', ({ subject }) => {
    const [name, bytes, recode] = subject;
    const expected = golden.vectors.find((vector) => vector.name === name)?.hex;
    expect(hexOf(bytes)).toBe(expected);
    if (recode === undefined || expected === undefined) return;
    const recoded = recode(Buffer.from(expected, 'hex'));
    expect(recoded.ok ? hexOf(recoded.value) : recoded.reason).toBe(expected);
  });
});
