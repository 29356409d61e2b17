/**
 * Simulate: one run of a whole cluster in one process, from a seed.
 *
 * First a safety phase with everything the scenario allows; nothing may diverge. Then the faults end for all correct
 * replicas, which are a quorum, and progress is demanded: every open request gets its result, a fresh request at each
 * correct replica too, and all correct replicas execute what any of them did, within a bound of virtual time.
 * The same seed and scenario give the same run, event by event (`traceDigest`).
 */
import { checkAcknowledged } from './checkers/acknowledged.ts';
import { checkHistory } from './checkers/history-linearizability.ts';
import { checkStorage } from './checkers/storage.ts';
import type { Report, Violation } from './checkers/violation.ts';
import type { Overdue } from './checkers/windows.ts';
import { Cluster, type MachineMaker } from './cluster.ts';
import { type Deduced, deduce } from './deduction.ts';
import { planFaults } from './faults.ts';
import { forgeHead, type StolenShare } from './forging.ts';
import { Prng } from './prng.ts';
import { scenarioNamed, scenarioNames } from './scenarios/named.ts';
import type { Scenario } from './scenarios/scenario.ts';
import { type TraceLine, World } from './world.ts';

export { scenarioNames };

export type Phase = 'safety' | 'progress';

export interface SimulationProgress {
  readonly phase: Phase;
  readonly virtualMs: number;
  /** The run ends here at the latest. */
  readonly virtualMsMax: number;
  readonly events: number;
  readonly commits: number;
}

export interface SimulationOptions {
  /** A safe integer, 0 or more. */
  readonly seed: number;
  /** One of `scenarioNames`, or a scenario of one's own; `mixed` when left out. */
  readonly scenario?: string | Scenario;
  /** Called now and then while it runs. */
  readonly onProgress?: (progress: SimulationProgress) => void;
  /** Puts another machine in the place of the production one, to see whether the checkers notice. */
  readonly makeMachine?: MachineMaker;
}

export interface SimulationResult {
  /** `diverged`: a promise was broken. `stalled`: none was, but progress did not come in time. */
  readonly verdict: 'agreed' | 'stalled' | 'diverged';
  readonly seed: number;
  readonly scenario: string;
  /** Replicas, and what the faulty ones among them do. */
  readonly replicas: number;
  readonly adversaries: readonly string[];
  readonly events: number;
  readonly commits: number;
  /** Requests that clients have accepted results of. */
  readonly requests: number;
  readonly operations: number;
  /** Heads with the service's signature, and certified replies that were checked. */
  readonly certifiedHeads: number;
  readonly certifiedReplies: number;
  /** States that correct replicas have fetched from the others. */
  readonly fetches: number;
  /** Those that were begun: more, when some were interrupted. */
  readonly fetchesBegun: number;
  /** Epochs that correct replicas have come into, but for the first. */
  readonly epochs: number;
  /** How many replicas each epoch had that a correct one came into, and how many of them might be faulty. */
  readonly memberships: readonly { readonly epoch: number; readonly n: number; readonly f: number }[];
  /** Replicas that were started clean because it was their turn. */
  readonly cleanStarts: number;
  /** States, consistent in themselves, that the adversary left where it was driven out, and how many of them were not believed. */
  readonly forgedStates: number;
  readonly refusedStates: number;
  /** What of which replica was older than it may be, by the agreed report at the end of each epoch and of the run: what an alarm says. */
  readonly overdue: readonly Overdue[];
  /** Places of replicas that administrators had replaced because their keys were in dispute, or somebody else's. */
  readonly replaced: readonly number[];
  /** Replicas whose keys were ever in dispute. */
  readonly disputes: readonly string[];
  /** Places of the replicas that the mobile adversary held in each epoch, and key shares that it has of all epochs together. */
  readonly held: readonly { readonly epoch: number; readonly places: readonly number[] }[];
  readonly stolenShares: number;
  /** What it could work out from the log with the secrets it had kept. */
  readonly workedOut: WorkedOut;
  /** Replicas that the mobile adversary ever held, and how often it spoke in the name of one with keys that it had kept. */
  readonly everHeld: number;
  readonly impersonations: number;
  /** Next session keys that it named for replicas with the keys it had kept of them. */
  readonly forgedSuccessors: number;
  readonly virtualMs: number;
  /** From the heal until everything demanded was there; undefined when it never was. */
  readonly recoveryMs: number | undefined;
  /** The first event with which a promise was broken. */
  readonly firstDivergence: Violation | undefined;
  readonly violations: readonly Violation[];
  /** What was still waited for, when the verdict is `stalled`. */
  readonly waitingFor: string | undefined;
  /** Keys whose history was too hard to search. */
  readonly unsearchedKeys: number;
  /** The last lines of the trace. */
  readonly trace: readonly TraceLine[];
  /** Equal for equal runs. */
  readonly traceDigest: string;
  /** The one command that makes this run again. */
  readonly replay: string;
}

/** What the mobile adversary got out of dealings on the log. */
export interface WorkedOut {
  /** Evaluations that it opened with decryption keys it had kept, and whole polynomials of dealers whose seeds it had. */
  readonly evaluations: number;
  readonly polynomials: number;
  /** Key shares that it has, of whatever epoch, stolen or worked out; and the most that it has of one epoch. */
  readonly shares: number;
  readonly sharesOfOneEpoch: number;
}

const violationsKept = 20;
/** A result has room for so many of the largest values. */
const freshKeysMax = 5;
const progressEveryMs = 50;
/** Disks that are never at rest for so long are looked at all the same. */
const restMsMax = 2_000;

/** Runs one simulation. Throws a RangeError when the seed or the scenario is not one. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, onProgress } = options;
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RangeError(`a seed is a safe integer of at least 0, not ${seed}`);
  const prng = new Prng(seed);
  const scenario = scenarioOf(options.scenario ?? 'mixed', prng.fork());
  const world = new World();
  const violations: Violation[] = [];
  const report: Report = (checker, message, event = world.events) => {
    world.note(`violated: ${checker}: ${message}`);
    if (violations.length < violationsKept) violations.push({ checker, message, event });
  };
  const cluster = new Cluster({
    seed,
    scenario,
    world,
    prng: prng.fork(),
    makeMachine: options.makeMachine,
    report,
  });
  const virtualMsMax = scenario.safetyMs + scenario.progressMsMax;
  let phase: Phase = 'safety';
  const tell = (): void => {
    const { nowMs: virtualMs, events } = world;
    onProgress?.({ phase, virtualMs, virtualMsMax, events, commits: cluster.watch.agreement.highestIndex });
    world.after(progressEveryMs, '', tell);
  };

  let recovery: Recovery | undefined;
  try {
    world.after(0, '', tell);
    for (let place = 0; place < scenario.size.n; place++) cluster.start(place);
    for (const client of cluster.clients) client.start();
    planFaults({ world, prng: prng.fork(), cluster, untilMs: scenario.safetyMs });
    await world.run(scenario.safetyMs, () => violations.length > 0);
    phase = 'progress';
    if (violations.length === 0) recovery = await demandProgress(world, cluster, report, () => violations.length > 0);
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    violations.push({ checker: 'invariant', message, event: world.events });
  }
  return resultOf({ options, scenario, world, cluster, violations, recovery });
}

function scenarioOf(named: string | Scenario, prng: Prng): Scenario {
  if (typeof named !== 'string') return named;
  const scenario = scenarioNamed(named, prng);
  if (scenario === undefined) throw new RangeError(`no scenario ${named}; there are ${scenarioNames.join(', ')}`);
  return scenario;
}

/** How long it took, and which commit each correct replica was at then: keepers go on making replicas clean. */
interface Recovery {
  readonly tookMs: number;
  readonly reached: ReadonlyMap<number, number>;
}

/** Heals, asks for something fresh everywhere, and waits; undefined when it took too long. */
async function demandProgress(
  world: World,
  cluster: Cluster,
  report: Report,
  failed: () => boolean,
): Promise<Recovery | undefined> {
  const healedAtMs = world.nowMs;
  world.note('heal');
  for (const client of cluster.clients) client.finish();
  cluster.heal();
  for (const index of cluster.correct) {
    const behaviour = { windowRequests: 1, operationsPerRequestMax: 1, thinkMsMax: 1, requests: 0, resendMs: 500 };
    const client = cluster.addClient(`fresh-${index}`, { ...behaviour, only: index });
    client.ask([
      { kind: 'put', key: 'fresh', value: client.name },
      ...Array.from(
        { length: Math.min(cluster.scenario.keys, freshKeysMax) },
        (_, key) => ({ kind: 'get', key: `k${key}` }) as const,
      ),
    ]);
  }
  const isDone = (): boolean =>
    cluster.clients.every(({ openRequests }) => openRequests === 0) &&
    behind(cluster).length === 0 &&
    cluster.watch.wrong.size === 0 &&
    astray(cluster).length === 0 &&
    uncertified(cluster).length === 0;
  await world.run(healedAtMs + cluster.scenario.progressMsMax, () => failed() || isDone());
  if (!isDone()) return undefined;
  const tookMs = world.nowMs - healedAtMs;
  const reached = new Map([...cluster.correct].map((place) => [place, commitIndexOf(cluster, place)]));
  await checkStorages(world, cluster, report);
  return { tookMs, reached };
}

/** Lets the disks come to rest, and looks at what is on them. */
async function checkStorages(world: World, cluster: Cluster, report: Report): Promise<void> {
  const correct = [...cluster.correct].map((place) => cluster.replicaAt(place));
  await world.run(world.nowMs + restMsMax, () => correct.every(({ disk }) => disk.isIdle));
  for (const { place, disk, isUp, stableHorizons } of correct) {
    const mayDrop = cluster.scenario.retainedSizeBytes === 0;
    if (isUp) await checkStorage(place, disk, mayDrop ? stableHorizons : [], report);
  }
}

/** Correct replicas that have not executed what another one has. */
function behind(cluster: Cluster): readonly number[] {
  const { lastRequestIndex } = cluster.watch.execution;
  return [...cluster.correct].filter((index) => commitIndexOf(cluster, index) < lastRequestIndex);
}

/** Correct replicas that are in an epoch that is over. */
function astray(cluster: Cluster): readonly number[] {
  const { epoch } = cluster.standing();
  return [...cluster.correct].filter((place) => cluster.replicaAt(place).membership.epoch !== epoch);
}

/** Correct replicas that have results no certified head covers: an idle cluster ends with none. */
function uncertified(cluster: Cluster): readonly number[] {
  if (cluster.scenario.coin === 'known') return [];
  return [...cluster.correct].filter((index) => {
    const machine = cluster.replicaAt(index).machine;
    if (machine?.certifiedHead === undefined || !machine.status.certification.isMembershipCertified) return true;
    return machine.certifiedHead.head.logSize < machine.status.logSize;
  });
}

function commitIndexOf(cluster: Cluster, index: number): number {
  return cluster.replicaAt(index).status?.commitIndex ?? -1;
}

/** The adversary works out what it can from everything that it ever read, there and on the log, and tries to sign with that. */
function checkSecrecy({ mobile, ledger, watch, curve, membership }: Cluster, report: Report): Deduced | undefined {
  const { serviceKey } = watch.certification;
  if (mobile === undefined || ledger === undefined || serviceKey === undefined) return undefined;
  const { serviceId } = membership;
  const { secrets, shares: stolen } = mobile.loot;
  const deduced = deduce({ curve, sharings: ledger.sharings(), secrets, shares: stolen });
  const nameOf = ({ epoch, holder }: StolenShare): string => `share ${holder} of epoch ${epoch}`;
  const known = new Map([...stolen, ...deduced.shares].map((share) => [nameOf(share), share]));
  const forgery = forgeHead({ curve, serviceKey, serviceId, shares: [...known.values()] });
  if (forgery !== undefined) {
    report('secrecy', `the adversary signs as the service, with ${forgery.shares.map(nameOf).join(', ')}`);
  } else if (deduced.serviceSecret !== undefined) {
    report('secrecy', 'the adversary works out the private service key');
  }
  return deduced;
}

/** At the end: of whoever is where the others are. */
function lookAtWindows(cluster: Cluster): void {
  const { epoch } = cluster.standing();
  const machine = [...cluster.correct]
    .map((place) => cluster.replicaAt(place).machine)
    .find((each) => each?.epochStatus.state.membership.epoch === epoch);
  if (machine !== undefined) cluster.watch.windows.look(machine.epochStatus.state, machine.status.timestamp);
}

function workedOutOf({ mobile }: Cluster, deduced: Deduced | undefined): WorkedOut {
  const stolen = mobile?.loot.shares ?? [];
  const known = new Set([...stolen, ...(deduced?.shares ?? [])].map(({ epoch, holder }) => `${epoch} ${holder}`));
  const ofEpoch = new Map<string, number>();
  for (const name of known) {
    const [epoch = ''] = name.split(' ');
    ofEpoch.set(epoch, (ofEpoch.get(epoch) ?? 0) + 1);
  }
  const { opened: evaluations = 0, polynomials = 0 } = deduced ?? {};
  return { evaluations, polynomials, shares: known.size, sharesOfOneEpoch: Math.max(0, ...ofEpoch.values()) };
}

/** What is missing still: results, or replicas that have not executed what others have. */
function waitedFor(cluster: Cluster): string {
  const open = cluster.clients.filter(({ openRequests }) => openRequests > 0).map((client) => client.describeOpen());
  const where = behind(cluster).map((index) => `r${index} at commit ${commitIndexOf(cluster, index)}`);
  for (const place of astray(cluster)) {
    const { membership, machine } = cluster.replicaAt(place);
    const state = machine?.epochStatus.state.phase.kind ?? 'no machine';
    where.push(`r${place} in epoch ${membership.epoch} of ${cluster.standing().epoch}, ${state}`);
  }
  for (const index of cluster.watch.wrong) where.push(`r${index}, which is still wrong`);
  if (where.length > 0) where.push(`the last commit with a request is ${cluster.watch.execution.lastRequestIndex}`);
  const certifying = uncertified(cluster).map((index) => {
    const machine = cluster.replicaAt(index).machine;
    const { logSize = 0, key } = machine?.status ?? {};
    return `r${index} has a certified head of ${machine?.certifiedHead?.head.logSize ?? 'no'} of ${logSize} leaves, key ${JSON.stringify(key)}`;
  });
  return [...open, ...where, ...certifying].join('; ');
}

function resultOf(run: {
  readonly options: SimulationOptions;
  readonly scenario: Scenario;
  readonly world: World;
  readonly cluster: Cluster;
  readonly violations: Violation[];
  readonly recovery: Recovery | undefined;
}): SimulationResult {
  const { options, scenario, world, cluster, violations, recovery } = run;
  const report = (checker: Violation['checker'], message: string, event = world.events): void => {
    violations.push({ checker, message, event });
  };
  if (recovery !== undefined) {
    checkAcknowledged(cluster.history.acknowledged, cluster.watch.execution, recovery.reached, report);
  }
  const deduced = checkSecrecy(cluster, report);
  lookAtWindows(cluster);
  const { tooHard } = checkHistory(cluster.history.entries, report, (digest) =>
    cluster.watch.execution.placeOf(digest),
  );
  const first = [...violations].sort((a, b) => a.event - b.event)[0];
  const verdict = first !== undefined ? 'diverged' : recovery === undefined ? 'stalled' : 'agreed';
  const isNamed = options.scenario === undefined || typeof options.scenario === 'string';
  return {
    verdict,
    seed: options.seed,
    scenario: scenario.name,
    replicas: scenario.size.n,
    adversaries: scenario.adversaries,
    events: world.events,
    commits: cluster.watch.agreement.highestIndex,
    requests: cluster.history.acknowledged.length,
    operations: cluster.watch.execution.operations,
    certifiedHeads: cluster.watch.certification.heads,
    certifiedReplies: cluster.watch.certification.replies,
    fetches: cluster.watch.fetches,
    fetchesBegun: cluster.watch.fetchesBegun,
    epochs: cluster.watch.epochs.highest,
    memberships: cluster.watch.epochs.memberships.map(({ epoch, rule: { n, f } }) => ({ epoch, n, f })),
    cleanStarts: cluster.turns.count,
    forgedStates: cluster.watch.forgedStates,
    refusedStates: cluster.watch.refusedStates,
    overdue: cluster.watch.windows.overdue,
    replaced: [...cluster.replacements.by.keys()],
    disputes: [...cluster.watch.windows.disputes],
    held: cluster.mobile?.held ?? [],
    stolenShares: cluster.mobile?.loot.shares.length ?? 0,
    workedOut: workedOutOf(cluster, deduced),
    everHeld: cluster.mobile?.everHeld.size ?? 0,
    impersonations: cluster.mobile?.impersonations ?? 0,
    forgedSuccessors: cluster.mobile?.forgedSuccessors ?? 0,
    virtualMs: world.nowMs,
    recoveryMs: recovery?.tookMs,
    firstDivergence: first,
    violations,
    waitingFor: verdict === 'stalled' ? waitedFor(cluster) : undefined,
    unsearchedKeys: tooHard,
    trace: world.trace(),
    traceDigest: world.traceDigest(),
    replay: `coterie simulate --seed ${options.seed}${isNamed && scenario.name !== 'mixed' ? ` --scenario ${scenario.name}` : ''}`,
  };
}
