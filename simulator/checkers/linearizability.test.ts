/**
 * Shows that the search accepts what is linearizable and rejects what is not: known histories, and random ones against
 * the slow definition (try every order).
 */
import { describe, expect, it } from 'vitest';
import { applyKvAction, type KvAction } from '../kv-model.ts';
import { Prng } from '../prng.ts';
import { checkRegister, isExplainedBy, type RegisterOperation } from './linearizability.ts';

const key = 'k';
const put = (value: string): KvAction => ({ kind: 'put', key, value });
const get: KvAction = { kind: 'get', key };
const remove: KvAction = { kind: 'delete', key };
const cas = (expected: string | undefined, value: string): KvAction => ({ kind: 'cas', key, expected, value });

/** `[action, called, returned, outcome]`, or without the last two when the outcome is unknown. */
type Line = readonly [KvAction, number, number, string] | readonly [KvAction, number];

function operations(lines: readonly Line[]): readonly RegisterOperation<KvAction>[] {
  return lines.map((line, id) => {
    const [action, calledAt, at, outcome] = line;
    return { id, action, calledAt, returned: at === undefined || outcome === undefined ? undefined : { at, outcome } };
  });
}

const verdict = (lines: readonly Line[]) => checkRegister(operations(lines), applyKvAction).kind;

describe('histories that have an order', () => {
  it.each<[string, readonly Line[]]>([
    ['nothing', []],
    [
      'one write, one read',
      [
        [put('1'), 0, 1, 'done'],
        [get, 2, 3, 'holds 1'],
      ],
    ],
    [
      'a read during a write sees the old value',
      [
        [put('1'), 0, 9, 'done'],
        [get, 2, 3, 'absent'],
      ],
    ],
    [
      'a read during a write sees the new value',
      [
        [put('1'), 0, 9, 'done'],
        [get, 2, 3, 'holds 1'],
      ],
    ],
    [
      'a write nobody heard of is seen later',
      [
        [put('1'), 0],
        [get, 2, 3, 'absent'],
        [get, 4, 5, 'holds 1'],
      ],
    ],
    [
      'a write nobody heard of is never seen',
      [
        [put('1'), 0],
        [get, 2, 3, 'absent'],
        [get, 4, 5, 'absent'],
      ],
    ],
    [
      'one of two swaps wins',
      [
        [cas(undefined, 'a'), 0, 5, 'swapped'],
        [cas(undefined, 'b'), 1, 6, 'differs'],
      ],
    ],
    [
      'delete says what it found',
      [
        [put('1'), 0, 1, 'done'],
        [remove, 2, 3, 'deleted'],
        [remove, 4, 5, 'was absent'],
      ],
    ],
    [
      'an order other than that of the calls',
      [
        [put('1'), 0, 10, 'done'],
        [put('2'), 1, 9, 'done'],
        [get, 11, 12, 'holds 1'],
        [get, 2, 8, 'holds 2'],
      ],
    ],
  ])('%s', (_, lines) => {
    expect(verdict(lines)).toBe('linearizable');
  });
});

describe('histories that have none', () => {
  it.each<[string, readonly Line[]]>([
    [
      'a stale read',
      [
        [put('1'), 0, 1, 'done'],
        [put('2'), 2, 3, 'done'],
        [get, 4, 5, 'holds 1'],
      ],
    ],
    [
      'a lost write',
      [
        [put('1'), 0, 1, 'done'],
        [get, 2, 3, 'absent'],
      ],
    ],
    ['a value nobody wrote', [[get, 0, 1, 'holds 7']]],
    [
      'both swaps win',
      [
        [cas(undefined, 'a'), 0, 5, 'swapped'],
        [cas(undefined, 'b'), 1, 6, 'swapped'],
      ],
    ],
    [
      'new, then old again',
      [
        [put('1'), 0, 9, 'done'],
        [get, 1, 2, 'holds 1'],
        [get, 3, 4, 'absent'],
      ],
    ],
    [
      'a write executed twice',
      [
        [put('1'), 0, 1, 'done'],
        [put('2'), 2, 3, 'done'],
        [get, 4, 5, 'holds 2'],
        [get, 6, 7, 'holds 1'],
      ],
    ],
    [
      'an unknown write seen before its call',
      [
        [get, 0, 1, 'holds 1'],
        [put('1'), 2],
      ],
    ],
    [
      'an unknown write seen, gone, and back',
      [
        [put('1'), 0],
        [get, 1, 2, 'holds 1'],
        [get, 3, 4, 'absent'],
      ],
    ],
    [
      'two deletes of one write',
      [
        [put('1'), 0, 1, 'done'],
        [remove, 2, 9, 'deleted'],
        [remove, 3, 8, 'deleted'],
      ],
    ],
  ])('%s', (_, lines) => {
    expect(verdict(lines)).toBe('not-linearizable');
  });

  it('names the longest order that it could explain', () => {
    const lines: readonly Line[] = [
      [put('1'), 0, 1, 'done'],
      [get, 2, 3, 'holds 1'],
      [get, 4, 5, 'holds 2'],
    ];
    expect(checkRegister(operations(lines), applyKvAction)).toEqual({ kind: 'not-linearizable', explained: [0, 1] });
  });
});

describe('a proposed order', () => {
  const [write, read, other] = operations([
    [put('1'), 0, 4, 'done'],
    [get, 2, 3, 'holds 1'],
    [put('2'), 5],
  ]) as [RegisterOperation<KvAction>, RegisterOperation<KvAction>, RegisterOperation<KvAction>];

  it.each<[string, readonly RegisterOperation<KvAction>[], boolean]>([
    ['proves', [write, read, other], true],
    ['proves without what never took effect', [write, read], true],
    ['does not prove with outcomes of another order', [read, write], false],
    ['does not prove against real time', [other, write, read], false],
  ])('%s', (_, order, proves) => {
    expect(isExplainedBy(order, applyKvAction)).toBe(proves);
  });
});

describe('against the definition', () => {
  it('agrees with trying every order, on 1,500 random histories of six operations', () => {
    const prng = new Prng(11);
    const counts = { linearizable: 0, 'not-linearizable': 0, 'too-hard': 0 };
    for (let trial = 0; trial < 1_500; trial++) {
      const history = randomHistory(prng, 6);
      const { kind } = checkRegister(history, applyKvAction);
      counts[kind] += 1;
      expect(kind, JSON.stringify(history)).toBe(
        someOrderExplains(history, [], undefined) ? 'linearizable' : 'not-linearizable',
      );
    }
    expect(counts.linearizable).toBeGreaterThan(200);
    expect(counts['not-linearizable']).toBeGreaterThan(200);
  });

  it('decides a long history with much overlap', () => {
    const prng = new Prng(12);
    const history: RegisterOperation<KvAction>[] = [];
    let state: string | undefined;
    for (let id = 0; id < 400; id++) {
      const action = randomAction(prng, id);
      const applied = applyKvAction(state, action);
      state = applied.state;
      const calledAt = 10 * id - prng.below(60);
      const returned = prng.chance(0.05) ? undefined : { at: 10 * id + prng.below(60), outcome: applied.outcome };
      history.push({ id, action, calledAt, returned });
    }
    expect(checkRegister(history, applyKvAction).kind).toBe('linearizable');
  });
});

function randomAction(prng: Prng, id: number): KvAction {
  const value = `${prng.below(3)}`;
  switch (prng.below(4)) {
    case 0:
      return put(id < 100 ? value : `${id}`);
    case 1:
      return get;
    case 2:
      return remove;
    default:
      return cas(prng.chance(0.5) ? undefined : `${prng.below(3)}`, value);
  }
}

/** Outcomes of a plausible order, some of them falsified. */
function randomHistory(prng: Prng, length: number): readonly RegisterOperation<KvAction>[] {
  let state: string | undefined;
  const made: RegisterOperation<KvAction>[] = [];
  for (let id = 0; id < length; id++) {
    const action = randomAction(prng, id);
    const applied = applyKvAction(state, action);
    state = applied.state;
    const outcome = prng.chance(0.12) ? applyKvAction(`${prng.below(3)}`, action).outcome : applied.outcome;
    const calledAt = 10 * id - prng.below(30);
    made.push({
      id,
      action,
      calledAt,
      returned: prng.chance(0.15) ? undefined : { at: 10 * id + prng.below(30), outcome },
    });
  }
  return made;
}

function someOrderExplains(
  history: readonly RegisterOperation<KvAction>[],
  order: readonly number[],
  state: string | undefined,
): boolean {
  const left = history.filter(({ id }) => !order.includes(id));
  if (left.every(({ returned }) => returned === undefined)) return true;
  const firstReturn = Math.min(...left.map(({ returned }) => returned?.at ?? Number.POSITIVE_INFINITY));
  return left.some(({ id, action, calledAt, returned }) => {
    if (calledAt > firstReturn) return false;
    const applied = applyKvAction(state, action);
    if (returned !== undefined && returned.outcome !== applied.outcome) return false;
    return someOrderExplains(history, [...order, id], applied.state);
  });
}
