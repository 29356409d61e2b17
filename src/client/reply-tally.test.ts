/** The tally never accepts what only faulty replicas said, and always what enough correct ones did. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { quorumRule } from '../membership/membership.ts';
import { ReplyTally } from './reply-tally.ts';

const truth = Uint8Array.of(1);
const cluster = fc.constantFrom(
  { n: 4, f: 1, k: 0 },
  { n: 6, f: 1, k: 1 },
  { n: 7, f: 2, k: 0 },
  { n: 13, f: 4, k: 0 },
);

it('accepts only what a correct replica said, whatever f faulty ones say in whatever order', () => {
  const scenario = cluster.chain((counts) =>
    fc.record({
      counts: fc.constant(counts),
      replies: fc.array(
        fc.record({
          replica: fc.nat(counts.n - 1),
          lie: fc.record({ commitIndex: fc.nat(2), result: fc.uint8Array({ maxLength: 2 }) }),
        }),
        { maxLength: 80 },
      ),
    }),
  );
  fc.assert(
    fc.property(scenario, ({ counts, replies }) => {
      const tally = new ReplyTally(quorumRule(counts));
      const correct = new Set<number>();
      for (const { replica, lie } of replies) {
        const isFaulty = replica < counts.f;
        if (!isFaulty) correct.add(replica);
        const accepted = isFaulty ? tally.add(replica, lie.commitIndex, lie.result) : tally.add(replica, 1, truth);
        if (accepted !== undefined) {
          expect(accepted).toMatchObject({ commitIndex: 1, result: truth });
          expect(correct.size).toBeGreaterThan(0);
        }
      }
      if (correct.size > counts.f) {
        const last = [...correct][0]!;
        expect(tally.add(last, 1, truth)).toMatchObject({ commitIndex: 1, result: truth });
      }
      expect(tally.claims.length).toBeLessThanOrEqual(3 * counts.f + 1);
    }),
    { numRuns: 200 },
  );
});

it('counts a replica once, however often it repeats itself', () => {
  const tally = new ReplyTally(quorumRule({ n: 4, f: 1, k: 0 }));
  for (let i = 0; i < 5; i++) expect(tally.add(2, 9, truth)).toBeUndefined();
  expect(tally.add(3, 9, truth)).toBeDefined();
});
