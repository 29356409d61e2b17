/**
 * Replica machine: ordering, execution, key generation and certification joined, still pure: inputs and the time in,
 * effects out.
 *
 * In: frames from authenticated peers, link events, requests from clients. Out: `ReplicaEffects`, to be carried out in
 * the order of their fields. The event loop of a replica and the simulator both drive this very class. Each commit is
 * executed the moment it is decided: what comes after it may depend on it (docs/protocol/ordering.md §7).
 * Trust: an attacker who controls one replica's machine can keep silent, equivocate and lie to clients; the others'
 * machines agree all the same, and clients ask for f + 1 equal results.
 */
import { Certification } from '../certification/certification.ts';
import type { CertificationEffects, CertificationInput } from '../certification/effects.ts';
import { stateMembership } from '../certification/statement.ts';
import { type Digest, sha256 } from '../crypto/hash.ts';
import type { CheckpointParts, TakenCheckpoint } from '../execution/checkpoints.ts';
import { Execution, type Reply } from '../execution/execution.ts';
import { readExecution } from '../execution/restored-execution.ts';
import type { Transcript } from '../keys/transcript.ts';
import type { Commit } from '../ordering/commit.ts';
import type { DutySource } from '../ordering/duty-source.ts';
import type { OrderingEffects, OrderingInput } from '../ordering/effects.ts';
import { Ordering } from '../ordering/ordering.ts';
import { Verifier } from '../ordering/validity.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import type { CertifiedHead, RefusalCode } from '../wire/client-message.ts';
import type { Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { encodeMembershipStatement } from '../wire/membership-statement.ts';
import { decodePeerMessage } from '../wire/peer-message.ts';
import { decodeRequest, type Request } from '../wire/request.ts';
import { CertifiedReplies, type Prover } from './certified-replies.ts';
import { CheckpointProgress } from './checkpoint-progress.ts';
import type { CheckpointToWrite } from './checkpoint-writer.ts';
import type { ReplicaEffects, ReplicaInput } from './effects.ts';
import { EpochChange } from './epoch-change.ts';
import { epochStart } from './epoch-start.ts';
import { HeadWishes } from './head-wishes.ts';
import { keyHistoryEntries } from './key-history.ts';
import { LinkChains } from './link-chains.ts';
import { type EpochStatus, type MachineOptions, type MachineStatus, startOf } from './machine-options.ts';
import { ServiceKey } from './service-key.ts';
import { StateReads } from './state-reads.ts';
import { StepEffects } from './step-effects.ts';

type ClientRequest = Extract<ReplicaInput, { readonly kind: 'client-request' }>;

export class ReplicaMachine {
  readonly #verifier: Verifier;
  readonly #ordering: Ordering;
  readonly #execution: Execution;
  readonly #key: ServiceKey;
  readonly #epoch: EpochChange;
  readonly #certification: Certification;
  readonly #certifiedReplies: CertifiedReplies;
  readonly #stateReads: StateReads;
  #operations = 0;
  #serviceKey: string | undefined;
  readonly #wishes: HeadWishes;
  #shareInUse: bigint | undefined;
  readonly #membershipDigest: Digest;
  readonly #progress: CheckpointProgress;
  #lastCertified: CertifiedHead | undefined;
  /** The replay of the log is over: effects are for somebody. */
  #isLive = false;

  /** Of the step in hand. */
  #now = new StepEffects();
  /** For the certification, at the end of the step. */
  #toCertify: CertificationInput[] = [];
  /** Heads that are due, to be signed in the next step: that takes longer than all the rest, and replies do not wait for it. */
  #due: CertificationInput[] = [];

  constructor(options: MachineOptions) {
    const { membership, self, sign, check, guard, curve, observer = false } = options;
    const { serviceId, epoch, headIntervalMs } = membership;
    this.#wishes = new HeadWishes({ self, headIntervalMs });
    this.#verifier = new Verifier(check === undefined ? { membership } : { membership, check });
    const { engine = new MemoryEngine(), from, names } = options;
    const start = epochStart({ membership, names, from, engine });
    const membershipStatement = encodeMembershipStatement(stateMembership(membership, names));
    this.#membershipDigest = sha256(membershipStatement);
    this.#progress = new CheckpointProgress(from);
    this.#key = new ServiceKey({
      curve,
      membership,
      keyMembership: options.keyMembership,
      self,
      secrets: options.keySecrets,
      nextSecrets: options.nextSecrets,
      sealedShare: options.sealedShare,
      observer,
      history: start.history,
      next: start.state.phase.kind === 'resharing' ? start.state.phase.next : undefined,
    });
    const replicaId = membership.members[self]?.replicaId ?? '';
    this.#epoch = new EpochChange({ membership, replicaId, curve, genesis: options.genesis, start, key: this.#key });
    const signingKeys = membership.members.map(({ signingKey }) => signingKey.text as string);
    this.#execution = new Execution({
      service: options.service,
      engine,
      from: from === undefined ? undefined : readExecution(engine, from.checkpoint),
      parts: () => this.#checkpointParts(),
      retainedLeaves: options.retainedLeaves ?? limits.logLeavesRetained,
      checkpointIntervalMs: membership.checkpointIntervalMs,
      serviceId,
      epoch,
      headIntervalMs,
      anonymousClients: new Set([...signingKeys, ...start.formerKeys]),
      system: this.#epoch.system,
      ...(guard === undefined ? {} : { guard }),
    });
    this.#certification = new Certification({ curve, membership, self, membershipStatement });
    const chains = new LinkChains(this.#execution);
    this.#certifiedReplies = new CertifiedReplies(this.#execution, chains);
    const isPublic = options.service.publicState === true;
    this.#stateReads = new StateReads({ prover: this.#execution, chains, isPublic });
    const duties = this.#duties();
    this.#ordering = new Ordering({
      membership,
      self,
      sign,
      verifier: this.#verifier,
      observer,
      duties,
      ...(from === undefined ? {} : startOf(from, membership)),
    });
    this.#noteKey();
    const { lastDueHead } = this.#execution;
    if (lastDueHead !== undefined) this.#noteDue(lastDueHead);
  }

  /** Operations executed since this process started, replay of the log included. */
  get operations(): number {
    return this.#operations;
  }

  get commitIndex(): number {
    return this.#execution.commitIndex;
  }

  /** Commit of the newest checkpoint that is in the engine; 0 before the first. */
  get checkpointIndex(): number {
    return this.#progress.storedCommitIndex;
  }

  /** The newest head with the service's signature. */
  get certifiedHead(): CertifiedHead | undefined {
    return this.#certification.newest;
  }

  /** Who the replicas are, with the service's signature. */
  get certifiedMembership(): Certification['membershipStatement'] {
    return this.#certification.membershipStatement;
  }

  get divergence(): Certification['divergence'] {
    return this.#certification.divergence;
  }

  /** Public key of the service, 192 hex characters; undefined while it is being generated. */
  get serviceKey(): string | undefined {
    return this.#serviceKey;
  }

  /** Who dealt, who qualified, and every replica's verification key, from the commit on with which there is a key. */
  get transcript(): Transcript | undefined {
    return this.#key.transcript;
  }

  get hasKeyShare(): boolean {
    return this.#key.share !== undefined;
  }

  /** Proofs from the log; undefined when it has no such leaf or size. */
  get prover(): Prover {
    return this.#execution;
  }

  /** Requests given to this replica that no commit holds, encoded: when the epoch is closed, they are for the next one. */
  get pendingRequests(): readonly Uint8Array[] {
    return this.#ordering.uncommittedRequests;
  }

  get epochStatus(): EpochStatus {
    return { state: this.#epoch.state, isClosed: this.#epoch.isClosed, resharing: this.#key.nextProgress };
  }

  get status(): MachineStatus {
    return {
      ...this.#ordering.status,
      stateRoot: this.#execution.stateRoot,
      timestamp: this.#execution.timestamp,
      logSize: this.#execution.logSize,
      stateEntries: this.#execution.keyCount,
      stateSizeBytes: this.#execution.stateSizeBytes,
      checkpointCommitIndex: this.#progress.storedCommitIndex,
      stableCommitIndex: this.#progress.stable?.checkpoint.ordering.commitIndex ?? 0,
      key: this.#key.progress,
      certification: this.#certification.status,
    };
  }

  /**
   * Takes back encoded blocks from our own log, in log order and before the first step. The log vouches for them, so
   * only their form is checked. Returns the checkpoints taken meanwhile, to be written. Throws an Error when a block is not one: the log was made by other code or is broken.
   */
  restore(blocks: readonly Uint8Array[]): readonly CheckpointToWrite[] {
    this.#ordering.restore(this.#verifier.restoreAll(blocks));
    const { checkpoints, stable } = this.#now;
    this.#now = new StepEffects();
    this.#now.stable = stable;
    return checkpoints;
  }

  /** A checkpoint of ours is durable in the engine. */
  checkpointStored(digest: Digest): void {
    this.#execution.checkpointStored(digest);
    this.#now.stable = this.#progress.stored(digest) ?? this.#now.stable;
  }

  /**
   * Takes inputs in order; then decides, proposes, executes and certifies. `nowMs`: milliseconds that never go back, for
   * waiting; `clockMs`: milliseconds since 1970 by our own clock, for timestamps.
   */
  step(inputs: readonly ReplicaInput[], nowMs: number, clockMs = nowMs): ReplicaEffects {
    this.#isLive = true;
    const taken: OrderingInput[] = [];
    for (const input of inputs) this.#take(input, taken);
    this.#watch(nowMs);
    this.#wishes.say(clockMs);
    this.#epoch.watch(nowMs, clockMs);
    const ordering = this.#ordering.step(taken, nowMs, clockMs);
    this.#watch(nowMs);
    this.#epoch.watch(nowMs, clockMs);
    return this.#effects(ordering, nowMs);
  }

  /** Makes everything accepted durable; for a clean stop. */
  flush(): ReplicaEffects {
    return this.#effects(this.#ordering.flush(), undefined);
  }

  #take(input: ReplicaInput, taken: OrderingInput[]): void {
    switch (input.kind) {
      case 'connected':
        taken.push(input);
        this.#toCertify.push(input);
        return;
      case 'client-request':
        this.#takeRequest(input, taken);
        return;
      case 'client-asks-head':
        this.#now.certified.push(this.#certifiedReplies.head(input.link, input.logSize, this.certifiedHead));
        return;
      case 'client-asks-state':
        if (this.#stateReads.ask(input) && this.#execution.hasUncertified) {
          this.#wishes.wish();
          this.#wishes.await();
        }
        return;
      case 'checkpoint-stored':
        this.checkpointStored(input.digest);
        return;
      case 'client-gone':
        this.#certifiedReplies.forget(input.link);
        this.#stateReads.forget(input.link);
        return;
      case 'next-session-keys':
        this.#key.addNextSecrets(input.secrets);
        return;
      case 'peer-frame':
        this.#takeFrame(input.from, input.frame, taken);
    }
  }

  #takeFrame(from: number, frame: Uint8Array, taken: OrderingInput[]): void {
    const decoded = decodePeerMessage(frame);
    if (!decoded.ok) {
      const rule = `message: ${decoded.reason}`;
      this.#now.evidence.push({ kind: 'rejection', rule, from, author: undefined, digest: undefined });
      return;
    }
    const message = decoded.value;
    if (message.kind === 'signature-share' || message.kind === 'certified-statement') {
      this.#toCertify.push({ ...message, from });
      return;
    }
    if (message.kind === 'catch-up') this.#now.serve.push({ to: from, afterRound: message.afterRound });
    taken.push({ kind: 'peer-message', from, message });
  }

  #takeRequest(input: ClientRequest, taken: OrderingInput[]): void {
    const { link, request: bytes } = input;
    const verified = this.#verifier.verifyRequest(bytes);
    if (!verified.ok) {
      const form = decodeRequest(bytes);
      const code: RefusalCode = form.ok ? 'bad-signature' : 'malformed';
      const requestDigest = form.ok ? form.value.digest : undefined;
      this.#now.refusals.push({ link, requestDigest, code, reason: verified.reason });
      return;
    }
    const request = verified.value;
    const remembered = this.#execution.remembered(request);
    if (remembered === undefined && !this.#ordering.hasRoom) {
      const reason = 'too many requests are waiting here; try another replica, or later';
      this.#now.refusals.push({ link, requestDigest: request.digest, code: 'overloaded', reason });
      return;
    }
    // Only now: a wish for what is never ordered would take up room as long as its link is there.
    if (input.certifyFrom !== undefined) {
      if (!this.#want(link, request, input.certifyFrom)) return;
      if (remembered === undefined || this.#execution.hasUncertified) this.#wishes.wish();
    }
    if (remembered !== undefined) this.#answer(remembered);
    else taken.push({ kind: 'request', request });
  }

  /** Notes that a link wants a certified reply; false when it cannot have one here, and was told so. */
  #want(link: number, { digest: requestDigest }: Request, heldLogSize: number): boolean {
    const refuse = (reason: string): false => {
      this.#now.refusals.push({ link, requestDigest, code: 'not-certifying', reason });
      return false;
    };
    if (this.#serviceKey === undefined)
      return refuse('the service key is still being generated; ask for a quick reply, or later');
    if (this.divergence !== undefined) return refuse('this replica has diverged; ask another one');
    this.#certifiedReplies.want(link, requestDigest, heldLogSize);
    return true;
  }

  #answer(reply: Reply): void {
    this.#now.replies.add(reply);
    if (this.#isLive && this.#certifiedReplies.executed(reply)) this.#wishes.await();
  }

  #watch(nowMs: number): void {
    this.#wishes.watch({ hasUncertified: this.#serviceKey !== undefined && this.#execution.hasUncertified, nowMs });
  }

  /** What the ordering asks: a commit is executed the moment it is decided. */
  #duties(): DutySource {
    const key = this.#key;
    const wishes = this.#wishes;
    const epoch = this.#epoch;
    return {
      committed: (commit) => this.#committed(commit),
      get owed() {
        return wishes.owed.length === 0 ? key.owed : [...key.owed, ...wishes.owed];
      },
      get hasWork() {
        return wishes.isOverdue || epoch.hasWork;
      },
      get isClosed() {
        return epoch.isClosed;
      },
      get coin() {
        return key.coin;
      },
    };
  }

  #committed(commit: Commit): void {
    // First, because a checkpoint of this commit holds what the duties in it came to.
    this.#key.committed(commit);
    const applied = this.#execution.step(commit);
    this.#operations += applied.operationCount;
    for (const reply of applied.replies) this.#answer(reply);
    this.#now.diagnostics.push(...applied.diagnostics);
    this.#now.commits.push(commit);
    this.#wishes.committed(commit);
    this.#noteKey();
    if (applied.checkpoint !== undefined) this.#noteTaken(applied.checkpoint);
    if (applied.head === undefined) return;
    this.#wishes.due();
    this.#noteDue(applied.head);
  }

  /** Undefined before the key is widely held: until then there is nobody to sign for a checkpoint. */
  #checkpointParts(): CheckpointParts | undefined {
    if (this.#key.coin === undefined) return undefined;
    const { frontier } = this.#ordering;
    const { nextMembership } = this.#epoch;
    return {
      // Nothing is ordered after the last commit of a DAG, so nobody needs to know what was before.
      ordering: nextMembership === undefined ? frontier : { ...frontier, committed: [] },
      membershipDigest: this.#membershipDigest,
      nextMembership,
      system: new Map([...keyHistoryEntries(this.#key.history), ...this.#epoch.entries]),
    };
  }

  #noteTaken(taken: TakenCheckpoint): void {
    this.#progress.taken(taken);
    const { ownBlock } = this.#ordering;
    const isBelow = ownBlock !== undefined && ownBlock.round <= taken.checkpoint.ordering.horizon;
    this.#now.checkpoints.push({ ...taken, ownBlock: isBelow ? ownBlock.bytes : undefined });
  }

  /** The certification learns of the key when there is one, and of our share when we have it. */
  #noteKey(): void {
    const { transcript, share } = this.#key;
    if (transcript === undefined || (this.#serviceKey !== undefined && share === this.#shareInUse)) return;
    this.#serviceKey ??= Buffer.from(transcript.serviceKey).toString('hex');
    this.#shareInUse = share;
    const { serviceKey, verificationKeys } = transcript;
    this.#certification.setKey({ serviceKey, verificationKeys, share });
  }

  #noteDue(head: Head): void {
    // While the log is replayed only the last one matters: it covers those before.
    if (!this.#isLive) this.#due = [];
    this.#due.push({ kind: 'due', head });
  }

  #certify(nowMs: number): CertificationEffects {
    if (this.#ordering.isObserver && this.#key.share !== undefined) {
      this.#key.stop();
      this.#noteKey();
    }
    const logSize = this.#certifiedReplies.wantedLogSize;
    if (logSize !== undefined) this.#toCertify.push({ kind: 'wanted', logSize });
    const inputs = this.#toCertify;
    this.#toCertify = this.#due;
    this.#due = [];
    const effects = this.#certification.step(inputs, nowMs);
    if (this.divergence !== undefined) this.#key.stop();
    if (this.certifiedHead !== undefined) this.#noteCertified(this.certifiedHead);
    this.#now.certified.push(...this.#certifiedReplies.take(this.certifiedHead));
    const hasDiverged = this.divergence !== undefined;
    this.#now.certified.push(
      ...this.#stateReads.take({
        newest: this.certifiedHead,
        hasServiceKey: this.#serviceKey !== undefined,
        executedIndex: this.#execution.commitIndex,
        hasDiverged,
        nowMs,
      }),
    );
    this.#now.refusals.push(...this.#certifiedReplies.takeDropped());
    return effects;
  }

  #noteCertified(head: CertifiedHead): void {
    if (head === this.#lastCertified) return;
    this.#lastCertified = head;
    this.#execution.headCertified(head.head.commitIndex);
    this.#now.stable = this.#progress.certified(head) ?? this.#now.stable;
  }

  #effects(ordering: OrderingEffects, nowMs: number | undefined): ReplicaEffects {
    const certification = nowMs === undefined ? undefined : this.#certify(nowMs);
    const effects = this.#now.end({
      ordering,
      certification,
      seal: this.#key.takeShareToSeal(),
      evidence: this.#key.takeEvidence(),
      wantsSuccessor: this.#epoch.takeWish(),
      closed: this.#epoch.closedBy(this.#now.stable),
      isUnfinished: this.#toCertify.length > 0 || this.#stateReads.isUnfinished,
      wakeTimesMs: [this.#wishes.overdueAtMs, this.#stateReads.wakeAtMs, this.#epoch.lookAtMs],
    });
    this.#now = new StepEffects();
    return effects;
  }
}
