/**
 * Certified replies: who waits for a proof of which execution, and the proofs when a certified head covers them.
 *
 * In: wishes of clients, executions, the newest certified head. Out: certified replies for the links that want them. Pure;
 * owns the wishes, bounded.
 * Safety: a wish may never come true, as a reply too many is dropped (`execution/reply-batch.ts`). So when there are too many
 * the oldest goes, and is told so: whoever hoards wishes loses those, and keeps nobody else from having one.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Reply } from '../execution/execution.ts';
import type { CertifiedHead, RefusalCode, ReplicaToClient } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import { LinkChains } from './link-chains.ts';

type CertifiedKind = 'certified' | 'head' | 'state' | 'state-refused';
export type CertifiedMessage = Extract<ReplicaToClient, { readonly kind: CertifiedKind }>;

/** Goes to one link. */
export interface CertifiedAnswer {
  readonly link: number;
  readonly message: CertifiedMessage;
}

/** Where proofs come from: the log. Undefined when it cannot be given. */
export interface Prover {
  inclusionPath(leafIndex: number, logSize: number): readonly Digest[] | undefined;
  consistencyPath(from: number, to: number): readonly Digest[] | undefined;
}

/** A wish that had to make room, or that cannot come true. */
export interface DroppedWish {
  readonly link: number;
  readonly requestDigest: Digest;
  readonly code: RefusalCode;
  readonly reason: string;
}

const tooMany = 'too many certified replies are waited for here; ask another one';

interface Waiting {
  readonly reply: Reply & { readonly leafIndex: number };
  readonly links: ReadonlySet<number>;
}

export class CertifiedReplies {
  readonly #prover: Prover;
  /** Links that want a proof of a request not executed yet, by its digest; the oldest first. */
  readonly #wishes = new Map<Digest, Set<number>>();
  /** The same by link. */
  readonly #wishesOf = new Map<number, Set<Digest>>();
  /** Executed, and not covered by a certified head yet; in the order of the log but for what was executed before. */
  #waiting: Waiting[] = [];
  #waitingSizeBytes = 0;
  #wishCount = 0;
  #dropped: DroppedWish[] = [];
  readonly #chains: LinkChains;

  /** The chains are shared with whoever else sends heads to these links. */
  constructor(prover: Prover, chains = new LinkChains(prover)) {
    this.#prover = prover;
    this.#chains = chains;
  }

  /** The smallest log that a head must cover for somebody to get an answer; undefined when nobody waits. */
  get wantedLogSize(): number | undefined {
    let first: number | undefined;
    for (const { reply } of this.#waiting) first = Math.min(first ?? reply.leafIndex, reply.leafIndex);
    return first === undefined ? undefined : first + 1;
  }

  /** A link wants a proof of this request; it holds a head of so many leaves. */
  want(link: number, requestDigest: Digest, heldLogSize: number): void {
    this.#chains.begin(link, heldLogSize);
    const links = this.#wishes.get(requestDigest) ?? new Set();
    if (links.has(link)) return;
    this.#wishes.set(requestDigest, links.add(link));
    this.#wishesOf.set(link, (this.#wishesOf.get(link) ?? new Set()).add(requestDigest));
    this.#wishCount += 1;
    if (this.#wishCount <= limits.certifiedWishesMax) return;
    for (const oldest of this.#wishes.keys()) {
      this.#drop(oldest, this.#takeWish(oldest), 'not-certifying', tooMany);
      return;
    }
  }

  /** A request was executed, or asked for again: whoever wants a proof of it waits for a head from now on. Does anybody? */
  executed(reply: Reply): boolean {
    const links = this.#takeWish(reply.requestDigest);
    const { leafIndex } = reply;
    // Refused, not executed: there is nothing to prove, and the quick replies say so.
    if (leafIndex === undefined || links.size === 0) return false;
    this.#waiting.push({ reply: { ...reply, leafIndex }, links });
    this.#waitingSizeBytes += costOf(reply);
    while (this.#waitingSizeBytes > limits.certifiedWaitingSizeBytesMax) {
      const oldest = this.#waiting.shift();
      if (oldest === undefined) break;
      this.#waitingSizeBytes -= costOf(oldest.reply);
      this.#drop(oldest.reply.requestDigest, oldest.links, 'not-certifying', tooMany);
    }
    return true;
  }

  /** The wishes that came to nothing since this was last asked. */
  takeDropped(): readonly DroppedWish[] {
    const dropped = this.#dropped;
    this.#dropped = [];
    return dropped;
  }

  /** A link is gone. */
  forget(link: number): void {
    this.#chains.forget(link);
    for (const digest of this.#wishesOf.get(link) ?? []) {
      const links = this.#wishes.get(digest);
      if (links?.delete(link)) this.#wishCount -= 1;
      if (links?.size === 0) this.#wishes.delete(digest);
    }
    this.#wishesOf.delete(link);
    // What waits is dropped when its turn comes: there is no such link then.
  }

  /** What the newest certified head covers, in order. */
  take(newest: CertifiedHead | undefined): readonly CertifiedAnswer[] {
    if (newest === undefined || this.#waiting.length === 0) return [];
    const { logSize } = newest.head;
    const covered = this.#waiting.filter(({ reply }) => reply.leafIndex < logSize);
    if (covered.length === 0) return [];
    this.#waiting = this.#waiting.filter(({ reply }) => reply.leafIndex >= logSize);
    const answers: CertifiedAnswer[] = [];
    for (const { reply, links } of covered) {
      this.#waitingSizeBytes -= costOf(reply);
      const { requestDigest, number, commitIndex, result, leafIndex } = reply;
      const inclusionPath = this.#prover.inclusionPath(leafIndex, logSize);
      if (inclusionPath === undefined) {
        // It was executed so long ago that only its result is left.
        this.#drop(requestDigest, links, 'not-retained', 'this replica has dropped this part of the log');
        continue;
      }
      for (const link of links) {
        if (!this.#chains.has(link)) continue;
        const proven = { requestDigest, number, commitIndex, result, leafIndex, inclusionPath };
        answers.push({ link, message: { kind: 'certified', ...proven, ...this.#chains.tied(link, newest) } });
      }
    }
    return answers;
  }

  /** The newest certified head for a link whose client holds one of so many leaves. */
  head(link: number, heldLogSize: number, newest: CertifiedHead | undefined): CertifiedAnswer {
    if (newest === undefined) {
      const none = { certifiedHead: undefined, consistentWith: 0, consistencyPath: [] };
      return { link, message: { kind: 'head', ...none } };
    }
    this.#chains.beginAnew(link, heldLogSize);
    return { link, message: { kind: 'head', ...this.#chains.tied(link, newest) } };
  }

  #drop(requestDigest: Digest, links: ReadonlySet<number>, code: RefusalCode, reason: string): void {
    for (const link of links) this.#dropped.push({ link, requestDigest, code, reason });
  }

  /** Who wants a proof of this; nobody from now on. */
  #takeWish(requestDigest: Digest): ReadonlySet<number> {
    const links = this.#wishes.get(requestDigest);
    if (links === undefined) return new Set();
    this.#wishes.delete(requestDigest);
    this.#wishCount -= links.size;
    for (const link of links) {
      const wishes = this.#wishesOf.get(link);
      wishes?.delete(requestDigest);
      if (wishes?.size === 0) this.#wishesOf.delete(link);
    }
    return links;
  }
}

function costOf({ result }: Reply): number {
  return result.length + limits.sessionResultOverheadSizeBytes;
}
