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
const state = log.stateDocument('key-4');
const absent = log.stateDocument('nothing');
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
const stateDocument = state as unknown as Json;
const absentDocument = absent as unknown as Json;
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
  ...headFields('state', stateDocument),
  { kind: 'state', document: stateDocument, path: 'key', changed: ['state'], malformed: 'state' },
  { kind: 'state', document: stateDocument, path: 'value', changed: ['state'], malformed: 'state' },
  { kind: 'state', document: stateDocument, path: 'proof', changed: ['state'], malformed: 'state' },
  { kind: 'state of an absent key', document: absentDocument, path: 'proof', changed: ['state'], malformed: 'state' },
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
  for (const document of [reply, head, state, absent, membership]) {
    expect(codesOf(document as unknown as Json)).toEqual(['proven']);
  }
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
    { kind: 'state', document: stateDocument, path: `head.${name}`, changed: 'signature', malformed: 'head' },
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
    ...Object.keys(state).map((name) => ['state', name, stateDocument, 'document'] as const),
    ...Object.keys(membership).map((name) => ['membership', name, membershipJson, 'document'] as const),
    ...Object.keys(head.head).map((name) => ['head', `head.${name}`, headDocument, 'head'] as const),
  ])('%s without %s', (_, path, document, code) => {
    expect(codesOf(withoutMember(document, path))).toEqual([code]);
  });

  test.each([
    ['reply', 'note', replyDocument, 'document'],
    ['head', 'toString', headDocument, 'document'],
    ['state', 'present', stateDocument, 'document'],
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

describe('a state', () => {
  test('with its value left out, and an absent key with a value', () => {
    expect(codesOf({ ...state, value: null })).toEqual(['state']);
    expect(codesOf({ ...absent, value: state.value })).toEqual(['state']);
  });

  test('with the key, the value or the proof of another', () => {
    const other = log.stateDocument('key-5');
    for (const name of ['key', 'value', 'proof'] as const) {
      expect(codesOf({ ...state, [name]: other[name] })).toEqual(name === 'proof' ? codesOfProof(other) : ['state']);
    }
    expect(codesOf({ ...absent, key: other.key })).toEqual(['state']);
  });

  test('with the proof of another head', () => {
    const earlier = log.stateDocument('key-4', 3);
    expect(earlier.value).toBe(state.value);
    expect(codesOf({ ...state, proof: earlier.proof })).toEqual(['state']);
    expect(codesOf({ ...state, head: earlier.head })).toEqual(['signature']);
    expect(codesOf({ ...state, head: earlier.head, signature: earlier.signature })).toEqual(['state']);
  });

  test('whose key or value is in another form than the one', () => {
    const hex = (text: string): string => Buffer.from(text).toString('hex');
    // CESU-8, an overlong form, a byte order mark: no UTF-8 of this key.
    const [cesu8, overlong] = ['eda0bcedbc8d', 'c1ab'];
    for (const key of [cesu8, overlong, `efbbbf${state.key}`, hex('KEY-4')]) {
      expect(codesOf({ ...state, key })).toEqual(['state']);
    }
    expect(codesOf({ ...absent, key: '00'.repeat(1_025) })).toEqual(['state']);
    expect(codesOf({ ...state, proof: '00'.repeat(40 * 1_024 + 1) })).toEqual(['state']);
  });
});

/** Keys in one bucket have one proof. */
function codesOfProof({ proof }: { readonly proof: string }): readonly string[] {
  return proof === state.proof ? ['proven'] : ['state'];
}
