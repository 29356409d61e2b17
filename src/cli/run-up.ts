/**
 * Run up: starts the supervisor for a cluster directory, shows it, and stops it on Ctrl-C, SIGTERM or SIGHUP.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { deadlineAfter } from '../platform/deadline.ts';
import { clusterPaths, recordServiceKey } from '../storage/cluster-directory.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { type Cluster, openCluster } from './cluster.ts';
import { type CommandContext, clusterDirectory, defaultClusterDirectory } from './command.ts';
import { programName, shownPath } from './how-called.ts';
import { KeyWatch } from './key-watch.ts';
import { LiveLine } from './live-line.ts';
import { asOfHomes, homesToRun, type LocalReplica, localReplicas } from './present-homes.ts';
import { Supervisor } from './supervisor.ts';
import type { Terminal } from './terminal.ts';
import type { UpOptions } from './up.ts';
import { makeUpCommand } from './up-command.ts';
import { formatKey, formatReplicas, formatStatusLine, suggestedCommands, summarize } from './up-view.ts';

const readyTimeoutMs = 60_000;
/** How long the cluster is not shown for the sake of the service key, which takes about a second. */
const keyPatienceMs = 15_000;
const keyProgressIntervalMs = 1_000;
const stopPatienceMs = 10_000;
/** How often it is looked whether a home has come into the directory. */
const newcomersIntervalMs = 2_000;

export async function runUp(option: string | undefined, options: UpOptions, context: CommandContext): Promise<void> {
  const { terminal, environment } = context;
  const directory = clusterDirectory(option, environment);
  if (directory === defaultClusterDirectory && !existsSync(directory)) {
    const { makeCluster } = await import('./make-cluster.ts');
    await makeCluster({ directory, replicas: 4, service: 'kv', host: '127.0.0.1' });
    if (!terminal.json) terminal.line(`Made a new cluster of 4 replicas in ${directory}.`);
  }
  const cluster = await asOfHomes(await openCluster(directory));
  const local = checkHasHomes(cluster);
  const commandFor = (replica: LocalReplica) => makeUpCommand(cluster.directory, replica, options);
  const replicas = await Promise.all(local.map(async (each) => ({ ...each, command: await commandFor(each) })));
  const live = new LiveLine(terminal, () => {
    const line = formatStatusLine(summarize(supervisor.states, cluster.f, performance.now()));
    return keyWatch.progress === undefined ? line : `${line} · ${keyWatch.progress}`;
  });
  let isShown = false;
  const keyWatch = new KeyWatch({
    needed: Math.min(cluster.f + 1, local.length),
    record: (serviceKey) => recordServiceKey(cluster.directory, serviceKey),
    onKey: (serviceKey) => {
      if (isShown) live.say(`The service key: ${serviceKey}`);
    },
    onAlarm: (sentence) => live.say(terminal.style('red', `ALARM: ${sentence}`)),
  });
  const supervisor: Supervisor = new Supervisor({
    replicas,
    // Where some replicas live elsewhere, those that are here must do.
    quorumSize: Math.min(cluster.quorumSize, local.length),
    readyTimeoutMs,
    stopPatienceMs,
    onEvent: ({ sentence }) => live.say(sentence),
    onStatus: () => {
      const { ids, states } = supervisor;
      keyWatch.update(ids.map((replicaId, i) => ({ replicaId, state: states[i]! })));
    },
  });
  const stopping = new AbortController();
  let signals = 0;
  const onSignal = (): void => {
    signals += 1;
    stopping.abort();
    // A second Ctrl-C means: now.
    if (signals === 2) supervisor.kill();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);

  try {
    await supervisor.start(stopping.signal);
  } catch (error) {
    await supervisor.stop();
    throw error;
  }
  await awaitKey(keyWatch, stopping.signal, terminal);
  if (!stopping.signal.aborted) {
    isShown = true;
    if (terminal.json) terminal.document(describeCluster(cluster, local, supervisor, keyWatch.serviceKey));
    else showCluster({ cluster, local, supervisor, keyWatch, terminal });
    live.start();
    await startNewcomers(supervisor, cluster, commandFor, stopping.signal);
    live.stop();
  }
  await stopAll(cluster, supervisor, terminal);
}

/** Shows how the service key is made until it is there, somebody wants to stop, or it takes too long. */
async function awaitKey(keyWatch: KeyWatch, stopping: AbortSignal, terminal: Terminal): Promise<void> {
  if (keyWatch.progress === undefined) return keyWatch.settled(stopping);
  const line = new LiveLine(terminal, () => keyWatch.progress ?? 'The service key is made.', keyProgressIntervalMs);
  line.start();
  const patience = deadlineAfter(keyPatienceMs, [stopping]);
  await keyWatch.settled(patience.signal);
  patience.end();
  line.stop();
}

/** Starts whoever comes into the directory, until somebody wants to stop. */
async function startNewcomers(
  supervisor: Supervisor,
  cluster: Cluster,
  commandFor: (replica: LocalReplica) => Promise<readonly [string, ...string[]]>,
  stopping: AbortSignal,
): Promise<void> {
  while (!stopping.aborted) {
    // What cannot be read now may be later, and those that run go on meanwhile.
    const here = await homesToRun(cluster).catch(() => []);
    const newcomers = here.filter(({ replicaId }) => !supervisor.ids.includes(replicaId));
    for (const newcomer of newcomers) {
      const { replicaId, home } = newcomer;
      const command = await commandFor(newcomer);
      if (!stopping.aborted) supervisor.add({ replicaId, home, command });
    }
    await sleep(newcomersIntervalMs, undefined, { signal: stopping }).catch(() => {}); // it was aborted
  }
}

/** The replicas whose homes are in this directory, at least one. */
function checkHasHomes(cluster: Cluster): readonly LocalReplica[] {
  const local = localReplicas(cluster);
  if (local.length > 0) return local;
  throw new CliError(`${cluster.directory} holds no home of a replica`, {
    code: 'no-homes',
    hint: 'It serves clients only; run "coterie up" where the replicas are.',
    exitCode: exitCodes.environment,
  });
}

function describeCluster(
  cluster: Cluster,
  local: readonly LocalReplica[],
  { states, pids }: Supervisor,
  serviceKey: string | undefined,
): unknown {
  return {
    name: cluster.name,
    service: cluster.service,
    serviceId: cluster.serviceId,
    serviceKey: serviceKey ?? null,
    directory: resolve(cluster.directory),
    replicas: local.map(({ replicaId, clientAddress, peerAddress, httpAddress, home }, i) => {
      return {
        replica: replicaId,
        state: states[i]?.kind,
        pid: pids[i],
        clientAddress,
        peerAddress,
        httpAddress,
        home,
      };
    }),
  };
}

function showCluster(view: {
  readonly cluster: Cluster;
  readonly local: readonly LocalReplica[];
  readonly supervisor: Supervisor;
  readonly keyWatch: KeyWatch;
  readonly terminal: Terminal;
}): void {
  const { cluster, local, keyWatch, terminal } = view;
  const { states } = view.supervisor;
  const shown = local.map((replica, i) => ({ ...replica, home: shownPath(replica.home), state: states[i]! }));
  const ready = states.filter(({ kind }) => kind === 'ready').length;
  const keyPath = join(resolve(cluster.directory), clusterPaths.serviceKey);
  const commands = suggestedCommands({
    program: programName({ script: process.argv[1] ?? 'coterie', directory: process.cwd() }),
    clusterOption: cluster.directory === defaultClusterDirectory ? '' : `--cluster ${cluster.directory}`,
    service: cluster.service,
    keyPath: shownPath(keyPath),
    httpAddress: local[0]!.httpAddress,
  });
  const lines = [
    '',
    `${terminal.style('bold', cluster.name)} · service ${cluster.service} · ${cluster.serviceId}`,
    '',
    ...formatReplicas(shown, terminal),
    '',
    ...formatKey(keyWatch, shownPath(keyPath)),
    '',
    `${terminal.style('green', 'Ready')}: ${ready} of ${states.length} replicas. Try, in another terminal:`,
    '',
    ...commands.map((command) => `  ${terminal.style('cyan', command)}`),
    '',
    `Ctrl-C stops the replicas; their data stays in ${cluster.directory}.`,
    '',
  ];
  for (const { replicaId, state } of shown) {
    if (state.kind === 'waiting') lines.push(`${replicaId} did not start: ${state.reason}`);
  }
  for (const line of lines) terminal.line(line);
}

async function stopAll(cluster: Cluster, supervisor: Supervisor, terminal: Terminal): Promise<void> {
  const say = (text: string): void => (terminal.json ? terminal.note(text) : terminal.line(text));
  say('Stopping the replicas …');
  const killed = await supervisor.stop();
  if (killed.length === 0) {
    say(`Stopped. The data is in ${cluster.directory}; "coterie up" goes on with it.`);
    return;
  }
  throw new CliError(`stopped, but ${killed.join(', ')} did not listen and had to be killed`, {
    code: 'killed',
    hint: 'What was acknowledged is on disk; the next start goes on from there.',
    exitCode: exitCodes.unavailable,
  });
}
