/**
 * Request: what a client signs. It carries one or more operations, so that a busy client pays one signature for many.
 *
 * The signature covers the service id, so a request made for one service is worth nothing at another. A session is
 * one run of one client: the commit index it was born at and a random number; requests of a session are numbered
 * from 1 and executed at most once each (docs/protocol/sessions.md).
 */
import { publicKeySizeBytes, signatureSizeBytes } from '../crypto/ed25519.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { Writer } from './writer.ts';

export const requestVersion = 1;
export const sessionNonceSizeBytes = 16;

export interface Session {
  /** A commit index that had been reached when the session began. */
  readonly birth: number;
  /** 16 random bytes. */
  readonly nonce: Uint8Array;
}

export interface Operation {
  /** 1 to 64 of `a-z 0-9 . -`. */
  readonly name: string;
  /** An encoded value (`wire/value.ts`). */
  readonly input: Uint8Array;
}

export interface RequestContent {
  /** Ed25519 public key, 32 bytes. */
  readonly client: Uint8Array;
  readonly session: Session;
  /** From 1, one more for each request of the session. */
  readonly number: number;
  /** The client has the results of all requests up to this number; they need not be kept. Below `number`. */
  readonly acknowledged: number;
  readonly operations: readonly Operation[];
}

/** A decoded request: well-formed, nothing more. */
export interface Request extends RequestContent {
  readonly digest: Digest;
  readonly signature: Uint8Array;
  readonly bytes: Uint8Array;
}

const operationNamePattern = /^[a-z0-9][a-z0-9.-]{0,63}$/;

export function isOperationName(name: string): boolean {
  return operationNamePattern.test(name);
}

/** What a client signs for the request with this digest at this service. */
export function requestPreimage(serviceId: Digest, digest: Digest): Uint8Array {
  return new Writer(96).fixed(domains.request).digest(serviceId).digest(digest).finish();
}

/**
 * Encodes and signs a request; `sign` is given the digest and returns 64 bytes. Throws a RangeError when a field has no
 * encoding; whether counts and sizes are within limits is the caller's to know.
 */
export function encodeRequest(content: RequestContent, sign: (digest: Digest) => Uint8Array): Request {
  let sizeHint = 160;
  for (const { name, input } of content.operations) sizeHint += 5 + name.length + input.length;
  const writer = new Writer(sizeHint);
  writer.u8(requestVersion).fixed(content.client, publicKeySizeBytes);
  writer.u64(content.session.birth).fixed(content.session.nonce, sessionNonceSizeBytes);
  writer.u64(content.number).u64(content.acknowledged).u16(content.operations.length);
  for (const { name, input } of content.operations) {
    if (!isOperationName(name)) throw new RangeError('an operation name has 1 to 64 of a-z 0-9 . -');
    const ascii = Buffer.from(name, 'latin1');
    writer.u8(ascii.length).fixed(ascii).bytes(input);
  }
  const digest = sha256(writer.finish());
  const signature = sign(digest);
  return { ...content, digest, signature, bytes: writer.fixed(signature, signatureSizeBytes).finish() };
}

/** Decodes a request. The views it holds share memory with `bytes`. */
export function decodeRequest(bytes: Uint8Array): Decoded<Request> {
  if (bytes.length > limits.requestSizeBytesMax) return { ok: false, reason: `request: ${bytes.length} bytes` };
  return decode(bytes, (reader) => {
    const version = reader.u8('version');
    if (version !== requestVersion) throw new WireError(`version: ${version} is unknown`);
    const client = reader.fixed(publicKeySizeBytes, 'client');
    const session = { birth: reader.u64('birth'), nonce: reader.fixed(sessionNonceSizeBytes, 'nonce') };
    const number = reader.u64('number');
    const acknowledged = reader.u64('acknowledged');
    if (number < 1) throw new WireError('number: counts from 1');
    if (acknowledged >= number) throw new WireError('acknowledged: not below the number');
    const operations = readOperations(reader);
    const digest = sha256(bytes.subarray(0, reader.offset));
    const signature = reader.fixed(signatureSizeBytes, 'signature');
    return { client, session, number, acknowledged, operations, digest, signature, bytes };
  });
}

function readOperations(reader: Reader): readonly Operation[] {
  const count = reader.count(reader.u16('operations'), limits.requestOperationsMax, 5, 'operations');
  if (count === 0) throw new WireError('operations: none');
  const operations: Operation[] = [];
  for (let i = 0; i < count; i++) {
    const length = reader.u8('operation name');
    const name = (reader.fixed(length, 'operation name') as Buffer).toString('latin1');
    if (!isOperationName(name)) throw new WireError('operation name: not 1 to 64 of a-z 0-9 . -');
    operations.push({ name, input: reader.bytes(limits.requestSizeBytesMax, 'operation input') });
  }
  return operations;
}
