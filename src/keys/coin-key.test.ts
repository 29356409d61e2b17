/**
 * Shows that any f + 1 right shares open one coin and fewer open none, that wrong shares are found and change nothing, and
 * that coins differ by period, epoch and service.
 */
import { describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';
import { below, seeded, shuffled } from '../ordering/testing/random-dag.ts';
import { coinMessage, ThresholdCoin } from './coin-key.ts';
import { KeyCluster, type Size, sizes } from './testing/key-cluster.ts';
import type { Transcript } from './transcript.ts';

interface Share {
  readonly author: number;
  readonly share: Uint8Array;
}

function coinsOf(size: Size, curve: PairingCurve = plainCurve, seed = 1): readonly ThresholdCoin[] {
  const { machines, membership } = new KeyCluster({ size, curve, seed }).run();
  return machines.map(
    ({ transcript, keyShare }) =>
      new ThresholdCoin({ curve, membership, transcript: transcript as Transcript, keyShare: () => keyShare }),
  );
}

const sharesOf = (coins: readonly ThresholdCoin[], period: number): readonly Share[] =>
  coins.map((coin, author) => ({ author, share: coin.share(period) as Uint8Array }));

describe.each(sizes)('the coin of n = $n, f = $f, k = $k', (size) => {
  const coins = coinsOf(size);
  const coin = coins[0] as ThresholdCoin;

  it('is the same whichever f + 1 or more shares open it, on whichever replica; fewer do not', () => {
    const random = seeded(size.n);
    for (let period = 1; period <= 12; period++) {
      const shares = sharesOf(coins, period);
      const { leader } = coin.open(period, shares);
      expect(leader).toBeGreaterThanOrEqual(0);
      expect(leader).toBeLessThan(size.n);
      for (let i = 0; i < 12; i++) {
        const count = below(random, size.n + 1);
        const some = shuffled(random, shares).slice(0, count);
        const opener = coins[below(random, size.n)] as ThresholdCoin;
        const expected = count > size.f ? leader : undefined;
        expect(opener.open(period, some)).toEqual({ leader: expected, culprits: [] });
      }
    }
  });

  it('comes out alike when up to f shares are wrong: no point, of another period, zero', () => {
    const random = seeded(size.f);
    const zero = plainCurve.g1.encode(plainCurve.g1.zero);
    for (let period = 1; period <= 12; period++) {
      const right = sharesOf(coins, period);
      const { leader } = coin.open(period, right);
      const liars = shuffled(random, [...right.keys()]).slice(0, size.f);
      const wrong = [zero, new Uint8Array(48).fill(0xff), new Uint8Array(3), coin.share(period + 1) as Uint8Array];
      const lies = liars.map((author) => ({ author, share: wrong[below(random, 4)] as Uint8Array }));
      const truths = right.filter(({ author }) => !liars.includes(author));
      const all = coin.open(period, shuffled(random, [...truths, ...lies]));
      expect(all.leader).toBe(leader);
      expect(liars).toEqual(expect.arrayContaining([...all.culprits]));

      // As the ordering does: again with each share that comes, without those of culprits. The lies come first.
      const found: number[] = [];
      let opened = coin.open(period, lies);
      for (let more = 1; opened.leader === undefined; more++) {
        found.push(...opened.culprits);
        const left = lies.filter(({ author }) => !found.includes(author));
        opened = coin.open(period, [...left, ...truths.slice(0, more)]);
        expect(more).toBeLessThanOrEqual(2 * size.f + 1);
      }
      expect(opened.leader).toBe(leader);
      expect(liars).toEqual(expect.arrayContaining([...found, ...opened.culprits]));
    }
  });

  it('differs with the period and falls on everybody in time', () => {
    const leaders = Array.from({ length: 40 * size.n }, (_, w) => coin.open(w, sharesOf(coins, w)).leader);
    expect(new Set(leaders).size).toBe(size.n);
  });
});

describe('the coin', () => {
  const size = { n: 4, f: 1, k: 0 };

  it('opens on the real curve', () => {
    const coins = coinsOf(size, mclCurve);
    const shares = sharesOf(coins, 3);
    const coin = coins[2] as ThresholdCoin;
    const { leader } = coin.open(3, shares);
    expect(coin.open(3, shares.slice(2))).toEqual({ leader, culprits: [] });
    expect(coin.open(3, shares.slice(3))).toEqual({ leader: undefined, culprits: [] });
    const lie = { author: 1, share: coin.share(4) as Uint8Array };
    expect(coin.open(3, [lie, shares[0] as Share])).toEqual({ leader: undefined, culprits: [1] });
    expect(coin.open(3, [lie, shares[0] as Share, shares[3] as Share])).toEqual({ leader, culprits: [1] });
  });

  it('has no share while there is no key share, and one as soon as there is', () => {
    const { machines, membership } = new KeyCluster({ size }).run();
    const { transcript, keyShare } = machines[1] as (typeof machines)[number];
    let held: bigint | undefined;
    const coin = new ThresholdCoin({
      curve: plainCurve,
      membership,
      transcript: transcript as Transcript,
      keyShare: () => held,
    });
    expect(coin.share(1)).toBeUndefined();
    held = keyShare;
    expect(coin.share(1)).toHaveLength(48);
    held = undefined;
    expect(coin.share(1)).toBeUndefined();
  });

  it('is of one service, epoch and period', () => {
    const serviceId = 'ab'.repeat(32) as Transcript['serviceId'];
    const message = Buffer.from(coinMessage({ serviceId, epoch: 2 }, 2 ** 33));
    expect(message.toString('latin1')).toBe(`coterie/v1/coin\n${'\xab'.repeat(32)}\0\0\0\x02\0\0\0\x02\0\0\0\0`);
  });
});
