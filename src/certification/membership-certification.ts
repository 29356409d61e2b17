/**
 * Membership certification: one signature of the service under the statement who its replicas are, once an epoch.
 *
 * In: shares and signatures from others. Out: our share until it is certified, then the signature to who lacks it. The
 * statement is a function of the genesis, so all correct replicas sign the same bytes.
 */
import { type Digest, sha256 } from '../crypto/hash.ts';
import { sharesWithoutPairing } from '../crypto/threshold.ts';
import { limits } from '../wire/limits.ts';
import type { CertifiedStatement, CertifiedStatementMessage, SignatureShareMessage } from './effects.ts';
import type { Parts } from './parts.ts';
import { Retry } from './retry.ts';
import { statementMessage } from './statement.ts';
import { Told } from './told.ts';

export class MembershipCertification {
  readonly #parts: Parts;
  readonly #encoded: Uint8Array;
  readonly #digest: Digest;
  readonly #message: Uint8Array;
  /** Of others, as they came. */
  readonly #shares = new Map<number, Uint8Array>();
  /** Signatures that others gave as the service's, one of each. */
  readonly #candidates = new Map<number, Uint8Array>();
  readonly #told = new Told();
  readonly #retry = new Retry();
  #own: Uint8Array | undefined;
  #enoughAtMs: number | undefined;
  #certified: CertifiedStatement | undefined;

  constructor(parts: Parts, encoded: Uint8Array) {
    this.#parts = parts;
    this.#encoded = encoded;
    this.#digest = sha256(encoded);
    this.#message = statementMessage('membership', this.#digest);
  }

  get certified(): CertifiedStatement | undefined {
    return this.#certified;
  }

  takeShare(from: number, { digest, share }: SignatureShareMessage, nowMs: number): void {
    const { suspects } = this.#parts;
    if (suspects.isExcluded(from)) return;
    if (digest !== this.#digest) {
      suspects.name(from, 'signature share: of another membership statement', digest);
      return;
    }
    // It says so again: it does not know that the statement is certified.
    if (this.#shares.has(from)) this.#tell(from, nowMs);
    else this.#shares.set(from, Uint8Array.from(share));
  }

  takeCertified(from: number, { encoded, signature }: CertifiedStatementMessage): void {
    const { suspects } = this.#parts;
    if (this.#certified !== undefined || suspects.isExcluded(from)) return;
    const digest = sha256(encoded);
    if (digest !== this.#digest) suspects.name(from, 'certified statement: another membership statement', digest);
    else this.#candidates.set(from, Uint8Array.from(signature));
  }

  connected(peer: number, nowMs: number): void {
    if (this.#certified !== undefined) {
      this.#told.forget(peer);
      this.#tell(peer, nowMs);
    } else if (this.#own !== undefined) {
      this.#sendShare(peer, this.#own);
    }
  }

  step(nowMs: number): void {
    const { signing } = this.#parts;
    if (this.#certified !== undefined || !signing.hasServiceKey) return;
    this.#sign(nowMs);
    this.#combine(nowMs);
    this.#checkCandidate(nowMs);
    if (this.#certified !== undefined) {
      this.#retry.stop();
      this.#candidates.clear();
      return;
    }
    if (this.#own !== undefined && this.#retry.takeTurn(nowMs)) this.#sendShare('all', this.#own);
    if (this.#retry.nextAtMs !== undefined) this.#parts.outbox.wakeAt(this.#retry.nextAtMs);
  }

  #sign(nowMs: number): void {
    const { signing, suspects, self } = this.#parts;
    if (this.#own !== undefined || suspects.isExcluded(self)) return;
    this.#own = signing.sign(this.#message);
    if (this.#own === undefined) return;
    this.#sendShare('all', this.#own);
    this.#retry.begin(nowMs);
  }

  /** At once with so many shares that no pairing is needed, a little later with fewer. */
  #combine(nowMs: number): void {
    const { signing, suspects, outbox, self, threshold } = this.#parts;
    const shares = [...this.#shares].map(([holder, share]) => ({ holder, share }));
    if (this.#own !== undefined) shares.push({ holder: self, share: this.#own });
    if (shares.length < threshold) return;
    this.#enoughAtMs ??= nowMs;
    const atMs = this.#enoughAtMs + limits.certifyLazyMs;
    if (shares.length < sharesWithoutPairing(threshold) && nowMs < atMs) {
      outbox.wakeAt(atMs);
      return;
    }
    const { signature, culprits } = signing.combine(this.#message, shares);
    for (const culprit of culprits) {
      suspects.exclude(culprit, 'signature share: not valid', this.#digest, nowMs);
      this.#shares.delete(culprit);
      if (culprit === self) this.#own = undefined;
    }
    if (signature !== undefined) this.#certified = { encoded: this.#encoded, signature };
  }

  /** One a step: it costs a pairing. */
  #checkCandidate(nowMs: number): void {
    const { signing, suspects, outbox } = this.#parts;
    if (this.#certified !== undefined) return;
    for (const [from, signature] of this.#candidates) {
      this.#candidates.delete(from);
      if (signing.verify(this.#message, signature)) this.#certified = { encoded: this.#encoded, signature };
      else suspects.exclude(from, 'certified statement: not signed by the service', this.#digest, nowMs);
      if (this.#candidates.size > 0) outbox.wakeAt(nowMs);
      return;
    }
  }

  #tell(peer: number, nowMs: number): void {
    if (this.#certified === undefined || !this.#told.takeTurn(peer, nowMs)) return;
    this.#parts.outbox.send(peer, { kind: 'certified-statement', statement: 'membership', ...this.#certified });
  }

  #sendShare(to: number | 'all', share: Uint8Array): void {
    const { outbox } = this.#parts;
    outbox.send(to, { kind: 'signature-share', statement: 'membership', commitIndex: 0, digest: this.#digest, share });
  }
}
