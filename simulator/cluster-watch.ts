/**
 * Cluster watch: what is seen of a simulated cluster, and who is held to what: the checkers hear of correct replicas only, and
 * of those that executed something wrongly only when they are repaired.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Reply } from '../src/execution/execution.ts';
import type { Membership } from '../src/membership/membership.ts';
import type { Commit } from '../src/ordering/commit.ts';
import type { Evidence } from '../src/ordering/effects.ts';
import type { CertifiedAnswer } from '../src/replica/certified-replies.ts';
import type { ReplicaEffects } from '../src/replica/effects.ts';
import { readStored } from '../src/replica/engine-notes.ts';
import type { Genesis } from '../src/wire/genesis.ts';
import { AgreementChecker } from './checkers/agreement.ts';
import { CertificationChecker } from './checkers/certification.ts';
import { EpochChecker } from './checkers/epochs.ts';
import { checkEvidence } from './checkers/evidence.ts';
import { ExecutionChecker } from './checkers/execution.ts';
import type { Report } from './checkers/violation.ts';
import { WindowChecker } from './checkers/windows.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import type { Machine } from './simulated-machine.ts';
import { placeOf } from './simulated-membership.ts';
import type { World } from './world.ts';

export interface WatchOptions {
  readonly world: World;
  readonly report: Report;
  readonly curve: PairingCurve;
  readonly genesis: Genesis;
  /** Is nobody but itself the replica in this place now? */
  readonly isCorrect: (place: number) => boolean;
  /** Has an adversary what this replica proves itself with in this epoch? Then others may say whatever they like of it. */
  readonly isExposed: (place: number, epoch: number) => boolean;
  readonly membershipOf: (place: number) => Membership;
  readonly diskOf: (place: number) => SimulatedDisk;
}

export class ClusterWatch {
  readonly #options: WatchOptions;
  readonly #world: World;
  readonly agreement: AgreementChecker;
  readonly execution: ExecutionChecker;
  readonly certification: CertificationChecker;
  readonly epochs: EpochChecker;
  readonly windows: WindowChecker;
  /** Correct replicas that have executed something wrongly, from then on and until they are repaired. */
  readonly wrong = new Set<number>();
  /** Those that were wrong at any time: what others refuse of them is held against nobody. */
  readonly #blamed = new Set<number>();
  /** State transfers that correct replicas have ended. */
  fetches = 0;
  /** Forged states that an adversary left in replicas, and those that these did not believe. */
  forgedStates = 0;
  refusedStates = 0;
  readonly #forged = new Set<number>();
  /** Those that they began, some of them again after they had died. */
  fetchesBegun = 0;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#world = options.world;
    const { report, curve, genesis } = options;
    this.agreement = new AgreementChecker(report);
    this.execution = new ExecutionChecker(report);
    this.certification = new CertificationChecker(report, curve);
    this.epochs = new EpochChecker(report);
    this.windows = new WindowChecker(report, genesis);
  }

  /** Is it a correct one, and has it executed all as it should? */
  isRight(place: number): boolean {
    return this.#options.isCorrect(place) && !this.wrong.has(place);
  }

  /** It executes something wrongly now. */
  goesWrong(place: number): void {
    this.wrong.add(place);
    this.#blamed.add(place);
    this.#world.note(`r${place} executes a write wrongly`);
  }

  certified(place: number, { message }: CertifiedAnswer): void {
    if (this.isRight(place)) this.certification.answered(place, message);
  }

  replied(place: number, reply: Reply): void {
    if (this.isRight(place)) this.execution.replied(place, reply);
  }

  /** Whoever it is: the correct ones may all die of it, and make these commits again in replays, where nobody sees them. */
  decided(commits: readonly Commit[]): void {
    for (const commit of commits) this.execution.claimed(commit);
  }

  stepped(place: number, effects: ReplicaEffects, machine: Machine): void {
    const { status } = machine;
    const { persist, send, commits, replies } = effects;
    if (persist.length + commits.length + replies.length > 0) {
      const last = commits.at(-1);
      const upTo = last === undefined ? '' : ` up to ${last.index} ${last.digest.slice(0, 8)}`;
      this.#world.note(
        `r${place} round ${status.round}: ${persist.length} durable, ${send.length} sent, ${commits.length} commits${upTo}`,
      );
    }
    if (!this.#options.isCorrect(place)) return;
    const { epoch } = this.#options.membershipOf(place);
    for (const commit of commits) {
      this.agreement.committed(place, commit);
      this.execution.committed(commit);
      this.epochs.committed(place, epoch, commit);
    }
    this.certification.observe(place, machine.serviceKey, machine.certifiedHead);
    const { certifiedMembership } = machine;
    if (certifiedMembership !== undefined) this.epochs.stated(place, epoch, certifiedMembership.encoded);
    this.refused(place, effects.evidence);
    for (const { operation, detail } of effects.diagnostics) {
      this.#options.report('execution', `r${place} has a complaint about the service: ${operation}: ${detail}`);
    }
    if (!this.isRight(place)) return;
    for (const { checkpoint, digest } of effects.checkpoints) {
      this.agreement.checkpointAt(place, checkpoint.ordering.commitIndex, digest);
      this.epochs.checkpointTaken(place, checkpoint, digest);
    }
    if (commits.length > 0) this.agreement.stateAt(place, status.commitIndex, status.stateRoot);
    const { state, isClosed } = machine.epochStatus;
    if (isClosed) this.windows.closed(state, status.timestamp);
  }

  /** It refuses what others sent, or has evidence against them; they go by their indexes in its epoch. */
  refused(place: number, evidence: readonly Evidence[]): void {
    if (!this.#options.isCorrect(place) || evidence.length === 0) return;
    const { epoch, members } = this.#options.membershipOf(place);
    const blameless = new Set<number>();
    for (const [index, { replicaId }] of members.entries()) {
      const other = placeOf(replicaId);
      const isClear = this.#options.isCorrect(other) && !this.#blamed.has(other);
      if (isClear && !this.#options.isExposed(other, epoch)) blameless.add(index);
    }
    checkEvidence(place, evidence, blameless, this.#options.report);
  }

  /** A state that nobody has certified lies on the disk of this one, which is to be made clean. */
  leftForged(place: number): void {
    this.#forged.add(place);
    this.forgedStates += 1;
  }

  refusedState(place: number): void {
    if (this.#forged.delete(place)) this.refusedStates += 1;
  }

  fetching(place: number): void {
    if (this.#options.isCorrect(place)) this.fetchesBegun += 1;
  }

  fetched(place: number): void {
    if (this.#options.isCorrect(place)) this.fetches += 1;
    this.#repaired(place);
  }

  restored(place: number, { status }: Machine): void {
    if (!this.#options.isCorrect(place)) return;
    this.agreement.restored(place, status.commitIndex);
    if (this.#forged.has(place))
      this.#options.report('state', `r${place} begins from a state that nobody has certified`);
    if (this.wrong.has(place) && this.#beganRight(place)) this.#repaired(place);
    if (!this.isRight(place)) return;
    this.certification.restored(place);
    if (status.commitIndex > 0) this.agreement.stateAt(place, status.commitIndex, status.stateRoot);
  }

  /** It has left an epoch for another one, and nothing of older ones may be on its disk any more. */
  entered(place: number): void {
    if (!this.#options.isCorrect(place)) return;
    const { home } = this.#options.diskOf(place);
    this.epochs.entered(place, home.membership);
    for (const { epoch } of home.all) {
      if (epoch < home.membership.epoch) {
        this.#options.report('secrecy', `r${place} is in epoch ${home.membership.epoch} with keys of epoch ${epoch}`);
      }
    }
  }

  /** Did it go back to a checkpoint from before its mistake? */
  #beganRight(place: number): boolean {
    const stored = readStored(this.#options.diskOf(place).engine);
    return stored === undefined || this.agreement.hasCheckpoint(stored.checkpoint.ordering.commitIndex, stored.digest);
  }

  #repaired(place: number): void {
    if (this.wrong.delete(place)) this.#world.note(`r${place} is right again`);
  }
}
