/**
 * Soak watch: what replicas of a real cluster say of themselves over many epochs, and whether that can be.
 *
 * It asks over HTTP, which takes no key of an epoch. Whoever is asked should be correct: nothing that a liar says is looked at.
 * Out: sentences about what must not be. No correct replica is ever diverged, goes back an epoch, has another service key, or another state
 * after the same commit.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'coterie/client';
import type { ProcessCluster } from '../../bench/process-cluster.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import { type EpochReport, readEpochReport } from '../../src/wire/epoch-report.ts';
import { until } from './watching.ts';

/** What the replica says; undefined when it does not answer. */
export async function statusByHttp(
  cluster: Pick<ProcessCluster, 'urlOf'>,
  index: number,
): Promise<ReplicaStatus | undefined> {
  try {
    const response = await fetch(`${await cluster.urlOf(index)}/v1/status`, { signal: AbortSignal.timeout(2_000) });
    return response.ok ? ((await response.json()) as ReplicaStatus) : undefined;
  } catch {
    return undefined;
  }
}

/** Where the epoch stands, as one replica knows it. */
export function epochReportOf(status: ReplicaStatus | undefined): EpochReport | undefined {
  return readEpochReport(status?.epochState);
}

export class SoakWatch {
  readonly violations: string[] = [];
  readonly #cluster: Pick<ProcessCluster, 'urlOf'>;
  readonly #serviceKey: string;
  readonly #roots = new Map<number, { readonly stateRoot: string; readonly replicaId: string }>();
  readonly #last = new Map<number, ReplicaStatus>();

  constructor(cluster: Pick<ProcessCluster, 'urlOf'>, serviceKey: string) {
    this.#cluster = cluster;
    this.#serviceKey = serviceKey;
  }

  /** Asks a correct replica, and looks at what it says. */
  async ask(index: number): Promise<ReplicaStatus | undefined> {
    const status = await statusByHttp(this.#cluster, index);
    if (status !== undefined) this.#judge(index, status);
    return status;
  }

  /** The latest of what each was ever heard to say. */
  get epoch(): number {
    return Math.max(0, ...[...this.#last.values()].map(({ epoch }) => epoch));
  }

  /**
   * Resolves when these replicas have all the same state, certified, in one epoch, and their shares of the key; there are small writes meanwhile, as
   * an idle cluster need not bring everybody up to date. Rejects with what they say when that does not come.
   */
  async agreed(replicas: readonly number[], client: Client): Promise<readonly ReplicaStatus[]> {
    let last: readonly (ReplicaStatus | undefined)[] = [];
    let turn = 0;
    try {
      return await until(
        'the correct replicas come to one certified state',
        async () => {
          if (turn++ % 8 === 0) await client.callCertified('put', { key: 'nudge', value: String(turn) });
          last = await Promise.all(replicas.map((index) => this.ask(index)));
          const present = last.filter((status) => status !== undefined);
          const isWhole = present.every(({ keyState, observer, phase }) => {
            return keyState === 'ready' && !observer && phase === 'running';
          });
          const places = present.map(({ epoch, commitIndex, stateRoot, certifiedCommitIndex }) =>
            [epoch, commitIndex, stateRoot, certifiedCommitIndex].join(),
          );
          return isWhole && present.length === replicas.length && new Set(places).size === 1 ? present : undefined;
        },
        120_000,
      );
    } catch (error) {
      const seen = last.map((status) => (status === undefined ? 'no answer' : JSON.stringify(status))).join('\n');
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${seen}`);
    }
  }

  #judge(index: number, status: ReplicaStatus): void {
    const { replicaId, epoch, commitIndex, stateRoot, diverged, serviceKey } = status;
    const before = this.#last.get(index);
    this.#last.set(index, status);
    if (diverged) this.#report(`${replicaId} says that it has diverged, at commit ${commitIndex}`);
    if (serviceKey !== undefined && serviceKey !== this.#serviceKey)
      this.#report(`${replicaId} has another service key`);
    if (before !== undefined && before.epoch > epoch) {
      this.#report(`${replicaId} went back from epoch ${before.epoch} to epoch ${epoch}`);
    }
    const known = this.#roots.get(commitIndex);
    if (known === undefined) this.#roots.set(commitIndex, { stateRoot, replicaId });
    else if (known.stateRoot !== stateRoot && commitIndex > 0) {
      this.#report(`${replicaId} and ${known.replicaId} have different states after commit ${commitIndex}`);
    }
  }

  #report(sentence: string): void {
    if (!this.violations.includes(sentence)) this.violations.push(sentence);
  }
}

/** Asks again and again until a correct replica says what is wanted; undefined when it does not in time. */
export async function awaited(
  ask: () => Promise<ReplicaStatus | undefined>,
  isWanted: (status: ReplicaStatus) => boolean,
  withinMs: number,
): Promise<ReplicaStatus | undefined> {
  for (const endMs = performance.now() + withinMs; performance.now() < endMs; await sleep(150)) {
    const status = await ask();
    if (status !== undefined && isWanted(status)) return status;
  }
  return undefined;
}
