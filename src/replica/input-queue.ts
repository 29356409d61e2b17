/**
 * Input queue: what has arrived and waits for a step, by source, taken from all sources in turn.
 *
 * In: inputs of peers or of client links. Out: a bounded part of them for each step; who is to be paused. So a source
 * that sends without end waits for itself: the others' next input is never behind more than one of its own, and no
 * step checks signatures for so long that links to this replica look dead.
 */
import { limits } from '../wire/limits.ts';
import { forwardedRequestsIn } from '../wire/peer-message.ts';
import type { ReplicaInput } from './effects.ts';

/** Inputs taken of one source after which their places are given back. */
const takenMax = 256;

/** What an input costs besides its bytes, in bytes that take as long to hash: a signature to be checked, or an answer. */
const inputCostBytes = 1024;

interface Source {
  readonly waiting: ReplicaInput[];
  /** Index of the next one in `waiting`. */
  next: number;
  sizeBytes: number;
}

export class InputQueue {
  readonly #sourceSizeBytesMax: number;
  readonly #sizeBytesMax: number;
  readonly #everySourceEachTime: boolean;
  readonly #pause: (source: number, isPaused: boolean) => void;
  /** Those with something waiting; first whose turn it is. */
  readonly #sources = new Map<number, Source>();
  readonly #paused = new Set<number>();
  #sizeBytes = 0;

  constructor(options: {
    /** Bytes of one source above which it is paused. */
    readonly sourceSizeBytesMax: number;
    /** Bytes of all sources above which each that sends more is paused. */
    readonly sizeBytesMax: number;
    /** Take at least one input of every source each time, whatever it costs. */
    readonly everySourceEachTime: boolean;
    /** True: read no more from this source; false: go on. */
    readonly pause: (source: number, isPaused: boolean) => void;
  }) {
    this.#sourceSizeBytesMax = options.sourceSizeBytesMax;
    this.#sizeBytesMax = options.sizeBytesMax;
    this.#everySourceEachTime = options.everySourceEachTime;
    this.#pause = options.pause;
  }

  get isEmpty(): boolean {
    return this.#sources.size === 0;
  }

  /** Forgets what waits, and lets everybody go on that was paused. */
  release(): void {
    this.#sources.clear();
    this.#sizeBytes = 0;
    for (const index of this.#paused) this.#pause(index, false);
    this.#paused.clear();
  }

  push(sourceIndex: number, input: ReplicaInput): void {
    let source = this.#sources.get(sourceIndex);
    if (source === undefined) {
      source = { waiting: [], next: 0, sizeBytes: 0 };
      this.#sources.set(sourceIndex, source);
    }
    source.waiting.push(input);
    source.sizeBytes += sizeOf(input);
    this.#sizeBytes += sizeOf(input);
    if (source.sizeBytes <= this.#sourceSizeBytesMax && this.#sizeBytes <= this.#sizeBytesMax) return;
    if (this.#paused.has(sourceIndex)) return;
    this.#paused.add(sourceIndex);
    this.#pause(sourceIndex, true);
  }

  /** The next inputs, at least one when one is waiting; more as long as they cost no more than this together. */
  take(costBytesMax: number): readonly ReplicaInput[] {
    const turnsMin = this.#everySourceEachTime ? this.#sources.size : 1;
    const taken: ReplicaInput[] = [];
    let costBytes = 0;
    // A source that has more is put back at the end, where this very walk meets it again.
    for (const [index, source] of this.#sources) {
      const input = source.waiting[source.next] as ReplicaInput;
      const sizeBytes = sizeOf(input);
      costBytes += costOf(input);
      if (taken.length >= turnsMin && costBytes > costBytesMax) break;
      taken.push(input);
      source.next += 1;
      source.sizeBytes -= sizeBytes;
      this.#sizeBytes -= sizeBytes;
      this.#sources.delete(index);
      if (source.next === source.waiting.length) continue;
      if (source.next >= takenMax) {
        source.waiting.splice(0, source.next);
        source.next = 0;
      }
      this.#sources.set(index, source);
    }
    this.#resume();
    return taken;
  }

  #resume(): void {
    if (this.#sizeBytes > this.#sizeBytesMax / 2) return;
    for (const index of this.#paused) {
      if ((this.#sources.get(index)?.sizeBytes ?? 0) > this.#sourceSizeBytesMax / 2) continue;
      this.#paused.delete(index);
      this.#pause(index, false);
    }
  }
}

function sizeOf(input: ReplicaInput): number {
  if (input.kind === 'peer-frame') return input.frame.length;
  if (input.kind === 'client-request') return input.request.length;
  return input.kind === 'client-asks-head' ? inputCostBytes : 0;
}

function costOf(input: ReplicaInput): number {
  const forwarded = input.kind === 'peer-frame' ? forwardedRequestsIn(input.frame) : 0;
  return sizeOf(input) + (1 + Math.min(forwarded, limits.forwardedRequestsMax)) * inputCostBytes;
}
