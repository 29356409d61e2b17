/**
 * Simulated keeper: holds what certifies the session keys of one replica, where whoever takes that replica over cannot read it, and
 * knows whether the replica was started clean.
 *
 * A replica that recovers by awareness has no such keeper: it certifies its keys itself, and so does whoever has its present ones.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { SigningKey } from '../src/crypto/ed25519.ts';
import type { Membership } from '../src/membership/membership.ts';
import {
  type CertifiedSuccessor,
  possessionPreimage,
  type SuccessorStatement,
  successorPreimage,
} from '../src/wire/successor.ts';
import type { Signatures } from './keys.ts';
import { publicKeysOf, type SessionSecrets } from './session-secrets.ts';
import { identityKeyAt, replicaIdAt } from './simulated-membership.ts';

export class SimulatedKeeper {
  readonly #place: number;
  readonly #signatures: Signatures;
  readonly #curve: PairingCurve;
  #serial = 0;
  /** The running process was started clean, and has had nothing certified since. */
  #isClean = false;
  /** For which epoch the last keys of a clean process were certified. */
  #cleanFor = 0;

  constructor(options: { readonly place: number; readonly signatures: Signatures; readonly curve: PairingCurve }) {
    this.#place = options.place;
    this.#signatures = options.signatures;
    this.#curve = options.curve;
  }

  /** The replica is started: clean, or with what its home holds. */
  started({ clean }: { readonly clean: boolean }): void {
    this.#isClean = clean;
  }

  /** The running process is clean, and nobody has heard of keys of it. */
  get isClean(): boolean {
    return this.#isClean;
  }

  /** Has it certified keys for this epoch that a clean process made, or will it when it is asked? */
  isCleanFor(epoch: number): boolean {
    return this.#isClean || this.#cleanFor === epoch;
  }

  /**
   * Is there anybody to certify keys for this epoch? An operator who keeps the identity key away from the network comes when the replica
   * was made clean, and at no other time.
   */
  signs({ members }: Membership, epoch: number): boolean {
    const own = members.find(({ replicaId }) => replicaId === replicaIdAt(this.#place));
    return own?.recovery !== 'offline' || this.isCleanFor(epoch);
  }

  certify(membership: Membership, next: SessionSecrets, present: SessionSecrets): CertifiedSuccessor {
    const isByIdentity = membership.members.some(
      ({ replicaId, recovery }) => replicaId === replicaIdAt(this.#place) && recovery !== 'awareness',
    );
    this.#serial += 1;
    const statement: SuccessorStatement = {
      serviceId: membership.serviceId,
      replicaId: replicaIdAt(this.#place),
      epoch: membership.epoch + 1,
      serial: this.#serial,
      isClean: this.#isClean,
      keys: publicKeysOf(this.#curve, next),
    };
    if (this.#isClean) this.#cleanFor = statement.epoch;
    this.#isClean = false;
    const certifier = isByIdentity ? identityKeyAt(this.#place) : present.signing;
    return certifiedBy(this.#signatures, statement, { certifier, next });
  }
}

/** What anybody makes who has both keys. */
export function certifiedBy(
  signatures: Signatures,
  statement: SuccessorStatement,
  { certifier, next }: { readonly certifier: SigningKey; readonly next: SessionSecrets },
): CertifiedSuccessor {
  return {
    statement,
    certificate: signatures.sign(certifier, successorPreimage(statement)),
    possession: signatures.sign(next.signing, possessionPreimage(statement)),
  };
}
