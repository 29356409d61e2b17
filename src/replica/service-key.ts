/**
 * Service key: this replica's side of it: the sharing of this epoch, generated or dealt on to us, with our key share and the
 * coin; and while the epoch ends, the dealing of the key to the replicas of the next one.
 *
 * In: commits, in order; the next membership, once it is fixed. Out: duties owed, the transcript and the coin from an agreed commit
 * on, the key share when it can be had. Pure. Whether a share comes from the sealed file or from the log again makes no
 * difference: only one that fits the transcript is used.
 * Trust: an attacker who reads this replica's memory has its key share, and with f others' of the same epoch nothing more.
 */
import type { PairingCurve } from '../crypto/curve.ts';
import { encryptionKeyOf } from '../crypto/verifiable-sharing.ts';
import { ThresholdCoin } from '../keys/coin-key.ts';
import type { KeyEvidence } from '../keys/key-evidence.ts';
import { KeyGeneration, type KeySecrets } from '../keys/key-generation.ts';
import type { KeyProgress } from '../keys/key-progress.ts';
import { Resharing } from '../keys/resharing.ts';
import { type SharingSource, type SharingTarget, sourceOf, targetOf } from '../keys/sharing-source.ts';
import type { TakenKeyDuty } from '../keys/taken-duties.ts';
import type { Transcript } from '../keys/transcript.ts';
import type { Membership } from '../membership/membership.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Coin } from '../ordering/duty-source.ts';
import type { Duty } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { MembershipBody } from '../wire/membership-statement.ts';
import { type KeyHistory, noKeyHistory } from './key-history.ts';

export interface ServiceKeyOptions {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  /** The membership that shared the key; that of now, unless the cluster was restored from a snapshot. */
  readonly keyMembership?: Membership | undefined;
  readonly self: number;
  /** Undefined: this replica takes no part in the sharing. */
  readonly secrets: KeySecrets | undefined;
  /** Made for the next epoch before this start, the newest last. */
  readonly nextSecrets?: readonly KeySecrets[] | undefined;
  /** What the sealed file held. */
  readonly sealedShare?: bigint | undefined;
  /** An observer owes nothing and never signs: it has no use for secrets of this epoch. */
  readonly observer: boolean;
  /** What was taken before the checkpoint that the replica goes on from. */
  readonly history?: KeyHistory;
  /** The next membership, when that checkpoint has fixed it already. */
  readonly next?: MembershipBody | undefined;
}

export class ServiceKey {
  readonly #curve: PairingCurve;
  readonly #membership: Membership;
  readonly #keyMembership: Membership;
  readonly #self: number;
  readonly #present: KeyGeneration | Resharing;
  readonly #secrets: KeySecrets | undefined;
  readonly #sealedShare: bigint | undefined;
  /** Those of now stay ours in the next epoch when no others are named; an observer's too. */
  readonly #carriedOver: KeySecrets | undefined;
  #nextSecrets: readonly KeySecrets[];
  #next: Resharing | undefined;
  #coin: ThresholdCoin | undefined;
  #share: bigint | undefined;
  #toSeal: bigint | undefined;
  #isStopped = false;
  readonly #observer: boolean;

  constructor(options: ServiceKeyOptions) {
    const { curve, membership, self, observer, history = noKeyHistory, next } = options;
    this.#curve = curve;
    this.#membership = membership;
    this.#keyMembership = options.keyMembership ?? { ...membership, epoch: membership.sharingEpoch };
    this.#self = self;
    this.#observer = observer;
    this.#sealedShare = observer ? undefined : options.sealedShare;
    this.#secrets = observer ? undefined : options.secrets;
    this.#carriedOver = options.secrets;
    this.#nextSecrets = options.nextSecrets ?? [];
    this.#present = this.#presentSharing(history);
    this.#advance();
    if (history.next !== undefined && next !== undefined) {
      this.#next = this.#dealOn(history.next.source, next, history.next.duties);
    }
  }

  /** What was taken of both sharings, for a replica that goes on from here. */
  get history(): KeyHistory {
    const present = this.#present;
    const next = this.#next;
    return {
      present: { source: present instanceof Resharing ? present.source : undefined, duties: present.history },
      next: next === undefined ? undefined : { source: next.source, duties: next.history },
    };
  }

  get owed(): readonly Duty[] {
    if (this.#observer || this.#isStopped) return [];
    return this.#next === undefined ? this.#present.owed : [...this.#present.owed, ...this.#next.owed];
  }

  get progress(): KeyProgress {
    return this.#present.progress;
  }

  /** Of the resharing; undefined while none is under way. */
  get nextProgress(): KeyProgress | undefined {
    return this.#next?.progress;
  }

  get transcript(): Transcript | undefined {
    return this.#present.transcript;
  }

  get coin(): Coin | undefined {
    return this.#coin;
  }

  /** Undefined while it cannot be had, and once this replica has stopped signing. */
  get share(): bigint | undefined {
    return this.#isStopped ? undefined : this.#share;
  }

  /** So many replicas hold shares of the next sharing that its epoch may begin; the same on all replicas. */
  get isNextHeld(): boolean {
    return this.#next?.isWidelyHeld ?? false;
  }

  /** Our share of the next sharing, if we are one of its holders and it is to be had. */
  get nextShare(): bigint | undefined {
    return this.#isStopped ? undefined : this.#next?.keyShare;
  }

  committed(commit: Commit): void {
    this.#present.committed(commit);
    this.#next?.committed(commit);
    this.#advance();
  }

  /** The next membership is fixed by the last commit: from the next one on the key is dealt to it. */
  dealTo(next: MembershipBody): void {
    const { transcript } = this;
    if (transcript === undefined) throw new Error('invariant: a key is dealt on before there is one');
    this.#next = this.#dealOn(sourceOf(this.#membership, transcript), next, []);
  }

  /** Session keys of ours for the next epoch, which may or may not become those that its membership names. */
  addNextSecrets(secrets: KeySecrets): void {
    this.#nextSecrets = [...this.#nextSecrets, secrets].slice(-limits.nextSecretsMax);
    if (this.#next !== undefined) {
      this.#next = this.#dealOn(this.#next.source, this.#next.target, this.#next.history);
    }
  }

  /** The generation of epoch 0, or the resharing to this epoch, which goes on for those who were late. */
  #presentSharing({ present: { source, duties } }: KeyHistory): KeyGeneration | Resharing {
    const curve = this.#curve;
    const secrets = this.#secrets;
    const membership = this.#keyMembership;
    if (source === undefined) {
      return new KeyGeneration({ curve, membership, self: this.#self, secrets, history: duties });
    }
    return new Resharing({
      curve,
      source,
      target: targetOf(membership),
      replicaId: this.#replicaId,
      dealing: undefined,
      decryptionKey: secrets?.decryptionKey,
      history: duties,
      hasEntered: true,
    });
  }

  #dealOn(source: SharingSource, target: SharingTarget, history: readonly TakenKeyDuty[]): Resharing {
    const secrets = this.#secrets;
    return new Resharing({
      curve: this.#curve,
      source,
      target,
      replicaId: this.#replicaId,
      dealing: secrets === undefined ? undefined : { share: () => this.share, seed: secrets.seed },
      decryptionKey: this.#decryptionKeyIn(target),
      history,
    });
  }

  /** Of our encryption key in the next membership; undefined when we are not in it, or have lost the key. */
  #decryptionKeyIn({ replicas }: SharingTarget): bigint | undefined {
    const ours = replicas.find(({ replicaId }) => replicaId === this.#replicaId)?.encryptionKey;
    if (ours === undefined) return undefined;
    const { g1 } = this.#curve;
    return [...this.#nextSecrets, this.#carriedOver].find((secrets) => {
      if (secrets === undefined) return false;
      const encoded = g1.encode(encryptionKeyOf(this.#curve, secrets.decryptionKey));
      return Buffer.from(encoded).toString('hex') === ours;
    })?.decryptionKey;
  }

  get #replicaId(): string {
    return this.#membership.members[this.#self]?.replicaId ?? '';
  }

  #advance(): void {
    const { transcript } = this;
    if (transcript === undefined) return;
    if (this.#share === undefined) this.#findShare(transcript);
    // Not with the transcript already: commits may need the coin, and who waits for openings needs commits.
    if (this.#coin === undefined && this.#present.isWidelyHeld) this.#coin = this.#coinOf(transcript);
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
    return [...this.#present.takeEvidence(), ...(this.#next?.takeEvidence() ?? [])];
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
    this.#share = this.#present.keyShare;
    this.#toSeal = this.#share;
  }

  #fits(share: bigint, transcript: Transcript): boolean {
    const { g2 } = this.#curve;
    const expected = transcript.verificationKeys[this.#self] as Uint8Array;
    return Buffer.compare(g2.encode(g2.multiply(g2.generator, share)), expected) === 0;
  }
}
