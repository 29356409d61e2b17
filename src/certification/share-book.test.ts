/** Share book: how much is kept, of whom, and what goes first. */
import { describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { limits } from '../wire/limits.ts';
import { type KeptShare, ShareBook } from './share-book.ts';

const digest = sha256(Buffer.from('a head'));
const kept = (holder: number, commitIndex: number): KeptShare => ({
  holder,
  commitIndex,
  digest,
  share: new Uint8Array(48).fill(commitIndex),
});
const { headSharesPerReplicaMax } = limits;

describe('a page', () => {
  it('is bounded: the share of the oldest commit goes first, of whatever order they came in', () => {
    const book = new ShareBook(2);
    for (let commit = 2 * headSharesPerReplicaMax; commit > 0; commit--) book.add(kept(0, commit));
    const commits = [...book.commitsIn(0, Number.MAX_SAFE_INTEGER)].sort((a, b) => a - b);
    expect(commits).toHaveLength(headSharesPerReplicaMax);
    expect(commits[0]).toBe(headSharesPerReplicaMax + 1);
  });

  it('is not touched by what others send', () => {
    const book = new ShareBook(2);
    book.add(kept(0, 1));
    for (let commit = 2; commit < 2_000; commit++) book.add(kept(1, commit));
    expect(book.at(1)).toEqual([kept(0, 1)]);
  });

  it('keeps a copy: the bytes of a message are not ours', () => {
    const book = new ShareBook(1);
    const message = kept(0, 1);
    book.add(message);
    message.share.fill(9);
    expect(book.at(1)).toEqual([kept(0, 1)]);
  });
});

it('gives up what a certified head covers', () => {
  const book = new ShareBook(3);
  for (const holder of [0, 2]) for (const commit of [1, 2, 3]) book.add(kept(holder, commit));
  expect(book.takeUpTo(2).map(({ holder, commitIndex }) => [holder, commitIndex])).toEqual([
    [0, 1],
    [0, 2],
    [2, 1],
    [2, 2],
  ]);
  expect(book.countOf(2, digest)).toBe(0);
  expect(book.countOf(3, digest)).toBe(2);
  book.clear(0);
  expect(book.at(3)).toEqual([kept(2, 3)]);
});
