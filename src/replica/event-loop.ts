/**
 * Event loop: the one loop of a replica. It gathers what has arrived, steps the machine with as much of it as a step may
 * take, carries the effects out, and only then steps again; so effects of two steps never mix.
 *
 * Owns: the queues of inputs, bounded by pausing those they come from, and the one timer.
 * Errors: a failing log, or a bug, ends the loop: `onFatal` is called once and nothing leaves any more.
 */
import { monotonicMs, now, setTimer, type Timer } from '../platform/clock.ts';
import { carryOut, type Ports } from './carry-out.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';
import { InputQueue } from './input-queue.ts';
import type { ReplicaMachine } from './machine.ts';

const KiB = 1024;
/** Bytes waiting for a step above which their source is paused, until half of them are gone. */
const peerSizeBytesMax = 8 * 1024 * KiB;
const clientSizeBytesMax = 512 * KiB;
/** The same for all clients together. */
const clientsSizeBytesMax = 32 * 1024 * KiB;
/** What the inputs of one step may cost (`input-queue.ts`): in the worst case a tenth of a second for signatures. */
const stepCostBytesMax = 512 * KiB;

/** Whom an input came from. */
export type InputSource =
  | { readonly kind: 'peer'; readonly peer: number }
  | { readonly kind: 'client'; readonly link: number };

export class EventLoop {
  readonly #machine: ReplicaMachine;
  readonly #ports: Ports;
  readonly #observe: (effects: ReplicaEffects) => void;
  readonly #onFatal: (error: unknown) => void;
  readonly #fromPeers: InputQueue;
  readonly #fromClients: InputQueue;
  /** What this replica tells itself; never much. */
  #own: ReplicaInput[] = [];
  #scheduled = false;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #stopped = false;
  /** The last step left something to do at once. */
  #isUnfinished = false;

  constructor(options: {
    readonly machine: ReplicaMachine;
    readonly ports: Ports;
    /** Sees the effects of each step after they were carried out; for counters and logs. */
    readonly observe: (effects: ReplicaEffects) => void;
    readonly onFatal: (error: unknown) => void;
    /** True: stop reading from this source; false: go on. */
    readonly onPressure: (source: InputSource, isHigh: boolean) => void;
  }) {
    this.#machine = options.machine;
    this.#ports = options.ports;
    this.#observe = options.observe;
    this.#onFatal = options.onFatal;
    const { onPressure } = options;
    this.#fromPeers = new InputQueue({
      sourceSizeBytesMax: peerSizeBytesMax,
      // Each has its own bound, and there are few: a hostile one must not have the others paused.
      sizeBytesMax: Number.POSITIVE_INFINITY,
      // Blocks of one round belong together: to take some and leave others would look like a late replica.
      everySourceEachTime: true,
      pause: (peer, isPaused) => onPressure({ kind: 'peer', peer }, isPaused),
    });
    this.#fromClients = new InputQueue({
      sourceSizeBytesMax: clientSizeBytesMax,
      sizeBytesMax: clientsSizeBytesMax,
      everySourceEachTime: false,
      pause: (link, isPaused) => onPressure({ kind: 'client', link }, isPaused),
    });
  }

  push(input: ReplicaInput): void {
    if (this.#stopped) return;
    if (input.kind === 'checkpoint-stored' || input.kind === 'next-session-keys') this.#own.push(input);
    else if ('link' in input) this.#fromClients.push(input.link, input);
    else this.#fromPeers.push(input.kind === 'peer-frame' ? input.from : input.peer, input);
    this.#schedule();
  }

  /** Lets what is under way finish, makes everything accepted durable, and takes no more. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
    this.#release();
    await carryOut(this.#machine.flush(), this.#ports);
  }

  /** Lets what is under way finish, and does nothing more: what was accepted is not even made durable. */
  async abandon(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
    this.#release();
  }

  /** Whoever was paused may have to do with the next life. */
  #release(): void {
    this.#fromPeers.release();
    this.#fromClients.release();
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
          if (this.#isUnfinished || this.#own.length > 0 || !this.#fromPeers.isEmpty || !this.#fromClients.isEmpty)
            this.#schedule();
        });
    });
  }

  async #run(): Promise<void> {
    this.#timer?.cancel();
    const inputs = [
      ...this.#own.splice(0),
      ...this.#fromPeers.take(stepCostBytesMax),
      ...this.#fromClients.take(stepCostBytesMax),
    ];
    const effects = this.#machine.step(inputs, monotonicMs(), now());
    await carryOut(effects, this.#ports);
    this.#observe(effects);
    this.#isUnfinished = effects.isUnfinished;
    if (effects.wakeAtMs !== undefined && !this.#stopped) {
      this.#timer = setTimer(Math.max(1, effects.wakeAtMs - monotonicMs()), () => this.#schedule());
    }
  }
}
