/**
 * Supervised replica: one replica process that `up` keeps running. It is started, watched over its IPC channel,
 * started again with back-off when it dies, and stopped on request, by force when it does not listen.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { ReplicaLog } from './replica-log.ts';
import { type FailureReport, isFromReplica, type StatusReport, type ToReplica } from './supervision-message.ts';

export type ReplicaState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready'; readonly status: StatusReport; readonly heardAtMs: number }
  /** It ended and will be started again. */
  | { readonly kind: 'waiting'; readonly reason: string; readonly delayMs: number }
  /** The membership does not have it any more: it is not started again. */
  | { readonly kind: 'left' }
  | { readonly kind: 'stopped' };

/** What a replica says that is started after it was removed. */
const removedCode = 'removed';
/** A keeper starts its replica again and again, and is asked to stop. */
const leavePatienceMs = 10_000;

export interface ReplicaEnd {
  /** What the process said before it exited, if it could. */
  readonly failure: FailureReport | undefined;
  /** "exit code 1" or "signal SIGKILL". */
  readonly how: string;
  /** It had been ready. */
  readonly wasReady: boolean;
  readonly restartDelayMs: number;
}

export interface SupervisedReplicaOptions {
  readonly replicaId: string;
  readonly log: ReplicaLog;
  /** Program and arguments of the child. */
  readonly command: readonly [string, ...string[]];
  readonly restartDelayMsMin: number;
  readonly restartDelayMsMax: number;
  /** A replica that ran for so long starts with the smallest delay again. */
  readonly steadyAfterMs: number;
  onReady(): void;
  onStatus(): void;
  onEnd(end: ReplicaEnd): void;
  onLeft(): void;
}

export class SupervisedReplica {
  readonly replicaId: string;
  readonly log: ReplicaLog;
  readonly #options: SupervisedReplicaOptions;
  #state: ReplicaState = { kind: 'stopped' };
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #restartTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #isStopping = false;

  constructor(options: SupervisedReplicaOptions) {
    this.replicaId = options.replicaId;
    this.log = options.log;
    this.#options = options;
  }

  get state(): ReplicaState {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const [program, ...parameters] = this.#options.command;
    this.#state = { kind: 'starting' };
    const startedAtMs = performance.now();
    const child = spawn(program, parameters, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child = child;
    let failure: FailureReport | undefined;
    child.stderr?.on('data', (chunk: Uint8Array) => this.log.write(chunk));
    child.on('message', (message) => {
      if (!isFromReplica(message)) return;
      if (message.kind === 'left' || (message.kind === 'failed' && message.failure.code === removedCode)) {
        this.#leave();
        return;
      }
      if (message.kind === 'failed') {
        failure = message.failure;
        return;
      }
      if (this.#isStopping) return;
      const isFirst = this.#state.kind !== 'ready';
      this.#state = { kind: 'ready', status: message.status, heardAtMs: performance.now() };
      if (isFirst) this.#options.onReady();
      else this.#options.onStatus();
    });
    this.#exited = new Promise((resolve) => {
      let ended = false;
      const end = (how: string): void => {
        if (ended) return;
        ended = true;
        this.#child = undefined;
        this.#onExit({ failure, how, ranMs: performance.now() - startedAtMs });
        resolve();
      };
      // 'close' comes after the last of stderr; 'error' alone when the process could not be started at all.
      child.on('close', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`));
      child.on('error', (error) => {
        if (child.pid === undefined) end(error.message);
      });
    });
  }

  /** Asks it to stop, kills it when it has not after `patienceMs`. True when it stopped by itself. */
  async stop(patienceMs: number): Promise<boolean> {
    this.#isStopping = true;
    clearTimeout(this.#restartTimer);
    const child = this.#child;
    if (child === undefined) {
      this.#state = { kind: 'stopped' };
      return true;
    }
    const stop: ToReplica = { kind: 'stop' };
    // A channel that is closed already means that the child is on its way out.
    if (child.connected) child.send(stop, () => {});
    let wasForced = false;
    const timer = setTimeout(() => {
      wasForced = true;
      child.kill('SIGKILL');
    }, patienceMs);
    await this.#exited;
    clearTimeout(timer);
    this.#state = { kind: 'stopped' };
    return !wasForced;
  }

  /** Ends it at once. */
  kill(): void {
    this.#isStopping = true;
    clearTimeout(this.#restartTimer);
    this.#child?.kill('SIGKILL');
  }

  /** For good. */
  #leave(): void {
    if (this.#isStopping) return;
    void this.stop(leavePatienceMs).then(() => {
      this.#state = { kind: 'left' };
    });
    this.#state = { kind: 'left' };
    this.#options.onLeft();
  }

  #onExit({ failure, how, ranMs }: { failure: FailureReport | undefined; how: string; ranMs: number }): void {
    if (this.#isStopping) return;
    const wasReady = this.#state.kind === 'ready';
    const { restartDelayMsMin, restartDelayMsMax, steadyAfterMs } = this.#options;
    this.#failures = ranMs >= steadyAfterMs ? 1 : this.#failures + 1;
    const delayMs = Math.min(restartDelayMsMax, restartDelayMsMin * 2 ** Math.min(this.#failures - 1, 16));
    this.#state = { kind: 'waiting', reason: failure?.message ?? how, delayMs };
    this.#restartTimer = setTimeout(() => this.start(), delayMs);
    this.#options.onEnd({ failure, how, wasReady, restartDelayMs: delayMs });
  }
}
