/** What is never an epoch state, a successor or a proposal, though its bytes are nearly those of one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { adminProposal, joiningReplica, membershipStatement, successor } from '../../test/arbitraries.ts';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { sha256, sha256Of } from '../crypto/hash.ts';
import { adminPreimage, decodeAdminProposal, encodeAdminProposal, proposalDigest } from './admin-action.ts';
import { domains } from './domain.ts';
import { decodeEpochState, type EpochState, encodeEpochState } from './epoch-state.ts';
import { limits } from './limits.ts';
import {
  decodeMembershipStatement,
  encodeMembershipBody,
  encodeMembershipStatement,
  type JoiningReplica,
  type MembershipBody,
  membershipBodyDigest,
} from './membership-statement.ts';
import type { Decoded } from './reader.ts';
import {
  type CertifiedSuccessor,
  decodeSuccessor,
  decodeSuccessorStatement,
  encodeSuccessor,
  encodeSuccessorStatement,
  possessionPreimage,
  successorPreimage,
} from './successor.ts';

const serviceId = sha256(Buffer.from('a service'));
const keyOf = (seed: number) => signingKeyFromSeed(Buffer.alloc(32, seed)).publicKey.text;
const reason = (decoded: Decoded<unknown>): string => (decoded.ok ? 'accepted' : decoded.reason);

/** As long in every part as a genesis allows. */
const longest = { host: 'h'.repeat(253), port: 65_535 };
const joiner: JoiningReplica = {
  replicaId: 'r'.repeat(32),
  signingKey: keyOf(1),
  linkKeyDigest: serviceId,
  encryptionKey: 'ab'.repeat(48),
  recovery: 'hardware',
  identityKey: keyOf(2),
  peerAddress: longest,
  clientAddress: longest,
  httpAddress: longest,
};
const times = <T>(count: number, make: (i: number) => T): readonly T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const idOf = (i: number): string => `r${String(i).padStart(31, '0')}`;
const successorOf = (replicaId: string): CertifiedSuccessor => ({
  statement: {
    serviceId,
    replicaId,
    epoch: 1,
    serial: 1,
    isClean: false,
    keys: { signingKey: keyOf(3), linkKeyDigest: serviceId, encryptionKey: 'cd'.repeat(48) },
  },
  certificate: new Uint8Array(64).fill(1),
  possession: new Uint8Array(64).fill(2),
});
const since = { epoch: 0, timestamp: 1 };
const largestBody: MembershipBody = {
  serviceId,
  epoch: 0,
  f: 10,
  k: 0,
  name: 'n'.repeat(64),
  service: 's'.repeat(256),
  replicas: times(limits.replicasMax, (i) => ({ ...joiner, replicaId: idOf(i), keysSince: since, cleanSince: since })),
};
const action = { kind: 'replace', replicaId: idOf(0), replica: joiner } as const;
const moment = { commitIndex: 1, timestamp: 2 };
const ids = times(limits.replicasMax, idOf);
const largest: EpochState = {
  membership: largestBody,
  sharingEpoch: 0,
  began: moment,
  phase: { kind: 'resharing', since: moment, turn: ids, next: { ...largestBody, epoch: 1 } },
  successors: ids.map(successorOf),
  disputed: ids,
  proposals: times(limits.proposalsMax, () => ({ proposal: { serviceId, epoch: 0, action }, approvedBy: 0xffff })),
  approved: times(limits.approvedActionsMax, () => action),
};

describe('an epoch state', () => {
  test('that is as large as may be is read, and is a value that a state holds', () => {
    const bytes = encodeEpochState(largest);
    expect(decodeEpochState(bytes)).toEqual({ ok: true, value: largest });
    expect(bytes.length).toBeLessThan(limits.epochStateSizeBytesMax);
    expect(limits.epochStateSizeBytesMax).toBeLessThan(limits.engineValueSizeBytesMax);
  });

  test.each<[string, Partial<EpochState>, RegExp]>([
    [
      'proposals',
      { proposals: times(33, () => largest.proposals[0] as EpochState['proposals'][number]) },
      /^proposals: 33/,
    ],
    ['approved actions', { approved: times(33, () => ({ kind: 'advance' as const })) }, /^approved: 33/],
    ['successors', { successors: times(32, (i) => successorOf(idOf(i))) }, /^successors: 32/],
    ['disputed replicas', { disputed: times(32, idOf) }, /^disputed: 32/],
    [
      'replicas',
      { membership: { ...largestBody, replicas: times(32, () => largestBody.replicas[0]!) } },
      /^replicas: 32/,
    ],
  ])('with too many %s is refused', (_, change, expected) => {
    expect(reason(decodeEpochState(encodeEpochState({ ...largest, ...change })))).toMatch(expected);
  });

  test.each<[string, Partial<EpochState>]>([
    ['successors', { successors: [successorOf('b'), successorOf('a')] }],
    ['successors', { successors: [successorOf('a'), successorOf('a')] }],
    ['disputed', { disputed: ['b', 'a'] }],
    ['disputed', { disputed: ['a', 'a'] }],
  ])('has one order: %s are refused in another', (what, change) => {
    expect(reason(decodeEpochState(encodeEpochState({ ...largest, ...change })))).toBe(`${what}: not ascending`);
  });

  test('that is too large is refused unread', () => {
    expect(reason(decodeEpochState(new Uint8Array(limits.epochStateSizeBytesMax + 1)))).toMatch(/^more than/);
  });
});

describe('a successor', () => {
  test('whose signing key is of small order, or no point, is refused', () => {
    const bytes = encodeSuccessor(successorOf('r0'));
    const at = Buffer.from(bytes).indexOf(Buffer.from(keyOf(3), 'hex'));
    for (const odd of [`01${'00'.repeat(31)}`, 'ff'.repeat(32)]) {
      const bent = Buffer.from(bytes);
      bent.write(odd, at, 'hex');
      expect(reason(decodeSuccessor(bent))).toBe('signing key: not a usable key');
    }
  });

  test('is clean or not: a third is refused', () => {
    const bytes = Buffer.from(encodeSuccessor(successorOf('r0')));
    // After version, service id, the id and its length, epoch and serial.
    bytes[1 + 32 + 4 + 2 + 4 + 8] = 2;
    expect(reason(decodeSuccessor(bytes))).toBe('clean: neither 0 nor 1');
  });

  test('says two things under two tags, neither of which is the other', () => {
    fc.assert(
      fc.property(successor, ({ statement }) => {
        const encoded = encodeSuccessorStatement(statement);
        expect(decodeSuccessorStatement(encoded)).toEqual({ ok: true, value: statement });
        expect(successorPreimage(statement)).toEqual(Buffer.concat([domains.successor, encoded]));
        expect(possessionPreimage(statement)).toEqual(Buffer.concat([domains.possession, encoded]));
      }),
      { numRuns: 50 },
    );
  });

  test('that is too large is refused unread', () => {
    const bytes = new Uint8Array(limits.successorSizeBytesMax + 1);
    expect(reason(decodeSuccessor(bytes))).toMatch(/^more than/);
    expect(reason(decodeSuccessorStatement(bytes))).toMatch(/^more than/);
  });

  test('keeps nothing of what it came in', () => {
    const bytes = Uint8Array.from(encodeSuccessor(successorOf('r0')));
    const decoded = decodeSuccessor(bytes);
    bytes.fill(0);
    expect(decoded).toEqual({ ok: true, value: successorOf('r0') });
  });
});

describe('a proposal', () => {
  test('is another in another epoch, of another service, with another action', () => {
    const base = { serviceId, epoch: 1, action: { kind: 'advance' as const } };
    const others = [
      base,
      { ...base, epoch: 2 },
      { ...base, serviceId: sha256(Buffer.from('another')) },
      { ...base, action: { kind: 'rule' as const, f: 1, k: 0 } },
      { ...base, action: { kind: 'rule' as const, f: 0, k: 1 } },
      { ...base, action: { kind: 'remove' as const, replicaId: 'r1' } },
    ];
    expect(new Set(others.map(proposalDigest)).size).toBe(others.length);
  });

  test('is signed under its tag', () => {
    fc.assert(
      fc.property(adminProposal, (proposal) => {
        const preimage = Buffer.concat([domains.adminAction, encodeAdminProposal(proposal)]);
        expect(adminPreimage(proposal)).toEqual(preimage);
        expect(proposalDigest(proposal)).toBe(sha256Of([preimage]));
      }),
      { numRuns: 50 },
    );
  });

  test('to add the longest replica there is fits', () => {
    const bytes = encodeAdminProposal({ serviceId, epoch: 0, action });
    expect(bytes.length).toBeLessThan(limits.proposalSizeBytesMax);
    expect(decodeAdminProposal(bytes)).toEqual({ ok: true, value: { serviceId, epoch: 0, action } });
    expect(reason(decodeAdminProposal(new Uint8Array(limits.proposalSizeBytesMax + 1)))).toMatch(/^more than/);
  });

  test('of an unknown action is refused, and so is a way to recover that is none', () => {
    const bytes = Buffer.from(encodeAdminProposal({ serviceId, epoch: 0, action: { kind: 'add', replica: joiner } }));
    const recoveryAt = 1 + 32 + 4 + 1 + 4 + 32 + 32 + 32 + 48;
    expect(bytes[recoveryAt]).toBe(0);
    bytes[recoveryAt] = 3;
    expect(reason(decodeAdminProposal(bytes))).toBe('recovery: no such way');
    bytes[1 + 32 + 4] = 5;
    expect(reason(decodeAdminProposal(bytes))).toBe('action: 5 is unknown');
  });
});

describe('a membership', () => {
  test('with an identity key that does not fit the way to recover has no encoding', () => {
    fc.assert(
      fc.property(joiningReplica, (replica) => {
        const identityKey = replica.identityKey === undefined ? keyOf(1) : undefined;
        const replicas = [{ ...replica, identityKey, keysSince: since, cleanSince: since }];
        expect(() => encodeMembershipBody({ ...largestBody, replicas })).toThrow(RangeError);
      }),
      { numRuns: 20 },
    );
  });

  test('has a body that does not depend on where its DAG begins, and is no statement', () => {
    fc.assert(
      fc.property(membershipStatement, (statement) => {
        const moved = { ...statement, epochGenesis: serviceId, sharingEpoch: 7 };
        expect(membershipBodyDigest(moved)).toBe(membershipBodyDigest(statement));
        const body = encodeMembershipBody(statement);
        expect(Buffer.from(encodeMembershipStatement(statement)).subarray(0, body.length)).toEqual(Buffer.from(body));
        expect(decodeMembershipStatement(body).ok).toBe(false);
      }),
      { numRuns: 50 },
    );
  });
});
