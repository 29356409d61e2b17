/**
 * Resharing: one replica's part in dealing the service key on to the replicas of the next epoch, over the agreed sequence of
 * commits.
 *
 * In: commits, in order, from the one on that fixed the next membership; then, from `enter` on, those of the next epoch's DAG.
 * Out: the duties this replica owes, the transcript of the next epoch, its key share there. Before the change authors are
 * replicas of the epoch before and duties have the kinds 7 to 10; afterwards authors are holders and the kinds are 1 to 4:
 * what a late holder still complains about and what others open for it.
 * Safety: the service key is the same. f old key shares and f new ones together fit every key, because each new share holds
 * the polynomial of a correct dealer, which was made for it (docs/protocol/epochs.md §3).
 * Trust: an attacker who controls f of the old replicas and f of the new ones can keep dealings back and shows its own old
 * key shares to all when it deals wrongly. It cannot change the key, learn it, or keep a correct holder from its share.
 */
import type { PairingCurve } from '../crypto/curve.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Duty } from '../wire/block.ts';
import { asNextDuty, asPresentDuty } from './key-duty.ts';
import { type KeyEvidence, KeyOffences } from './key-evidence.ts';
import { type KeyProgress, progressOf } from './key-progress.ts';
import { OwnPart } from './own-part.ts';
import { type Judge, type KeyFault, type Parts, Qualification } from './qualification.ts';
import type { Sharing } from './sharing.ts';
import { resharingOf, type SharingSource, type SharingTarget } from './sharing-source.ts';
import { type TakenKeyDuty, takenDuty } from './taken-duties.ts';
import { type Transcript, transcriptOf } from './transcript.ts';

/** What a replica deals its old key share on with. */
export interface DealingSecrets {
  /** Asked each time: it may come later than the resharing begins. One that does not fit its verification key is not dealt. */
  readonly share: () => bigint | undefined;
  /** 32 bytes: the dealing seed of the epoch before the change. */
  readonly seed: Uint8Array;
}

export interface ResharingOptions {
  readonly curve: PairingCurve;
  readonly source: SharingSource;
  readonly target: SharingTarget;
  /** This replica's id: in the source a dealer, in the target a holder, or in both; in neither it follows. */
  readonly replicaId: string;
  /** Undefined: it deals nothing. Of no use after the change. */
  readonly dealing: DealingSecrets | undefined;
  /** Of its encryption key in the target. Undefined: it answers nothing and gets no share. Throws a RangeError for another one. */
  readonly decryptionKey: bigint | undefined;
  /** Remembers costly verdicts, so that a simulation of n replicas works each out once. */
  readonly judge?: Judge;
  /** What another one took, before and after the change, in place of the commits that held it. */
  readonly history?: readonly TakenKeyDuty[];
  /** The next epoch has begun: the history holds all that was taken before, and may hold what was taken since. */
  readonly hasEntered?: boolean;
}

export class Resharing {
  readonly source: SharingSource;
  readonly target: SharingTarget;
  readonly #sharing: Sharing;
  readonly #qualification: Qualification;
  readonly #ownPart: OwnPart;
  #dealing: DealingSecrets | undefined;
  #shareSeen: bigint | undefined;
  /** Holders by the dealer they are, and the other way round. */
  readonly #holderOfDealer: readonly (number | undefined)[];
  readonly #dealerOfHolder: readonly (number | undefined)[];
  /** Has a voice before the change. */
  readonly #isDealer: boolean;
  readonly #history: TakenKeyDuty[] = [];
  readonly #offences = new KeyOffences();
  #hasEntered = false;
  #transcript: Transcript | undefined;
  #keyShare: bigint | undefined;
  #owed: readonly Duty[] = [];
  /** Something changed since `#owed` was worked out. */
  #isStale = true;
  /** The share that was looked at last, and whether it may be dealt. */
  #looked: { readonly share: bigint; readonly isRight: boolean } | undefined;
  readonly #nextDuties = new Map<Duty, Duty>();

  constructor(options: ResharingOptions) {
    const {
      curve,
      source,
      target,
      replicaId,
      dealing,
      decryptionKey,
      judge,
      history = [],
      hasEntered = false,
    } = options;
    this.source = source;
    this.target = target;
    this.#sharing = resharingOf(curve, source, target);
    const holderIds = target.replicas.map((replica) => replica.replicaId);
    this.#holderOfDealer = source.replicaIds.map((id) => placeIn(holderIds, id));
    this.#dealerOfHolder = holderIds.map((id) => placeIn(source.replicaIds, id));
    this.#qualification = new Qualification({
      sharing: this.#sharing,
      judge: judge ?? ((_, verdict) => verdict()),
      fault: (by, fault) => this.#note(by, fault),
    });
    const dealer = placeIn(source.replicaIds, replicaId);
    const holder = placeIn(holderIds, replicaId);
    this.#isDealer = dealer !== undefined;
    this.#dealing = dealer === undefined ? undefined : dealing;
    this.#ownPart = new OwnPart({
      sharing: this.#sharing,
      qualification: this.#qualification,
      dealer:
        dealer === undefined || dealing === undefined
          ? undefined
          : { index: dealer, seed: dealing.seed, secret: () => this.#shareToDeal(dealer) },
      holder: holder === undefined || decryptionKey === undefined ? undefined : { index: holder, decryptionKey },
    });
    for (const { author, duty } of history) this.#takeAgain(author, duty);
    this.#settle();
    if (hasEntered) this.enter();
    // It was reported when it was found.
    this.#offences.take();
  }

  /** What this replica owes and no commit holds yet. The same duty is the same object each time until the change. */
  get owed(): readonly Duty[] {
    const share = this.#dealing?.share();
    if (this.#isStale || share !== this.#shareSeen) {
      this.#shareSeen = share;
      this.#owed = this.#workOutOwed();
      this.#isStale = false;
    }
    return this.#owed;
  }

  get progress(): KeyProgress {
    return progressOf(this.#sharing, this.#qualification);
  }

  /** The dealings that make the sharing are known. */
  get isSettled(): boolean {
    return this.#qualification.isSettled;
  }

  /** So many replicas hold their new key shares that the epoch may change; the same on all replicas. */
  get isWidelyHeld(): boolean {
    return this.#qualification.isWidelyHeld;
  }

  /** Of the next epoch, with the same service key; from the commit on that settles it, the same on all replicas. */
  get transcript(): Transcript | undefined {
    return this.#transcript;
  }

  /** The encoded dealings that the transcript names, in its order: what an auditor checks it with. */
  get qualifiedDealings(): readonly Uint8Array[] {
    if (this.#transcript === undefined) return [];
    return [...this.#qualification.qualified].sort((a, b) => a.dealer - b.dealer).map(({ encoded }) => encoded);
  }

  /**
   * This replica's share of the service key in the next epoch. Undefined before the transcript, without a decryption key, and as
   * long as an evaluation that a faulty dealer kept from it waits for openings.
   */
  get keyShare(): bigint | undefined {
    this.#keyShare ??= this.#ownPart.keyShare();
    return this.#keyShare;
  }

  /** Duties of before the change are told from those after it by their kinds. */
  get history(): readonly TakenKeyDuty[] {
    return this.#history;
  }

  get hasEntered(): boolean {
    return this.#hasEntered;
  }

  /** Takes the next commit. */
  committed(commit: Commit): void {
    for (const { author, duties } of commit.blocks) for (const duty of duties) this.#take(author, duty);
    this.#settle();
  }

  /** From now on commits are those of the next epoch. Forgets the old key share and the seed. */
  enter(): void {
    if (this.#hasEntered) return;
    if (!this.isWidelyHeld) throw new Error('invariant: an epoch begins before its sharing is widely held');
    this.#hasEntered = true;
    this.#isStale = true;
    this.#dealing = undefined;
    this.#shareSeen = undefined;
    this.#looked = undefined;
    this.#ownPart.forgetDealing();
  }

  /** What others did wrong since this was last asked, with their indexes in the epoch of that commit. */
  takeEvidence(): readonly KeyEvidence[] {
    return this.#offences.take();
  }

  /** A duty as it was posted; one of the other side of the change is not about this sharing. */
  #take(author: number, duty: Duty): void {
    const isBefore = !this.#hasEntered;
    const about = isBefore ? asPresentDuty(duty) : duty;
    if (about === undefined) return;
    const by = isBefore
      ? { dealer: author, holder: this.#holderOfDealer[author] }
      : { dealer: undefined, holder: author };
    if (!this.#qualification.take(by, about)) return;
    this.#isStale = true;
    this.#history.push(takenDuty(this.#sharing.curve, author, duty));
  }

  #takeAgain(author: number, duty: Duty): void {
    if (!this.#hasEntered && asPresentDuty(duty) === undefined) this.enter();
    this.#take(author, duty);
  }

  #settle(): void {
    if (this.#transcript !== undefined || !this.#qualification.isSettled) return;
    this.#transcript = transcriptOf(this.#sharing, this.#qualification.qualified);
  }

  /** A dealer who has left when it is found out is nobody's business any more. */
  #note({ dealer, holder }: Parts, fault: KeyFault): void {
    const author = this.#hasEntered
      ? (holder ?? this.#holderOfDealer[dealer as number])
      : (dealer ?? this.#dealerOfHolder[holder as number]);
    if (author !== undefined) this.#offences.note(author, `${this.#sharing.name}: ${fault}`);
  }

  #workOutOwed(): readonly Duty[] {
    if (this.#hasEntered) return this.#ownPart.owed();
    return this.#isDealer ? this.#ownPart.owed().map((duty) => this.#asNext(duty)) : [];
  }

  #asNext(duty: Duty): Duty {
    const made = this.#nextDuties.get(duty) ?? asNextDuty(duty);
    this.#nextDuties.set(duty, made);
    return made;
  }

  #shareToDeal(dealer: number): bigint | undefined {
    const share = this.#dealing?.share();
    if (share === undefined) return undefined;
    if (this.#looked?.share !== share) this.#looked = { share, isRight: this.#fits(share, dealer) };
    return this.#looked.isRight ? share : undefined;
  }

  /** A wrong one would only show to everybody that this replica lost its own; zero cannot be dealt, and is nobody's. */
  #fits(share: bigint, dealer: number): boolean {
    const { curve, constants } = this.#sharing;
    const due = constants?.[dealer];
    if (due === undefined || share <= 0n || share >= curve.order) return false;
    return curve.g2.equals(curve.g2.multiply(curve.g2.generator, share), due);
  }
}

function placeIn(ids: readonly string[], id: string): number | undefined {
  const place = ids.indexOf(id);
  return place === -1 ? undefined : place;
}
