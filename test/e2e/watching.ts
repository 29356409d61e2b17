/**
 * Watching: what the replicas of a real cluster say of themselves, and waiting until they say what is wanted.
 *
 * Waiting is always for a condition, with a generous deadline: these tests share a small machine with others.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { askStatus, connect } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { verifyCertifiedState } from 'coterie/verify';
import type { ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';

/** Resolves with the first answer that is not undefined; rejects with `what` when there is none in time. */
export async function until<T>(what: string, ask: () => Promise<T | undefined>, withinMs = 50_000): Promise<T> {
  for (const endMs = performance.now() + withinMs; ; await sleep(50)) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > endMs) throw new Error(`in vain: ${what}`);
  }
}

/** The status of one replica, or undefined when it does not answer. */
export async function statusOf(cluster: ProcessCluster, replicaIndex: number): Promise<ReplicaStatus | undefined> {
  try {
    const status = await askStatus({ genesis: await cluster.genesis(), replicaIndex, deadlineMs: 2_000 });
    return status as unknown as ReplicaStatus;
  } catch {
    return undefined;
  }
}

/** The service key, when all these replicas report one; rejects when two report different ones. */
export async function serviceKeyOf(
  cluster: ProcessCluster,
  replicas: readonly number[] = [...Array(cluster.size).keys()],
): Promise<string> {
  return until('every replica has the service key', async () => {
    const statuses = await Promise.all(replicas.map((index) => statusOf(cluster, index)));
    const keys = statuses.map((status) => status?.serviceKey);
    const known = new Set(keys.filter((key) => key !== undefined));
    if (known.size > 1) throw new Error(`different service keys: ${[...known].join(', ')}`);
    return keys.includes(undefined) ? undefined : keys[0];
  });
}

/** How often something was counted under a name that matches. */
export function counted(status: ReplicaStatus, name: RegExp): number {
  let total = 0;
  for (const [each, count] of Object.entries(status.counters)) if (name.test(each)) total += count;
  return total;
}

/**
 * Waits until these replicas are at one commit index, with the same state root; there are small writes meanwhile,
 * since an idle cluster need not bring everybody up to date. Rejects when two ever show different states at one index.
 */
export async function converge(
  cluster: ProcessCluster,
  replicas: readonly number[] = [...Array(cluster.size).keys()],
): Promise<readonly ReplicaStatus[]> {
  const client = await connect({ genesis: await cluster.genesis(), deadlineMs: 60_000 });
  const digests = new Map<number, string>();
  let last: readonly (ReplicaStatus | undefined)[] = [];
  let turn = 0;
  try {
    return await until('the replicas come to the same state', async () => {
      if (turn++ % 8 === 0) await client.of(kv).put({ key: 'nudge', value: String(turn) });
      last = await Promise.all(replicas.map((index) => statusOf(cluster, index)));
      const present = last.filter((status): status is ReplicaStatus => status !== undefined);
      for (const { commitIndex, stateRoot, replicaId } of present) {
        const known = digests.get(commitIndex);
        if (known !== undefined && known !== stateRoot) throw new Error(`${replicaId} has another state`);
        digests.set(commitIndex, stateRoot);
      }
      const [first] = present;
      const isSame = present.every(({ commitIndex }) => commitIndex === first?.commitIndex);
      return isSame && present.length === replicas.length ? present : undefined;
    });
  } catch (error) {
    const seen = last.map((status) => (status === undefined ? 'no answer' : JSON.stringify(status))).join('\n');
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${seen}`);
  } finally {
    await client.close();
  }
}

/** The most resident memory a process ever had, from the kernel. */
export async function peakResidentBytes(pid: number): Promise<number> {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Whether a home is marked as one whose log was lost. */
export async function isMarkedLost(home: string): Promise<boolean> {
  return (await readdir(home)).includes('log-lost');
}

/** A line of a replica's log. */
export interface Line {
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Starts a replica whose stderr is kept; what it logs from now on. */
export async function restarted(cluster: ProcessCluster, index: number): Promise<() => Promise<readonly Line[]>> {
  const { length } = await cluster.saidBy(index);
  cluster.restart(index);
  return async () => {
    const said = (await cluster.saidBy(index)).slice(length).split('\n');
    const lines = said.filter((line) => line.startsWith('{') && line.endsWith('}'));
    return lines.map((line) => JSON.parse(line) as Line);
  };
}

/** Resolves when a replica runs and has executed all that the others had when this was called. */
export async function caughtUp(cluster: ProcessCluster, index: number): Promise<ReplicaStatus> {
  const others = [...Array(cluster.size).keys()].filter((each) => each !== index);
  const statuses = await Promise.all(others.map((each) => statusOf(cluster, each)));
  const target = Math.max(...statuses.map((status) => status?.commitIndex ?? 0));
  return until(`r${index} gets to commit ${target}`, async () => {
    const status = await statusOf(cluster, index);
    return status?.phase === 'running' && status.commitIndex >= target ? status : undefined;
  });
}

/** A key's value as one replica proves it: so it holds, whatever that replica is. Undefined when it gives no answer. */
export async function askProven(
  cluster: ProcessCluster,
  { index, key, serviceKey }: { readonly index: number; readonly key: string; readonly serviceKey: string },
): Promise<unknown> {
  let document: unknown;
  try {
    const response = await fetch(`${await cluster.urlOf(index)}/v1/state?key=${encodeURIComponent(key)}`);
    if (response.status !== 200) return undefined;
    document = await response.json();
  } catch {
    return undefined;
  }
  const verdict = verifyCertifiedState(document, serviceKey);
  if (!verdict.ok || verdict.state.key !== key) throw new Error(`r${index} lies about ${key}`);
  return verdict.state.value ?? null;
}
