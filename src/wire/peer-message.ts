/**
 * Peer messages: what one replica says to another on a link whose two ends are already authenticated.
 *
 * Only blocks carry authority, by their own signature; everything else here is a hint or a question.
 */
import type { Digest } from '../crypto/hash.ts';
import { type Reference, readReferences, writeReference } from './block.ts';
import { limits } from './limits.ts';
import { type Decoded, decode, WireError } from './reader.ts';
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
  | { readonly kind: 'requests'; readonly requests: readonly Uint8Array[] };

const kinds = { hello: 1, block: 2, fetch: 3, 'catch-up': 4, requests: 5 } as const;

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
      default:
        throw new WireError(`kind: ${kind} is unknown`);
    }
  });
}
