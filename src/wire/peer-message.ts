/**
 * Peer messages: what one replica says to another on a link whose two ends are already authenticated.
 *
 * Blocks, signature shares and certified statements carry authority by their own signature; everything else here is a hint or a question.
 */
import type { Digest } from '../crypto/hash.ts';
import { type Reference, readReferences, writeReference } from './block.ts';
import { serviceSignatureSizeBytes } from './duty.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, type Reader, WireError } from './reader.ts';
import { readStateMessage, type StateMessage, stateMessageKinds, writeStateMessage } from './state-message.ts';
import { Writer } from './writer.ts';

export const peerVersion = 1;

export type PeerMessage =
  /** First on every link: which cluster and epoch the sender belongs to. Any other first message closes the link. */
  | { readonly kind: 'hello'; readonly epochGenesis: Digest }
  /** A block, by whomever. */
  | { readonly kind: 'block'; readonly block: Uint8Array }
  /** Please send these blocks. */
  | { readonly kind: 'fetch'; readonly references: readonly Reference[] }
  /** Please send the blocks you have accepted of rounds above this one, lowest first, as many as fit. */
  | { readonly kind: 'catch-up'; readonly afterRound: number }
  /** These requests wait at the sender, who cannot propose alone. */
  | { readonly kind: 'requests'; readonly requests: readonly Uint8Array[] }
  /** The sender's share of the service's signature of a statement. */
  | {
      readonly kind: 'signature-share';
      readonly statement: StatementKind;
      /** Of the head's commit; 0 of a membership statement. */
      readonly commitIndex: number;
      /** SHA-256 of the encoded statement. */
      readonly digest: Digest;
      readonly share: Uint8Array;
    }
  /** A statement with the service's signature. */
  | {
      readonly kind: 'certified-statement';
      readonly statement: StatementKind;
      readonly encoded: Uint8Array;
      readonly signature: Uint8Array;
    }
  /** Questions for a checkpoint and its parts, and the answers. */
  | StateMessage;

/** What the service signs: heads of its log, and who its replicas are. */
export const statementKinds = ['head', 'membership'] as const;
export type StatementKind = (typeof statementKinds)[number];

const kinds = {
  hello: 1,
  block: 2,
  fetch: 3,
  'catch-up': 4,
  requests: 5,
  'signature-share': 6,
  'certified-statement': 7,
} as const;

export function encodePeerMessage(message: PeerMessage): Uint8Array {
  switch (message.kind) {
    case 'hello':
      return new Writer(64).u8(kinds.hello).u8(peerVersion).digest(message.epochGenesis).finish();
    case 'block':
      return new Writer(message.block.length + 1).u8(kinds.block).fixed(message.block).finish();
    case 'fetch': {
      const writer = new Writer(64 + message.references.length * 42);
      writer.u8(kinds.fetch).u16(message.references.length);
      for (const reference of message.references) writeReference(writer, reference);
      return writer.finish();
    }
    case 'catch-up':
      return new Writer(16).u8(kinds['catch-up']).u64(message.afterRound).finish();
    case 'requests': {
      const writer = new Writer(1024).u8(kinds.requests).u16(message.requests.length);
      for (const request of message.requests) writer.bytes(request);
      return writer.finish();
    }
    case 'signature-share': {
      const writer = new Writer(96).u8(kinds['signature-share']).u8(statementKinds.indexOf(message.statement));
      writer.u64(message.commitIndex).digest(message.digest);
      return writer.fixed(message.share, serviceSignatureSizeBytes).finish();
    }
    case 'certified-statement': {
      const writer = new Writer(64 + message.encoded.length).u8(kinds['certified-statement']);
      writer.u8(statementKinds.indexOf(message.statement)).bytes(message.encoded);
      return writer.fixed(message.signature, serviceSignatureSizeBytes).finish();
    }
    default: {
      const writer = new Writer().u8(stateMessageKinds[message.kind]);
      writeStateMessage(writer, message);
      return writer.finish();
    }
  }
}

/** Decodes one frame. A block inside is not decoded here. */
export function decodePeerMessage(bytes: Uint8Array): Decoded<PeerMessage> {
  return decode<PeerMessage>(bytes, (reader) => {
    const kind = reader.u8('kind');
    switch (kind) {
      case kinds.hello: {
        const version = reader.u8('version');
        if (version !== peerVersion) throw new WireError(`version: ${version} is unknown`);
        return { kind: 'hello', epochGenesis: reader.digest('genesis') };
      }
      case kinds.block:
        return { kind: 'block', block: reader.fixed(reader.left, 'block') };
      case kinds.fetch:
        return { kind: 'fetch', references: readReferences(reader, limits.fetchReferencesMax, 'references') };
      case kinds['catch-up']:
        return { kind: 'catch-up', afterRound: reader.u64('round') };
      case kinds.requests: {
        const count = reader.count(reader.u16('requests'), limits.blockRequestsMax, 4, 'requests');
        const requests: Uint8Array[] = [];
        for (let i = 0; i < count; i++) requests.push(reader.bytes(limits.requestSizeBytesMax, 'request'));
        return { kind: 'requests', requests };
      }
      case kinds['signature-share']: {
        const statement = readStatementKind(reader);
        const commitIndex = reader.u64('commit index');
        const digest = reader.digest('digest');
        return {
          kind: 'signature-share',
          statement,
          commitIndex,
          digest,
          share: reader.fixed(serviceSignatureSizeBytes, 'share'),
        };
      }
      case kinds['certified-statement']: {
        const statement = readStatementKind(reader);
        const encoded = reader.bytes(limits.statementSizeBytesMax, 'statement');
        const signature = reader.fixed(serviceSignatureSizeBytes, 'signature');
        return { kind: 'certified-statement', statement, encoded, signature };
      }
      default: {
        const message = readStateMessage(kind, reader);
        if (message === undefined) throw new WireError(`kind: ${kind} is unknown`);
        return message;
      }
    }
  });
}

/** Which of the two that certify who the replicas are it is, by its own word. */
export function membershipFrameKind(frame: Uint8Array): 'signature-share' | 'certified-statement' | undefined {
  if (frame[1] !== statementKinds.indexOf('membership')) return undefined;
  if (frame[0] === kinds['signature-share']) return 'signature-share';
  return frame[0] === kinds['certified-statement'] ? 'certified-statement' : undefined;
}

/** How many requests an encoded message passes on, by its own word; 0 when it is another kind of message. */
export function forwardedRequestsIn(frame: Uint8Array): number {
  return frame[0] === kinds.requests ? ((frame[1] ?? 0) << 8) | (frame[2] ?? 0) : 0;
}

function readStatementKind(reader: Reader): StatementKind {
  const statement = statementKinds[reader.u8('statement')];
  if (statement === undefined) throw new WireError('statement: unknown');
  return statement;
}
