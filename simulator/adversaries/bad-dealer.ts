/**
 * Bad dealer: what it deals to some holders they cannot open; in everything else it does as it should.
 *
 * The secret it shares with such a holder comes out wrong, because that holder's key times anything is something else.
 */
import { type AdversaryMaker, asIs } from './adversary.ts';

export const badDealer: AdversaryMaker = ({ membership, self, prng }) => {
  const { n } = membership.rule;
  const victims = prng.between(1, n - 1);
  return {
    name: 'bad-dealer',
    outgoing: asIs,
    tamper: (options) => {
      const { curve } = options;
      const { g1 } = curve;
      const keys = Array.from({ length: victims }, (_, i) => membership.members[(self + 1 + i) % n]?.encryptionKey);
      const multiply: typeof g1.multiply = (point, scalar) => {
        const product = g1.multiply(point, scalar);
        return keys.includes(Buffer.from(g1.encode(point)).toString('hex')) ? g1.add(product, g1.generator) : product;
      };
      return { ...options, curve: { ...curve, g1: { ...g1, multiply } } };
    },
  };
};
