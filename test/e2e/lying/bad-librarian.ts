/**
 * Bad librarian: gives out blocks of others, to who asks for them, bent, mistaken for each other, or not at all; shares of the service's
 * signature that are of something else; and statements that the service has not signed.
 *
 * Most of what it gives is right, so that it goes on being asked.
 */
import { type AdversaryMaker, asIs, blockIn } from '../../../simulator/adversaries/adversary.ts';
import type { PeerMessage } from '../../../src/wire/peer-message.ts';
import { bent, Memory } from './dice.ts';

export const badLibrarian: AdversaryMaker = ({ self, prng }) => {
  const blocks = new Memory<PeerMessage>(prng, 32);
  const shares = new Memory<PeerMessage>(prng, 8);

  const lieAbout = (message: PeerMessage): readonly PeerMessage[] => {
    switch (message.kind) {
      case 'block': {
        if (blockIn(message)?.author === self) return [message];
        const other = blocks.any ?? message;
        blocks.keep(message);
        return prng.pick([[], [other], [other, message], [{ ...message, block: bent(message.block, prng) }]]);
      }
      case 'signature-share': {
        const other = shares.any ?? message;
        shares.keep(message);
        return prng.pick([[], [other], [{ ...message, share: bent(message.share, prng) }]]);
      }
      case 'certified-statement':
        return [
          prng.chance(0.5)
            ? { ...message, signature: bent(message.signature, prng) }
            : { ...message, encoded: bent(message.encoded, prng) },
        ];
      case 'catch-up':
        return [{ ...message, afterRound: Math.max(0, message.afterRound - prng.below(20)) }];
      default:
        return [message];
    }
  };

  return {
    name: 'bad-librarian',
    outgoing: (message, to) => (prng.chance(0.7) ? [message] : lieAbout(message)).flatMap((said) => asIs(said, to)),
  };
};
