/**
 * Signing: this replica's shares of the service's signature, and what the shares of others and whole signatures are worth.
 *
 * Owns the service key, the verification keys and the own key share, once they are there. Knows nothing of heads.
 * Cost: a pairing check takes 4 ms, a share 0.6 ms, decoding one 0.3 ms. So shares of others stay bytes until they are to be
 * combined, and 2f + 1 of them on one polynomial need no pairing (`crypto/threshold.ts`).
 * Trust: an attacker who controls it has one key share; a service signature takes f + 1.
 */
import { blsSign, blsVerify } from '../crypto/bls.ts';
import type { G1Point, G2Point, PairingCurve } from '../crypto/curve.ts';
import { combineShares, type SignatureShare } from '../crypto/threshold.ts';

export interface KeyMaterial {
  /** Encoded points of G2. */
  readonly serviceKey: Uint8Array;
  readonly verificationKeys: readonly Uint8Array[];
  /** Undefined: this replica may not sign, or cannot yet. */
  readonly share: bigint | undefined;
}

/** A share by its holder, as it came. */
export interface EncodedShare {
  readonly holder: number;
  readonly share: Uint8Array;
}

export class Signing {
  readonly #curve: PairingCurve;
  readonly #threshold: number;
  #serviceKey: G2Point | undefined;
  #verificationKeys: readonly G2Point[] = [];
  #share: bigint | undefined;
  #isStopped = false;

  constructor(options: { readonly curve: PairingCurve; readonly threshold: number }) {
    this.#curve = options.curve;
    this.#threshold = options.threshold;
  }

  get hasServiceKey(): boolean {
    return this.#serviceKey !== undefined;
  }

  get canSign(): boolean {
    return this.hasServiceKey && this.#share !== undefined && !this.#isStopped;
  }

  /** The service key of an epoch never changes; the share may come later, or be taken away. */
  setKey(key: KeyMaterial): void {
    this.#share = key.share;
    if (this.#serviceKey !== undefined) return;
    this.#serviceKey = this.#decodeKey(key.serviceKey);
    this.#verificationKeys = key.verificationKeys.map((each) => this.#decodeKey(each));
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
    encoded: readonly EncodedShare[],
  ): { readonly signature: Uint8Array | undefined; readonly culprits: readonly number[] } {
    if (this.#serviceKey === undefined) return { signature: undefined, culprits: [] };
    const { g1 } = this.#curve;
    const shares: SignatureShare[] = [];
    const undecodable: number[] = [];
    // Whatever f of them are, f + 1 of 2f + 1 are right. To decode one more takes as long as to add up several.
    for (const { holder, share } of encoded.slice(0, 2 * this.#threshold - 1)) {
      const point = g1.decode(share);
      if (point === undefined) undecodable.push(holder);
      else shares.push({ holder, point });
    }
    const { signature, culprits } = combineShares({
      curve: this.#curve,
      threshold: this.#threshold,
      message,
      shares,
      serviceKey: this.#serviceKey,
      verificationKeys: this.#verificationKeys,
    });
    return {
      signature: signature === undefined ? undefined : g1.encode(signature),
      culprits: [...undecodable, ...culprits],
    };
  }

  /** Is this the service's signature of the message? Takes one pairing check. */
  verify(message: Uint8Array, signature: Uint8Array): boolean {
    const point: G1Point | undefined = this.#curve.g1.decode(signature);
    if (point === undefined || this.#serviceKey === undefined) return false;
    return blsVerify(this.#curve, this.#serviceKey, message, point);
  }

  #decodeKey(encoded: Uint8Array): G2Point {
    const point = this.#curve.g2.decode(encoded);
    if (point === undefined) throw new Error('invariant: the transcript of key generation has a key that is none');
    return point;
  }
}
