/** Shows what a commit holds, in which order, and how its time, its digest and the horizon follow (§5). */
import { describe, expect, it } from 'vitest';
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { Reference } from '../wire/block.ts';
import * as linearizer from './linearizer.ts';
import { linearizerCases, runLinearizerCase } from './testing/linearizer-cases.ts';

const { commitDigest, commitTimestamp, horizonAfter, initialHorizon } = linearizer;

describe('linearizer', () => {
  for (const each of linearizerCases) {
    it(each.name, () => {
      expect(runLinearizerCase(linearizer, each)).toEqual([each.ordered, each.ordered]);
    });
  }
});

describe('horizon', () => {
  it('stays at genesis until a leader is deeper than the depth', () => {
    expect(horizonAfter({ horizon: initialHorizon, leaderRound: 3, pruneDepth: 10 })).toBe(0);
    expect(horizonAfter({ horizon: initialHorizon, leaderRound: 12, pruneDepth: 10 })).toBe(2);
  });

  it('does not fall when a leader stands below the one before', () => {
    const afterFallback = horizonAfter({ horizon: 10, leaderRound: 24, pruneDepth: 10 });
    expect(afterFallback).toBe(14);
    expect(horizonAfter({ horizon: afterFallback, leaderRound: 22, pruneDepth: 10 })).toBe(14);
  });
});

describe('commit timestamp', () => {
  it('is the lower median, so that one liar among three moves it nowhere', () => {
    expect(commitTimestamp(0, [30, 10, 20])).toBe(20);
    expect(commitTimestamp(0, [1_000_000, 10, 20])).toBe(20);
    expect(commitTimestamp(0, [0, 10, 20])).toBe(10);
  });

  it('is the lower one of the two in the middle', () => {
    expect(commitTimestamp(0, [40, 10, 30, 20])).toBe(20);
  });

  it('compares numbers, not their text', () => {
    expect(commitTimestamp(0, [9, 10, 100])).toBe(10);
  });

  it('never goes back', () => {
    expect(commitTimestamp(50, [10, 20, 30])).toBe(50);
  });
});

describe('commit digest', () => {
  const digest = (text: string): Digest => sha256(new TextEncoder().encode(text));
  const reference = (round: number, author: number, text = `${round}/${author}`): Reference => ({
    round,
    author,
    digest: digest(text),
  });
  const commit = {
    previous: digest('genesis'),
    leader: reference(2, 1),
    blocks: [reference(1, 0), reference(1, 1), reference(2, 1)],
  };

  it('is the same for the same commit, and golden', () => {
    expect(commitDigest(commit)).toBe(commitDigest({ ...commit, blocks: [...commit.blocks] }));
    // H(tag, previous, leader, count, blocks), worked out by another program.
    expect(commitDigest(commit)).toBe('59e961296e8487a88ea07b3580b2147208295817b0e10a56b2dc826dd30599ec');
  });

  it('changes with every part', () => {
    const others = [
      { ...commit, previous: digest('other') },
      { ...commit, leader: reference(2, 2) },
      { ...commit, leader: reference(2, 1, 'twin') },
      { ...commit, blocks: commit.blocks.slice(1) },
      { ...commit, blocks: [...commit.blocks].reverse() },
      { ...commit, blocks: [] },
    ].map(commitDigest);
    expect(new Set([commitDigest(commit), ...others]).size).toBe(others.length + 1);
  });
});
