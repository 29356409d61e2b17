/**
 * Scenario: everything that is chosen about a run before its first event. A scenario and a seed make a run.
 */

import type { OrderingParameters } from '../../src/membership/membership.ts';
import type { PlannedChange } from '../administration.ts';
import type { AdversaryMaker } from '../adversaries/adversary.ts';
import { badDealer } from '../adversaries/bad-dealer.ts';
import { badSigner } from '../adversaries/bad-signer.ts';
import { badStateServer } from '../adversaries/bad-state-server.ts';
import { bogusCiter } from '../adversaries/bogus-citer.ts';
import { diverged } from '../adversaries/diverged.ts';
import { equivocator } from '../adversaries/equivocator.ts';
import { falseComplainer } from '../adversaries/false-complainer.ts';
import { futureFlooder } from '../adversaries/future-flooder.ts';
import { garbageSender } from '../adversaries/garbage-sender.ts';
import { lyingReplier } from '../adversaries/lying-replier.ts';
import { silent } from '../adversaries/silent.ts';
import { withholder } from '../adversaries/withholder.ts';
import type { Ambushes, ChosenDeath } from '../ambush.ts';
import type { LinkConditions } from '../network.ts';
import type { ClientBehaviour } from '../simulated-client.ts';
import type { DiskConditions } from '../simulated-disk.ts';
import { type ClusterSize, noSchedule, type SimulatedSchedule } from '../simulated-membership.ts';

export const adversaryMakers = {
  silent,
  equivocator,
  withholder,
  'garbage-sender': garbageSender,
  'future-flooder': futureFlooder,
  'bogus-citer': bogusCiter,
  'lying-replier': lyingReplier,
  'bad-dealer': badDealer,
  'false-complainer': falseComplainer,
  'bad-signer': badSigner,
  'bad-state-server': badStateServer,
  diverged,
} as const satisfies Readonly<Record<string, AdversaryMaker>>;

export type AdversaryName = keyof typeof adversaryMakers;
export const adversaryNames = Object.keys(adversaryMakers) as AdversaryName[];

/** How often something befalls the cluster in the safety phase: events for each virtual second. */
export interface FaultRates {
  /** Some replica dies, at any moment or in the middle of its effects, and is started again. */
  readonly crash: number;
  /** All replicas die at once. */
  readonly crashAll: number;
  /** Some group is cut off, in both directions or in one. */
  readonly partition: number;
  /** Some clock is set to another time. */
  readonly clockJump: number;
  /** A client vanishes and leaves its requests open. */
  readonly vanish: number;
}

/** How the cluster goes from epoch to epoch, and what is switched off of that. */
export interface EpochPlan {
  readonly schedule: SimulatedSchedule;
  /**
   * Keepers start replicas clean when it is their turn. `log-kept`: their log of the epoch is kept, unless an adversary had its hands on
   * it, so they go on; `log-lost`: they are observers until the next epoch, and k of the replicas may be.
   */
  readonly turns: 'none' | 'log-kept' | 'log-lost';
  /** Correct replicas whose keeper does nothing: when it is their turn they wait for it in vain. */
  readonly keeperless: number;
  /** An adversary takes over one replica after another: as many at once as may be faulty and are not otherwise so. */
  readonly mobile: boolean;
  /** False: the sharing of the service key stays as it is for ever. To see what it is for. */
  readonly resharing: boolean;
  /** False: replicas name no next session keys. To see what these are for. */
  readonly renewal: boolean;
  /** Replicas that are there from the beginning and no members: administrators may add them. They stand after the first n. */
  readonly joiners: number;
  readonly changes: readonly PlannedChange[];
}

export interface Scenario {
  readonly name: string;
  readonly size: ClusterSize;
  readonly parameters: OrderingParameters;
  /** Agreed time between two checkpoints, at least. */
  readonly checkpointIntervalMs: number;
  /** Bytes of its log that each replica keeps, though a checkpoint stands for them. */
  readonly retainedSizeBytes: number;
  /** What keys and signatures are of: a stand-in that is fast and worthless, or the real thing. */
  readonly curve: 'plain' | 'mcl';
  /** One entry for each faulty replica, at most f; which replicas they are, the seed says. */
  readonly adversaries: readonly AdversaryName[];
  /** `lasting`: it goes on after the heal, and progress is demanded under it. The coin scheduler always lasts. */
  readonly networkAdversary: 'none' | 'leader-scheduler' | 'lasting-leader-scheduler' | 'coin-scheduler';
  /** `known`: there is no service key, and so the fallback leaders are known in advance, to the adversary as well. */
  readonly coin: 'threshold' | 'known';
  /** Length of the phase with faults. */
  readonly safetyMs: number;
  /** Virtual time that progress may take after it. */
  readonly progressMsMax: number;
  readonly links: LinkConditions;
  readonly disk: DiskConditions;
  readonly faults: FaultRates;
  /** Correct replicas cut off from soon after the beginning until the heal. */
  readonly isolated: number;
  /** Correct replicas whose disk is lost on the way: they come back as observers. At most f with the faulty ones. */
  readonly lostLogs: number;
  /** Correct replicas whose state is lost on the way, and whose log is not. */
  readonly lostStates: number;
  /** Correct replicas in whose state bits flip on the way. */
  readonly rottenStates: number;
  /** Correct replicas that execute one request wrongly on the way. At most f with the faulty ones. */
  readonly misbehaving: number;
  readonly epochs: EpochPlan;
  readonly ambushes: Ambushes;
  readonly death: ChosenDeath | undefined;
  /** Clocks are wrong by up to this much from the beginning, and jump by as much. */
  readonly clockErrorMsMax: number;
  /** Largest relative error of a clock's rate. */
  readonly clockDriftMax: number;
  readonly keys: number;
  /** Characters in a value at the most. */
  readonly valueLengthMax: number;
  readonly clients: readonly ClientBehaviour[];
}

export const calmLinks: LinkConditions = {
  delayMsMin: 0.25,
  delayMsMax: 2,
  slow: 0.01,
  loss: 0,
  duplicate: 0,
  overtake: 0,
  resetAfterLoss: true,
};

export const noFaults: FaultRates = { crash: 0, crashAll: 0, partition: 0, clockJump: 0, vanish: 0 };

export const oneEpoch: EpochPlan = {
  schedule: noSchedule,
  turns: 'none',
  keeperless: 0,
  mobile: false,
  resharing: true,
  renewal: true,
  joiners: 0,
  changes: [],
};

const clients: readonly ClientBehaviour[] = [
  { windowRequests: 1, operationsPerRequestMax: 1, thinkMsMax: 20, requests: 25, resendMs: 150 },
  { windowRequests: 1, operationsPerRequestMax: 2, thinkMsMax: 5, requests: 25, resendMs: 300 },
  { windowRequests: 6, operationsPerRequestMax: 3, thinkMsMax: 10, requests: 30, resendMs: 200 },
];

/** Four correct replicas on a good network: what every other scenario departs from. */
export const calm: Scenario = {
  name: 'calm',
  size: { n: 4, f: 1, k: 0 },
  parameters: { period: 8, ranks: 1, pruneDepth: 50 },
  checkpointIntervalMs: 200,
  retainedSizeBytes: 0,
  curve: 'plain',
  adversaries: [],
  networkAdversary: 'none',
  coin: 'threshold',
  safetyMs: 1_500,
  progressMsMax: 60_000,
  links: calmLinks,
  disk: { syncMsMin: 0.25, syncMsMax: 2 },
  faults: noFaults,
  isolated: 0,
  lostLogs: 0,
  lostStates: 0,
  rottenStates: 0,
  misbehaving: 0,
  epochs: oneEpoch,
  ambushes: { checkpoint: 0, change: 0, fetch: 0 },
  death: undefined,
  clockErrorMsMax: 0,
  clockDriftMax: 0,
  keys: 4,
  valueLengthMax: 20,
  clients,
};
