/**
 * Bad state server: orders like a correct replica, and lies to whoever fetches a checkpoint from it: about which one it has, what
 * is in it, and that it has it at all; it also offers what nobody asked for, and asks for what nobody has.
 *
 * Every second answer is right, so that it is still asked when it lies.
 */
import { checkpointDigest } from '../../src/wire/checkpoint.ts';
import { decodeHead, encodeHead } from '../../src/wire/head.ts';
import type { PeerMessage } from '../../src/wire/peer-message.ts';
import type { PartEntry, StatePart } from '../../src/wire/state-message.ts';
import type { Prng } from '../prng.ts';
import { type AdversaryMaker, asIs, frameOf, type Outgoing, othersThan } from './adversary.ts';

type Message<Kind extends PeerMessage['kind']> = Extract<PeerMessage, { readonly kind: Kind }>;
type Offer = Message<'checkpoint-offer'>;
type Part = Message<'state-part'>;
type Chunk = Message<'log-part'>;

/** What it has said before and may say again, out of place. */
const keptMax = 16;
/** Of its ticks, those in which it offers and asks unasked. */
const unasked = 0.05;
const junk: PartEntry = { key: Buffer.from('junk'), value: Buffer.from('junk') };

export const badStateServer: AdversaryMaker = ({ membership, self, prng }) => {
  const others = othersThan(self, membership.members.length);
  const offers: Offer[] = [];
  const parts: StatePart[] = [];

  const keep = <T>(kept: T[], each: T): void => {
    kept.push(each);
    if (kept.length > keptMax) kept.splice(prng.below(keptMax), 1);
  };

  const answer = (message: PeerMessage): readonly PeerMessage[] => {
    switch (message.kind) {
      case 'checkpoint-offer':
        keep(offers, message);
        break;
      case 'state-part':
        if (message.part.kind !== 'gone') keep(parts, message.part);
        break;
      case 'log-part':
        break;
      default:
        return [message];
    }
    if (prng.chance(0.5)) return [message];
    if (prng.chance(0.2)) return prng.pick([[], [message, message, message]]);
    if (message.kind === 'checkpoint-offer') return [falseOffer(message, offers, prng)];
    return [message.kind === 'state-part' ? falsePart(message, parts, prng) : falseChunk(message, prng)];
  };

  return {
    name: 'bad-state-server',
    outgoing: (message, to) => answer(message).flatMap((said) => asIs(said, to)),
    tick() {
      const latest = offers.at(-1);
      if (latest === undefined || !prng.chance(unasked)) return [];
      const to = prng.pick(others);
      const checkpoint = checkpointDigest(latest.checkpoint);
      const said = prng.pick<PeerMessage>([
        falseOffer(latest, offers, prng),
        latest,
        { kind: 'checkpoint-ask' },
        { kind: 'log-ask', checkpoint, chunk: prng.below(3) },
        { kind: 'state-ask', checkpoint, table: 'service', path: pathOf(prng), hash: checkpoint, nodeOnly: true },
        {
          kind: 'state-part',
          checkpoint,
          table: 'system',
          path: pathOf(prng),
          part: { kind: 'entries', entries: [junk] },
        },
      ]);
      return [{ to, frame: frameOf(said) }] satisfies readonly Outgoing[];
    },
  };
};

/** Another one, an old one, or the same with a head that says something else. */
function falseOffer(offer: Offer, known: readonly Offer[], prng: Prng): Offer {
  const { head, signature, checkpoint } = offer;
  const other = prng.pick(known);
  switch (prng.below(7)) {
    case 0:
      return other;
    case 1:
      return { ...offer, signature: flipped(signature, prng) };
    case 2:
      return { ...offer, checkpoint: flipped(checkpoint, prng) };
    case 3:
      return { ...offer, checkpoint: other.checkpoint };
    case 4:
      return { ...offer, head: flipped(head, prng) };
    case 5: {
      // As if it were far ahead of all others, with a checkpoint that goes with the head.
      const forged = flipped(checkpoint, prng);
      return { ...offer, head: headOf(head, { ahead: 1_000, checkpoint: forged }), checkpoint: forged };
    }
    default:
      // The right checkpoint, on the word of nobody.
      return { ...offer, head: headOf(head, { ahead: 1, checkpoint }), signature: flipped(signature, prng) };
  }
}

function headOf(head: Uint8Array, change: { readonly ahead: number; readonly checkpoint: Uint8Array }): Uint8Array {
  const decoded = decodeHead(head);
  if (decoded === undefined) throw new Error('invariant: its own head is malformed');
  const commitIndex = decoded.commitIndex + change.ahead;
  return encodeHead({ ...decoded, commitIndex, checkpoint: checkpointDigest(change.checkpoint) });
}

function falsePart(message: Part, known: readonly StatePart[], prng: Prng): Part {
  switch (prng.below(6)) {
    case 0:
      return { ...message, part: { kind: 'gone' } };
    case 1:
      return { ...message, path: pathOf(prng) };
    case 2:
      return { ...message, table: message.table === 'service' ? 'system' : 'service' };
    case 3:
      return { ...message, part: known.length === 0 ? { kind: 'gone' } : prng.pick(known) };
    default:
      return { ...message, part: changedPart(message.part, prng) };
  }
}

function changedPart(part: StatePart, prng: Prng): StatePart {
  switch (part.kind) {
    case 'gone':
      return { kind: 'entries', entries: [junk] };
    case 'node':
      // A hash in it, or the numbers of entries and bytes, which no hash covers.
      return { kind: 'node', encoded: flipped(part.encoded, prng) };
    case 'entries': {
      const { entries } = part;
      const at = prng.below(Math.max(1, entries.length));
      const entry = entries[at] ?? junk;
      const changes: readonly (readonly PartEntry[])[] = [
        [],
        [...entries, junk],
        [...entries, ...entries],
        entries.toReversed(),
        entries.toSpliced(at, 1),
        entries.toSpliced(at, 1, { ...entry, value: flipped(entry.value, prng) }),
        entries.toSpliced(at, 1, { ...entry, key: flipped(entry.key, prng) }),
        entries.toSpliced(at, 1, { ...entry, value: (entries[0] ?? junk).value }),
      ];
      return { kind: 'entries', entries: prng.pick(changes) };
    }
  }
}

function falseChunk(message: Chunk, prng: Prng): Chunk {
  const { leaves, path, chunk } = message;
  return prng.pick<Chunk>([
    { ...message, leaves: new Uint8Array(), path: [] },
    { ...message, leaves: flipped(leaves, prng) },
    { ...message, leaves: leaves.subarray(leaves.length === 0 ? 0 : 32) },
    { ...message, path: path.slice(1) },
    { ...message, path: path.toReversed() },
    { ...message, chunk: chunk + 1 },
  ]);
}

function pathOf(prng: Prng): string {
  return Array.from({ length: prng.below(4) }, () => prng.below(16).toString(16)).join('');
}

function flipped(bytes: Uint8Array, prng: Prng): Uint8Array {
  const copy = Uint8Array.from(bytes);
  if (copy.length > 0) {
    const at = prng.below(copy.length);
    copy[at] = (copy[at] as number) ^ (1 << prng.below(8));
  }
  return copy;
}
