/**
 * Time line: closed-loop callers that follow the replicas from epoch to epoch, and how many operations they get done and how long
 * they wait for them from moment to moment.
 *
 * In: a running cluster. Out: samples of equal length, and the moments that were marked meanwhile.
 */
import { type Client, connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { linePlot } from './line-plot.ts';
import { serviceKeyOf } from './load.ts';
import type { ProcessCluster } from './process-cluster.ts';

export interface TimeLine {
  readonly callers: number;
  readonly samples: readonly TimeLineSample[];
  readonly moments: readonly Moment[];
  readonly operations: number;
  /** Calls that were rejected. */
  readonly failures: number;
  /** The longest time in which no caller of any had a result, and when it began. */
  readonly longestGapMs: number;
  readonly longestGapAtSeconds: number;
  /** The longest call. */
  readonly longestMs: number;
}

/** Calls that returned within a piece of time. */
interface TimeLineSample {
  /** Its middle. */
  readonly seconds: number;
  readonly operationsPerSecond: number;
  /** Undefined where nothing returned. */
  readonly p99Ms?: number;
}

/** Something that happened. */
interface Moment {
  readonly seconds: number;
  readonly name: string;
}

const clientCount = 4;
const valueSizeBytes = 100;
const sampleMs = 250;

export class TimeLineLoad {
  readonly #clients: readonly Client[];
  readonly #returned: { readonly atMs: number; readonly tookMs: number }[] = [];
  readonly #moments: { readonly atMs: number; readonly name: string }[] = [];
  readonly #callers: readonly Promise<void>[];
  #beganAtMs = performance.now();
  #failures = 0;
  #isEnding = false;

  private constructor(clients: readonly Client[], callers: number) {
    this.#clients = clients;
    this.#callers = Array.from({ length: callers }, (_, caller) => this.#call(caller));
  }

  static async start(cluster: ProcessCluster, callers: number): Promise<TimeLineLoad> {
    const genesis = await cluster.genesis();
    const followKey = await serviceKeyOf(genesis);
    const clients: Client[] = [];
    for (let i = 0; i < clientCount; i++) clients.push(await connect({ genesis, followKey, deadlineMs: 60_000 }));
    return new TimeLineLoad(clients, callers);
  }

  /** For what else is to be asked of the cluster. */
  get client(): Client {
    return this.#clients[0] as Client;
  }

  /** What was before is forgotten. */
  begin(): void {
    this.#returned.length = 0;
    this.#moments.length = 0;
    this.#failures = 0;
    this.#beganAtMs = performance.now();
  }

  /** Marks this moment. */
  mark(name: string): void {
    this.#moments.push({ atMs: performance.now(), name });
  }

  /** The longest time so far in which no caller of any had a result. */
  get longestGapMs(): number {
    return longestGap(this.#beganAtMs, this.#returned).gapMs;
  }

  /** Ends the callers and says how it went. */
  async finish(): Promise<TimeLine> {
    const endMs = performance.now();
    await this.close();
    return this.#timeLine(endMs);
  }

  async close(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#callers);
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #call(caller: number): Promise<void> {
    const store = this.#clients[caller % clientCount]?.of(kv);
    const value = 'v'.repeat(valueSizeBytes);
    for (let turn = 0; !this.#isEnding; turn++) {
      const askedAtMs = performance.now();
      try {
        await store?.put({ key: `k${caller}-${turn % 1_000}`, value });
        const atMs = performance.now();
        this.#returned.push({ atMs, tookMs: atMs - askedAtMs });
      } catch {
        this.#failures += 1;
      }
    }
  }

  #timeLine(endMs: number): TimeLine {
    const beganAtMs = this.#beganAtMs;
    const returned = this.#returned.filter(({ atMs }) => atMs < endMs);
    const secondsAt = (atMs: number): number => (atMs - beganAtMs) / 1_000;
    const pieces = Array.from({ length: Math.floor((endMs - beganAtMs) / sampleMs) }, (): number[] => []);
    for (const { atMs, tookMs } of returned) pieces[Math.floor((atMs - beganAtMs) / sampleMs)]?.push(tookMs);
    const { gapMs, atMs: gapAtMs } = longestGap(beganAtMs, returned);
    return {
      callers: this.#callers.length,
      samples: pieces.map((tookMs, index) => ({
        seconds: ((index + 0.5) * sampleMs) / 1_000,
        operationsPerSecond: (tookMs.length * 1_000) / sampleMs,
        ...(tookMs.length === 0 ? {} : { p99Ms: p99Of(tookMs) }),
      })),
      moments: this.#moments.map(({ atMs, name }) => ({ seconds: secondsAt(atMs), name })),
      operations: returned.length,
      failures: this.#failures,
      longestGapMs: gapMs,
      longestGapAtSeconds: secondsAt(gapAtMs),
      longestMs: returned.reduce((longest, { tookMs }) => Math.max(longest, tookMs), 0),
    };
  }
}

function longestGap(
  beganAtMs: number,
  returned: readonly { readonly atMs: number }[],
): { readonly gapMs: number; readonly atMs: number } {
  let longest = { gapMs: 0, atMs: beganAtMs };
  let lastMs = beganAtMs;
  for (const { atMs } of returned) {
    if (atMs - lastMs > longest.gapMs) longest = { gapMs: atMs - lastMs, atMs: lastMs };
    lastMs = atMs;
  }
  return longest;
}

function p99Of(tookMs: number[]): number {
  const sorted = tookMs.sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? Number.NaN;
}

/** Operations/s between two moments; to the end without a second. */
export function meanPerSecond(
  { samples }: TimeLine,
  fromSeconds: number,
  toSeconds = Number.POSITIVE_INFINITY,
): number {
  const within = samples.filter(({ seconds }) => seconds >= fromSeconds && seconds < toSeconds);
  return within.reduce((sum, { operationsPerSecond }) => sum + operationsPerSecond, 0) / Math.max(1, within.length);
}

export function plotTimeLine({ callers, samples, moments }: TimeLine): string {
  return linePlot({
    title: 'From epoch to epoch, and a replica that is made clean',
    subtitle: `4 replicas and ${callers} callers that follow them, on one machine; samples of ${sampleMs} ms`,
    xLabel: 'seconds',
    marks: moments.map(({ seconds, name }) => ({ x: seconds, name })),
    panels: [
      {
        yLabel: 'operations/s',
        lines: [
          { name: 'throughput', points: samples.map((each) => [each.seconds, each.operationsPerSecond] as const) },
        ],
      },
      {
        yLabel: 'milliseconds',
        lines: [
          {
            name: '99th percentile',
            points: samples.flatMap(({ seconds, p99Ms }) => (p99Ms === undefined ? [] : [[seconds, p99Ms] as const])),
          },
        ],
      },
    ],
  });
}
