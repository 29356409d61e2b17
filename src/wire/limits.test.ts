/** The bounds of everything that is decoded: what is at the limit is taken, one more is refused. */
import { describe, expect, test } from 'vitest';
import { type PublicKeyText, signingKeyFromSeed } from '../crypto/ed25519.ts';
import type { Digest } from '../crypto/hash.ts';
import { type BlockContent, decodeBlock, encodeBlock } from './block.ts';
import {
  decodeClientToReplica,
  decodeReplicaToClient,
  encodeClientToReplica,
  encodeReplicaToClient,
  type ReplicaToClient,
} from './client-message.ts';
import { formatGenesis, genesisVersion } from './genesis.ts';
import { limits } from './limits.ts';
import { decodeMembershipStatement, encodeMembershipStatement, type StatedReplica } from './membership-statement.ts';
import { decodeOutcomes, encodeOutcomes } from './outcome.ts';
import { decodePeerMessage, encodePeerMessage } from './peer-message.ts';
import type { Decoded } from './reader.ts';
import { decodeRequest, encodeRequest } from './request.ts';
import { encodeStateProof } from './state-proof.ts';

const times = <T>(count: number, thing: T): readonly T[] => Array.from({ length: count }, () => thing);
const digest = '00'.repeat(32) as Digest;
const reference = { round: 1, author: 0, digest };
const empty = new Uint8Array();
const noSignature = (): Uint8Array => new Uint8Array(64);

function block(change: Partial<BlockContent>): Decoded<unknown> {
  const content = { epoch: 0, round: 1, author: 0, timestamp: 0, parents: [], requests: [], duties: [], ...change };
  return decodeBlock(encodeBlock(content, noSignature).bytes);
}

function request(operations: number): Decoded<unknown> {
  const content = {
    client: new Uint8Array(32),
    session: { birth: 0, nonce: new Uint8Array(16) },
    number: 1,
    acknowledged: 0,
    operations: times(operations, { name: 'a', input: empty }),
  };
  return decodeRequest(encodeRequest(content, noSignature).bytes);
}

const signature = new Uint8Array(48);
const head = {
  serviceId: digest,
  epoch: 0,
  commitIndex: 1,
  logSize: 1,
  logRoot: digest,
  stateRoot: digest,
  checkpoint: digest,
  timestamp: 1,
};

type Certified = Extract<ReplicaToClient, { readonly kind: 'certified' }>;

function encodeCertified(change: Partial<Certified>): Uint8Array {
  return encodeReplicaToClient({
    kind: 'certified',
    requestDigest: digest,
    number: 1,
    commitIndex: 1,
    result: empty,
    leafIndex: 0,
    inclusionPath: [],
    certifiedHead: { head, signature },
    consistentWith: 0,
    consistencyPath: [],
    ...change,
  });
}

const certified = (change: Partial<Certified>): Decoded<unknown> => decodeReplicaToClient(encodeCertified(change));

function state(value: Uint8Array | undefined, proof: Uint8Array): Decoded<unknown> {
  const tie = { consistentWith: 0, consistencyPath: [] };
  const certifiedHead = { head, signature };
  return decodeReplicaToClient(
    encodeReplicaToClient({ kind: 'state', number: 1, value, proof, certifiedHead, ...tie }),
  );
}

function askState(key: string): Decoded<unknown> {
  const question = { kind: 'ask-state', number: 1, key, notBefore: 0, logSize: 0 } as const;
  return decodeClientToReplica(encodeClientToReplica(question));
}

/** A replica of a genesis whose every text is as long as a genesis allows. */
const longestAddress = { host: 'h'.repeat(253), port: 65_535 };
const replica = {
  replicaId: 'r'.repeat(32),
  signingKey: 'ab'.repeat(32),
  linkKeyDigest: digest,
  encryptionKey: 'ab'.repeat(48),
  recovery: 'hardware',
  identityKey: signingKeyFromSeed(new Uint8Array(32)).publicKey.text,
  keysSince: { epoch: 1, timestamp: 2 },
  cleanSince: { epoch: 3, timestamp: 4 },
  peerAddress: longestAddress,
  clientAddress: longestAddress,
  httpAddress: longestAddress,
} as const;

function encodeStatement(replicas: readonly StatedReplica[]): Uint8Array {
  const texts = { name: 'n'.repeat(64), service: 's'.repeat(256) };
  return encodeMembershipStatement({
    serviceId: digest,
    epoch: 0,
    f: 1,
    k: 0,
    ...texts,
    replicas,
    epochGenesis: digest,
    sharingEpoch: 0,
  });
}

const statement = (replicas: readonly StatedReplica[]): Decoded<unknown> =>
  decodeMembershipStatement(encodeStatement(replicas));

describe('at the limit and one beyond', () => {
  test.each<[string, number, (size: number) => Decoded<unknown>]>([
    ['parents of a block', limits.replicasMax, (n) => block({ parents: times(n, reference) })],
    ['requests of a block', limits.blockRequestsMax, (n) => block({ requests: times(n, empty) })],
    ['bytes of a request in a block', limits.requestSizeBytesMax, (n) => block({ requests: [new Uint8Array(n)] })],
    ['duties of a block', limits.blockDutiesMax, (n) => block({ duties: times(n, { kind: 0, payload: empty }) })],
    ['bytes of a duty', limits.dutySizeBytesMax, (n) => block({ duties: [{ kind: 0, payload: new Uint8Array(n) }] })],
    ['operations of a request', limits.requestOperationsMax, request],
    [
      'outcomes of a result',
      limits.requestOperationsMax,
      (n) => decodeOutcomes(encodeOutcomes(times(n, { ok: true, value: null }))),
    ],
    [
      'references of a fetch',
      limits.fetchReferencesMax,
      (n) => decodePeerMessage(encodePeerMessage({ kind: 'fetch', references: times(n, reference) })),
    ],
    [
      'requests sent to a peer',
      limits.blockRequestsMax,
      (n) => decodePeerMessage(encodePeerMessage({ kind: 'requests', requests: times(n, empty) })),
    ],
    [
      'bytes of a result',
      limits.resultSizeBytesMax,
      (n) => {
        const reply = { requestDigest: digest, number: 1, commitIndex: 1, result: new Uint8Array(n) };
        return decodeReplicaToClient(encodeReplicaToClient({ kind: 'reply', ...reply }));
      },
    ],
    [
      'bytes of a certified statement',
      limits.statementSizeBytesMax,
      (n) => {
        const certified = { statement: 'membership', encoded: new Uint8Array(n), signature } as const;
        return decodePeerMessage(encodePeerMessage({ kind: 'certified-statement', ...certified }));
      },
    ],
    ['bytes of a certified result', limits.resultSizeBytesMax, (n) => certified({ result: new Uint8Array(n) })],
    ['hashes of an inclusion path', limits.proofHashesMax, (n) => certified({ inclusionPath: times(n, digest) })],
    ['hashes of a consistency path', limits.proofHashesMax, (n) => certified({ consistencyPath: times(n, digest) })],
    ['bytes of a state value', limits.stateValueSizeBytesMax, (n) => state(new Uint8Array(n), empty)],
    ['bytes of a state proof', limits.stateProofSizeBytesMax, (n) => state(undefined, new Uint8Array(n))],
    ['bytes of a state key', limits.stateKeySizeBytesMax, (n) => askState('k'.repeat(n))],
    ['replicas of a membership statement', limits.replicasMax, (n) => statement(times(n, replica))],
  ])('%s', (_, limit, decoded) => {
    expect(decoded(limit).ok).toBe(true);
    const beyond = decoded(limit + 1);
    expect(beyond.ok ? 'accepted' : beyond.reason).toMatch(/more than/);
  });
});

describe('limits fit into each other', () => {
  test('the largest request fits a block, and the largest block a frame', () => {
    expect(limits.requestSizeBytesMax + 1024).toBeLessThan(limits.blockSizeBytesMax);
    expect(limits.blockSizeBytesMax).toBeLessThan(limits.frameSizeBytesMax);
    expect(limits.blockPayloadSizeBytesMax).toBeLessThanOrEqual(limits.blockSizeBytesMax - limits.requestSizeBytesMax);
  });

  test('the largest request, and the largest result with its envelope, fit a frame to or from a client', () => {
    expect(limits.requestSizeBytesMax + 1024).toBeLessThan(limits.clientFrameSizeBytesMax);
    expect(limits.resultSizeBytesMax + 1024).toBeLessThan(limits.clientFrameSizeBytesMax);
  });

  test('the largest certified reply with the longest proofs fits a frame to a client', () => {
    const path = times(limits.proofHashesMax, digest);
    const result = new Uint8Array(limits.resultSizeBytesMax);
    const largest = encodeCertified({ result, inclusionPath: path, consistencyPath: path });
    expect(largest.length).toBeLessThan(limits.clientFrameSizeBytesMax);
  });

  test('the deepest proof of a state key is within its limit, and fits a frame with the largest value', () => {
    const hash = new Uint8Array(32);
    const deepest = encodeStateProof({
      inner: times(64, { bitmap: 0xffff, hashes: times(16, hash) }),
      bucket: times(limits.stateBucketEntriesMax, { keyHash: hash, valueHash: hash }),
    });
    expect(deepest.length).toBeLessThan(limits.stateProofSizeBytesMax);
    const longest = limits.stateProofSizeBytesMax + limits.stateValueSizeBytesMax + 64 * 1024;
    expect(longest).toBeLessThan(limits.clientFrameSizeBytesMax);
    expect(2 * longest).toBeLessThan(limits.documentLengthMax);
  });

  test('the membership statement of the largest cluster is a statement, and fits a frame to a peer', () => {
    expect(encodeStatement(times(limits.replicasMax, replica)).length).toBeLessThan(limits.statementSizeBytesMax);
    expect(limits.statementSizeBytesMax + 1024).toBeLessThan(limits.frameSizeBytesMax);
  });

  test('the genesis of the largest cluster fits the file that holds it', () => {
    const texts = { version: genesisVersion, name: 'n'.repeat(64), service: 's'.repeat(256) } as const;
    const intervals = { headIntervalMs: 60_000, checkpointIntervalMs: 3_600_000 };
    const waits = { epochIntervalMs: limits.epochIntervalMsMax, successorWaitMs: limits.successorWaitMsMax };
    const administratorKeys = times(limits.administratorsMax, 'ab'.repeat(32) as PublicKeyText);
    const administrators = { approvals: limits.administratorsMax, keys: administratorKeys };
    const numbers = { created: Number.MAX_SAFE_INTEGER, f: 10, k: 0, ...intervals };
    const parameters = { period: 1_024, ranks: 31, pruneDepth: 65_536 };
    const members = times(limits.replicasMax, { ...replica, signingKey: replica.signingKey as PublicKeyText });
    const genesis = formatGenesis({ ...texts, ...numbers, ...waits, administrators, parameters, replicas: members });
    expect(genesis.length).toBeLessThan(limits.homeFileSizeBytesMax);
  });

  test('the largest state value fits a result and a request', () => {
    const room = limits.stateKeySizeBytesMax + 1024;
    expect(limits.stateValueSizeBytesMax + room).toBeLessThan(limits.resultSizeBytesMax);
    expect(limits.stateValueSizeBytesMax + room).toBeLessThan(limits.requestSizeBytesMax);
    expect(limits.stateValueSizeBytesMax).toBeLessThanOrEqual(limits.valueSizeBytesMax);
  });

  test('what one peer or author may hold here is bounded below what is queued for it', () => {
    expect(limits.fetchReplySizeBytesMax).toBeLessThanOrEqual(limits.peerQueueSizeBytesMax);
    expect(limits.resultSizeBytesMax).toBeLessThan(limits.clientQueueSizeBytesMax);
    expect(limits.blockSizeBytesMax).toBeLessThanOrEqual(limits.parkedPerAuthorSizeBytesMax);
  });

  test('a connection is not silent for too long while a call on it is open', () => {
    expect(limits.httpDeadlineMsMax + limits.httpPatienceMs).toBeLessThan(limits.httpSilentMsMax);
  });
});
