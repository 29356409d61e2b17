/** Shows what the entry proves of good documents. */
import { describe, expect, test } from 'vitest';
import { encodeValue } from '../wire/value.ts';
import { clientKey, membershipDocument, SampleLog, statement } from './testing/documents.ts';
import {
  verifyCertifiedHead,
  verifyCertifiedMembership,
  verifyCertifiedReply,
  verifyConsistency,
  verifyDocument,
} from './verify.ts';

const log = new SampleLog(11);
const { serviceKey } = log.key;

describe('a certified reply', () => {
  test('says who asked what, what came out, where and by when', () => {
    const verdict = verifyCertifiedReply(log.replyDocument(4), serviceKey);
    expect(verdict).toEqual({
      ok: true,
      reply: {
        serviceId: log.head().serviceId,
        client: clientKey.publicKey.text,
        requestDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
        operations: [
          { name: 'put', input: { key: 'key-4', value: 'value' }, outcome: { ok: true, value: { version: 4 } } },
        ],
        commitIndex: 3,
        timestamp: log.head().timestamp,
        leafIndex: 4,
        head: log.head(),
        certifiedHead: log.headDocument(),
      },
    });
  });

  test('of every place in logs of every size up to eleven is proven, as an object and as text', () => {
    for (let size = 1; size <= log.size; size++) {
      const leafIndex = (size * 7) % size;
      const document = log.replyDocument(leafIndex, size);
      expect(verifyCertifiedReply(document, serviceKey).ok).toBe(true);
      expect(verifyCertifiedReply(JSON.stringify(document, undefined, 2), serviceKey).ok).toBe(true);
    }
  });

  test('of several operations, refused ones and one whose input is no value', () => {
    const own = new SampleLog(3);
    own.append(
      [
        { name: 'get', input: encodeValue('a') },
        { name: 'cas', input: encodeValue([1, null]) },
        { name: 'put', input: Uint8Array.of(99) },
      ],
      [
        { ok: true, value: Uint8Array.of(1, 2) },
        { ok: false, code: 'version-mismatch', message: 'it is 4' },
        { ok: false, code: 'invalid-input', message: 'not a value' },
      ],
    );
    const verdict = verifyCertifiedReply(own.replyDocument(3), serviceKey);
    expect(verdict.ok && verdict.reply.operations).toEqual([
      { name: 'get', input: 'a', outcome: { ok: true, value: Uint8Array.of(1, 2) } },
      { name: 'cas', input: [1, null], outcome: { ok: false, code: 'version-mismatch', message: 'it is 4' } },
      { name: 'put', input: undefined, outcome: { ok: false, code: 'invalid-input', message: 'not a value' } },
    ]);
  });
});

test('a certified head', () => {
  expect(verifyCertifiedHead(log.headDocument(7), serviceKey)).toEqual({
    ok: true,
    head: log.head(7),
    certifiedHead: log.headDocument(7),
  });
});

test('a certified membership', () => {
  expect(verifyCertifiedMembership(membershipDocument(log.key), serviceKey)).toEqual({
    ok: true,
    membership: statement,
  });
});

test('a document of any kind', () => {
  const kinds = [log.replyDocument(1), log.headDocument(), JSON.stringify(membershipDocument(log.key))].map(
    (document) => {
      const verdict = verifyDocument(document, serviceKey);
      return verdict.ok && verdict.kind;
    },
  );
  expect(kinds).toEqual(['reply', 'head', 'membership']);
});

describe('with a head seen before', () => {
  test.each([
    ['an earlier one', 3, 11],
    ['a later one', 11, 3],
    ['the same one', 8, 8],
  ])('%s', (_, lastSize, size) => {
    const lastHead = log.headDocument(lastSize);
    const consistencyPath = log.consistencyPath(Math.min(size, lastSize), Math.max(size, lastSize));
    expect(verifyCertifiedReply(log.replyDocument(2, size), serviceKey, { lastHead, consistencyPath }).ok).toBe(true);
    expect(verifyCertifiedHead(log.headDocument(size), serviceKey, { lastHead, consistencyPath }).ok).toBe(true);
  });

  test('two heads alone', () => {
    expect(verifyConsistency(log.head(4), log.head(9), log.consistencyPath(4, 9))).toEqual({ ok: true });
    const refused = verifyConsistency(log.head(9), log.head(4), log.consistencyPath(4, 9));
    expect(refused).toMatchObject({ ok: false, reason: { code: 'consistency' } });
  });
});
