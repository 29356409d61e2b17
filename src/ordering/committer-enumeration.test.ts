/**
 * Shows for four replicas, over every choice of parents in a few rounds, that causally closed views never disagree (S5),
 * that no two twins of a slot are committed (S2), and that renaming twins changes names only.
 */
import { describe, expect, it } from 'vitest';
import { quorumRule } from '../membership/membership.ts';
import { type CommitterRules, type Decision, decide, initialPosition } from './committer.ts';
import type { DagBlock, DagView } from './dag.ts';
import { describeDecisions } from './testing/decision-cases.ts';

const rules: CommitterRules = { rule: quorumRule({ n: 4, f: 1, k: 0 }), period: 8, ranks: 1 };
const letters = ['a', 'b', 'c', 'd'];

/** A DAG whose blocks stay and whose parents change, so that many thousands can be tried. */
class ChangingDag implements DagView {
  readonly #blocks = new Map<string, { id: string; round: number; author: number; parents: readonly string[] }>();
  /** What the view shows; the rest is not there. */
  #shown: DagBlock[][] = [];
  readonly #shownIds = new Set<string>();

  put(id: string, parents: readonly string[]): void {
    const block = this.#blocks.get(id);
    if (block === undefined) {
      this.#blocks.set(id, { id, round: Number(id[1]), author: letters.indexOf(id[0]!), parents });
    } else {
      block.parents = parents;
    }
  }

  /** Shows the histories of some blocks, and no more. Their blocks are added in the order given, or the opposite one. */
  show(tips: readonly string[], reversed = false): this {
    this.#shownIds.clear();
    for (const id of tips) this.#shownIds.add(id);
    for (const id of this.#shownIds) for (const parent of this.#blocks.get(id)!.parents) this.#shownIds.add(parent);
    this.#shown = [];
    for (const id of this.#shownIds) {
      const block = this.#blocks.get(id)!;
      while (this.#shown.length <= block.round) this.#shown.push([]);
      this.#shown[block.round]!.push(block);
    }
    for (const blocks of this.#shown) blocks.sort((a, b) => (a.id < b.id !== reversed ? -1 : 1));
    return this;
  }

  get(id: string): DagBlock | undefined {
    return this.#shownIds.has(id) ? this.#blocks.get(id) : undefined;
  }

  at(round: number): readonly DagBlock[] {
    return this.#shown[round] ?? [];
  }

  get highestRound(): number {
    return this.#shown.length - 1;
  }
}

function genesis(dag: ChangingDag): void {
  for (const letter of letters) dag.put(`${letter}0`, []);
}

function fullRound(dag: ChangingDag, round: number): void {
  for (const letter of letters) dag.put(`${letter}${round}`, all(letter, round));
}

function all(letter: string, round: number): readonly string[] {
  return [letter, ...letters.filter((other) => other !== letter)].map((other) => `${other}${round - 1}`);
}

/** The parents a block may have without twins: the whole round before, or all but one of the others. */
function parentChoices(letter: string, round: number): readonly (readonly string[])[] {
  const whole = all(letter, round);
  return [whole, ...whole.slice(1).map((left) => whole.filter((id) => id !== left))];
}

/** Every way to take one from each list. */
function* everyChoice<Item>(lists: readonly (readonly Item[])[]): Generator<readonly Item[]> {
  const [first, ...others] = lists;
  if (first === undefined) {
    yield [];
    return;
  }
  for (const item of first) for (const rest of everyChoice(others)) yield [item, ...rest];
}

const decided = (view: DagView): readonly Decision[] => decide(view, rules, () => undefined, initialPosition).decisions;

function agree(one: readonly Decision[], other: readonly Decision[]): boolean {
  const length = Math.min(one.length, other.length);
  for (let i = 0; i < length; i++) {
    if (one[i]!.status !== other[i]!.status || one[i]!.block !== other[i]!.block) return false;
  }
  return true;
}

/** Every pair of the views decides alike; says where not. */
function expectAgreement(views: readonly (readonly Decision[])[]): void {
  let longest: readonly Decision[] = [];
  for (const view of views) if (view.length > longest.length) longest = view;
  for (const view of views) {
    // All beginnings of one text agree with each other.
    if (!agree(view, longest)) expect(describeDecisions(view)).toBe(describeDecisions(longest));
  }
}

const tips = (round: number, left?: string): readonly string[] =>
  letters.filter((letter) => letter !== left).map((letter) => `${letter}${round}`);

/** How often each text of decisions came. */
class Tally {
  readonly counts = new Map<string, number>();
  total = 0;

  add(decisions: readonly Decision[]): void {
    const text = describeDecisions(decisions);
    this.counts.set(text, (this.counts.get(text) ?? 0) + 1);
    this.total += 1;
  }

  get texts(): readonly string[] {
    return [...this.counts.keys()].sort();
  }
}

describe('every DAG of four correct replicas', () => {
  it('of three rounds: each quorum of the third one decides a beginning of what all decide', () => {
    const dag = new ChangingDag();
    genesis(dag);
    fullRound(dag, 1);
    const choices = [2, 3].flatMap((round) => letters.map((letter) => parentChoices(letter, round)));
    const tally = new Tally();
    for (const parents of everyChoice(choices)) {
      for (const [i, letter] of letters.entries()) {
        dag.put(`${letter}2`, parents[i]!);
        dag.put(`${letter}3`, parents[i + 4]!);
      }
      const whole = decided(dag.show(tips(3)));
      expectAgreement([whole, ...letters.map((left) => decided(dag.show(tips(3, left))))]);
      tally.add(whole);
    }
    expect(tally.total).toBe(4 ** 8);
    expect(tally.texts).toEqual(['', 'b1', 'b1, skip 2', 'skip 1', 'skip 1, skip 2']);
  });

  it('of three rounds below an anchor with any parents: all views up to the seventh round agree', () => {
    const dag = new ChangingDag();
    genesis(dag);
    fullRound(dag, 1);
    fullRound(dag, 2);
    for (const round of [4, 5, 6, 7]) fullRound(dag, round);
    const votes = ['a', 'c', 'd'].map((letter) => [all(letter, 2), all(letter, 2).filter((id) => id !== 'b1')]);
    const third = letters.map((letter) => parentChoices(letter, 3));
    const tally = new Tally();
    for (const parents of everyChoice([...votes, ...third, parentChoices('a', 4)])) {
      for (const [i, id] of ['a2', 'c2', 'd2', 'a3', 'b3', 'c3', 'd3', 'a4'].entries()) dag.put(id, parents[i]!);
      const whole = decided(dag.show(tips(7)));
      const early = [tips(3), tips(4), tips(6), ...letters.map((left) => tips(6, left))];
      expectAgreement([whole, ...early.map((ids) => decided(dag.show(ids)))]);
      tally.add(whole);
    }
    expect(tally.total).toBe(2 ** 3 * 4 ** 5);
    // Seven full rounds above leave nothing undecided up to slot 5.
    for (const text of tally.texts) {
      expect(text).toMatch(/^(b1|skip 1), (c2|skip 2), (d3|skip 3), (a4|skip 4), b5, fallback 8 void$/);
    }
    expect(tally.texts.filter((text) => text.startsWith('b1'))).not.toEqual([]);
    expect(tally.texts.filter((text) => text.startsWith('skip 1'))).not.toEqual([]);
  });
});

describe('every DAG of three correct replicas and a leader with twins', () => {
  const others = ['a', 'c', 'd'];

  /** Own block, then one twin, the other or none, and of the other two at least as many as make a quorum. */
  function secondRoundChoices(letter: string): readonly (readonly string[])[] {
    const [x, y] = others.filter((other) => other !== letter).map((other) => `${other}1`) as [string, string];
    const own = `${letter}1`;
    const withTwin = ['b1', "b1'"].flatMap((twin) => [
      [own, twin, x, y],
      [own, twin, x],
      [own, twin, y],
    ]);
    return [[own, x, y], ...withTwin];
  }

  function thirdRoundChoices(letter: string, withLeader: boolean): readonly (readonly string[])[] {
    const correct = [letter, ...others.filter((other) => other !== letter)].map((other) => `${other}2`);
    if (!withLeader) return [correct];
    const whole = [...correct, 'b2'];
    return [whole, ...whole.slice(1).map((left) => whole.filter((id) => id !== left))];
  }

  const renamed = (id: string): string => (id === 'b1' ? "b1'" : id === "b1'" ? 'b1' : id);

  it('agrees in all views, in any order of blocks, and under any name of the twins', () => {
    const dag = new ChangingDag();
    const mirror = new ChangingDag();
    const put = (id: string, parents: readonly string[]): void => {
      dag.put(id, parents);
      mirror.put(renamed(id), parents.map(renamed));
    };
    for (const letter of letters) put(`${letter}0`, []);
    for (const letter of letters) put(`${letter}1`, all(letter, 1));
    put("b1'", ['b0', 'a0', 'c0']);
    for (const round of [4, 5, 6, 7]) {
      for (const letter of others)
        put(
          `${letter}${round}`,
          all(letter, round).filter((id) => id !== `b${round - 1}`),
        );
    }
    const top = (round: number): readonly string[] => others.map((other) => `${other}${round}`);
    // d stands to slot 1 as c does, so for d it is enough to take the whole round before with either twin or neither.
    const wholeOfD = secondRoundChoices('d').filter((parents) => parents.includes('a1') && parents.includes('c1'));
    const second = [secondRoundChoices('a'), secondRoundChoices('c'), wholeOfD];
    const tally = new Tally();
    for (const leaderParent of ['b1', "b1'", undefined]) {
      if (leaderParent !== undefined) put('b2', [leaderParent, 'a1', 'c1', 'd1']);
      const third = others.map((letter) => thirdRoundChoices(letter, leaderParent !== undefined));
      for (const parents of everyChoice([...second, ...third])) {
        for (const [i, letter] of others.entries()) {
          put(`${letter}2`, parents[i]!);
          put(`${letter}3`, parents[i + 3]!);
        }
        const whole = decided(dag.show(top(7)));
        expectAgreement([whole, decided(dag.show(top(3))), decided(dag.show(top(7), true))]);
        const mirrored = decided(mirror.show(top(7)));
        const back = mirrored.map((each) => ({ ...each, block: each.block === null ? null : renamed(each.block) }));
        if (!agree(whole, back)) expect(describeDecisions(back)).toBe(describeDecisions(whole));
        tally.add(whole);
      }
    }
    expect(new Set(tally.texts.map((text) => text.split(',')[0]))).toEqual(new Set(['b1', "b1'", 'skip 1']));
  });
});
