/**
 * Threshold coin: the coin of an epoch that has a service key (docs/protocol/ordering.md §7).
 *
 * The coin of period w is the service's signature on epoch and w, hashed to a replica index. There is one such signature,
 * so whoever combines it, from whichever shares, gets the same leader; and before f + 1 holders have signed, nobody can
 * tell it from a random number.
 * Cost: when 2f + 1 shares agree no pairing is computed, else one; culprits are looked for only when that one fails.
 */
import { blsSign } from '../crypto/bls.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import { digestBytes, sha256 } from '../crypto/hash.ts';
import { combineEncodedShares, decodePublicKeys, type PublicKeys } from '../crypto/threshold.ts';
import { type Membership, uniformIndex } from '../membership/membership.ts';
import type { Coin } from '../ordering/duty-source.ts';
import { domains } from '../wire/domain.ts';
import { Writer } from '../wire/writer.ts';
import type { Transcript } from './transcript.ts';

export interface ThresholdCoinOptions {
  readonly curve: PairingCurve;
  /** The epoch of now, whose coins are new ones, even when the key is of an earlier epoch. */
  readonly membership: Membership;
  readonly transcript: Transcript;
  /** Asked each time: our share may come later than the transcript, and be taken from us. */
  readonly keyShare: () => bigint | undefined;
}

/** What the service signs to toss the coin of a period. */
export function coinMessage({ serviceId, epoch }: Pick<Membership, 'serviceId' | 'epoch'>, period: number): Uint8Array {
  return new Writer(80).fixed(domains.coin).digest(serviceId).u32(epoch).u64(period).finish();
}

export class ThresholdCoin implements Coin {
  readonly #curve: PairingCurve;
  readonly #transcript: Transcript;
  readonly #membership: Membership;
  readonly #keyShare: () => bigint | undefined;
  readonly #keys: PublicKeys;

  constructor({ curve, membership, transcript, keyShare }: ThresholdCoinOptions) {
    this.#curve = curve;
    this.#transcript = transcript;
    this.#membership = membership;
    this.#keyShare = keyShare;
    this.#keys = decodePublicKeys(curve, transcript);
  }

  share(period: number): Uint8Array | undefined {
    const keyShare = this.#keyShare();
    if (keyShare === undefined) return undefined;
    return this.#curve.g1.encode(blsSign(this.#curve, keyShare, coinMessage(this.#membership, period)));
  }

  open(
    period: number,
    shares: readonly { readonly author: number; readonly share: Uint8Array }[],
  ): { readonly leader: number | undefined; readonly culprits: readonly number[] } {
    const { signature, culprits } = combineEncodedShares({
      curve: this.#curve,
      threshold: this.#transcript.threshold,
      message: coinMessage(this.#membership, period),
      shares: shares.map(({ author, share }) => ({ holder: author, share })),
      keys: this.#keys,
    });
    if (signature === undefined) return { leader: undefined, culprits };
    return { leader: uniformIndex(digestBytes(sha256(signature)), this.#membership.rule.n), culprits };
  }
}
