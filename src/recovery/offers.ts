/**
 * Offers: which checkpoints the others have, and which is the newest that the service vouches for.
 *
 * In: offers. Out: the checkpoints among them that are certified, and who has each. Owns at most two for each replica.
 * Safety: a checkpoint is taken only if a head with the service's signature carries its digest (docs/protocol/state-transfer.md S1).
 * Abuse: a signature is checked only for a checkpoint that would be news, later than those that the same replica has; whoever sends a
 * wrong one is not to be listened to again.
 */

import type { Digest } from '../crypto/hash.ts';
import { beginsFrom } from '../membership/restored.ts';
import { checkpointDigest, decodeCheckpoint } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { decodeHead } from '../wire/head.ts';
import type { StateMessage } from '../wire/state-message.ts';
import type { Offer } from './effects.ts';

type OfferMessage = Extract<StateMessage, { readonly kind: 'checkpoint-offer' }>;

/** A replica holds two for others at most (`replica/state-service.ts`). */
const heldMax = 2;

export interface OffersOptions {
  readonly serviceId: Digest;
  readonly epoch: number;
  readonly epochGenesis: Digest;
  /** Checkpoints of earlier commits are of no use. */
  readonly notBelow: number;
  /** Is this the service's signature of the head? */
  readonly verifyHead: (head: CertifiedHead) => boolean;
}

export class Offers {
  readonly #options: OffersOptions;
  readonly #known = new Map<Digest, Offer>();
  /** Newest last. */
  readonly #heldBy = new Map<number, readonly Digest[]>();

  constructor(options: OffersOptions) {
    this.#options = options;
  }

  get newest(): Offer | undefined {
    let newest: Offer | undefined;
    for (const offer of this.#known.values()) {
      if (newest === undefined || indexOf(offer) > indexOf(newest)) newest = offer;
    }
    return newest;
  }

  holds(peer: number, digest: Digest): boolean {
    return this.#heldBy.get(peer)?.includes(digest) ?? false;
  }

  holdersOf(digest: Digest): readonly number[] {
    return [...this.#heldBy.keys()].filter((peer) => this.holds(peer, digest));
  }

  /** Undefined when there is nothing wrong with it, else the rule that it breaks. One that is older than `target` is passed over. */
  take(from: number, message: OfferMessage, target: Offer | undefined): string | undefined {
    const head = decodeHead(message.head);
    if (head === undefined) return 'offer: the head is malformed';
    const { serviceId, epoch, notBelow, verifyHead } = this.#options;
    const digest = checkpointDigest(message.checkpoint);
    // Before a head of this epoch is certified there is only the one with which the epoch before was closed.
    const isOfNow = head.epoch === epoch || (head.epoch < epoch && beginsFrom(this.#options, digest));
    if (head.serviceId !== serviceId || !isOfNow) return 'offer: of another service or epoch';
    if (head.checkpoint !== digest) return 'offer: the head carries another checkpoint';
    if (!this.#known.has(digest)) {
      const decoded = decodeCheckpoint(message.checkpoint);
      if (!decoded.ok) return `offer: ${decoded.reason}`;
      const checkpoint = decoded.value;
      const { commitIndex } = checkpoint.ordering;
      // That of an earlier epoch which a head of this one carries is the one that this epoch begins from.
      if (checkpoint.serviceId !== serviceId || checkpoint.epoch > epoch || commitIndex > head.commitIndex) {
        return 'offer: the checkpoint is of something else than its head';
      }
      if (commitIndex < notBelow || (target !== undefined && commitIndex < indexOf(target))) return undefined;
      // Nobody goes back: who says old ones again and again would have each of them looked at anew.
      if (this.#heldBy.get(from)?.some((each) => commitIndex <= this.#indexOfKnown(each))) return undefined;
      const certified = { head, signature: Uint8Array.from(message.signature) };
      if (!verifyHead(certified)) return 'offer: not signed by the service';
      this.#known.set(digest, { checkpoint, encoded: Uint8Array.from(message.checkpoint), digest, head: certified });
    }
    const others = (this.#heldBy.get(from) ?? []).filter((each) => each !== digest);
    this.#heldBy.set(from, [...others, digest].slice(-heldMax));
    this.#forgetUnheld(target);
    return undefined;
  }

  /** The replica does not have this one any more. */
  gone(from: number, digest: Digest, target: Offer | undefined): void {
    const left = (this.#heldBy.get(from) ?? []).filter((each) => each !== digest);
    this.#heldBy.set(from, left);
    this.#forgetUnheld(target);
  }

  drop(peer: number, target: Offer | undefined): void {
    this.#heldBy.delete(peer);
    this.#forgetUnheld(target);
  }

  #indexOfKnown(digest: Digest): number {
    const offer = this.#known.get(digest);
    return offer === undefined ? 0 : indexOf(offer);
  }

  #forgetUnheld(target: Offer | undefined): void {
    const held = new Set([...this.#heldBy.values()].flat());
    for (const digest of this.#known.keys()) {
      if (!held.has(digest) && digest !== target?.digest) this.#known.delete(digest);
    }
  }
}

export function indexOf({ checkpoint }: Offer): number {
  return checkpoint.ordering.commitIndex;
}
