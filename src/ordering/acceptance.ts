/**
 * Acceptance: takes verified blocks into the DAG once their parents are there, parks them until then, and says which
 * blocks have to be fetched from whom (docs/protocol/ordering.md §2 "Accepted", §8).
 *
 * Owns: the parked blocks and the list of missing ones, bounded for each author: what a faulty author makes up costs it
 * its own place only. Twins are stored only when a block of another author needs them.
 */
import type { Digest } from '../crypto/hash.ts';
import { containsReplica, emptySet, type QuorumRule, type ReplicaSet, withReplica } from '../membership/membership.ts';
import type { Block, Reference } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { BlockDag } from './block-dag.ts';
import type { VerifiedBlock } from './commit.ts';
import type { Evidence } from './effects.ts';

/** First wait before a fetch is repeated at another replica; doubled each time up to the longest. Decides nothing. */
const fetchRetryMsMin = 40;
const fetchRetryMsMax = 2_000;
/** After this many questions in vain a new block that cites the missing one makes us ask its author at once. */
const vainAttempts = 3;

interface Parked {
  readonly block: VerifiedBlock;
  /** Who sent it: asked first for its parents. */
  readonly from: number;
  /** Parents not accepted yet. */
  missingCount: number;
}

interface Missing {
  readonly reference: Reference;
  /** Parked blocks that cite it. */
  readonly waiting: Set<Digest>;
  readonly firstAsked: number;
  /** Authors of blocks that cite it: the correct ones among them have it. */
  citedBy: ReplicaSet;
  asked: ReplicaSet;
  attempts: number;
  askAtMs: number;
}

export interface Screened {
  /** False: it would be dropped, whatever its requests are. */
  readonly isWanted: boolean;
  readonly evidence: readonly Evidence[];
}

export interface Fetch {
  readonly to: number;
  readonly references: readonly Reference[];
}

export class Acceptance {
  readonly #rule: QuorumRule;
  readonly #self: number;
  readonly #dag: BlockDag;
  readonly #parked = new Map<Digest, Parked>();
  readonly #parkedByAuthor: Map<Digest, Parked>[];
  readonly #parkedSizeBytes: number[];
  /** By `nameOf` the reference: one that names a known block wrongly is as missing as one that names none. */
  readonly #missing = new Map<string, Missing>();
  /** Missing twins that were not asked for, because nobody needed them; looked at again when a block is parked. */
  readonly #unwanted = new Set<Missing>();
  /** Highest round of any validly signed block of each author, accepted or not. */
  readonly #claimedRounds: number[];
  /** (author, round) pairs whose equivocation was reported. */
  readonly #reported = new Set<string>();
  /** Authors of blocks with requests that are not valid. */
  #forgers: ReplicaSet = emptySet;
  #horizon: number;

  constructor(options: {
    readonly rule: QuorumRule;
    readonly self: number;
    readonly dag: BlockDag;
    readonly horizon: number;
  }) {
    this.#rule = options.rule;
    this.#self = options.self;
    this.#dag = options.dag;
    this.#horizon = options.horizon;
    const { n } = options.rule;
    this.#parkedByAuthor = Array.from({ length: n }, () => new Map<Digest, Parked>());
    this.#parkedSizeBytes = Array.from({ length: n }, () => 0);
    this.#claimedRounds = Array.from({ length: n }, () => 0);
  }

  /** Is the block here already, accepted or parked, or no longer of interest? */
  knows(block: Reference): boolean {
    return this.#dag.get(block.digest) !== undefined || this.#parked.has(block.digest) || block.round <= this.#horizon;
  }

  /** Rounds up to this one count as accepted. */
  get horizon(): number {
    return this.#horizon;
  }

  /** A round that at least one correct replica has reached. */
  get provenRound(): number {
    const descending = this.#claimedRounds
      .map((round, author) => ({ round, author }))
      .sort((a, b) => b.round - a.round);
    let authors = emptySet;
    for (const { round, author } of descending) {
      authors = withReplica(authors, author);
      if (this.#rule.hasCorrect(authors)) return round;
    }
    return 0;
  }

  get parkedCount(): number {
    return this.#parked.size;
  }

  /** The lowest round of a missing block, or undefined when nothing is missing. */
  get lowestMissingRound(): number | undefined {
    let lowest: number | undefined;
    for (const { reference } of this.#missing.values()) {
      if (lowest === undefined || reference.round < lowest) lowest = reference.round;
    }
    return lowest;
  }

  /**
   * Looks at a block that is not known yet and that its author has signed, before anybody takes the trouble to check the
   * signatures of its requests.
   */
  screen(block: Block, from: number): Screened {
    this.#noteClaim(block);
    if (block.round > this.#dag.highestQuorumRound + limits.futureRoundsMax) {
      if (this.provenRound >= block.round - limits.futureRoundsMax) return { isWanted: false, evidence: [] };
      return { isWanted: false, evidence: [this.#rejection(block, from, 'too far in the future')] };
    }
    const evidence = this.#equivocation(block);
    return { isWanted: !this.#isUnwantedTwin(block) && !this.#hasNoPlaceFor(block), evidence };
  }

  /**
   * A block that this author signed has a request that is not valid. Only a faulty replica makes such a block, and finding
   * out costs up to thousands of signatures; so the next one is looked at when others build on it, and not before.
   */
  noteForger(author: number): void {
    this.#forgers = withReplica(this.#forgers, author);
  }

  /** Takes a block that is wanted; returns what became accepted, parents before children. */
  offer(block: VerifiedBlock, from: number, nowMs: number): readonly VerifiedBlock[] {
    this.#noteClaim(block);
    const missingParents = block.parents.filter((parent) => !this.#isSettled(parent));
    if (missingParents.length === 0) return this.#accept(block);
    this.#park(block, from, missingParents, nowMs);
    return [];
  }

  /** Takes back a block from our own log: it was accepted before, so its parents are here or pruned. */
  restore(block: VerifiedBlock): void {
    this.#noteClaim(block);
    if (!this.knows(block)) this.#dag.insert(block);
  }

  /** Rounds up to the horizon count as accepted from now on; returns what that makes acceptable. */
  advanceHorizon(horizon: number): readonly VerifiedBlock[] {
    if (horizon <= this.#horizon) return [];
    this.#horizon = horizon;
    for (const parked of [...this.#parked.values()]) if (parked.block.round <= horizon) this.#unpark(parked);
    const accepted: VerifiedBlock[] = [];
    for (const missing of [...this.#missing.values()]) {
      if (missing.reference.round <= horizon) accepted.push(...this.#settle(missing.reference));
    }
    for (const key of this.#reported) if (Number(key.split('/')[1]) <= horizon) this.#reported.delete(key);
    return accepted;
  }

  /** What to ask for now, of whom: who sent the first citing block, then who made one, then the others in turn. */
  fetches(nowMs: number): readonly Fetch[] {
    const byPeer = new Map<number, Reference[]>();
    for (const missing of this.#missing.values()) {
      if (missing.askAtMs > nowMs || this.#parked.has(missing.reference.digest)) continue;
      if (this.#isUnwantedTwin(missing.reference)) {
        missing.askAtMs = nowMs + fetchRetryMsMax;
        this.#unwanted.add(missing);
        continue;
      }
      const to = this.#askedAt(missing);
      const references = byPeer.get(to) ?? [];
      if (references.length >= limits.fetchReferencesMax) continue;
      references.push(missing.reference);
      byPeer.set(to, references);
      missing.askAtMs = nowMs + Math.min(fetchRetryMsMax, fetchRetryMsMin * 2 ** Math.min(missing.attempts, 10));
      missing.asked = withReplica(missing.asked, to);
      missing.attempts += 1;
    }
    return [...byPeer].map(([to, references]) => ({ to, references }));
  }

  /** When `fetches` has something to say next, or undefined. */
  get nextFetchAtMs(): number | undefined {
    let next: number | undefined;
    for (const missing of this.#missing.values()) {
      if (this.#parked.has(missing.reference.digest)) continue;
      if (next === undefined || missing.askAtMs < next) next = missing.askAtMs;
    }
    return next;
  }

  /** Links came up: what was asked before may be lost, so ask again at once. */
  askAgain(): void {
    for (const missing of this.#missing.values()) {
      missing.askAtMs = 0;
      missing.asked = emptySet;
    }
  }

  #noteClaim({ author, round }: Reference): void {
    if (round > (this.#claimedRounds[author] ?? 0)) this.#claimedRounds[author] = round;
  }

  #rejection(block: Block, from: number, rule: string): Evidence {
    return { kind: 'rejection', rule, from, author: block.author, digest: block.digest };
  }

  /** Would it be parked, with no room left for its author, as the farthest of all, and so be evicted at once? */
  #hasNoPlaceFor(block: Block): boolean {
    const parkedHere = this.#parkedByAuthor[block.author];
    if (parkedHere === undefined) return true;
    const sizeBytes = (this.#parkedSizeBytes[block.author] ?? 0) + block.bytes.length;
    const isFull = parkedHere.size >= limits.parkedPerAuthorMax || sizeBytes > limits.parkedPerAuthorSizeBytesMax;
    if (!isFull || block.parents.every((parent) => this.#isSettled(parent))) return false;
    for (const parked of parkedHere.values()) if (parked.block.round > block.round) return false;
    return true;
  }

  /** Two different blocks of one author and round, reported once for each such pair of author and round. */
  #equivocation(block: Block): readonly Evidence[] {
    const other =
      this.#dag.firstOf(block.author, block.round)?.block ??
      this.#parkedOf(block.author).find((parked) => parked.block.round === block.round)?.block;
    if (other === undefined || other.digest === block.digest) return [];
    const key = `${block.author}/${block.round}`;
    if (this.#reported.has(key)) return [];
    this.#reported.add(key);
    const { author, round } = block;
    return [{ kind: 'equivocation', author, round, first: other.bytes, second: block.bytes }];
  }

  #parkedOf(author: number): readonly Parked[] {
    return [...(this.#parkedByAuthor[author]?.values() ?? [])];
  }

  /** A second block of an author and round, or one of a forger's, that no block of another author needs. */
  #isUnwantedTwin(block: Reference): boolean {
    const isDoubtful =
      this.#dag.firstOf(block.author, block.round) !== undefined || containsReplica(this.#forgers, block.author);
    return isDoubtful && !this.#isNeededByOther(block);
  }

  /**
   * Does a parked block of another author cite this one, directly or through other parked blocks? A twin does not count
   * for itself: it would be refused in its turn, and two hostile authors could have any number of each other's stored.
   */
  #isNeededByOther(block: Reference): boolean {
    const visited = new Set<Digest>();
    const open: Reference[] = [block];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      for (const digest of this.#missing.get(nameOf(next))?.waiting ?? []) {
        const waiting = this.#parked.get(digest)?.block;
        if (waiting === undefined || visited.has(digest)) continue;
        if (waiting.author !== block.author && this.#isFirst(waiting)) return true;
        visited.add(digest);
        open.push(waiting);
      }
    }
    return false;
  }

  /** Is this parked block the only one of its author and round, or the one that was here before the others? */
  #isFirst(block: Reference): boolean {
    if (this.#dag.firstOf(block.author, block.round) !== undefined) return false;
    const first = this.#parkedOf(block.author).find((parked) => parked.block.round === block.round);
    return first?.block.digest === block.digest;
  }

  /**
   * Accepted, or so old that nobody asks. A reference with the digest of one block and the round or author of another is
   * never accepted: else a block could seem to rest on a quorum of the round before and rest on nothing.
   */
  #isSettled(reference: Reference): boolean {
    return reference.round <= this.#horizon || this.#dag.find(reference) !== undefined;
  }

  #park(block: VerifiedBlock, from: number, missingParents: readonly Reference[], nowMs: number): void {
    const parked: Parked = { block, from, missingCount: missingParents.length };
    this.#parked.set(block.digest, parked);
    this.#parkedByAuthor[block.author]?.set(block.digest, parked);
    this.#parkedSizeBytes[block.author] = (this.#parkedSizeBytes[block.author] ?? 0) + block.bytes.length;
    for (const reference of missingParents) {
      const name = nameOf(reference);
      const missing = this.#missing.get(name);
      const citedBy = withReplica(emptySet, block.author);
      if (missing !== undefined) {
        missing.waiting.add(block.digest);
        missing.citedBy |= citedBy;
        const isNews = !containsReplica(missing.asked, block.author) && block.author !== this.#self;
        if (isNews && missing.attempts >= vainAttempts) missing.askAtMs = nowMs;
      } else {
        const missed = { reference, waiting: new Set([block.digest]), firstAsked: from, citedBy, asked: emptySet };
        this.#missing.set(name, { ...missed, attempts: 0, askAtMs: nowMs });
      }
    }
    for (const missing of this.#unwanted) missing.askAtMs = nowMs;
    this.#unwanted.clear();
    this.#evictFarthest(block.author);
  }

  /** Keeps an author within its share of parked blocks: its farthest future goes first. */
  #evictFarthest(author: number): void {
    const parkedHere = this.#parkedByAuthor[author];
    if (parkedHere === undefined) return;
    while (
      parkedHere.size > limits.parkedPerAuthorMax ||
      (this.#parkedSizeBytes[author] ?? 0) > limits.parkedPerAuthorSizeBytesMax
    ) {
      let farthest: Parked | undefined;
      for (const parked of parkedHere.values()) {
        if (farthest === undefined || parked.block.round >= farthest.block.round) farthest = parked;
      }
      if (farthest === undefined) return;
      this.#unpark(farthest);
    }
  }

  #unpark(parked: Parked): void {
    const { block } = parked;
    this.#parked.delete(block.digest);
    this.#parkedByAuthor[block.author]?.delete(block.digest);
    this.#parkedSizeBytes[block.author] = (this.#parkedSizeBytes[block.author] ?? 0) - block.bytes.length;
    for (const parent of block.parents) {
      const name = nameOf(parent);
      const missing = this.#missing.get(name);
      if (missing?.waiting.delete(block.digest) && missing.waiting.size === 0) this.#missing.delete(name);
    }
  }

  /** Inserts a block whose parents are settled, then every parked one that waited for it alone. */
  #accept(block: VerifiedBlock): readonly VerifiedBlock[] {
    this.#dag.insert(block);
    return [block, ...this.#settle(block)];
  }

  /** The block of this reference is no longer waited for; returns what becomes accepted, parents before children. */
  #settle(reference: Reference): readonly VerifiedBlock[] {
    const accepted: VerifiedBlock[] = [];
    const settled = [nameOf(reference)];
    for (let next = settled.pop(); next !== undefined; next = settled.pop()) {
      const missing = this.#missing.get(next);
      this.#missing.delete(next);
      for (const waiting of missing?.waiting ?? []) {
        const parked = this.#parked.get(waiting);
        if (parked === undefined) continue;
        parked.missingCount -= 1;
        if (parked.missingCount > 0) continue;
        this.#unpark(parked);
        if (this.#isUnwantedTwin(parked.block)) continue;
        this.#dag.insert(parked.block);
        accepted.push(parked.block);
        settled.push(nameOf(parked.block));
      }
    }
    return accepted;
  }

  /** Whom to ask for a missing block this time. */
  #askedAt(missing: Missing): number {
    if (missing.attempts === 0 && missing.firstAsked !== this.#self) return missing.firstAsked;
    const { n } = this.#rule;
    for (let peer = 0; peer < n; peer++) {
      const isWorthIt = containsReplica(missing.citedBy, peer) && !containsReplica(missing.asked, peer);
      if (isWorthIt && peer !== this.#self) return peer;
    }
    const turn = (missing.firstAsked + missing.attempts) % n;
    return turn === this.#self ? (turn + 1) % n : turn;
  }
}

/** All of a reference as one key. */
function nameOf({ round, author, digest }: Reference): string {
  return `${round}/${author}/${digest}`;
}
