/**
 * Certification: the service's signature under the heads of its log and under who its replicas are.
 *
 * In: our due heads, shares and certified statements from other replicas, the keys when they are there. Out: the same two to
 * send, evidence, the newest certified head. A pure machine; docs/protocol/certification.md is normative.
 * Safety: a service signature takes f + 1 shares, so one by a correct replica, and correct replicas sign what they executed.
 * Liveness: as long as f + 1 correct replicas come to a due head and can reach each other, it or a later one is certified.
 * Trust: an attacker who controls this has one key share, and this replica's clients wait or ask another.
 */
import type { PairingCurve } from '../crypto/curve.ts';
import type { Membership } from '../membership/membership.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import type {
  CertificationEffects,
  CertificationInput,
  CertificationStatus,
  CertifiedStatement,
  Divergence,
} from './effects.ts';
import { HeadCertification } from './head-certification.ts';
import { MembershipCertification } from './membership-certification.ts';
import { Outbox } from './outbox.ts';
import { type KeyMaterial, Signing } from './signing.ts';
import { Suspects } from './suspects.ts';

export interface CertificationOptions {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  readonly self: number;
  /** Encoded `stateMembership(…)`. Undefined: the service says nothing about its replicas. */
  readonly membershipStatement?: Uint8Array | undefined;
}

export class Certification {
  readonly #self: number;
  readonly #replicas: number;
  readonly #outbox = new Outbox();
  readonly #suspects = new Suspects(this.#outbox);
  readonly #signing: Signing;
  readonly #heads: HeadCertification;
  readonly #membership: MembershipCertification | undefined;

  constructor(options: CertificationOptions) {
    const { curve, membership, self, membershipStatement } = options;
    const { serviceId, epoch, members, rule } = membership;
    const threshold = rule.f + 1;
    this.#self = self;
    this.#replicas = members.length;
    this.#signing = new Signing({ curve, threshold });
    const parts = { signing: this.#signing, suspects: this.#suspects, outbox: this.#outbox, self, threshold };
    this.#heads = new HeadCertification({ parts, replicas: members.length, serviceId, epoch });
    if (membershipStatement !== undefined) this.#membership = new MembershipCertification(parts, membershipStatement);
  }

  /** The newest head with the service's signature that this replica executed itself; it only ever grows. */
  get newest(): CertifiedHead | undefined {
    return this.#heads.newest;
  }

  get membershipStatement(): CertifiedStatement | undefined {
    return this.#membership?.certified;
  }

  get divergence(): Divergence | undefined {
    return this.#heads.divergence;
  }

  get status(): CertificationStatus {
    const { newest, divergence, waitingCount } = this.#heads;
    return {
      hasServiceKey: this.#signing.hasServiceKey,
      isSigning: this.#signing.canSign,
      hasDiverged: divergence !== undefined,
      certifiedCommitIndex: newest?.head.commitIndex ?? 0,
      certifiedLogSize: newest?.head.logSize ?? 0,
      waitingHeads: waitingCount,
      isMembershipCertified: this.membershipStatement !== undefined,
      excluded: this.#suspects.excluded,
    };
  }

  /** The keys of the epoch are there; again when our share comes later or is taken away. */
  setKey(key: KeyMaterial): void {
    const isFirst = !this.#signing.hasServiceKey;
    this.#signing.setKey(key);
    if (isFirst) this.#heads.keyIsThere();
  }

  /** Takes inputs in order; then signs, combines and checks what can be. `nowMs`: milliseconds that never go back. */
  step(inputs: readonly CertificationInput[], nowMs: number): CertificationEffects {
    this.#suspects.tick(nowMs);
    for (const input of inputs) this.#take(input, nowMs);
    this.#heads.step(nowMs);
    this.#membership?.step(nowMs);
    return this.#outbox.take();
  }

  #take(input: CertificationInput, nowMs: number): void {
    switch (input.kind) {
      case 'due':
        this.#heads.takeDue(input.head);
        return;
      case 'wanted':
        this.#heads.want(input.logSize);
        return;
      case 'connected':
        this.#heads.connected(input.peer, nowMs);
        this.#membership?.connected(input.peer, nowMs);
        return;
      case 'signature-share':
        if (!this.#isPeer(input.from)) return;
        if (input.statement === 'head') this.#heads.takeShare(input.from, input, nowMs);
        else this.#membership?.takeShare(input.from, input, nowMs);
        return;
      case 'certified-statement':
        if (!this.#isPeer(input.from)) return;
        if (input.statement === 'head') this.#heads.takeCertified(input.from, input, nowMs);
        else this.#membership?.takeCertified(input.from, input);
    }
  }

  #isPeer(from: number): boolean {
    return from !== this.#self && from >= 0 && from < this.#replicas;
  }
}
