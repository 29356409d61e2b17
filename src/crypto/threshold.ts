/**
 * Threshold signatures: shares of the holders to the one signature under the service key.
 *
 * Holder i, counted from 0, has the key share p(i + 1) of a polynomial p of degree threshold - 1, and signs with it as
 * with a key. Any `threshold` right shares give the signature p(0) would give.
 * Safety: with at most threshold - 1 holders faulty, what `combineShares` returns is the signature, and whoever it
 * names has sent a wrong share. It believes that each share is by the holder it is listed under: links see to that.
 * Source: Boldyreva, "Threshold signatures … based on the gap-Diffie-Hellman-group signature scheme" (2003); the parity
 * check is ours.
 */
import { blsVerifyHashed } from './bls.ts';
import type { CurveGroup, G1Point, G2Point, PairingCurve } from './curve.ts';
import { coordinateOf } from './polynomial.ts';
import { invert, modulo } from './scalar.ts';

export interface SignatureShare {
  /** From 0. */
  readonly holder: number;
  readonly point: G1Point;
}

export interface Combination {
  /** Undefined when there are not enough right shares. */
  readonly signature: G1Point | undefined;
  /** Holders whose share is wrong; only those that had to be looked for. */
  readonly culprits: readonly number[];
}

/** What the signatures of one service are held against; anyone may know it. */
export interface PublicKeys {
  readonly serviceKey: G2Point;
  /** One for each holder. */
  readonly verificationKeys: readonly G2Point[];
}

/** A share as it came. */
export interface EncodedShare {
  readonly holder: number;
  readonly share: Uint8Array;
}

/** Above this one pairing is cheaper than the parity check, whose numbers grow with the holders. */
export const parityThresholdMax = 9;

/** With so many shares the parity check can tell that the combination is right: `2f + 1`, of which `f + 1` are right. */
export function sharesWithoutPairing(threshold: number): number {
  return 2 * threshold - 1;
}

/**
 * Combines shares of one message, at the least cost. The first share of a holder counts; holders without a
 * verification key are ignored.
 *
 * - With `sharesWithoutPairing` of them: do they lie on one polynomial of degree threshold - 1? That takes additions only. If
 *   so, the combination is right and no pairing is needed: at most threshold - 1 of the holders are faulty, so at least
 *   `threshold` of these shares are right, and two polynomials of that degree which agree in `threshold` places are
 *   one. If not, somebody is lying, and each share is verified.
 * - With fewer: `threshold` of them are combined and the signature is verified, by one pairing. If it is wrong, each
 *   share is verified.
 */
export function combineShares(task: {
  readonly curve: PairingCurve;
  readonly threshold: number;
  readonly message: Uint8Array;
  readonly shares: readonly SignatureShare[];
  readonly keys: PublicKeys;
}): Combination {
  const { curve, threshold, message } = task;
  const { serviceKey, verificationKeys } = task.keys;
  const shares = oneOfEach(task.shares, verificationKeys.length);
  if (shares.length < threshold) return { signature: undefined, culprits: [] };

  // Holders next to each other make for small numbers.
  const redundant = shares.slice(0, sharesWithoutPairing(threshold)).sort((a, b) => a.holder - b.holder);
  const hasParity = redundant.length === sharesWithoutPairing(threshold) && threshold <= parityThresholdMax;
  if (hasParity && areOnOnePolynomial(curve, threshold, redundant)) {
    return { signature: combined(curve, redundant.slice(0, threshold)), culprits: [] };
  }
  const hashed = curve.hashToG1(message);
  if (!hasParity) {
    const signature = combined(curve, shares.slice(0, threshold));
    if (blsVerifyHashed(curve, serviceKey, hashed, signature)) return { signature, culprits: [] };
  }
  const isRight = ({ holder, point }: SignatureShare): boolean =>
    blsVerifyHashed(curve, verificationKeys[holder] as G2Point, hashed, point);
  const right = shares.filter(isRight);
  const culprits = shares.filter((share) => !right.includes(share)).map(({ holder }) => holder);
  const signature = right.length < threshold ? undefined : combined(curve, right.slice(0, threshold));
  return { signature, culprits };
}

/**
 * Combines shares by different holders as they came, and encodes what they make. One that is no point is a wrong one.
 *
 * No more than `sharesWithoutPairing` are looked at: whatever f of them are, `threshold` are right, and to decode one more
 * takes as long as to add up several.
 */
export function combineEncodedShares(task: {
  readonly curve: PairingCurve;
  readonly threshold: number;
  readonly message: Uint8Array;
  readonly shares: readonly EncodedShare[];
  readonly keys: PublicKeys;
}): { readonly signature: Uint8Array | undefined; readonly culprits: readonly number[] } {
  const { g1 } = task.curve;
  const shares: SignatureShare[] = [];
  const undecodable: number[] = [];
  for (const { holder, share } of task.shares.slice(0, sharesWithoutPairing(task.threshold))) {
    const point = g1.decode(share);
    if (point === undefined) undecodable.push(holder);
    else shares.push({ holder, point });
  }
  const { signature, culprits } = combineShares({ ...task, shares });
  return {
    signature: signature === undefined ? undefined : g1.encode(signature),
    culprits: [...undecodable, ...culprits],
  };
}

/** The keys of a transcript. It is ours, so they are points; throws otherwise. */
export function decodePublicKeys(
  { g2 }: PairingCurve,
  encoded: { readonly serviceKey: Uint8Array; readonly verificationKeys: readonly Uint8Array[] },
): PublicKeys {
  const pointOf = (key: Uint8Array): G2Point => {
    const point = g2.decode(key);
    if (point === undefined) throw new Error('invariant: the transcript of key generation has a key that is no point');
    return point;
  };
  return { serviceKey: pointOf(encoded.serviceKey), verificationKeys: encoded.verificationKeys.map(pointOf) };
}

/** Is this the holder's share of the signature of the message? */
export function verifyShare(
  curve: PairingCurve,
  verificationKey: G2Point,
  message: Uint8Array,
  share: G1Point,
): boolean {
  return blsVerifyHashed(curve, verificationKey, curve.hashToG1(message), share);
}

/**
 * The factors by which the values of these holders add up to the value at zero, modulo the order. Throws a RangeError
 * when a holder is there twice.
 */
export function lagrangeAtZero(holders: readonly number[], order: bigint): readonly bigint[] {
  const { factors, divisor } = wholeLagrange(holders);
  const inverse = invert(divisor, order);
  return factors.map((factor) => modulo(factor * inverse, order));
}

/** The value at zero of the polynomial through these holders' values, which are points. */
export function interpolateAtZero<Point>(
  group: CurveGroup<Point>,
  order: bigint,
  values: readonly { readonly holder: number; readonly point: Point }[],
): Point {
  const { factors, divisor } = wholeLagrange(values.map(({ holder }) => holder));
  const points = values.map(({ point }) => point);
  const { added, subtracted } = smallSums(group, points, factors);
  const multiple = group.add(added, group.multiply(subtracted, order - 1n));
  return divisor === 1n ? multiple : group.multiply(multiple, invert(divisor, order));
}

/** The first share of each holder. */
function oneOfEach(shares: readonly SignatureShare[], holders: number): readonly SignatureShare[] {
  const seen = new Map<number, SignatureShare>();
  for (const share of shares) {
    const { holder } = share;
    if (Number.isInteger(holder) && holder >= 0 && holder < holders && !seen.has(holder)) seen.set(holder, share);
  }
  return [...seen.values()];
}

function combined(curve: PairingCurve, shares: readonly SignatureShare[]): G1Point {
  return interpolateAtZero(curve.g1, curve.order, shares);
}

/**
 * Do the shares, in ascending order of holders, lie on one polynomial of degree threshold - 1? That is so exactly if
 * each run of threshold + 1 of them does: two runs next to each other have `threshold` shares in common, which determine
 * the polynomial. A run does if its divided difference is zero.
 */
function areOnOnePolynomial(curve: PairingCurve, threshold: number, shares: readonly SignatureShare[]): boolean {
  for (let start = 0; start + threshold < shares.length; start++) {
    const run = shares.slice(start, start + threshold + 1);
    const factors = dividedDifference(run.map(({ holder }) => BigInt(coordinateOf(holder))));
    const points = run.map(({ point }) => point);
    const { added, subtracted } = smallSums(curve.g1, points, factors);
    if (!curve.g1.equals(added, subtracted)) return false;
  }
  return true;
}

/** Whole factors of the divided difference at these places, up to one factor in common: 1 / product of (x - others). */
function dividedDifference(places: readonly bigint[]): readonly bigint[] {
  const divisors = places.map((own) => places.reduce((product, x) => (x === own ? product : product * (own - x)), 1n));
  const multiple = divisors.reduce(leastCommonMultiple, 1n);
  return divisors.map((divisor) => multiple / divisor);
}

/** Lagrange factors at zero as whole numbers over one divisor, both small as long as holders are few. */
function wholeLagrange(holders: readonly number[]): { readonly factors: readonly bigint[]; readonly divisor: bigint } {
  const places = holders.map((holder) => BigInt(coordinateOf(holder)));
  if (new Set(places).size !== places.length) throw new RangeError('a holder is there twice');
  const fractions = places.map((own) => {
    let [numerator, denominator] = [1n, 1n];
    for (const x of places) {
      if (x === own) continue;
      numerator *= x;
      denominator *= x - own;
    }
    const common = greatestCommonDivisor(numerator, denominator);
    return { numerator: numerator / common, denominator: denominator / common };
  });
  const divisor = fractions.reduce((multiple, { denominator }) => leastCommonMultiple(multiple, denominator), 1n);
  return { factors: fractions.map(({ numerator, denominator }) => (numerator * divisor) / denominator), divisor };
}

/**
 * The sum of the points with a positive factor, and of those with a negative one, each times its factor's magnitude.
 * By doubling and adding: for numbers of few bits that takes a fraction of one multiplication by a scalar.
 */
function smallSums<Point>(
  group: CurveGroup<Point>,
  points: readonly Point[],
  factors: readonly bigint[],
): { readonly added: Point; readonly subtracted: Point } {
  const sumOf = (magnitudes: readonly bigint[]): Point => {
    const bits = magnitudes.reduce((most, magnitude) => Math.max(most, magnitude.toString(2).length), 0);
    let sum: Point | undefined;
    for (let bit = BigInt(bits) - 1n; bit >= 0n; bit--) {
      if (sum !== undefined) sum = group.add(sum, sum);
      for (const [index, magnitude] of magnitudes.entries()) {
        if (((magnitude >> bit) & 1n) === 0n) continue;
        sum = sum === undefined ? (points[index] as Point) : group.add(sum, points[index] as Point);
      }
    }
    return sum ?? group.zero;
  };
  return {
    added: sumOf(factors.map((factor) => (factor > 0n ? factor : 0n))),
    subtracted: sumOf(factors.map((factor) => (factor < 0n ? -factor : 0n))),
  };
}

function leastCommonMultiple(a: bigint, b: bigint): bigint {
  const product = (a / greatestCommonDivisor(a, b)) * b;
  return product < 0n ? -product : product;
}

/** Positive, unless both are zero. */
function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [greater, less] = [a < 0n ? -a : a, b < 0n ? -b : b];
  while (less !== 0n) [greater, less] = [less, greater % less];
  return greater;
}
