/**
 * Shows that the cluster agrees and goes on, whatever the seed draws, and that a seed is one run.
 *
 * A failure prints the seed, the first divergent event and the command that replays it.
 */
import { describe, expect, it } from 'vitest';
import { isThorough } from '../test/thorough.ts';
import { Prng } from './prng.ts';
import { describeResult } from './report.ts';
import { mixedScenario } from './scenarios/mixed.ts';
import { expectedToFetch, expectedToLose, expectedToStall, expectedToTurn, scenarioNamed } from './scenarios/named.ts';
import { adversaryMakers, calm, noFaults, type Scenario } from './scenarios/scenario.ts';
import { type SimulationResult, scenarioNames, simulate } from './simulate.ts';

function expectAgreed(result: SimulationResult): void {
  expect(result.verdict, describeResult(result)).toBe('agreed');
  expect(result.unsearchedKeys).toBe(0);
  expect(result.commits).toBeGreaterThan(0);
  // Each correct replica answered at least the fresh request asked of it.
  expect(result.requests).toBeGreaterThanOrEqual(result.replicas - result.adversaries.length);
}

/** The adversary has held replicas and used what it kept, and has no more of any epoch than it held there. */
function expectInVain({ everHeld, workedOut, memberships }: SimulationResult): void {
  expect(everHeld).toBeGreaterThan(1);
  expect(workedOut.evaluations).toBeGreaterThan(0);
  expect(workedOut.sharesOfOneEpoch).toBeLessThanOrEqual(Math.max(...memberships.map(({ f }) => f)));
}

describe('any mixture of faults', () => {
  it.each(Array.from({ length: isThorough ? 8 : 4 }, (_, index) => index + 1))(
    'seed %i agrees and goes on',
    async (seed) => {
      expectAgreed(await simulate({ seed }));
    },
  );

  it('is drawn with every size, adversary and fault among the first hundred seeds', () => {
    const drawn = Array.from({ length: 100 }, (_, seed) => mixedScenario(new Prng(seed).fork()));
    expect([...new Set(drawn.map(({ size }) => size.n))].sort((a, b) => a - b)).toEqual([4, 6, 7, 10, 13]);
    expect(new Set(drawn.flatMap(({ adversaries }) => adversaries)).size).toBe(Object.keys(adversaryMakers).length);
    for (const { size, adversaries } of drawn) expect(adversaries.length).toBeLessThanOrEqual(size.f);
    expect(drawn.some(({ faults }) => faults.crashAll > 0)).toBe(true);
    expect(drawn.some(({ networkAdversary }) => networkAdversary === 'leader-scheduler')).toBe(true);
  });
});

describe('each thing alone', () => {
  // Those that come out otherwise, and those that are looked at more closely below.
  const closer = ['members-4-7-4', 'mobile-methods-4', 'epochs-on-schedule-4', 'epochs-keeperless-4'];
  const surprising = [...expectedToStall, ...expectedToLose, ...closer];
  // Of each of these there is a like one that takes less.
  const longOnes = [
    'bogus-citer+future-flooder-7',
    'equivocator+equivocator-7',
    'silent+garbage-sender-7',
    'epochs-silent-7',
    'mobile-6',
    'mobile-7',
    'mobile-real-curve-4',
  ];
  const left = isThorough ? surprising : [...surprising, ...longOnes];
  const others = scenarioNames.filter((name) => name !== 'mixed' && !left.includes(name));
  it.each(others)('%s', async (scenario) => {
    const result = await simulate({ seed: 1, scenario });
    expectAgreed(result);
    // A scenario about fetching state in which none is fetched shows nothing.
    if (expectedToFetch.includes(scenario)) expect(result.fetches).toBeGreaterThan(0);
    if (expectedToTurn.includes(scenario)) expect(result.epochs).toBeGreaterThan(1);
    if (scenario.startsWith('mobile')) expectInVain(result);
    if (scenario.startsWith('fetch-interrupted')) expect(result.fetchesBegun).toBeGreaterThan(result.fetches);
  });
});

describe('a cluster of which too few are left to certify anything', () => {
  // All die, two of three correct replicas lose their state, and the faulty one signs nothing: the third has a certified checkpoint from its earlier life.
  const fewLeft: Scenario = {
    ...calm,
    name: 'few left',
    parameters: { ...calm.parameters, pruneDepth: 12 },
    checkpointIntervalMs: 50,
    safetyMs: 2_000,
    adversaries: ['bad-signer'],
    rottenStates: 2,
    faults: { ...noFaults, crashAll: 2 },
    clients: [{ windowRequests: 2, operationsPerRequestMax: 2, thinkMsMax: 20, requests: 60, resendMs: 100 }],
  };

  it.each([6, 7, 9, 11, 12])('goes on from one that was certified before (seed %i)', async (seed) => {
    const result = await simulate({ seed, scenario: fewLeft });
    expectAgreed(result);
    expect(result.fetches).toBeGreaterThan(0);
  });
});

describe('a replica that executes a write wrongly', () => {
  it('does not do so in the replay of a log, from which it would seem to be repaired', async () => {
    expectAgreed(await simulate({ seed: 20024 }));
  });
});

describe('administrators', () => {
  it('make seven replicas of four, which tolerate two, and four of seven again, under load', async () => {
    const result = await simulate({ seed: 1, scenario: 'members-4-7-4' });
    expectAgreed(result);
    const sizes = result.memberships.map(({ n, f }) => `${n} with f = ${f}`);
    const steps = sizes.filter((size, i) => size !== sizes[i - 1]);
    expect(steps).toEqual(['4 with f = 1', '7 with f = 1', '7 with f = 2', '4 with f = 1']);
    expect(result.requests).toBeGreaterThan(100);
  });
});

describe('windows of vulnerability', () => {
  const seenOverdue = ({ overdue }: SimulationResult): readonly string[] =>
    [...new Set(overdue.map(({ replicaId, kind }) => `${kind} of ${replicaId}`))].sort();

  it('keep the bounds as they are written while every change fits into the schedule', async () => {
    const result = await simulate({ seed: 1, scenario: 'epochs-on-schedule-4' });
    expectAgreed(result);
    expect(result.epochs).toBeGreaterThan(6);
    expect(seenOverdue(result)).toEqual([]);
  });

  it('are seen to be too large where a keeper does nothing, and nowhere else', async () => {
    const result = await simulate({ seed: 1, scenario: 'epochs-keeperless-4' });
    expectAgreed(result);
    // It names no keys in its turn, as it waits to be made clean: so these grow too old as well.
    expect(seenOverdue(result)).toEqual(['code of r0', 'session-key of r0', 'state of r0']);
  });
});

describe('the mobile adversary', () => {
  it('holds every replica once and gets nothing for it', async () => {
    const result = await simulate({ seed: 2, scenario: 'mobile-4' });
    expectAgreed(result);
    expect(result.everHeld).toBe(4);
    expect(result.impersonations).toBeGreaterThan(10);
    expect(result.forgedSuccessors).toBeGreaterThan(10);
    expect(result.cleanStarts).toBeGreaterThan(3);
    // States that nobody has certified lay where it was driven out, and were refused.
    expect(result.forgedStates).toBeGreaterThan(2);
    expect(result.refusedStates).toBe(result.forgedStates);
  });

  it('that kept the key of a replica which vouches for itself is seen, and administrators end the dispute', async () => {
    const result = await simulate({ seed: 1, scenario: 'mobile-methods-4' });
    expectAgreed(result);
    expectInVain(result);
    // r1 and r3 are by awareness; the keys of r0 and r2 are certified by keys that the adversary never had.
    expect(result.disputes.length).toBeGreaterThan(0);
    for (const replicaId of result.disputes) expect(['r1', 'r3']).toContain(replicaId);
    const disputed = result.disputes.map((replicaId) => Number(replicaId.slice(1)));
    expect(result.replaced).toEqual(expect.arrayContaining(disputed));
    expect(result.memberships.map(({ n }) => n)).toContain(5);
    expect(result.memberships.at(-1)?.n).toBe(4);
  });

  it('signs as the service when the key is never shared anew', async () => {
    const result = await simulate({ seed: 1, scenario: 'mobile-no-resharing-4' });
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(result.violations.map(({ checker }) => checker)).toContain('secrecy');
    expect(result.workedOut.sharesOfOneEpoch).toBeGreaterThan(1);
  });

  it('makes clients believe a lie and opens what is dealt later when keys are never renewed', async () => {
    const result = await simulate({ seed: 1, scenario: 'mobile-no-renewal-4' });
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(result.violations.map(({ message }) => message).join()).toMatch(/a lie/);
    expect(result.violations.map(({ checker }) => checker)).toContain('secrecy');
    expect(result.workedOut.shares).toBeGreaterThan(result.stolenShares);
  });
});

describe('a cluster of 3f + 1 of which f keep silent', () => {
  const silent: Partial<Scenario> = { adversaries: ['silent'], safetyMs: 2_000, progressMsMax: 4_000 };
  const without = (turns: 'log-kept' | 'log-lost'): Scenario => {
    const scenario = scenarioNamed('epochs-4', new Prng(1)) as Scenario;
    return { ...scenario, ...silent, name: turns, epochs: { ...scenario.epochs, turns } };
  };

  it('goes on while one is made clean that keeps its log', async () => {
    expectAgreed(await simulate({ seed: 1, scenario: without('log-kept') }));
  });

  it('waits for the silent ones when who is made clean is an observer until the next epoch', async () => {
    // What docs/protocol/epochs.md §6 says of k = 0.
    const result = await simulate({ seed: 1, scenario: without('log-lost') });
    expect(result.verdict, describeResult(result)).toBe('stalled');
    expect(result.epochs).toBe(0);
  });
});

describe('a seed', () => {
  it('gives exactly the same run again, and another seed another one', async () => {
    const [first, again, other] = [
      await simulate({ seed: 7 }),
      await simulate({ seed: 7 }),
      await simulate({ seed: 8 }),
    ];
    expect(again).toEqual(first);
    expect(again.traceDigest).toBe(first.traceDigest);
    expect(other.traceDigest).not.toBe(first.traceDigest);
  });

  it('is refused when it is not one, and so is a scenario that is none', async () => {
    await expect(simulate({ seed: -1 })).rejects.toThrow(RangeError);
    await expect(simulate({ seed: 0.5 })).rejects.toThrow(RangeError);
    await expect(simulate({ seed: 1, scenario: 'sunshine' })).rejects.toThrow('no scenario sunshine; there are mixed');
  });

  it('tells how far it is', async () => {
    const told: number[] = [];
    const result = await simulate({
      seed: 1,
      scenario: 'calm',
      onProgress: ({ virtualMs, virtualMsMax, phase }) => {
        expect(virtualMs).toBeLessThanOrEqual(virtualMsMax);
        expect(['safety', 'progress']).toContain(phase);
        told.push(virtualMs);
      },
    });
    expect(told.length).toBeGreaterThan(result.virtualMs / 100);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
  });
});

describe('the network adversary that knows everything but an unopened coin', () => {
  // With seed 51 the adversary would keep for ever what others need, if it kept anything for ever.
  it.each([1, 2, 3, 51])('does not stop the cluster (seed %i)', async (seed) => {
    const result = await simulate({ seed, scenario: 'coin-scheduler-7' });
    expectAgreed(result);
    expect(result.certifiedHeads).toBeGreaterThan(0);
  });

  it('stops it for as long as it likes when the leaders are known instead', async () => {
    const result = await simulate({ seed: 1, scenario: 'known-leaders-7' });
    expect(result.verdict, describeResult(result)).toBe('stalled');
    expect(result.commits).toBe(0);
    // It is the adversary's doing: alone the same cluster goes on.
    expectAgreed(await simulate({ seed: 1, scenario: 'known-leaders-alone-7' }));
  });
});

describe('the network adversary that knows steady leaders', () => {
  it('decides none of them directly, and the fallback slots still go on', async () => {
    const calm = await simulate({ seed: 3, scenario: 'calm' });
    const scheduled = await simulate({ seed: 3, scenario: 'lasting-leader-scheduler' });
    expectAgreed(scheduled);
    // It must hurt, else it shows nothing: commits come in bursts behind each fallback slot, and so fewer results.
    expect(scheduled.commits).toBeLessThan(calm.commits / 2);
    expect(scheduled.requests).toBeGreaterThan(20);
  });
});
