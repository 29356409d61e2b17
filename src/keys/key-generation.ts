/**
 * Key generation: one replica's part in making the service key, over the agreed sequence of commits.
 *
 * In: commits, in order, from the first of the epoch. Out: the duties this replica owes, the transcript, its key share.
 * What is agreed is worked out in `qualification.ts`, what this replica owes from its secrets in `own-part.ts`; here the members
 * are dealers and holders both, and authors are either.
 * Trust: an attacker who controls f replicas can keep its own dealings back, make dealings of others fail by nothing, and
 * know its own f key shares, which fit every service key. It can bias which of a few keys comes out; not know it
 * (docs/protocol/key-generation.md).
 */
import type { PairingCurve } from '../crypto/curve.ts';
import type { Membership } from '../membership/membership.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Duty } from '../wire/block.ts';
import { type KeyEvidence, KeyOffences } from './key-evidence.ts';
import { type KeyProgress, progressOf } from './key-progress.ts';
import { OwnPart } from './own-part.ts';
import { type Judge, Qualification } from './qualification.ts';
import { generationOf, type Sharing } from './sharing.ts';
import { type TakenKeyDuty, takenDuty } from './taken-duties.ts';
import { type Transcript, transcriptOf } from './transcript.ts';

/** What a replica takes part with. */
export interface KeySecrets {
  /** Of its encryption key in the membership. */
  readonly decryptionKey: bigint;
  /** 32 bytes that its own dealings are derived from. */
  readonly seed: Uint8Array;
}

export interface KeyGenerationOptions {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  readonly self: number;
  /** Undefined: this replica follows and owes nothing. Throws a RangeError when they are not those of the member. */
  readonly secrets: KeySecrets | undefined;
  /** Remembers costly verdicts, so that a simulation of n replicas works each out once. */
  readonly judge?: Judge;
  /** What another one took before, in place of the commits that held it. */
  readonly history?: readonly TakenKeyDuty[];
}

export class KeyGeneration {
  readonly #sharing: Sharing;
  readonly #qualification: Qualification;
  readonly #ownPart: OwnPart;
  readonly #history: TakenKeyDuty[] = [];
  readonly #offences = new KeyOffences();
  #transcript: Transcript | undefined;
  #keyShare: bigint | undefined;
  #owed: readonly Duty[] = [];
  /** Something changed since `#owed` was worked out. */
  #isStale = true;

  constructor({ curve, membership, self, secrets, judge, history = [] }: KeyGenerationOptions) {
    const sharing = generationOf(curve, membership);
    this.#sharing = sharing;
    this.#qualification = new Qualification({
      sharing,
      judge: judge ?? ((_, verdict) => verdict()),
      fault: ({ dealer, holder }, fault) =>
        this.#offences.note((dealer ?? holder) as number, `${sharing.name}: ${fault}`),
    });
    this.#ownPart = new OwnPart({
      sharing,
      qualification: this.#qualification,
      dealer: secrets && { index: self, seed: secrets.seed, secret: 'fresh' },
      holder: secrets && { index: self, decryptionKey: secrets.decryptionKey },
    });
    for (const { author, duty } of history) this.#take(author, duty);
    this.#settle();
    // It was reported when it was found.
    this.#offences.take();
  }

  /** What this replica owes and no commit holds yet. The same duty is the same object each time. */
  get owed(): readonly Duty[] {
    if (this.#isStale) {
      this.#owed = this.#ownPart.owed();
      this.#isStale = false;
    }
    return this.#owed;
  }

  get progress(): KeyProgress {
    return progressOf(this.#sharing, this.#qualification);
  }

  /** From the commit on with which the last dealing that is needed was qualified; the same on all replicas. */
  get transcript(): Transcript | undefined {
    return this.#transcript;
  }

  /**
   * Do so many replicas hold their key shares that the f + 1 shares for a signature are always to be had? From a later commit
   * on than the transcript when faulty dealers have kept evaluations from correct holders; the same on all replicas.
   */
  get isWidelyHeld(): boolean {
    return this.#qualification.isWidelyHeld;
  }

  /** The encoded dealings that the transcript names, in its order: what an auditor checks it with. */
  get qualifiedDealings(): readonly Uint8Array[] {
    if (this.#transcript === undefined) return [];
    return [...this.#qualification.qualified].sort((a, b) => a.dealer - b.dealer).map(({ encoded }) => encoded);
  }

  /**
   * This replica's share of the service key. Undefined before the transcript, without secrets, and as long as an
   * evaluation that a faulty dealer kept from it waits for openings.
   */
  get keyShare(): bigint | undefined {
    this.#keyShare ??= this.#ownPart.keyShare();
    return this.#keyShare;
  }

  /** Takes the next commit. */
  committed(commit: Commit): void {
    for (const { author, duties } of commit.blocks) for (const duty of duties) this.#take(author, duty);
    this.#settle();
  }

  /**
   * The duties that changed what is agreed, in the order of commits: with them another one gets to where this one is. At
   * most one dealing of each replica, and one response, complaint and opening of each for each dealing.
   */
  get history(): readonly TakenKeyDuty[] {
    return this.#history;
  }

  #take(author: number, duty: Duty): void {
    if (!this.#qualification.take({ dealer: author, holder: author }, duty)) return;
    this.#isStale = true;
    this.#history.push(takenDuty(this.#sharing.curve, author, duty));
  }

  #settle(): void {
    if (this.#transcript !== undefined || !this.#qualification.isSettled) return;
    this.#transcript = transcriptOf(this.#sharing, this.#qualification.qualified);
  }

  /** What others did wrong since this was last asked. */
  takeEvidence(): readonly KeyEvidence[] {
    return this.#offences.take();
  }
}
