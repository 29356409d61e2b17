/**
 * Ordering: blocks and requests in, one agreed sequence of commits out (docs/protocol/ordering.md).
 *
 * In: batches of messages, requests and link events, and the time, which is used for lingering and retries only. Out:
 * effects, in the order in which they must be carried out: durable, then sent, then committed.
 * Safety: an own block is in the DAG the moment it is made, so nothing decided with its help may leave before it is
 * durable; the order of effects sees to that. Never two own blocks for one round, across restarts (§3.3).
 */
import type { Digest } from '../crypto/hash.ts';
import { emptySet, genesisReference, type Membership, withReplica } from '../membership/membership.ts';
import { frontierOfGenesis } from '../membership/restored.ts';
import { decodeBlock, encodeBlock, type Reference } from '../wire/block.ts';
import type { OrderingFrontier } from '../wire/checkpoint.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import { Acceptance } from './acceptance.ts';
import { BlockDag } from './block-dag.ts';
import { Coins } from './coins.ts';
import { type Commit, isLoaded, type VerifiedBlock } from './commit.ts';
import { CommitSequence } from './commit-sequence.ts';
import type { DutySource } from './duty-source.ts';
import type { Evidence, OrderingEffects, OrderingInput } from './effects.ts';
import { Linger } from './linger.ts';
import { OwedDuties } from './owed-duties.ts';
import { chooseParents, markOwnHistory } from './parents.ts';
import { PendingRequests } from './pending-requests.ts';
import { Repetition, type Send, saying } from './repetition.ts';
import type { Verifier } from './validity.ts';

/** A correct replica is this many rounds ahead of our quorum: gather first, propose afterwards. */
const behindRoundsMax = 3;

export interface OrderingStatus {
  /** Our own last round. */
  readonly round: number;
  readonly highestQuorumRound: number;
  /** A round that some correct replica has reached. */
  readonly provenRound: number;
  readonly commitIndex: number;
  readonly pendingRequests: number;
  readonly parkedBlocks: number;
  readonly heldBlocks: number;
  /** Bit mask of replica indexes. */
  readonly suspected: number;
  /** It accepts and executes but proposes nothing, because its log was lost (§3.3). */
  readonly observer: boolean;
}

export class Ordering {
  readonly #membership: Membership;
  readonly #self: number;
  readonly #sign: (digest: Digest) => Uint8Array;
  readonly #verifier: Verifier;
  readonly #dag: BlockDag;
  readonly #acceptance: Acceptance;
  readonly #pending = new PendingRequests();
  readonly #linger: Linger;
  readonly #repetition: Repetition;
  readonly #duties: DutySource;
  readonly #owed: OwedDuties;
  readonly #coins: Coins;
  readonly #sequence: CommitSequence;
  readonly #latestRounds: number[];

  #own: Reference;
  #ownBlock: VerifiedBlock | undefined;
  #observer: boolean;
  /** Accepted since the last write to the log, in order of acceptance. */
  #undurable: VerifiedBlock[] = [];
  #undurableSizeBytes = 0;
  /** Accepted, uncommitted blocks that carry requests or duties. */
  #loadedBlocks = 0;
  #forwardedAtRound = -1;
  /** Who has duties to say, and needs the round of its last block to be made by the others first. */
  #calls = emptySet;
  #quorumRound: number;
  #clockMs = 0;
  #isAskedForRounds = false;

  // Effects of the step in hand.
  #persist: Uint8Array[] = [];
  #send: Send[] = [];
  #commits: Commit[] = [];
  #evidence: Evidence[] = [];

  constructor(options: {
    readonly membership: Membership;
    readonly self: number;
    /** Signs the digest of an own block: Ed25519 over `blockPreimage(digest)`. */
    readonly sign: (digest: Digest) => Uint8Array;
    readonly verifier: Verifier;
    /** What this replica owes, and the coin. */
    readonly duties: DutySource;
    /** The log was lost: propose nothing in this epoch. */
    readonly observer?: boolean;
    /** Where to go on; in a new DAG unless it is given. The duties must be where they were when it was taken. */
    readonly from?: OrderingFrontier;
    /** Our last own block, encoded, when the log no longer has it. */
    readonly ownBlock?: Uint8Array;
  }) {
    const { membership, self, duties, from = frontierOfGenesis(options.membership) } = options;
    const { rule } = membership;
    this.#membership = membership;
    this.#self = self;
    this.#sign = options.sign;
    this.#verifier = options.verifier;
    this.#dag = new BlockDag(membership, from);
    this.#acceptance = new Acceptance({ rule, self, dag: this.#dag, horizon: from.horizon });
    this.#linger = new Linger({ n: rule.n, self });
    this.#repetition = new Repetition({ n: rule.n, self, dag: this.#dag, acceptance: this.#acceptance });
    this.#duties = duties;
    this.#owed = new OwedDuties(duties);
    this.#coins = new Coins({ membership, duties, quorumRound: () => this.#dag.highestQuorumRound });
    this.#sequence = new CommitSequence({ membership, dag: this.#dag, duties, coins: this.#coins, from });
    this.#latestRounds = Array.from({ length: rule.n }, () => 0);
    this.#own = genesisReference(membership.epochGenesis, self);
    this.#observer = options.observer ?? false;
    this.#quorumRound = this.#dag.highestQuorumRound;
    if (options.ownBlock !== undefined) {
      for (const block of options.verifier.restoreAll([options.ownBlock])) this.#becomeOwn(block);
    }
  }

  /** Its log was lost, or it has met a block of its own that is not in it: it says nothing in its own name. */
  get isObserver(): boolean {
    return this.#observer;
  }

  /** Requests given to us that no commit holds, encoded. */
  get uncommittedRequests(): readonly Uint8Array[] {
    return this.#pending.uncommitted;
  }

  /** Where another replica can go on as we do; agreed while the duties take a commit. */
  get frontier(): OrderingFrontier {
    return this.#sequence.frontier;
  }

  /** The last block we made; undefined when we made none. */
  get ownBlock(): VerifiedBlock | undefined {
    return this.#ownBlock;
  }

  get status(): OrderingStatus {
    return {
      round: this.#own.round,
      highestQuorumRound: this.#dag.highestQuorumRound,
      provenRound: this.#acceptance.provenRound,
      commitIndex: this.#sequence.commitIndex,
      pendingRequests: this.#pending.size,
      parkedBlocks: this.#acceptance.parkedCount,
      heldBlocks: this.#dag.size,
      suspected: this.#linger.suspected,
      observer: this.#observer,
    };
  }

  /**
   * Takes back blocks from our own log, in log order, before the first step; returns what they commit. To be called
   * with a part of the log at a time, so that a long log needs little memory.
   */
  restore(blocks: readonly VerifiedBlock[]): readonly Commit[] {
    for (const block of blocks) {
      if (!this.#acceptance.knows(block)) {
        this.#acceptance.restore(block);
        this.#noteAccepted(block);
      }
      const isOwn = block.author === this.#self && block.round > this.#own.round;
      if (isOwn || block.digest === this.#own.digest) this.#becomeOwn(block);
    }
    this.#decide(0);
    return this.#takeEffects(undefined).commits;
  }

  /**
   * Takes inputs in order, then decides, then proposes if it should. `nowMs` serves waiting only and never goes back;
   * `clockMs` is the time of day, for timestamps, and may jump as it likes.
   */
  step(inputs: readonly OrderingInput[], nowMs: number, clockMs = nowMs): OrderingEffects {
    this.#clockMs = Math.max(0, Math.floor(clockMs));
    // A quorum restored from the log has no time yet: waiting for the others begins now.
    this.#noteQuorum(nowMs);
    this.#takeBackOwn(nowMs);
    for (const input of inputs) this.#take(input, nowMs);
    this.#decide(nowMs);
    while (this.#propose(nowMs)) this.#decide(nowMs);
    this.#forwardWhenBlocked();
    this.#persistWithoutProposal();
    this.#repeat(nowMs);
    const lingerEndsAtMs = this.#linger.endsAtMs(this.#dag.highestQuorumRound, nowMs);
    return this.#takeEffects(this.#repetition.wakeAtMs(lingerEndsAtMs, nowMs));
  }

  /** What is accepted but not durable yet; for a clean stop. */
  flush(): OrderingEffects {
    this.#moveUndurable();
    return this.#takeEffects(undefined);
  }

  /** Room for this request? False: the replica is overloaded and the request was not taken. */
  get hasRoom(): boolean {
    return this.#pending.hasRoom;
  }

  // ── inputs ──

  #take(input: OrderingInput, nowMs: number): void {
    switch (input.kind) {
      case 'request':
        this.#pending.add(input.request);
        return;
      case 'connected':
        if (this.#ownBlock !== undefined) this.#send.push(saying(input.peer, this.#ownBlock));
        this.#repetition.connected();
        return;
      case 'peer-message':
        this.#takeMessage(input.from, input.message, nowMs);
    }
  }

  #takeMessage(from: number, message: PeerMessage, nowMs: number): void {
    switch (message.kind) {
      case 'block':
        this.#takeBlock(from, message.block, nowMs);
        return;
      case 'fetch':
        this.#send.push(...this.#repetition.answer(from, message.references));
        return;
      case 'requests':
        if (message.requests.length === 0) this.#calls = withReplica(this.#calls, from);
        this.#takeForwarded(from, message.requests);
        return;
      case 'catch-up':
        // Answered out of the log by the replica: what is accepted must be in it, else an idle replica keeps it to itself.
        this.#isAskedForRounds = true;
        return;
      case 'hello':
        return;
    }
  }

  /** They are a reason for a round and no more than that, so a few will do; and nobody correct passes a bad one on. */
  #takeForwarded(from: number, requests: readonly Uint8Array[]): void {
    for (const bytes of requests.slice(0, limits.forwardedRequestsMax)) {
      const request = this.#verifier.verifyRequest(bytes);
      if (!request.ok) {
        this.#reject(`forwarded request: ${request.reason}`, from);
        return;
      }
      this.#pending.add(request.value);
    }
  }

  #takeBlock(from: number, bytes: Uint8Array, nowMs: number): void {
    const decoded = decodeBlock(bytes);
    if (!decoded.ok) {
      this.#reject(`block form: ${decoded.reason}`, from);
      return;
    }
    const { digest, author } = decoded.value;
    if (this.#acceptance.knows(decoded.value)) return;
    const rule = this.#verifier.ruleBrokenByAuthor(decoded.value);
    if (rule !== undefined) {
      this.#reject(rule, from, { author, digest });
      return;
    }
    if (author === this.#self && decoded.value.round > this.#own.round && !this.#observer) {
      this.#observer = true;
      const why = 'our own block, unknown to our log: the log was lost, or the key is used by another';
      this.#reject(why, from, { author, digest });
    }
    const { isWanted, evidence } = this.#acceptance.screen(decoded.value, from);
    this.#evidence.push(...evidence);
    if (!isWanted) return;
    const verdict = this.#verifier.verifyRequests(decoded.value);
    if (verdict.ok) {
      this.#noteAcceptedNow(this.#acceptance.offer(verdict.block, from, nowMs), nowMs);
      return;
    }
    this.#reject(verdict.rule, from, { author, digest });
    this.#acceptance.noteForger(author);
  }

  #reject(rule: string, from: number, block?: { readonly author: number; readonly digest: Digest }): void {
    this.#evidence.push({ kind: 'rejection', rule, from, author: block?.author, digest: block?.digest });
  }

  // ── acceptance ──

  #noteAcceptedNow(blocks: readonly VerifiedBlock[], nowMs: number): void {
    for (const block of blocks) {
      this.#linger.arrived(block.author, block.round, nowMs);
      this.#undurable.push(block);
      this.#undurableSizeBytes += block.bytes.length;
      this.#noteAccepted(block);
      this.#noteQuorum(nowMs);
    }
  }

  #noteAccepted(block: VerifiedBlock): void {
    if (block.round > (this.#latestRounds[block.author] ?? 0)) this.#latestRounds[block.author] = block.round;
    if (isLoaded(block)) this.#loadedBlocks += 1;
    this.#pending.carried(block);
    this.#coins.accepted(block);
    if (block.author === this.#self) this.#owed.carried(block);
    if (block.digest === this.#own.digest) this.#markOwnHistory();
    // A commit before the frontier that we go on from holds it.
    if (this.#dag.get(block.digest)?.committed === true) this.#noteCommitted(block);
  }

  #noteQuorum(nowMs: number): void {
    const round = this.#dag.highestQuorumRound;
    if (round === this.#quorumRound) return;
    this.#quorumRound = round;
    this.#calls = emptySet;
    this.#linger.quorumReached(round, nowMs);
    this.#repetition.progressed(nowMs);
  }

  // ── deciding ──

  #decide(nowMs: number): void {
    for (;;) {
      const commits = this.#sequence.decide();
      if (commits.length === 0) return;
      for (const commit of commits) {
        for (const block of commit.blocks) {
          this.#noteCommitted(block);
        }
        this.#commits.push(commit);
      }
      const freed = this.#acceptance.advanceHorizon(this.#sequence.horizon);
      for (const { block, committed } of this.#dag.prune(this.#sequence.horizon + 1)) {
        if (block === undefined || committed) continue;
        this.#noteSettled(block);
        this.#pending.pruned(block);
      }
      this.#noteAcceptedNow(freed, nowMs);
      if (freed.length === 0) return;
    }
  }

  #noteCommitted(block: VerifiedBlock): void {
    this.#noteSettled(block);
    this.#pending.committed(block);
  }

  /** A block was committed, or pruned without that: nobody waits for it any more. */
  #noteSettled(block: VerifiedBlock): void {
    if (isLoaded(block)) this.#loadedBlocks -= 1;
    if (block.author === this.#self) this.#owed.released(block);
  }

  // ── proposing ──

  /** Makes one own block if the rules of §3 say so; true when it did. */
  #propose(nowMs: number): boolean {
    const quorumRound = this.#dag.highestQuorumRound;
    const round = quorumRound + 1;
    if (this.#observer || this.#duties.isClosed) return false;
    if (round <= this.#own.round || !this.#hasWork(round)) return false;
    if (this.#acceptance.provenRound > quorumRound + behindRoundsMax) return false;
    const authors = this.#dag.authorsAt(quorumRound);
    if (this.#own.round > this.#acceptance.horizon && this.#dag.find(this.#own) === undefined) return false;
    // Nothing is here yet above the horizon that we go on from.
    if (!this.#membership.rule.isQuorum(authors)) return false;
    // Who missed that round is late already: the others have gone on, and waiting would make it miss the next one too.
    const isInPace = this.#own.round === quorumRound;
    if (isInPace && !this.#linger.isComplete(authors)) {
      if (nowMs < this.#linger.endsAtMs(quorumRound, nowMs)) return false;
      this.#linger.ranOut(authors);
    }
    this.#linger.adapt();
    const { rule, epoch, parameters } = this.#membership;
    const { n } = rule;
    const { pruneDepth } = parameters;
    const dag = this.#dag;
    const parents = chooseParents({ dag, n, own: this.#own, round, latestRounds: this.#latestRounds, pruneDepth });
    const stalled = round - this.#sequence.undecidedRound > limits.stalledRoundsMax;
    const decodedRequests = stalled ? [] : this.#pending.batch();
    const requests = decodedRequests.map((request) => request.bytes);
    const shares = this.#coins.toSay(round);
    const duties = [...shares, ...this.#owed.batch(limits.blockDutiesMax - shares.length)];
    const content = { epoch, round, author: this.#self, timestamp: this.#clockMs, parents, requests, duties };
    this.#adopt(this.#verifier.verifyOwnBlock(encodeBlock(content, this.#sign), decodedRequests), nowMs);
    return true;
  }

  /** Takes an own new block in like any other, and lets it leave once it is durable. */
  #adopt(block: VerifiedBlock, nowMs: number): void {
    const accepted = this.#acceptance.offer(block, this.#self, nowMs);
    if (accepted[0] !== block) throw new Error(`invariant: own block of round ${block.round} was not accepted`);
    this.#noteAcceptedNow(accepted, nowMs);
    this.#becomeOwn(block);
    this.#moveUndurable();
    this.#send.push(saying('all', block));
    this.#repetition.progressed(nowMs);
  }

  #becomeOwn(block: VerifiedBlock): void {
    this.#own = { round: block.round, author: block.author, digest: block.digest };
    this.#ownBlock = block;
    this.#coins.said(block);
    this.#markOwnHistory();
  }

  #markOwnHistory(): void {
    const entry = this.#dag.find(this.#own);
    if (entry !== undefined) markOwnHistory(this.#dag, entry);
  }

  /** Our last block when the log has lost it, and the horizon has not passed it: the next one must cite it all the same. */
  #takeBackOwn(nowMs: number): void {
    const block = this.#ownBlock;
    if (block === undefined || this.#acceptance.knows(block)) return;
    this.#noteAcceptedNow(this.#acceptance.offer(block, this.#self, nowMs), nowMs);
  }

  /** Is there anything to make a round for? (§3.1) */
  #hasWork(round: number): boolean {
    const authors = this.#dag.authorsAt(round);
    return (
      this.#pending.size > 0 ||
      this.#loadedBlocks > 0 ||
      this.#owesWaiting ||
      this.#duties.hasWork ||
      (this.#calls & authors) !== emptySet ||
      this.#membership.rule.hasCorrect(authors)
    );
  }

  /** An observer may owe something too, but has no block to say it in. */
  get #owesWaiting(): boolean {
    return !this.#observer && this.#owed.isWaiting;
  }

  /**
   * We have something to say but already used our block for the next round, and nobody else has a reason to make one:
   * give them the reason.
   */
  #forwardWhenBlocked(): void {
    const round = this.#observer ? this.#dag.highestQuorumRound : this.#own.round;
    if (this.#forwardedAtRound === round) return;
    // An observer has no block for what it is given, so only others can order that.
    if (!this.#observer && (round <= this.#dag.highestQuorumRound || this.#loadedBlocks > 0)) return;
    const reasons = this.#reasons();
    if (reasons.length > 0) this.#forwardedAtRound = round;
    this.#send.push(...reasons);
  }

  /**
   * What gives the others work: some of our requests, which they may put into their blocks as well. Our duties only we can say:
   * without requests the message is a call for the one round that our last block stands in.
   */
  #reasons(): readonly Send[] {
    if (this.#duties.isClosed) return [];
    const requests = this.#pending.batch(limits.forwardedRequestsMax).map((request) => request.bytes);
    const isCalling = this.#owesWaiting && this.#own.round > this.#dag.highestQuorumRound;
    if (requests.length === 0 && !isCalling) return [];
    return [{ to: 'all', message: { kind: 'requests', requests } }];
  }

  /** Without proposals of our own, accepted blocks still become durable now and then. */
  #persistWithoutProposal(): void {
    const isLarge = this.#undurableSizeBytes > limits.undurableSizeBytesMax;
    if (this.#observer || this.#isAskedForRounds || isLarge) this.#moveUndurable();
    this.#isAskedForRounds = false;
  }

  #moveUndurable(): void {
    for (const block of this.#undurable) this.#persist.push(block.bytes);
    this.#undurable = [];
    this.#undurableSizeBytes = 0;
  }

  // ── effects ──

  #repeat(nowMs: number): void {
    const hasWork = this.#hasWork(this.#dag.highestQuorumRound + 1);
    const hasLoadedBlocks = this.#loadedBlocks > 0;
    const reasons = (): readonly Send[] => this.#reasons();
    this.#send.push(...this.#repetition.due({ nowMs, hasWork, ownBlock: this.#ownBlock, hasLoadedBlocks, reasons }));
  }

  #takeEffects(wakeAtMs: number | undefined): OrderingEffects {
    const effects = {
      persist: this.#persist,
      send: this.#send,
      commits: this.#commits,
      evidence: [...this.#evidence, ...this.#coins.takeEvidence()],
      wakeAtMs,
    };
    this.#persist = [];
    this.#send = [];
    this.#commits = [];
    this.#evidence = [];
    return effects;
  }
}
