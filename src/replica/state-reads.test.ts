/** Questions for the state at one replica: as of which head they are answered, how long they wait, and how many may. */
import { describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { PlainState } from '../verify/testing/plain-state.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import { encodeValue } from '../wire/value.ts';
import { LinkChains } from './link-chains.ts';
import { StateReads } from './state-reads.ts';

const digest = sha256(Buffer.from('any'));
const state = new PlainState(new Map([['a', encodeValue(1)]]));

function headOf(commitIndex: number): CertifiedHead {
  const log = { logSize: commitIndex, logRoot: digest, stateRoot: state.root, checkpoint: digest };
  return { head: { serviceId: digest, epoch: 0, commitIndex, timestamp: 1, ...log }, signature: new Uint8Array(48) };
}

/** A replica whose execution has the state as of these commits. */
function start({ provable = [10], isPublic = true }: { provable?: number[]; isPublic?: boolean } = {}) {
  const reads = new StateReads({
    prover: {
      proveState: (key, { commitIndex }) =>
        provable.includes(commitIndex) ? { proof: state.prove(key), value: state.value(key) } : undefined,
    },
    chains: new LinkChains({
      consistencyPath: (from, to) => (from < 3 ? undefined : from <= to ? [digest] : undefined),
    }),
    isPublic,
  });
  const clock = { nowMs: 0 };
  let number = 0;
  const ask = (change: { key?: string; notBefore?: number; link?: number; logSize?: number } = {}): boolean => {
    number += 1;
    return reads.ask({ link: 1, number, key: 'a', notBefore: 0, logSize: 5, ...change });
  };
  const take = (
    newest: CertifiedHead | undefined,
    executedIndex = 10,
    { hasDiverged = false, hasServiceKey = true } = {},
  ) =>
    reads.take({ newest, hasServiceKey, executedIndex, hasDiverged, nowMs: clock.nowMs }).map(({ link, message }) => {
      if (message.kind === 'state') return `${link}/${message.number} at ${message.certifiedHead.head.commitIndex}`;
      return message.kind === 'state-refused' ? `${link}/${message.number} ${message.code}` : 'another kind';
    });
  return { reads, ask, take, clock, provable };
}

describe('a question', () => {
  it('is answered at once, as of the newest certified head', () => {
    const { reads, ask } = start();
    expect(ask()).toBe(false);
    const [answer] = reads.take({
      newest: headOf(10),
      hasServiceKey: true,
      executedIndex: 12,
      hasDiverged: false,
      nowMs: 0,
    });
    expect(answer).toMatchObject({
      link: 1,
      message: { kind: 'state', number: 1, value: encodeValue(1), consistentWith: 5, consistencyPath: [digest] },
    });
    expect(reads.wakeAtMs).toBeUndefined();
    expect(reads.isUnfinished).toBe(false);
  });

  it('for a key that there is not is answered with a proof of that', () => {
    const { reads, ask } = start();
    ask({ key: 'nothing' });
    const [answer] = reads.take({
      newest: headOf(10),
      hasServiceKey: true,
      executedIndex: 10,
      hasDiverged: false,
      nowMs: 0,
    });
    expect(answer?.message).toMatchObject({ kind: 'state', value: undefined, proof: state.proveEncoded('nothing') });
  });

  it('ties its head to the one before on the link, and says when it cannot any more', () => {
    const { reads, ask } = start({ provable: [10, 11] });
    ask({ logSize: 2 });
    const circumstances = { hasServiceKey: true, executedIndex: 11, hasDiverged: false, nowMs: 0 };
    const take = (newest: CertifiedHead) => reads.take({ newest, ...circumstances })[0];
    expect(take(headOf(10))?.message).toMatchObject({ consistentWith: 0, notRetained: true });
    ask({ logSize: 2 });
    expect(take(headOf(11))?.message).toMatchObject({ consistentWith: 10, consistencyPath: [digest] });
  });

  it('is answered as of an earlier head while we have not executed what the newest one covers', () => {
    const { ask, take, provable } = start({ provable: [10] });
    take(headOf(10), 10);
    ask();
    expect(take(headOf(20), 15)).toEqual(['1/1 at 10']);
    ask({ notBefore: 11 });
    expect(take(headOf(20), 15)).toEqual([]);
    provable.push(20);
    expect(take(headOf(20), 20)).toEqual(['1/2 at 20']);
  });

  it('that wants a later head waits for it, and makes one wished for when there is something to cover', () => {
    const { ask, take, reads, provable } = start({ provable: [10, 12] });
    take(headOf(10), 12);
    expect(ask({ notBefore: 12 })).toBe(true);
    expect(ask({ notBefore: 13 })).toBe(false);
    expect(ask({ notBefore: 10 })).toBe(false);
    expect(take(headOf(10), 12)).toEqual(['1/3 at 10']);
    expect(reads.wakeAtMs).toBe(limits.stateReadWaitMs);
    expect(take(headOf(12), 12)).toEqual(['1/1 at 12']);
    provable.push(14);
    expect(take(headOf(14), 14)).toEqual(['1/2 at 14']);
    expect(reads.wakeAtMs).toBeUndefined();
  });

  it('waits so long and no longer', () => {
    const { ask, take, clock } = start();
    ask({ notBefore: 99 });
    expect(take(headOf(10))).toEqual([]);
    clock.nowMs = limits.stateReadWaitMs - 1;
    expect(take(headOf(10))).toEqual([]);
    clock.nowMs = limits.stateReadWaitMs;
    expect(take(headOf(10))).toEqual(['1/1 too-old']);
    expect(take(headOf(10))).toEqual([]);
  });

  it('waits for the first head of an epoch, or after a start, as long as its link is there', () => {
    const { ask, take, clock, reads } = start();
    ask();
    ask({ link: 2 });
    expect(take(undefined)).toEqual([]);
    clock.nowMs = 10 * limits.stateReadWaitMs;
    // Nothing is to be done by then: it would go round and round.
    expect(reads.wakeAtMs).toBeUndefined();
    expect(take(undefined)).toEqual([]);
    reads.forget(2);
    expect(take(headOf(10))).toEqual(['1/1 at 10']);
  });

  it('is refused where there is no service key, where we have diverged, and where the state is not for all', () => {
    const first = start();
    first.ask();
    expect(first.take(undefined, 10, { hasServiceKey: false })).toEqual(['1/1 not-certifying']);
    first.ask();
    expect(first.take(headOf(10), 10, { hasDiverged: true })).toEqual(['1/2 not-certifying']);
    const closed = start({ isPublic: false });
    expect(closed.ask({ notBefore: 10 })).toBe(false);
    expect(closed.take(headOf(10))).toEqual(['1/1 not-public']);
  });
});

describe('questions', () => {
  it('of which too many wait cost whoever asked first', () => {
    const { reads, ask, take } = start();
    const [hoarder, honest] = [7, 8];
    for (let i = 0; i < limits.stateReadsWaitingMax; i++) ask({ link: hoarder, notBefore: 99 });
    while (reads.isUnfinished) expect(take(headOf(10))).toEqual([]);
    ask({ link: honest });
    expect(take(headOf(10))).toEqual(['7/1 overloaded', `${honest}/${limits.stateReadsWaitingMax + 1} at 10`]);
  });

  it('are bounded in bytes of their keys', () => {
    const { ask, take } = start();
    const key = 'k'.repeat(1_000);
    const fitting = Math.floor(limits.stateReadsWaitingSizeBytesMax / 2_128);
    for (let i = 0; i < fitting + 5; i++) ask({ key, notBefore: 99 });
    expect(take(headOf(10))).toEqual([1, 2, 3, 4, 5].map((number) => `1/${number} overloaded`));
  });

  it('are answered so many in a step, in order, and the rest in the next', () => {
    const { reads, ask, take } = start();
    for (let i = 0; i < limits.stateReadsPerStepMax + 3; i++) ask();
    expect(take(headOf(10))).toHaveLength(limits.stateReadsPerStepMax);
    expect(reads.isUnfinished).toBe(true);
    expect(take(headOf(10))).toEqual([1, 2, 3].map((i) => `1/${limits.stateReadsPerStepMax + i} at 10`));
    expect(reads.isUnfinished).toBe(false);
  });

  it('of a link that is gone are forgotten, and those only', () => {
    const { reads, ask, take } = start({ provable: [10, 11] });
    ask({ link: 1, notBefore: 11 });
    ask({ link: 2, notBefore: 11 });
    take(headOf(10));
    ask({ link: 1 });
    reads.forget(1);
    expect(take(headOf(11))).toEqual(['2/2 at 11']);
  });
});
