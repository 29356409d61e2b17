import { describe, expect, it } from 'vitest';
import { containsReplica, emptySet, type ReplicaSet, withReplica } from '../membership/membership.ts';
import { Linger } from './linger.ts';

const setOf = (...indexes: readonly number[]): ReplicaSet => indexes.reduce(withReplica, emptySet);

/** Plays rounds in which each peer's block comes some time after the quorum, or never; replica 0 is ourselves. */
function play(linger: Linger, rounds: readonly number[], lags: Readonly<Record<number, number | undefined>>): void {
  for (const round of rounds) {
    const quorumAtMs = round * 100;
    linger.quorumReached(round, quorumAtMs);
    const endsAtMs = linger.endsAtMs(round, quorumAtMs);
    let authors = setOf(0);
    for (const [author, lagMs] of Object.entries(lags)) {
      if (lagMs !== undefined && quorumAtMs + lagMs <= endsAtMs) authors = withReplica(authors, Number(author));
    }
    if (!linger.isComplete(authors)) linger.ranOut(authors);
    linger.adapt();
    for (const [author, lagMs] of Object.entries(lags)) {
      if (lagMs !== undefined) linger.arrived(Number(author), round, quorumAtMs + lagMs);
    }
  }
}

const from = (first: number, count: number): readonly number[] => Array.from({ length: count }, (_, i) => first + i);
const quick = { 1: 0, 2: 1, 3: 1 };

describe('lingering', () => {
  it('waits for everybody who is not suspected, and for nobody when all are there', () => {
    const linger = new Linger({ n: 4, self: 0 });
    expect(linger.isComplete(setOf(0, 1, 2))).toBe(false);
    expect(linger.isComplete(setOf(0, 1, 2, 3))).toBe(true);
  });

  it('waits once for a dead replica, not again', () => {
    const linger = new Linger({ n: 4, self: 0 });
    play(linger, from(1, 1), { ...quick, 3: undefined });
    expect(linger.suspected).toBe(setOf(3));
    expect(linger.isComplete(setOf(0, 1, 2))).toBe(true);
  });

  it('waits again for one whose blocks come in time again, later after each relapse', () => {
    const linger = new Linger({ n: 4, self: 0 });
    const roundsUntilCleared = (first: number): number => {
      play(linger, [first], { ...quick, 3: undefined });
      expect(containsReplica(linger.suspected, 3)).toBe(true);
      let rounds = 0;
      while (containsReplica(linger.suspected, 3)) play(linger, [first + ++rounds], quick);
      return rounds;
    };
    const waits = [1, 101, 201, 301].map(roundsUntilCleared);
    expect(waits).toEqual([2, 4, 8, 16]);
  });

  it('forgets the past of one that has been in time for long', () => {
    const linger = new Linger({ n: 4, self: 0 });
    for (const first of [1, 101, 201]) play(linger, [first, ...from(first + 1, 20)], { ...quick, 3: undefined });
    play(linger, from(400, 200), quick);
    play(linger, [700], { ...quick, 3: undefined });
    play(linger, from(701, 2), quick);
    expect(linger.suspected).toBe(emptySet);
  });

  it('is as long as the peers usually lag, whatever one slow or hostile peer does', () => {
    const linger = new Linger({ n: 4, self: 0 });
    play(linger, from(1, 200), { 1: 1, 2: 1, 3: 49 });
    expect(linger.waitMs).toBeLessThan(10);
    expect(linger.suspected).toBe(setOf(3));
    const slow = new Linger({ n: 4, self: 0 });
    play(slow, from(1, 200), { 1: 20, 2: 20, 3: 20 });
    expect(slow.waitMs).toBeGreaterThanOrEqual(20);
    expect(slow.waitMs).toBeLessThanOrEqual(50);
    expect(slow.suspected).toBe(emptySet);
  });

  it('takes blocks of rounds long past for no sign of life in time', () => {
    const linger = new Linger({ n: 4, self: 0 });
    play(linger, from(1, 300), { ...quick, 3: undefined });
    for (const round of from(1, 200)) linger.arrived(3, round, 30_001);
    expect(linger.suspected).toBe(setOf(3));
  });
});
