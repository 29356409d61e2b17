/**
 * Arbitraries: random well-formed things of the wire for property tests, and the ways an attacker bends their bytes.
 */
import fc from 'fast-check';
import { signingKeyFromSeed } from '../src/crypto/ed25519.ts';
import type { Digest } from '../src/crypto/hash.ts';
import type { AdminAction, AdminProposal } from '../src/wire/admin-action.ts';
import type { BlockContent, Reference } from '../src/wire/block.ts';
import {
  type CertifiedHead,
  type ClientToReplica,
  type ReplicaToClient,
  refusalCodes,
} from '../src/wire/client-message.ts';
import type { CoinShare } from '../src/wire/duty.ts';
import type { EpochState } from '../src/wire/epoch-state.ts';
import { recoveryMethods } from '../src/wire/genesis.ts';
import type { Head } from '../src/wire/head.ts';
import type { JoiningReplica, MembershipBody, MembershipStatement } from '../src/wire/membership-statement.ts';
import type { Outcome } from '../src/wire/outcome.ts';
import { type PeerMessage, statementKinds } from '../src/wire/peer-message.ts';
import type { RequestContent } from '../src/wire/request.ts';
import type { CertifiedSuccessor } from '../src/wire/successor.ts';
import type { Value } from '../src/wire/value.ts';

export const text = (maxLength: number) => fc.string({ unit: 'binary', maxLength });
export const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
export const digest = bytesOf(32).map((bytes) => Buffer.from(bytes).toString('hex') as Digest);
export const natural = fc.oneof(
  fc.nat(),
  fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);

const number = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(0, -0, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 53, -(2 ** 53), Number.MIN_VALUE),
);
const key = fc.oneof(
  text(6).filter((name) => name !== '__proto__'),
  fc.constantFrom('constructor', 'toString', 'length', '0', '7', '10', ''),
);

/** A value: everything but what has no encoding. */
export const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false),
    number,
    text(12),
    fc.uint8Array({ maxLength: 12 }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;

export const reference: fc.Arbitrary<Reference> = fc.record({
  round: natural,
  author: fc.nat({ max: 65_535 }),
  digest,
});

const operationName = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,63}$/);

export const requestContent: fc.Arbitrary<RequestContent> = fc
  .record({
    client: bytesOf(32),
    session: fc.record({ birth: natural, nonce: bytesOf(16) }),
    numbers: fc.tuple(natural, natural).filter(([a, b]) => a !== b),
    operations: fc.array(fc.record({ name: operationName, input: fc.uint8Array({ maxLength: 40 }) }), {
      minLength: 1,
      maxLength: 4,
    }),
  })
  .map(({ numbers: [a, b], ...rest }) => ({ ...rest, number: Math.max(a, b), acknowledged: Math.min(a, b) }));

export const blockContent: fc.Arbitrary<BlockContent> = fc.record({
  epoch: fc.nat({ max: 2 ** 32 - 1 }),
  round: natural,
  author: fc.nat({ max: 65_535 }),
  timestamp: natural,
  parents: fc.array(reference, { maxLength: 7 }),
  requests: fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }),
  duties: fc.array(fc.record({ kind: fc.nat({ max: 255 }), payload: fc.uint8Array({ maxLength: 20 }) }), {
    maxLength: 3,
  }),
});

export const outcomes: fc.Arbitrary<readonly Outcome[]> = fc.array(
  fc.oneof(
    fc.record({ ok: fc.constant(true as const), value }),
    fc.record({ ok: fc.constant(false as const), code: text(16), message: text(40) }),
  ),
  { maxLength: 5 },
);

/** A signature of the service, a share of one, or an encryption key: bytes of that size. */
export const g1Bytes = bytesOf(48);
const index32 = fc.nat({ max: 2 ** 32 - 1 });
const index16 = fc.nat({ max: 65_535 });
const hexOf = (length: number) => bytesOf(length).map((bytes) => Buffer.from(bytes).toString('hex'));

export const head: fc.Arbitrary<Head> = fc.record({
  serviceId: digest,
  epoch: index32,
  commitIndex: natural,
  logSize: natural,
  logRoot: digest,
  stateRoot: digest,
  checkpoint: digest,
  timestamp: natural,
});

const certifiedHead: fc.Arbitrary<CertifiedHead> = fc.record({ head, signature: g1Bytes });
const path = fc.array(digest, { maxLength: 4 });
const address = fc.record({ host: text(20), port: index16 });

const freshness = fc.record({ epoch: index32, timestamp: natural });

/** A replica as administrators add it: an identity key unless it recovers by awareness. */
export const joiningReplica: fc.Arbitrary<JoiningReplica> = fc
  .record({
    replicaId: text(10),
    signingKey: hexOf(32),
    linkKeyDigest: digest,
    encryptionKey: hexOf(48),
    recovery: fc.constantFrom(...recoveryMethods),
    identityKey: hexOf(32),
    peerAddress: address,
    clientAddress: address,
    httpAddress: address,
  })
  .map((replica) => (replica.recovery === 'awareness' ? { ...replica, identityKey: undefined } : replica));

/** Well-formed bytes; whether the addresses and numbers mean anything is not the encoding's affair. */
const bodyFields = {
  serviceId: digest,
  epoch: index32,
  f: index16,
  k: index16,
  name: text(20),
  service: text(20),
  replicas: fc.array(
    fc.tuple(joiningReplica, freshness, freshness).map(([replica, keysSince, cleanSince]) => {
      return { ...replica, keysSince, cleanSince };
    }),
    { maxLength: 4 },
  ),
};
export const membershipBody: fc.Arbitrary<MembershipBody> = fc.record(bodyFields);
export const membershipStatement: fc.Arbitrary<MembershipStatement> = fc.record({
  ...bodyFields,
  epochGenesis: digest,
  sharingEpoch: index32,
});

/** At most 32 bytes in UTF-8. */
const replicaId = text(8);
const sessionKeys = fc.record({
  signingKey: fc.nat(3).map((seed) => signingKeyFromSeed(new Uint8Array(32).fill(seed)).publicKey.text),
  linkKeyDigest: digest,
  encryptionKey: hexOf(48),
});

export const successor: fc.Arbitrary<CertifiedSuccessor> = fc.record({
  statement: fc.record({
    serviceId: digest,
    replicaId,
    epoch: index32,
    serial: natural,
    isClean: fc.boolean(),
    keys: sessionKeys,
  }),
  certificate: bytesOf(64),
  possession: bytesOf(64),
});

const adminAction: fc.Arbitrary<AdminAction> = fc.oneof(
  fc.constant({ kind: 'advance' as const }),
  fc.record({ kind: fc.constant('add' as const), replica: joiningReplica }),
  fc.record({ kind: fc.constant('remove' as const), replicaId }),
  fc.record({ kind: fc.constant('replace' as const), replicaId, replica: joiningReplica }),
  fc.record({ kind: fc.constant('rule' as const), f: index16, k: index16 }),
);
export const adminProposal: fc.Arbitrary<AdminProposal> = fc.record({
  serviceId: digest,
  epoch: index32,
  action: adminAction,
});

const moment = fc.record({ commitIndex: natural, timestamp: natural });
const ids = fc.uniqueArray(replicaId, { maxLength: 3 });
const byId = (a: string, b: string): number => (a < b ? -1 : 1);

/** Well-formed bytes; whether its parts fit together is not the encoding's affair. */
export const epochState: fc.Arbitrary<EpochState> = fc.record({
  membership: membershipBody,
  sharingEpoch: index32,
  began: moment,
  phase: fc.oneof(
    fc.constant({ kind: 'steady' as const }),
    fc.record({ kind: fc.constant('preparing' as const), since: moment, turn: ids }),
    fc.record({ kind: fc.constant('resharing' as const), since: moment, turn: ids, next: membershipBody }),
  ),
  successors: fc
    .uniqueArray(successor, { maxLength: 3, selector: ({ statement }) => statement.replicaId })
    .map((all) => all.toSorted((a, b) => byId(a.statement.replicaId, b.statement.replicaId))),
  disputed: ids.map((all) => all.toSorted(byId)),
  proposals: fc.array(fc.record({ proposal: adminProposal, approvedBy: index16 }), { maxLength: 3 }),
  approved: fc.array(adminAction, { maxLength: 3 }),
});

export const coinShare: fc.Arbitrary<CoinShare> = fc.record({ period: natural, share: g1Bytes });

export const peerMessage: fc.Arbitrary<PeerMessage> = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), epochGenesis: digest }),
  fc.record({ kind: fc.constant('block' as const), block: fc.uint8Array({ maxLength: 60 }) }),
  fc.record({ kind: fc.constant('fetch' as const), references: fc.array(reference, { maxLength: 4 }) }),
  fc.record({ kind: fc.constant('catch-up' as const), afterRound: natural }),
  fc.record({
    kind: fc.constant('requests' as const),
    requests: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant('signature-share' as const),
    statement: fc.constantFrom(...statementKinds),
    commitIndex: natural,
    digest,
    share: g1Bytes,
  }),
  fc.record({
    kind: fc.constant('certified-statement' as const),
    statement: fc.constantFrom(...statementKinds),
    encoded: fc.uint8Array({ maxLength: 130 }),
    signature: g1Bytes,
  }),
);

/** How a head is tied to the one before; of the three forms each. */
const tie = fc.oneof(
  fc.record({ consistentWith: natural, consistencyPath: path }),
  fc.constant({ consistentWith: 0, consistencyPath: [] as readonly Digest[] }),
  fc.constant({ consistentWith: 0, consistencyPath: [] as readonly Digest[], notRetained: true as const }),
);

export const replicaToClient: fc.Arbitrary<ReplicaToClient> = fc.oneof(
  fc.record({
    kind: fc.constant('welcome' as const),
    serviceId: digest,
    replicaIndex: fc.nat({ max: 65_535 }),
    commitIndex: natural,
    challenge: bytesOf(32),
  }),
  fc.record({
    kind: fc.constant('reply' as const),
    requestDigest: digest,
    number: natural,
    commitIndex: natural,
    result: fc.uint8Array({ maxLength: 60 }),
  }),
  fc
    .record({
      kind: fc.constant('certified' as const),
      requestDigest: digest,
      number: natural,
      commitIndex: natural,
      result: fc.uint8Array({ maxLength: 60 }),
      leafIndex: natural,
      inclusionPath: path,
      certifiedHead,
    })
    .chain((message) => tie.map((tied) => ({ ...message, ...tied }))),
  fc
    .record({ kind: fc.constant('head' as const), certifiedHead: fc.option(certifiedHead, { nil: undefined }) })
    .chain((message) => tie.map((tied) => ({ ...message, ...tied }))),
  fc
    .record({
      kind: fc.constant('state' as const),
      number: natural,
      value: fc.option(fc.uint8Array({ maxLength: 60 }), { nil: undefined }),
      proof: fc.uint8Array({ maxLength: 60 }),
      certifiedHead,
    })
    .chain((message) => tie.map((tied) => ({ ...message, ...tied }))),
  fc.record({
    kind: fc.constant('state-refused' as const),
    number: natural,
    code: fc.constantFrom(...refusalCodes),
    reason: text(40),
  }),
  fc.record({
    kind: fc.constant('refused' as const),
    requestDigest: digest,
    code: fc.constantFrom(...refusalCodes),
    reason: text(40),
  }),
  fc.record({ kind: fc.constant('status' as const), status: value }),
);

export const clientToReplica: fc.Arbitrary<ClientToReplica> = fc.oneof(
  fc.record({
    kind: fc.constant('attach' as const),
    client: bytesOf(32),
    sessionNonce: bytesOf(16),
    signature: bytesOf(64),
  }),
  fc.record({ kind: fc.constant('request' as const), request: fc.uint8Array({ maxLength: 60 }) }),
  fc.record({
    kind: fc.constant('request' as const),
    request: fc.uint8Array({ maxLength: 60 }),
    certifyFrom: natural,
  }),
  fc.record({ kind: fc.constant('ask-head' as const), logSize: natural }),
  fc.record({
    kind: fc.constant('ask-state' as const),
    number: natural,
    key: text(40),
    notBefore: natural,
    logSize: natural,
  }),
  fc.constant({ kind: 'status' as const }),
);

/** What an attacker does to good bytes: flips bits, cuts, repeats, splices, and announces lengths that are not there. */
export function bent(good: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const place = fc.nat({ max: 0xffff_ffff });
  const bend = fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.nat({ max: 7 }) }),
    fc.record({ kind: fc.constant('cut' as const), at: place }),
    fc.record({ kind: fc.constant('splice' as const), at: place, from: place }),
    fc.record({
      kind: fc.constant('insert' as const),
      at: place,
      bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
    }),
    fc.record({
      kind: fc.constant('length' as const),
      at: place,
      length: fc.constantFrom(0, 1, 0x7fff_ffff, 0xffff_ffff, 0x0010_0000, 0x0010_0001),
    }),
  );
  return fc.tuple(good, good, fc.array(bend, { minLength: 1, maxLength: 3 })).map(([bytes, other, bends]) => {
    let now = Buffer.from(bytes);
    for (const b of bends) {
      const at = b.at % (now.length + 1);
      if (b.kind === 'flip' && at < now.length) now[at] = (now[at] as number) ^ (1 << b.bit);
      else if (b.kind === 'cut') now = now.subarray(0, at);
      else if (b.kind === 'splice') {
        now = Buffer.concat([now.subarray(0, at), Buffer.from(other).subarray(b.from % (other.length + 1))]);
      } else if (b.kind === 'insert') now = Buffer.concat([now.subarray(0, at), b.bytes, now.subarray(at)]);
      else if (b.kind === 'length' && at + 4 <= now.length) now.writeUInt32BE(b.length, at);
    }
    return now;
  });
}
