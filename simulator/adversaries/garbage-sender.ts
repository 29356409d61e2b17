/**
 * Garbage sender: random bytes, frames with flipped, missing or added bytes, blocks by others with a broken signature,
 * its own blocks with forged requests, and a flood of fetches for nothing.
 */
import type { PeerMessage } from '../../src/wire/peer-message.ts';
import { type AdversaryMaker, asIs, blockIn, forgedFrom, frameOf, type Outgoing, othersThan } from './adversary.ts';

export const garbageSender: AdversaryMaker = ({ membership, self, prng, sign }) => {
  const others = othersThan(self, membership.members.length);
  let seen: Uint8Array = Uint8Array.of(2, 1);

  const mangled = (frame: Uint8Array): Uint8Array => {
    const copy = Uint8Array.from(frame);
    switch (prng.below(3)) {
      case 0:
        for (let flips = prng.between(1, 4); flips > 0; flips--) copy[prng.below(copy.length)] = prng.below(256);
        return copy;
      case 1:
        return copy.subarray(0, prng.below(copy.length));
      default:
        return Buffer.concat([copy, prng.bytes(prng.between(1, 40))]);
    }
  };

  const invented = (): PeerMessage => {
    const references = Array.from({ length: prng.between(0, 256) }, () => ({
      round: prng.below(400),
      author: prng.below(40),
      digest: Buffer.from(prng.bytes(32)).toString('hex') as never,
    }));
    return prng.weighted<PeerMessage>([
      [{ kind: 'fetch', references }, 1],
      [{ kind: 'catch-up', afterRound: prng.below(1_000) }, 1],
      [{ kind: 'requests', requests: [prng.bytes(prng.below(300)), prng.bytes(10)] }, 1],
      [{ kind: 'block', block: prng.bytes(prng.below(600)) }, 1],
      [{ kind: 'hello', epochGenesis: Buffer.from(prng.bytes(32)).toString('hex') as never }, 1],
    ]);
  };

  return {
    name: 'garbage-sender',
    outgoing(message, to) {
      const block = blockIn(message);
      if (block?.author === self && prng.chance(0.2)) {
        const requests = [...block.requests, prng.bytes(prng.between(0, 200))];
        return asIs({ kind: 'block', block: forgedFrom(block, { requests }, sign).bytes }, to);
      }
      const frame = frameOf(message);
      return prng.chance(0.3) ? [{ to, frame: mangled(frame) }] : [{ to, frame }];
    },
    incoming(message) {
      if (message.kind === 'block') seen = frameOf(message);
      return { pass: true, send: [] };
    },
    tick() {
      const to = prng.pick(others);
      const send: Outgoing[] = [{ to, frame: prng.bytes(prng.below(200)) }];
      send.push({ to, frame: mangled(seen) }, { to, frame: frameOf(invented()) });
      return send;
    },
  };
};
