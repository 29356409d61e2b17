/** The messages of state transfer: there is one way to write each, and nothing else is read. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bent, bytesOf, digest } from '../../test/arbitraries.ts';
import { sha256 } from '../crypto/hash.ts';
import { headSizeBytes } from './head.ts';
import { limits } from './limits.ts';
import { decodePeerMessage, encodePeerMessage } from './peer-message.ts';
import { askedTables, type StateMessage } from './state-message.ts';

const path = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), maxLength: 64 });
const name = { checkpoint: digest, table: fc.constantFrom(...askedTables), path };
const part = fc.oneof(
  fc.record({ kind: fc.constant('node' as const), encoded: fc.uint8Array({ maxLength: 40 }) }),
  fc.record({
    kind: fc.constant('entries' as const),
    entries: fc.array(fc.record({ key: fc.uint8Array({ maxLength: 5 }), value: fc.uint8Array({ maxLength: 9 }) }), {
      maxLength: 5,
    }),
  }),
  fc.record({ kind: fc.constant('gone' as const) }),
);
const message: fc.Arbitrary<StateMessage> = fc.oneof(
  fc.record({ kind: fc.constant('checkpoint-ask' as const) }),
  fc.record({
    kind: fc.constant('checkpoint-offer' as const),
    head: bytesOf(headSizeBytes),
    signature: bytesOf(48),
    checkpoint: fc.uint8Array({ maxLength: 60 }),
  }),
  fc.record({ kind: fc.constant('state-ask' as const), ...name, hash: digest, nodeOnly: fc.boolean() }),
  fc.record({ kind: fc.constant('state-part' as const), ...name, part }),
  fc.record({ kind: fc.constant('log-ask' as const), checkpoint: digest, chunk: fc.maxSafeNat() }),
  fc.record({
    kind: fc.constant('log-part' as const),
    checkpoint: digest,
    chunk: fc.maxSafeNat(),
    leaves: fc.nat({ max: 3 }).chain((count) => bytesOf(32 * count)),
    path: fc.array(digest, { maxLength: 4 }),
  }),
);

describe('a message of state transfer', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(message, (sent) => {
        const bytes = encodePeerMessage(sent);
        const decoded = decodePeerMessage(bytes);
        expect(decoded.ok ? encodePeerMessage(decoded.value) : decoded.reason).toEqual(bytes);
        expect(decoded.ok && decoded.value.kind).toBe(sent.kind);
      }),
    );
  });

  test('however it was bent, is refused or is the one way to write something else', () => {
    fc.assert(
      fc.property(bent(message.map(encodePeerMessage)), (bytes) => {
        const decoded = decodePeerMessage(bytes);
        if (decoded.ok) expect(Buffer.compare(encodePeerMessage(decoded.value), bytes)).toBe(0);
        else expect(decoded.reason).not.toBe('');
      }),
      { numRuns: 500 },
    );
  });

  test('keeps to its limits', () => {
    const checkpoint = sha256(new Uint8Array());
    const refusal = (sent: StateMessage): string => {
      const decoded = decodePeerMessage(encodePeerMessage(sent));
      return decoded.ok ? 'read' : decoded.reason;
    };
    const about = { checkpoint, table: 'service', path: '' } as const;
    const entries = (count: number): StateMessage => ({
      ...about,
      kind: 'state-part',
      part: { kind: 'entries', entries: Array.from({ length: count }, () => ({ key: bytes(0), value: bytes(0) })) },
    });
    const bytes = (length: number) => new Uint8Array(length);
    const node = (length: number): StateMessage => ({
      ...about,
      kind: 'state-part',
      part: { kind: 'node', encoded: bytes(length) },
    });
    const leaves = (length: number): StateMessage => ({
      kind: 'log-part',
      checkpoint,
      chunk: 0,
      leaves: bytes(length),
      path: [],
    });
    const offer = (length: number): StateMessage => ({
      kind: 'checkpoint-offer',
      head: bytes(headSizeBytes),
      signature: bytes(48),
      checkpoint: bytes(length),
    });
    for (const [of, limit] of [
      [entries, limits.statePartEntriesMax],
      [node, limits.stateNodeSizeBytesMax],
      [leaves, limits.logChunkSizeBytesMax],
      [offer, limits.checkpointEncodedSizeBytesMax],
    ] as const) {
      expect(refusal(of(limit))).toBe('read');
      expect(refusal(of(limit + 32))).toMatch(/more than/);
    }
  });
});
