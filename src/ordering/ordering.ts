/**
 * Ordering: blocks and requests in, one agreed sequence of commits out (docs/protocol/ordering.md).
 *
 * In: batches of messages, requests and link events, and the time, which is used for lingering and retries only. Out:
 * effects, in the order in which they must be carried out: durable, then sent, then committed.
 * Safety: an own block is in the DAG the moment it is made, so nothing decided with its help may leave before it is
 * durable; the order of effects sees to that. Never two own blocks for one round, across restarts (§3.3).
 */
import type { Digest } from '../crypto/hash.ts';
import { genesisReference, type Membership } from '../membership/membership.ts';
import { decodeBlock, encodeBlock, type Reference } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import { Acceptance } from './acceptance.ts';
import { BlockDag } from './block-dag.ts';
import type { Commit, VerifiedBlock } from './commit.ts';
import { CommitSequence } from './commit-sequence.ts';
import type { Evidence, OrderingEffects, OrderingInput } from './effects.ts';
import { Linger } from './linger.ts';
import { chooseParents, markOwnHistory } from './parents.ts';
import { PendingRequests } from './pending-requests.ts';
import type { Verifier } from './validity.ts';

/** First wait before asking others to say again what may be lost; doubled up to the longest while nothing moves. */
const stallMsMin = 200;
const stallMsMax = 5_000;
/** Wait for the answer to one catch-up before the next one is sent to another replica. */
const catchUpMs = 40;
/** A correct replica is this many rounds ahead of our quorum: gather first, propose afterwards. */
const behindRoundsMax = 3;

type Send = OrderingEffects['send'][number];

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
  #quorumRound = 0;
  #isWaiting = false;
  #stalledSinceMs = 0;
  #stallMs = stallMsMin;
  #turn = 0;
  #catchUpAtMs = 0;
  #clockMs = 0;
  #isAskedForRounds = false;
  /** Bytes of blocks that fetches of this step were answered with, by who asked. */
  readonly #answeredSizeBytes = new Map<number, number>();
  #askFromGap = true;

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
    /** The log was lost: propose nothing in this epoch. */
    readonly observer?: boolean;
  }) {
    const { membership, self } = options;
    const { rule } = membership;
    this.#membership = membership;
    this.#self = self;
    this.#sign = options.sign;
    this.#verifier = options.verifier;
    this.#dag = new BlockDag(membership);
    this.#acceptance = new Acceptance({ rule, self, dag: this.#dag });
    this.#linger = new Linger({ n: rule.n, self });
    this.#sequence = new CommitSequence({ membership, dag: this.#dag });
    this.#latestRounds = Array.from({ length: rule.n }, () => 0);
    this.#own = genesisReference(membership.epochGenesis, self);
    this.#observer = options.observer ?? false;
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
      if (block.author === this.#self && block.round > this.#own.round) this.#becomeOwn(block);
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
    this.#answeredSizeBytes.clear();
    // A quorum restored from the log has no time yet: waiting for the others begins now.
    this.#noteQuorum(nowMs);
    for (const input of inputs) this.#take(input, nowMs);
    this.#decide(nowMs);
    while (this.#propose(nowMs)) this.#decide(nowMs);
    this.#forwardWhenBlocked();
    this.#persistWithoutProposal();
    this.#askForMissing(nowMs);
    return this.#takeEffects(this.#wakeAtMs(nowMs));
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
        if (this.#ownBlock !== undefined) this.#sendBlock(input.peer, this.#ownBlock.bytes);
        this.#acceptance.askAgain();
        // What was asked in vain may be answered now. The time of the stall stays: a peer that comes and goes must not put it off.
        this.#stallMs = stallMsMin;
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
        this.#answerFetch(from, message.references);
        return;
      case 'requests':
        for (const bytes of message.requests) {
          const request = this.#verifier.verifyRequest(bytes);
          if (request.ok) this.#pending.add(request.value);
          else this.#reject(`forwarded request: ${request.reason}`, from);
        }
        return;
      case 'catch-up':
        // Answered out of the log by the replica: what is accepted must be in it, else an idle replica keeps it to itself.
        this.#isAskedForRounds = true;
        return;
      case 'hello':
        return;
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
    if (!verdict.ok) this.#reject(verdict.rule, from, { author, digest });
    else this.#noteAcceptedNow(this.#acceptance.offer(verdict.block, from, nowMs), nowMs);
  }

  #answerFetch(from: number, references: readonly Reference[]): void {
    let sizeBytes = this.#answeredSizeBytes.get(from) ?? 0;
    for (const { digest } of references) {
      const block = this.#dag.get(digest)?.block;
      if (block === undefined) continue;
      if (sizeBytes + block.bytes.length > limits.fetchReplySizeBytesMax) break;
      sizeBytes += block.bytes.length;
      this.#sendBlock(from, block.bytes);
    }
    this.#answeredSizeBytes.set(from, sizeBytes);
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
  }

  #noteQuorum(nowMs: number): void {
    const round = this.#dag.highestQuorumRound;
    if (round === this.#quorumRound) return;
    this.#quorumRound = round;
    this.#linger.quorumReached(round, nowMs);
    this.#progressed(nowMs);
  }

  // ── deciding ──

  #decide(nowMs: number): void {
    for (;;) {
      const commits = this.#sequence.decide();
      if (commits.length === 0) return;
      for (const commit of commits) {
        for (const block of commit.blocks) {
          if (isLoaded(block)) this.#loadedBlocks -= 1;
          this.#pending.committed(block);
        }
        this.#commits.push(commit);
      }
      const freed = this.#acceptance.advanceHorizon(this.#sequence.horizon);
      for (const { block, committed } of this.#dag.prune(this.#sequence.horizon + 1)) {
        if (block === undefined || committed) continue;
        if (isLoaded(block)) this.#loadedBlocks -= 1;
        this.#pending.pruned(block);
      }
      this.#noteAcceptedNow(freed, nowMs);
      if (freed.length === 0) return;
    }
  }

  // ── proposing ──

  /** Makes one own block if the rules of §3 say so; true when it did. */
  #propose(nowMs: number): boolean {
    const quorumRound = this.#dag.highestQuorumRound;
    const round = quorumRound + 1;
    if (this.#observer || round <= this.#own.round || !this.#hasWork(round)) return false;
    if (this.#acceptance.provenRound > quorumRound + behindRoundsMax) return false;
    const authors = this.#dag.authorsAt(quorumRound);
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
    const content = { epoch, round, author: this.#self, timestamp: this.#clockMs, parents, requests, duties: [] };
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
    this.#sendBlock('all', block.bytes);
    this.#progressed(nowMs);
  }

  #becomeOwn(block: VerifiedBlock): void {
    this.#own = { round: block.round, author: block.author, digest: block.digest };
    this.#ownBlock = block;
    const entry = this.#dag.get(block.digest);
    if (entry !== undefined) markOwnHistory(this.#dag, entry);
  }

  /** Is there anything to make a round for? (§3.1) */
  #hasWork(round: number): boolean {
    return (
      this.#pending.size > 0 || this.#loadedBlocks > 0 || this.#membership.rule.hasCorrect(this.#dag.authorsAt(round))
    );
  }

  /**
   * We have requests but already used our block for the next round, and nobody else has a reason to make one: give them
   * the reason.
   */
  #forwardWhenBlocked(): void {
    if (this.#pending.size === 0 || this.#own.round <= this.#dag.highestQuorumRound) return;
    if (this.#loadedBlocks > 0 || this.#forwardedAtRound === this.#own.round) return;
    this.#forwardedAtRound = this.#own.round;
    this.#forward();
  }

  #forward(): void {
    const requests = this.#pending.batch().map((request) => request.bytes);
    if (requests.length > 0) this.#send.push({ to: 'all', message: { kind: 'requests', requests } });
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

  // ── what may be lost or missing ──

  #progressed(nowMs: number): void {
    this.#stalledSinceMs = nowMs;
    this.#stallMs = stallMsMin;
  }

  #askForMissing(nowMs: number): void {
    for (const { to, references } of this.#acceptance.fetches(nowMs)) {
      this.#send.push({ to, message: { kind: 'fetch', references } });
    }
    if (this.#isFarBehind() && nowMs >= this.#catchUpAtMs) {
      this.#catchUpAtMs = nowMs + catchUpMs;
      this.#askForRounds();
    }
    const wasWaiting = this.#isWaiting;
    // A block that everyone has pruned answers no fetch; only whole rounds out of a log bring it.
    const isMissing = this.#acceptance.lowestMissingRound !== undefined;
    this.#isWaiting = isMissing || this.#hasWork(this.#dag.highestQuorumRound + 1);
    if (!this.#isWaiting || !wasWaiting) this.#progressed(nowMs);
    if (nowMs < this.#stalledSinceMs + this.#stallMs) return;
    this.#stalledSinceMs = nowMs;
    this.#stallMs = Math.min(stallMsMax, this.#stallMs * 2);
    if (this.#ownBlock !== undefined) this.#sendBlock('all', this.#ownBlock.bytes);
    if (this.#loadedBlocks > 0) this.#passOn();
    this.#forward();
    this.#askForRounds();
  }

  /**
   * Says the newest blocks of others: no block of ours cites them yet, and their author may have given them to us alone.
   * What they carry is work for everybody.
   */
  #passOn(): void {
    const { highestQuorumRound } = this.#dag;
    for (const round of [highestQuorumRound, highestQuorumRound + 1]) {
      if (round < this.#own.round) continue;
      for (const { author, block } of this.#dag.at(round)) {
        if (block !== undefined && author !== this.#self) this.#sendBlock('all', block.bytes);
      }
    }
  }

  #isFarBehind(): boolean {
    return this.#acceptance.provenRound > this.#dag.highestQuorumRound + limits.catchUpRoundsMin;
  }

  /**
   * Asks the next replica in turn for whole rounds: from where ours begin to have gaps, and every other time from where
   * they end. An answer has a limit, and a gap may be a made-up parent that nobody can fill.
   */
  #askForRounds(): void {
    const { n } = this.#membership.rule;
    this.#turn = (this.#turn + 1) % n;
    if (this.#turn === this.#self) this.#turn = (this.#turn + 1) % n;
    const end = this.#dag.highestQuorumRound;
    const from = this.#askFromGap ? Math.min(this.#acceptance.lowestMissingRound ?? end, end) : end;
    this.#askFromGap = !this.#askFromGap;
    const afterRound = Math.max(0, from - 1);
    this.#send.push({ to: this.#turn, message: { kind: 'catch-up', afterRound } });
  }

  // ── effects ──

  #sendBlock(to: number | 'all', block: Uint8Array): void {
    this.#send.push({ to, message: { kind: 'block', block } });
  }

  #wakeAtMs(nowMs: number): number | undefined {
    const times: number[] = [];
    if (this.#isWaiting) {
      times.push(this.#stalledSinceMs + this.#stallMs);
      const lingerEndsAtMs = this.#linger.endsAtMs(this.#dag.highestQuorumRound, nowMs);
      if (lingerEndsAtMs > nowMs) times.push(lingerEndsAtMs);
    }
    if (this.#acceptance.nextFetchAtMs !== undefined) times.push(this.#acceptance.nextFetchAtMs);
    if (this.#isFarBehind()) times.push(this.#catchUpAtMs);
    return times.length === 0 ? undefined : Math.max(nowMs, Math.min(...times));
  }

  #takeEffects(wakeAtMs: number | undefined): OrderingEffects {
    const effects = {
      persist: this.#persist,
      send: this.#send,
      commits: this.#commits,
      evidence: this.#evidence,
      wakeAtMs,
    };
    this.#persist = [];
    this.#send = [];
    this.#commits = [];
    this.#evidence = [];
    return effects;
  }
}

function isLoaded(block: VerifiedBlock): boolean {
  return block.requests.length > 0 || block.duties.length > 0;
}
