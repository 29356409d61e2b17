/**
 * Holder keys: the points of a membership that dealings are encrypted to.
 */
import type { G1Point, PairingCurve } from '../crypto/curve.ts';
import type { Membership } from '../membership/membership.ts';

/** In the order of the members. Throws a RangeError when one is no point, or zero: such a genesis is refused before. */
export function holderKeysOf({ g1 }: PairingCurve, { members }: Membership): readonly G1Point[] {
  return members.map(({ encryptionKey, replicaId }) => {
    const key = g1.decode(Buffer.from(encryptionKey, 'hex'));
    if (key === undefined || g1.isZero(key)) throw new RangeError(`the encryption key of ${replicaId} is no key`);
    return key;
  });
}
