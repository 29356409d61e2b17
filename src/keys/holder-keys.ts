/**
 * Holder keys: the points of a membership that dealings are encrypted to.
 */
import type { G1Point, PairingCurve } from '../crypto/curve.ts';

/** Of a member, or of a replica of a membership body. */
export interface HolderName {
  readonly replicaId: string;
  /** A compressed point of G1, 96 hex characters. */
  readonly encryptionKey: string;
}

/** In the order of the members. Throws a RangeError when one is no point, or zero: such a genesis is refused before. */
export function holderKeysOf({ g1 }: PairingCurve, members: readonly HolderName[]): readonly G1Point[] {
  return members.map(({ encryptionKey, replicaId }) => {
    const key = g1.decode(Buffer.from(encryptionKey, 'hex'));
    if (key === undefined || g1.isZero(key)) throw new RangeError(`the encryption key of ${replicaId} is no key`);
    return key;
  });
}
