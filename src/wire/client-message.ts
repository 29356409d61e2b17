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
] as const;
export type RefusalCode = (typeof refusalCodes)[number];

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
  | {
      readonly kind: 'certified';
      readonly requestDigest: Digest;
      readonly number: number;
      readonly commitIndex: number;
      readonly result: Uint8Array;
      /** Place in the log, from 0. */
      readonly leafIndex: number;
      readonly inclusionPath: readonly Digest[];
      readonly certifiedHead: CertifiedHead;
      /** From the head of this size, the last one on this link or the one the client named; 0 for none. */
      readonly consistentWith: number;
      readonly consistencyPath: readonly Digest[];
    }
  /** The newest certified head, with a proof that it goes on from `consistentWith` leaves. Answers `ask-head`. */
  | {
      readonly kind: 'head';
      /** Undefined when there is none yet. */
      readonly certifiedHead: CertifiedHead | undefined;
      readonly consistentWith: number;
      readonly consistencyPath: readonly Digest[];
    }
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
} as const;

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
      writePath(writer.u64(message.consistentWith), message.consistencyPath);
      return writer.finish();
    }
    case 'head': {
      const writer = new Writer(640).u8(kinds.head).u8(message.certifiedHead === undefined ? 0 : 1);
      if (message.certifiedHead !== undefined) writeCertifiedHead(writer, message.certifiedHead);
      writePath(writer.u64(message.consistentWith), message.consistencyPath);
      return writer.finish();
    }
    case 'refused': {
      const writer = new Writer(96).u8(kinds.refused).digest(message.requestDigest);
      const reason = message.reason.slice(0, limits.refusalReasonLengthMax).toWellFormed();
      return writer.u8(refusalCodes.indexOf(message.code)).text(reason).finish();
    }
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
        const consistentWith = reader.u64('size');
        const consistencyPath = readPath(reader);
        return {
          kind: 'certified',
          requestDigest,
          number,
          commitIndex,
          result,
          leafIndex,
          inclusionPath,
          certifiedHead,
          consistentWith,
          consistencyPath,
        };
      }
      case kinds.head: {
        const isThere = reader.u8('head');
        if (isThere > 1) throw new WireError('head: neither there nor not');
        const certifiedHead = isThere === 1 ? readCertifiedHead(reader) : undefined;
        const consistentWith = reader.u64('size');
        return { kind: 'head', certifiedHead, consistentWith, consistencyPath: readPath(reader) };
      }
      case kinds.refused: {
        const requestDigest = reader.digest('request digest');
        const code = refusalCodes[reader.u8('code')];
        if (code === undefined) throw new WireError('code: unknown');
        const reason = reader.text(3 * limits.refusalReasonLengthMax, 'reason');
        if (reason.length > limits.refusalReasonLengthMax) throw new WireError('reason: too long');
        return { kind: 'refused', requestDigest, code, reason };
      }
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

function writePath(writer: Writer, path: readonly Digest[]): void {
  writer.u8(path.length);
  for (const hash of path) writer.digest(hash);
}

function readPath(reader: Reader): readonly Digest[] {
  const count = reader.count(reader.u8('path'), limits.proofHashesMax, digestSizeBytes, 'path');
  return Array.from({ length: count }, () => reader.digest('path'));
}
