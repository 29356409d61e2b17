/** Lies: what a faulty replica may answer to one that fetches a checkpoint; each is one attack. */
import { sha256Bytes } from '../../crypto/hash.ts';
import { encodeHead } from '../../wire/head.ts';
import type { PeerMessage } from '../../wire/peer-message.ts';
import type { PartEntry, StatePart } from '../../wire/state-message.ts';
import { StateServer } from '../state-server.ts';
import type { Moment } from './growing-state.ts';
import type { Lie } from './transfer-cluster.ts';

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at % copy.length] = (copy[at % copy.length] as number) ^ 1;
  return copy;
}

/** Changes entries where there are any. */
const ofEntries =
  (change: (entries: readonly PartEntry[], below: (bound: number) => number) => readonly PartEntry[]): Lie =>
  (answer, _, prng) => {
    if (answer.kind !== 'state-part' || answer.part.kind !== 'entries' || answer.part.entries.length === 0)
      return [answer];
    const entries = change(answer.part.entries, (bound) => prng.below(bound));
    return [{ ...answer, part: { kind: 'entries', entries } }];
  };

const ofPart =
  (part: (answered: StatePart) => StatePart): Lie =>
  (answer) => [answer.kind === 'state-part' ? { ...answer, part: part(answer.part) } : answer];

const ofOffer =
  (change: (offer: Extract<PeerMessage, { readonly kind: 'checkpoint-offer' }>) => PeerMessage): Lie =>
  (answer) => [answer.kind === 'checkpoint-offer' ? change(answer) : answer];

const junk: PartEntry = { key: Buffer.from('junk'), value: Buffer.from('junk') };

/** Anyone can show that these are lies: the liar is dropped. */
export const provableLies: Readonly<Record<string, Lie>> = {
  'a wrong value': ofEntries((entries, below) => {
    const at = below(entries.length);
    return entries.map((entry, i) => (i === at ? { key: entry.key, value: flipped(entry.value, below(99)) } : entry));
  }),
  'a wrong key': ofEntries((entries, below) => {
    const at = below(entries.length);
    return entries.map((entry, i) => (i === at ? { key: flipped(entry.key, below(99)), value: entry.value } : entry));
  }),
  'an entry more': ofEntries((entries) => [...entries, junk]),
  'an entry less': ofEntries((entries, below) => entries.toSpliced(below(entries.length), 1)),
  'no entries': ofEntries(() => []),
  'entries twice': ofEntries((entries) => [...entries, ...entries]),
  'one entry, again and again': ofEntries((entries) => Array.from({ length: 100 }, () => entries[0] as PartEntry)),
  'entries in another order': ofEntries((entries) => (entries.length > 1 ? entries.toReversed() : [...entries, junk])),
  'far too many entries': ofEntries((entries) =>
    Array.from({ length: 3_000 }, (_, i) => ({ key: Buffer.from(`${i}`), value: Buffer.alloc(300) })).concat(
      entries as never,
    ),
  ),
  'a node in which a hash is wrong': ofPart((part) =>
    part.kind === 'node' ? { kind: 'node', encoded: flipped(part.encoded, 10) } : part,
  ),
  'a node with counts that are wrong': ofPart((part) =>
    // Kind, bitmap, hash, then the low byte of the count of the first child; they are not under the hash.
    part.kind === 'node' ? { kind: 'node', encoded: flipped(part.encoded, 3 + 32 + 7) } : part,
  ),
  'no node at all': ofPart((part) => (part.kind === 'node' ? { kind: 'node', encoded: Buffer.from('no node') } : part)),
  'entries in place of a node': ofPart((part) => (part.kind === 'node' ? { kind: 'entries', entries: [junk] } : part)),
  'leaves that are wrong': (answer) => [
    answer.kind === 'log-part' && answer.leaves.length > 0 ? { ...answer, leaves: flipped(answer.leaves, 40) } : answer,
  ],
  'leaves that are fewer': (answer) => [
    answer.kind === 'log-part' && answer.leaves.length > 32
      ? { ...answer, leaves: answer.leaves.subarray(32) }
      : answer,
  ],
  'an offer that is not signed': ofOffer((offer) => ({ ...offer, signature: flipped(offer.signature, 3) })),
  'an offer of another checkpoint': ofOffer((offer) => ({ ...offer, checkpoint: flipped(offer.checkpoint, 60) })),
  'an offer of no checkpoint': ofOffer((offer) => ({ ...offer, checkpoint: Buffer.from('none') })),
  'an offer with no head': ofOffer((offer) => ({ ...offer, head: new Uint8Array(offer.head.length) })),
  'an offer of another service': ofOffer((offer) => ({ ...offer, head: flipped(offer.head, 5) })),
};

/** Nobody can tell these from a replica that is slow, behind or badly connected. */
export const otherLies: Readonly<Record<string, Lie>> = {
  silence: () => [],
  'silence but for offers': (answer) => (answer.kind === 'checkpoint-offer' ? [answer] : []),
  'gone, for ever': (answer) => {
    if (answer.kind === 'state-part') return [{ ...answer, part: { kind: 'gone' } }];
    if (answer.kind === 'log-part') return [{ ...answer, leaves: new Uint8Array(), path: [] }];
    return [answer];
  },
  'gone, for every second part': (answer, _, prng) => [
    answer.kind === 'state-part' && prng.chance(0.5) ? { ...answer, part: { kind: 'gone' } } : answer,
  ],
  'no leaves': (answer) => [answer.kind === 'log-part' ? { ...answer, leaves: new Uint8Array(), path: [] } : answer],
  'answers of another path': (answer) => [
    answer.kind === 'state-part' ? { ...answer, path: `${answer.path}0` } : answer,
  ],
  'parts that nobody asked for': (answer) =>
    answer.kind === 'state-part'
      ? [
          answer,
          ...['ab', 'cd'].map((path) => ({ ...answer, path, part: { kind: 'entries', entries: [junk] } }) as const),
        ]
      : [answer],
  'everything five times': (answer) => [answer, answer, answer, answer, answer],
  'a large key under every name': (answer) =>
    answer.kind === 'state-part'
      ? ['0', '1', '2'].map((path) => ({
          ...answer,
          path: `${answer.path}${path}`,
          part: { kind: 'entries', entries: [{ key: sha256Bytes(Buffer.from(path)), value: Buffer.alloc(500_000) }] },
        }))
      : [answer],
};

/** Gives parts of an older checkpoint under the name of the one that is asked for. */
export function partsOf(older: Moment): Lie {
  const server = new StateServer({ ...older, view: older.snapshot });
  return (answer, ask) => {
    if (ask.kind !== 'state-ask' || answer.kind !== 'state-part') return [answer];
    const tables = { service: older.checkpoint.service.root, system: older.checkpoint.system.root };
    const old = server.answer({ ...ask, checkpoint: older.digest, path: '', hash: tables[ask.table] });
    return [old.kind === 'state-part' ? { ...old, checkpoint: ask.checkpoint, path: ask.path } : answer];
  };
}

/** Offers an older checkpoint, and only that. */
export function offerOf(older: Moment): Lie {
  const { signature } = older.head;
  const offer = {
    kind: 'checkpoint-offer',
    head: encodeHead(older.head.head),
    signature,
    checkpoint: older.encoded,
  } as const;
  return (answer) => [answer.kind === 'checkpoint-offer' ? offer : answer];
}
