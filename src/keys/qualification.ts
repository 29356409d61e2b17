/**
 * Qualification: which dealings make a sharing, worked out from duties in commit order and from nothing else.
 *
 * In: the rules of the sharing, duties and who posted each, in the order of commits. Out: the state of each dealing, the qualified ones once they
 * are settled, and who broke which rule. The same on all replicas; no secret comes near it.
 * Cost: a dealer has one dealing judged, a holder one complaint and one opening a dealing, so what faulty replicas can
 * make others compute is bounded by n and n * n judgements in a sharing.
 * Safety: a qualified dealing was found right by at least f + 1 correct holders, and stays qualified
 * (docs/protocol/key-generation.md, "The protocol").
 */
import { decodeComplaint, isJustifiedComplaint } from '../crypto/complaint.ts';
import type { G1Point } from '../crypto/curve.ts';
import { type Dealing, decodeDealing } from '../crypto/dealing.ts';
import { evaluationMatches } from '../crypto/feldman.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { Evaluation } from '../crypto/polynomial.ts';
import { decodeScalar } from '../crypto/scalar.ts';
import { isWellFormedDealing } from '../crypto/verifiable-sharing.ts';
import { containsReplica, emptySet, type ReplicaSet, withReplica } from '../membership/membership.ts';
import type { Duty } from '../wire/block.ts';
import { type DealingName, decodeKeyDuty, nameOfDealing } from './key-duty.ts';
import { type Sharing, sharesRightSecret } from './sharing.ts';

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
export type KeyFault =
  | 'a duty that says nothing'
  | 'a malformed dealing'
  | 'a second dealing'
  | 'a dealing of another secret'
  | 'a dealing that is wrong for a holder'
  | 'about a dealing that is not there'
  | 'an answer of no holder'
  | 'an unjustified complaint'
  | 'an opening nobody asked for'
  | 'a wrong opening';

/** Answers a costly question, by computing the verdict or by remembering it; equal questions have equal verdicts. */
export type Judge = (question: string, verdict: () => boolean) => boolean;

/** Who a replica is in a sharing. */
export interface Parts {
  /** Undefined: it deals nothing. */
  readonly dealer: number | undefined;
  /** Undefined: it holds nothing. */
  readonly holder: number | undefined;
}

export interface QualificationOptions {
  readonly sharing: Sharing;
  readonly judge: Judge;
  /** Is told of every fault, and whose it is. */
  readonly fault: (by: Parts, fault: KeyFault) => void;
}

export class Qualification {
  readonly #options: QualificationOptions;
  /** The first dealing of each dealer, whether or not it is well-formed. */
  readonly #firstDealings = new Map<number, Digest>();
  readonly #dealings = new Map<number, Changing<DealingState>>();
  readonly #qualified: DealingState[] = [];

  constructor(options: QualificationOptions) {
    this.#options = options;
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
    return this.#qualified.length === this.#options.sharing.dealingsNeeded;
  }

  /** So many hold the evaluations of all of them that f + 1 correct ones have their key shares, whoever else lies. */
  get isWidelyHeld(): boolean {
    if (!this.isSettled) return false;
    const { sharing } = this.#options;
    let holders = sharing.holderKeys.reduce((all, _, holder) => withReplica(all, holder), emptySet);
    for (const { confirmedBy, openings } of this.#qualified) {
      // Once it is opened everybody has it.
      if (openings.length < sharing.threshold) holders &= confirmedBy;
    }
    return sharing.isWideWith(holders);
  }

  hasDealt(dealer: number): boolean {
    return this.#firstDealings.has(dealer);
  }

  /** Takes a duty of who has these parts; false when it changed nothing. */
  take(by: Parts, duty: Duty): boolean {
    const decoded = decodeKeyDuty(duty);
    if (decoded === undefined) return false;
    if (!decoded.ok) return this.#refuse(by, 'a duty that says nothing');
    const said = decoded.value;
    // Who has no dealing to make any more may still have one on its way.
    if (said.kind === 'dealing') return by.dealer !== undefined && this.#takeDealing(by.dealer, said.encoded);
    const { holder } = by;
    if (holder === undefined) return this.#refuse(by, 'an answer of no holder');
    const dealing = this.#dealings.get(said.about.dealer);
    if (dealing === undefined || dealing.digest !== said.about.digest) {
      // Nobody correct speaks of a dealing before a commit has shown that it counts.
      return this.#refuse(by, 'about a dealing that is not there');
    }
    switch (said.kind) {
      case 'response':
        return this.#takeResponse(holder, dealing);
      case 'complaint':
        return this.#takeComplaint(holder, dealing, said.encoded);
      case 'opening':
        return this.#takeOpening(holder, dealing, said.evaluation);
    }
  }

  #takeDealing(dealer: number, payload: Uint8Array): boolean {
    const name = nameOfDealing(dealer, payload);
    const first = this.#firstDealings.get(dealer);
    if (first !== undefined) {
      return first === name.digest ? false : this.#refuse(dealt(dealer), 'a second dealing');
    }
    if (this.isSettled) return false;
    this.#firstDealings.set(dealer, name.digest);
    // A copy: the payload is a view of its block, which is let go of.
    const encoded = Uint8Array.from(payload);
    const context = this.#options.sharing.contextOf(dealer);
    const dealing = this.#readDealing(name, context, encoded);
    if (dealing === undefined) return true;
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
    const { sharing } = this.#options;
    const { curve, threshold, holderKeys } = sharing;
    const dealing = decodeDealing(curve, encoded, { threshold, holders: holderKeys.length });
    const isWellFormed =
      dealing !== undefined &&
      this.#ask(['dealing'], name, context, () =>
        isWellFormedDealing({ curve, context, threshold, holderKeys, dealing }),
      );
    if (!isWellFormed) {
      this.#refuse(dealt(name.dealer), 'a malformed dealing');
      return undefined;
    }
    if (sharesRightSecret(sharing, name.dealer, dealing)) return dealing;
    this.#refuse(dealt(name.dealer), 'a dealing of another secret');
    return undefined;
  }

  #takeResponse(holder: number, dealing: Changing<DealingState>): boolean {
    const isOfUse = dealing.status === 'qualified' ? !this.isWidelyHeld : dealing.status === 'open' && !this.isSettled;
    if (!isOfUse || containsReplica(dealing.confirmedBy, holder)) return false;
    dealing.confirmedBy = withReplica(dealing.confirmedBy, holder);
    if (dealing.status === 'open' && this.#options.sharing.isConfirmedBy(dealing.confirmedBy)) {
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
      this.#refuse(held(holder), 'an unjustified complaint');
      return true;
    }
    this.#refuse(dealt(dealing.dealer), 'a dealing that is wrong for a holder');
    if (dealing.status === 'open') dealing.status = 'disqualified';
    else dealing.isExposed = true;
    return true;
  }

  #isJustified(holder: number, { context, dealing, ...name }: DealingState, encoded: Uint8Array): boolean {
    const { curve, holderKeys } = this.#options.sharing;
    const complaint = decodeComplaint(curve, encoded);
    if (complaint === undefined) return false;
    const holderKey = holderKeys[holder] as G1Point;
    return this.#ask(['complaint', holder, sha256(encoded)], name, context, () =>
      isJustifiedComplaint({ curve, context, dealing, holder, holderKey, complaint }),
    );
  }

  #takeOpening(holder: number, dealing: Changing<DealingState>, encoded: Uint8Array): boolean {
    if (!dealing.isExposed) return this.#refuse(held(holder), 'an opening nobody asked for');
    const { curve, threshold } = this.#options.sharing;
    if (dealing.openings.length === threshold || containsReplica(dealing.openedBy, holder)) return false;
    dealing.openedBy = withReplica(dealing.openedBy, holder);
    const value = decodeScalar(curve, encoded);
    const isRight =
      value !== undefined &&
      this.#ask(['opening', holder, sha256(encoded)], dealing, dealing.context, () =>
        evaluationMatches(curve, dealing.dealing.commitments, holder, value),
      );
    if (isRight) dealing.openings = [...dealing.openings, { holder, value }];
    else this.#refuse(held(holder), 'a wrong opening');
    return true;
  }

  /** The question names all that the verdict depends on: the context names the sharing. */
  #ask(
    what: readonly (string | number)[],
    { dealer, digest }: DealingName,
    context: Uint8Array,
    verdict: () => boolean,
  ): boolean {
    const { sharing, judge } = this.#options;
    return judge([sharing.curve.name, sha256(context), dealer, digest, ...what].join(' '), verdict);
  }

  #refuse(by: Parts, fault: KeyFault): false {
    this.#options.fault(by, fault);
    return false;
  }
}

const dealt = (dealer: number): Parts => ({ dealer, holder: undefined });
const held = (holder: number): Parts => ({ dealer: undefined, holder });
