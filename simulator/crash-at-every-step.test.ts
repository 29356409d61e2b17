/**
 * Shows that there is no moment around a checkpoint, or while a state is fetched, at which a replica must not die: it is killed
 * before each effect and each write of its own, one after another, in runs that are the same but for that, and all of them agree.
 */
import { describe, expect, it } from 'vitest';
import { isThorough } from '../test/thorough.ts';
import type { ChosenDeath } from './ambush.ts';
import { describeResult } from './report.ts';
import { calm, oneEpoch, type Scenario } from './scenarios/scenario.ts';
import { type SimulationResult, simulate } from './simulate.ts';
import { noSchedule } from './simulated-membership.ts';

/** Checkpoints and blocks go fast, and there is little else. */
const small: Scenario = {
  ...calm,
  name: 'small',
  parameters: { ...calm.parameters, pruneDepth: 12 },
  checkpointIntervalMs: 40,
  safetyMs: 600,
  clients: [{ windowRequests: 2, operationsPerRequestMax: 2, thinkMsMax: 20, requests: 40, resendMs: 100 }],
};

/** Two epochs end, in each the cluster waits for nobody in vain. */
const changing: Scenario = {
  ...small,
  name: 'changing',
  safetyMs: 1_000,
  epochs: {
    ...oneEpoch,
    schedule: { ...noSchedule, epochIntervalMs: 250, successorWaitMs: 600, recovery: ['hardware'] },
  },
};

const lossy: Scenario = { ...small, name: 'lossy', safetyMs: 900, lostStates: 1 };

async function dying(scenario: Scenario, death: ChosenDeath): Promise<SimulationResult> {
  const result = await simulate({ seed: 1, scenario: { ...scenario, death } });
  expect(result.verdict, `dies at ${JSON.stringify(death)}: ${describeResult(result)}`).toBe('agreed');
  return result;
}

const deaths = ({ trace }: SimulationResult): number => trace.filter(({ text }) => text.endsWith(' dies')).length;

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i + 1);

describe('a replica that dies', () => {
  // Of the first checkpoint, of one that is being written, and of one that became stable: then blocks are dropped.
  it.each(isThorough ? [1, 22, 30] : [30])(
    'before each of the next things it does, at occasion %i of a checkpoint',
    async (occasion) => {
      for (const moment of upTo(10)) {
        const result = await dying(small, { after: 'checkpoint', occasion, moment });
        expect(deaths(result)).toBe(1);
      }
    },
  );

  // Asked for its keys, and where it leaves its epoch: occasions of all four replicas are counted together.
  it.each(isThorough ? [1, 5] : [5])(
    'before each of the next things it does, at occasion %i of a change of epoch',
    async (occasion) => {
      for (const moment of upTo(12)) {
        const result = await dying(changing, { after: 'change', occasion, moment });
        expect(deaths(result)).toBe(1);
        expect(result.epochs).toBeGreaterThan(0);
      }
    },
  );

  it('before each of the first things it does while it fetches a state, and after it has', async () => {
    let interrupted = 0;
    for (const moment of upTo(isThorough ? 24 : 12)) {
      const result = await dying(lossy, { after: 'fetch', occasion: 1, moment });
      // One death is that of the replica which lost its state.
      expect(deaths(result)).toBe(2);
      if (result.fetchesBegun > 1) interrupted += 1;
    }
    expect(interrupted).toBeGreaterThan(isThorough ? 8 : 4);
  });
});
