/**
 * Resharing cluster: the change from one epoch's sharing to the next in memory, under the same unhelpful sequencer as
 * `key-cluster.ts`: first the commits of the old DAG, in which the old replicas are authors, until the new sharing is widely
 * held; then those of the new DAG, until nobody owes anything.
 *
 * Only tests use it.
 */
import { plainCurve } from '../../../simulator/plain-curve.ts';
import { type SimulatedSecrets, simulatedSecrets } from '../../../simulator/session-secrets.ts';
import type { PairingCurve } from '../../crypto/curve.ts';
import { encryptionKeyOf } from '../../crypto/verifiable-sharing.ts';
import type { Commit } from '../../ordering/commit.ts';
import { below, type Random, seeded, shuffled } from '../../ordering/testing/random-dag.ts';
import type { Duty } from '../../wire/block.ts';
import type { Judge } from '../qualification.ts';
import { Resharing } from '../resharing.ts';
import { type SharingSource, type SharingTarget, sourceOf } from '../sharing-source.ts';
import type { TakenKeyDuty } from '../taken-duties.ts';
import type { Transcript } from '../transcript.ts';
import { commitOf, isSame, KeyCluster, type Posted, type Size } from './key-cluster.ts';

/** A sharing and everybody's part of it. */
export interface Held {
  readonly source: SharingSource;
  /** By replica id. */
  readonly shares: ReadonlyMap<string, bigint>;
}

/** The sharing that key generation makes; its holders are r0, r1, … */
export function generated(size: Size, { curve = plainCurve, seed = 1 } = {}): Held {
  const { machines, membership } = new KeyCluster({ size, curve, seed }).run();
  const source = sourceOf(membership, machines[0]?.transcript as Transcript);
  return { source, shares: new Map(machines.map(({ keyShare }, i) => [`r${i}`, keyShare as bigint])) };
}

/** r0 to r(n-1). */
export const idsUpTo = (n: number): readonly string[] => Array.from({ length: n }, (_, i) => `r${i}`);

/** What a replica has in an epoch. */
export function secretsIn(epoch: number, replicaId: string): SimulatedSecrets {
  return simulatedSecrets(1_000 * epoch + Number(replicaId.slice(1)));
}

/** What a faulty replica sees before each commit. */
export interface ResharingView {
  readonly cluster: ResharingCluster;
  readonly replicaId: string;
  /** What a correct replica in its place would post now. */
  readonly owed: readonly Duty[];
  readonly committed: readonly Posted[];
  readonly random: Random;
  readonly hasEntered: boolean;
}

export type FaultyResharer = (view: ResharingView) => readonly Duty[];

export interface ResharingClusterOptions {
  readonly from: Held;
  readonly to: { readonly replicaIds: readonly string[]; readonly f: number; readonly k: number };
  readonly seed?: number;
  readonly curve?: PairingCurve;
  readonly faulty?: ReadonlyMap<string, FaultyResharer>;
  /** Replicas that say nothing before the change: they are being made clean. */
  readonly away?: readonly string[];
  /** Duties that the sequencer holds back before the change, as long as anything else is to be had. */
  readonly isHeldBack?: (posted: Posted) => boolean;
  readonly afterCommit?: (cluster: ResharingCluster) => void;
}

const commitsMax = 600;

export class ResharingCluster {
  readonly curve: PairingCurve;
  readonly source: SharingSource;
  readonly target: SharingTarget;
  readonly faulty: ReadonlyMap<string, FaultyResharer>;
  readonly machines = new Map<string, Resharing>();
  readonly commits: Commit[] = [];
  /** Of these the commits of the old DAG. */
  commitsBefore = 0;
  hasEntered = false;
  /** Whom correct replicas have evidence against, and what for: `id rule`. */
  readonly evidence = new Set<string>();
  readonly from: Held;
  readonly #options: ResharingClusterOptions;
  readonly #random: Random;
  readonly #committed: Posted[] = [];
  readonly #said = new Set<string>();
  readonly #verdicts = new Map<string, boolean>();
  #waiting: Posted[] = [];

  constructor(options: ResharingClusterOptions) {
    const { from, to, seed = 1, curve = plainCurve, faulty = new Map() } = options;
    this.#options = options;
    this.#random = seeded(seed);
    this.curve = curve;
    this.faulty = faulty;
    this.from = from;
    this.source = from.source;
    const { serviceId } = from.source.transcript;
    const epoch = from.source.transcript.epoch + 1;
    const replicas = to.replicaIds.map((replicaId) => {
      const key = encryptionKeyOf(curve, secretsIn(epoch, replicaId).decryptionKey);
      return { replicaId, encryptionKey: Buffer.from(curve.g1.encode(key)).toString('hex') };
    });
    this.target = { serviceId, epoch, f: to.f, k: to.k, replicas };
    for (const id of new Set([...this.dealers, ...this.holders])) this.machines.set(id, this.#machine(id));
  }

  get dealers(): readonly string[] {
    return this.source.replicaIds;
  }

  get holders(): readonly string[] {
    return this.target.replicas.map(({ replicaId }) => replicaId);
  }

  /** Who may post now, in the order of their indexes. */
  get authors(): readonly string[] {
    return this.hasEntered ? this.holders : this.dealers;
  }

  get correctHolders(): readonly string[] {
    return this.holders.filter((id) => !this.faulty.has(id));
  }

  machine(replicaId: string): Resharing {
    return this.machines.get(replicaId) as Resharing;
  }

  /** The machines of all that are correct, those too that leave. */
  get correctMachines(): readonly Resharing[] {
    return [...this.machines].filter(([id]) => !this.faulty.has(id)).map(([, machine]) => machine);
  }

  /** To the end of the old DAG. Throws when that does not come. */
  runBefore(): this {
    for (;;) {
      const isReady = this.correctMachines[0]?.isWidelyHeld === true;
      if (isReady) break;
      if (!this.#step()) throw new Error('resharing falls silent before it is widely held');
    }
    this.commitsBefore = this.commits.length;
    return this;
  }

  /** Begins the new DAG: what is in no commit is lost, and who leaves is gone. */
  enter(): this {
    this.hasEntered = true;
    this.#waiting = [];
    for (const machine of this.machines.values()) machine.enter();
    for (const id of this.machines.keys()) if (!this.holders.includes(id)) this.machines.delete(id);
    return this;
  }

  runAfter(): this {
    while (this.#step());
    return this;
  }

  run(): this {
    return this.runBefore().enter().runAfter();
  }

  /** What has come of it. */
  get held(): Held {
    const first = this.machine(this.correctHolders[0] as string);
    const source = {
      replicaIds: this.holders,
      k: this.target.k,
      transcript: first.transcript as Transcript,
    };
    const shares = this.holders.map((id): [string, bigint] => [id, this.machine(id).keyShare as bigint]);
    return { source, shares: new Map(shares) };
  }

  /** A replica that knows its secrets and the commits so far, as after a crash. */
  restarted(replicaId: string): Resharing {
    const machine = this.#machine(replicaId, [], false);
    for (const [i, commit] of this.commits.entries()) {
      if (this.hasEntered && i === this.commitsBefore) machine.enter();
      machine.committed(commit);
    }
    if (this.hasEntered) machine.enter();
    return machine;
  }

  /** A replica that knows its secrets, and of the commits so far what another one took of them. */
  goneOn(replicaId: string, history: readonly TakenKeyDuty[]): Resharing {
    return this.#machine(replicaId, history);
  }

  #machine(replicaId: string, history: readonly TakenKeyDuty[] = [], hasEntered: boolean = this.hasEntered): Resharing {
    const { curve, source, target } = this;
    const isHolder = this.holders.includes(replicaId);
    const { seed } = secretsIn(source.transcript.epoch, replicaId);
    return new Resharing({
      curve,
      source,
      target,
      replicaId,
      dealing: { share: () => this.#options.from.shares.get(replicaId), seed },
      decryptionKey: isHolder ? secretsIn(target.epoch, replicaId).decryptionKey : undefined,
      judge: this.#judge,
      history,
      hasEntered,
    });
  }

  readonly #judge: Judge = (question, verdict) => {
    const known = this.#verdicts.get(question) ?? verdict();
    this.#verdicts.set(question, known);
    return known;
  };

  /** One commit; false when there is nothing to put into one. */
  #step(): boolean {
    this.#post();
    if (this.#waiting.length === 0) return false;
    if (this.commits.length > commitsMax) throw new Error('resharing does not come to an end');
    const picked = this.#pick();
    if (picked.length === 0) return true;
    const commit = commitOf(this.commits.length + 1, picked);
    this.commits.push(commit);
    this.#committed.push(...picked);
    for (const machine of this.machines.values()) machine.committed(commit);
    for (const machine of this.correctMachines) {
      for (const { author, rule } of machine.takeEvidence()) this.evidence.add(`${this.authors[author ?? -1]} ${rule}`);
    }
    this.#options.afterCommit?.(this);
    return true;
  }

  #post(): void {
    const { away = [] } = this.#options;
    for (const [author, replicaId] of this.authors.entries()) {
      if (!this.hasEntered && away.includes(replicaId)) continue;
      const behaviour = this.faulty.get(replicaId);
      const { owed } = this.machine(replicaId);
      const duties = behaviour === undefined ? owed : this.#faultyDuties(replicaId, owed, behaviour);
      for (const duty of duties) {
        if (!this.#waiting.some((other) => other.author === author && isSame(other.duty, duty))) {
          this.#waiting.push({ author, duty });
        }
      }
    }
  }

  /** What a faulty replica said once it does not say again, so that a run ends. */
  #faultyDuties(replicaId: string, owed: readonly Duty[], behaviour: FaultyResharer): readonly Duty[] {
    const { hasEntered } = this;
    const view = { cluster: this, replicaId, owed, committed: this.#committed, random: this.#random, hasEntered };
    return behaviour(view).filter((duty) => {
      const said = `${replicaId} ${duty.kind} ${Buffer.from(duty.payload).toString('hex')}`;
      if (this.#said.has(said)) return false;
      this.#said.add(said);
      return true;
    });
  }

  #pick(): readonly Posted[] {
    const { isHeldBack = () => false } = this.#options;
    const free = this.#waiting.filter((posted) => this.hasEntered || !isHeldBack(posted));
    const candidates = shuffled(this.#random, free.length > 0 ? free : this.#waiting);
    const picked = candidates.slice(0, 1 + below(this.#random, Math.min(6, candidates.length)));
    const mood = this.#random();
    this.#waiting = this.#waiting.filter((posted) => !picked.includes(posted) || this.#random() < 0.05);
    return mood < 0.1 ? [] : picked;
  }
}
