/**
 * Certification: every certified head is signed by the one service key and says what the log of all correct replicas says;
 * every certified reply proves what was executed.
 *
 * Correct replicas agree on the service key, in every life. The checker verifies like a client: with that key alone.
 */
import { blsVerify } from '../../src/crypto/bls.ts';
import type { PairingCurve } from '../../src/crypto/curve.ts';
import { type Digest, digestBytes, sha256, sha256Of } from '../../src/crypto/hash.ts';
import { verifyInclusion } from '../../src/crypto/merkle.ts';
import type { CertifiedMessage } from '../../src/replica/certified-replies.ts';
import type { CertifiedHead } from '../../src/wire/client-message.ts';
import { domains } from '../../src/wire/domain.ts';
import { encodeHead } from '../../src/wire/head.ts';
import { Writer } from '../../src/wire/writer.ts';
import type { Report } from './violation.ts';

export class CertificationChecker {
  readonly #report: Report;
  readonly #curve: PairingCurve;
  #serviceKey: string | undefined;
  /** Digest of what the certified head of each commit says, and heads whose signature was looked at. */
  readonly #heads = new Map<number, Digest>();
  readonly #checked = new Set<Digest>();
  /** The log as certified heads of any size have it. */
  readonly #roots = new Map<number, Digest>();
  readonly #newest = new Map<number, number>();
  #replies = 0;

  constructor(report: Report, curve: PairingCurve) {
    this.#report = report;
    this.#curve = curve;
  }

  get serviceKey(): string | undefined {
    return this.#serviceKey;
  }

  /** Distinct heads seen with a signature. */
  get heads(): number {
    return this.#heads.size;
  }

  /** Certified replies checked. */
  get replies(): number {
    return this.#replies;
  }

  /** A correct replica has this service key and this newest certified head. */
  observe(replica: number, serviceKey: string | undefined, newest: CertifiedHead | undefined): void {
    if (serviceKey !== undefined) {
      this.#serviceKey ??= serviceKey;
      if (serviceKey !== this.#serviceKey) this.#report('certification', `r${replica} has another service key`);
    }
    if (newest === undefined) return;
    const { logSize } = newest.head;
    if (logSize < (this.#newest.get(replica) ?? 0)) {
      this.#report('certification', `r${replica} falls back to a certified head of ${logSize} leaves`);
    }
    this.#newest.set(replica, logSize);
    this.#check(`r${replica}`, newest);
  }

  /** A replica is back from its log: its newest certified head is to be found again. */
  restored(replica: number): void {
    this.#newest.delete(replica);
  }

  /** A correct replica gave this proof to a client. */
  answered(replica: number, message: CertifiedMessage): void {
    if (message.kind !== 'certified') return;
    const { requestDigest, result, commitIndex, leafIndex, inclusionPath, certifiedHead } = message;
    this.#replies += 1;
    this.#check(`r${replica}`, certifiedHead);
    const entry = new Writer(80).digest(requestDigest).digest(sha256(result)).u64(commitIndex).finish();
    const leaf = sha256Of([Uint8Array.of(0), entry]);
    const { logSize, logRoot } = certifiedHead.head;
    const isIncluded = verifyInclusion({ leaf, index: leafIndex, size: logSize, path: inclusionPath, root: logRoot });
    if (!isIncluded)
      this.#report('certification', `r${replica} gives a proof of leaf ${leafIndex} that proves nothing`);
  }

  #check(who: string, { head, signature }: CertifiedHead): void {
    const digest = sha256(encodeHead(head));
    // The head with which an epoch ends is said again by the next one: the same but for that.
    const content = sha256(encodeHead({ ...head, epoch: 0 }));
    const known = this.#heads.get(head.commitIndex);
    if (known !== undefined && known !== content) {
      this.#report('certification', `${who} has another certified head of commit ${head.commitIndex}`);
      return;
    }
    const root = this.#roots.get(head.logSize);
    if (root !== undefined && root !== head.logRoot) {
      this.#report('certification', `${who} has another root of the log of ${head.logSize} leaves`);
    }
    if (this.#checked.has(digest)) return;
    this.#checked.add(digest);
    this.#heads.set(head.commitIndex, content);
    this.#roots.set(head.logSize, head.logRoot);
    const { g1, g2 } = this.#curve;
    const key = this.#serviceKey === undefined ? undefined : g2.decode(Buffer.from(this.#serviceKey, 'hex'));
    const point = g1.decode(signature);
    const message = Buffer.concat([domains.head, digestBytes(digest)]);
    if (key === undefined || point === undefined || !blsVerify(this.#curve, key, message, point)) {
      this.#report(
        'certification',
        `${who} has a head of commit ${head.commitIndex} with a signature that is not valid`,
      );
    }
  }
}
