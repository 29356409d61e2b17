/**
 * Service key: this replica's side of it: key generation while there is none, then its key share and the coin.
 *
 * In: commits, in order. Out: duties owed, the transcript and the coin from an agreed commit on, the key share when it can be
 * had. Pure. Whether a share comes from the sealed file or from the log again makes no difference: only one that fits the
 * transcript is used.
 * Trust: an attacker who reads this replica's memory has its key share, and with f others' nothing more.
 */
import type { PairingCurve } from '../crypto/curve.ts';
import { ThresholdCoin } from '../keys/coin-key.ts';
import type { KeyEvidence } from '../keys/key-evidence.ts';
import { KeyGeneration, type KeySecrets } from '../keys/key-generation.ts';
import type { KeyProgress } from '../keys/key-progress.ts';
import type { TakenKeyDuty } from '../keys/taken-duties.ts';
import type { Transcript } from '../keys/transcript.ts';
import type { Membership } from '../membership/membership.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Coin } from '../ordering/duty-source.ts';
import type { Duty } from '../wire/block.ts';

export interface ServiceKeyOptions {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  /** The membership that generated the key; that of now, unless the cluster was restored from a snapshot. */
  readonly keyMembership?: Membership;
  readonly self: number;
  /** Undefined: this replica takes no part in key generation. */
  readonly secrets: KeySecrets | undefined;
  /** What the sealed file held. */
  readonly sealedShare?: bigint | undefined;
  /** An observer owes nothing and never signs: it has no use for secrets. */
  readonly observer: boolean;
  /** What key generation took before the checkpoint that the replica goes on from. */
  readonly history?: readonly TakenKeyDuty[];
}

export class ServiceKey {
  readonly #curve: PairingCurve;
  readonly #membership: Membership;
  readonly #self: number;
  readonly #generation: KeyGeneration;
  readonly #sealedShare: bigint | undefined;
  #coin: ThresholdCoin | undefined;
  #share: bigint | undefined;
  #toSeal: bigint | undefined;
  #isStopped = false;

  constructor(options: ServiceKeyOptions) {
    const { curve, membership, keyMembership = membership, self, observer, history = [] } = options;
    this.#curve = curve;
    this.#membership = membership;
    this.#self = self;
    this.#sealedShare = observer ? undefined : options.sealedShare;
    const secrets = observer ? undefined : options.secrets;
    this.#generation = new KeyGeneration({ curve, membership: keyMembership, self, secrets, history });
    this.#advance();
  }

  /** What key generation took so far, for a replica that goes on from here. */
  get history(): readonly TakenKeyDuty[] {
    return this.#generation.history;
  }

  get owed(): readonly Duty[] {
    return this.#generation.owed;
  }

  get progress(): KeyProgress {
    return this.#generation.progress;
  }

  get transcript(): Transcript | undefined {
    return this.#generation.transcript;
  }

  get coin(): Coin | undefined {
    return this.#coin;
  }

  /** Undefined while it cannot be had, and once this replica has stopped signing. */
  get share(): bigint | undefined {
    return this.#isStopped ? undefined : this.#share;
  }

  committed(commit: Commit): void {
    this.#generation.committed(commit);
    this.#advance();
  }

  #advance(): void {
    const { transcript } = this;
    if (transcript === undefined) return;
    if (this.#share === undefined) this.#findShare(transcript);
    // Not with the transcript already: commits may need the coin, and who waits for openings needs commits.
    if (this.#coin === undefined && this.#generation.isWidelyHeld) this.#coin = this.#coinOf(transcript);
  }

  /** Signs nothing any more: this replica has diverged, or its log was set back. */
  stop(): void {
    this.#isStopped = true;
  }

  /** A share that is not in the sealed file, once. */
  takeShareToSeal(): bigint | undefined {
    const share = this.#toSeal;
    this.#toSeal = undefined;
    return share;
  }

  takeEvidence(): readonly KeyEvidence[] {
    return this.#generation.takeEvidence();
  }

  #coinOf(transcript: Transcript): ThresholdCoin {
    return new ThresholdCoin({
      curve: this.#curve,
      membership: this.#membership,
      transcript,
      keyShare: () => this.share,
    });
  }

  #findShare(transcript: Transcript): void {
    const sealed = this.#sealedShare;
    if (sealed !== undefined && this.#fits(sealed, transcript)) {
      this.#share = sealed;
      return;
    }
    this.#share = this.#generation.keyShare;
    this.#toSeal = this.#share;
  }

  #fits(share: bigint, transcript: Transcript): boolean {
    const { g2 } = this.#curve;
    const expected = transcript.verificationKeys[this.#self] as Uint8Array;
    return Buffer.compare(g2.encode(g2.multiply(g2.generator, share)), expected) === 0;
  }
}
