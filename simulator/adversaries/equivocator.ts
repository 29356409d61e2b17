/**
 * Equivocator: makes two validly signed blocks for a round and shows one to some replicas, the other to the rest.
 *
 * The twins form chains of their own: the second block of a round cites the second of the round before. It answers a
 * fetch of either. Some rounds it plays fair, so that the split falls anywhere in a wave.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import type { Block } from '../../src/wire/block.ts';
import { type AdversaryMaker, asIs, blockIn, forgedFrom, frameOf, type Outgoing } from './adversary.ts';

const roundsRemembered = 200;

export const equivocator: AdversaryMaker = ({ membership, self, prng, sign }) => {
  const n = membership.members.length;
  /** By digest of the block the machine made. */
  const twins = new Map<Digest, { readonly twin: Block; readonly shownTo: number }>();
  const byOwnDigest = new Map<Digest, Block>();

  const twinOf = (block: Block) => {
    const known = twins.get(block.digest);
    if (known !== undefined) return known;
    const own = block.parents[0];
    const previous = own === undefined ? undefined : twins.get(own.digest)?.twin;
    const parents =
      own === undefined || previous === undefined
        ? block.parents
        : [{ ...own, digest: previous.digest }, ...block.parents.slice(1)];
    const requests = prng.chance(0.5) ? [] : [...block.requests].reverse();
    const twin = forgedFrom(block, { parents, requests, timestamp: block.timestamp + 1 }, sign);
    // One bit for each replica: a coin toss, or a fair round.
    const made = { twin, shownTo: prng.chance(0.25) ? 0 : prng.below(2 ** n) };
    twins.set(block.digest, made);
    byOwnDigest.set(twin.digest, twin);
    if (twins.size > roundsRemembered) twins.delete(twins.keys().next().value as Digest);
    if (byOwnDigest.size > roundsRemembered) byOwnDigest.delete(byOwnDigest.keys().next().value as Digest);
    return made;
  };

  return {
    name: 'equivocator',
    outgoing(message, to) {
      const block = blockIn(message);
      if (block === undefined || block.author !== self) return asIs(message, to);
      const { twin, shownTo } = twinOf(block);
      return (shownTo & (1 << to)) === 0 ? asIs(message, to) : asIs({ kind: 'block', block: twin.bytes }, to);
    },
    incoming(message, from) {
      if (message.kind !== 'fetch') return { pass: true, send: [] };
      const send: Outgoing[] = [];
      for (const { digest } of message.references) {
        const twin = byOwnDigest.get(digest);
        if (twin !== undefined) send.push({ to: from, frame: frameOf({ kind: 'block', block: twin.bytes }) });
      }
      return { pass: true, send };
    },
  };
};
