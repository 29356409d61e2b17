/**
 * Bogus-parent citer: blocks whose references lie. Some name blocks that do not exist; some name real blocks under
 * another round or another author, so that a block seems to rest on a quorum of the round before and does not.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import type { Block, Reference } from '../../src/wire/block.ts';
import { type AdversaryMaker, asIs, blockIn, forgedFrom } from './adversary.ts';

const blocksRemembered = 200;

export const bogusCiter: AdversaryMaker = ({ membership, self, prng, sign }) => {
  const n = membership.members.length;
  /** References of real blocks by anyone, to be misquoted. */
  const real: Reference[] = [];
  const forged = new Map<Digest, Block>();

  const madeUp = (): Digest => Buffer.from(prng.bytes(32)).toString('hex') as Digest;

  const misquoted = (block: Block): Reference[] => {
    const kind = prng.below(4);
    return block.parents.map((parent, index): Reference => {
      if (kind === 0) return index === block.parents.length - 1 ? { ...parent, digest: madeUp() } : parent;
      const old = real.length === 0 ? parent : prng.pick(real);
      // An old block passed off as one of the round before, by its own author or by another.
      if (kind === 1) return index > 0 ? { ...parent, digest: old.digest } : parent;
      // One block cited under many names.
      if (kind === 2) return index > 0 ? { ...parent, digest: (block.parents[0] as Reference).digest } : parent;
      return { ...parent, digest: old.digest };
    });
  };

  const forge = (block: Block): Block => {
    const known = forged.get(block.digest);
    if (known !== undefined) return known;
    const missing = Array.from({ length: n }, (_, author) => author).filter(
      (author) => !block.parents.some((parent) => parent.author === author),
    );
    const parents = misquoted(block);
    // Authors left out are cited too: with blocks they never made.
    for (const author of missing) parents.push({ round: block.round - 1, author, digest: madeUp() });
    const made = prng.chance(0.4) ? block : forgedFrom(block, { parents }, sign);
    forged.set(block.digest, made);
    if (forged.size > blocksRemembered) forged.delete(forged.keys().next().value as Digest);
    return made;
  };

  return {
    name: 'bogus-citer',
    outgoing(message, to) {
      const block = blockIn(message);
      if (block === undefined || block.author !== self) return asIs(message, to);
      return asIs({ kind: 'block', block: forge(block).bytes }, to);
    },
    incoming(message) {
      const block = blockIn(message);
      if (block !== undefined) {
        real.push({ round: block.round, author: block.author, digest: block.digest });
        if (real.length > blocksRemembered) real.shift();
      }
      return { pass: true, send: [] };
    },
  };
};
