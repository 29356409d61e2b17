/**
 * World: virtual time. Events happen in order of their time, and of their scheduling when the time is the same.
 *
 * Production code is asynchronous where it waits for the disk, so after every event the world lets all promises that
 * can move do so before time goes on: promise reactions run in one order, and nothing waits for anything but an event.
 */
import { createHash } from 'node:crypto';

interface ScheduledEvent {
  readonly atMs: number;
  readonly sequence: number;
  readonly label: string;
  readonly run: () => void;
  cancelled: boolean;
}

export interface Cancellable {
  cancel(): void;
}

/** One line of the trace: what happened as the `event`-th event. */
export interface TraceLine {
  readonly event: number;
  readonly atMs: number;
  readonly text: string;
}

/** Lines kept for a report; the digest covers all of them. */
const traceLinesKept = 4_000;
const lineLengthMax = 240;

export class World {
  /** Virtual milliseconds since the beginning. */
  nowMs = 0;
  /** Events that have happened. */
  events = 0;
  readonly #heap: ScheduledEvent[] = [];
  #sequence = 0;
  #trace: TraceLine[] = [];
  readonly #digest = createHash('sha256');
  #failure: unknown;

  after(delayMs: number, label: string, run: () => void): Cancellable {
    const event = { atMs: this.nowMs + delayMs, sequence: this.#sequence++, label, run, cancelled: false };
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /** Writes a line into the trace: part of what makes two runs the same run. */
  note(line: string): void {
    const text = line.length > lineLengthMax ? `${line.slice(0, lineLengthMax)}…` : line;
    this.#digest.update(`${this.events} ${this.nowMs} ${text}\n`);
    this.#trace.push({ event: this.events, atMs: this.nowMs, text });
    if (this.#trace.length > 2 * traceLinesKept) this.#trace = this.#trace.slice(-traceLinesKept);
  }

  /** Makes `run` throw this: for errors of asynchronous code, which would be lost otherwise. */
  fail(error: unknown): void {
    this.#failure ??= error;
  }

  /** Lets events happen until `done` says so, time reaches `untilMs`, or nothing is left to happen. */
  async run(untilMs: number, done: () => boolean): Promise<void> {
    while (!done()) {
      const event = this.#heap[0];
      if (event === undefined || event.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return;
      }
      this.#pop();
      if (event.cancelled) continue;
      this.nowMs = event.atMs;
      this.events += 1;
      if (event.label !== '') this.note(event.label);
      event.run();
      await settled();
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  /** The last lines of the trace, oldest first. */
  trace(lines = traceLinesKept): readonly TraceLine[] {
    return this.#trace.slice(-lines);
  }

  /** Digest of everything noted so far; ends the noting. */
  traceDigest(): string {
    return this.#digest.copy().digest('hex');
  }

  #push(event: ScheduledEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isEarlier(heap[parent] as ScheduledEvent, event)) break;
      heap[at] = heap[parent] as ScheduledEvent;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as ScheduledEvent;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isEarlier(heap[child + 1] as ScheduledEvent, heap[child] as ScheduledEvent)) {
        child += 1;
      }
      if (isEarlier(last, heap[child] as ScheduledEvent)) break;
      heap[at] = heap[child] as ScheduledEvent;
      at = child;
    }
    heap[at] = last;
  }
}

function isEarlier(a: ScheduledEvent, b: ScheduledEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

/** Resolves when every promise reaction that was possible has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
