/**
 * What somebody tries who wants a lie believed: other keys, points that are none, parts of true documents put together,
 * statements that the service signed for something else, and input that is no document at all.
 */
import { bls12_381 } from '@noble/curves/bls12-381.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bent } from '../../test/arbitraries.ts';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { limits } from '../wire/limits.ts';
import { encodeOutcomes } from '../wire/outcome.ts';
import { encodeValue } from '../wire/value.ts';
import { checkReplyDocument } from './check-document.ts';
import { bytesOfHex, hexOfBytes } from './hex.ts';
import { clientKey, makeRequest, membershipDocument, rootOf, SampleLog, SecretKey } from './testing/documents.ts';
import { rememberingPrimitives } from './testing/remembering-primitives.ts';
import {
  type CompareOptions,
  type DocumentVerdict,
  verifyCertifiedHead,
  verifyCertifiedMembership,
  verifyCertifiedReply,
  verifyConsistency,
  verifyDocument,
} from './verify.ts';

const log = new SampleLog(11);
const { serviceKey } = log.key;
const reply = log.replyDocument(4);

const codeOf = (verdict: { readonly ok: true } | Extract<DocumentVerdict, { readonly ok: false }>): string =>
  verdict.ok ? 'proven' : verdict.reason.code;

// ── points ──

const { Fp, Fp2 } = bls12_381.fields;
const fieldHex = (x: bigint, size: number): string => x.toString(16).padStart(2 * size, '0');
/** With the bit that says it is compressed. */
const compressed = (hex: string): string => (Number.parseInt(hex.slice(0, 2), 16) | 0x80).toString(16) + hex.slice(2);

/** Compressed points of the curves with the smallest x: hardly one of them is of the subgroup. */
function smallPoints(group: 'G1' | 'G2'): readonly string[] {
  const points: string[] = [];
  for (let x = 1n; points.length < 4; x++) {
    const isOnCurve =
      group === 'G1'
        ? isSquare(() => Fp.sqrt(Fp.add(Fp.pow(x, 3n), 4n)))
        : isSquare(() => Fp2.sqrt(Fp2.add(Fp2.pow(Fp2.create({ c0: x, c1: 0n }), 3n), Fp2.create({ c0: 4n, c1: 4n }))));
    if (isOnCurve) points.push(compressed(fieldHex(x, group === 'G1' ? 48 : 96)));
  }
  return points;
}

function isSquare(root: () => unknown): boolean {
  try {
    root();
    return true;
  } catch {
    return false;
  }
}

const zero = (sizeBytes: number): string => `c0${'00'.repeat(sizeBytes - 1)}`;
const modulus = Fp.ORDER;

describe('the service key', () => {
  test.each<[string, unknown]>([
    ['zero', zero(96)],
    ['zero with the sign set', `e0${'00'.repeat(95)}`],
    ['zero bytes', '00'.repeat(96)],
    ['not on the curve', `80${'00'.repeat(94)}03`],
    ...smallPoints('G2').map((point) => ['of the curve, not of the subgroup', point] as [string, unknown]),
    ['with a coordinate as large as the modulus', compressed(fieldHex(modulus, 48) + '00'.repeat(48))],
    ['without the bit for compressed', fieldHex(BigInt(`0x${serviceKey}`) & ((1n << 767n) - 1n), 96)],
    ['a signature', reply.signature],
    ['in upper case', serviceKey.toUpperCase()],
    ['with a line end', `${serviceKey}\n`],
    ['empty', ''],
    ['no text', 7],
    ['missing', undefined],
    ['null', null],
    ['bytes', bytesOfHex(serviceKey)],
  ])('%s is none', (_, key) => {
    for (const verify of [verifyCertifiedReply, verifyDocument]) {
      expect(codeOf(verify(reply, key as string))).toBe('service-key');
    }
    expect(codeOf(verifyCertifiedHead(log.headDocument(), key as string))).toBe('service-key');
    expect(codeOf(verifyCertifiedMembership(membershipDocument(log.key), key as string))).toBe('service-key');
  });

  test('of another service has signed none of this', () => {
    const { serviceKey: other } = new SecretKey(99);
    expect(codeOf(verifyCertifiedReply(reply, other))).toBe('signature');
    expect(codeOf(verifyCertifiedHead(log.headDocument(), other))).toBe('signature');
    expect(codeOf(verifyCertifiedMembership(membershipDocument(log.key), other))).toBe('signature');
  });
});

describe('the signature', () => {
  test.each<[string, string]>([
    ['zero', zero(48)],
    ['zero bytes', '00'.repeat(48)],
    ['the generator', bls12_381.G1.Point.BASE.toHex(true)],
    ...smallPoints('G1').map((point) => ['of the curve, not of the subgroup', point] as [string, string]),
    ['with a coordinate as large as the modulus', compressed(fieldHex(modulus, 48))],
    ['the negative', bls12_381.G1.Point.fromHex(reply.signature).negate().toHex(true)],
    ['of another head', log.headDocument(5).signature],
    ['of the membership', membershipDocument(log.key).signature],
  ])('%s is not the one of the head', (_, signature) => {
    expect(codeOf(verifyCertifiedReply({ ...reply, signature }, serviceKey))).toBe('signature');
    expect(codeOf(verifyCertifiedHead({ ...log.headDocument(), signature }, serviceKey))).toBe('signature');
  });

  test('of a head is not one of a membership', () => {
    const document = { ...membershipDocument(log.key), signature: reply.signature };
    expect(codeOf(verifyCertifiedMembership(document, serviceKey))).toBe('signature');
  });
});

describe('true parts that do not belong together', () => {
  const other = log.replyDocument(7);

  test.each<[string, object, string]>([
    ['the request of another reply', { request: other.request }, 'inclusion'],
    ['the result of another reply', { result: other.result }, 'inclusion'],
    ['the place of another reply', { leafIndex: other.leafIndex }, 'inclusion'],
    ['the path of another reply', { inclusionPath: other.inclusionPath }, 'inclusion'],
    ['another head', { head: log.head(7), signature: log.headDocument(7).signature }, 'inclusion'],
    ['a head before the request', { head: log.head(3), signature: log.headDocument(3).signature }, 'inclusion'],
    ['an interior hash as a leaf', { leafIndex: 1, inclusionPath: reply.inclusionPath.slice(2) }, 'inclusion'],
  ])('%s', (_, change, code) => {
    expect(codeOf(verifyCertifiedReply({ ...reply, ...change }, serviceKey))).toBe(code);
  });

  test('a reply is no head, and a head no membership', () => {
    expect(codeOf(verifyCertifiedHead(reply, serviceKey))).toBe('document');
    expect(codeOf(verifyCertifiedMembership(log.headDocument(), serviceKey))).toBe('document');
    expect(codeOf(verifyCertifiedReply({ ...reply, version: 2 }, serviceKey))).toBe('document');
    expect(codeOf(verifyDocument({ ...reply, coterie: 'certified' }, serviceKey))).toBe('document');
  });
});

describe('what f + 1 faulty replicas could put into a log, and is refused all the same', () => {
  const operations = [{ name: 'put', input: encodeValue('a') }];

  function certified(change: (own: SampleLog) => void): unknown {
    const own = new SampleLog(0);
    change(own);
    return own.replyDocument(0);
  }

  test('a result of fewer outcomes, and of more', () => {
    for (const outcomes of [[], Array.from({ length: 2 }, () => ({ ok: true as const, value: 1 }))]) {
      expect(
        codeOf(
          verifyCertifiedReply(
            certified((own) => own.append(operations, outcomes)),
            serviceKey,
          ),
        ),
      ).toBe('result');
    }
  });

  test('a request that its client did not sign for this service', () => {
    const request = makeRequest(1, operations);
    const foreign = signingKeyFromSeed(new Uint8Array(32).fill(8));
    const bytes = Uint8Array.from(request.bytes);
    bytes.set(foreign.publicKey.bytes, 1);
    const swapped = { ...certifiedOf(operations), request: hexOfBytes(bytes) };
    expect(codeOf(verifyCertifiedReply(swapped, serviceKey))).toBe('request');
  });

  test('a head of an earlier commit than its own leaf', () => {
    const document = certifiedOf(operations);
    const head = { ...document.head, commitIndex: 0 };
    const signature = hexOfBytes(log.key.signHead(head));
    expect(codeOf(verifyCertifiedReply({ ...document, head, signature }, serviceKey))).toBe('inclusion');
  });

  function certifiedOf(list: typeof operations) {
    const own = new SampleLog(0);
    own.append(list, [{ ok: true, value: null }], clientKey);
    return own.replyDocument(0);
  }
});

describe('a head seen before', () => {
  const forked = new SampleLog(11, log.key, 'forged');
  const codeWith = (options: CompareOptions): string => codeOf(verifyCertifiedReply(reply, serviceKey, options));
  const lastHead = log.headDocument(6);
  const consistencyPath = log.consistencyPath(6);

  test('of another log with the same key', () => {
    for (let size = 1; size <= forked.size; size++) {
      const last = forked.headDocument(size);
      for (const path of [log.consistencyPath(size), forked.consistencyPath(size)]) {
        const options = { lastHead: last, consistencyPath: path };
        expect(codeWith(options)).toBe('consistency');
        expect(codeOf(verifyCertifiedHead(log.headDocument(), serviceKey, options))).toBe('consistency');
      }
    }
  });

  test('and a proof with one bit changed, cut, longer, or left out', () => {
    expect(codeWith({ lastHead, consistencyPath })).toBe('proven');
    for (const [i, hash] of consistencyPath.entries()) {
      const bytes = bytesOfHex(hash);
      bytes[i] = (bytes[i] as number) ^ 1;
      expect(codeWith({ lastHead, consistencyPath: consistencyPath.with(i, hexOfBytes(bytes) as never) })).toBe(
        'consistency',
      );
    }
    const [first = ''] = consistencyPath;
    for (const path of [consistencyPath.slice(1), consistencyPath.slice(0, -1), [...consistencyPath, first], [], 'x']) {
      expect(codeWith({ lastHead, consistencyPath: path })).toBe('consistency');
    }
    expect(codeWith({ lastHead })).toBe('consistency');
  });

  test('that the service did not sign', () => {
    for (const last of [{ ...lastHead, signature: reply.signature }, reply, 'x', null, 7]) {
      expect(codeWith({ lastHead: last, consistencyPath })).toBe('consistency');
    }
  });

  test('of the same commit and another state, or of a later commit and an earlier time', () => {
    const { head } = reply;
    const empty = rootOf([]);
    for (const change of [
      { stateRoot: empty },
      { timestamp: head.timestamp - 1 },
      { timestamp: head.timestamp + 1 },
      { epoch: 1, commitIndex: head.commitIndex - 1 },
      { serviceId: empty },
    ]) {
      const last = { ...head, ...change };
      const document = { ...lastHead, head: last, signature: hexOfBytes(log.key.signHead(last)) };
      expect(codeWith({ lastHead: document, consistencyPath: [] })).toBe('consistency');
    }
  });
});

describe('input that is no document', () => {
  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a number', 7],
    ['a list', [reply]],
    ['a function', () => reply],
    ['empty text', ''],
    ['text that is not JSON', 'certified reply'],
    ['JSON of something else', '"certified reply"'],
    ['two documents', `${JSON.stringify(reply)}${JSON.stringify(reply)}`],
    ['a byte order mark', `\ufeff${JSON.stringify(reply)}`],
    ['a field twice', JSON.stringify(reply).replace('{', '{"result":"00",')],
    ['a field twice, deep inside', JSON.stringify(reply).replace('"head":{', '"head":{"logSize":1,')],
    ['a field twice, once with escapes', JSON.stringify(reply).replace('{', '{"resul\\u0074":"00",')],
    ['deep nesting', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['deep nesting in a field', JSON.stringify(reply).replace('"head":{', `"head":${'{"a":'.repeat(5_000)}{`)],
    ['too large', JSON.stringify({ ...reply, request: '00'.repeat(limits.documentLengthMax) })],
    ['too many fields', Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [i, i]))],
    ['an object that throws', new Proxy({}, { ownKeys: () => fail(), get: () => fail() })],
    [
      'an object whose fields throw',
      {
        ...reply,
        coterie: reply.coterie,
        get result() {
          return fail();
        },
      },
    ],
    ['a list of hashes that throws', { ...reply, coterie: 'x', inclusionPath: new Proxy([], { get: () => fail() }) }],
  ])('%s', (_, document) => {
    expect(codeOf(verifyCertifiedReply(document, serviceKey))).toBe('document');
    expect(codeOf(verifyDocument(document, serviceKey))).toBe('document');
  });

  test('a list of hashes that throws, in an otherwise good document', () => {
    const inclusionPath = new Proxy([], { get: () => fail() });
    expect(codeOf(verifyCertifiedReply({ ...reply, inclusionPath }, serviceKey))).toBe('inclusion');
  });

  test('a field that is good when looked at first, and another later', () => {
    let reads = 0;
    const document = {
      ...reply,
      get result() {
        reads += 1;
        return reads === 1 ? reply.result : hexOfBytes(encodeOutcomes([{ ok: true, value: 'forged' }]));
      },
    };
    const verdict = verifyCertifiedReply(document, serviceKey);
    expect(verdict.ok && verdict.reply.operations[0]?.outcome).toEqual({ ok: true, value: { version: 4 } });
  });

  test('anything at all', () => {
    fc.assert(
      fc.property(fc.anything(), (document) => {
        expect(codeOf(verifyDocument(document, serviceKey))).toBe('document');
        expect(codeOf(verifyConsistency(document, document, document))).toMatch(/^(consistency|head)$/);
      }),
      { numRuns: 300 },
    );
  });

  test('text bent at random, which is refused unless it says the same', () => {
    const primitives = rememberingPrimitives();
    const good = Buffer.from(JSON.stringify(reply));
    const proven = JSON.stringify(checkReplyDocument(reply, serviceKey, {}, primitives));
    fc.assert(
      fc.property(bent(fc.constant(good)), (bytes) => {
        const verdict = checkReplyDocument(Buffer.from(bytes).toString('latin1'), serviceKey, {}, primitives);
        if (verdict.ok) expect(JSON.stringify(verdict)).toBe(proven);
        else expect(verdict.reason.sentence).toMatch(/^[a-z].*[^.]$/);
      }),
      { numRuns: 1_000 },
    );
  });
});

function fail(): never {
  throw new Error('made to fail');
}
