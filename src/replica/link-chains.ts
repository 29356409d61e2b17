/**
 * Link chains: how far the certified heads on each client's link have got, and the proof that the next one goes on from there.
 *
 * In: what a client says it holds; heads on their way to it. Out: each head's tie to the one before. Pure; owns one size for
 * each link: the first head goes on from the size the client named, each later one from the one before on that link
 * (docs/protocol/certification.md).
 */
import type { Digest } from '../crypto/hash.ts';
import type { CertifiedHead, HeadTie } from '../wire/client-message.ts';

/** Where proofs come from: the log. Undefined when it cannot be given. */
export interface ConsistencyProver {
  consistencyPath(from: number, to: number): readonly Digest[] | undefined;
}

export type TiedHead = { readonly certifiedHead: CertifiedHead } & HeadTie;

export class LinkChains {
  readonly #prover: ConsistencyProver;
  /** Size of the last head on a link, or the one its client named. */
  readonly #sizes = new Map<number, number>();

  constructor(prover: ConsistencyProver) {
    this.#prover = prover;
  }

  has(link: number): boolean {
    return this.#sizes.has(link);
  }

  /** The client of this link holds a head of so many leaves; counts for the first head on the link only. */
  begin(link: number, heldLogSize: number): void {
    if (!this.#sizes.has(link)) this.#sizes.set(link, heldLogSize);
  }

  /** The same, for the next head whichever it is. */
  beginAnew(link: number, heldLogSize: number): void {
    this.#sizes.set(link, heldLogSize);
  }

  forget(link: number): void {
    this.#sizes.delete(link);
  }

  /** The head as it goes to this link; from nothing when the one before is not of our log. */
  tied(link: number, certifiedHead: CertifiedHead): TiedHead {
    const { logSize } = certifiedHead.head;
    const held = this.#sizes.get(link) ?? 0;
    this.#sizes.set(link, logSize);
    if (held === 0 || held > logSize) return { certifiedHead, consistentWith: 0, consistencyPath: [] };
    const path = this.#prover.consistencyPath(held, logSize);
    if (path === undefined) return { certifiedHead, consistentWith: 0, consistencyPath: [], notRetained: true };
    return { certifiedHead, consistentWith: held, consistencyPath: path };
  }
}
