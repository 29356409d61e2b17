/**
 * Named scenarios: one for each thing that can go wrong alone, so that a failure says at once what it is about.
 */

import { administratorKey } from '../administration.ts';
import type { Prng } from '../prng.ts';
import { noSchedule } from '../simulated-membership.ts';
import { mixedScenario } from './mixed.ts';
import { type AdversaryName, adversaryNames, calm, calmLinks, noFaults, oneEpoch, type Scenario } from './scenario.ts';

/** A wide-area network with trouble. */
const rough = { ...calmLinks, delayMsMin: 5, delayMsMax: 60, slow: 0.05, loss: 0.03, duplicate: 0.05, overtake: 0.2 };
const seven = { n: 7, f: 2, k: 0 };

/** One faulty replica of four, on a network that is not quiet either. */
function against(adversary: AdversaryName): Scenario {
  return {
    ...calm,
    name: adversary,
    adversaries: [adversary],
    safetyMs: 2_000,
    links: { ...calmLinks, overtake: 0.1 },
  };
}

function against7(first: AdversaryName, second: AdversaryName): Scenario {
  const name = `${first}+${second}-7`;
  return { ...calm, name, size: seven, adversaries: [first, second], links: { ...calmLinks, overtake: 0.1 } };
}

/** Checkpoints come fast, blocks go fast, and there is load until the end of the faults. */
const forgetful: Scenario = {
  ...calm,
  parameters: { ...calm.parameters, pruneDepth: 12 },
  checkpointIntervalMs: 50,
  safetyMs: 3_000,
  clients: [
    { windowRequests: 1, operationsPerRequestMax: 1, thinkMsMax: 40, requests: 150, resendMs: 150 },
    { windowRequests: 4, operationsPerRequestMax: 3, thinkMsMax: 60, requests: 200, resendMs: 200 },
  ],
};

/** What a replica that has not executed everything itself may depend on. Some state is fetched in each, from others. */
const fetching: readonly Scenario[] = [
  { ...forgetful, name: 'state-lost-4', lostStates: 2 },
  { ...forgetful, name: 'behind-4', isolated: 1 },
  // Its home is empty: it has to go by what others say, of whom f lie.
  {
    ...forgetful,
    name: 'empty-home-7',
    size: seven,
    lostLogs: 1,
    adversaries: ['bad-state-server', 'bad-state-server'],
  },
  {
    ...forgetful,
    name: 'fetch-interrupted-4',
    lostStates: 2,
    keys: 60,
    valueLengthMax: 128 * 1024,
    disk: { syncMsMin: 2, syncMsMax: 20 },
    faults: { ...noFaults, crash: 1, partition: 0.5 },
    ambushes: { checkpoint: 0, change: 0, fetch: 0.8 },
    adversaries: ['bad-state-server'],
  },
  { ...forgetful, name: 'state-rot-4', rottenStates: 2 },
  { ...forgetful, name: 'diverged-repair-4', misbehaving: 1 },
];

const clients: Scenario['clients'] = [
  { windowRequests: 1, operationsPerRequestMax: 1, thinkMsMax: 60, requests: 200, resendMs: 150 },
  { windowRequests: 3, operationsPerRequestMax: 3, thinkMsMax: 120, requests: 200, resendMs: 200 },
];

/** A wide-area network with less trouble: an epoch takes a dozen of its delays. */
const uneven = { ...calmLinks, delayMsMin: 1, delayMsMax: 15, slow: 0.05, loss: 0.002, duplicate: 0.05, overtake: 0.2 };

/** Epochs one after another, as fast as they can be told apart, under load, and each replica made clean in its turn. */
const restless: Scenario = {
  ...calm,
  clients,
  safetyMs: 4_000,
  epochs: {
    ...oneEpoch,
    schedule: { ...noSchedule, epochIntervalMs: 300, successorWaitMs: 1_500, recovery: ['hardware'] },
    turns: 'log-kept',
  },
};

function epochsOf(name: string, epochs: Partial<Scenario['epochs']>, others: Partial<Scenario> = {}): Scenario {
  return { ...restless, ...others, name, epochs: { ...restless.epochs, ...epochs } };
}

const six = { n: 6, f: 1, k: 1 };
const people = { approvals: 2, keys: [0, 1, 2].map((person) => administratorKey(person).publicKey.text) };
const governed = { ...restless.epochs.schedule, administrators: people };
/** Without keepers each change waits for somebody to be made clean, in vain. */
const unkept = { ...restless.epochs.schedule, successorWaitMs: 300 };
/** Time enough for every change within an interval, so that the bounds of docs/protocol/epochs.md §7 hold as they stand. */
const roomy = { ...restless.epochs.schedule, epochIntervalMs: 1_000, successorWaitMs: 400 };
const unhurried: Partial<Scenario> = {
  safetyMs: 8_000,
  clients: [{ windowRequests: 1, operationsPerRequestMax: 1, thinkMsMax: 400, requests: 20, resendMs: 300 }],
};
const byRequest = { ...governed, epochIntervalMs: 0 };

/** How a cluster goes from epoch to epoch. In each, some epochs must end before the heal. */
const epochs: readonly Scenario[] = [
  epochsOf('epochs-4', {}),
  epochsOf('epochs-awareness-4', { schedule: { ...unkept, recovery: ['awareness'] }, turns: 'none' }),
  epochsOf('epochs-by-request-4', {
    schedule: byRequest,
    changes: [500, 1_300, 2_100].map((atMs) => ({ atMs, actions: [{ kind: 'advance' as const }] })),
  }),
  epochsOf('epochs-on-schedule-4', { schedule: roomy }, unhurried),
  // A keeper does nothing: code and state of its replica grow too old, and the report says so.
  epochsOf('epochs-keeperless-4', { schedule: roomy, keeperless: 1 }, unhurried),
  epochsOf('epochs-crashes-4', {}, { faults: { ...noFaults, crash: 3, crashAll: 0.3 } }),
  epochsOf('epochs-ambush-4', {}, { ambushes: { checkpoint: 0, change: 0.3, fetch: 0 } }),
  epochsOf('epochs-rough-4', {}, { links: uneven, faults: { ...noFaults, partition: 0.3 }, safetyMs: 6_000 }),
  // One is cut off from soon after the beginning, and follows with the service key alone.
  epochsOf('epochs-asleep-4', { schedule: unkept, turns: 'none' }, { isolated: 1 }),
  epochsOf('epochs-asleep-6', { turns: 'log-lost' }, { size: six, isolated: 1 }),
  epochsOf('epochs-log-lost-6', { turns: 'log-lost' }, { size: six, adversaries: ['equivocator'] }),
  epochsOf('epochs-bad-dealer-7', {}, { size: seven, adversaries: ['bad-dealer', 'false-complainer'] }),
  epochsOf('epochs-silent-7', {}, { size: seven, adversaries: ['silent', 'withholder'] }),
  epochsOf('members-4-7-4', {
    schedule: governed,
    joiners: 3,
    changes: [
      { atMs: 500, actions: [4, 5, 6].map((place) => ({ kind: 'add' as const, place })) },
      { atMs: 1_400, actions: [{ kind: 'rule', f: 2, k: 0 }] },
      {
        atMs: 2_400,
        actions: [
          { kind: 'rule', f: 1, k: 0 },
          { kind: 'remove', place: 4 },
          { kind: 'remove', place: 5 },
          { kind: 'remove', place: 0 },
        ],
      },
    ],
  }),
  epochsOf('member-replaced-4', {
    schedule: governed,
    joiners: 1,
    changes: [{ atMs: 600, actions: [{ kind: 'replace', place: 2, by: 4 }] }],
  }),
];

/** An adversary takes over one replica after another. */
const mobile: readonly Scenario[] = [
  epochsOf('mobile-4', { mobile: true }),
  epochsOf('mobile-6', { mobile: true, turns: 'log-lost' }, { size: six, safetyMs: 5_000 }),
  epochsOf('mobile-7', { mobile: true }, { size: seven }),
  epochsOf('mobile-rough-4', { mobile: true }, { links: uneven, faults: { ...noFaults, crash: 0.5 }, safetyMs: 6_000 }),
  // Each way to new keys there is (docs/protocol/epochs.md §5). Who kept the old key of one that vouches for itself names keys too.
  epochsOf(
    'mobile-methods-4',
    {
      mobile: true,
      schedule: { ...governed, successorWaitMs: 300, recovery: ['hardware', 'awareness', 'offline', 'awareness'] },
      joiners: 3,
    },
    { safetyMs: 6_000 },
  ),
  epochsOf('mobile-real-curve-4', { mobile: true }, { curve: 'mcl' }),
  // Everything at once: one that is faulty for ever, one that moves, deaths at any moment and at each change, a network that is cut.
  epochsOf(
    'mobile-storm-7',
    { mobile: true },
    {
      size: seven,
      adversaries: ['equivocator'],
      links: uneven,
      faults: { crash: 0.5, crashAll: 0.1, partition: 0.3, clockJump: 0.5, vanish: 0.1 },
      ambushes: { checkpoint: 0.05, change: 0.05, fetch: 0.2 },
      lostStates: 1,
      clockErrorMsMax: 500,
      clockDriftMax: 0.01,
      safetyMs: 10_000,
    },
  ),
  // What each defence is for: the same without it, which the adversary is expected to win.
  epochsOf('mobile-no-resharing-4', { mobile: true, resharing: false }),
  epochsOf('mobile-no-renewal-4', { mobile: true, renewal: false, schedule: unkept }),
];

const fixed: readonly Scenario[] = [
  calm,
  { ...calm, name: 'rough-network', links: rough, safetyMs: 4_000 },
  { ...calm, name: 'silent-loss', links: { ...rough, loss: 0.15, resetAfterLoss: false }, safetyMs: 3_000 },
  { ...calm, name: 'partitions', faults: { ...noFaults, partition: 2 }, safetyMs: 4_000 },
  { ...calm, name: 'crashes', faults: { ...noFaults, crash: 5 }, safetyMs: 4_000 },
  { ...calm, name: 'power-cuts', faults: { ...noFaults, crashAll: 1.5 }, safetyMs: 4_000 },
  {
    ...calm,
    name: 'lying-clocks',
    faults: { ...noFaults, clockJump: 4 },
    clockErrorMsMax: 3_600_000,
    clockDriftMax: 0.05,
  },
  { ...calm, name: 'slow-disk', disk: { syncMsMin: 10, syncMsMax: 80 }, faults: { ...noFaults, crash: 2 } },
  {
    ...calm,
    name: 'short-memory',
    parameters: { ...calm.parameters, pruneDepth: 12 },
    faults: { ...noFaults, crash: 3, partition: 1 },
    safetyMs: 4_000,
  },
  { ...calm, name: 'isolated', isolated: 1, safetyMs: 2_500 },
  // What it missed is more than one answer holds, long pruned, and a faulty replica makes up parents in between.
  {
    ...calm,
    name: 'heavy-catch-up',
    isolated: 1,
    size: { n: 6, f: 1, k: 1 },
    adversaries: ['bogus-citer'],
    parameters: { ...calm.parameters, pruneDepth: 12 },
    valueLengthMax: 128 * 1024,
    clients: [{ windowRequests: 8, operationsPerRequestMax: 6, thinkMsMax: 10, requests: 80, resendMs: 2_000 }],
    safetyMs: 2_500,
  },
  { ...calm, name: 'lost-log', lostLogs: 1, safetyMs: 2_500, faults: { ...noFaults, crash: 1 } },
  {
    ...calm,
    name: 'lost-logs-7',
    size: seven,
    lostLogs: 1,
    adversaries: ['equivocator'],
    faults: { ...noFaults, crash: 1 },
  },
  ...fetching,
  ...epochs,
  ...mobile,
  { ...forgetful, name: 'all-crash-4', ambushes: { checkpoint: 0.5, change: 0, fetch: 0 } },
  ...adversaryNames.map(against),
  { ...calm, name: 'real-curve', curve: 'mcl', adversaries: ['bad-dealer'], faults: { ...noFaults, crash: 2 } },
  { ...calm, name: 'real-curve-bad-signer', curve: 'mcl', adversaries: ['bad-signer'] },
  { ...calm, name: 'leader-scheduler', networkAdversary: 'leader-scheduler' },
  { ...calm, name: 'lasting-leader-scheduler', networkAdversary: 'lasting-leader-scheduler' },
  { ...calm, name: 'lasting-leader-scheduler-7', size: seven, networkAdversary: 'lasting-leader-scheduler' },
  { ...calm, name: 'coin-scheduler-7', size: seven, networkAdversary: 'coin-scheduler' },
  // What the coin is for: the same adversary and a known order of leaders, which is expected to stall.
  {
    ...calm,
    name: 'known-leaders-7',
    size: seven,
    networkAdversary: 'coin-scheduler',
    coin: 'known',
    progressMsMax: 5_000,
  },
  { ...calm, name: 'known-leaders-alone-7', size: seven, coin: 'known' },
  against7('equivocator', 'withholder'),
  against7('bogus-citer', 'future-flooder'),
  against7('equivocator', 'equivocator'),
  against7('silent', 'garbage-sender'),
  {
    ...calm,
    name: 'six-with-recovery',
    size: { n: 6, f: 1, k: 1 },
    adversaries: ['equivocator'],
    faults: { ...noFaults, crash: 2 },
  },
];

export const scenarioNames: readonly string[] = ['mixed', ...fixed.map(({ name }) => name)];

/** Those in which some correct replica must have fetched the state of others. */
export const expectedToFetch: readonly string[] = fetching.map(({ name }) => name);

/** Those in which epochs must end before the heal. */
export const expectedToTurn: readonly string[] = [...epochs, ...mobile].map(({ name }) => name);

/** Those in which the adversary has what it needs to win: a run in which it does not is the surprise. */
export const expectedToLose: readonly string[] = ['mobile-no-resharing-4', 'mobile-no-renewal-4'];

/** Those that show what happens without a defence: they stall, and a run that does not is the surprise. */
export const expectedToStall: readonly string[] = ['known-leaders-7'];

/** The scenario of this name; only `mixed` draws. Undefined when there is none. */
export function scenarioNamed(name: string, prng: Prng): Scenario | undefined {
  return name === 'mixed' ? mixedScenario(prng) : fixed.find((scenario) => scenario.name === name);
}
