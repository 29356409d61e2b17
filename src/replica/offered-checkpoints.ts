/**
 * Offered checkpoints: which offers of others are worth looking at, and whether the service signed their heads.
 *
 * In: offers; the service key, once anybody here knows it. Out: offers to be taken. A replica that has lost even the service key takes a
 * checkpoint on the word of as many as cannot all be faulty, each on a link of its own; it learns the key with the checkpoint.
 */
import { statementMessage } from '../certification/statement.ts';
import { blsVerify } from '../crypto/bls.ts';
import type { G2Point, PairingCurve } from '../crypto/curve.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import { emptySet, type QuorumRule, type ReplicaSet, withReplica } from '../membership/membership.ts';
import { checkpointDigest } from '../wire/checkpoint.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { encodeHead } from '../wire/head.ts';
import type { StateMessage } from '../wire/state-message.ts';

export type OfferMessage = Extract<StateMessage, { readonly kind: 'checkpoint-offer' }>;

export interface ReceivedOffer {
  readonly from: number;
  readonly message: OfferMessage;
}

export class OfferedCheckpoints {
  readonly #curve: PairingCurve;
  readonly #rule: QuorumRule;
  readonly #serviceKey: () => string | undefined;
  #key: { readonly text: string; readonly point: G2Point | undefined } | undefined;
  /** The last offer of each replica, while the service key is not known. */
  readonly #last = new Map<number, { readonly digest: Digest; readonly message: OfferMessage }>();

  constructor(options: {
    readonly curve: PairingCurve;
    readonly rule: QuorumRule;
    /** 192 hex characters; undefined while it is not known here. */
    readonly serviceKey: () => string | undefined;
  }) {
    this.#curve = options.curve;
    this.#rule = options.rule;
    this.#serviceKey = options.serviceKey;
  }

  /** The offers that are to be looked at by now. */
  take(from: number, message: OfferMessage): readonly ReceivedOffer[] {
    if (this.#serviceKey() !== undefined) return [{ from, message }];
    const digest = checkpointDigest(message.checkpoint);
    this.#last.set(from, { digest, message });
    const alike: ReceivedOffer[] = [];
    let authors: ReplicaSet = emptySet;
    for (const [peer, offer] of this.#last) {
      if (offer.digest !== digest) continue;
      authors = withReplica(authors, peer);
      alike.push({ from: peer, message: offer.message });
    }
    return this.#rule.hasCorrect(authors) ? alike : [];
  }

  /** Is it the service's signature? Where the key is not known, only heads that were vouched for come so far. */
  verifyHead({ head, signature }: CertifiedHead): boolean {
    const text = this.#serviceKey();
    if (text === undefined) return true;
    if (this.#key?.text !== text) {
      this.#key = { text, point: this.#curve.g2.decode(Buffer.from(text, 'hex')) };
    }
    const point = this.#curve.g1.decode(signature);
    if (this.#key.point === undefined || point === undefined) return false;
    return blsVerify(this.#curve, this.#key.point, statementMessage('head', sha256(encodeHead(head))), point);
  }
}
