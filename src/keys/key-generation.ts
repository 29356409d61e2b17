/**
 * Key generation: one replica's part in making the service key, over the agreed sequence of commits.
 *
 * In: commits, in order, from the first of the epoch. Out: the duties this replica owes, the transcript, its key share.
 * What is agreed is worked out in `qualification.ts`; here is what depends on this replica's own secrets. Nothing is kept
 * but what follows from commits and secrets, and all randomness is derived from the seed: a replica that restarts and is
 * given the commits again owes just what no commit holds yet, with the same bytes.
 * Trust: an attacker who controls f replicas can keep its own dealings back, make dealings of others fail by nothing, and
 * know its own f key shares, which fit every service key. It can bias which of a few keys comes out; not know it
 * (docs/protocol/key-generation.md).
 */
import { complain, complaintSizeBytes, encodeComplaint } from '../crypto/complaint.ts';
import type { G1Point, PairingCurve } from '../crypto/curve.ts';
import { encodeDealing } from '../crypto/dealing.ts';
import { coordinateOf, interpolateAt } from '../crypto/polynomial.ts';
import { modulo } from '../crypto/scalar.ts';
import { deal, encryptionKeyOf, openEvaluation } from '../crypto/verifiable-sharing.ts';
import { containsReplica, type Membership, sizeOfSet } from '../membership/membership.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Evidence } from '../ordering/effects.ts';
import type { Duty } from '../wire/block.ts';
import { dutyKinds } from '../wire/duty.ts';
import { holderKeysOf } from './holder-keys.ts';
import {
  complaintDuty,
  dealingContext,
  dealingDuty,
  dealingNameSizeBytes,
  openingDuty,
  responseDuty,
} from './key-duty.ts';
import { type DealingState, type Judge, type KeyOffence, Qualification } from './qualification.ts';
import { type Transcript, transcriptOf } from './transcript.ts';

/** What a replica takes part with. */
export interface KeySecrets {
  /** Of its encryption key in the membership. */
  readonly decryptionKey: bigint;
  /** 32 bytes that its own dealing is derived from. */
  readonly seed: Uint8Array;
}

/** How far it is, for people. */
export interface KeyProgress {
  /** Well-formed dealings so far. */
  readonly dealt: number;
  /** `ok` from holders so far, for all dealings together. */
  readonly responses: number;
  /** Dealings that were shown to be wrong before they were qualified. */
  readonly disqualified: number;
  readonly qualified: number;
  /** Qualified dealings that make the key. */
  readonly needed: number;
  /** There is a service key. */
  readonly isComplete: boolean;
}

/** A rule of key generation that a replica broke; each once. */
export type KeyEvidence = Extract<Evidence, { readonly kind: 'rejection' }>;

/** A duty that changed what is agreed, and who posted it. */
export interface TakenKeyDuty {
  readonly author: number;
  readonly duty: Duty;
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
  readonly #curve: PairingCurve;
  readonly #membership: Membership;
  readonly #self: number;
  readonly #secrets: KeySecrets | undefined;
  readonly #holderKeys: readonly G1Point[];
  readonly #qualification: Qualification;
  readonly #history: TakenKeyDuty[] = [];
  #transcript: Transcript | undefined;
  #keyShare: bigint | undefined;

  /** Own evaluations by dealer; undefined where the dealing is wrong for us. */
  readonly #evaluations = new Map<number, bigint | undefined>();
  /** Own duties by what they are, so that each is made once. */
  readonly #duties = new Map<string, Duty>();
  #owed: readonly Duty[] = [];
  /** Something changed since `#owed` was worked out. */
  #isStale = true;

  #evidence: KeyEvidence[] = [];
  readonly #offences = new Set<string>();

  constructor({ curve, membership, self, secrets, judge, history = [] }: KeyGenerationOptions) {
    this.#curve = curve;
    this.#membership = membership;
    this.#self = self;
    this.#secrets = secrets;
    this.#holderKeys = holderKeysOf(curve, membership);
    if (secrets !== undefined) {
      const own = this.#holderKeys[self];
      if (own === undefined || !curve.g1.equals(own, encryptionKeyOf(curve, secrets.decryptionKey))) {
        throw new RangeError(`the decryption key is not that of replica ${self}`);
      }
    }
    this.#qualification = new Qualification({
      curve,
      membership,
      holderKeys: this.#holderKeys,
      judge: judge ?? ((_, verdict) => verdict()),
      offence: (author, rule) => this.#note(author, rule),
    });
    for (const { author, duty } of history) this.#take(author, duty);
    this.#settle();
    // It was reported when it was found.
    this.#evidence = [];
  }

  /** What this replica owes and no commit holds yet. The same duty is the same object each time. */
  get owed(): readonly Duty[] {
    if (this.#isStale) {
      this.#owed = this.#workOutOwed();
      this.#isStale = false;
    }
    return this.#owed;
  }

  get progress(): KeyProgress {
    const dealings = [...this.#qualification.dealings];
    return {
      dealt: dealings.length,
      responses: dealings.reduce((sum, { confirmedBy }) => sum + sizeOfSet(confirmedBy), 0),
      disqualified: dealings.filter(({ status }) => status === 'disqualified').length,
      qualified: this.#qualification.qualified.length,
      needed: this.#qualification.threshold,
      isComplete: this.#transcript !== undefined,
    };
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
    this.#keyShare ??= this.#sumOfEvaluations();
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
    if (!this.#qualification.take(author, duty)) return;
    this.#isStale = true;
    this.#history.push({ author, duty: { kind: duty.kind, payload: this.#toKeep(duty) } });
  }

  /** A copy: the payload is a view of its block. Of a complaint that is too long one byte too many does, and is refused as well. */
  #toKeep({ kind, payload }: Duty): Uint8Array {
    if (kind !== dutyKinds.complaint) return Uint8Array.from(payload);
    return Uint8Array.from(payload.subarray(0, dealingNameSizeBytes + complaintSizeBytes(this.#curve) + 1));
  }

  #settle(): void {
    if (this.#transcript !== undefined || !this.#qualification.isSettled) return;
    this.#transcript = transcriptOf(this.#curve, this.#membership, this.#qualification.qualified);
  }

  /** What others did wrong since this was last asked. */
  takeEvidence(): readonly KeyEvidence[] {
    const evidence = this.#evidence;
    this.#evidence = [];
    return evidence;
  }

  #note(author: number, rule: KeyOffence): void {
    const offence = `${author} ${rule}`;
    if (this.#offences.has(offence)) return;
    this.#offences.add(offence);
    this.#evidence.push({ kind: 'rejection', rule, from: author, author, digest: undefined });
  }

  #workOutOwed(): readonly Duty[] {
    const secrets = this.#secrets;
    if (secrets === undefined) return [];
    const owed: Duty[] = [];
    const { isSettled } = this.#qualification;
    if (!isSettled && !this.#qualification.hasDealt(this.#self)) {
      owed.push(this.#once('dealing', () => this.#makeDealing(secrets)));
    }
    for (const dealing of this.#qualification.dealings) {
      const isOfUse = dealing.status === 'qualified' || (dealing.status === 'open' && !isSettled);
      const duty = isOfUse ? this.#dutyAbout(dealing, secrets) : undefined;
      if (duty !== undefined) owed.push(duty);
    }
    return owed;
  }

  #dutyAbout(dealing: DealingState, secrets: KeySecrets): Duty | undefined {
    const { dealer, status } = dealing;
    const evaluation = this.#evaluationOf(dealing, secrets);
    if (dealing.isExposed) {
      const isLate = dealing.openings.length === this.#qualification.threshold;
      if (evaluation === undefined || isLate || containsReplica(dealing.openedBy, this.#self)) return undefined;
      return this.#once(`opening ${dealer}`, () => openingDuty(dealing, evaluation));
    }
    if (evaluation === undefined) {
      if (containsReplica(dealing.complainedBy, this.#self)) return undefined;
      return this.#once(`complaint ${dealer}`, () => this.#makeComplaint(dealing, secrets));
    }
    const isOfUse = status === 'open' || !this.#qualification.isWidelyHeld;
    if (!isOfUse || containsReplica(dealing.confirmedBy, this.#self)) return undefined;
    return this.#once(`response ${dealer}`, () => responseDuty(dealing));
  }

  #once(what: string, make: () => Duty): Duty {
    const made = this.#duties.get(what) ?? make();
    this.#duties.set(what, made);
    return made;
  }

  #makeDealing({ seed }: KeySecrets): Duty {
    const dealing = deal({
      curve: this.#curve,
      context: dealingContext(this.#membership, this.#self),
      threshold: this.#qualification.threshold,
      holderKeys: this.#holderKeys,
      seed,
    });
    return dealingDuty(encodeDealing(this.#curve, dealing));
  }

  #makeComplaint({ context, dealing, ...about }: DealingState, { decryptionKey }: KeySecrets): Duty {
    const complaint = complain({ curve: this.#curve, context, dealing, holder: this.#self, decryptionKey });
    return complaintDuty(about, encodeComplaint(this.#curve, complaint));
  }

  /** Opened once: each costs a few multiplications. */
  #evaluationOf({ dealer, context, dealing }: DealingState, { decryptionKey }: KeySecrets): bigint | undefined {
    if (!this.#evaluations.has(dealer)) {
      const about = { curve: this.#curve, context, dealing, holder: this.#self, decryptionKey };
      this.#evaluations.set(dealer, openEvaluation(about));
    }
    return this.#evaluations.get(dealer);
  }

  #sumOfEvaluations(): bigint | undefined {
    const secrets = this.#secrets;
    if (secrets === undefined || this.#transcript === undefined) return undefined;
    let sum = 0n;
    for (const dealing of this.#qualification.qualified) {
      const evaluation = this.#evaluationOf(dealing, secrets) ?? this.#interpolated(dealing);
      if (evaluation === undefined) return undefined;
      sum += evaluation;
    }
    return modulo(sum, this.#curve.order);
  }

  /** What f + 1 others have opened of a faulty dealer's polynomial says what ours must have been. */
  #interpolated({ openings }: DealingState): bigint | undefined {
    if (openings.length < this.#qualification.threshold) return undefined;
    return interpolateAt(openings, BigInt(coordinateOf(this.#self)), this.#curve.order);
  }
}
