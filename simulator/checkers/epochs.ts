/**
 * Epochs: every epoch is closed by one commit, the same at all correct replicas, which names one next membership; no commit of that
 * epoch comes after it; and the service says once, and of one membership, who the replicas of an epoch are.
 *
 * The first correct replica to say something is the measure; whoever says something else is named.
 */
import { type Digest, sha256 } from '../../src/crypto/hash.ts';
import type { Membership } from '../../src/membership/membership.ts';
import type { Commit } from '../../src/ordering/commit.ts';
import type { Checkpoint } from '../../src/wire/checkpoint.ts';
import type { Report } from './violation.ts';

interface Closing {
  readonly place: number;
  readonly digest: Digest;
  readonly commitIndex: number;
  readonly next: Digest;
}

export class EpochChecker {
  readonly #report: Report;
  readonly #closings = new Map<number, Closing>();
  readonly #geneses = new Map<number, Digest>();
  readonly #statements = new Map<number, Digest>();
  readonly #memberships = new Map<number, Membership>();
  #highest = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  /** The newest epoch that a correct replica has been in. */
  get highest(): number {
    return this.#highest;
  }

  /** The membership of an epoch that a correct replica has been in. */
  membershipOf(epoch: number): Membership | undefined {
    return this.#memberships.get(epoch);
  }

  /** All that correct replicas have been in. */
  get memberships(): readonly Membership[] {
    return [...this.#memberships.values()];
  }

  /** A correct replica is in this epoch. */
  entered(place: number, membership: Membership): void {
    const { epoch, epochGenesis } = membership;
    this.#highest = Math.max(this.#highest, epoch);
    if (!this.#memberships.has(epoch)) this.#memberships.set(epoch, membership);
    this.#same(this.#geneses, epoch, epochGenesis, `r${place} has another beginning of epoch ${epoch}`);
  }

  /** A correct replica made this commit in this epoch. */
  committed(place: number, epoch: number, { index, blocks }: Commit): void {
    const closing = this.#closings.get(epoch);
    if (closing !== undefined && index > closing.commitIndex) {
      this.#report('epochs', `r${place} makes commit ${index} in epoch ${epoch}, closed at ${closing.commitIndex}`);
    }
    const foreign = blocks.find((block) => block.epoch !== epoch);
    if (foreign === undefined) return;
    this.#report('epochs', `r${place} orders a block of epoch ${foreign.epoch} in epoch ${epoch}, commit ${index}`);
  }

  /** A correct replica took this checkpoint. */
  checkpointTaken(place: number, { epoch, ordering, nextMembership }: Checkpoint, digest: Digest): void {
    if (nextMembership === undefined) return;
    const { commitIndex } = ordering;
    const first = this.#closings.get(epoch);
    if (first === undefined) this.#closings.set(epoch, { place, digest, commitIndex, next: nextMembership });
    else if (first.digest !== digest || first.next !== nextMembership || first.commitIndex !== commitIndex) {
      const what = `r${first.place} at commit ${first.commitIndex}, r${place} at commit ${commitIndex}`;
      this.#report('epochs', `epoch ${epoch} is closed twice: ${what}`);
    }
  }

  /** A correct replica has this statement, encoded, with the service's signature. */
  stated(place: number, epoch: number, statement: Uint8Array): void {
    this.#same(this.#statements, epoch, sha256(statement), `r${place} has another certified membership of ${epoch}`);
  }

  #same(told: Map<number, Digest>, epoch: number, digest: Digest, what: string): void {
    const first = told.get(epoch);
    if (first === undefined) told.set(epoch, digest);
    else if (first !== digest) this.#report('epochs', what);
  }
}
