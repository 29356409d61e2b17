/**
 * Far-future flooder: validly signed blocks of rounds nobody has reached, near and absurdly far, with parents that do
 * not exist, many for one round. It wants memory, and replicas that believe they have fallen behind.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import { encodeBlock, type Reference } from '../../src/wire/block.ts';
import { type AdversaryMaker, asIs, blockIn, frameOf, othersThan } from './adversary.ts';

export const futureFlooder: AdversaryMaker = ({ membership, self, prng, sign }) => {
  const n = membership.members.length;
  const others = othersThan(self, n);
  let round = 1;
  let timestamp = membership.genesisTimestamp;

  const reference = (author: number, at: number): Reference => ({
    round: at,
    author,
    digest: Buffer.from(prng.bytes(32)).toString('hex') as Digest,
  });

  return {
    name: 'future-flooder',
    outgoing(message, to) {
      const block = blockIn(message);
      if (block !== undefined) {
        round = Math.max(round, block.round);
        timestamp = Math.max(timestamp, block.timestamp);
      }
      return asIs(message, to);
    },
    tick() {
      const ahead = prng.weighted([
        [prng.between(2, 12), 4],
        [prng.between(13, 600), 3],
        [1_000_000, 1],
        [Number.MAX_SAFE_INTEGER - round - 1, 1],
      ]);
      const at = round + ahead;
      const parents = [self, ...others].map((author) => reference(author, at - 1));
      const content = { epoch: membership.epoch, round: at, author: self, parents, requests: [], duties: [] };
      const block = encodeBlock({ ...content, timestamp: Math.min(timestamp + ahead, Number.MAX_SAFE_INTEGER) }, sign);
      const frame = frameOf({ kind: 'block', block: block.bytes });
      return others.map((to) => ({ to, frame }));
    },
  };
};
