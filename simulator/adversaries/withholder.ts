/**
 * Withholder: sends each of its blocks to some replicas only, and never to the others, whoever asks.
 *
 * Those left out learn of the block from those who cite it and must fetch it there.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import { type AdversaryMaker, asIs, blockIn } from './adversary.ts';

const blocksRemembered = 500;

export const withholder: AdversaryMaker = ({ membership, self, prng }) => {
  const n = membership.members.length;
  const shownTo = new Map<Digest, number>();
  return {
    name: 'withholder',
    outgoing(message, to) {
      const block = blockIn(message);
      if (block === undefined || block.author !== self) return asIs(message, to);
      let chosen = shownTo.get(block.digest);
      if (chosen === undefined) {
        chosen = 0;
        for (const peer of prng
          .shuffle(Array.from({ length: n }, (_, index) => index))
          .slice(0, prng.between(1, n - 1))) {
          chosen |= 1 << peer;
        }
        shownTo.set(block.digest, chosen);
        if (shownTo.size > blocksRemembered) shownTo.delete(shownTo.keys().next().value as Digest);
      }
      return (chosen & (1 << to)) === 0 ? [] : asIs(message, to);
    },
  };
};
