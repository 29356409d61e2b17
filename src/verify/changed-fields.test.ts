/**
 * Every field of every kind of document, changed in every way there is: each change is refused, and the code names what is
 * wrong. One bit of each byte is flipped; the bit goes round with the place.
 */
import { describe, expect, test } from 'vitest';
import { checkAnyDocument } from './check-document.ts';
import type { ReasonCode } from './refusal.ts';
import { membershipDocument, SampleLog } from './testing/documents.ts';
import { rememberingPrimitives } from './testing/remembering-primitives.ts';

const primitives = rememberingPrimitives();
const log = new SampleLog(11);
const { serviceKey } = log.key;
const reply = log.replyDocument(4);
const head = log.headDocument();
const membership = membershipDocument(log.key);

type Json = Readonly<Record<string, unknown>>;

function codeOf(document: unknown): ReasonCode | 'proven' {
  const verdict = checkAnyDocument(document, serviceKey, {}, primitives);
  return verdict.ok ? 'proven' : verdict.reason.code;
}

/** The codes that a document is refused with, as an object and as text. */
function codesOf(document: Json): readonly string[] {
  return [...new Set([codeOf(document), codeOf(JSON.stringify(document))])];
}

/** The document with the member at a path, as `head.logRoot`, put in place of what was there. */
function withMember(document: Json, path: string, value: unknown): Json {
  const [first = '', ...rest] = path.split('.');
  const inner = rest.length === 0 ? value : withMember(document[first] as Json, rest.join('.'), value);
  if (Array.isArray(document)) return document.with(Number(first), inner) as unknown as Json;
  return { ...document, [first]: inner };
}

function withoutMember(document: Json, path: string): Json {
  const [first = '', ...rest] = path.split('.');
  if (rest.length > 0) {
    return { ...document, [first]: withoutMember(document[first] as Json, rest.join('.')) };
  }
  const { [first]: _gone, ...others } = document;
  return others;
}

function memberOf(document: Json, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (value as Json)[name], document);
}

function flipped(hex: string, byte: number, bit: number): string {
  const bytes = Buffer.from(hex, 'hex');
  bytes[byte] = (bytes[byte] as number) ^ (1 << bit);
  return bytes.toString('hex');
}

interface HexField {
  readonly kind: string;
  readonly document: Json;
  readonly path: string;
  /** Codes when the bytes are others. */
  readonly changed: readonly ReasonCode[];
  /** Code when there is no such field of bytes. */
  readonly malformed: ReasonCode;
}

const headFields = (kind: string, document: Json): readonly HexField[] => [
  ...['serviceId', 'logRoot', 'stateRoot', 'checkpoint'].map((name) => ({
    kind,
    document,
    path: `head.${name}`,
    changed: ['signature'] as const,
    malformed: 'head' as const,
  })),
  { kind, document, path: 'signature', changed: ['signature'], malformed: 'signature' },
];

const replyDocument = reply as unknown as Json;
const headDocument = head as unknown as Json;
const membershipJson = membership as unknown as Json;

const hexFields: readonly HexField[] = [
  ...headFields('reply', replyDocument),
  { kind: 'reply', document: replyDocument, path: 'request', changed: ['request'], malformed: 'request' },
  { kind: 'reply', document: replyDocument, path: 'result', changed: ['result', 'inclusion'], malformed: 'result' },
  ...reply.inclusionPath.map((_, i) => ({
    kind: 'reply',
    document: replyDocument,
    path: `inclusionPath.${i}`,
    changed: ['inclusion'] as const,
    malformed: 'inclusion' as const,
  })),
  ...headFields('head', headDocument),
  {
    kind: 'membership',
    document: membershipJson,
    path: 'statement',
    changed: ['membership', 'signature'],
    malformed: 'membership',
  },
  {
    kind: 'membership',
    document: membershipJson,
    path: 'signature',
    changed: ['signature'],
    malformed: 'signature',
  },
];

test('all of them are proven as they are', () => {
  expect([reply, head, membership].map((document) => codesOf(document as unknown as Json))).toEqual([
    ['proven'],
    ['proven'],
    ['proven'],
  ]);
});

describe.each(hexFields)('$path of a $kind', ({ document, path, changed, malformed }) => {
  const hex = memberOf(document, path) as string;

  test('with a bit of any byte flipped', () => {
    const found = new Set<string>();
    // Of the long statement a part, as each costs a pairing. Eleven, so that all bits have their turn.
    const step = hex.length > 1_000 ? 11 : 1;
    for (let byte = 0; byte < hex.length / 2; byte += step) {
      found.add(codeOf(withMember(document, path, flipped(hex, byte, byte % 8))));
    }
    expect(found.size).toBeGreaterThan(0);
    expect(changed).toEqual(expect.arrayContaining([...found]));
  });

  test('a byte shorter, a byte longer', () => {
    for (const other of [hex.slice(2), hex.slice(0, -2), `${hex}00`, `00${hex}`]) {
      for (const code of codesOf(withMember(document, path, other))) expect(code).toBe(malformed);
    }
  });

  test.each<[string, unknown]>([
    ['in upper case', /[a-f]/.test(hex) ? hex.toUpperCase() : `${hex.slice(1)}A`],
    ['with half a byte more', `${hex}0`],
    ['with a character that is not hex', `${hex.slice(0, -1)}g`],
    ['with 0x before it', `0x${hex}`],
    ['with a blank', `${hex.slice(0, -1)} `],
    ['empty', ''],
    ['a number', 7],
    ['null', null],
    ['a list of it', [hex]],
    ['an object', {}],
  ])('%s', (_, value) => {
    expect(codesOf(withMember(document, path, value))).toEqual([malformed]);
  });
});

describe.each([
  ...['epoch', 'commitIndex', 'logSize', 'timestamp'].flatMap((name) => [
    { kind: 'reply', document: replyDocument, path: `head.${name}`, changed: 'signature', malformed: 'head' },
    { kind: 'head', document: headDocument, path: `head.${name}`, changed: 'signature', malformed: 'head' },
  ]),
  ...['commitIndex', 'leafIndex'].map((path) => ({
    kind: 'reply',
    document: replyDocument,
    path,
    changed: 'inclusion',
    malformed: 'inclusion',
  })),
])('$path of a $kind', ({ document, path, changed, malformed }) => {
  const number = memberOf(document, path) as number;

  test('another number', () => {
    const epochMax = 0xffff_ffff;
    const huge = path === 'head.epoch' ? epochMax : Number.MAX_SAFE_INTEGER;
    const others = [number + 1, number - 1, 0, number + 8, huge].filter((other) => other !== number && other >= 0);
    for (const other of others) expect(codesOf(withMember(document, path, other))).toEqual([changed]);
  });

  test.each<[string, unknown]>([
    ['below zero', -1],
    ['minus zero', -0],
    ['a fraction', number + 0.5],
    ['not safe', 2 ** 53],
    ['text', String(number)],
    ['null', null],
    ['true', true],
    ['a list', [number]],
  ])('%s', (_, value) => {
    expect(codeOf(withMember(document, path, value))).toBe(malformed);
  });

  test('as JSON that is beyond a number', () => {
    const text = JSON.stringify(withMember(document, path, 'HERE'));
    for (const written of ['1e999', '-1', '0.5', '9007199254740992', '123456789012345678901234567890']) {
      expect(codeOf(text.replace('"HERE"', written))).toBe(malformed);
    }
    expect(codeOf(text.replace('"HERE"', '07'))).toBe('document');
  });
});

test('an epoch that would be the same in 32 bits', () => {
  expect(codesOf(withMember(headDocument, 'head.epoch', 2 ** 32))).toEqual(['head']);
});

describe('fields that are not there, and fields that should not be', () => {
  test.each([
    ...Object.keys(reply).map((name) => ['reply', name, replyDocument, 'document'] as const),
    ...Object.keys(head).map((name) => ['head', name, headDocument, 'document'] as const),
    ...Object.keys(membership).map((name) => ['membership', name, membershipJson, 'document'] as const),
    ...Object.keys(head.head).map((name) => ['head', `head.${name}`, headDocument, 'head'] as const),
  ])('%s without %s', (_, path, document, code) => {
    expect(codesOf(withoutMember(document, path))).toEqual([code]);
  });

  test.each([
    ['reply', 'note', replyDocument, 'document'],
    ['head', 'toString', headDocument, 'document'],
    ['membership', '', membershipJson, 'document'],
    ['head', 'head.note', headDocument, 'head'],
  ] as const)('%s with %s', (_, path, document, code) => {
    expect(codesOf(withMember(document, path, 'x'))).toEqual([code]);
  });

  test('a prototype is no field', () => {
    expect(codeOf(JSON.stringify(head).replace('"head":', '"__proto__":'))).toBe('document');
    expect(codeOf(Object.create(head))).toBe('document');
  });
});

describe('the path of hashes', () => {
  const path = reply.inclusionPath;
  test.each<[string, unknown]>([
    ['without its first', path.slice(1)],
    ['without its last', path.slice(0, -1)],
    ['empty', []],
    ['with one more at the end', [...path, path[0]]],
    ['with one more at the beginning', [path[0], ...path]],
    ['the wrong way round', path.toReversed()],
    ['of 65', Array.from({ length: 65 }, () => path[0])],
    ['with a hole', [path[0], undefined, path[2]]],
    ['text', path.join('')],
    ['an object', { 0: path[0], length: 1 }],
    ['with a list in it', [[path[0]]]],
  ])('%s', (_, inclusionPath) => {
    expect(codeOf({ ...reply, inclusionPath })).toBe('inclusion');
  });
});
