/**
 * Qualification: which dealings make the service key, worked out from duties in commit order and from nothing else.
 *
 * In: duties and who posted each, in the order of commits. Out: the state of each dealing, the qualified ones once they
 * are settled, and who broke which rule. The same on all replicas; no secret comes near it.
 * Cost: a dealer has one dealing judged, a holder one complaint and one opening a dealing, so what faulty replicas can
 * make others compute is bounded by n and n * n judgements in an epoch.
 * Safety: a qualified dealing was found right by at least f + 1 correct holders, and stays qualified
 * (docs/protocol/key-generation.md, "The protocol").
 */
import { decodeComplaint, isJustifiedComplaint } from '../crypto/complaint.ts';
import type { G1Point, PairingCurve } from '../crypto/curve.ts';
import { type Dealing, decodeDealing } from '../crypto/dealing.ts';
import { evaluationMatches } from '../crypto/feldman.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { Evaluation } from '../crypto/polynomial.ts';
import { decodeScalar } from '../crypto/scalar.ts';
import { isWellFormedDealing } from '../crypto/verifiable-sharing.ts';
import { containsReplica, emptySet, type Membership, type ReplicaSet, withReplica } from '../membership/membership.ts';
import type { Duty } from '../wire/block.ts';
import { type DealingName, dealingContext, decodeKeyDuty, nameOfDealing } from './key-duty.ts';

/** A well-formed dealing and what is known of it by now. */
export interface DealingState extends DealingName {
  readonly encoded: Uint8Array;
  readonly context: Uint8Array;
  readonly dealing: Dealing;
  readonly status: 'open' | 'disqualified' | 'qualified';
  /** Holders whose `ok` counts. */
  readonly confirmedBy: ReplicaSet;
  /** Holders whose complaint was judged. */
  readonly complainedBy: ReplicaSet;
  /** Qualified, and then shown to be wrong for somebody: every holder owes an opening of its evaluation. */
  readonly isExposed: boolean;
  /** Holders whose opening was judged. */
  readonly openedBy: ReplicaSet;
  /** Openings that match; `threshold` of them, never more, are everybody's evaluation. */
  readonly openings: readonly Evaluation[];
}

type Changing<T> = { -readonly [Field in keyof T]: T[Field] };

/** What somebody did that no correct replica does. */
export type KeyOffence =
  | 'key generation: a duty that says nothing'
  | 'key generation: a malformed dealing'
  | 'key generation: a second dealing'
  | 'key generation: a dealing that is wrong for a holder'
  | 'key generation: about a dealing that is not there'
  | 'key generation: an unjustified complaint'
  | 'key generation: an opening nobody asked for'
  | 'key generation: a wrong opening';

/** Answers a costly question, by computing the verdict or by remembering it; equal questions have equal verdicts. */
export type Judge = (question: string, verdict: () => boolean) => boolean;

export interface QualificationOptions {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  readonly holderKeys: readonly G1Point[];
  readonly judge: Judge;
  /** Is told of every offence, and by whom. */
  readonly offence: (author: number, rule: KeyOffence) => void;
}

export class Qualification {
  readonly #options: QualificationOptions;
  /** Dealings that reconstruct, evaluations that interpolate, dealings that make the key: f + 1 each. */
  readonly threshold: number;
  /** The first dealing of each dealer, whether or not it is well-formed. */
  readonly #firstDealings = new Map<number, Digest>();
  readonly #dealings = new Map<number, Changing<DealingState>>();
  readonly #qualified: DealingState[] = [];

  constructor(options: QualificationOptions) {
    this.#options = options;
    this.threshold = options.membership.rule.f + 1;
  }

  /** Well-formed dealings, in commit order. */
  get dealings(): Iterable<DealingState> {
    return this.#dealings.values();
  }

  /** In the order in which they were qualified. */
  get qualified(): readonly DealingState[] {
    return this.#qualified;
  }

  /** The dealings that make the key are known, and will be no others. */
  get isSettled(): boolean {
    return this.#qualified.length === this.threshold;
  }

  /** A quorum holds the evaluations of all of them, so f + 1 correct replicas have their key shares, whoever else lies. */
  get isWidelyHeld(): boolean {
    if (!this.isSettled) return false;
    let holders = this.#options.holderKeys.reduce((all, _, holder) => withReplica(all, holder), emptySet);
    for (const { confirmedBy, openings } of this.#qualified) {
      // Once it is opened everybody has it.
      if (openings.length < this.threshold) holders &= confirmedBy;
    }
    return this.#options.membership.rule.isQuorum(holders);
  }

  hasDealt(dealer: number): boolean {
    return this.#firstDealings.has(dealer);
  }

  /** Takes a duty; false when it changed nothing. */
  take(author: number, duty: Duty): boolean {
    const decoded = decodeKeyDuty(duty);
    if (decoded === undefined) return false;
    if (!decoded.ok) return this.#refuse(author, 'key generation: a duty that says nothing');
    const said = decoded.value;
    if (said.kind === 'dealing') return this.#takeDealing(author, said.encoded);
    const dealing = this.#dealings.get(said.about.dealer);
    if (dealing === undefined || dealing.digest !== said.about.digest) {
      // Nobody correct speaks of a dealing before a commit has shown that it counts.
      return this.#refuse(author, 'key generation: about a dealing that is not there');
    }
    switch (said.kind) {
      case 'response':
        return this.#takeResponse(author, dealing);
      case 'complaint':
        return this.#takeComplaint(author, dealing, said.encoded);
      case 'opening':
        return this.#takeOpening(author, dealing, said.evaluation);
    }
  }

  #takeDealing(dealer: number, payload: Uint8Array): boolean {
    const name = nameOfDealing(dealer, payload);
    const first = this.#firstDealings.get(dealer);
    if (first !== undefined) {
      return first === name.digest ? false : this.#refuse(dealer, 'key generation: a second dealing');
    }
    if (this.isSettled) return false;
    this.#firstDealings.set(dealer, name.digest);
    const { membership } = this.#options;
    // A copy: the payload is a view of its block, which is let go of.
    const encoded = Uint8Array.from(payload);
    const context = dealingContext(membership, dealer);
    const dealing = this.#readDealing(name, context, encoded);
    if (dealing === undefined) {
      this.#refuse(dealer, 'key generation: a malformed dealing');
      return true;
    }
    this.#dealings.set(dealer, {
      ...name,
      encoded,
      context,
      dealing,
      status: 'open',
      confirmedBy: emptySet,
      complainedBy: emptySet,
      isExposed: false,
      openedBy: emptySet,
      openings: [],
    });
    return true;
  }

  #readDealing(name: DealingName, context: Uint8Array, encoded: Uint8Array): Dealing | undefined {
    const { curve, holderKeys } = this.#options;
    const { threshold } = this;
    const dealing = decodeDealing(curve, encoded, { threshold, holders: holderKeys.length });
    if (dealing === undefined) return undefined;
    const isWellFormed = this.#ask(['dealing'], name, () =>
      isWellFormedDealing({ curve, context, threshold, holderKeys, dealing }),
    );
    return isWellFormed ? dealing : undefined;
  }

  #takeResponse(holder: number, dealing: Changing<DealingState>): boolean {
    const isOfUse = dealing.status === 'qualified' ? !this.isWidelyHeld : dealing.status === 'open' && !this.isSettled;
    if (!isOfUse || containsReplica(dealing.confirmedBy, holder)) return false;
    dealing.confirmedBy = withReplica(dealing.confirmedBy, holder);
    if (dealing.status === 'open' && this.#options.membership.rule.isQuorum(dealing.confirmedBy)) {
      dealing.status = 'qualified';
      this.#qualified.push(dealing);
    }
    return true;
  }

  #takeComplaint(holder: number, dealing: Changing<DealingState>, encoded: Uint8Array): boolean {
    const isOfUse = dealing.status === 'qualified' ? !dealing.isExposed : dealing.status === 'open' && !this.isSettled;
    if (!isOfUse || containsReplica(dealing.complainedBy, holder)) return false;
    dealing.complainedBy = withReplica(dealing.complainedBy, holder);
    if (!this.#isJustified(holder, dealing, encoded)) {
      this.#refuse(holder, 'key generation: an unjustified complaint');
      return true;
    }
    this.#refuse(dealing.dealer, 'key generation: a dealing that is wrong for a holder');
    if (dealing.status === 'open') dealing.status = 'disqualified';
    else dealing.isExposed = true;
    return true;
  }

  #isJustified(holder: number, { context, dealing, ...name }: DealingState, encoded: Uint8Array): boolean {
    const { curve, holderKeys } = this.#options;
    const complaint = decodeComplaint(curve, encoded);
    if (complaint === undefined) return false;
    const holderKey = holderKeys[holder] as G1Point;
    return this.#ask(['complaint', holder, sha256(encoded)], name, () =>
      isJustifiedComplaint({ curve, context, dealing, holder, holderKey, complaint }),
    );
  }

  #takeOpening(holder: number, dealing: Changing<DealingState>, encoded: Uint8Array): boolean {
    if (!dealing.isExposed) return this.#refuse(holder, 'key generation: an opening nobody asked for');
    if (dealing.openings.length === this.threshold || containsReplica(dealing.openedBy, holder)) return false;
    dealing.openedBy = withReplica(dealing.openedBy, holder);
    const { curve } = this.#options;
    const value = decodeScalar(curve, encoded);
    const isRight =
      value !== undefined &&
      this.#ask(['opening', holder, sha256(encoded)], dealing, () =>
        evaluationMatches(curve, dealing.dealing.commitments, holder, value),
      );
    if (isRight) dealing.openings = [...dealing.openings, { holder, value }];
    else this.#refuse(holder, 'key generation: a wrong opening');
    return true;
  }

  /** The question names all that the verdict depends on. */
  #ask(what: readonly (string | number)[], { dealer, digest }: DealingName, verdict: () => boolean): boolean {
    const { curve, membership, judge } = this.#options;
    const { serviceId, epoch } = membership;
    return judge([curve.name, serviceId, epoch, dealer, digest, ...what].join(' '), verdict);
  }

  #refuse(author: number, rule: KeyOffence): false {
    this.#options.offence(author, rule);
    return false;
  }
}
