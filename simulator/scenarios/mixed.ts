/**
 * Mixed: the default scenario, drawn from the seed: any size, any mixture of faults, faulty replicas and bad links that
 * the protocol promises to withstand.
 */
import type { LinkConditions } from '../network.ts';
import type { Prng } from '../prng.ts';
import { type ClusterSize, noSchedule } from '../simulated-membership.ts';
import {
  adversaryNames,
  calm,
  calmLinks,
  type EpochPlan,
  type FaultRates,
  oneEpoch,
  type Scenario,
} from './scenario.ts';

const sizes: readonly (readonly [ClusterSize, number])[] = [
  [{ n: 4, f: 1, k: 0 }, 10],
  [{ n: 7, f: 2, k: 0 }, 6],
  [{ n: 6, f: 1, k: 1 }, 3],
  [{ n: 10, f: 3, k: 0 }, 2],
  [{ n: 13, f: 4, k: 0 }, 1],
];

export function mixedScenario(prng: Prng): Scenario {
  const size = prng.weighted(sizes);
  const faulty = prng.weighted([
    [0, 2],
    [size.f, 5],
    [prng.between(0, size.f), 2],
  ]);
  const spare = size.f - faulty;
  const isDiskLost = prng.chance(0.2);
  const misbehaving = !isDiskLost && prng.chance(0.3) ? spare : 0;
  // So many that have a state are to be left that they can certify what they have: the last checkpoint of each may not be yet.
  const losable = Math.min(2, size.n - faulty - Math.max(misbehaving, isDiskLost ? spare : 0) - (size.f + 1));
  const lostStates = losable > 0 && prng.chance(0.3) ? prng.between(1, losable) : 0;
  const ranks = prng.weighted([
    [1, 6],
    [2, 2],
    [Math.min(3, size.n), 1],
  ]);
  return {
    ...calm,
    name: 'mixed',
    size,
    parameters: { period: prng.pick([5, 8, 8, 8, 11]), ranks, pruneDepth: prng.pick([20, 50, 200]) },
    adversaries: Array.from({ length: faulty }, () => prng.pick(adversaryNames)),
    networkAdversary: prng.chance(0.15) ? 'leader-scheduler' : 'none',
    safetyMs: prng.between(1_500, size.n > 7 ? 2_500 : 5_000),
    links: drawLinks(prng),
    disk: prng.chance(0.3) ? { syncMsMin: 2, syncMsMax: 30 } : calm.disk,
    faults: drawFaults(prng),
    isolated: prng.chance(0.15) ? 1 : 0,
    lostLogs: isDiskLost ? spare : 0,
    lostStates,
    rottenStates: losable > 0 && lostStates === 0 && prng.chance(0.3) ? prng.between(1, losable) : 0,
    misbehaving,
    ambushes: { checkpoint: prng.pick([0, 0, 0.2]), change: 0, fetch: prng.pick([0, 0.5]) },
    checkpointIntervalMs: prng.pick([0, 50, 200, 1_000]),
    retainedSizeBytes: prng.pick([0, 0, 20_000]),
    clockErrorMsMax: prng.weighted([
      [0, 1],
      [50, 1],
      [10_000, 1],
    ]),
    clockDriftMax: prng.chance(0.5) ? 0.01 : 0,
    keys: prng.between(2, 5),
    epochs: drawEpochs(prng, size, isDiskLost),
  };
}

/** In every third run epochs end, in some of these an adversary moves. */
function drawEpochs(prng: Prng, { k }: ClusterSize, isDiskLost: boolean): EpochPlan {
  if (!prng.chance(1 / 3)) return oneEpoch;
  // By awareness one that has lost all its keys is nobody for ever, and whoever has its present ones may name the next: then people
  // have to decide.
  const recovery = isDiskLost ? 'hardware' : prng.pick(['hardware', 'hardware', 'awareness'] as const);
  return {
    ...oneEpoch,
    schedule: {
      ...noSchedule,
      epochIntervalMs: prng.pick([150, 400, 1_200]),
      successorWaitMs: prng.pick([100, 400, 1_500]),
      recovery: [recovery],
    },
    turns: prng.pick(k > 0 ? ['log-lost', 'log-kept'] : ['none', 'log-kept']),
    mobile: recovery === 'hardware' && prng.chance(0.6),
  };
}

function drawLinks(prng: Prng): LinkConditions {
  const delayMsMax = prng.pick([1, 3, 20, 60]);
  const isRough = prng.chance(0.6);
  return {
    ...calmLinks,
    delayMsMax,
    slow: isRough ? 0.05 : 0.01,
    loss: isRough ? prng.pick([0, 0.01, 0.05, 0.2]) : 0,
    duplicate: isRough ? prng.pick([0, 0.05, 0.2]) : 0,
    overtake: isRough ? prng.pick([0, 0.1, 1]) : 0,
    resetAfterLoss: prng.chance(0.75),
  };
}

function drawFaults(prng: Prng): FaultRates {
  return {
    crash: prng.pick([0, 0.5, 2, 4]),
    crashAll: prng.pick([0, 0, 0.3]),
    partition: prng.pick([0, 0.5, 1.5]),
    clockJump: prng.pick([0, 1]),
    vanish: prng.pick([0, 0.3]),
  };
}
