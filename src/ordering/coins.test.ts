import { describe, expect, it } from 'vitest';
import { sha256Of } from '../crypto/hash.ts';
import { genesisCoin } from '../membership/membership.ts';
import type { Duty } from '../wire/block.ts';
import { decodeCoinShare, dutyKinds, encodeCoinShare } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';
import { Coins } from './coins.ts';
import type { VerifiedBlock } from './commit.ts';
import { noDuties } from './duty-source.ts';
import { ScriptedDuties, TestCoin, testLeader, testShare } from './testing/scripted-duties.ts';
import { testMembership } from './testing/test-cluster.ts';

// n = 7, f = 2, P = 8: three shares open a coin, and period w has its shares in blocks of round 8w + 4 and later.
const membership = testMembership({ n: 7, f: 2 });

const shareOf = (author: number, period: number): Duty => ({
  kind: dutyKinds.coinShare,
  payload: encodeCoinShare({ period, share: testShare(author, period) }),
});

const wrongShare = (period: number): Duty => ({
  kind: dutyKinds.coinShare,
  payload: encodeCoinShare({ period, share: testShare(99, period) }),
});

let made = 0;
/** The rounds are far ahead: whatever is enough is tried. */
const quorumRound = (): number => Number.POSITIVE_INFINITY;

function blockWith(author: number, round: number, ...duties: readonly Duty[]): VerifiedBlock {
  const digest = sha256Of([Buffer.from(`${author} ${round} ${made++}`)]);
  const empty = new Uint8Array(0);
  const content = { epoch: 0, round, author, timestamp: 0, parents: [], requests: [], duties };
  return { ...content, digest, signature: empty, bytes: empty, verified: true, decodedRequests: [] };
}

function coinsWith(coinFrom = 0) {
  const coin = new TestCoin(membership, 0);
  const coins = new Coins({ membership, duties: new ScriptedDuties({ self: 0, coinFrom, coin }), quorumRound });
  const accept = (...blocks: readonly VerifiedBlock[]): void => {
    for (const block of blocks) coins.accepted(block);
  };
  return { coin, coins, accept };
}

describe('the leader of a period', () => {
  it('is that of the genesis coin as long as the duties have no coin', () => {
    const { coins, accept } = coinsWith(1);
    accept(...[1, 2, 3].map((author) => blockWith(author, 12, shareOf(author, 1))));
    expect(coins.leaderOf(1)).toBe(genesisCoin(membership.epochGenesis, 1, 7));
    expect(new Coins({ membership, duties: noDuties, quorumRound }).leaderOf(5)).toBe(
      genesisCoin(membership.epochGenesis, 5, 7),
    );
  });

  it('is known from f + 1 right shares on, whoever else gave a wrong one', () => {
    const { coins, accept } = coinsWith();
    accept(blockWith(1, 12, wrongShare(1)), blockWith(2, 12, shareOf(2, 1)), blockWith(3, 13, shareOf(3, 1)));
    expect(coins.leaderOf(1)).toBeUndefined();
    expect(coins.takeEvidence()).toMatchObject([{ kind: 'rejection', rule: 'coin share: wrong', author: 1 }]);
    accept(blockWith(4, 14, shareOf(4, 1)));
    expect(coins.leaderOf(1)).toBe(testLeader(1, 7));
  });

  it('waits a round for a quorum of shares, which takes no pairing, and no longer', () => {
    let round = 12;
    const coin = new TestCoin(membership, 0);
    const duties = new ScriptedDuties({ self: 0, coinFrom: 0, coin });
    const coins = new Coins({ membership, duties, quorumRound: () => round });
    for (const author of [1, 2, 3]) coins.accepted(blockWith(author, 12, shareOf(author, 1)));
    expect(coins.leaderOf(1)).toBeUndefined();
    expect(coin.attempts).toBe(0);
    for (const author of [4, 5]) coins.accepted(blockWith(author, 12, shareOf(author, 1)));
    expect(coins.leaderOf(1)).toBe(testLeader(1, 7));
    // Of the next period nobody else says one.
    round = 20;
    for (const author of [1, 2, 3]) coins.accepted(blockWith(author, 20, shareOf(author, 2)));
    expect(coins.leaderOf(2)).toBeUndefined();
    round = 21;
    expect(coins.leaderOf(2)).toBe(testLeader(2, 7));
    expect(coin.attempts).toBe(2);
  });

  it('is not looked for again until a new share came', () => {
    const { coin, coins, accept } = coinsWith();
    accept(blockWith(1, 12, shareOf(1, 1)), blockWith(2, 12, shareOf(2, 1)));
    for (let i = 0; i < 5; i++) expect(coins.leaderOf(1)).toBeUndefined();
    expect(coin.attempts).toBe(0);
    accept(blockWith(3, 12, wrongShare(1)));
    for (let i = 0; i < 5; i++) expect(coins.leaderOf(1)).toBeUndefined();
    expect(coin.attempts).toBe(1);
    accept(blockWith(4, 12, shareOf(4, 1)));
    for (let i = 0; i < 5; i++) expect(coins.leaderOf(1)).toBe(testLeader(1, 7));
    expect(coin.attempts).toBe(2);
  });

  it('does not depend on a second share by one author, in a twin or for another period', () => {
    const { coins, accept } = coinsWith();
    accept(blockWith(1, 12, shareOf(1, 1)), blockWith(1, 12, wrongShare(1)), blockWith(1, 13, wrongShare(1)));
    accept(blockWith(2, 12, wrongShare(1)), blockWith(2, 12, shareOf(2, 1)), blockWith(2, 20, shareOf(2, 2)));
    accept(blockWith(3, 12, shareOf(3, 1)), blockWith(4, 12, shareOf(4, 1)));
    expect(coins.leaderOf(1)).toBe(testLeader(1, 7));
    // The first one of author 2 was wrong: author 2 is out of this period, and of all others.
    expect(coins.takeEvidence()).toMatchObject([{ author: 2 }]);
    accept(...[3, 4].map((author) => blockWith(author, 20, shareOf(author, 2))));
    expect(coins.leaderOf(2)).toBeUndefined();
    accept(blockWith(5, 20, shareOf(5, 2)));
    expect(coins.leaderOf(2)).toBe(testLeader(2, 7));
  });

  it('takes one search for a liar, however many periods it lies about', () => {
    const { coin, coins, accept } = coinsWith();
    const periods = Array.from({ length: 20 }, (_, i) => i + 1);
    // Half of the lies are there before the first one is found out, the others come later.
    accept(blockWith(1, 84, ...periods.slice(0, 10).map(wrongShare)));
    for (const period of periods) {
      const round = 8 * period + 4;
      accept(blockWith(1, round, wrongShare(period)));
      accept(...[2, 3].map((author) => blockWith(author, round, shareOf(author, period))));
      expect(coins.leaderOf(period)).toBeUndefined();
      accept(blockWith(4, round, shareOf(4, period)));
      expect(coins.leaderOf(period)).toBe(testLeader(period, 7));
    }
    expect(coin.attempts).toBe(periods.length + 1);
    expect(coins.takeEvidence()).toHaveLength(1);
  });

  it('is not found with shares in blocks of a round too low for them', () => {
    const { coins, accept } = coinsWith();
    accept(...[1, 2, 3].map((author) => blockWith(author, 11, shareOf(author, 1))));
    expect(coins.leaderOf(1)).toBeUndefined();
    expect(coins.takeEvidence()).toHaveLength(3);
    accept(...[1, 2, 3].map((author) => blockWith(author, 12, shareOf(author, 1))));
    expect(coins.leaderOf(1)).toBe(testLeader(1, 7));
  });

  it('is not hindered by duties that are no shares', () => {
    const { coins, accept } = coinsWith();
    accept(blockWith(5, 12, { kind: dutyKinds.coinShare, payload: new Uint8Array(3) }));
    accept(
      ...[1, 2, 3].map((author) => blockWith(author, 12, shareOf(author, 1), { kind: 77, payload: new Uint8Array(9) })),
    );
    expect(coins.leaderOf(1)).toBe(testLeader(1, 7));
  });

  it('is forgotten, with the shares, when the sequence is past it', () => {
    const { coin, coins, accept } = coinsWith();
    accept(...[1, 2, 3].map((author) => blockWith(author, 20, shareOf(author, 1), shareOf(author, 2))));
    coins.advance(2);
    accept(...[4, 5, 6].map((author) => blockWith(author, 20, shareOf(author, 1))));
    expect(coins.leaderOf(1)).toBeUndefined();
    expect(coin.attempts).toBe(0);
    expect(coins.leaderOf(2)).toBe(testLeader(2, 7));
  });
});

describe('our own shares', () => {
  const periods = (duties: readonly Duty[]): readonly number[] =>
    duties.flatMap(({ payload }) => {
      const decoded = decodeCoinShare(payload);
      return decoded.ok ? [decoded.value.period] : [];
    });

  it('are said in the first own block of round 8w + 4 or later, once', () => {
    const { coins } = coinsWith();
    expect(periods(coins.toSay(11))).toEqual([]);
    expect(periods(coins.toSay(12))).toEqual([1]);
    expect(periods(coins.toSay(13))).toEqual([1]);
    coins.said(blockWith(0, 13, ...coins.toSay(13)));
    expect(periods(coins.toSay(14))).toEqual([]);
    expect(periods(coins.toSay(29))).toEqual([2, 3]);
  });

  it('are not said for periods that the sequence is past', () => {
    const { coins } = coinsWith();
    coins.advance(3);
    expect(periods(coins.toSay(29))).toEqual([3]);
  });

  it('are said late when the key share comes late', () => {
    const late = new ScriptedDuties({ self: 0, coinFrom: 0, coin: new TestCoin(membership, undefined) });
    expect(new Coins({ membership, duties: late, quorumRound }).toSay(100)).toEqual([]);
    expect(new Coins({ membership, duties: noDuties, quorumRound }).toSay(100)).toEqual([]);
  });

  it('are a bounded number in each block, the lowest first', () => {
    const { coins } = coinsWith();
    const first = coins.toSay(1_000);
    expect(periods(first)).toEqual(Array.from({ length: limits.blockCoinSharesMax }, (_, i) => i + 1));
    coins.said(blockWith(0, 1_000, ...first));
    expect(periods(coins.toSay(1_001))[0]).toBe(limits.blockCoinSharesMax + 1);
  });
});
