/**
 * Read document: a document of unknown origin, as text or as an object, to the fields it must have, exactly.
 *
 * Refused: text that is too large or names a field twice, a missing or an unknown field, hex of another length or in
 * upper case, a number that is not a safe integer. So there is little that two readers could read differently.
 * Errors: throws a `Refusal`, and nothing else, even for an object made to fail.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { documentKinds, documentVersion } from './document.ts';
import { bytesOfHex, isHex } from './hex.ts';
import { demand, type ReasonCode, Refusal } from './refusal.ts';

export interface ReadHead {
  readonly head: Head;
  readonly signature: Uint8Array;
}

export interface ReadReply extends ReadHead {
  readonly request: Uint8Array;
  readonly result: Uint8Array;
  readonly commitIndex: number;
  readonly leafIndex: number;
  readonly inclusionPath: readonly Uint8Array[];
}

export interface ReadState extends ReadHead {
  readonly key: string;
  /** Undefined when there is said to be no such key. */
  readonly value: Uint8Array | undefined;
  readonly proof: Uint8Array;
}

export interface ReadMembershipDocument {
  readonly statement: Uint8Array;
  readonly signature: Uint8Array;
}

type Fields = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const signatureSizeBytes = 48;
const serviceKeySizeBytes = 96;
const hashSizeBytes = 32;
const fieldsMax = 16;
const headFields = [
  'serviceId',
  'epoch',
  'commitIndex',
  'logSize',
  'logRoot',
  'stateRoot',
  'checkpoint',
  'timestamp',
] as const;

export function readReplyDocument(document: unknown): ReadReply {
  const fields = contentOf(document, documentKinds.reply, [
    'request',
    'result',
    'commitIndex',
    'leafIndex',
    'inclusionPath',
    'head',
    'signature',
  ]);
  return {
    request: variableBytes(fields.request, limits.requestSizeBytesMax, 'request', 'request'),
    result: variableBytes(fields.result, limits.resultSizeBytesMax, 'result', 'result'),
    commitIndex: wholeNumber(fields.commitIndex, 'inclusion', 'commitIndex'),
    leafIndex: wholeNumber(fields.leafIndex, 'inclusion', 'leafIndex'),
    inclusionPath: readPath(fields.inclusionPath, 'inclusion', 'inclusionPath'),
    head: readHead(fields.head),
    signature: fixedBytes(fields.signature, signatureSizeBytes, 'signature', 'signature'),
  };
}

export function readHeadDocument(document: unknown): ReadHead {
  const fields = contentOf(document, documentKinds.head, ['head', 'signature']);
  return {
    head: readHead(fields.head),
    signature: fixedBytes(fields.signature, signatureSizeBytes, 'signature', 'signature'),
  };
}

export function readStateDocument(document: unknown): ReadState {
  const fields = contentOf(document, documentKinds.state, ['key', 'value', 'proof', 'head', 'signature']);
  const { value } = fields;
  return {
    key: readKey(variableBytes(fields.key, limits.stateKeySizeBytesMax, 'state', 'key')),
    value: value === null ? undefined : variableBytes(value, limits.stateValueSizeBytesMax, 'state', 'value'),
    proof: variableBytes(fields.proof, limits.stateProofSizeBytesMax, 'state', 'proof'),
    head: readHead(fields.head),
    signature: fixedBytes(fields.signature, signatureSizeBytes, 'signature', 'signature'),
  };
}

export function readMembershipDocument(document: unknown): ReadMembershipDocument {
  const fields = contentOf(document, documentKinds.membership, ['statement', 'signature']);
  return {
    statement: variableBytes(fields.statement, limits.statementSizeBytesMax, 'membership', 'statement'),
    signature: fixedBytes(fields.signature, signatureSizeBytes, 'signature', 'signature'),
  };
}

/** The fields of a document, from its text or as they are; may be given to the functions above. */
export function fieldsOfDocument(document: unknown): Fields {
  const json = typeof document === 'string' ? parseText(document) : document;
  const fields = fieldsOf(json);
  demand(fields !== undefined, 'document', 'the document is not a JSON object');
  return fields;
}

/** The kind that a document says it is of; undefined when it is of none that we know. */
export function kindOfDocument({ coterie }: Fields): keyof typeof documentKinds | undefined {
  return (Object.keys(documentKinds) as (keyof typeof documentKinds)[]).find((kind) => documentKinds[kind] === coterie);
}

/** A service key of 192 hex characters. */
export function readServiceKey(serviceKey: unknown): Uint8Array {
  return fixedBytes(serviceKey, serviceKeySizeBytes, 'service-key', 'the service key');
}

/** A list of hashes. */
export function readPath(path: unknown, code: ReasonCode, name: string): readonly Uint8Array[] {
  const items = itemsOf(path);
  demand(items !== undefined, code, `${name} is not a list of at most ${limits.proofHashesMax} hashes`);
  return items.map((item) => fixedBytes(item, hashSizeBytes, code, `a hash of ${name}`));
}

/** A head in the form that documents have it in. */
export function readHead(value: unknown): Head {
  const fields = exactFields(value, headFields, 'head', 'the head');
  const digest = (name: (typeof headFields)[number]): Digest => {
    fixedBytes(fields[name], hashSizeBytes, 'head', `${name} of the head`);
    return fields[name] as Digest;
  };
  const number = (name: (typeof headFields)[number]): number =>
    wholeNumber(fields[name], 'head', `${name} of the head`);
  const epoch = number('epoch');
  demand(epoch <= 0xffff_ffff, 'head', 'epoch of the head is too large');
  return {
    serviceId: digest('serviceId'),
    epoch,
    commitIndex: number('commitIndex'),
    logSize: number('logSize'),
    logRoot: digest('logRoot'),
    stateRoot: digest('stateRoot'),
    checkpoint: digest('checkpoint'),
    timestamp: number('timestamp'),
  };
}

/** Text of which these bytes are the UTF-8; there is one form of it only. */
function readKey(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Refusal('state', 'the key is not UTF-8');
  }
}

function contentOf<Name extends string>(document: unknown, kind: string, names: readonly Name[]) {
  const fields = fieldsOfDocument(document);
  demand(fields.coterie === kind, 'document', `this is no document of the kind "${kind}"`);
  demand(fields.version === documentVersion, 'document', `the version of the document is not ${documentVersion}`);
  return exactFields(fields, ['coterie', 'version', ...names], 'document', 'the document');
}

function parseText(text: string): unknown {
  demand(text.length <= limits.documentLengthMax, 'document', 'the document is too large');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Refusal('document', 'the document is not JSON');
  }
  // Of two fields of one name a parser keeps the last, and a person may look at the first. Their quotes give it away.
  const hasRepetition = countQuotes(text) !== quotesOf(json, 0);
  demand(!hasRepetition, 'document', 'the document has a field twice, or text that no field has');
  return json;
}

function countQuotes(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at !== -1; at = text.indexOf('"', at + 1)) count += 1;
  return count;
}

/** Quotes in the text of this JSON, when no text in it has any. */
function quotesOf(json: unknown, depth: number): number {
  if (typeof json === 'string') return 2;
  // No document goes deeper; what does is refused by the count.
  if (typeof json !== 'object' || json === null || depth > 2) return 0;
  let count = Array.isArray(json) ? 0 : 2 * Object.keys(json).length;
  for (const member of Object.values(json)) count += quotesOf(member, depth + 1);
  return count;
}

/**
 * The fields of an object, read once each; undefined when it is none, or too large. The object may be anything: a
 * getter or a proxy may throw, or answer differently when asked again.
 */
function fieldsOf(value: unknown): Fields | undefined {
  try {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const names = Object.keys(value);
    if (names.length > fieldsMax) return undefined;
    return Object.freeze(Object.fromEntries(names.map((name) => [name, (value as Fields)[name]])));
  } catch {
    return undefined;
  }
}

/** As above, for a list. */
function itemsOf(value: unknown): readonly unknown[] | undefined {
  try {
    if (!Array.isArray(value)) return undefined;
    const { length } = value;
    if (length > limits.proofHashesMax) return undefined;
    return Array.from({ length }, (_, i): unknown => value[i]);
  } catch {
    return undefined;
  }
}

function exactFields<Name extends string>(
  value: unknown,
  names: readonly Name[],
  code: ReasonCode,
  what: string,
): Readonly<Record<Name, unknown>> {
  const fields = fieldsOf(value);
  demand(fields !== undefined, code, `${what} is not a JSON object`);
  for (const name of names) demand(Object.hasOwn(fields, name), code, `${what} lacks ${name}`);
  demand(Object.keys(fields).length === names.length, code, `${what} has a field that is not known`);
  return fields as Readonly<Record<Name, unknown>>;
}

function wholeNumber(value: unknown, code: ReasonCode, name: string): number {
  const isWhole = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
  demand(isWhole, code, `${name} is not a whole number`);
  return value as number;
}

function fixedBytes(value: unknown, sizeBytes: number, code: ReasonCode, name: string): Uint8Array {
  const isFitting = typeof value === 'string' && value.length === 2 * sizeBytes && isHex(value);
  demand(isFitting, code, `${name} is not ${2 * sizeBytes} lower-case hex characters`);
  return bytesOfHex(value as string);
}

function variableBytes(value: unknown, sizeBytesMax: number, code: ReasonCode, name: string): Uint8Array {
  const isFitting = typeof value === 'string' && value.length <= 2 * sizeBytesMax && isHex(value);
  demand(isFitting, code, `${name} is not lower-case hex, or too long`);
  return bytesOfHex(value as string);
}
