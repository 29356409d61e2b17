/**
 * Shows that the checker of epochs names an epoch that ends twice, one that goes on after its end, and one of which the service says
 * two things, and keeps quiet when nothing is wrong.
 */
import { describe, expect, it } from 'vitest';
import { type Digest, sha256 } from '../../src/crypto/hash.ts';
import type { Commit } from '../../src/ordering/commit.ts';
import type { Checkpoint } from '../../src/wire/checkpoint.ts';
import { simulatedMembership } from '../simulated-membership.ts';
import { EpochChecker } from './epochs.ts';

const digest = (text: string): Digest => sha256(Buffer.from(text, 'utf8'));
const first = simulatedMembership({ n: 4, f: 1, k: 0 }, { period: 8, ranks: 1, pruneDepth: 50 }, 1);
const second = { ...first, epoch: 1, epochGenesis: digest('second') };

function watched() {
  const said: string[] = [];
  return { checker: new EpochChecker((_, message) => said.push(message)), said };
}

function closing(commitIndex: number, next = 'next'): Checkpoint {
  return { epoch: 0, ordering: { commitIndex }, nextMembership: digest(next) } as Checkpoint;
}

function commitOf(index: number, ...epochs: readonly number[]): Commit {
  return { index, blocks: epochs.map((epoch) => ({ epoch })) } as unknown as Commit;
}

describe('epochs', () => {
  it('may follow each other, for one replica later than for another', () => {
    const { checker, said } = watched();
    for (const place of [0, 1]) {
      checker.entered(place, first);
      for (const index of [1, 2, 3]) checker.committed(place, 0, commitOf(index, 0, 0));
      checker.checkpointTaken(place, closing(3), digest('c'));
      checker.checkpointTaken(place, { ...closing(2), nextMembership: undefined }, digest('another'));
      checker.entered(place, second);
      checker.stated(place, 1, Buffer.from('statement'));
      checker.committed(place, 1, commitOf(4, 1));
    }
    expect(said).toEqual([]);
    expect(checker.highest).toBe(1);
    expect(checker.membershipOf(1)).toBe(second);
    expect(checker.membershipOf(2)).toBeUndefined();
  });

  it.each<[string, (checker: EpochChecker) => void, RegExp]>([
    [
      'two closing commits',
      (c) => c.checkpointTaken(1, closing(4), digest('c')),
      /closed twice: r0 at commit 3, r1 at/,
    ],
    ['two closing checkpoints', (c) => c.checkpointTaken(1, closing(3), digest('d')), /closed twice/],
    ['two next memberships', (c) => c.checkpointTaken(1, closing(3, 'other'), digest('c')), /closed twice/],
    ['a commit after the closing one', (c) => c.committed(1, 0, commitOf(4, 0)), /commit 4 in epoch 0, closed at 3/],
    ['blocks of another epoch', (c) => c.committed(1, 1, commitOf(4, 1, 0)), /a block of epoch 0 in epoch 1, commit 4/],
    ['two beginnings', (c) => c.entered(1, { ...second, epochGenesis: digest('x') }), /another beginning of epoch 1/],
    ['two statements', (c) => c.stated(1, 1, Buffer.from('b')), /another certified membership of 1/],
  ])('are named for %s', (_, act, message) => {
    const { checker, said } = watched();
    checker.entered(0, first);
    checker.checkpointTaken(0, closing(3), digest('c'));
    checker.entered(0, second);
    checker.stated(0, 1, Buffer.from('a'));
    act(checker);
    expect(said).toEqual([expect.stringMatching(message)]);
  });
});
