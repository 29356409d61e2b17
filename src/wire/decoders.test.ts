/** Every decoder of the wire against everything an attacker can make of good bytes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  adminProposal,
  bent,
  blockContent,
  bytesOf,
  clientToReplica,
  coinShare,
  epochState,
  head,
  membershipBody,
  membershipStatement,
  outcomes,
  peerMessage,
  replicaToClient,
  requestContent,
  successor,
  value,
} from '../../test/arbitraries.ts';
import { decodeAdminProposal, encodeAdminProposal } from './admin-action.ts';
import { decodeBlock, encodeBlock } from './block.ts';
import {
  decodeClientToReplica,
  decodeReplicaToClient,
  encodeClientToReplica,
  encodeReplicaToClient,
  type ReplicaToClient,
} from './client-message.ts';
import { decodeCoinShare, encodeCoinShare } from './duty.ts';
import { decodeEpochState, encodeEpochState } from './epoch-state.ts';
import { decodeHead, encodeHead, type Head } from './head.ts';
import { limits } from './limits.ts';
import {
  decodeMembershipBody,
  decodeMembershipStatement,
  encodeMembershipBody,
  encodeMembershipStatement,
} from './membership-statement.ts';
import { decodeOutcomes, encodeOutcomes } from './outcome.ts';
import { decodePeerMessage, encodePeerMessage } from './peer-message.ts';
import type { Decoded } from './reader.ts';
import { decodeRequest, encodeRequest, type RequestContent } from './request.ts';
import { decodeSuccessor, encodeSuccessor } from './successor.ts';
import { decodeValue, encodeValue } from './value.ts';

interface Decoder {
  readonly name: string;
  readonly good: fc.Arbitrary<Uint8Array>;
  readonly decode: (bytes: Uint8Array) => Decoded<unknown>;
  /** Decodes and encodes again; undefined when refused. */
  readonly again: (bytes: Uint8Array) => Uint8Array | undefined;
}

function decoder<T>(
  name: string,
  good: fc.Arbitrary<Uint8Array>,
  decode: (bytes: Uint8Array) => Decoded<T>,
  encode: (thing: T) => Uint8Array,
): Decoder {
  const again = (bytes: Uint8Array): Uint8Array | undefined => {
    const decoded = decode(bytes);
    return decoded.ok ? encode(decoded.value) : undefined;
  };
  return { name, good, decode, again };
}

const signature = bytesOf(64);
const requestBytes = fc.tuple(requestContent, signature).map(([r, s]) => encodeRequest(r, () => s).bytes);
const blockBytes = fc.tuple(blockContent, signature).map(([b, s]) => encodeBlock(b, () => s).bytes);

function headOf(bytes: Uint8Array): Decoded<Head> {
  const decoded = decodeHead(bytes);
  return decoded === undefined ? { ok: false, reason: 'not a head' } : { ok: true, value: decoded };
}

const decoders: readonly Decoder[] = [
  decoder('value', value.map(encodeValue), decodeValue, encodeValue),
  decoder('outcomes', outcomes.map(encodeOutcomes), decodeOutcomes, encodeOutcomes),
  decoder('request', requestBytes, decodeRequest, (r) => encodeRequest(r, () => r.signature).bytes),
  decoder('block', blockBytes, decodeBlock, (b) => encodeBlock(b, () => b.signature).bytes),
  decoder('peer message', peerMessage.map(encodePeerMessage), decodePeerMessage, encodePeerMessage),
  decoder('to a client', replicaToClient.map(encodeReplicaToClient), decodeReplicaToClient, encodeReplicaToClient),
  decoder('head', head.map(encodeHead), headOf, encodeHead),
  decoder(
    'membership statement',
    membershipStatement.map(encodeMembershipStatement),
    decodeMembershipStatement,
    encodeMembershipStatement,
  ),
  decoder('membership body', membershipBody.map(encodeMembershipBody), decodeMembershipBody, encodeMembershipBody),
  decoder('successor', successor.map(encodeSuccessor), decodeSuccessor, encodeSuccessor),
  decoder('proposal', adminProposal.map(encodeAdminProposal), decodeAdminProposal, encodeAdminProposal),
  decoder('epoch state', epochState.map(encodeEpochState), decodeEpochState, encodeEpochState),
  decoder('coin share', coinShare.map(encodeCoinShare), decodeCoinShare, encodeCoinShare),
  decoder('from a client', clientToReplica.map(encodeClientToReplica), decodeClientToReplica, encodeClientToReplica),
];

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe.each(decoders)('$name', ({ good, decode, again }) => {
  test('what is encoded is accepted and comes back the same', () => {
    fc.assert(
      fc.property(good, (bytes) => {
        const encoded = again(bytes);
        expect(encoded && hexOf(encoded)).toBe(hexOf(bytes));
      }),
      { numRuns: 200 },
    );
  });

  test('bent bytes are refused with a reason, or are themselves the one encoding of something', () => {
    let refused = 0;
    fc.assert(
      fc.property(bent(good), (bytes) => {
        const decoded = decode(bytes);
        if (decoded.ok) expect(hexOf(again(bytes) as Uint8Array)).toBe(hexOf(bytes));
        else {
          refused += 1;
          expect(decoded.reason).not.toBe('');
        }
      }),
      { numRuns: 1_500 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  test('random bytes are refused or canonical', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const encoded = again(bytes);
        if (encoded !== undefined) expect(hexOf(encoded)).toBe(hexOf(bytes));
      }),
      { numRuns: 1_000 },
    );
  });

  test('every beginning of an encoding is refused or canonical, at every length', () => {
    fc.assert(
      fc.property(good, (bytes) => {
        for (let length = 0; length < bytes.length; length++) {
          const cut = bytes.subarray(0, length);
          const encoded = again(cut);
          if (encoded !== undefined) expect(hexOf(encoded)).toBe(hexOf(cut));
        }
      }),
      { numRuns: 30 },
    );
  });
});

const content: RequestContent = {
  client: new Uint8Array(32),
  session: { birth: 0, nonce: new Uint8Array(16) },
  number: 1,
  acknowledged: 0,
  operations: [{ name: 'a', input: new Uint8Array() }],
};
const noSignature = (): Uint8Array => new Uint8Array(64);
const reason = (decoded: Decoded<unknown>): string => (decoded.ok ? 'accepted' : decoded.reason);

describe('request', () => {
  const encoded = (change: Partial<RequestContent>): Uint8Array =>
    encodeRequest({ ...content, ...change }, noSignature).bytes;

  test.each<[string, Partial<RequestContent>, RegExp]>([
    ['number 0', { number: 0 }, /counts from 1/],
    ['its own number acknowledged', { number: 4, acknowledged: 4 }, /not below/],
    ['no operation', { operations: [] }, /none/],
    [
      'one operation too many',
      {
        operations: Array.from({ length: limits.requestOperationsMax + 1 }, () => ({
          name: 'a',
          input: new Uint8Array(),
        })),
      },
      /more than/,
    ],
    [
      'more bytes than allowed',
      { operations: [{ name: 'a', input: new Uint8Array(limits.requestSizeBytesMax) }] },
      /bytes/,
    ],
  ])('%s is refused', (_, change, expected) => {
    expect(reason(decodeRequest(encoded(change)))).toMatch(expected);
  });

  test('the largest that fits is accepted', () => {
    const room = limits.requestSizeBytesMax - encoded({}).length;
    const bytes = encoded({ operations: [{ name: 'a', input: new Uint8Array(room) }] });
    expect(bytes.length).toBe(limits.requestSizeBytesMax);
    expect(decodeRequest(bytes).ok).toBe(true);
  });

  test('an unknown version is refused by name', () => {
    const bytes = Uint8Array.from(encoded({}));
    bytes[0] = 2;
    expect(reason(decodeRequest(bytes))).toBe('version: 2 is unknown');
  });

  test.each(['', 'A', '.a', 'a b', 'ä', 'a\0', 'x'.repeat(65)])(
    'the operation name %j is neither made nor taken',
    (name) => {
      expect(() => encoded({ operations: [{ name, input: new Uint8Array() }] })).toThrow(RangeError);
      // The name begins after version, client, birth, nonce, number, acknowledged, count and its own length.
      const at = 1 + 32 + 8 + 16 + 8 + 8 + 2;
      const good = encoded({});
      const latin1 = Buffer.from(name, 'latin1');
      const forged = Buffer.concat([good.subarray(0, at), Buffer.from([latin1.length]), latin1, good.subarray(at + 2)]);
      expect(reason(decodeRequest(forged))).toMatch(/operation name: not/);
    },
  );

  test('fields of a wrong size are not encoded', () => {
    expect(() => encoded({ client: new Uint8Array(31) })).toThrow(RangeError);
    expect(() => encoded({ session: { birth: 0, nonce: new Uint8Array(17) } })).toThrow(RangeError);
    expect(() => encodeRequest(content, () => new Uint8Array(63))).toThrow(RangeError);
  });
});

describe('block', () => {
  test('the digest covers every byte but the signature, and the signature none of them', () => {
    fc.assert(
      fc.property(blockBytes, fc.nat(), (bytes, seed) => {
        const original = decodeBlock(bytes);
        const changed = Buffer.from(bytes);
        const at = seed % bytes.length;
        changed[at] = (changed[at] as number) ^ 1;
        const decoded = decodeBlock(changed);
        if (!original.ok || !decoded.ok) return;
        expect(decoded.value.digest === original.value.digest).toBe(at >= bytes.length - 64);
      }),
      { numRuns: 300 },
    );
  });

  test('more than a block may have is refused before anything is read', () => {
    expect(reason(decodeBlock(new Uint8Array(limits.blockSizeBytesMax + 1)))).toMatch(/bytes/);
  });

  test('a duty kind that is no byte is not encoded', () => {
    const duties = [{ kind: 256, payload: new Uint8Array() }];
    const wrong = { epoch: 0, round: 1, author: 0, timestamp: 0, parents: [], requests: [], duties };
    expect(() => encodeBlock(wrong, noSignature)).toThrow(RangeError);
  });
});

describe('to a client', () => {
  const refused = (words: string): ReplicaToClient => ({
    kind: 'refused',
    requestDigest: '00'.repeat(32) as never,
    code: 'malformed',
    reason: words,
  });

  test.each([
    ['very long', '世'.repeat(5_000)],
    ['cut through the middle of a character', `${'x'.repeat(limits.refusalReasonLengthMax - 1)}🌍`],
    ['with a lone surrogate', 'a\udc00b'],
  ])('a refusal whose words are %s is still understood', (_, words) => {
    const decoded = decodeReplicaToClient(encodeReplicaToClient(refused(words)));
    expect(decoded.ok && decoded.value.kind === 'refused' && decoded.value.reason.length > 2).toBe(true);
  });
});

describe('head', () => {
  const good: Head = {
    serviceId: '11'.repeat(32) as never,
    epoch: 1,
    commitIndex: 2,
    logSize: 3,
    logRoot: '22'.repeat(32) as never,
    stateRoot: '33'.repeat(32) as never,
    checkpoint: '44'.repeat(32) as never,
    timestamp: 4,
  };

  test('every byte but the version is part of what it says', () => {
    const bytes = encodeHead(good);
    for (let at = 0; at < bytes.length; at++) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] as number) ^ 1;
      const decoded = decodeHead(changed);
      if (at === 0) expect(decoded).toBeUndefined();
      else expect(decoded).not.toEqual(good);
    }
  });

  test.each(['commitIndex', 'logSize', 'timestamp'] as const)('a %s beyond the safe integers is not one', (field) => {
    const bytes = encodeHead({ ...good, [field]: Number.MAX_SAFE_INTEGER });
    expect(decodeHead(bytes)?.[field]).toBe(Number.MAX_SAFE_INTEGER);
    const at = { commitIndex: 37, logSize: 45, timestamp: 149 }[field];
    expect(bytes[at + 1]).toBe(0x1f);
    bytes[at + 1] = 0x20;
    expect(decodeHead(bytes)).toBeUndefined();
    for (const odd of [-1, 0.5, Number.NaN, 2 ** 53])
      expect(() => encodeHead({ ...good, [field]: odd })).toThrow(RangeError);
  });

  test('a digest in capitals or of another length is not encoded', () => {
    for (const odd of ['AA'.repeat(32), 'aa'.repeat(31), `${'aa'.repeat(32)}\n`]) {
      expect(() => encodeHead({ ...good, logRoot: odd as never })).toThrow(RangeError);
    }
  });
});
