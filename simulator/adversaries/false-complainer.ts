/**
 * False complainer: opens all that is dealt to it with a key that is not its own, and so complains of everybody; its own
 * part of key generation is worth nothing.
 */
import { type AdversaryMaker, asIs } from './adversary.ts';

export const falseComplainer: AdversaryMaker = () => ({
  name: 'false-complainer',
  outgoing: asIs,
  tamper: (options) => {
    const { keySecrets } = options;
    if (keySecrets === undefined) return options;
    return { ...options, keySecrets: { ...keySecrets, decryptionKey: keySecrets.decryptionKey + 1n } };
  },
});
