/**
 * Event loop: the one loop of a replica. It gathers what has arrived, steps the machine with all of it at once, carries
 * the effects out, and only then steps again; so effects of two steps never mix.
 *
 * Owns: the queue of inputs, bounded by pausing the peers it comes from, and the one timer.
 * Errors: a failing log, or a bug, ends the loop: `onFatal` is called once and nothing leaves any more.
 */
import { monotonicMs, now, setTimer, type Timer } from '../platform/clock.ts';
import { carryOut, type Ports } from './carry-out.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';
import type { ReplicaMachine } from './machine.ts';

/** Bytes of frames waiting for a step before peers are paused; half of it before they are resumed. */
const queueSizeBytesMax = 32 * 1024 * 1024;

export class EventLoop {
  readonly #machine: ReplicaMachine;
  readonly #ports: Ports;
  readonly #observe: (effects: ReplicaEffects) => void;
  readonly #onFatal: (error: unknown) => void;
  readonly #onPressure: (isHigh: boolean) => void;
  #queue: ReplicaInput[] = [];
  #queueSizeBytes = 0;
  #isPaused = false;
  #scheduled = false;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: {
    readonly machine: ReplicaMachine;
    readonly ports: Ports;
    /** Sees the effects of each step after they were carried out; for counters and logs. */
    readonly observe: (effects: ReplicaEffects) => void;
    readonly onFatal: (error: unknown) => void;
    /** True: stop reading from peers and clients; false: go on. */
    readonly onPressure: (isHigh: boolean) => void;
  }) {
    this.#machine = options.machine;
    this.#ports = options.ports;
    this.#observe = options.observe;
    this.#onFatal = options.onFatal;
    this.#onPressure = options.onPressure;
  }

  push(input: ReplicaInput): void {
    if (this.#stopped) return;
    this.#queue.push(input);
    this.#queueSizeBytes += sizeOf(input);
    if (!this.#isPaused && this.#queueSizeBytes > queueSizeBytesMax) this.#press(true);
    this.#schedule();
  }

  /** Lets what is under way finish, makes everything accepted durable, and takes no more. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
    await carryOut(this.#machine.flush(), this.#ports);
  }

  /** Steps after the sockets that are readable now have been read, so that one step takes what came together. */
  #schedule(): void {
    if (this.#scheduled || this.#running !== undefined || this.#stopped) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#stopped || this.#running !== undefined) return;
      this.#running = this.#run()
        .catch((error: unknown) => {
          this.#stopped = true;
          this.#onFatal(error);
        })
        .finally(() => {
          this.#running = undefined;
          if (this.#queue.length > 0) this.#schedule();
        });
    });
  }

  async #run(): Promise<void> {
    this.#timer?.cancel();
    const inputs = this.#queue;
    this.#queue = [];
    this.#queueSizeBytes = 0;
    const effects = this.#machine.step(inputs, monotonicMs(), now());
    await carryOut(effects, this.#ports);
    this.#observe(effects);
    if (this.#isPaused && this.#queueSizeBytes < queueSizeBytesMax / 2) this.#press(false);
    if (effects.wakeAtMs !== undefined && !this.#stopped) {
      this.#timer = setTimer(Math.max(1, effects.wakeAtMs - monotonicMs()), () => this.#schedule());
    }
  }

  #press(isHigh: boolean): void {
    this.#isPaused = isHigh;
    this.#onPressure(isHigh);
  }
}

function sizeOf(input: ReplicaInput): number {
  if (input.kind === 'peer-frame') return input.frame.length;
  return input.kind === 'client-request' ? input.request.length : 0;
}
