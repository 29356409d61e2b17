/**
 * Client messages: what a client and one replica say to each other. The client knows by the pinned key which replica
 * it talks to; the replica knows the client by the signature in `attach`, which is bound to this link by the
 * replica's random challenge and to this replica by its index.
 */
import { publicKeySizeBytes, signatureSizeBytes } from '../crypto/ed25519.ts';
import { type Digest, digestSizeBytes } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { serviceSignatureSizeBytes } from './duty.ts';
import { decodeHead, encodeHead, type Head, headSizeBytes } from './head.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { sessionNonceSizeBytes } from './request.ts';
import { readValue, type Value, writeValue } from './value.ts';
import { Writer } from './writer.ts';

export const clientVersion = 1;
export const challengeSizeBytes = 32;

/** Why a replica did not take a request. It says nothing about what the others did with it. */
export const refusalCodes = [
  'malformed',
  'bad-signature',
  'not-attached',
  'overloaded',
  'not-ready',
  /** It cannot give a certified reply: there is no service key yet, it has diverged, or too many are waiting. */
  'not-certifying',
  /** It has dropped the leaves of the log that the proof takes. */
  'not-retained',
  /** It has no certified head as late as was asked for, or cannot prove the state at one yet. */
  'too-old',
  /** The service keeps its state to itself: only its operations show it. */
  'not-public',
] as const;
export type RefusalCode = (typeof refusalCodes)[number];

/** Ties a head to the last one on the link, or to the one that the client named. */
export interface HeadTie {
  /** From the head of this size; 0 for none. */
  readonly consistentWith: number;
  readonly consistencyPath: readonly Digest[];
  /** There is none because this replica has dropped the leaves that it takes. */
  readonly notRetained?: true;
}

export type ReplicaToClient =
  /** First on every link. `commitIndex` is a possible session birth. */
  | {
      readonly kind: 'welcome';
      readonly serviceId: Digest;
      readonly replicaIndex: number;
      readonly commitIndex: number;
      readonly challenge: Uint8Array;
    }
  /** The replica executed the request; `result` is an encoded list of outcomes (`outcome.ts`). */
  | {
      readonly kind: 'reply';
      readonly requestDigest: Digest;
      readonly number: number;
      readonly commitIndex: number;
      readonly result: Uint8Array;
    }
  /** The same with a proof that anyone can check; only to a link that wanted it. Sent when a certified head covers it. */
  | ({
      readonly kind: 'certified';
      readonly requestDigest: Digest;
      readonly number: number;
      readonly commitIndex: number;
      readonly result: Uint8Array;
      /** Place in the log, from 0. */
      readonly leafIndex: number;
      readonly inclusionPath: readonly Digest[];
      readonly certifiedHead: CertifiedHead;
    } & HeadTie)
  /** The newest certified head, with a proof that it goes on from `consistentWith` leaves. Answers `ask-head`. */
  | ({
      readonly kind: 'head';
      /** Undefined when there is none yet. */
      readonly certifiedHead: CertifiedHead | undefined;
    } & HeadTie)
  /** What the state of this head has under the key that was asked for. Answers `ask-state`. */
  | ({
      readonly kind: 'state';
      readonly number: number;
      /** Encoded; undefined when there is no such key. */
      readonly value: Uint8Array | undefined;
      /** Encoded (`wire/state-proof.ts`). */
      readonly proof: Uint8Array;
      readonly certifiedHead: CertifiedHead;
    } & HeadTie)
  /** It cannot say what is under a key, or not as of so late. */
  | { readonly kind: 'state-refused'; readonly number: number; readonly code: RefusalCode; readonly reason: string }
  | { readonly kind: 'refused'; readonly requestDigest: Digest; readonly code: RefusalCode; readonly reason: string }
  | { readonly kind: 'status'; readonly status: Value };

export type ClientToReplica =
  /** The link belongs to this client's session: send its replies here. */
  | {
      readonly kind: 'attach';
      readonly client: Uint8Array;
      readonly sessionNonce: Uint8Array;
      readonly signature: Uint8Array;
    }
  | {
      readonly kind: 'request';
      readonly request: Uint8Array;
      /** Wants a certified reply; it holds a head of so many leaves, 0 when none. Undefined: a quick reply will do. */
      readonly certifyFrom?: number | undefined;
    }
  /** The newest certified head, please; the client holds one of so many leaves, 0 when none. */
  | { readonly kind: 'ask-head'; readonly logSize: number }
  /** What is under a key of the service's state, as of the commit `notBefore` or later; the client holds a head as above. */
  | {
      readonly kind: 'ask-state';
      /** Told apart from its other questions on this link by it. */
      readonly number: number;
      readonly key: string;
      readonly notBefore: number;
      readonly logSize: number;
    }
  /** Anyone who reaches the port may ask for the status; it holds no secret. */
  | { readonly kind: 'status' };

/** A head and the service's signature of it. */
export interface CertifiedHead {
  readonly head: Head;
  readonly signature: Uint8Array;
}

const kinds = {
  welcome: 1,
  reply: 2,
  refused: 3,
  status: 4,
  attach: 5,
  request: 6,
  'ask-status': 7,
  certified: 8,
  head: 9,
  'ask-head': 10,
  'request-certified': 11,
  'ask-state': 12,
  state: 13,
  'state-refused': 14,
} as const;

/** In place of the number of hashes of a path that takes leaves which were dropped. */
const notRetainedMark = 0xff;

/** What a client signs to attach a link. */
export function attachPreimage(welcome: {
  readonly serviceId: Digest;
  readonly replicaIndex: number;
  readonly challenge: Uint8Array;
  readonly sessionNonce: Uint8Array;
}): Uint8Array {
  const writer = new Writer(160).fixed(domains.attach).digest(welcome.serviceId).u16(welcome.replicaIndex);
  return writer
    .fixed(welcome.challenge, challengeSizeBytes)
    .fixed(welcome.sessionNonce, sessionNonceSizeBytes)
    .finish();
}

export function encodeReplicaToClient(message: ReplicaToClient): Uint8Array {
  switch (message.kind) {
    case 'welcome': {
      const writer = new Writer(96).u8(kinds.welcome).u8(clientVersion).digest(message.serviceId);
      return writer
        .u16(message.replicaIndex)
        .u64(message.commitIndex)
        .fixed(message.challenge, challengeSizeBytes)
        .finish();
    }
    case 'reply': {
      const writer = new Writer(64 + message.result.length).u8(kinds.reply).digest(message.requestDigest);
      return writer.u64(message.number).u64(message.commitIndex).bytes(message.result).finish();
    }
    case 'certified': {
      const writer = new Writer(640 + message.result.length).u8(kinds.certified).digest(message.requestDigest);
      writer.u64(message.number).u64(message.commitIndex).bytes(message.result).u64(message.leafIndex);
      writePath(writer, message.inclusionPath);
      writeCertifiedHead(writer, message.certifiedHead);
      writeTie(writer, message);
      return writer.finish();
    }
    case 'head': {
      const writer = new Writer(640).u8(kinds.head).u8(message.certifiedHead === undefined ? 0 : 1);
      if (message.certifiedHead !== undefined) writeCertifiedHead(writer, message.certifiedHead);
      writeTie(writer, message);
      return writer.finish();
    }
    case 'state': {
      const { number, value, proof } = message;
      const writer = new Writer(640 + (value?.length ?? 0) + proof.length).u8(kinds.state).u64(number);
      writer.u8(value === undefined ? 0 : 1);
      if (value !== undefined) writer.bytes(value);
      writeCertifiedHead(writer.bytes(proof), message.certifiedHead);
      writeTie(writer, message);
      return writer.finish();
    }
    case 'refused':
      return writeRefusal(new Writer(96).u8(kinds.refused).digest(message.requestDigest), message);
    case 'state-refused':
      return writeRefusal(new Writer(96).u8(kinds['state-refused']).u64(message.number), message);
    case 'status': {
      const writer = new Writer(1024).u8(kinds.status);
      writeValue(writer, message.status);
      return writer.finish();
    }
  }
}

export function decodeReplicaToClient(bytes: Uint8Array): Decoded<ReplicaToClient> {
  return decode<ReplicaToClient>(bytes, (reader) => {
    const kind = reader.u8('kind');
    switch (kind) {
      case kinds.welcome: {
        const version = reader.u8('version');
        if (version !== clientVersion) throw new WireError(`version: ${version} is unknown`);
        const serviceId = reader.digest('service id');
        const replicaIndex = reader.u16('replica index');
        const commitIndex = reader.u64('commit index');
        const challenge = reader.fixed(challengeSizeBytes, 'challenge');
        return { kind: 'welcome', serviceId, replicaIndex, commitIndex, challenge };
      }
      case kinds.reply: {
        const requestDigest = reader.digest('request digest');
        const number = reader.u64('number');
        const commitIndex = reader.u64('commit index');
        const result = reader.bytes(limits.resultSizeBytesMax, 'result');
        return { kind: 'reply', requestDigest, number, commitIndex, result };
      }
      case kinds.certified: {
        const requestDigest = reader.digest('request digest');
        const number = reader.u64('number');
        const commitIndex = reader.u64('commit index');
        const result = reader.bytes(limits.resultSizeBytesMax, 'result');
        const leafIndex = reader.u64('leaf index');
        const inclusionPath = readPath(reader);
        const certifiedHead = readCertifiedHead(reader);
        return {
          kind: 'certified',
          requestDigest,
          number,
          commitIndex,
          result,
          leafIndex,
          inclusionPath,
          certifiedHead,
          ...readTie(reader),
        };
      }
      case kinds.head: {
        const isThere = reader.u8('head');
        if (isThere > 1) throw new WireError('head: neither there nor not');
        const certifiedHead = isThere === 1 ? readCertifiedHead(reader) : undefined;
        return { kind: 'head', certifiedHead, ...readTie(reader) };
      }
      case kinds.state: {
        const number = reader.u64('number');
        const isThere = reader.u8('value');
        if (isThere > 1) throw new WireError('value: neither there nor not');
        const value = isThere === 1 ? reader.bytes(limits.stateValueSizeBytesMax, 'value') : undefined;
        const proof = reader.bytes(limits.stateProofSizeBytesMax, 'proof');
        const certifiedHead = readCertifiedHead(reader);
        return { kind: 'state', number, value, proof, certifiedHead, ...readTie(reader) };
      }
      case kinds.refused:
        return { kind: 'refused', requestDigest: reader.digest('request digest'), ...readRefusal(reader) };
      case kinds['state-refused']:
        return { kind: 'state-refused', number: reader.u64('number'), ...readRefusal(reader) };
      case kinds.status:
        return { kind: 'status', status: readValue(reader) };
      default:
        throw new WireError(`kind: ${kind} is unknown`);
    }
  });
}

export function encodeClientToReplica(message: ClientToReplica): Uint8Array {
  switch (message.kind) {
    case 'attach': {
      const writer = new Writer(128).u8(kinds.attach).u8(clientVersion).fixed(message.client, publicKeySizeBytes);
      return writer
        .fixed(message.sessionNonce, sessionNonceSizeBytes)
        .fixed(message.signature, signatureSizeBytes)
        .finish();
    }
    case 'request': {
      const { request, certifyFrom } = message;
      const writer = new Writer(request.length + 9);
      if (certifyFrom === undefined) writer.u8(kinds.request);
      else writer.u8(kinds['request-certified']).u64(certifyFrom);
      return writer.fixed(request).finish();
    }
    case 'ask-head':
      return new Writer(16).u8(kinds['ask-head']).u64(message.logSize).finish();
    case 'ask-state': {
      const { number, key, notBefore, logSize } = message;
      return new Writer(64).u8(kinds['ask-state']).u64(number).u64(notBefore).u64(logSize).text(key).finish();
    }
    case 'status':
      return new Writer(2).u8(kinds['ask-status']).finish();
  }
}

export function decodeClientToReplica(bytes: Uint8Array): Decoded<ClientToReplica> {
  return decode<ClientToReplica>(bytes, (reader) => {
    const kind = reader.u8('kind');
    switch (kind) {
      case kinds.attach: {
        const version = reader.u8('version');
        if (version !== clientVersion) throw new WireError(`version: ${version} is unknown`);
        const client = reader.fixed(publicKeySizeBytes, 'client');
        const sessionNonce = reader.fixed(sessionNonceSizeBytes, 'session nonce');
        return { kind: 'attach', client, sessionNonce, signature: reader.fixed(signatureSizeBytes, 'signature') };
      }
      case kinds.request:
        return { kind: 'request', request: reader.fixed(reader.left, 'request') };
      case kinds['request-certified']: {
        const certifyFrom = reader.u64('log size');
        return { kind: 'request', request: reader.fixed(reader.left, 'request'), certifyFrom };
      }
      case kinds['ask-head']:
        return { kind: 'ask-head', logSize: reader.u64('log size') };
      case kinds['ask-state']: {
        const number = reader.u64('number');
        const notBefore = reader.u64('commit index');
        const logSize = reader.u64('log size');
        return { kind: 'ask-state', number, notBefore, logSize, key: reader.text(limits.stateKeySizeBytesMax, 'key') };
      }
      case kinds['ask-status']:
        return { kind: 'status' };
      default:
        throw new WireError(`kind: ${kind} is unknown`);
    }
  });
}

function writeCertifiedHead(writer: Writer, { head, signature }: CertifiedHead): void {
  writer.fixed(encodeHead(head)).fixed(signature, serviceSignatureSizeBytes);
}

function readCertifiedHead(reader: Reader): CertifiedHead {
  const head = decodeHead(reader.fixed(headSizeBytes, 'head'));
  if (head === undefined) throw new WireError('head: not the encoding of one');
  return { head, signature: reader.fixed(serviceSignatureSizeBytes, 'signature') };
}

function writeTie(writer: Writer, { consistentWith, consistencyPath, notRetained }: HeadTie): void {
  writer.u64(consistentWith);
  if (notRetained === true) writer.u8(notRetainedMark);
  else writePath(writer, consistencyPath);
}

function readTie(reader: Reader): HeadTie {
  const consistentWith = reader.u64('size');
  const count = reader.u8('path');
  if (count !== notRetainedMark) return { consistentWith, consistencyPath: readHashes(reader, count) };
  if (consistentWith !== 0) throw new WireError('path: proven and not retained');
  return { consistentWith, consistencyPath: [], notRetained: true };
}

function writeRefusal(
  writer: Writer,
  { code, reason }: { readonly code: RefusalCode; readonly reason: string },
): Uint8Array {
  const shown = reason.slice(0, limits.refusalReasonLengthMax).toWellFormed();
  return writer.u8(refusalCodes.indexOf(code)).text(shown).finish();
}

function readRefusal(reader: Reader): { readonly code: RefusalCode; readonly reason: string } {
  const code = refusalCodes[reader.u8('code')];
  if (code === undefined) throw new WireError('code: unknown');
  const reason = reader.text(3 * limits.refusalReasonLengthMax, 'reason');
  if (reason.length > limits.refusalReasonLengthMax) throw new WireError('reason: too long');
  return { code, reason };
}

function writePath(writer: Writer, path: readonly Digest[]): void {
  writer.u8(path.length);
  for (const hash of path) writer.digest(hash);
}

function readPath(reader: Reader): readonly Digest[] {
  return readHashes(reader, reader.u8('path'));
}

function readHashes(reader: Reader, announced: number): readonly Digest[] {
  const count = reader.count(announced, limits.proofHashesMax, digestSizeBytes, 'path');
  return Array.from({ length: count }, () => reader.digest('path'));
}
