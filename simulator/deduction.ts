/**
 * Deduction: the judge of what an adversary can work out from everything that it has: key shares it read, decryption keys and dealing
 * seeds it kept, and every dealing and opening on the log.
 *
 * In: the log's sharings, and what was stolen. Out: each key share that follows, of whatever epoch and holder, and the private service
 * key if that does. All of it is linear in the coefficients of the dealers' polynomials, so what follows is found exactly, and not
 * as far as somebody's patience goes: evaluations opened with old keys, whole polynomials of dealers that were held while they dealt,
 * shares from the constants of dealings, and each in all combinations, across epochs.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import { type Dealing, decodeDealing } from '../src/crypto/dealing.ts';
import { commitTo, evaluationMatches } from '../src/crypto/feldman.ts';
import { coordinateOf, evaluatePolynomial, type Polynomial } from '../src/crypto/polynomial.ts';
import { deal, encryptionKeyOf, isWellFormedDealing, openEvaluation } from '../src/crypto/verifiable-sharing.ts';
import { type Sharing, sharesRightSecret, weightsOf } from '../src/keys/sharing.ts';
import type { StolenShare } from './forging.ts';
import { LinearSystem } from './linear-system.ts';
import type { SimulatedSecrets } from './session-secrets.ts';
import type { LoggedDealing, LoggedSharing } from './sharing-ledger.ts';

export interface Deduced {
  /** Every key share that it has or can work out, the stolen ones among them. */
  readonly shares: readonly StolenShare[];
  /** The private half of the service key, if it can be worked out. */
  readonly serviceSecret: bigint | undefined;
  /** Evaluations that it opened with keys it kept, and polynomials that it knew whole because it had their dealers. */
  readonly opened: number;
  readonly polynomials: number;
}

export interface DeductionOptions {
  readonly curve: PairingCurve;
  readonly sharings: readonly LoggedSharing[];
  readonly secrets: readonly SimulatedSecrets[];
  /** Each is of the sharing of its epoch. */
  readonly shares: readonly StolenShare[];
}

export function deduce(options: DeductionOptions): Deduced {
  const deduction = new Deduction(options);
  return deduction.run();
}

/** A dealing of which somebody may get the values. */
interface Known {
  readonly logged: LoggedSharing;
  readonly entry: LoggedDealing;
  readonly dealing: Dealing;
  /** Number of its constant among the unknowns; the other coefficients follow. */
  readonly unknown: number;
}

type Form = Map<number, bigint>;

class Deduction {
  readonly #options: DeductionOptions;
  readonly #system: LinearSystem;
  /** By encryption key in hex. */
  readonly #secrets: ReadonlyMap<string, SimulatedSecrets>;
  readonly #dealings: readonly Known[];
  readonly #polynomials = new Set<Known>();
  #opened = 0;

  constructor(options: DeductionOptions) {
    const { curve, secrets, sharings } = options;
    this.#options = options;
    this.#system = new LinearSystem(curve.order);
    const hexOf = ({ decryptionKey }: SimulatedSecrets): string =>
      Buffer.from(curve.g1.encode(encryptionKeyOf(curve, decryptionKey))).toString('hex');
    this.#secrets = new Map(secrets.map((each) => [hexOf(each), each]));
    let unknown = 0;
    this.#dealings = sharings.flatMap((logged) =>
      logged.dealings.flatMap((entry) => {
        const dealing = rightDealing(logged.sharing, entry);
        if (dealing === undefined) return [];
        unknown += logged.sharing.threshold;
        return [{ logged, entry, dealing, unknown: unknown - logged.sharing.threshold }];
      }),
    );
  }

  run(): Deduced {
    const { shares } = this.#options;
    for (const known of this.#dealings) this.#learnFromLog(known);
    for (const { epoch, holder, share } of shares) {
      const form = this.#shareForm(epoch, holder);
      if (form !== undefined) this.#system.learn(form, share);
    }
    // A dealer's polynomial is made of its seed and of its share, which may have to be worked out first.
    for (let before = -1; before < this.#polynomials.size; ) {
      before = this.#polynomials.size;
      for (const known of this.#dealings) if (!this.#polynomials.has(known)) this.#dealAgain(known);
    }
    return {
      shares: this.#allShares(),
      serviceSecret: this.#serviceSecret(),
      opened: this.#opened,
      polynomials: this.#polynomials.size,
    };
  }

  /** What it opens with keys it has, what holders said aloud, and that a dealer's constant is its share in the sharing before. */
  #learnFromLog(known: Known): void {
    const { curve } = this.#options;
    const { logged, entry, dealing } = known;
    const { sharing, holderKeys, openings } = logged;
    const context = sharing.contextOf(entry.dealer);
    for (const [holder, key] of holderKeys.entries()) {
      const secrets = this.#secrets.get(key);
      if (secrets === undefined) continue;
      const value = openEvaluation({ curve, context, dealing, holder, decryptionKey: secrets.decryptionKey });
      if (value === undefined) continue;
      this.#opened += 1;
      this.#system.learn(this.#valueForm(known, coordinateOf(holder)), value);
    }
    for (const { about, holder, evaluation } of openings) {
      if (about.digest !== entry.digest) continue;
      if (!evaluationMatches(curve, dealing.commitments, holder, evaluation)) continue;
      this.#system.learn(this.#valueForm(known, coordinateOf(holder)), evaluation);
    }
    if (sharing.sourceEpoch === undefined) return;
    const source = this.#shareForm(sharing.sourceEpoch, entry.dealer);
    if (source === undefined) return;
    for (const [unknown, factor] of this.#valueForm(known, 0))
      source.set(unknown, (source.get(unknown) ?? 0n) - factor);
    this.#system.learn(source, 0n);
  }

  /** Runs the dealer's own code with its seed and its share, and looks on. */
  #dealAgain(known: Known): void {
    const { curve } = this.#options;
    const { logged, entry, dealing } = known;
    const { sharing, dealerKeys } = logged;
    const { sourceEpoch, threshold, holderKeys } = sharing;
    const seed = this.#secrets.get(dealerKeys[entry.dealer] ?? '')?.seed;
    const form = sourceEpoch === undefined ? undefined : this.#shareForm(sourceEpoch, entry.dealer);
    const constant = form === undefined ? undefined : this.#system.valueOf(form);
    if (seed === undefined || (sourceEpoch !== undefined && constant === undefined)) return;
    const polynomial: bigint[] = [];
    const multiply: typeof curve.g2.multiply = (point, scalar) => {
      polynomial.push(scalar);
      return curve.g2.multiply(point, scalar);
    };
    const watched = { ...curve, g2: { ...curve.g2, multiply } };
    const context = sharing.contextOf(entry.dealer);
    deal({ curve: watched, context, threshold, holderKeys, seed, ...(constant === undefined ? {} : { constant }) });
    // One that lies deals something else.
    if (!isOf(curve, polynomial, dealing)) return;
    this.#polynomials.add(known);
    for (const holder of holderKeys.keys()) {
      const x = coordinateOf(holder);
      this.#system.learn(this.#valueForm(known, x), evaluatePolynomial(polynomial, BigInt(x), curve.order));
    }
  }

  #allShares(): readonly StolenShare[] {
    return this.#options.sharings.flatMap(({ sharing: { epoch, threshold }, holderKeys }) =>
      [...holderKeys.keys()].flatMap((holder) => {
        const form = this.#shareForm(epoch, holder);
        const share = form === undefined ? undefined : this.#system.valueOf(form);
        return share === undefined ? [] : [{ epoch, holder, f: threshold - 1, share }];
      }),
    );
  }

  /** The value at zero of each sharing is one and the same. */
  #serviceSecret(): bigint | undefined {
    for (const { sharing } of this.#options.sharings) {
      const form = this.#sharedForm(sharing.epoch, 0);
      const secret = form === undefined ? undefined : this.#system.valueOf(form);
      if (secret !== undefined) return secret;
    }
    return undefined;
  }

  #shareForm(epoch: number, holder: number): Form | undefined {
    return this.#sharedForm(epoch, coordinateOf(holder));
  }

  /** The value at x of the polynomial that holders of this sharing have shares of: the weighted sum of the qualified dealings. */
  #sharedForm(epoch: number, x: number): Form | undefined {
    const transcript = this.#options.sharings.find((each) => each.sharing.epoch === epoch)?.transcript;
    if (transcript === undefined) return undefined;
    const qualified = transcript.dealingDigests.map((digest) =>
      this.#dealings.find(({ logged, entry }) => logged.sharing.epoch === epoch && entry.digest === digest),
    );
    const sum: Form = new Map();
    for (const [i, known] of qualified.entries()) {
      // Nobody saw it in a commit: nothing follows from what is not known.
      if (known === undefined) return undefined;
      const weight = weightsOf(known.logged.sharing, transcript.dealers)[i] as bigint;
      for (const [unknown, factor] of this.#valueForm(known, x)) sum.set(unknown, factor * weight);
    }
    return sum;
  }

  #valueForm({ unknown, logged }: Known, x: number): Form {
    const form: Form = new Map();
    let power = 1n;
    for (let i = 0; i < logged.sharing.threshold; i++) {
      form.set(unknown + i, power);
      power *= BigInt(x);
    }
    return form;
  }
}

/** A dealing that the others accept as one; undefined when it is none. */
function rightDealing(sharing: Sharing, { dealer, encoded }: LoggedDealing): Dealing | undefined {
  const { curve, threshold, holderKeys } = sharing;
  const dealing = decodeDealing(curve, encoded, { threshold, holders: holderKeys.length });
  if (dealing === undefined || !sharesRightSecret(sharing, dealer, dealing)) return undefined;
  const context = sharing.contextOf(dealer);
  return isWellFormedDealing({ curve, context, threshold, holderKeys, dealing }) ? dealing : undefined;
}

function isOf(curve: PairingCurve, polynomial: Polynomial, { commitments }: Dealing): boolean {
  const own = commitTo(curve, polynomial.slice(0, commitments.length));
  return (
    own.length === commitments.length &&
    own.every((point, i) => curve.g2.equals(point, commitments[i] ?? curve.g2.zero))
  );
}
