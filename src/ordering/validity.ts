/**
 * Validity: the rules a block must keep whoever looks at it (docs/protocol/ordering.md §2, "Valid").
 *
 * In: a decoded block and the membership; no clock, no local state: what one correct replica finds valid, every one does.
 * Out: a `VerifiedBlock`, which nothing else makes, or the rule that was broken. Signatures of requests are part of it:
 * a block with a forged request is its author's fault and is refused whole, so execution never sees one.
 */
import { importPublicKey, type PublicKey, verify } from '../crypto/ed25519.ts';
import { type Digest, digestBytes } from '../crypto/hash.ts';
import {
  containsReplica,
  emptySet,
  genesisReference,
  type Membership,
  type ReplicaSet,
  withReplica,
} from '../membership/membership.ts';
import { type Block, decodeBlock } from '../wire/block.ts';
import { domains } from '../wire/domain.ts';
import { limits } from '../wire/limits.ts';
import type { Decoded } from '../wire/reader.ts';
import { decodeRequest, type Request, requestPreimage } from '../wire/request.ts';
import { Writer } from '../wire/writer.ts';
import type { VerifiedBlock } from './commit.ts';

export type Validity =
  | { readonly ok: true; readonly block: VerifiedBlock }
  | { readonly ok: false; readonly rule: string };

/** Checks one Ed25519 signature. Production: `verify`; the simulator remembers answers across its replicas. */
export type SignatureCheck = (key: PublicKey, bytes: Uint8Array, signature: Uint8Array) => boolean;

/** What the author of a block with this digest signs. */
export function blockPreimage(digest: Digest): Uint8Array {
  return new Writer(96).fixed(domains.block).fixed(digestBytes(digest)).finish();
}

export class Verifier {
  readonly #membership: Membership;
  readonly #check: SignatureCheck;
  readonly #genesisDigests: readonly Digest[];
  /** Imported client keys by hex; two generations, so that the used ones stay and the rest goes. */
  readonly #clientKeys = new TwoGenerations<string, PublicKey | undefined>(limits.verifierKeysMax);
  /** Signature by request digest: a request seen before with this very signature need not be checked again. */
  readonly #requests = new TwoGenerations<Digest, string>(limits.verifierRequestsMax);

  constructor(options: { readonly membership: Membership; readonly check?: SignatureCheck }) {
    this.#membership = options.membership;
    this.#check = options.check ?? verify;
    this.#genesisDigests = options.membership.members.map(
      (_, author) => genesisReference(options.membership.epochGenesis, author).digest,
    );
  }

  /** Checks all rules of a block; the cheap ones first. */
  verifyBlock(block: Block): Validity {
    const rule = this.ruleBrokenByAuthor(block);
    return rule === undefined ? this.verifyRequests(block) : { ok: false, rule };
  }

  /** The first rule broken of those that are cheap to check: all but the signatures of requests. */
  ruleBrokenByAuthor(block: Block): string | undefined {
    const rule = this.#brokenRule(block);
    if (rule !== undefined) return rule;
    const author = this.#membership.members[block.author];
    if (author === undefined || !this.#check(author.signingKey, blockPreimage(block.digest), block.signature)) {
      return 'block signature';
    }
    return undefined;
  }

  /** The rest of `verifyBlock`, for a block whose author has broken no rule: up to thousands of signatures. */
  verifyRequests(block: Block): Validity {
    const decodedRequests: Request[] = [];
    for (const bytes of block.requests) {
      const request = this.verifyRequest(bytes);
      if (!request.ok) return { ok: false, rule: `request: ${request.reason}` };
      decodedRequests.push(request.value);
    }
    return { ok: true, block: { ...block, verified: true, decodedRequests } };
  }

  /** A block we have just made ourselves of requests that were verified when they came. Its form is checked all the same. */
  verifyOwnBlock(block: Block, decodedRequests: readonly Request[]): VerifiedBlock {
    const rule = this.#brokenRule(block);
    if (rule !== undefined) throw new Error(`invariant: our own block breaks a rule: ${rule}`);
    return { ...block, verified: true, decodedRequests };
  }

  /**
   * Blocks from our own log, verified before they were written: signatures are not checked again, because the log is
   * authenticated by a key of its own. Throws an Error when one cannot have been accepted.
   */
  restoreAll(encodedBlocks: readonly Uint8Array[]): readonly VerifiedBlock[] {
    return encodedBlocks.map((bytes) => {
      const decoded = decodeBlock(bytes);
      if (!decoded.ok) throw new Error(`a block of the log is malformed: ${decoded.reason}`);
      return this.#restore(decoded.value);
    });
  }

  #restore(block: Block): VerifiedBlock {
    const rule = this.#brokenRule(block);
    if (rule !== undefined) throw new Error(`a block of the log breaks a rule: ${rule}`);
    const decodedRequests = block.requests.map((bytes) => {
      const decoded = decodeRequest(bytes);
      if (!decoded.ok) throw new Error(`a request of the log is malformed: ${decoded.reason}`);
      return decoded.value;
    });
    return { ...block, verified: true, decodedRequests };
  }

  /** Decodes a request and checks its client's signature for this service. */
  verifyRequest(bytes: Uint8Array): Decoded<Request> {
    const decoded = decodeRequest(bytes);
    if (!decoded.ok) return decoded;
    const request = decoded.value;
    const signature = (request.signature as Buffer).toString('latin1');
    if (this.#requests.get(request.digest) === signature) return decoded;
    const key = this.#clientKey(request.client);
    if (key === undefined) return { ok: false, reason: 'client key' };
    const preimage = requestPreimage(this.#membership.serviceId, request.digest);
    if (!this.#check(key, preimage, request.signature)) return { ok: false, reason: 'signature' };
    this.#requests.set(request.digest, signature);
    return decoded;
  }

  #clientKey(client: Uint8Array): PublicKey | undefined {
    const text = (client as Buffer).toString('latin1');
    const known = this.#clientKeys.get(text);
    if (known !== undefined) return known;
    const key = importPublicKey(client);
    if (key !== undefined) this.#clientKeys.set(text, key);
    return key;
  }

  /** The first rule that the form of the block breaks, apart from signatures. */
  #brokenRule(block: Block): string | undefined {
    const { epoch, members, rule } = this.#membership;
    if (block.epoch !== epoch) return `epoch is ${block.epoch}, ours ${epoch}`;
    if (members[block.author] === undefined) return 'author not in the membership';
    if (block.round < 1) return 'round below 1';
    const own = block.parents[0];
    if (own === undefined || own.author !== block.author) return "first parent not the author's own";
    let cited: ReplicaSet = emptySet;
    let citedAtPrevious: ReplicaSet = emptySet;
    for (const parent of block.parents) {
      if (members[parent.author] === undefined) return "a parent's author not in the membership";
      if (containsReplica(cited, parent.author)) return 'two parents by one author';
      if (parent.round >= block.round) return 'a parent of no lower round';
      if (parent.round === 0 && parent.digest !== this.#genesisDigests[parent.author]) return 'unknown genesis block';
      cited = withReplica(cited, parent.author);
      if (parent.round === block.round - 1) citedAtPrevious = withReplica(citedAtPrevious, parent.author);
    }
    if (!rule.isQuorum(citedAtPrevious)) return 'no quorum of parents at the round before';
    return undefined;
  }
}

/** A bounded memory: when the young generation is full it becomes the old one, and the old one is forgotten. */
class TwoGenerations<K, V> {
  readonly #max: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  constructor(max: number) {
    this.#max = max;
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    if (this.#young.size >= this.#max) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}
