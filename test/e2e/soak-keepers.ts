/**
 * Soak keepers: the replicas of a soak when each has a keeper of its own, which starts it again when it was killed and makes it clean in its turn.
 *
 * A replica that is to stay away is killed while its keeper is frozen: that starts it when it goes on.
 */
import { KeptCluster } from './kept-cluster.ts';
import type { SoakCluster } from './soak-troubles.ts';

export class SoakKeepers implements SoakCluster {
  readonly #kept: KeptCluster;

  constructor(kept: KeptCluster) {
    this.#kept = kept;
  }

  /** Makes a cluster, and starts all keepers. */
  static async start(options: Parameters<typeof KeptCluster.create>[0]): Promise<SoakKeepers> {
    const kept = await KeptCluster.create(options);
    for (let index = 0; index < kept.size; index++) kept.keep(index);
    return new SoakKeepers(kept);
  }

  /** How often replicas were made clean. */
  get cleanStarts(): number {
    let count = 0;
    for (let index = 0; index < this.#kept.size; index++) {
      count += this.#kept.starts(index).filter(({ isClean }) => isClean).length;
    }
    return count;
  }

  genesis(): Promise<string> {
    return this.#kept.genesis();
  }

  urlOf(index: number): Promise<string> {
    return this.#kept.urlOf(index);
  }

  homeOf(index: number): string {
    return this.#kept.homeOf(index);
  }

  pidOf(index: number): number {
    const pid = this.#kept.pidOf(index);
    return pid !== 0 && signal(pid, 0) ? pid : 0;
  }

  async kill(index: number): Promise<void> {
    signal(this.#kept.pidOfKeeper(index), 'SIGSTOP');
    signal(this.#kept.pidOf(index), 'SIGKILL');
  }

  restart(index: number): void {
    signal(this.#kept.pidOfKeeper(index), 'SIGCONT');
  }

  freeze(index: number): void {
    signal(this.#kept.pidOfKeeper(index), 'SIGSTOP');
    signal(this.#kept.pidOf(index), 'SIGSTOP');
  }

  thaw(index: number): void {
    signal(this.#kept.pidOf(index), 'SIGCONT');
    signal(this.#kept.pidOfKeeper(index), 'SIGCONT');
  }

  destroy(): Promise<void> {
    return this.#kept.destroy();
  }
}

/** False: there is no such process any more. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return pid > 0 && process.kill(pid, name);
  } catch {
    return false;
  }
}
