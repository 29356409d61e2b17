/**
 * Shows that old shares are useless: f old key shares and f new ones together do not sign, in whatever way they are put together,
 * nor does one share of every replica, each of another epoch, though without resharing the same shares do. And by
 * counting, in a small field, that they say nothing at all of the key.
 */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { blsSign, blsVerify } from '../crypto/bls.ts';
import type { G1Point, G2Point, PairingCurve } from '../crypto/curve.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { coordinateOf, type Evaluation, evaluatePolynomial, interpolateAt } from '../crypto/polynomial.ts';
import { modulo } from '../crypto/scalar.ts';
import { combineShares, lagrangeAtZero } from '../crypto/threshold.ts';
import { below, seeded } from '../ordering/testing/random-dag.ts';
import { generated, type Held, idsUpTo, ResharingCluster } from './testing/resharing-cluster.ts';

const message = new TextEncoder().encode('pay everything to the adversary');

/** All ways to choose so many of 0 .. n - 1. */
function combinations(n: number, count: number, from = 0): readonly (readonly number[])[] {
  if (count === 0) return [[]];
  const found: (readonly number[])[] = [];
  for (let first = from; first <= n - count; first++) {
    for (const rest of combinations(n, count - 1, first + 1)) found.push([first, ...rest]);
  }
  return found;
}

function subsetsOf<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  return items.reduce<readonly (readonly Item[])[]>((sets, item) => sets.flatMap((set) => [set, [...set, item]]), [[]]);
}

/** Shares of these holders, by their indexes. */
function evaluationsOf({ source, shares }: Held, holders: readonly number[]): readonly Evaluation[] {
  return holders.map((holder) => ({ holder, value: shares.get(source.replicaIds[holder] as string) as bigint }));
}

function secretOf(held: Held, order: bigint): bigint {
  const { threshold } = held.source.transcript;
  return interpolateAt(evaluationsOf(held, [...Array(threshold).keys()]), 0n, order);
}

/** All values that somebody gets who takes some of these shares for such of one polynomial, one at each place. */
function guessesFrom(shares: readonly Evaluation[], order: bigint): readonly bigint[] {
  return subsetsOf(shares)
    .filter((set) => set.length > 0 && new Set(set.map(({ holder }) => holder)).size === set.length)
    .map((set) => interpolateAt(set, 0n, order));
}

const reshared = (from: Held, to: ConstructorParameters<typeof ResharingCluster>[0]['to'], curve: PairingCurve): Held =>
  new ResharingCluster({ from, to, curve, seed: 4 }).run().held;

const same = (n: number, f: number) => ({ from: { n, f, k: 0 }, to: { replicaIds: idsUpTo(n), f, k: 0 } });

describe.each([
  { name: '4 stay', ...same(4, 1) },
  { name: '7 stay', ...same(7, 2) },
  { name: '13 stay', ...same(13, 4) },
  { name: '4 become 7', from: { n: 4, f: 1, k: 0 }, to: { replicaIds: idsUpTo(7), f: 1, k: 0 } },
  { name: 'f becomes 2 of 7', from: { n: 7, f: 1, k: 0 }, to: { replicaIds: idsUpTo(7), f: 2, k: 0 } },
  { name: '7 become 4', from: { n: 7, f: 2, k: 0 }, to: { replicaIds: ['r1', 'r2', 'r4', 'r6'], f: 1, k: 0 } },
])('when $name', ({ from, to }) => {
  const { order } = plainCurve;
  const before = generated(from, { seed: 9 });
  const after = reshared(before, to, plainCurve);
  const secret = secretOf(before, order);

  it('the key is the same, and f old shares with f new ones do not make it, whichever they are', () => {
    expect(secretOf(after, order)).toBe(secret);
    const old = combinations(from.n, from.f);
    const fresh = combinations(to.replicaIds.length, to.f);
    const random = seeded(5);
    const pairs = old.flatMap((olds) => fresh.map((news) => [olds, news] as const));
    const looked = pairs.length <= 500 ? pairs : Array.from({ length: 60 }, () => pairs[below(random, pairs.length)]!);
    for (const [olds, news] of looked) {
      const known = [...evaluationsOf(before, olds), ...evaluationsOf(after, news)];
      expect(guessesFrom(known, order)).not.toContain(secret);
    }
  });

  it('an old share is no share of anybody any more', () => {
    const { g2 } = plainCurve;
    const keys = after.source.transcript.verificationKeys.map((key) => Buffer.from(key).toString('hex'));
    for (const share of before.shares.values()) {
      expect(keys).not.toContain(Buffer.from(g2.encode(g2.multiply(g2.generator, share))).toString('hex'));
    }
    // f + 1 of one sharing are what they are said to be, on either side.
    const { threshold } = after.source.transcript;
    const enough = [...Array(threshold).keys()];
    expect(interpolateAt(evaluationsOf(after, enough), 0n, order)).toBe(secret);
    for (const stale of enough) {
      const others = enough.filter((holder) => holder !== stale);
      const mixed = [...evaluationsOf(after, others), ...evaluationsOf(before, [stale])];
      expect(interpolateAt(mixed, 0n, order)).not.toBe(secret);
    }
  });
});

it('signs with f + 1 new shares under the old service key, and not with f new and f old ones, on the real curve', () => {
  const curve = mclCurve;
  const before = generated({ n: 4, f: 1, k: 0 }, { seed: 2, curve });
  const after = reshared(before, { replicaIds: idsUpTo(4), f: 1, k: 0 }, curve);
  const serviceKey = curve.g2.decode(before.source.transcript.serviceKey) as G2Point;
  const shareOf = ({ holder, value }: Evaluation) => ({ holder, point: blsSign(curve, value, message) });
  const keysOf = ({ source }: Held) => ({
    serviceKey,
    verificationKeys: source.transcript.verificationKeys.map((key) => curve.g2.decode(key) as G2Point),
  });
  const combine = (held: Held, shares: readonly { holder: number; point: G1Point }[]) =>
    combineShares({ curve, threshold: 2, message, shares, keys: keysOf(held) });
  for (const holders of combinations(4, 2)) {
    const { signature } = combine(after, evaluationsOf(after, holders).map(shareOf));
    expect(blsVerify(curve, serviceKey, message, signature as G1Point)).toBe(true);
  }
  for (const old of [0, 1, 2, 3]) {
    for (const fresh of [0, 1, 2, 3].filter((holder) => holder !== old)) {
      const shares = [...evaluationsOf(before, [old]), ...evaluationsOf(after, [fresh])].map(shareOf);
      expect(combine(after, shares)).toEqual({ signature: undefined, culprits: [old] });
      expect(combine(before, shares)).toEqual({ signature: undefined, culprits: [fresh] });
      const points = shares.map(({ point }) => point);
      const sum = curve.g1.sumOfProducts(points, lagrangeAtZero([old, fresh], curve.order));
      expect(blsVerify(curve, serviceKey, message, sum)).toBe(false);
    }
  }
});

describe('an adversary that takes one replica after another, each in another epoch', () => {
  const { order } = plainCurve;
  const first = generated({ n: 4, f: 1, k: 0 }, { seed: 12 });
  const secret = secretOf(first, order);

  it('has a share of every replica and no key', () => {
    const stolen: Evaluation[] = [];
    let held = first;
    for (const victim of [0, 1, 2, 3]) {
      stolen.push(...evaluationsOf(held, [victim]));
      held = reshared(held, { replicaIds: idsUpTo(4), f: 1, k: 0 }, plainCurve);
      expect(secretOf(held, order)).toBe(secret);
    }
    expect(guessesFrom(stolen, order)).not.toContain(secret);
  });

  it('has the key after two of them when nothing is reshared', () => {
    expect(guessesFrom(evaluationsOf(first, [0, 1]), order)).toContain(secret);
  });
});

/** Everything that can be in a field this small: each polynomial of each dealer. */
describe.each([
  { f: 1, fNext: 1, holders: 3, dealerCount: 3, order: 7n },
  { f: 1, fNext: 2, holders: 4, dealerCount: 2, order: 5n },
  { f: 2, fNext: 1, holders: 4, dealerCount: 3, order: 5n },
])('in a field of $order elements, f = $f, then $fNext', ({ f, fNext, holders, dealerCount, order }) => {
  const dealers = [...Array(dealerCount).keys()];
  const weights = lagrangeAtZero(dealers.slice(0, f + 1), order);
  const field = [...Array(Number(order)).keys()].map(BigInt);
  const tuples = (length: number): readonly (readonly bigint[])[] =>
    length === 0 ? [[]] : tuples(length - 1).flatMap((rest) => field.map((value) => [...rest, value]));

  /** Calls back with every polynomial of the key, and every dealing of it. */
  function forEachWorld(look: (key: readonly bigint[], dealt: readonly (readonly bigint[])[]) => void): void {
    const slopes = tuples(fNext * dealers.length);
    for (const key of tuples(f + 1)) {
      const shares = dealers.map((dealer) => evaluatePolynomial(key, BigInt(coordinateOf(dealer)), order));
      for (const all of slopes) {
        look(
          key,
          dealers.map((dealer, i) => [shares[dealer] as bigint, ...all.slice(i * fNext, (i + 1) * fNext)]),
        );
      }
    }
  }

  it('the new shares are of the same key', () => {
    forEachWorld((key, dealt) => {
      const fresh = [...Array(fNext + 1).keys()].map((holder) => {
        const x = BigInt(coordinateOf(holder));
        const parts = weights.map((weight, i) => weight * evaluatePolynomial(dealt[i] ?? [], x, order));
        return {
          holder,
          value: modulo(
            parts.reduce((sum, part) => sum + part, 0n),
            order,
          ),
        };
      });
      if (interpolateAt(fresh, 0n, order) !== key[0]) throw new Error('another key');
    });
  });

  it('each key is as likely as any other to who knows f old replicas and all they dealt, and f new ones', () => {
    const coalitions = combinations(holders, f).flatMap((old) =>
      combinations(holders, fNext).map((fresh) => ({ old, fresh })),
    );
    for (const { old, fresh } of coalitions.filter((_, i) => i % (f + fNext > 2 ? 5 : 1) === 0)) {
      const views = new Map<string, Map<bigint, number>>();
      forEachWorld((key, dealt) => {
        const seen = [
          // The old shares, and whole polynomials of those who were dealers: opened, or their own.
          ...old.map((holder) => evaluatePolynomial(key, BigInt(coordinateOf(holder)), order)),
          ...old.flatMap((holder) => dealt[holder] ?? []),
          // What every dealer dealt to the new ones.
          ...fresh.flatMap((holder) =>
            dealt.map((each) => evaluatePolynomial(each, BigInt(coordinateOf(holder)), order)),
          ),
        ].join(' ');
        const view = views.get(seen) ?? new Map<bigint, number>();
        views.set(seen, view.set(key[0] as bigint, (view.get(key[0] as bigint) ?? 0) + 1));
      });
      for (const view of views.values()) {
        expect(view.size).toBe(field.length);
        expect(new Set(view.values()).size).toBe(1);
      }
    }
  });

  it('who knows one old replica more knows the key', () => {
    const keys = new Map<string, Set<bigint>>();
    forEachWorld((key) => {
      const seen = [...Array(f + 1).keys()].map((i) => evaluatePolynomial(key, BigInt(i + 1), order)).join(' ');
      keys.set(seen, (keys.get(seen) ?? new Set()).add(key[0] as bigint));
    });
    for (const fitting of keys.values()) expect(fitting.size).toBe(1);
  });
});
