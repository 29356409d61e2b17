/**
 * Replica process: one process of a replica, from its start to its end.
 *
 * It runs as another user where there is one, in a session of its own, with an environment that holds nothing of the keeper's
 * but what it needs; of the keeper it has one channel and two pipes for its log.
 * Safety: when `stop` resolves the process is gone, and so is all of its group; what it started elsewhere is swept up before the
 * next start (`home-work.ts`).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { setTimer } from '../platform/clock.ts';
import { keeperVariable } from '../wire/keeper-message.ts';
import { ReplicaChannel } from './replica-channel.ts';
import { passLines } from './replica-log-lines.ts';
import type { ReplicaUser } from './replica-user.ts';

export interface ReplicaProcessOptions {
  /** Program and arguments. */
  readonly command: readonly [string, ...string[]];
  /** Undefined: the keeper's own. */
  readonly user: ReplicaUser | undefined;
  readonly workingDirectory: string;
  onMessage(message: unknown): void;
  onMalformed(reason: string): void;
  /** A line of its log, marked as its own. */
  onLine(line: string): void;
}

/** Passed on to a replica: nothing by which code is loaded that no manifest lists. */
const passedOn = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'NODE_ENV', 'COTERIE_DEBUG', 'NO_COLOR'] as const;
/** The channel is file 3 of the process, as the runtime's own channels are. */
const channelFile = 3;

export function environmentOf(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of passedOn) {
    const value = environment[name];
    if (value !== undefined) passed[name] = value;
  }
  return passed;
}

export class ReplicaProcess {
  readonly pid: number | undefined;
  /** How it ended: "exit code 1", "signal SIGKILL". */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #channel: ReplicaChannel;
  #hasEnded = false;

  constructor({ command, user, workingDirectory, onMessage, onMalformed, onLine }: ReplicaProcessOptions) {
    const [program, ...parameters] = command;
    this.#child = spawn(program, parameters, {
      cwd: workingDirectory,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      env: {
        ...environmentOf(process.env),
        [keeperVariable]: '1',
        NODE_CHANNEL_FD: String(channelFile),
        NODE_CHANNEL_SERIALIZATION_MODE: 'json',
      },
      ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
    });
    this.pid = this.#child.pid;
    const [, stdout, stderr, stream] = this.#child.stdio;
    passLines(stdout as Readable, onLine);
    passLines(stderr as Readable, onLine);
    this.#channel = new ReplicaChannel({ stream: stream as Duplex, onMessage, onMalformed });
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        if (this.#hasEnded) return;
        this.#hasEnded = true;
        this.#channel.close();
        this.#killGroup();
        // What the group still held open is closed by now, or held by a process that left the group: not waited for.
        for (const output of [stdout, stderr]) setTimer(drainMs, () => output?.destroy(), { background: true });
        resolve(how);
      };
      this.#child.on('exit', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`));
      this.#child.on('error', (error) => {
        if (this.#child.pid === undefined) end(error.message);
      });
    });
  }

  send(message: unknown): void {
    this.#channel.send(message);
  }

  /** Asks it to stop, ends it after `patienceMs`. True when it stopped by itself. */
  async stop(patienceMs: number): Promise<boolean> {
    if (this.#hasEnded) return true;
    let isForced = false;
    this.#child.kill('SIGTERM');
    const timer = setTimer(patienceMs, () => {
      isForced = true;
      this.kill();
    });
    await this.ended;
    timer.cancel();
    return !isForced;
  }

  /** Ends it, and its group, at once. */
  kill(): void {
    if (this.#hasEnded) return;
    this.#killGroup();
    this.#child.kill('SIGKILL');
  }

  #killGroup(): void {
    if (this.pid === undefined) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // Nobody is left in it.
    }
  }
}

/** The last lines of a log are read for so long after the end. */
const drainMs = 1_000;
