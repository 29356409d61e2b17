/**
 * Shows that the judge of stolen key shares forges whenever that can be done, and only then, also on the real curve.
 */
import { describe, expect, it } from 'vitest';
import { blsPublicKey, blsVerify } from '../src/crypto/bls.ts';
import type { PairingCurve } from '../src/crypto/curve.ts';
import { mclCurve } from '../src/crypto/curve-mcl.ts';
import { digestBytes, sha256 } from '../src/crypto/hash.ts';
import { domains } from '../src/wire/domain.ts';
import { encodeHead } from '../src/wire/head.ts';
import { forgeHead, type StolenShare } from './forging.ts';
import { plainCurve } from './plain-curve.ts';

const secret = 1_234_567n;
const serviceId = sha256(Buffer.from('service', 'utf8'));

/** The share of a holder of the sharing of an epoch: values of another polynomial in each, with one constant. */
function shareOf(epoch: number, holder: number, { f, order }: { readonly f: number; readonly order: bigint }) {
  const x = BigInt(holder + 1);
  let share = secret;
  for (let power = 1; power <= f; power++) share += coefficientOf(epoch, power) * x ** BigInt(power);
  return { epoch, holder, f, share: share % order } satisfies StolenShare;
}

function coefficientOf(epoch: number, power: number): bigint {
  return BigInt(`0x${sha256(Buffer.from(`${epoch} ${power}`, 'utf8'))}`);
}

function forge(curve: PairingCurve, shares: readonly StolenShare[]) {
  const serviceKey = Buffer.from(curve.g2.encode(blsPublicKey(curve, secret))).toString('hex');
  return forgeHead({ curve, serviceKey, serviceId, shares });
}

describe.each([plainCurve, mclCurve])('on the curve $name', (curve) => {
  const { order } = curve;

  it('forges with f + 1 shares of one sharing, whatever else lies around', () => {
    const shares = [
      shareOf(0, 0, { f: 1, order }),
      shareOf(1, 1, { f: 1, order }),
      shareOf(2, 3, { f: 1, order }),
      shareOf(2, 2, { f: 1, order }),
    ];
    const forged = forge(curve, shares);
    expect(forged?.shares.map(({ epoch, holder }) => [epoch, holder])).toEqual([
      [2, 3],
      [2, 2],
    ]);
    const { head, signature } = forged?.head ?? { head: undefined, signature: undefined };
    if (head === undefined || signature === undefined) throw new Error('nothing forged');
    const message = Buffer.concat([domains.head, digestBytes(sha256(encodeHead(head)))]);
    const point = curve.g1.decode(signature);
    expect(point !== undefined && blsVerify(curve, blsPublicKey(curve, secret), message, point)).toBe(true);
  });

  it('does not with f shares of each of several sharings, old ones and new ones together', () => {
    const shares = [0, 1, 2, 3].flatMap((epoch) => [
      shareOf(epoch, (2 * epoch) % 7, { f: 2, order }),
      shareOf(epoch, (2 * epoch + 1) % 7, { f: 2, order }),
    ]);
    expect(forge(curve, shares)).toBeUndefined();
  });
});

describe('a sharing that is never renewed', () => {
  it('is lost to whoever holds one replica after another', () => {
    const { order } = plainCurve;
    const stolen = [0, 1].map((holder) => ({ ...shareOf(0, holder, { f: 1, order }), epoch: holder }));
    expect(forge(plainCurve, stolen)?.shares).toHaveLength(2);
  });
});
