/**
 * Signing: this replica's shares of the service's signature, and what the shares of others and whole signatures are worth.
 *
 * Owns the service key, the verification keys and the own key share, once they are there. Knows nothing of heads.
 * Cost: a pairing check takes 4 ms, a share 0.6 ms, decoding one 0.3 ms. So shares of others stay bytes until they are to be
 * combined, and 2f + 1 of them on one polynomial need no pairing (`crypto/threshold.ts`).
 * Trust: an attacker who controls it has one key share; a service signature takes f + 1.
 */
import { blsSign, blsVerify } from '../crypto/bls.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import { combineEncodedShares, decodePublicKeys, type EncodedShare, type PublicKeys } from '../crypto/threshold.ts';

export interface KeyMaterial {
  /** Encoded points of G2. */
  readonly serviceKey: Uint8Array;
  readonly verificationKeys: readonly Uint8Array[];
  /** Undefined: this replica may not sign, or cannot yet. */
  readonly share: bigint | undefined;
}

export class Signing {
  readonly #curve: PairingCurve;
  readonly #threshold: number;
  #keys: PublicKeys | undefined;
  #share: bigint | undefined;
  #isStopped = false;

  constructor(options: { readonly curve: PairingCurve; readonly threshold: number }) {
    this.#curve = options.curve;
    this.#threshold = options.threshold;
  }

  get hasServiceKey(): boolean {
    return this.#keys !== undefined;
  }

  get canSign(): boolean {
    return this.hasServiceKey && this.#share !== undefined && !this.#isStopped;
  }

  /** The service key of an epoch never changes; the share may come later, or be taken away. */
  setKey(key: KeyMaterial): void {
    this.#share = key.share;
    this.#keys ??= decodePublicKeys(this.#curve, key);
  }

  /** Signs nothing any more, whatever key is set. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Our share; undefined when we may not sign. */
  sign(message: Uint8Array): Uint8Array | undefined {
    if (this.#share === undefined || !this.canSign) return undefined;
    return this.#curve.g1.encode(blsSign(this.#curve, this.#share, message));
  }

  /**
   * The service's signature from shares by different holders, of which no more than 2f + 1 are looked at; `culprits` gave a
   * share that is not valid.
   */
  combine(
    message: Uint8Array,
    shares: readonly EncodedShare[],
  ): { readonly signature: Uint8Array | undefined; readonly culprits: readonly number[] } {
    const keys = this.#keys;
    if (keys === undefined) return { signature: undefined, culprits: [] };
    return combineEncodedShares({ curve: this.#curve, threshold: this.#threshold, message, shares, keys });
  }

  /** Is this the service's signature of the message? Takes one pairing check. */
  verify(message: Uint8Array, signature: Uint8Array): boolean {
    const point = this.#curve.g1.decode(signature);
    if (point === undefined || this.#keys === undefined) return false;
    return blsVerify(this.#curve, this.#keys.serviceKey, message, point);
  }
}
