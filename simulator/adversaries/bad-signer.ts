/**
 * Bad signer: takes part in everything, and every signature share it gives, of coins and of heads, is of something else.
 */
import { type AdversaryMaker, asIs } from './adversary.ts';

export const badSigner: AdversaryMaker = () => ({
  name: 'bad-signer',
  outgoing: asIs,
  tamper: (options) => {
    const { curve } = options;
    const hashToG1: typeof curve.hashToG1 = (message) => curve.g1.multiply(curve.hashToG1(message), 3n);
    return { ...options, curve: { ...curve, hashToG1 } };
  },
});
