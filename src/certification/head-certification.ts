/**
 * Head certification: gets the service's signature under the heads that our own execution came to.
 *
 * In: our due heads; shares and certified heads from others. Out: our share of each due head, at once; the newest certified head,
 * which only ever grows. Combining is lazy: at once when somebody waits, else one signature for all that came meanwhile.
 * Safety: only a head that we executed ourselves is ever certified here. When the service signed another one than ours, this
 * replica has diverged: it says so, signs nothing more, and keeps what it had (docs/protocol/certification.md §§4-6).
 */
import { type Digest, sha256 } from '../crypto/hash.ts';
import { sharesWithoutPairing } from '../crypto/threshold.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { decodeHead, type Head } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import { type DueHead, DueHeads } from './due-heads.ts';
import type { CertifiedStatementMessage, Divergence, SignatureShareMessage } from './effects.ts';
import type { Parts } from './parts.ts';
import { Retry } from './retry.ts';
import { ShareBook } from './share-book.ts';
import { statementMessage } from './statement.ts';
import { Told } from './told.ts';

/** A head that somebody says the service signed; not verified. */
interface Candidate {
  readonly head: Head;
  readonly digest: Digest;
  readonly encoded: Uint8Array;
  readonly signature: Uint8Array;
}

export class HeadCertification {
  readonly #parts: Parts;
  readonly #serviceId: Digest;
  readonly #epoch: number;
  readonly #dues = new DueHeads();
  readonly #book: ShareBook;
  /** The newest of each replica. */
  readonly #candidates = new Map<number, Candidate>();
  /** Commit of the last share of each replica. */
  readonly #lastShareOf = new Map<number, number>();
  readonly #told = new Told();
  readonly #retry = new Retry();
  /** Commits of which somebody may have signed another head than ours, to be looked at in this step. */
  readonly #toCompare = new Set<number>();
  #newest: CertifiedHead | undefined;
  #newestEncoded: Uint8Array | undefined;
  #divergence: Divergence | undefined;
  #signedUpTo = 0;
  /** Somebody waits for a head of so many leaves. */
  #wantedLogSize: number | undefined;
  /** Since when some head has shares enough. */
  #enoughSinceMs: number | undefined;
  /** No head is certified by a pairing before, for somebody who waits. */
  #pairingsRestUntilMs = Number.NEGATIVE_INFINITY;
  /** No signature under a head of ours is verified before. */
  #certifiedRestUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: { parts: Parts; replicas: number; serviceId: Digest; epoch: number }) {
    this.#parts = options.parts;
    this.#serviceId = options.serviceId;
    this.#epoch = options.epoch;
    this.#book = new ShareBook(options.replicas);
  }

  get newest(): CertifiedHead | undefined {
    return this.#newest;
  }

  get divergence(): Divergence | undefined {
    return this.#divergence;
  }

  /** Due heads above the newest certified one. */
  get waitingCount(): number {
    return [...this.#dues.newestAbove(this.#certifiedUpTo)].length;
  }

  takeDue(head: Head): void {
    if (this.#divergence !== undefined) return;
    const before = this.#dues.newest?.head.commitIndex ?? 0;
    this.#dues.add(head);
    for (const commitIndex of this.#book.commitsIn(before, head.commitIndex)) this.#toCompare.add(commitIndex);
  }

  takeShare(from: number, { commitIndex, digest, share }: SignatureShareMessage, nowMs: number): void {
    if (this.#divergence !== undefined || this.#parts.suspects.isExcluded(from)) return;
    const isRepeated = this.#lastShareOf.get(from) === commitIndex;
    this.#lastShareOf.set(from, commitIndex);
    const isOurs = this.#dues.judge(commitIndex, digest) !== 'another';
    if (commitIndex > this.#certifiedUpTo) {
      this.#book.add({ holder: from, commitIndex, digest, share });
      if (!isOurs) this.#toCompare.add(commitIndex);
    } else if (!isOurs) {
      this.#contradicted(from, digest, nowMs);
    } else if (isRepeated) {
      // It says so again: it does not know of a certified head that covers this one.
      this.#tell(from, nowMs);
    }
  }

  takeCertified(from: number, { encoded, signature }: CertifiedStatementMessage, nowMs: number): void {
    const digest = sha256(encoded);
    if (this.#divergence !== undefined) {
      this.#explain(encoded, digest);
      return;
    }
    const { suspects } = this.#parts;
    if (suspects.isExcluded(from)) return;
    const head = decodeHead(encoded);
    if (head === undefined || head.serviceId !== this.#serviceId || head.epoch !== this.#epoch) {
      suspects.exclude(from, 'certified statement: not a head of this service', digest, nowMs);
      return;
    }
    const before = this.#candidates.get(from)?.head.commitIndex ?? this.#certifiedUpTo;
    if (head.commitIndex <= before) return;
    this.#candidates.set(from, {
      head,
      digest,
      encoded: Uint8Array.from(encoded),
      signature: Uint8Array.from(signature),
    });
  }

  want(logSize: number): void {
    if (logSize <= (this.#newest?.head.logSize ?? 0)) return;
    this.#wantedLogSize = Math.min(logSize, this.#wantedLogSize ?? logSize);
  }

  /** What the peer may lack: the newest certified head, and our shares of those above it. */
  connected(peer: number, nowMs: number): void {
    this.#told.forget(peer);
    this.#tell(peer, nowMs);
    if (this.#divergence !== undefined) return;
    const open = [...this.#dues.newestAbove(this.#certifiedUpTo)].filter(({ share }) => share !== undefined);
    for (const due of open.slice(0, limits.headsSignedPerStepMax).reverse()) this.#sendShare(peer, due);
  }

  /** The key is there: what came before it can be looked at. */
  keyIsThere(): void {
    const upTo = this.#dues.newest?.head.commitIndex ?? 0;
    for (const commitIndex of this.#book.commitsIn(0, upTo)) this.#toCompare.add(commitIndex);
  }

  step(nowMs: number): void {
    if (this.#parts.signing.hasServiceKey && this.#divergence === undefined) {
      this.#sign(nowMs);
      this.#compare(nowMs);
      this.#certify(nowMs);
      this.#checkCandidates(nowMs);
      this.#sayAgain(nowMs);
    }
    this.#toCompare.clear();
  }

  get #certifiedUpTo(): number {
    return this.#newest?.head.commitIndex ?? 0;
  }

  /**
   * Signs the due heads not signed yet: at first the newest only, whatever came before the key or in an earlier life; later
   * all of a step, so that replicas whose steps differ sign the same, but for a bound that only catching up reaches.
   */
  #sign(nowMs: number): void {
    const { signing, suspects, self } = this.#parts;
    if (!signing.canSign || suspects.isExcluded(self)) return;
    const unsigned = [...this.#dues.newestAbove(Math.max(this.#signedUpTo, this.#certifiedUpTo))];
    const countMax = this.#signedUpTo === 0 ? 1 : limits.headsSignedPerStepMax;
    for (const due of unsigned.slice(0, countMax).reverse()) {
      due.share = signing.sign(due.message);
      this.#sendShare('all', due);
      this.#signedUpTo = due.head.commitIndex;
      this.#retry.begin(nowMs);
    }
  }

  /** Did so many sign another head than ours that one of them is correct? */
  #compare(nowMs: number): void {
    const { threshold, signing } = this.#parts;
    for (const commitIndex of this.#toCompare) {
      const others = this.#book
        .at(commitIndex)
        .filter(({ digest }) => this.#dues.judge(commitIndex, digest) === 'another');
      for (const digest of new Set(others.map((kept) => kept.digest))) {
        const shares = others.filter((kept) => kept.digest === digest);
        if (shares.length < threshold) continue;
        const { signature, culprits } = signing.combine(statementMessage('head', digest), shares);
        this.#exclude(culprits, digest, nowMs);
        if (signature === undefined) continue;
        this.#diverge({ commitIndex, digest, signature, head: undefined });
        return;
      }
    }
  }

  #certify(nowMs: number): void {
    if (this.#divergence !== undefined) return;
    const { signing, suspects, self } = this.#parts;
    for (let due = this.#choose(nowMs); due !== undefined; due = this.#choose(nowMs)) {
      const { digest, share: own } = due;
      const ofOthers = this.#book.at(due.head.commitIndex).filter((kept) => kept.digest === digest);
      const ofSelf = own === undefined || suspects.isExcluded(self) ? [] : [{ holder: self, share: own }];
      const { signature, culprits } = signing.combine(due.message, [...ofSelf, ...ofOthers]);
      this.#exclude(culprits, digest, nowMs);
      if (signature !== undefined) {
        if (this.#countOf(due) < this.#countWithoutPairing) {
          this.#pairingsRestUntilMs = nowMs + limits.certifyPairingRestMs;
        }
        this.#adopt(due, signature, nowMs);
      } else if (culprits.length === 0)
        throw new Error('invariant: enough shares make no signature, and none is wrong');
    }
  }

  /** The head to be certified now, if any: one that needs no pairing rather than a newer one that does. */
  #choose(nowMs: number): DueHead | undefined {
    const { threshold, outbox } = this.#parts;
    const wanted = this.#wantedLogSize;
    let newest: DueHead | undefined;
    let ripe: DueHead | undefined;
    let free: DueHead | undefined;
    let wakeAtMs = Number.POSITIVE_INFINITY;
    for (const due of this.#dues.newestAbove(this.#certifiedUpTo)) {
      const count = this.#countOf(due);
      if (count < threshold) continue;
      due.enoughAtMs ??= nowMs;
      newest ??= due;
      if (wanted !== undefined && due.head.logSize >= wanted) {
        const ripeAtMs = Math.max(due.enoughAtMs + limits.certifyPairingAfterMs, this.#pairingsRestUntilMs);
        if (nowMs >= ripeAtMs) ripe ??= due;
        else wakeAtMs = Math.min(wakeAtMs, ripeAtMs);
      }
      if (count < this.#countWithoutPairing) continue;
      free = due;
      break;
    }
    if (newest === undefined) return undefined;
    this.#enoughSinceMs ??= nowMs;
    if (wanted !== undefined && free !== undefined && free.head.logSize >= wanted) return free;
    if (ripe !== undefined) return ripe;
    const lazyUntilMs = this.#enoughSinceMs + limits.certifyLazyMs;
    if (nowMs >= lazyUntilMs) return free ?? newest;
    outbox.wakeAt(Math.min(wakeAtMs, lazyUntilMs));
    return undefined;
  }

  /** With so many shares of a head the combination is right without a look at the key. */
  get #countWithoutPairing(): number {
    return sharesWithoutPairing(this.#parts.threshold);
  }

  #countOf({ head, digest, share }: DueHead): number {
    const { suspects, self } = this.#parts;
    const own = share === undefined || suspects.isExcluded(self) ? 0 : 1;
    return this.#book.countOf(head.commitIndex, digest) + own;
  }

  /**
   * Verifies the newest signature that came with a head whose commit we have executed. One a step, since it costs a
   * pairing; and after one that was right those of heads of ours rest, or a quick faulty replica could make each head cost
   * one.
   */
  #checkCandidates(nowMs: number): void {
    if (this.#divergence !== undefined) return;
    const { signing, suspects, outbox } = this.#parts;
    const ready: (readonly [number, Candidate])[] = [];
    for (const [from, candidate] of this.#candidates) {
      const { head, digest } = candidate;
      const judgement = this.#dues.judge(head.commitIndex, digest);
      if (head.commitIndex <= this.#certifiedUpTo || judgement === 'unknown') this.#candidates.delete(from);
      else if (judgement === 'ours' && nowMs < this.#certifiedRestUntilMs) outbox.wakeAt(this.#certifiedRestUntilMs);
      else if (judgement !== 'ahead') ready.push([from, candidate]);
    }
    const best = ready.sort(([, a], [, b]) => b.head.commitIndex - a.head.commitIndex)[0];
    if (best === undefined) return;
    const [from, { head, digest, signature }] = best;
    this.#candidates.delete(from);
    if (ready.length > 1) outbox.wakeAt(nowMs);
    const { commitIndex } = head;
    if (!signing.verify(statementMessage('head', digest), signature)) {
      suspects.exclude(from, 'certified statement: not signed by the service', digest, nowMs);
      return;
    }
    this.#certifiedRestUntilMs = nowMs + limits.certifiedChecksRestMs;
    const due = this.#dues.at(commitIndex);
    if (due?.digest === digest) this.#adopt(due, signature, nowMs);
    else this.#diverge({ commitIndex, digest, signature, head });
  }

  #adopt(due: DueHead, signature: Uint8Array, nowMs: number): void {
    const { head } = due;
    this.#newest = { head, signature };
    this.#newestEncoded = due.encoded;
    this.#enoughSinceMs = undefined;
    if (this.#wantedLogSize !== undefined && this.#wantedLogSize <= head.logSize) this.#wantedLogSize = undefined;
    if (this.#dues.newest === due) this.#retry.stop();
    // The histories behind heads are chained: when this one is right, so were all our heads before it.
    for (const { holder, commitIndex, digest } of this.#book.takeUpTo(head.commitIndex)) {
      if (this.#dues.judge(commitIndex, digest) === 'another') this.#contradicted(holder, digest, nowMs);
    }
  }

  /** It signed another head than the service: it has diverged, or lies. Told of it, a replica that has diverged notices. */
  #contradicted(holder: number, digest: Digest, nowMs: number): void {
    this.#parts.suspects.name(holder, 'signature share: of another head than the certified one', digest);
    this.#tell(holder, nowMs);
  }

  #exclude(culprits: readonly number[], digest: Digest, nowMs: number): void {
    const { suspects, self } = this.#parts;
    for (const culprit of culprits) {
      suspects.exclude(culprit, 'signature share: not valid', digest, nowMs);
      if (culprit !== self) this.#book.clear(culprit);
    }
  }

  #diverge(other: { commitIndex: number; digest: Digest; signature: Uint8Array; head: Head | undefined }): void {
    const { commitIndex, digest, signature, head } = other;
    const own = this.#dues.atOrAfter(commitIndex);
    if (own === undefined) throw new Error(`invariant: no own head to hold against that of commit ${commitIndex}`);
    const certified = head === undefined ? undefined : { head, signature };
    this.#divergence = { own: own.head, digest, signature, certified };
    const { signing, outbox, self } = this.#parts;
    signing.stop();
    this.#retry.stop();
    this.#candidates.clear();
    outbox.reject('head: the service signed another one than ours', self, self, digest);
  }

  /** The head that others' shares told us of by its digest only. */
  #explain(encoded: Uint8Array, digest: Digest): void {
    const known = this.#divergence;
    if (known === undefined || known.certified !== undefined || digest !== known.digest) return;
    const head = decodeHead(encoded);
    if (head !== undefined) this.#divergence = { ...known, certified: { head, signature: known.signature } };
  }

  #sayAgain(nowMs: number): void {
    const { newest } = this.#dues;
    if (newest?.share === undefined || this.#retry.nextAtMs === undefined) return;
    if (this.#retry.takeTurn(nowMs)) this.#sendShare('all', newest);
    this.#parts.outbox.wakeAt(this.#retry.nextAtMs);
  }

  #tell(peer: number, nowMs: number): void {
    if (this.#newest === undefined || this.#newestEncoded === undefined || !this.#told.takeTurn(peer, nowMs)) return;
    const { signature } = this.#newest;
    this.#parts.outbox.send(peer, {
      kind: 'certified-statement',
      statement: 'head',
      encoded: this.#newestEncoded,
      signature,
    });
  }

  #sendShare(to: number | 'all', { head, digest, share }: DueHead): void {
    if (share === undefined) return;
    const { commitIndex } = head;
    this.#parts.outbox.send(to, { kind: 'signature-share', statement: 'head', commitIndex, digest, share });
  }
}
