/**
 * Client messages: what a client and one replica say to each other. The client knows by the pinned key which replica
 * it talks to; the replica knows the client by the signature in `attach`, which is bound to this link by the
 * replica's random challenge and to this replica by its index.
 */
import { publicKeySizeBytes, signatureSizeBytes } from '../crypto/ed25519.ts';
import type { Digest } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, WireError } from './reader.ts';
import { sessionNonceSizeBytes } from './request.ts';
import { readValue, type Value, writeValue } from './value.ts';
import { Writer } from './writer.ts';

export const clientVersion = 1;
export const challengeSizeBytes = 32;

/** Why a replica did not take a request. It says nothing about what the others did with it. */
export const refusalCodes = ['malformed', 'bad-signature', 'not-attached', 'overloaded', 'not-ready'] as const;
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
  | { readonly kind: 'request'; readonly request: Uint8Array }
  /** Anyone who reaches the port may ask for the status; it holds no secret. */
  | { readonly kind: 'status' };

const kinds = { welcome: 1, reply: 2, refused: 3, status: 4, attach: 5, request: 6, 'ask-status': 7 } as const;

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
    case 'request':
      return new Writer(message.request.length + 1).u8(kinds.request).fixed(message.request).finish();
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
      case kinds['ask-status']:
        return { kind: 'status' };
      default:
        throw new WireError(`kind: ${kind} is unknown`);
    }
  });
}
