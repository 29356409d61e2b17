/**
 * Own part: what one replica owes a sharing from its own secrets, and the key share it gets out of it.
 *
 * In: what is agreed (`qualification.ts`), and the replica's secrets as dealer, as holder or as both. Out: duties, a key share.
 * Nothing is kept but what follows from these: who restarts and is given the commits again owes just what no commit holds
 * yet, with the same bytes.
 */
import { complain, encodeComplaint } from '../crypto/complaint.ts';
import { encodeDealing } from '../crypto/dealing.ts';
import { coordinateOf, interpolateAt } from '../crypto/polynomial.ts';
import { modulo } from '../crypto/scalar.ts';
import { deal, encryptionKeyOf, openEvaluation } from '../crypto/verifiable-sharing.ts';
import { containsReplica } from '../membership/membership.ts';
import type { Duty } from '../wire/block.ts';
import { complaintDuty, dealingDuty, openingDuty, responseDuty } from './key-duty.ts';
import type { DealingState, Qualification } from './qualification.ts';
import { type Sharing, weightsOf } from './sharing.ts';

/** What a replica deals with. */
export interface DealerPart {
  /** Among the dealers. */
  readonly index: number;
  /** 32 bytes that its dealing is derived from. */
  readonly seed: Uint8Array;
  /** What it shares: one derived from the seed, or a number that it may have to wait for. */
  readonly secret: 'fresh' | (() => bigint | undefined);
}

/** What a replica opens evaluations with. */
export interface HolderPart {
  /** Among the holders. */
  readonly index: number;
  readonly decryptionKey: bigint;
}

export interface OwnPartOptions {
  readonly sharing: Sharing;
  readonly qualification: Qualification;
  readonly dealer: DealerPart | undefined;
  /** Throws a RangeError when the decryption key is not that of the holder. */
  readonly holder: HolderPart | undefined;
}

export class OwnPart {
  readonly #sharing: Sharing;
  readonly #qualification: Qualification;
  #dealer: DealerPart | undefined;
  readonly #holder: HolderPart | undefined;
  /** Own evaluations by dealer; undefined where the dealing is wrong for us. */
  readonly #evaluations = new Map<number, bigint | undefined>();
  /** Own duties by what they are, so that each is made once. */
  readonly #duties = new Map<string, Duty>();

  constructor({ sharing, qualification, dealer, holder }: OwnPartOptions) {
    this.#sharing = sharing;
    this.#qualification = qualification;
    this.#dealer = dealer;
    this.#holder = holder;
    if (holder === undefined) return;
    const { curve, holderKeys } = sharing;
    const own = holderKeys[holder.index];
    if (own === undefined || !curve.g1.equals(own, encryptionKeyOf(curve, holder.decryptionKey))) {
      throw new RangeError(`the decryption key is not that of replica ${holder.index}`);
    }
  }

  /** What it owes now, of the kinds of the present sharing. The same duty is the same object each time. */
  owed(): readonly Duty[] {
    const owed = [this.#dealingOwed(), ...this.#answersOwed()];
    return owed.filter((duty) => duty !== undefined);
  }

  /** It will not deal any more: what it would deal with is let go of. */
  forgetDealing(): void {
    this.#dealer = undefined;
  }

  #dealingOwed(): Duty | undefined {
    const dealer = this.#dealer;
    if (dealer === undefined || this.#qualification.isSettled || this.#qualification.hasDealt(dealer.index)) {
      return undefined;
    }
    const secret = dealer.secret === 'fresh' ? 'fresh' : dealer.secret();
    if (secret === undefined) return undefined;
    return this.#once('dealing', () => this.#makeDealing(dealer, secret === 'fresh' ? undefined : secret));
  }

  #answersOwed(): readonly (Duty | undefined)[] {
    const holder = this.#holder;
    if (holder === undefined) return [];
    const { isSettled } = this.#qualification;
    return [...this.#qualification.dealings].map((dealing) => {
      const isOfUse = dealing.status === 'qualified' || (dealing.status === 'open' && !isSettled);
      return isOfUse ? this.#answerTo(dealing, holder) : undefined;
    });
  }

  #answerTo(dealing: DealingState, holder: HolderPart): Duty | undefined {
    const { dealer, status } = dealing;
    const evaluation = this.#evaluationOf(dealing, holder);
    if (dealing.isExposed) {
      const isLate = dealing.openings.length === this.#sharing.threshold;
      if (evaluation === undefined || isLate || containsReplica(dealing.openedBy, holder.index)) return undefined;
      return this.#once(`opening ${dealer}`, () => openingDuty(dealing, evaluation));
    }
    if (evaluation === undefined) {
      if (containsReplica(dealing.complainedBy, holder.index)) return undefined;
      return this.#once(`complaint ${dealer}`, () => this.#makeComplaint(dealing, holder));
    }
    const isOfUse = status === 'open' || !this.#qualification.isWidelyHeld;
    if (!isOfUse || containsReplica(dealing.confirmedBy, holder.index)) return undefined;
    return this.#once(`response ${dealer}`, () => responseDuty(dealing));
  }

  #once(what: string, make: () => Duty): Duty {
    const made = this.#duties.get(what) ?? make();
    this.#duties.set(what, made);
    return made;
  }

  #makeDealing({ index, seed }: DealerPart, constant: bigint | undefined): Duty {
    const { curve, threshold, holderKeys } = this.#sharing;
    const dealing = deal({
      curve,
      context: this.#sharing.contextOf(index),
      threshold,
      holderKeys,
      seed,
      ...(constant === undefined ? {} : { constant }),
    });
    return dealingDuty(encodeDealing(curve, dealing));
  }

  #makeComplaint({ context, dealing, ...about }: DealingState, { index, decryptionKey }: HolderPart): Duty {
    const { curve } = this.#sharing;
    const complaint = complain({ curve, context, dealing, holder: index, decryptionKey });
    return complaintDuty(about, encodeComplaint(curve, complaint));
  }

  /** Opened once: each costs a few multiplications. */
  #evaluationOf({ dealer, context, dealing }: DealingState, { index, decryptionKey }: HolderPart): bigint | undefined {
    if (!this.#evaluations.has(dealer)) {
      const about = { curve: this.#sharing.curve, context, dealing, holder: index, decryptionKey };
      this.#evaluations.set(dealer, openEvaluation(about));
    }
    return this.#evaluations.get(dealer);
  }

  /** The weighted sum of the evaluations of the qualified dealings; undefined as long as one of them waits for openings. */
  keyShare(): bigint | undefined {
    const holder = this.#holder;
    const { qualified, isSettled } = this.#qualification;
    if (holder === undefined || !isSettled) return undefined;
    const { order } = this.#sharing.curve;
    const dealers = qualified.map(({ dealer }) => dealer);
    const weights = weightsOf(this.#sharing, dealers);
    let sum = 0n;
    for (const [i, dealing] of qualified.entries()) {
      const evaluation = this.#evaluationOf(dealing, holder) ?? this.#interpolated(dealing, holder);
      if (evaluation === undefined) return undefined;
      sum += (weights[i] as bigint) * evaluation;
    }
    return modulo(sum, order);
  }

  /** What f + 1 others have opened of a faulty dealer's polynomial says what ours must have been. */
  #interpolated({ openings }: DealingState, { index }: HolderPart): bigint | undefined {
    const { threshold, curve } = this.#sharing;
    if (openings.length < threshold) return undefined;
    return interpolateAt(openings, BigInt(coordinateOf(index)), curve.order);
  }
}
