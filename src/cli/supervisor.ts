/**
 * Supervisor: all replicas of a cluster directory on this machine, one process each, kept running.
 *
 * Resolves when every replica is ready, or enough of them and the others are being retried. Rejects when the cluster
 * cannot work: a port or a home that belongs to somebody else, or fewer ready replicas than a quorum.
 */
import { join } from 'node:path';
import { limits } from '../wire/limits.ts';
import { CliError, exitCodes } from './cli-error.ts';
import { ReplicaLog } from './replica-log.ts';
import { type ReplicaEnd, type ReplicaState, SupervisedReplica } from './supervised-replica.ts';
import type { FailureReport } from './supervision-message.ts';

/** What is to be kept running. */
export interface SupervisedHome {
  readonly replicaId: string;
  readonly home: string;
  /** Program and arguments of its process. */
  readonly command: readonly [string, ...string[]];
}

export interface SupervisorOptions {
  readonly replicas: readonly SupervisedHome[];
  /** Replicas that are enough for the cluster to work. */
  readonly quorumSize: number;
  readonly readyTimeoutMs: number;
  /** A replica that has not stopped so long after it was asked is killed. */
  readonly stopPatienceMs: number;
  /** Something happened to a replica after the start: a sentence for people. */
  onEvent(event: SupervisionEvent): void;
  /** A replica said how it is: `states` has it. */
  onStatus(): void;
}

export interface SupervisionEvent {
  readonly kind: 'died' | 'back' | 'left' | 'added';
  readonly replicaId: string;
  readonly sentence: string;
}

/** Failures that waiting does not mend, and that mean that the whole start was a mistake. */
const fatalCodes: ReadonlySet<string> = new Set(['port-in-use', 'home-locked']);
/** Right after another `up` was killed its replicas may need a moment to notice. */
const fatalAfterMs = 1_500;
const shownLogLines = 8;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #replicas: SupervisedReplica[];
  readonly #lastFailures = new Map<string, ReplicaEnd>();
  readonly #wereReady = new Set<string>();
  #hasStarted = false;
  #onChange: () => void = () => {};

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#replicas = options.replicas.map((home) => this.#supervise(home));
  }

  /** Of those that it began with, and then of those that were added, in this order. */
  get states(): readonly ReplicaState[] {
    return this.#replicas.map(({ state }) => state);
  }

  get ids(): readonly string[] {
    return this.#replicas.map(({ replicaId }) => replicaId);
  }

  get pids(): readonly (number | undefined)[] {
    return this.#replicas.map(({ pid }) => pid);
  }

  /** One more, when the others have started: nobody waits for it. */
  add(home: SupervisedHome): void {
    const replica = this.#supervise(home);
    this.#replicas.push(replica);
    replica.start();
    const sentence = `${home.replicaId} has come into the directory, and is started`;
    this.#options.onEvent({ kind: 'added', replicaId: home.replicaId, sentence });
  }

  /** Starts all of them. `signal` ends the wait. */
  async start(signal: AbortSignal): Promise<void> {
    const startedAtMs = performance.now();
    const { readyTimeoutMs, quorumSize } = this.#options;
    for (const replica of this.#replicas) replica.start();
    for (;;) {
      const elapsedMs = performance.now() - startedAtMs;
      const ready = this.states.filter(({ kind }) => kind === 'ready').length;
      const undecided = this.states.filter(({ kind }) => kind === 'starting').length;
      const left = this.states.filter(({ kind }) => kind === 'left').length;
      if (ready + left === this.#replicas.length || signal.aborted) break;
      if (elapsedMs > fatalAfterMs) {
        this.#throwIfFatal();
        if (ready >= quorumSize && undecided === 0) break;
        if (ready + undecided < quorumSize || elapsedMs > readyTimeoutMs) throw this.#noQuorum(ready);
      }
      await this.#nextChange(signal, 200);
    }
    this.#hasStarted = true;
  }

  /** Stops all of them; resolves with the ids of those that had to be killed. */
  async stop(): Promise<readonly string[]> {
    const { stopPatienceMs } = this.#options;
    const stopped = await Promise.all(this.#replicas.map((replica) => replica.stop(stopPatienceMs)));
    for (const { log } of this.#replicas) log.close();
    return this.#replicas.filter((_, i) => !stopped[i]).map(({ replicaId }) => replicaId);
  }

  /** Ends all of them at once, for a user who does not want to wait. */
  kill(): void {
    for (const replica of this.#replicas) replica.kill();
  }

  #supervise({ replicaId, home, command }: SupervisedHome): SupervisedReplica {
    const log = new ReplicaLog({
      path: join(home, 'replica.log'),
      sizeBytesMax: limits.replicaLogSizeBytesMax,
      linesKept: shownLogLines,
    });
    return new SupervisedReplica({
      replicaId,
      log,
      command,
      restartDelayMsMin: limits.restartDelayMsMin,
      restartDelayMsMax: limits.restartDelayMsMax,
      steadyAfterMs: limits.restartSteadyAfterMs,
      onReady: () => this.#whenReady(replicaId),
      onStatus: () => this.#options.onStatus(),
      onEnd: (end) => this.#whenEnded(replicaId, end),
      onLeft: () => this.#whenLeft(replicaId),
    });
  }

  #whenLeft(replicaId: string): void {
    this.#lastFailures.delete(replicaId);
    this.#onChange();
    const sentence = `${replicaId} is not in the membership any more: its keys are erased, and it is not started again`;
    this.#options.onEvent({ kind: 'left', replicaId, sentence });
  }

  #whenReady(replicaId: string): void {
    this.#lastFailures.delete(replicaId);
    this.#options.onStatus();
    this.#onChange();
    const how = this.#wereReady.has(replicaId) ? 'back' : 'ready';
    this.#wereReady.add(replicaId);
    if (this.#hasStarted) this.#options.onEvent({ kind: 'back', replicaId, sentence: `${replicaId} is ${how}` });
  }

  #whenEnded(replicaId: string, end: ReplicaEnd): void {
    const before = this.#lastFailures.get(replicaId);
    this.#lastFailures.set(replicaId, end);
    this.#onChange();
    const why = reasonOf(end);
    // One that cannot start for the same reason again and again is told of once.
    if (!this.#hasStarted || (before !== undefined && reasonOf(before) === why)) return;
    const what = end.wasReady ? 'died' : 'did not start';
    const delay = `starting it again in ${(end.restartDelayMs / 1000).toFixed(1)} s`;
    this.#options.onEvent({ kind: 'died', replicaId, sentence: `${replicaId} ${what} (${why}); ${delay}` });
  }

  #nextChange(signal: AbortSignal, atMostMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#onChange = () => {};
        resolve();
      };
      const timer = setTimeout(done, atMostMs);
      signal.addEventListener('abort', done);
      this.#onChange = done;
    });
  }

  #throwIfFatal(): void {
    for (const [replicaId, { failure }] of this.#lastFailures) {
      if (failure !== undefined && fatalCodes.has(failure.code)) throw asError(replicaId, failure);
    }
  }

  #noQuorum(ready: number): CliError {
    const failed = [...this.#lastFailures];
    const known = failed.find(([, { failure }]) => failure !== undefined);
    if (known !== undefined) return asError(known[0], known[1].failure as FailureReport);
    const replica = this.#replicas.find(({ replicaId }) => replicaId === failed[0]?.[0]) ?? this.#replicas[0];
    const lines = replica?.log.lastLines ?? [];
    const hint = [`Its log is ${replica?.log.path}; the last lines:`, ...lines].join('\n');
    return new CliError(`only ${ready} of ${this.#replicas.length} replicas started; ${failed[0]?.[1].how ?? ''}`, {
      code: 'start-failed',
      hint: lines.length === 0 ? `The logs are ${this.#replicas.map(({ log }) => log.path).join(', ')}.` : hint,
      exitCode: exitCodes.environment,
    });
  }
}

function reasonOf({ failure, how }: ReplicaEnd): string {
  return failure === undefined ? how : failure.message.replace(/\.$/, '');
}

function asError(replicaId: string, failure: FailureReport): CliError {
  const { message, code } = failure;
  const otherPorts = 'A cluster with other ports is made with "coterie init DIR --base-port PORT".';
  const hint = code === 'port-in-use' ? `${failure.hint ?? ''}\n${otherPorts}` : failure.hint;
  return new CliError(`${replicaId} did not start: ${message}`, { code, hint, exitCode: exitCodes.environment });
}
