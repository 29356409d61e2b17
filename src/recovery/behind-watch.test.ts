/** Whoever offers checkpoints costs a signature check for each that is news, and can make nobody look again and again. */
import { describe, expect, it } from 'vitest';
import { quorumRule } from '../membership/membership.ts';
import { BehindWatch } from './behind-watch.ts';
import { GrowingState, serviceId, verifyHead } from './testing/growing-state.ts';

const state = new GrowingState();
const [first, second] = [state.grow({ leaves: 1 }), state.grow({ leaves: 1 })];

function watch(): { readonly behind: BehindWatch; readonly checked: { count: number } } {
  const checked = { count: 0 };
  const behind = new BehindWatch({
    serviceId,
    epoch: 0,
    epochGenesis: serviceId,
    rule: quorumRule({ n: 4, f: 1, k: 0 }),
    verifyHead: (head) => {
      checked.count += 1;
      return verifyHead(head);
    },
  });
  return { behind, checked };
}

describe('a behind watch', () => {
  it('believes as many as cannot all be faulty', () => {
    const { behind } = watch();
    expect(behind.take(1, second.offer, 150)).toBeUndefined();
    expect(behind.isBehind(150)).toBe(false);
    expect(behind.take(2, second.offer, 150)).toBeUndefined();
    expect(behind.isBehind(150)).toBe(true);
    expect(behind.isBehind(200)).toBe(false);
  });

  it('checks no signature of what is not ahead, and no second one of who sent a wrong one', () => {
    const { behind, checked } = watch();
    for (let i = 0; i < 10; i++) expect(behind.take(1, first.offer, 150)).toBeUndefined();
    expect(checked.count).toBe(0);
    const forged = { ...second.offer, signature: new Uint8Array(48) };
    expect(behind.take(1, forged, 150)).toContain('not signed');
    for (let i = 0; i < 10; i++) expect(behind.take(1, forged, 150)).toBeUndefined();
    expect(behind.take(1, second.offer, 150)).toBeUndefined();
    expect(checked.count).toBe(1);
    for (const peer of [2, 3]) behind.take(peer, second.offer, 150);
    expect(behind.isBehind(150)).toBe(true);
  });

  it('checks each checkpoint once for a replica, however often that offers old ones again', () => {
    const { behind, checked } = watch();
    const third = new GrowingState('another').grow({ leaves: 1 });
    expect(third.checkpoint.ordering.commitIndex).toBe(first.checkpoint.ordering.commitIndex);
    const later = Array.from({ length: 4 }, () => state.grow({ leaves: 1 }));
    for (let turn = 0; turn < 10; turn++) {
      for (const { offer } of [first, third, second, ...later]) expect(behind.take(1, offer)).toBeUndefined();
    }
    expect(checked.count).toBe(2 + later.length);
  });
});
