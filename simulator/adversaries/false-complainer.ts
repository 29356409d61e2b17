/**
 * False complainer: opens all that is dealt to it wrongly, and so complains of everybody, itself included.
 */
import { type AdversaryMaker, asIs } from './adversary.ts';

export const falseComplainer: AdversaryMaker = () => ({
  name: 'false-complainer',
  outgoing: asIs,
  tamper: (options) => {
    const { curve, keySecrets } = options;
    const { g1 } = curve;
    const multiply: typeof g1.multiply = (point, scalar) => {
      const product = g1.multiply(point, scalar);
      const isOpening = scalar === keySecrets?.decryptionKey && !g1.equals(point, g1.generator);
      return isOpening ? g1.add(product, g1.generator) : product;
    };
    return { ...options, curve: { ...curve, g1: { ...g1, multiply } } };
  },
});
