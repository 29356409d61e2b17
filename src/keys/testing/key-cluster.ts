/**
 * Key cluster: key generation of a whole cluster in memory, under a sequencer that gives all replicas one order of commits
 * and is otherwise as unhelpful as a seed makes it: it delays duties, mixes authors, repeats some and loses others.
 *
 * Stands in for the ordering, of which key generation needs just that. Only tests use it.
 */

import { plainCurve } from '../../../simulator/plain-curve.ts';
import { simulatedSecrets } from '../../../simulator/session-secrets.ts';
import { simulatedMembership } from '../../../simulator/simulated-membership.ts';
import type { PairingCurve } from '../../crypto/curve.ts';
import type { Digest } from '../../crypto/hash.ts';
import { encryptionKeyOf } from '../../crypto/verifiable-sharing.ts';
import { defaultParameters } from '../../membership/genesis.ts';
import type { Membership } from '../../membership/membership.ts';
import type { Commit, VerifiedBlock } from '../../ordering/commit.ts';
import { below, type Random, seeded, shuffled } from '../../ordering/testing/random-dag.ts';
import type { Duty } from '../../wire/block.ts';
import { KeyGeneration } from '../key-generation.ts';
import type { Judge } from '../qualification.ts';
import type { TakenKeyDuty } from '../taken-duties.ts';

export interface Size {
  readonly n: number;
  readonly f: number;
  readonly k: number;
}

export const sizes: readonly Size[] = [
  { n: 4, f: 1, k: 0 },
  { n: 6, f: 1, k: 1 },
  { n: 7, f: 2, k: 0 },
  { n: 10, f: 3, k: 0 },
  { n: 13, f: 4, k: 0 },
];

/** A membership whose members have the keys of `simulatedSecrets`, on any curve. */
export function keyMembership(size: Size, { curve = plainCurve, seed = 1, epoch = 0 } = {}): Membership {
  const membership = simulatedMembership(size, defaultParameters, seed);
  const members = membership.members.map((member, index) => {
    const key = encryptionKeyOf(curve, simulatedSecrets(index).decryptionKey);
    return { ...member, encryptionKey: Buffer.from(curve.g1.encode(key)).toString('hex') };
  });
  return { ...membership, members, epoch };
}

/** One author's duties in a commit. */
export interface Posted {
  readonly author: number;
  readonly duty: Duty;
}

/** A commit with one block for each duty, in this order. */
export function commitOf(index: number, posted: readonly Posted[]): Commit {
  const digest = index.toString(16).padStart(64, '0') as Digest;
  const blocks = posted.map(
    ({ author, duty }, position): VerifiedBlock => ({
      epoch: 0,
      round: index,
      author,
      timestamp: 0,
      parents: [],
      requests: [],
      duties: [duty],
      digest: position.toString(16).padStart(64, '0') as Digest,
      signature: new Uint8Array(64),
      bytes: new Uint8Array(0),
      verified: true,
      decodedRequests: [],
    }),
  );
  return { index, leader: { round: index, author: 0, digest }, blocks, timestamp: 0, digest };
}

/** What a faulty replica sees before each commit. */
export interface View {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  readonly self: number;
  /** What a correct replica in its place would post now. */
  readonly owed: readonly Duty[];
  /** A correct replica in its place, to look into. */
  readonly machine: KeyGeneration;
  readonly committed: readonly Posted[];
  readonly random: Random;
}

/** What a faulty replica posts now; what it posted and what is in no commit yet may be posted again. */
export type Faulty = (view: View) => readonly Duty[];

export interface ClusterOptions {
  readonly size: Size;
  readonly seed?: number;
  readonly curve?: PairingCurve;
  readonly faulty?: ReadonlyMap<number, Faulty>;
  /** Duties that the sequencer holds back until there is a transcript, as long as anything else is to be had. */
  readonly isHeldBack?: (posted: Posted) => boolean;
  /** 6 unless said otherwise. */
  readonly dutiesPerCommitMax?: number;
  /** Called after each commit; `restart` replaces a replica by one that was given the commits again. */
  readonly afterCommit?: (cluster: KeyCluster) => void;
}

const commitsMax = 500;

export class KeyCluster {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  readonly faulty: ReadonlyMap<number, Faulty>;
  readonly machines: KeyGeneration[];
  readonly commits: Commit[] = [];
  readonly #options: ClusterOptions;
  readonly #random: Random;
  readonly #committed: Posted[] = [];
  readonly #said = new Set<string>();
  readonly #verdicts = new Map<string, boolean>();
  #waiting: Posted[] = [];

  constructor(options: ClusterOptions) {
    const { size, seed = 1, curve = plainCurve, faulty = new Map() } = options;
    this.#options = options;
    this.#random = seeded(seed);
    this.curve = curve;
    this.faulty = faulty;
    this.membership = keyMembership(size, { curve, seed });
    this.machines = this.membership.members.map((_, self) => this.#machine(self));
  }

  get correct(): readonly number[] {
    return this.machines.map((_, index) => index).filter((index) => !this.faulty.has(index));
  }

  get correctMachines(): readonly KeyGeneration[] {
    return this.correct.map((index) => this.machines[index] as KeyGeneration);
  }

  /** Runs until no correct replica owes anything and nothing waits. Throws when that takes for ever. */
  run(): this {
    for (;;) {
      this.#post();
      if (this.#waiting.length === 0) return this;
      if (this.commits.length > commitsMax) throw new Error('key generation does not fall silent');
      const picked = this.#pick();
      if (picked.length === 0) continue;
      const commit = commitOf(this.commits.length + 1, picked);
      this.commits.push(commit);
      this.#committed.push(...picked);
      for (const machine of this.machines) machine.committed(commit);
      this.#options.afterCommit?.(this);
    }
  }

  /** A replica that knows its secrets and the commits so far, as after a crash. */
  restarted(self: number): KeyGeneration {
    const machine = this.#machine(self);
    for (const commit of this.commits) machine.committed(commit);
    return machine;
  }

  /** A replica that knows its secrets, and of the commits so far what another one took of them. */
  goneOn(self: number, history: readonly TakenKeyDuty[]): KeyGeneration {
    return this.#machine(self, history);
  }

  #machine(self: number, history: readonly TakenKeyDuty[] = []): KeyGeneration {
    const { curve, membership } = this;
    const judge = this.#judge;
    return new KeyGeneration({ curve, membership, self, secrets: simulatedSecrets(self), judge, history });
  }

  readonly #judge: Judge = (question, verdict) => {
    const known = this.#verdicts.get(question) ?? verdict();
    this.#verdicts.set(question, known);
    return known;
  };

  /** Everybody puts what it owes into the sequencer's hands, unless it is there already. */
  #post(): void {
    for (const [self, machine] of this.machines.entries()) {
      const faulty = this.faulty.get(self);
      const duties = faulty === undefined ? machine.owed : this.#faultyDuties(self, machine, faulty);
      for (const duty of duties) {
        if (!this.#waiting.some((other) => other.author === self && isSame(other.duty, duty))) {
          this.#waiting.push({ author: self, duty });
        }
      }
    }
  }

  /** What a faulty replica said once it does not say again, so that a run ends. */
  #faultyDuties(self: number, machine: KeyGeneration, faulty: Faulty): readonly Duty[] {
    const { curve, membership } = this;
    const committed = this.#committed;
    const view = { curve, membership, self, owed: machine.owed, machine, committed, random: this.#random };
    return faulty(view).filter((duty) => {
      const said = `${self} ${duty.kind} ${Buffer.from(duty.payload).toString('hex')}`;
      if (this.#said.has(said)) return false;
      this.#said.add(said);
      return true;
    });
  }

  #pick(): readonly Posted[] {
    const { isHeldBack = () => false, dutiesPerCommitMax = 6 } = this.#options;
    const hasTranscript = this.machines.some(({ transcript }) => transcript !== undefined);
    const free = this.#waiting.filter((posted) => hasTranscript || !isHeldBack(posted));
    const candidates = shuffled(this.#random, free.length > 0 ? free : this.#waiting);
    const picked = candidates.slice(0, 1 + below(this.#random, Math.min(dutiesPerCommitMax, candidates.length)));
    const mood = this.#random();
    // Some stay and are committed again; who is faulty may lose what it said, others then say it again.
    this.#waiting = this.#waiting.filter((posted) => !picked.includes(posted) || this.#random() < 0.05);
    return mood < 0.1 ? [] : picked;
  }
}

export function isSame(a: Duty, b: Duty): boolean {
  return a.kind === b.kind && Buffer.compare(a.payload, b.payload) === 0;
}
