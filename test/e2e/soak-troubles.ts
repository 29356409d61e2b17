/**
 * Soak troubles: what befalls the correct replicas of a soak: they are killed, stay away or sleep while the others go on to other epochs, and are
 * made clean in turn, as their keepers would do it.
 *
 * Never more at once than may fail: whoever was in trouble counts as faulty until it takes part again, with its share of the key. Who does not come
 * back is a violation.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessCluster } from '../../bench/process-cluster.ts';
import type { Prng } from '../../simulator/prng.ts';
import { doHomeWork } from '../../src/keeper/home-work.ts';
import { systemFiles } from '../../src/platform/files.ts';
import type { ReplicaStatus } from '../../src/replica/replica-status.ts';
import { readEpochRecord } from '../../src/storage/epoch-files.ts';
import { awaited, epochReportOf, type SoakWatch } from './soak-watch.ts';

const kinds = ['killed', 'away', 'asleep', 'cleaned'] as const;
export type Trouble = (typeof kinds)[number];

const backWithinMs = 120_000;
const lookAgainMs = 100;

/** The replicas of a soak, whoever starts them. */
export type SoakCluster = Pick<
  ProcessCluster,
  'genesis' | 'urlOf' | 'homeOf' | 'pidOf' | 'kill' | 'restart' | 'freeze' | 'thaw' | 'destroy'
>;

export interface SoakTroublesOptions {
  readonly cluster: SoakCluster;
  readonly watch: SoakWatch;
  readonly prng: Prng;
  readonly serviceKey: string;
  /** Indexes of the replicas that do not lie. */
  readonly correct: readonly number[];
  /** In trouble of any kind at the same time. */
  readonly atOnce: number;
  /** Who makes replicas clean: their keepers; or we do, so many at the same time besides. 0: that is trouble like any other. */
  readonly recoveries: number | 'by-keepers';
  readonly say: (line: string) => void;
}

export class SoakTroubles {
  readonly counts: Record<Trouble, number> = { killed: 0, away: 0, asleep: 0, cleaned: 0 };
  readonly #options: SoakTroublesOptions;
  readonly #inTrouble = new Set<number>();
  readonly #workers: Promise<void>[];
  #isEnding = false;

  constructor(options: SoakTroublesOptions) {
    this.#options = options;
    const { atOnce, recoveries, correct } = options;
    const besides = kinds.filter((kind) => kind !== 'cleaned');
    const ours = recoveries === 'by-keepers' ? 0 : recoveries;
    const choices = recoveries === 0 ? kinds : besides;
    this.#workers = [
      ...Array.from({ length: Math.min(atOnce, correct.length) }, () => this.#work(choices)),
      ...Array.from({ length: ours }, () => this.#work(['cleaned'])),
    ];
  }

  isInTrouble(index: number): boolean {
    return this.#inTrouble.has(index);
  }

  /** Resolves when whoever was in trouble is back. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#workers);
  }

  async #work(choices: readonly Trouble[]): Promise<void> {
    const { prng, watch, say, cluster } = this.#options;
    while (!this.#isEnding) {
      await sleep(prng.between(200, 1_500));
      const kind = prng.pick(choices);
      const index = await (kind === 'cleaned' ? this.#nextTurn() : this.#anyone());
      if (index === undefined) continue;
      const from = watch.epoch;
      try {
        const happened = await this.#cause(kind, index);
        const overAtMs = performance.now();
        const back = await this.#back(index);
        if (back === undefined) await this.#violation(kind, index);
        this.counts[happened] += 1;
        const seconds = ((performance.now() - overAtMs) / 1_000).toFixed(1);
        say(`r${index} ${happened}, epoch ${from} to ${back?.epoch ?? '?'}, takes part again after ${seconds} s`);
      } catch (error) {
        watch.violations.push(
          `r${index} could not be ${kind}: ${error instanceof Error ? error.message : String(error)}`,
        );
        if (cluster.pidOf(index) === 0) cluster.restart(index);
      } finally {
        this.#inTrouble.delete(index);
      }
    }
  }

  async #anyone(): Promise<number | undefined> {
    const { correct, prng } = this.#options;
    const others = correct.filter((index) => !this.#inTrouble.has(index));
    if (others.length === 0) return undefined;
    const index = prng.pick(others);
    this.#inTrouble.add(index);
    return index;
  }

  /** Who will be made clean at the end of an epoch that has just begun; undefined when that is nobody that can be. */
  async #nextTurn(): Promise<number | undefined> {
    const { watch, correct } = this.#options;
    await this.#epochAfter(watch.epoch);
    const report = epochReportOf(await this.#askAnother(undefined));
    if (report === undefined || report.phase !== 'steady') return undefined;
    const { k, replicas } = report.membership;
    const turns = Math.max(1, k);
    for (let i = 0; i < turns; i++) {
      const index = (report.epoch * turns + i) % replicas.length;
      if (!correct.includes(index) || this.#inTrouble.has(index)) continue;
      this.#inTrouble.add(index);
      return index;
    }
    return undefined;
  }

  /** What has happened in the end. */
  async #cause(kind: Trouble, index: number): Promise<Trouble> {
    const { cluster, prng, watch } = this.#options;
    switch (kind) {
      case 'killed':
        await cluster.kill(index);
        await sleep(prng.below(500));
        cluster.restart(index);
        return kind;
      case 'away':
        await cluster.kill(index);
        await this.#epochAfter(watch.epoch + prng.below(2));
        cluster.restart(index);
        return kind;
      case 'asleep':
        cluster.freeze(index);
        try {
          await this.#epochAfter(watch.epoch + prng.below(2));
        } finally {
          cluster.thaw(index);
        }
        return kind;
      case 'cleaned':
        return this.#clean(index);
    }
  }

  /**
   * Only when its home is in the epoch of the others, and that does not end yet: keys that it has named for a later one are thrown away
   * by a clean start, since whoever had the process knows them, and one that recovers by awareness can then not come back by itself.
   */
  async #clean(index: number): Promise<Trouble> {
    const { cluster, serviceKey } = this.#options;
    const home = cluster.homeOf(index);
    await cluster.kill(index);
    const report = epochReportOf(await this.#askAnother(index));
    const own = (await readEpochRecord(systemFiles, home))?.statement.epoch ?? 0;
    if (report?.phase !== 'steady' || own !== report.epoch) {
      cluster.restart(index);
      return 'killed';
    }
    await doHomeWork({ home, look: false, putBack: null, serviceKey, clean: true });
    cluster.restart(index, { more: ['--clean'] });
    return 'cleaned';
  }

  /** Resolves when a later epoch than this one has begun for some correct replica, or the soak ends. */
  async #epochAfter(epoch: number): Promise<void> {
    while (!this.#isEnding && this.#options.watch.epoch <= epoch) {
      await this.#askAnother(undefined);
      await sleep(lookAgainMs);
    }
  }

  /** The newest status of those that are not in trouble. */
  async #askAnother(index: number | undefined): Promise<ReplicaStatus | undefined> {
    const { correct, watch } = this.#options;
    const others = correct.filter((each) => each !== index && !this.#inTrouble.has(each));
    const statuses = await Promise.all(others.map((each) => watch.ask(each)));
    let newest: ReplicaStatus | undefined;
    for (const status of statuses) {
      if (status !== undefined && status.commitIndex > (newest?.commitIndex ?? -1)) newest = status;
    }
    return newest;
  }

  async #back(index: number): Promise<ReplicaStatus | undefined> {
    const { watch } = this.#options;
    const { epoch = 0, commitIndex = 0 } = (await this.#askAnother(index)) ?? {};
    return awaited(
      () => watch.ask(index),
      (status) =>
        status.phase === 'running' &&
        status.epoch >= epoch &&
        status.commitIndex >= commitIndex &&
        !status.observer &&
        status.keyState === 'ready',
      backWithinMs,
    );
  }

  async #violation(kind: Trouble, index: number): Promise<void> {
    const { cluster, watch } = this.#options;
    const status = await watch.ask(index);
    const isDown = cluster.pidOf(index) === 0;
    const others = await this.#askAnother(index);
    watch.violations.push(
      `r${index} was ${kind} and has not come back${isDown ? ': its process has ended' : ''}: ${JSON.stringify(status)}; the others: ${JSON.stringify(others)}`,
    );
    if (isDown) cluster.restart(index);
  }
}
