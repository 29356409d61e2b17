/**
 * Agreement: every correct replica makes the same commits at the same agreed times, which never fall, takes the same checkpoints, and has
 * the same state after the same commit, in this life and in every later one.
 *
 * The first replica to reach an index says what is right; whoever differs, that one included after a restart, is named.
 */
import type { Digest } from '../../src/crypto/hash.ts';
import type { Commit } from '../../src/ordering/commit.ts';
import type { Report } from './violation.ts';

interface Told {
  readonly replica: number;
  readonly digest: Digest;
}

export class AgreementChecker {
  readonly #report: Report;
  readonly #commits = new Map<number, Told>();
  readonly #times = new Map<number, number>();
  readonly #states = new Map<number, Told>();
  readonly #checkpoints = new Map<number, Told>();
  readonly #lastIndexes = new Map<number, number>();

  constructor(report: Report) {
    this.#report = report;
  }

  get highestIndex(): number {
    return this.#commits.size;
  }

  /** A correct replica made this commit after the one before. */
  committed(replica: number, { index, digest, timestamp }: Pick<Commit, 'index' | 'digest' | 'timestamp'>): void {
    const expected = (this.#lastIndexes.get(replica) ?? 0) + 1;
    if (index !== expected) {
      this.#report('agreement', `r${replica} made commit ${index}, the next one is ${expected}`);
    }
    this.#lastIndexes.set(replica, index);
    this.#same(this.#commits, 'agreement', 'commit', { replica, index, digest });
    const first = this.#times.get(index);
    if (first === undefined) this.#times.set(index, timestamp);
    else if (first !== timestamp) {
      this.#report('agreement', `commit ${index} happened at ${first}, for r${replica} at ${timestamp}`);
    }
    if (timestamp < (this.#times.get(index - 1) ?? 0)) this.#report('agreement', `the time falls with commit ${index}`);
  }

  /** A correct replica has this state after this commit. */
  stateAt(replica: number, index: number, digest: Digest): void {
    this.#same(this.#states, 'state', 'state after commit', { replica, index, digest });
  }

  /** A correct replica took this checkpoint at this commit. */
  checkpointAt(replica: number, index: number, digest: Digest): void {
    this.#same(this.#checkpoints, 'checkpoint', 'checkpoint at commit', { replica, index, digest });
  }

  /** Did a correct replica take just this checkpoint? */
  hasCheckpoint(index: number, digest: Digest): boolean {
    return this.#checkpoints.get(index)?.digest === digest;
  }

  /** A correct replica is back and its log takes it to this commit. */
  restored(replica: number, index: number): void {
    this.#lastIndexes.set(replica, index);
  }

  #same(
    told: Map<number, Told>,
    checker: 'agreement' | 'state' | 'checkpoint',
    what: string,
    now: { readonly replica: number; readonly index: number; readonly digest: Digest },
  ): void {
    const first = told.get(now.index);
    if (first === undefined) told.set(now.index, { replica: now.replica, digest: now.digest });
    else if (first.digest !== now.digest) {
      const said = `r${first.replica} has ${first.digest.slice(0, 12)}, r${now.replica} has ${now.digest.slice(0, 12)}`;
      this.#report(checker, `${what} ${now.index}: ${said}`);
    }
  }
}
