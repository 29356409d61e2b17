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
  /** The running process was started clean for this epoch, and has had nothing certified since. */
  #startedFor: number | undefined;
  /** For which epoch the last keys of a clean process were certified. */
  #cleanFor = 0;

  constructor(options: { readonly place: number; readonly signatures: Signatures; readonly curve: PairingCurve }) {
    this.#place = options.place;
    this.#signatures = options.signatures;
    this.#curve = options.curve;
  }

  /** The replica is started: clean, to have new keys in this epoch; or, with undefined, with what its home holds. */
  started(cleanFor: number | undefined): void {
    this.#startedFor = cleanFor;
  }

  /** The running process is clean for this epoch, and nobody has heard of keys of it. Who misses the end of its turn is as new no more. */
  isFreshFor(epoch: number): boolean {
    return this.#startedFor === epoch;
  }

  /** Has it certified keys for this epoch that a clean process made, or will it when it is asked? */
  isCleanFor(epoch: number): boolean {
    return this.isFreshFor(epoch) || this.#cleanFor === epoch;
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
    const epoch = membership.epoch + 1;
    const isClean = this.isFreshFor(epoch);
    const statement: SuccessorStatement = {
      serviceId: membership.serviceId,
      replicaId: replicaIdAt(this.#place),
      epoch,
      serial: this.#serial,
      isClean,
      keys: publicKeysOf(this.#curve, next),
    };
    if (isClean) this.#cleanFor = epoch;
    this.#startedFor = undefined;
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
