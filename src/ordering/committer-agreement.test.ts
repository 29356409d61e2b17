/**
 * Shows on random DAGs with up to f equivocators that the committer decides what the second implementation decides, that
 * causally closed views never disagree (S5), and that it may be resumed from, and pruned to, any position.
 */
import { describe, expect, it } from 'vitest';
import { quorumRule } from '../membership/membership.ts';
import { type CommitterRules, type Decision, decide, initialPosition, type Position } from './committer.ts';
import type { DagView } from './dag.ts';
import { lowestRoundFrom, slotAfter } from './slots.ts';
import { TestDag } from './testing/dag-language.ts';
import { describeDecisions } from './testing/decision-cases.ts';
import { decidePlainly } from './testing/plain-committer.ts';
import { below, type Random, randomDag, seeded, shuffled } from './testing/random-dag.ts';

const sizes = [
  { n: 4, f: 1, k: 0, dags: 4000, rounds: 16 },
  { n: 6, f: 1, k: 1, dags: 800, rounds: 14 },
  { n: 7, f: 2, k: 0, dags: 600, rounds: 13 },
  { n: 10, f: 3, k: 0, dags: 150, rounds: 11 },
  { n: 13, f: 4, k: 0, dags: 50, rounds: 10 },
];

interface World {
  readonly dag: TestDag;
  readonly rules: CommitterRules;
  readonly coins: ReadonlyMap<number, number>;
}

function randomWorld(seed: number, size: { n: number; f: number; k: number; rounds: number }): World {
  const random = seeded(seed);
  const rule = quorumRule(size);
  const rules: CommitterRules = { rule, period: 4 + below(random, 5), ranks: 1 + below(random, 2) };
  const coins = new Map<number, number>();
  for (let w = 1; w <= size.rounds; w++) if (random() < 0.9) coins.set(w, below(random, rule.n));
  return { dag: randomDag(random, rule, size.rounds - below(random, 5)), rules, coins };
}

const decided = ({ dag, rules, coins }: World): readonly Decision[] =>
  decide(dag, rules, (w) => coins.get(w), initialPosition).decisions;

/** The blocks of a few random ones' histories, and perhaps fewer coins: what some other replica may see. */
function randomView(random: Random, { dag, rules, coins }: World): World {
  const blocks = dag.blocks.filter(({ round }) => round > 0);
  const tips = shuffled(random, blocks).slice(0, 1 + below(random, rules.rule.n));
  const open = new Map([...coins].filter(() => random() < 0.9));
  return { dag: dag.closure(tips.map(({ id }) => id)), rules, coins: open };
}

/** Where a replica stands that has decided these slots, worked out from them alone. */
function positionAfter(decisions: readonly Decision[], rules: CommitterRules): Position {
  const last = decisions.at(-1);
  if (last === undefined) return initialPosition;
  const period = decisions.slice(decisions.findLastIndex(({ kind }) => kind === 'fallback') + 1);
  return { next: slotAfter(last, rules), periodHasCommit: period.some(({ status }) => status === 'commit') };
}

/** What is left after every block below a round was pruned. */
function pruned(dag: TestDag, lowest: number): DagView {
  return {
    highestRound: dag.highestRound,
    at: (round) => (round < lowest ? [] : dag.at(round)),
    get: (id) => {
      const block = dag.get(id);
      return block !== undefined && block.round >= lowest ? block : undefined;
    },
  };
}

describe.each(sizes)('committer on random DAGs of $n replicas', (size) => {
  it('decides what the second implementation does', () => {
    let pastFallback = 0;
    for (let seed = 1; seed <= size.dags; seed++) {
      const world = randomWorld(seed, size);
      const ours = describeDecisions(decided(world));
      expect(ours, `seed ${seed}`).toBe(describeDecisions(decidePlainly(world.dag, world.rules, world.coins)));
      if (ours.includes('fallback')) pastFallback += 1;
    }
    expect(pastFallback).toBeGreaterThan(size.dags / 10);
  });

  it('agrees between causally closed views, whatever the order in which blocks came', () => {
    for (let seed = 1; seed <= size.dags; seed++) {
      const world = randomWorld(seed, size);
      const random = seeded(seed + 1_000_000);
      const whole = describeDecisions(decided(world));
      expect(describeDecisions(decided({ ...world, dag: world.dag.reversed() })), `seed ${seed}`).toBe(whole);
      for (let view = 0; view < 4; view++) {
        expectPrefix(describeDecisions(decided(randomView(random, world))), whole, `seed ${seed}`);
      }
    }
  });

  it('goes on from every position with the rest of the same decisions, lower rounds pruned or not', () => {
    for (let seed = 1; seed <= size.dags / 5; seed++) {
      const { dag, rules, coins } = randomWorld(seed, size);
      const { decisions, position } = decide(dag, rules, (w) => coins.get(w), initialPosition);
      expect(position).toEqual(positionAfter(decisions, rules));
      for (let done = 0; done <= decisions.length; done++) {
        const from = positionAfter(decisions.slice(0, done), rules);
        const rest = { decisions: decisions.slice(done), position };
        expect(
          decide(dag, rules, (w) => coins.get(w), from),
          `seed ${seed}, after ${done}`,
        ).toEqual(rest);
        const view = pruned(dag, lowestRoundFrom(from.next));
        expect(
          decide(view, rules, (w) => coins.get(w), from),
          `seed ${seed}, after ${done}, pruned`,
        ).toEqual(rest);
      }
    }
  });
});

/** Every causally closed view of a DAG, genesis included in each; stops above `max`. */
function closedViews(dag: TestDag, max: number): readonly TestDag[] {
  const blocks = [...dag.blocks].sort((a, b) => a.round - b.round);
  let views: ReadonlySet<string>[] = [new Set()];
  for (const block of blocks) {
    const extended = views
      .filter((view) => block.parents.every((parent) => view.has(parent)))
      .map((view) => new Set([...view, block.id]));
    views = block.round === 0 ? extended : [...views, ...extended];
    if (views.length > max) return [];
  }
  return views.map(
    (view) =>
      new TestDag(
        dag.n,
        blocks.filter(({ id }) => view.has(id)),
      ),
  );
}

describe('every pair of causally closed views of a small DAG', () => {
  it('agrees: one view decides the beginning of what the other decides', () => {
    let looked = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const world = randomWorld(seed, { n: 4, f: 1, k: 0, rounds: 10 });
      const outcomes = new Set(
        closedViews(world.dag, 1500).map((dag) => describeDecisions(decided({ ...world, dag }))),
      );
      for (const one of outcomes) {
        for (const other of outcomes) {
          if (one.length <= other.length) expectPrefix(one, other, `seed ${seed}`);
        }
      }
      looked += outcomes.size;
    }
    expect(looked).toBeGreaterThan(100);
  });
});

/** Fails unless the decisions of one text are the first ones of the other. */
function expectPrefix(one: string, other: string, where: string): void {
  if (one === '' || other === one || other.startsWith(`${one}, `)) return;
  expect(one, `${where}: not a beginning of ${other}`).toBe(other);
}
