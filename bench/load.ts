/**
 * Load: closed-loop callers that put values, each the next as soon as it has the result of the one before.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { askStatus, type Client, connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';

export interface LoadOptions {
  readonly callers: number;
  /** All callers on one client, or each on a client of its own with its own key. */
  readonly identities: 'shared' | 'separate';
  readonly valueSizeBytes: number;
  /** What counts as the end of a call: a result that replicas report alike, or one with a proof. */
  readonly reply: 'quick' | 'certified';
  readonly seconds: number;
}

export interface LoadResult {
  readonly operations: number;
  readonly failures: number;
  /** Operations completed in each quarter of a second. */
  readonly quarters: readonly number[];
  percentileMs(percent: number): number;
}

/** Time the callers run before anything is counted. */
const warmUpMs = 1_500;

export async function runLoad(
  clusterDirectory: string,
  options: LoadOptions,
  { onMeasuring }: { readonly onMeasuring: () => void },
): Promise<LoadResult> {
  const genesis = await readFile(join(clusterDirectory, 'genesis.json'), 'utf8');
  const serviceKey = options.reply === 'quick' ? undefined : await serviceKeyOf(genesis);
  const clientCount = options.identities === 'shared' ? 1 : options.callers;
  const clients: Client[] = [];
  for (let i = 0; i < clientCount; i++) clients.push(await connect({ genesis, serviceKey, deadlineMs: 30_000 }));
  const value = 'v'.repeat(options.valueSizeBytes);
  const latencies: number[] = [];
  const quarters: number[] = Array.from({ length: options.seconds * 4 }, () => 0);
  let failures = 0;
  const startMs = performance.now() + warmUpMs;
  const endMs = startMs + options.seconds * 1_000;
  const call = async (caller: number): Promise<void> => {
    const client = clients[caller % clients.length];
    const store = options.reply === 'quick' ? client?.of(kv) : client?.certified(kv);
    for (let turn = 0; ; turn++) {
      const beganMs = performance.now();
      if (beganMs >= endMs) return;
      try {
        await store?.put({ key: `k${caller}-${turn % 1_000}`, value });
        const nowMs = performance.now();
        if (nowMs < startMs || nowMs >= endMs) continue;
        latencies.push(nowMs - beganMs);
        const quarter = Math.floor((nowMs - startMs) / 250);
        quarters[quarter] = (quarters[quarter] ?? 0) + 1;
      } catch {
        failures += 1;
      }
    }
  };
  const measuring = setTimeout(onMeasuring, warmUpMs);
  await Promise.all(Array.from({ length: options.callers }, (_, caller) => call(caller)));
  clearTimeout(measuring);
  await Promise.all(clients.map((client) => client.close()));
  const sorted = Float64Array.from(latencies).sort();
  return {
    operations: latencies.length,
    failures,
    quarters,
    percentileMs: (percent) =>
      sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN,
  };
}

/** The service key, as one replica of a benchmark's own cluster says it, when there is one. */
export async function serviceKeyOf(genesis: string, replicaIndex = 0): Promise<string> {
  for (;;) {
    const status = (await askStatus({ genesis, replicaIndex, deadlineMs: 5_000 })) as { readonly serviceKey?: string };
    if (typeof status.serviceKey === 'string') return status.serviceKey;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
