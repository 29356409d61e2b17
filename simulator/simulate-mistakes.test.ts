/**
 * Shows that the simulator catches bugs: each test puts one mistake into the replicas, and a checker must name it.
 * A simulator that agrees with everything would pass every other test.
 */
import { describe, expect, it } from 'vitest';
import { kv } from '../services/kv/kv.ts';
import { sizeOfSet } from '../src/membership/membership.ts';
import type { ReplicaEffects } from '../src/replica/effects.ts';
import { tables } from '../src/state/tables.ts';
import { encodeOutcomes } from '../src/wire/outcome.ts';
import { describeResult } from './report.ts';
import { calm, calmLinks, noFaults, type Scenario } from './scenarios/scenario.ts';
import { type SimulationResult, simulate } from './simulate.ts';
import { type Machine, type MachineOptions, productionMachine } from './simulated-machine.ts';

const restless: Scenario = { ...calm, name: 'restless', faults: { ...noFaults, crash: 8 }, safetyMs: 3_000 };
const rough: Scenario = { ...restless, links: { ...calmLinks, delayMsMax: 20, overtake: 0.5, loss: 0.05 } };

/** Crashes meet blocks that are on the wire and not on the disk. */
const slowDisk: Scenario = { ...rough, disk: { syncMsMin: 2, syncMsMax: 20 }, faults: { ...noFaults, crash: 12 } };

/** The first run that does not agree, among a few seeds: a mistake need not show in every run. */
async function caught(
  makeMachine: (options: MachineOptions) => Machine,
  scenario: Scenario = restless,
): Promise<SimulationResult> {
  let result: SimulationResult | undefined;
  for (let seed = 1; seed <= 20 && result?.verdict !== 'diverged'; seed++) {
    result = await simulate({ seed, scenario, makeMachine });
  }
  if (result === undefined) throw new Error('no run');
  return result;
}

/** A machine in front of another one: the same but for what the object says after it. */
function inFrontOf(machine: Machine): Machine {
  return {
    get status() {
      return machine.status;
    },
    get certifiedHead() {
      return machine.certifiedHead;
    },
    get serviceKey() {
      return machine.serviceKey;
    },
    get transcript() {
      return machine.transcript;
    },
    get commitIndex() {
      return machine.commitIndex;
    },
    get checkpointIndex() {
      return machine.checkpointIndex;
    },
    get divergence() {
      return machine.divergence;
    },
    get certifiedMembership() {
      return machine.certifiedMembership;
    },
    get epochStatus() {
      return machine.epochStatus;
    },
    get pendingRequests() {
      return machine.pendingRequests;
    },
    restore: (blocks) => machine.restore(blocks),
    checkpointStored: (digest) => machine.checkpointStored(digest),
    step: (inputs, nowMs, clockMs) => machine.step(inputs, nowMs, clockMs),
  };
}

/** The production machine with its effects changed on the way out. */
function changed(
  options: MachineOptions,
  change: (effects: ReplicaEffects, machine: Machine) => ReplicaEffects,
): Machine {
  const machine = productionMachine(options);
  return Object.assign(inFrontOf(machine), {
    step: (...parameters: Parameters<Machine['step']>) => change(machine.step(...parameters), machine),
  });
}

const checkersOf = (result: SimulationResult): readonly string[] => result.violations.map(({ checker }) => checker);

describe('mistakes with what must survive', () => {
  it('a replica that forgets its log and does not become an observer', async () => {
    const result = await caught((options) =>
      Object.assign(inFrontOf(productionMachine(options)), { restore: () => [] }),
    );
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(result.firstDivergence?.checker).toBe('evidence');
  });

  it('a replica that sends its blocks before they are durable', async () => {
    const result = await caught((options) => {
      let late: readonly Uint8Array[] = [];
      return changed(options, (effects) => {
        const persist = late;
        late = effects.persist;
        return { ...effects, persist };
      });
    }, slowDisk);
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(checkersOf(result)).toContain('evidence');
  });
});

describe('mistakes with agreement', () => {
  it('quorums of one too few', async () => {
    const result = await caught(
      ({ membership, ...options }) => {
        const { rule } = membership;
        const quorum = Math.ceil((rule.n + rule.f + 1) / 2) - 1;
        const smaller = { ...rule, isQuorum: (set: number) => sizeOfSet(set) >= quorum };
        return productionMachine({ ...options, membership: { ...membership, rule: smaller } });
      },
      { ...rough, faults: { ...noFaults, partition: 4 }, adversaries: ['equivocator'] },
    );
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(checkersOf(result)).toContain('agreement');
  });

  it('one replica with other parameters than the rest', async () => {
    const result = await caught(({ membership, self, ...options }) => {
      const parameters = self === 2 ? { ...membership.parameters, ranks: 2 } : membership.parameters;
      return productionMachine({ ...options, self, membership: { ...membership, parameters } });
    });
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(checkersOf(result)).toContain('agreement');
  });
});

describe('mistakes with execution', () => {
  it('a service that one replica executes otherwise', async () => {
    const put = kv.operations.put;
    const other = {
      ...kv,
      operations: { ...kv.operations, delete: { ...kv.operations.delete, apply: () => ({ deleted: true }) }, put },
    };
    const result = await caught((options) =>
      productionMachine(options.self === 1 ? { ...options, service: other } : options),
    );
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(['execution', 'state']).toContain(result.firstDivergence?.checker);
  });

  it('a correct replica that tells a client what is not so', async () => {
    const lie = encodeOutcomes([{ ok: true, value: 'a lie' }]);
    const result = await caught((options) =>
      changed(options, (effects, { status }) => ({
        ...effects,
        replies: effects.replies.map((reply) => (status.commitIndex > 20 ? { ...reply, result: lie } : reply)),
      })),
    );
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(result.firstDivergence?.checker).toBe('execution');
  });
});

describe('mistakes with what is stored', () => {
  it('checkpoints of which the leaves of the log are not written', async () => {
    const result = await caught(
      (options) =>
        changed(options, (effects) => ({
          ...effects,
          checkpoints: effects.checkpoints.map((taken) => ({
            ...taken,
            changes: [...taken.changes].filter(({ key }) => key[0] !== tables.log),
          })),
        })),
      calm,
    );
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(checkersOf(result)).toContain('storage');
  });

  it('a log of which nothing is dropped', async () => {
    const result = await caught(
      (options) =>
        changed(options, (effects) => ({
          ...effects,
          checkpoints: effects.checkpoints.map((taken) => {
            const { checkpoint } = taken;
            return { ...taken, checkpoint: { ...checkpoint, ordering: { ...checkpoint.ordering, horizon: 0 } } };
          }),
        })),
      { ...calm, parameters: { ...calm.parameters, pruneDepth: 12 } },
    );
    expect(result.verdict, describeResult(result)).toBe('diverged');
    expect(checkersOf(result)).toContain('storage');
  });
});

describe('mistakes with progress', () => {
  it.each([4, 7])(
    'an order of %i replicas without fallback slots, under a network that knows the steady leaders',
    async (n) => {
      const scheduled = {
        ...calm,
        size: { n, f: (n - 1) / 3, k: 0 },
        networkAdversary: 'lasting-leader-scheduler',
        safetyMs: 4_000,
        progressMsMax: 4_000,
      } as const;
      const without = { ...scheduled, parameters: { ...calm.parameters, period: 1_000_000 } };
      expect((await simulate({ seed: 1, scenario: scheduled })).verdict).toBe('agreed');
      const result = await simulate({ seed: 1, scenario: without });
      expect(result.verdict, describeResult(result)).toBe('stalled');
      expect(result.commits).toBe(0);
    },
  );

  it('replicas that ask for nothing they miss', async () => {
    const scenario = { ...rough, safetyMs: 1_000, links: { ...rough.links, loss: 0.1, resetAfterLoss: false } };
    const result = await simulate({
      seed: 1,
      scenario,
      makeMachine: (options) =>
        changed(options, (effects) => ({
          ...effects,
          send: effects.send.filter(({ message }) => message.kind !== 'fetch' && message.kind !== 'catch-up'),
        })),
    });
    expect(result.verdict, describeResult(result)).toBe('stalled');
    expect(result.waitingFor).toMatch(/replies from|at commit/);
  });

  it('a machine that throws', async () => {
    const result = await simulate({
      seed: 1,
      scenario: calm,
      makeMachine: (options) =>
        changed(options, (effects, { status }) => {
          if (options.self === 0 && status.round === 9) throw new Error('invariant: broken on purpose');
          return effects;
        }),
    });
    expect(result.verdict).toBe('diverged');
    expect(result.firstDivergence?.message).toContain('broken on purpose');
  });
});

describe('the report of a failure', () => {
  it('names the seed, the first divergent event and the command that replays it', async () => {
    const makeMachine = (options: MachineOptions): Machine =>
      changed(options, (effects) => ({
        ...effects,
        commits: effects.commits.map((commit) =>
          options.self === 3 && commit.index === 12 ? { ...commit, digest: commit.leader.digest } : commit,
        ),
      }));
    const result = await simulate({ seed: 5, scenario: 'calm', makeMachine });
    expect(result.firstDivergence).toMatchObject({
      checker: 'agreement',
      message: expect.stringMatching(/^commit 12: r/),
    });
    const report = describeResult(result);
    expect(report).toContain('seed 5: diverged. calm, 4 replicas');
    expect(report).toContain(`First divergence, event ${result.firstDivergence?.event}, agreement: commit 12`);
    expect(report.trimEnd()).toMatch(/Replay it: coterie simulate --seed 5 --scenario calm$/);
    expect(result.trace.some(({ event }) => event === result.firstDivergence?.event)).toBe(true);
  });
});
